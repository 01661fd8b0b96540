#!/usr/bin/env python3
"""Kernels that are entered without firmware find text mode 3: kernel_screen.py [CARD...]

On each VGA a multiboot kernel writes every character and every colour to B8000h: the text is there, the picture's dots are the font's and
its colours the EGA's, after a reset too. Then the kernel says what the BIOS data area has of it. Linux, told nothing of a console, has the
screen; without a VGA it has none, and starts."""
import os
import re
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import multiboot  # noqa: E402
import vm  # noqa: E402

TOP = os.path.join(os.path.dirname(__file__), "../..")
FONTS = ["/usr/share/consolefonts/Uni2-VGA16.psf.gz", "/usr/share/consolefonts/FullGreek-VGA16.psf.gz"]
# What the kernel sends of the BIOS data area: address, bytes.
BDA = {0x449: b"\3", 0x44a: b"\x50\0", 0x44c: b"\0\x10", 0x463: b"\xd4\3", 0x484: b"\x18", 0x485: b"\x10\0"}


def say(address):
    return b"\xa0" + struct.pack("<I", address) + b"\xee"  # mov al,[address]; out dx,al


def code():
    """Cell n: character n and attribute n / 8 without blinking, so that all 128 are there; then B, the data area, E by COM1."""
    c = b"\xbf\x00\x80\x0b\x00\x31\xc9"                       # mov edi,b8000h; xor ecx,ecx
    c += b"\x89\xc8\xc1\xe8\x03\x24\x7f\x88\xc4\x88\xc8"      # 1: mov eax,ecx; shr eax,3; and al,7fh; mov ah,al; mov al,cl
    c += b"\x66\xab\x41\x81\xf9\xd0\x07\x00\x00\x75\xea"      # stosw; inc ecx; cmp ecx,2000; jne 1b
    c += b"\xba\xf8\x03\x00\x00\xb0B\xee"
    c += b"".join(say(at + i) for at, want in BDA.items() for i in range(len(want)))
    return c + b"\xb0E\xee\xf4\xeb\xfd"                       # hlt; jmp to it


def font():
    made = subprocess.run([sys.executable, f"{TOP}/src/ui/vc/make_font.py", "--cp437", *FONTS], check=True, capture_output=True, text=True)
    rows = [bytes(int(b, 16) for b in re.findall(r"0x(\w\w)", line)) for line in made.stdout.splitlines() if line.startswith("    {")]
    if len(rows) != 256:
        vm.fail(f"a font of {len(rows)} characters")
    return rows


def colour(n):
    """Of 16: two thirds of each part, a third more where it is bright; 6 is brown."""
    if n == 6:
        return bytes((0xaa, 0x55, 0))
    bright = 0x55 if n & 8 else 0
    return bytes((0xaa if n & bit else 0) + bright for bit in (4, 2, 1))


def want():
    rows = font()
    out = bytearray()
    for y in range(400):
        for col in range(80):
            n = y // 16 * 80 + col
            ch, attr = n % 256, n // 8 & 0x7f
            bits = rows[ch][y % 16] << 1
            if 0xc0 <= ch <= 0xdf:  # lines go on in the ninth dot
                bits |= bits >> 1 & 1
            for dot in range(8, -1, -1):
                out += colour(attr & 15 if bits >> dot & 1 else attr >> 4)
    return bytes(out)


def picture(q, path):
    q.cmd("screendump", filename=path)
    with open(path, "rb") as f:
        return f.read()


def hide_cursor(px, seen):
    """The cursor is in the first cell, its last two lines."""
    for y in (13, 14):
        at = y * 720 * 3
        px = px[:at] + seen[at:at + 27] + px[at + 27:]
    return px


def check(q, work, expected, what):
    head = b"P6\n720 400\n255\n"
    got = picture(q, f"{work}/p")
    if not got.startswith(head):
        vm.fail(f"{what}: a picture of another size: {got[:15]!r}")
    got = got[len(head):]
    expected = hide_cursor(expected, got)
    bad = [i // 3 for i in range(0, len(got), 3) if got[i:i + 3] != expected[i:i + 3]]
    if bad:
        vm.fail(f"{what}: {len(bad)} dots differ, the first at {bad[0] % 720}, {bad[0] // 720}")


def bare(work, machine, card, expected):
    kernel = multiboot.kernel(work, code())
    args = ["-M", machine, "-m", "64M", "-nodefaults", "-display", "none", "-vga", card, "-serial", "stdio", "-qmp",
            f"unix:{work}/q,server=on,wait=off", "-kernel", kernel]
    with vm.Guest(args, card) as g:
        q = vm.QMP(f"{work}/q")
        for what in ("started", "reset"):
            said = g.expect("B([^E]*)E", 30).group(1)
            if said != b"".join(BDA.values()):
                g.die(f"{what}: the BIOS data area has {said.hex(' ')}")
            check(q, work, expected, f"{machine}, {card}, {what}")
            q.cmd("system_reset")
    print(f"ok: {machine}, {card}: text mode at B8000h, and again after a reset")


def linux(card):
    work = vm.scratch()
    args = ["-m", "256M", "-nodefaults", "-display", "none", "-vga", card, "-serial", "stdio", "-qmp", f"unix:{work}/q,server=on,wait=off",
            "-kernel", vm.kernel(), "-initrd", vm.initramfs("echo seen-on-the-screen > /dev/tty0; echo up > /dev/ttyS0; sleep 1000", [])]
    with vm.Guest(args, f"linux-{card}") as g:
        q = vm.QMP(f"{work}/q")
        g.expect(r"^up", 120)
        if card == "none":
            print("ok: Linux without a screen")
            return
        text = q.cmd("x-query-screen")["human-readable-text"]
        if "seen-on-the-screen" not in text or "] " not in text:
            g.die(f"Linux's screen:\n{text}")
        g.kill()
    print(f"ok: Linux's messages are on the screen of {card}")


def main():
    cards = sys.argv[1:] or ["std", "cirrus", "virtio"]
    work, expected = vm.scratch(), want()
    for machine in ("pc", "q35"):
        for card in cards:
            bare(work, machine, card, expected)
    linux(cards[0])
    linux("none")


main()
