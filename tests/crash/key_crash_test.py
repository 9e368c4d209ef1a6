#!/usr/bin/env python3
"""Kills a store at every synced batch of its making, of slot changes, of key and value rotations, of a restore and of
shredding, and at random moments.

After each death the store must open through every seal slot, examine as sound, hold every acknowledged write, and
carry on what was begun.

usage: key_crash_test.py PATH/TO/claviger_key_crash [kills]
"""
import contextlib
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

PROGRAM = str(pathlib.Path(sys.argv[1]).resolve())
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else int(os.environ.get("KEY_KILLS", "200"))
DEADLINE = 120
WITHOUT_TOKEN = {**os.environ, "KEY_CRASH_NO_TOKEN": "1"}
SEED = int(os.environ.get("KEY_CRASH_SEED", time.time_ns() % 1_000_000))


def check(folder, output, what, environment=None):
    """The store's state after a death; ends the test when something is wrong."""
    lines = output.rsplit("\n", 1)[0] + "\n" if "\n" in output else ""  # a kill may have cut the last one
    done = subprocess.run([PROGRAM, "check", folder], input=lines, text=True, capture_output=True, timeout=DEADLINE,
                          env=environment)
    if done.returncode != 0:
        raise AssertionError(f"{what}: {done.stderr.strip() or done.stdout.strip() or done.returncode}")
    return done.stdout.strip()


@contextlib.contextmanager
def prepared_folder():
    with tempfile.TemporaryDirectory(prefix="key-crash-") as folder:
        subprocess.run([PROGRAM, "prepare", folder], check=True, timeout=DEADLINE)
        yield folder


def at_batch(number, moment):
    """Kills at one batch; the name of its stage, or None when the program got through without coming to it."""
    with prepared_folder() as folder:
        done = subprocess.run([PROGRAM, "run", folder, str(number), moment], text=True, capture_output=True,
                              timeout=DEADLINE)
        reached = [line for line in done.stdout.splitlines() if line.startswith(f"batch {number} ")]
        stage = reached[0].split(" ", 2)[2] if reached else None
        if stage is None and done.returncode != 0:
            raise AssertionError(f"the program failed by itself: {done.stderr.strip()}")
        if stage is not None and done.returncode != -9:
            raise AssertionError(f"batch {number} ({stage}): ended with {done.returncode}: {done.stderr.strip()}")
        check(folder, done.stdout, f"killed {moment} batch {number} ({stage})")
        return stage


def at_random(seconds):
    """Without the slot in a token: SoftHSM2 rewrites its own files in place, and a kill in there loses the token."""
    with tempfile.TemporaryDirectory(prefix="key-crash-") as folder:
        with subprocess.Popen([PROGRAM, "run", folder, "0", "never"], stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.DEVNULL, env=WITHOUT_TOKEN) as running:
            killer = threading.Timer(seconds, running.kill)
            killer.start()
            output = running.stdout.read()
            killer.cancel()
        check(folder, output, f"killed after {seconds:.4f} s", WITHOUT_TOKEN)


def batches_and_time():
    with prepared_folder() as folder:
        begun = time.monotonic()
        done = subprocess.run([PROGRAM, "run", folder, "0", "never"], text=True, capture_output=True, timeout=DEADLINE)
        took = time.monotonic() - begun
        if done.returncode != 0 or "done" not in done.stdout:
            raise AssertionError(f"the program fails without being killed: {done.stderr.strip()}")
        said = check(folder, done.stdout, "not killed")
        return sum(line.startswith("batch ") for line in done.stdout.splitlines()), took, said


def main():
    batches, took, said = batches_and_time()
    print(f"{batches} batches in {took:.2f} s, {said}; seed {SEED}", flush=True)
    chance = random.Random(SEED)
    work = [("batch", number, moment) for number in range(1, batches + 1) for moment in ("before", "after")]
    work += [("random", chance.uniform(0, took * 1.05)) for _ in range(max(KILLS - len(work), KILLS // 5))]
    stages = {}

    def one(item):
        if item[0] == "random":
            at_random(item[1])
            return "at random"
        return at_batch(item[1], item[2])

    with ThreadPoolExecutor(max_workers=2) as pool:
        for stage in pool.map(one, work):
            if stage is not None:
                stages[stage] = stages.get(stage, 0) + 1
    kills = sum(stages.values())
    for stage, count in stages.items():
        print(f"  {stage}: {count} kills")
    print(f"{kills} kills; each time every slot opened the store, it was sound, and nothing acknowledged was missing")
    if kills < KILLS * 0.95:
        sys.exit(f"FAILED: only {kills} kills")
    for stage in ("init", "slots", "slot-removed", "key-file-replaced", "root-rolled-back-pending", "root-rolled-back-in-use", "root-retired",
                  "vault-rolled-back", "vault-rotated", "value-staged", "value-promoted", "value-rolled-back", "value-retired",
                  "restored", "released", "shred"):
        if stage not in stages:
            sys.exit(f"FAILED: no kill during {stage}")
    if not shutil.which("softhsm2-util"):
        print("skipped: the slot in a token (softhsm2 is not installed)")


if __name__ == "__main__":
    try:
        main()
    except AssertionError as failure:
        sys.exit(f"FAILED: {failure}")
