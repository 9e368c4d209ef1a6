"""What bench says of made-up figures: tables, verdicts, the JSON and the page; and that its checks see what is wrong."""
import json
import pathlib
import shutil
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import report  # noqa: E402
import systems  # noqa: E402


def cell(calls, p50=100.0, p99=200.0, cpu=4.0, rss=30.0):
    return {"calls_per_s": calls, "p50_us": p50, "p99_us": p99, "cpu_s_per_100k": cpu, "rss_mb": rss}


def good_results():
    """Three rounds in which every aim is met, most of them narrowly."""
    results = report.Results()
    for concurrency in (1, 32, 256):
        for system, calls, cpu in (("direct", 30_000, 0.0), ("nginx", 22_000, 3.0), ("nginx+lua", 10_000, 4.0),
                                   ("floor", 9_000, 5.0), ("claviger", 10_000, 6.0)):
            results.cells[system, concurrency] = [cell(calls, cpu=cpu), cell(calls * 2, cpu=cpu * 2), cell(1, cpu=0.1)]
    results.cells["direct", 1] = [cell(30_000, p50=50), cell(1, p50=500), cell(1, p50=100)]
    results.cells["claviger", 1] = [cell(5_000, p50=250), cell(1, p50=650), cell(1, p50=400)]  # adds 200, 150, 300
    for system in ("direct", "nginx", "claviger"):
        results.streams[system] = [cell(700, cpu=20.0), cell(50), cell(900)]
        results.delays[system] = [0.1] * 98 + [0.5, 5.0]
    results.idle = {system: {"calls_mb": 1.25, "both_mb": 4.25, "connections_mb": 3.0} for system in ("nginx", "claviger")}
    results.fdatasync = [70.0, 80.0, 90.0]
    results.background_cpu_s = 1.5
    results.checks = [("every call is in the log", True), ("no call was refused", False)]
    results.foreign = [1.0, 2.0, 9.5]
    return results


class Report(unittest.TestCase):
    def test_rows_are_medians_under_the_names_that_others_read(self):
        rows = json.loads(json.dumps(good_results().rows()))
        self.assertEqual(len(rows), 15)
        self.assertEqual([row["concurrency"] for row in rows], [1] * 5 + [32] * 5 + [256] * 5)
        mine = next(row for row in rows if row["system"] == "claviger" and row["concurrency"] == 32)
        self.assertEqual(mine, {"system": "claviger", "concurrency": 32, "calls_per_s": 10_000, "p50_us": 100.0,
                                "p99_us": 200.0, "cpu_s_per_100k": 6.0, "rss_mb": 30.0})

    def test_tables(self):
        lines = report.table(good_results())
        self.assertEqual(len(lines), 17)
        self.assertIn("| nginx+lua | 32 | 10,000 | 100 | 200 | 4.00 | 30.0 |", lines)
        self.assertIn("| direct | 256 | 30,000 | 100 | 200 | – | – |", lines)
        streams = report.stream_table(good_results())
        self.assertIn("| claviger | 14,000 | 4.0 | 0.10 / 5.00 / 5.00 | 1.25 | 4.25 | 3.00 |", streams)
        self.assertIn("| direct | 14,000 | – | 0.10 / 5.00 / 5.00 | – | – | – |", streams)

    def test_every_aim_is_met_at_its_limit(self):
        found = report.verdicts(good_results())
        self.assertEqual(len(found), 8)
        self.assertEqual([aim for aim, met, _ in found if not met], [])
        self.assertIn("200 µs added to direct, fdatasync 80 µs, 2.50 times", [figures for _, _, figures in found])

    def test_every_aim_can_be_missed(self):
        def spoil(change, aim):
            results = good_results()
            change(results)
            self.assertEqual([each for each, met, _ in report.verdicts(results) if not met], [aim])
            line = next(line for line in report.summary(results) if line.startswith(f"| {aim} |"))
            self.assertIn("| **not met** |", line)

        for concurrency in (32, 256):
            spoil(lambda r, at=concurrency: r.cells.update({("claviger", at): [cell(9_999, cpu=6.0)]}),
                  f"calls/s at {concurrency} at least nginx+lua")
            spoil(lambda r, at=concurrency: r.cells.update({("claviger", at): [cell(10_000, cpu=6.01)]}),
                  f"CPU at {concurrency} at most 1.5 times nginx+lua")
        spoil(lambda r: r.fdatasync.append(1.0), "added median at 1 at most 2.5 fdatasync")
        spoil(lambda r: r.streams.update(claviger=[cell(699)]), "SSE events/s at least nginx without buffering")
        spoil(lambda r: r.delays["claviger"].append(5.01), "no SSE event later than 5 ms")
        spoil(lambda r: r.idle["claviger"].update(connections_mb=3.01), "1,000 idle connections at most 3 MB")

    def test_what_held_and_what_did_not(self):
        lines = report.summary(good_results())
        self.assertIn("* Held: every call is in the log", lines)
        self.assertIn("* FAILED: no call was refused", lines)
        self.assertIn("* CPU of Claviger outside its own cells, such as compaction: 1.50 s in the whole run.", lines)
        self.assertIn("| calls/s at 32 | 0.90 times | 1.00 times |", lines)
        self.assertIn("| CPU at 256 | 1.25 times | 1.50 times |", lines)

    def test_without_claviger_there_are_no_verdicts(self):
        results = good_results()
        for concurrency in (1, 32, 256):
            del results.cells["claviger", concurrency]
        self.assertEqual(report.verdicts(results), [])
        self.assertIn("Claviger was not part of this run.", report.summary(results))
        self.assertIn("| calls/s at 32 | 0.90 times | – |", report.summary(results))

    def test_the_page_keeps_all_but_its_result(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="claviger-report-"))
        self.addCleanup(shutil.rmtree, folder)
        page = folder / "performance.md"
        shutil.copy(ROOT / "docs/performance.md", page)
        before = page.read_text(encoding="utf-8")
        report.write_doc(good_results(), "Made up.", page)
        after = page.read_text(encoding="utf-8")
        self.assertEqual(before.partition(report.BEGIN)[0], after.partition(report.BEGIN)[0])
        self.assertEqual(before.partition(report.END)[2], after.partition(report.END)[2])
        result = after.partition(report.BEGIN)[2].partition(report.END)[0]
        self.assertIn("Made up.\n", result)
        self.assertEqual(result.strip().splitlines()[2:], "\n".join(report.summary(good_results())).splitlines())
        report.write_doc(good_results(), "Made up.", page)
        self.assertEqual(page.read_text(encoding="utf-8"), after)
        for mark in (report.BEGIN, report.END):
            page.write_text(after.replace(mark, ""), encoding="utf-8")
            with self.assertRaises(ValueError):
                report.write_doc(good_results(), "Made up.", page)
            self.assertEqual(page.read_text(encoding="utf-8"), after.replace(mark, ""))


