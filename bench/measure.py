"""The measurements: load with wrk, event delay, the disk's own speed, memory of idle connections."""
import json
import os
import re
import resource
import selectors
import socket
import statistics
import struct
import subprocess
import time

from processes import BenchError, machine_busy_seconds
from systems import BENCH, call_body

STREAM_EVENTS = 20
TICKS = 40
QUIET_PERCENT = 10  # of the machine, used by others
ATTEMPTS = 3
SO_TIMESTAMPNS = 35  # Linux; the socket module does not name it
SENT = re.compile(rb'"sent_ns":(\d+)')


def run_wrk(system, tool, concurrency, seconds, folder):
    """One load cell: wrk's own figures."""
    request = folder / "request"
    request.write_text(f"{system.token}\n{call_body(tool)}\n")
    url = f"http://127.0.0.1:{system.port}{system.path}"
    done = subprocess.run(["wrk", "-t1", f"-c{concurrency}", f"-d{seconds}s", "--timeout", "10s",
                           "-s", str(BENCH / "call.lua"), url, "--", str(request)],
                          capture_output=True, text=True, timeout=seconds + 60)
    found = re.search(r"^RESULT (\{.*\})$", done.stdout, re.MULTILINE)
    if not found:
        raise BenchError(f"wrk gave no result for {system.name}: {(done.stderr or done.stdout)[-400:]}")
    return json.loads(found.group(1))


def settled(count, seconds=10):
    """A counter's value once it stands still."""
    value, steady, deadline = count(), 0, time.monotonic() + seconds
    while steady < 4 and time.monotonic() < deadline:
        time.sleep(0.03)
        latest = count()
        steady, value = (steady + 1 if latest == value else 0), latest
    return value


class Ledger:
    """Runs cells and keeps what must hold for each of them: every call answered, counted, permitted and logged."""

    def __init__(self, systems, upstream, folder):
        self.systems, self.upstream, self.folder = systems, upstream, folder
        self.faults, self.foreign = [], []
        self.logged = {system.name: (0, 0) for system in systems if system.keeps_log}  # answered calls, entries
        self.spent = {system.name: 0.0 for system in systems}  # CPU seconds while it was the one being measured

    def quietly(self, action):
        """What `action` returns. Repeated while others keep the machine busy; then the least disturbed one counts."""
        kept, least = None, None
        for _ in range(ATTEMPTS):
            own, busy, began = self._own_cpu(), machine_busy_seconds(), time.monotonic()
            value = action()
            foreign = (machine_busy_seconds() - busy) - (self._own_cpu() - own)
            percent = 100 * max(0.0, foreign) / ((time.monotonic() - began) * os.cpu_count())
            if least is None or percent < least:
                kept, least = value, percent
            if least <= QUIET_PERCENT:
                break
        self.foreign.append(least)
        return kept

    def cell(self, system, concurrency, seconds, tool="echo"):
        return self.quietly(lambda: self._one_cell(system, concurrency, seconds, tool))

    def delays(self, system):
        def measured():
            cpu = system.cpu_seconds()
            delays = event_delays_ms(system)
            self.spent[system.name] += system.cpu_seconds() - cpu
            return delays
        return self.quietly(measured)

    def _one_cell(self, system, concurrency, seconds, tool):
        entries = settled(system.log_entries) if system.keeps_log else 0
        arrived, cpu = self._arrived(), system.cpu_seconds()
        result = run_wrk(system, tool, concurrency, seconds, self.folder)
        cpu = system.cpu_seconds() - cpu
        self.spent[system.name] += cpu
        if system.keeps_log:
            self._check_entries(system, concurrency, result["calls"], entries)
        calls = self._arrived() - arrived
        self._check_calls(system, concurrency, result, calls)
        return {"calls_per_s": result["calls"] / result["seconds"], "p50_us": result["p50_us"],
                "p99_us": result["p99_us"], "cpu_s_per_100k": 100_000 * cpu / max(1, calls),
                "rss_mb": system.rss_mb()}

    def _arrived(self):
        """Calls that reached the upstream, once those that wrk gave up have trickled through the proxy."""
        return settled(lambda: self.upstream.stats()["requests"])

    def _own_cpu(self):
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        mine = resource.getrusage(resource.RUSAGE_SELF)
        return (sum(system.cpu_seconds() for system in self.systems) + self.upstream.server_cpu_seconds()
                + children.ru_utime + children.ru_stime + mine.ru_utime + mine.ru_stime)

    def _check_calls(self, system, concurrency, result, calls):
        where = f"{system.name} at concurrency {concurrency}"
        if result["non_2xx"] or result["socket_errors"]:
            self.faults.append(f"{where}: {result['non_2xx']} answers were errors, "
                               f"{result['socket_errors']} broke off")
        if not result["calls"] <= calls <= result["calls"] + concurrency:
            self.faults.append(f"{where}: {result['calls']} answers, but {calls} calls reached the upstream")

    def _check_entries(self, system, concurrency, answered, before):
        """Two entries per call, and wrk hangs up on up to `concurrency` calls that it does not count."""
        grown = settled(system.log_entries) - before
        calls, entries = self.logged[system.name]
        self.logged[system.name] = calls + answered, entries + grown
        if grown % 2 or not 2 * answered <= grown <= 2 * (answered + concurrency):
            self.faults.append(f"{system.name} at concurrency {concurrency}: {grown} log entries "
                               f"for {answered} answered calls")


