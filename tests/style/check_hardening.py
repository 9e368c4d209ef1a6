#!/usr/bin/env python3
"""Fails when a program lacks what cmake/toolchain.cmake asks of the compiler and the linker against exploits.

usage: check_hardening.py PROGRAM, a release build
"""
import re
import subprocess
import sys


def faults(program):
    read = subprocess.run(["readelf", "--wide", "--file-header", "--program-headers", "--dynamic", "--dyn-syms", program],
                          text=True, capture_output=True, check=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}).stdout
    flags = " ".join(re.findall(r"\((?:FLAGS|FLAGS_1)\)\s+(.*)", read))
    stack = re.search(r"^\s*GNU_STACK\s.*\s([RWE ]{3})\s+\w+$", read, re.M)
    imported = set(re.findall(r" UND (\w+)", read))
    wanted = {
        "is not position independent (-pie)": "PIE" in flags and re.search(r"^\s*Type:\s+DYN\b", read, re.M),
        "has tables that stay writable (-z relro)": re.search(r"^\s*GNU_RELRO\s", read, re.M),
        "binds functions when they are called (-z now)": re.search(r"\bNOW\b", flags),
        "has an executable stack (-z noexecstack)": stack and "E" not in stack[1],
        "has memory both writable and executable": not re.search(r"^\s*LOAD\s.*\sRWE\s", read, re.M),
        "does not guard stack frames (-fstack-protector-strong)": "__stack_chk_fail" in imported,
        "does not check copies (_FORTIFY_SOURCE)": any(name.endswith("_chk") for name in imported),
        "names a folder to search for libraries (RPATH)": not re.search(r"\((RPATH|RUNPATH)\)", read),
    }
    return [f"{program} {fault}" for fault, fine in wanted.items() if not fine]


if __name__ == "__main__":
    found = faults(sys.argv[1])
    print("\n".join(found) or "hardening: all there")
    sys.exit(1 if found else 0)