class Played(systems.System):
    """A system that answers what it is told to."""

    name, decides = "claviger", True

    def __init__(self, **answers):
        self.requests = 0
        good = b'{"jsonrpc":"2.0","id":7,"result":{"text":""}}'
        self.answers = {"echo": (200, good[:-3] + b"x" * (1024 - len(good)) + good[-3:]), "stream": (200, b"data: {}\n\n" * 20),
                        "nobody": (401, b""), "drop_everything": (200, b'{"error":{}}'),
                        "leak": (200, b'{"result":"' + b"*" * len(systems.SECRET) + b'"}')} | answers

    def call(self, tool, token=None):
        return self.answers["nobody" if token else tool]

    def stats(self):
        return {"requests": self.requests}


class Behaviour(unittest.TestCase):
    def faults(self, **answers):
        system = Played(**answers)
        return systems.check_behaviour(system, system)

    def test_a_system_that_does_its_work(self):
        self.assertEqual(self.faults(), [])

    def test_each_way_of_not_doing_it(self):
        for answers, fault in [
            ({"echo": (500, b"")}, "a permitted call was answered 500"),
            ({"stream": (200, b"data: {}\n\n" * 19)}, "came back as 200 with 19 events"),
            ({"nobody": (200, b"")}, "an unknown token was answered 200"),
            ({"drop_everything": (200, b'{"result":{}}')}, "a forbidden tool was answered 200"),
            ({"leak": (200, b'{"result":"Bearer ' + systems.SECRET.encode() + b'"}')}, "the secret came back"),
            ({"leak": (502, b'{"error":"no upstream"}')}, "was answered 502 without its mask"),
            ({"leak": (200, b'{"result":"****"}')}, "was answered 200 without its mask"),
            ({"leak": (502, b"*" * len(systems.SECRET))}, "was answered 502 without its mask"),
        ]:
            found = self.faults(**answers)
            self.assertEqual(len(found), 1, found)
            self.assertIn(fault, found[0])


if __name__ == "__main__":
    unittest.main()
