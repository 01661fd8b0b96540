#!/usr/bin/env python3
"""Breakpoints, steps and watchpoints under this host's KVM, by gdb's packets, on a loop that counts in memory.

A KVM that emulates kernel code (viv doctor: slow) watches no data: that part is left out there, with a line."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import multiboot  # noqa: E402
import rsp  # noqa: E402
import vm  # noqa: E402

CODE = b"\xbb\x00\x00\x20\x00" + b"\x40" + b"\x89\x03" + b"\x90" + b"\xeb\xfa"  # mov $0x200000,%ebx; 1: inc %eax; mov %eax,(%ebx); nop; jmp 1b
INC, STORE, NOP = (multiboot.CODE + at for at in (5, 6, 8))
COUNTER = 0x200000


class Gdb(rsp.Client):
    def must(self, text, want):
        got = self.ask(text)
        if not got.startswith(want):
            vm.fail(f"{text}: {got}, not {want}")

    def number(self, text):
        return int.from_bytes(bytes.fromhex(self.ask(text)), "little")

    def at(self, pc):
        if self.number("p10") != pc:
            vm.fail(f"it stopped at {self.number('p10'):x}, not {pc:x}")


def breaks(g, kind):
    g.must(f"Z{kind},{INC:x},1", "OK")
    for _ in range(3):
        before = g.number("p0")
        g.must("c", "T05")
        g.at(INC)
        if g.number(f"m{INC:x},1") != 0x40:
            vm.fail("the breakpoint can be read")
        g.must("s", "T05")
        g.at(STORE)
        if g.number("p0") not in (before + 1, before + 2):
            vm.fail("a round of the loop is missing")
    g.must(f"z{kind},{INC:x},1", "OK")


def watches(g):
    g.must(f"Z2,{COUNTER:x},4", "OK")
    for _ in range(3):
        g.must("c", f"T05thread:1;watch:{COUNTER:x}")
        g.at(NOP)
    g.must(f"z2,{COUNTER:x},4", "OK")
    g.must(f"Z3,{COUNTER:x},4", "E")
    g.must("s", "T05thread:1;")


def main():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        vm.skip("no /dev/kvm")
    work = vm.scratch()
    args = ["-M", "pc", "-m", "16M", "-accel", "kvm", "-nodefaults", "-display", "none", "-kernel", multiboot.kernel(work, CODE), "-S", "-gdb",
            f"unix:{work}/gdb", "-serial", "stdio"]
    with vm.Guest(args, "kvm") as g:
        gdb = Gdb(f"{work}/gdb", 20 * vm.SLOW, 30 * vm.SLOW)
        gdb.must("?", "T")
        breaks(gdb, 0)
        breaks(gdb, 1)
        g._pump(0.2)
        if "runs guest kernel code at" in g.text:
            print("breakpoints and steps; this KVM emulates, and watches no data")
        else:
            watches(gdb)
        for n in range(4):
            gdb.must(f"Z1,{INC + 0x1000 * n:x},1", "OK")
        gdb.must(f"Z1,{INC + 0x5000:x},1", "E")
        gdb.must("z1,%x,1" % INC, "OK")
    print("ok: gdb's packets under KVM")


main()
