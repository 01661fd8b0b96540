#!/usr/bin/env python3
"""x, xp, print, i, memsave: what they say of a machine that stands at its reset vector, beside what QEMU says of the same."""
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

SAME = ["xp/4xw 0xffff0", "xp/10xb 0xffff0", "xp/3dw 0xffff0", "xp/5ub 0xffff0", "xp/2xg 0xffff0", "xp/3xh 0xffff1", "xp/4oh 0xffff0", "xp/2dg 0xffff0",
        "xp/2ow 0xffff0", "xp/3db 0xffff5", "x/4xw 0xfffffff0", "xp /2xw 0xffff0 + 4 * 2", "print/x 1+2*3", "print/x $cs", "print/d 0xffffffff",
        "p/d -5", "p/x ~0xf", "p/c 65", "p/u 7 % 4", "p/o 8", "p/x (1 + 2) * 4", "p/x 0xff & 0x3c", "p/x 1 | 6 ^ 3", "p/x $pc"]
REFUSED = [("xp/q 0", "format 'q'"), ("print foo", "'foo' is no number"), ("print (1", "parenthesis"), ("print 5/0", "division by zero"),
           ("x/100000x 0", "1 to 65536"), ("x", "'addr' is missing"), ("cpu 7", "there is no CPU 7"), ("print $xyz", "no register 'xyz'"),
           ("i 0x10000", "ports are 0 to 0xffff"), ("print " + "(" * 200, "in each other"), ("p 0x10000000000000000", "more than 64 bits")]


def ask(emulator, lines):
    """The answer to each line."""
    work = vm.scratch()
    p = subprocess.Popen(emulator + ["-S", "-M", "pc", "-m", "16", "-nodefaults", "-display", "none", "-qmp", f"unix:{work}/q,server=on,wait=off"])
    try:
        q = vm.QMP(f"{work}/q")
        return [q.cmd("human-monitor-command", **{"command-line": line}).replace("\r", "") for line in lines]
    finally:
        p.kill()
        p.wait()


def main():
    if not os.path.exists("/usr/share/seabios/bios-256k.bin"):
        vm.skip("needs Debian's seabios")
    dump = os.path.join(vm.scratch(), "dump")
    ours = ask(vm.emulator(), SAME + [r[0] for r in REFUSED] + ["x/2i $pc", "i/b 0x61", "o/b 0x80 1", f"pmemsave 0xffff0 16 {dump}", f"memsave 0xffff0 7 {dump}2"])
    for line, said in zip(SAME + [None] * 99, ours):
        if line and "rror" in said:
            vm.fail(f"{line}: {said}")
    for (line, want), said in zip(REFUSED, ours[len(SAME):]):
        if want not in said:
            vm.fail(f"{line}: {said!r} does not say '{want}'")
    code, port, out, saved, saved2 = ours[len(SAME) + len(REFUSED):]
    if not code.startswith("0xfffffff0:  ea 5b e0 00 f0 ") and "capstone" not in code.lower():
        vm.fail(f"x/2i $pc: {code}")
    if not port.startswith("portb[0x0061] = 0x") or out or saved or saved2:
        vm.fail(f"i, o, pmemsave: {port!r} {out!r} {saved!r} {saved2!r}")
    data = open(dump, "rb").read()
    if len(data) != 16 or data[0] != 0xea or open(dump + "2", "rb").read() != data[:7]:
        vm.fail("memsave saves something else")
    if not shutil.which("qemu-system-x86_64"):
        print("ok: (no QEMU to compare with)")
        return
    for line, mine, theirs in zip(SAME, ours, ask(["qemu-system-x86_64"], SAME)):
        if mine.strip() != theirs.strip():
            vm.fail(f"{line}:\n{mine}\nQEMU:\n{theirs}")
    print(f"ok: {len(SAME)} answers as QEMU's, {len(REFUSED)} errors")


main()
