"""Starts the programs under test, reads what they cost from /proc, and stops them by their own process id."""
import json
import os
import pathlib
import select
import socket
import subprocess
import time

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """What went wrong, why, and what to do, in one text for the person who runs the benchmark."""


class Process:
    """One started program; its output goes to a file so that a failure can be explained."""

    def __init__(self, argv, log, input_line=None):
        self.name = pathlib.Path(argv[0]).name
        self.log = pathlib.Path(log)
        with open(self.log, "wb") as errors:
            self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        if input_line is not None:
            self.child.stdin.write(input_line.encode() + b"\n")
        self.child.stdin.close()
        self.pid = self.child.pid

    def ready_line(self, seconds=30):
        """The first line of standard output that is a JSON object."""
        deadline, text = time.monotonic() + seconds, b""
        while time.monotonic() < deadline:
            if select.select([self.child.stdout], [], [], 0.1)[0]:
                piece = os.read(self.child.stdout.fileno(), 65536)
                if not piece:
                    break
                text += piece
            for line in text.split(b"\n")[:-1]:
                if line.startswith(b"{"):
                    return json.loads(line)
        raise BenchError(f"{self.name} did not report that it is ready. Its last words: {self.last_words()}")

    def wait_for_port(self, port, seconds=10):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.child.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise BenchError(f"{self.name} does not listen on its port. Its last words: {self.last_words()}")

    def last_words(self):
        return self.log.read_text(errors="replace")[-800:].strip() or "(none)"

    def stop(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.child.stdout.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def process_tree(pid):
    found = [pid]
    for parent in found:
        for task in pathlib.Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def cpu_seconds(pid):
    """User and system time of a process and everything below it."""
    total = 0
    for member in process_tree(pid):
        fields = pathlib.Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_SECOND


def rss_mb(pid):
    total = 0
    for member in process_tree(pid):
        for line in pathlib.Path(f"/proc/{member}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total / 1024


def machine_busy_seconds():
    """CPU time the whole machine spent on anything, stolen time included."""
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS_PER_SECOND