def fdatasync_median_us(folder, count=300):
    """The disk's own price of one durable 300-byte append, by one thread, with nothing else going on."""
    path, taken = folder / "fdatasync", []
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(count):
            began = time.perf_counter_ns()
            os.write(file, b"x" * 300)
            os.fdatasync(file)
            taken.append(time.perf_counter_ns() - began)
    finally:
        os.close(file)
        path.unlink()
    return statistics.median(taken) / 1000


def raw_request(system, tool):
    body = call_body(tool)
    return (f"POST {system.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\n"
            f"Authorization: Bearer {system.token}\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode()


def event_delays_ms(system, streams=16, seconds=10):
    """How long each event of several slow streams takes from the upstream's write to the client's socket."""
    delays, buffers = [], {}
    with selectors.DefaultSelector() as selector:
        try:
            for number in range(streams):
                stream = socket.create_connection(("127.0.0.1", system.port), timeout=10)
                stream.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
                stream.sendall(raw_request(system, "ticks"))
                stream.setblocking(False)
                selector.register(stream, selectors.EVENT_READ)
                buffers[stream] = b""
                time.sleep(0.03 / streams)  # spread, yet all open before the first event at 50 ms
            deadline = time.monotonic() + seconds
            while selector.get_map() and time.monotonic() < deadline:
                for key, _ in selector.select(timeout=0.5):
                    if not read_events(key.fileobj, buffers, delays):
                        selector.unregister(key.fileobj)
        finally:
            for stream in buffers:
                stream.close()
    if len(delays) != streams * TICKS:
        raise BenchError(f"{system.name} delivered {len(delays)} of {streams * TICKS} events")
    return delays


def read_events(stream, buffers, delays):
    """Reads what is there and notes the delay of every event in it; false once the answer is complete."""
    piece, notes, _, _ = stream.recvmsg(65536, 64)
    arrived = [struct.unpack("qq", note) for _, kind, note in notes if kind == SO_TIMESTAMPNS]
    # The kernel's note of the arrival, so that our own late waking does not count.
    now = arrived[0][0] * 1_000_000_000 + arrived[0][1] if arrived else time.time_ns()
    text = buffers[stream] + piece
    end = text.rfind(b"\n\n") + 2 if b"\n\n" in text else 0
    delays += [(now - int(sent)) / 1e6 for sent in SENT.findall(text[:end])]
    buffers[stream] = text[end:]
    return bool(piece) and not text.endswith(b"0\r\n\r\n")


def one_call(connection, request):
    """One exchange on a connection that stays open."""
    connection.sendall(request)
    text = b""
    while True:
        piece = connection.recv(65536)
        if not piece:
            raise BenchError(f"a connection broke before its answer was complete: {text[:200]!r}")
        text += piece
        head, found, body = text.partition(b"\r\n\r\n")
        if not found:
            continue
        size = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if len(body) >= int(size.group(1)) if size else body.endswith(b"0\r\n\r\n"):
            return


def idle_memory(system, count=1000):
    """Growth in MB: by `count` calls over one connection (their log entries wait in memory to be written out), and by
    as many connections that make one call each and stay open. What they alone cost is the difference."""
    request, connections = raw_request(system, "echo"), []
    try:
        connections.append(socket.create_connection(("127.0.0.1", system.port), timeout=30))
        resident = []
        for _ in range(2):
            for _ in range(count):
                one_call(connections[0], request)
            time.sleep(0.3)
            resident.append(system.rss_mb())
        for _ in range(count):
            connections.append(socket.create_connection(("127.0.0.1", system.port), timeout=30))
            one_call(connections[-1], request)
        time.sleep(0.3)
        resident.append(system.rss_mb())
    finally:
        for connection in connections:
            connection.close()
    calls, both = resident[1] - resident[0], resident[2] - resident[1]
    return {"calls_mb": calls, "both_mb": both, "connections_mb": both - calls}
