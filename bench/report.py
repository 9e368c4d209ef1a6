"""What the figures say: the table, each aim with its verdict, and the result section of docs/performance.md."""
import datetime
import os
import pathlib
import platform
import re
import statistics

from measure import ATTEMPTS, QUIET_PERCENT

CELLS = ("calls_per_s", "p50_us", "p99_us", "cpu_s_per_100k", "rss_mb")
BEGIN, END = "<!-- result: written by bench/run_all --write-doc -->", "<!-- end of result -->"


class Results:
    """Everything one run measured."""

    def __init__(self):
        self.cells = {}      # (system, concurrency) -> one dict per round
        self.streams = {}    # system -> one dict per round, wrk with the 20-event answer
        self.delays = {}     # system -> delays of all events, in ms
        self.idle = {}       # system -> growth in MB
        self.fdatasync = []  # median of each round, in microseconds
        self.background_cpu_s = None  # what Claviger burned outside its own cells
        self.checks = []     # text of every check, and whether it held
        self.foreign = []    # other work during each cell, percent of the machine

    def rows(self):
        return [{"system": system, "concurrency": concurrency}
                | {name: round(self.median(system, concurrency, name), 3) for name in CELLS}
                for system, concurrency in sorted(self.cells, key=lambda cell: cell[1])]

    def median(self, system, concurrency, name):
        return statistics.median(one[name] for one in self.cells[system, concurrency])

    def events_per_s(self, system):
        return 20 * statistics.median(one["calls_per_s"] for one in self.streams[system])

    def added_median_us(self, system):
        """Median over the rounds of what the system adds to the direct call of the same round, at concurrency 1."""
        pairs = zip(self.cells[system, 1], self.cells["direct", 1])
        return statistics.median(one["p50_us"] - direct["p50_us"] for one, direct in pairs)


def table(results):
    lines = ["| system | concurrency | calls/s | p50 µs | p99 µs | CPU s per 100k | RSS MB |",
             "|---|---|---|---|---|---|---|"]
    for row in results.rows():
        direct = row["system"] == "direct"
        lines.append(f"| {row['system']} | {row['concurrency']} | {row['calls_per_s']:,.0f} | {row['p50_us']:,.0f} "
                     f"| {row['p99_us']:,.0f} | {'–' if direct else format(row['cpu_s_per_100k'], '.2f')} "
                     f"| {'–' if direct else format(row['rss_mb'], '.1f')} |")
    return lines


def stream_table(results):
    lines = ["| system | SSE events/s (32 streams) | CPU s per 100k answers | event delay p50 / p99 / max ms "
             "| 1,000 calls grow MB | on 1,000 connections MB | idle connections alone MB |",
             "|---|---|---|---|---|---|---|"]
    for system in results.streams:
        delays = sorted(results.delays[system])
        cpu = statistics.median(one["cpu_s_per_100k"] for one in results.streams[system])
        idle = results.idle.get(system)
        lines.append(f"| {system} | {results.events_per_s(system):,.0f} | {format(cpu, '.1f') if idle else '–'} "
                     f"| {statistics.median(delays):.2f} / {delays[len(delays) * 99 // 100]:.2f} / {delays[-1]:.2f} "
                     + " ".join(f"| {format(idle[part], '.2f') if idle else '–'}"
                                for part in ("calls_mb", "both_mb", "connections_mb")) + " |")
    return lines


