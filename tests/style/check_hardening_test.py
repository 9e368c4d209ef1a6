"""check_hardening.py takes a program with every protection, and misses each one that is not there."""
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from check_hardening import faults

HARDENED = ["-O2", "-D_FORTIFY_SOURCE=2", "-fstack-protector-strong", "-fPIE", "-fuse-ld=lld", "-pie",
            "-Wl,-z,relro,-z,now,-z,noexecstack"]
SOURCE = """#include <string.h>
#include <stdio.h>
#ifdef ODD_SECTION
__asm__(".section .odd, \\"awx\\"\\n.byte 0\\n.text");
#endif
int main(int count, char** arguments) {
    char copy[64];
    strcpy(copy, arguments[count - 1]);
    return puts(copy);
}
"""


class Hardening(unittest.TestCase):
    def faults_with(self, *more):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="claviger-hardening-"))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "program.c").write_text(SOURCE)
        subprocess.run(["clang-19", *HARDENED, *more, "-o", folder / "program", folder / "program.c"], check=True)
        return [fault.split(" ", 1)[1] for fault in faults(str(folder / "program"))]

    def test_with_everything(self):
        self.assertEqual(self.faults_with(), [])

    def test_without_one_of_them(self):
        for flags, fault in [
            (["-fno-pie", "-no-pie"], "is not position independent"),
            (["-Wl,-z,norelro"], "has tables that stay writable"),
            (["-Wl,-z,lazy"], "binds functions when they are called"),
            (["-Wl,-z,execstack"], "has an executable stack"),
            (["-DODD_SECTION"], "has memory both writable and executable"),
            (["-fno-stack-protector"], "does not guard stack frames"),
            (["-U_FORTIFY_SOURCE"], "does not check copies"),
            (["-Wl,-rpath,/tmp"], "names a folder to search for libraries"),
        ]:
            found = self.faults_with(*flags)
            self.assertEqual([each.split(" (")[0] for each in found], [fault], flags)


if __name__ == "__main__":
    unittest.main()
