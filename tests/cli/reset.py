#!/usr/bin/env python3
"""A guest that resets itself all the time, by port CF9h or by a triple fault, saved at odd moments.

A reset that was asked for just before the stop belongs to the saved state: each loaded copy must reset and go on."""
import os
import random
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import multiboot  # noqa: E402
import vm  # noqa: E402

PRINT = b"\x66\xba\xf8\x03\xb0R\xee"  # mov $0x3f8,%dx; mov $'R',%al; out %al,%dx
STOP = b"\xf4\xeb\xfd"                # hlt for ever
WAYS = {
    "port CF9h": PRINT + b"\x66\xba\xf9\x0c\xb0\x02\xee\xb0\x06\xee" + STOP,
    "triple fault": PRINT + b"\x0f\x01\x1d" + struct.pack("<I", multiboot.CODE + 64) + b"\xcc" + STOP,  # lidt of zeros; int3
}
POINTS = 12


def run(work, name, code):
    rng = random.Random(5)
    image = multiboot.kernel(work, code.ljust(96, b"\0"), name.replace(" ", "-"))

    def args(qmp):
        return ["-M", "pc", "-m", "16M", "-nodefaults", "-display", "none", "-serial", "stdio", "-kernel", image,
                "-qmp", f"unix:{qmp},server=on,wait=off"]

    with vm.Guest(args(f"{work}/q1"), name) as g:
        q = vm.QMP(f"{work}/q1")
        g.expect("RRRR", 20)
        for i in range(POINTS):
            time.sleep(rng.uniform(0, 0.02))
            q.cmd("migrate", uri=f"file:{work}/state")
            if q.cmd("query-migrate")["status"] != "completed":
                g.die("migrate failed")
            with vm.Guest(args(f"{work}/q2") + ["-incoming", f"file:{work}/state"], f"{name}, copy {i}") as copy:
                copy.expect("RRRR", 20)
            q.cmd("cont")
            g.seen = len(g.log)
            g.expect("RRRR", 20)
    print(f"ok: {POINTS} copies of a guest that resets by {name}")


def main():
    work = vm.scratch()
    for name, code in WAYS.items():
        run(work, name, code)


main()
