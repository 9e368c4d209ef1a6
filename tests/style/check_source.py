#!/usr/bin/env python3
"""Fails on includes that the house forbids: who may include whom, and which library lives in which room."""
import pathlib
import re
import sys

MAY_USE = {
    "base": set(),
    "crypto": {"base"},
    "policy": {"base"},
    "vault": {"base", "crypto"},
    "net": {"base", "crypto"},
    "notify": {"base", "crypto", "vault", "policy", "net"},
    "oauth": {"base", "crypto", "vault", "net", "notify"},
    "proxy": {"base", "crypto", "vault", "policy", "net", "oauth"},
    "admin": {"base", "crypto", "vault", "policy", "net", "notify", "oauth"},
    "server": {"base", "crypto", "vault", "policy", "net", "notify", "oauth", "proxy", "admin"},
}
OUTSIDE = {"tests", "bench"}  # may use everything
ROOMS = [  # include prefix, and the only place it may stand in
    ("rocksdb/", re.compile(r"^vault/rocksdb_(engine\.cpp|(log_)?files\.(h|cpp))$")),
    ("sodium", re.compile(r"^crypto/")),
    ("p11-kit/", re.compile(r"^crypto/token\.cpp$")),
    ("boost/beast", re.compile(r"^net/.*\.cpp$")),
    ("spdlog/", re.compile(r"^server/.*\.cpp$")),
    ("catch2/", re.compile(r"^tests/support/spec\.h$")),
]
COROUTINES = re.compile(r"^boost/asio(\.hpp$|/(impl/)?(awaitable|co_spawn|use_awaitable)\.hpp$|/experimental/)")  # net/awaitable.h says where frames come from
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]')


def faults_in(root):
    faults = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.suffix not in (".h", ".cpp") or name.startswith(("build/", "node_modules/")) or "/node_modules/" in name:
            continue
        folder = name.split("/")[0]
        if folder not in MAY_USE and folder not in OUTSIDE:
            faults.append(f"{name}: {folder} is no room of the house; what may it use?")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            found = INCLUDE.match(line)
            if not found:
                continue
            included = found.group(1)
            for prefix, room in ROOMS:
                if included.startswith(prefix) and not room.match(name) and folder != "tests":
                    faults.append(f"{name}:{number}: {included} may be included only in {room.pattern}")
            if COROUTINES.match(included) and name != "net/awaitable.h":
                faults.append(f"{name}:{number}: Asio's coroutines are included by net/awaitable.h alone, in tests too")
            if path.suffix == ".h" and folder != "tests":
                if included.startswith("boost/asio") and folder != "net":
                    faults.append(f"{name}:{number}: outside net/ a header includes net/awaitable.h and nothing else of Asio")
                if included == "nlohmann/json.hpp":
                    faults.append(f"{name}:{number}: headers include <nlohmann/json_fwd.hpp>")
            target = included.split("/")[0]
            if folder in MAY_USE and target in MAY_USE and target != folder and target not in MAY_USE[folder]:
                faults.append(f"{name}:{number}: {folder} may not include {target}")
    return faults


if __name__ == "__main__":
    found = faults_in(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve())
    print("\n".join(found) or "style: every include is in its room")
    sys.exit(1 if found else 0)