def verdicts(results):
    """(aim, met, figures) for every aim; empty when Claviger did not run."""
    if ("claviger", 1) not in results.cells:
        return []
    found = []
    for concurrency in (32, 256):
        mine, bar = (results.median(name, concurrency, "calls_per_s") for name in ("claviger", "nginx+lua"))
        found.append((f"calls/s at {concurrency} at least nginx+lua", mine >= bar,
                      f"{mine:,.0f} against {bar:,.0f}, {mine / bar:.2f} times"))
    for concurrency in (32, 256):
        mine, bar = (results.median(name, concurrency, "cpu_s_per_100k") for name in ("claviger", "nginx+lua"))
        found.append((f"CPU at {concurrency} at most 1.5 times nginx+lua", mine <= 1.5 * bar,
                      f"{mine:.2f} against {bar:.2f} s per 100k, {mine / bar:.2f} times"))
    added, disk = results.added_median_us("claviger"), statistics.median(results.fdatasync)
    found.append(("added median at 1 at most 2.5 fdatasync", added <= 2.5 * disk,
                  f"{added:.0f} µs added to direct, fdatasync {disk:.0f} µs, {added / disk:.2f} times"))
    mine, bar = results.events_per_s("claviger"), results.events_per_s("nginx")
    found.append(("SSE events/s at least nginx without buffering", mine >= bar,
                  f"{mine:,.0f} against {bar:,.0f}, {mine / bar:.2f} times"))
    worst, control = max(results.delays["claviger"]), max(results.delays["direct"])
    found.append(("no SSE event later than 5 ms", worst <= 5,
                  f"worst {worst:.2f} ms of {len(results.delays['claviger'])} events; direct worst {control:.2f} ms"))
    idle = results.idle["claviger"]
    found.append(("1,000 idle connections at most 3 MB", idle["connections_mb"] <= 3,
                  f"{idle['connections_mb']:.2f} MB: {idle['both_mb']:.2f} with the calls that they made, "
                  f"{idle['calls_mb']:.2f} for as many calls over one connection"))
    return found


def disk_share(results):
    """What part of the distance to nginx+lua waiting for the disk alone makes: no aim, but beside the aims."""
    lines = ["| beside nginx+lua | the floor | claviger |", "|---|---|---|"]
    for what, name in (("calls/s", "calls_per_s"), ("CPU", "cpu_s_per_100k")):
        for concurrency in (32, 256):
            bar = results.median("nginx+lua", concurrency, name)
            floor, mine = (f"{results.median(system, concurrency, name) / bar:.2f} times"
                           if (system, concurrency) in results.cells else "–" for system in ("floor", "claviger"))
            lines.append(f"| {what} at {concurrency} | {floor} | {mine} |")
    return lines


def summary(results):
    lines = table(results) + [""] + stream_table(results) + [""]
    disk = statistics.median(results.fdatasync)
    lines += [f"* Disk: 300-byte append + fdatasync, median {disk:.0f} µs "
              f"({min(results.fdatasync):.0f} to {max(results.fdatasync):.0f} over the rounds).",
              f"* Other work on the machine while measuring: median {statistics.median(results.foreign):.1f} %, "
              f"at most {max(results.foreign):.1f} %; more than {QUIET_PERCENT} % was repeated, up to {ATTEMPTS} times in all."]
    if results.background_cpu_s is not None:
        lines.append(f"* CPU of Claviger outside its own cells, such as compaction: "
                     f"{results.background_cpu_s:.2f} s in the whole run.")
    lines += [f"* {'Held' if held else 'FAILED'}: {text}" for text, held in results.checks] + [""]
    found = verdicts(results)
    lines += ["| aim | verdict | figures |", "|---|---|---|"] if found else ["Claviger was not part of this run."]
    lines += [f"| {aim} | {'met' if met else '**not met**'} | {figures} |" for aim, met, figures in found]
    return lines + [""] + disk_share(results)


def machine():
    model = re.search(r"^model name\s*:\s*(.+)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1)) / 1024**2
    kernel = re.match(r"[\d.]+", platform.release()).group(0)
    return f"{os.cpu_count()} × {model.group(1) if model else platform.machine()}, {memory:.0f} GiB, Linux {kernel}"


def write_doc(results, run, path):
    """Replaces what stands between the two marks."""
    text = path.read_text(encoding="utf-8")
    before, mark, rest = text.partition(BEGIN)
    after = rest.partition(END)
    if not mark or not after[1]:
        raise ValueError(f"{path.name} has lost its marks '{BEGIN}' and '{END}'; put them back")
    lines = [f"{datetime.date.today().isoformat()}, on {machine()}. {run}", ""] + summary(results)
    path.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after[2], encoding="utf-8")
