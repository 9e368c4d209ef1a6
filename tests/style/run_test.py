"""What tests/run counts: tests that passed, failed and were skipped, of every kind of test program."""
import pathlib
import shutil
import subprocess
import tempfile
import unittest

RUN = pathlib.Path(__file__).resolve().parents[1] / "run"


class Counts(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="claviger-run-"))
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "logs").mkdir()

    def counted(self, call):
        """Calls a function of tests/run; what it printed, and the three numbers."""
        script = f'source "{RUN}"; dev={self.folder}; logs={self.folder}/logs; {call}\n' \
                 'echo "counted $total_passed $total_failed $total_skipped"'
        done = subprocess.run(["bash", "-c", script], text=True, capture_output=True, timeout=300)
        printed, _, numbers = done.stdout.rpartition("counted ")
        self.assertTrue(numbers, done.stderr)
        return printed, tuple(int(number) for number in numbers.split())

    def test_programs_that_ctest_runs(self):
        programs = {"good": "echo fine", "bad": "echo skipped: disks; exit 1", "slow": "sleep 30",
                    "half": "echo 'skipped: tokens: none here'; echo 'skipped: tokens: none here'; echo 'skipped: mounts: not root'"}
        (self.folder / "CTestTestfile.cmake").write_text(
            "".join(f'add_test({name} sh -c "{text}")\n' for name, text in programs.items()))
        printed, numbers = self.counted("TEST_SECONDS=5 ctest_part unit -j 4")
        self.assertEqual(numbers, (2, 2, 3), printed)
        self.assertIn("skipped: tokens: none here\n", printed)
        self.assertIn("skipped: mounts: not root\n", printed)

    def test_no_programs_at_all(self):
        (self.folder / "CTestTestfile.cmake").write_text("")
        self.assertEqual(self.counted("ctest_part unit")[1], (0, 1, 0))

    def test_files_that_node_runs(self):
        file = self.folder / "some_test.mjs"
        file.write_text("import { describe, it } from 'node:test';\n"
                        "describe('all of it', { skip: 'no disk' }, () => { it('is not run', () => {}); });\n"
                        "it('works', () => {});\nit('does not', () => { throw new Error('as it should'); });\n"
                        "it('is left out', { skip: 'not root' }, () => {});\n")
        printed, numbers = self.counted(f"ready_node && node_tests flows {file}")
        self.assertEqual(numbers, (1, 1, 2), printed)
        self.assertIn("no disk", printed)
        self.assertIn("not root", printed)

    def test_a_file_that_node_cannot_read(self):
        file = self.folder / "broken_test.mjs"
        file.write_text("this is no program")
        self.assertEqual(self.counted(f"ready_node && node_tests flows {file}")[1], (0, 1, 0))

    def test_files_that_python_runs(self):
        tests = self.folder / "tests"
        tests.mkdir()
        (tests / "some_test.py").write_text(
            "import unittest\nclass Some(unittest.TestCase):\n    def test_good(self): pass\n"
            "    def test_bad(self): self.fail('as it should')\n    def test_odd(self): raise ValueError\n"
            "    @unittest.skip('not here')\n    def test_left_out(self): pass\n")
        printed, numbers = self.counted(f"python_tests style {tests}")
        self.assertEqual(numbers, (1, 2, 1), printed)
        self.assertIn("not here", printed)
        self.assertIn("as it should", printed)

    def test_no_files_for_python(self):
        (self.folder / "tests").mkdir()
        self.assertEqual(self.counted(f"python_tests style {self.folder}/tests")[1], (0, 1, 0))

    def test_a_file_that_python_cannot_read(self):
        tests = self.folder / "tests"
        tests.mkdir()
        (tests / "some_test.py").write_text("import nothing_of_this_name\n")
        self.assertEqual(self.counted(f"python_tests style {tests}")[1], (0, 1, 0))


if __name__ == "__main__":
    unittest.main()
