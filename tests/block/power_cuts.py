#!/usr/bin/env python3
"""A campaign of power cuts: power_cuts.py MINUTES [SEED]. Every unit test of the formats that cuts the power, in rounds, each with another
seed, until the time is over; at least one round. A table of rounds, workloads, images (states of a disk after a cut, each opened, checked, read, written
on) and failures; status 1 if there was one. $VIV_BUILD: the build folder."""
import glob
import os
import random
import re
import subprocess
import sys
import time

BUILD = os.environ.get("VIV_BUILD", "build")
IS_CUT = re.compile(r"/(crash|cuts|own-cuts)(/|$)")
ROUND_MAX = 600  # seconds of one program


class Tests:
    """The tests of one program that cut the power."""

    def __init__(self, program, paths):
        self.program, self.name, self.paths = program, os.path.basename(program).removeprefix("unit-"), paths
        self.rounds = self.cuts = self.images = self.failures = 0

    def run(self, seed):
        words = [self.program, "--tap", f"--seed={seed}"] + [w for p in self.paths for w in ("-p", p)]
        try:
            p = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=ROUND_MAX)
            status, out = p.returncode, p.stdout
        except subprocess.TimeoutExpired:
            status, out = "none", f"not ready after {ROUND_MAX} s"
        told = re.findall(r"power cuts: (\d+) entries in the record, (\d+) images", out)
        self.rounds += 1
        self.cuts += len(told)
        self.images += sum(int(images) for _, images in told)
        if status != 0 or len(re.findall(r"(?m)^\s*ok ", out)) < len(self.paths) or not told:
            self.failures += 1
            print(f"FAIL: status {status}: {' '.join(words)}\n" + "\n".join(out.splitlines()[-12:]), flush=True)


def find():
    found = []
    for program in sorted(glob.glob(os.path.join(BUILD, "unit-block-*"))):
        if os.path.isdir(program):
            continue
        names = subprocess.run([program, "-l"], stdout=subprocess.PIPE, text=True, check=True).stdout.split("\n")
        paths = [n for n in names if n.startswith("/") and IS_CUT.search(n)]
        if paths:
            found.append(Tests(program, paths))
    return found


def main():
    end = time.monotonic() + 60 * float(sys.argv[1])
    seed = sys.argv[2] if len(sys.argv) > 2 else str(time.time_ns())
    rng = random.Random(seed)
    tests = find()
    if not tests:
        sys.exit(f"FAIL: no unit test in {BUILD} cuts the power")
    os.nice(10)
    print(f"seed {seed}, {sum(len(t.paths) for t in tests)} tests of {len(tests)} programs", flush=True)
    first = True
    while first or time.monotonic() < end:
        for t in tests:
            if first or time.monotonic() < end:
                t.run("R02S" + "".join(f"{rng.getrandbits(32):08x}" for _ in range(4)))
        first = False
    for t in tests + [None]:
        name, sums = (t.name, [t]) if t else ("all", tests)
        values = [sum(getattr(x, k) for x in sums) for k in ("rounds", "cuts", "images", "failures")]
        print(f"{name:24s} {values[0]:6d} rounds {values[1]:7d} workloads {values[2]:9d} images {values[3]:4d} failures")
    return any(t.failures for t in tests)


sys.exit(main())
