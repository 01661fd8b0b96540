#!/usr/bin/env python3
"""The modes of the cards' own BIOSes, text, planes and VBE, as a boot sector sets and fills them: pictures beside QEMU's, pixel by pixel.

    modes.py CARD...    of -vga"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
# Left out: 40 columns, which are 9 dots wide here and 8 there, and VBE of 16 colours (102h), where QEMU garbles the text.
MODES = [0x03, 0x04, 0x06, 0x0d, 0x0e, 0x10, 0x11, 0x12, 0x13,
         0x101, 0x103, 0x10e, 0x110, 0x111, 0x112, 0x115, 0x118, 0x142]
NEAR = 7  # a DAC of 6 bits is made 8 in more than one way


def pictures(work, emulator, card, floppy):
    """Of each mode; None: the BIOS has not got it."""
    name = os.path.basename(emulator[0])
    args = ["-M", "pc", "-m", "64M", "-nodefaults", "-display", "none", "-vga", card, "-serial", "stdio", "-qmp",
            f"unix:{work}/{name}-{card},server=on,wait=off", "-accel", "tcg", "-boot", "a", "-drive", f"if=floppy,format=raw,readonly=on,file={floppy}"]
    out = []
    with vm.Guest(args, f"{name} {card}", emu=emulator) as g:
        q = vm.QMP(f"{work}/{name}-{card}")
        for i, mode in enumerate(MODES):
            letter = chr(ord("A") + i)
            there = g.expect(f"=([{letter}{letter.lower()}]);", 60).group(1).decode() == letter
            path = f"{os.environ.get('VIV_KEEP', work)}/{name}-{card}-{mode:x}.ppm"
            out.append(q.picture(path) if there else None)
            g.send(" ")
        g.expect("!", 60)
    return out


def scaled(p, width, height):
    """Lines and points doubled: how often is not said of a picture."""
    w, h, px = p
    x, y = max(width // w, 1), max(height // h, 1)
    if (x, y) == (1, 1):
        return p
    rows = (px[r * w * 3:(r + 1) * w * 3] for r in range(h))
    rows = (b"".join(row[i:i + 3] * x for i in range(0, w * 3, 3)) for row in rows)
    return w * x, h * y, b"".join(row * y for row in rows)


def same(a, b):
    """What differs, or None."""
    if a is None or b is None:
        return None if a is b else "the mode is there on one of them"
    a, b = scaled(a, *b[:2]), scaled(b, *a[:2])
    if a[:2] != b[:2]:
        return f"{a[0]}x{a[1]} and {b[0]}x{b[1]}"
    far = [i for i, (x, y) in enumerate(zip(a[2], b[2])) if abs(x - y) > NEAR]
    return f"{len(far)} bytes, the first at {far[0] // 3 % a[0]}, {far[0] // 3 // a[0]}" if far else None


def main():
    vm.need("qemu-system-x86_64")
    work = vm.scratch()
    floppy = vm.boot_sector(work, f"{HERE}/modes.S", f"-DMODES={','.join(map(str, MODES))}")
    for card in sys.argv[1:] or ["std"]:
        mine = pictures(work, vm.emulator(), card, floppy)
        theirs = pictures(work, ["qemu-system-x86_64"], card, floppy)
        for mode, a, b in zip(MODES, mine, theirs):
            if what := same(a, b):
                vm.fail(f"{card}: mode {mode:x}h: {what}")
            if a and len(set(a[2])) < 2:
                vm.fail(f"{card}: mode {mode:x}h: all of one colour")
        print(f"ok: {card}: {sum(p is not None for p in mine)} modes are QEMU's")


main()
