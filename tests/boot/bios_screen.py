#!/usr/bin/env python3
"""SeaBIOS on a VGA (std, or each of -vga's that is named) with nothing to boot from: its screen as text and as a picture.

Text goes through VGABIOS: option ROM, mode 3, fonts, cursor. The picture's cells must be those of the text: equal characters look
equal, spaces are empty. Then a VBE mode is set by nobody, but the menu answers the keyboard: Ctrl-Alt-Delete boots again.

That it has booted again its log tells (debug port 402h), not the screen: after a reset the memory of the card still holds the old text,
which is to be seen for a moment between VGABIOS's setting of the mode and its clearing, long before the keyboard is set up."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402


def hmp(q, line):
    return q.cmd("human-monitor-command", **{"command-line": line})


def screen(q):
    return q.cmd("x-query-screen")["human-readable-text"]


def wait_for(q, g, word, seconds):
    end = time.monotonic() + seconds * vm.SLOW
    while word not in screen(q):
        if time.monotonic() > end:
            g.die(f"'{word}' is not on the screen:\n{screen(q)}")
        time.sleep(0.1)


def cells(q, path):
    q.cmd("screendump", filename=path)
    data = open(path, "rb").read()
    head = b"P6\n720 400\n255\n"
    if not data.startswith(head):
        vm.fail(f"a picture of another size: {data[:20]!r}")
    px = data[len(head):]
    return [[b"".join(px[((r * 16 + y) * 720 + c * 9) * 3:][:27] for y in range(16)) for c in range(80)] for r in range(25)]


def compare(q, work, lines):
    """Characters and their pictures belong to each other, one to one; the cursor's cell apart."""
    look, odd = {}, 0
    for row, line in zip(cells(q, f"{work}/p"), lines):
        for ch, cell in zip(line.ljust(80), row):
            odd += look.setdefault(ch, cell) != cell
    if odd > 1 or len(look) < 20 or len(set(look.values())) != len(look):
        vm.fail(f"{odd} cells differ from others of their character, {len(look)} characters, {len(set(look.values()))} pictures")
    if any(look[" "]):
        vm.fail("a space is not black")


def bios(work, card):
    args = ["-M", "pc", "-m", "64M", "-nodefaults", "-display", "none", "-vga", card, "-qmp",
            f"unix:{work}/q,server=on,wait=off", "-chardev", "stdio,id=log", "-device", "isa-debugcon,iobase=0x402,chardev=log"]
    with vm.Guest(args, card) as g:
        q = vm.QMP(f"{work}/q")
        g.expect("No bootable device", 60)
        wait_for(q, g, "No bootable device", 60)
        lines = screen(q).split("\n")
        if not lines[0].startswith("SeaBIOS (version"):
            g.die(f"first line: {lines[0]!r}")
        compare(q, work, lines)
        print("ok: SeaBIOS's text, and a picture that agrees with it")
        hmp(q, f"screendump {os.environ.get('VIV_KEEP', work)}/bios-{card}.png -f png")
        hmp(q, "system_reset")
        g.expect("No bootable device", 60)
        q.events.clear()
        q.cmd("send-key", keys=[{"type": "qcode", "data": k} for k in ("ctrl", "alt", "delete")])
        end = time.monotonic() + 20 * vm.SLOW
        while not any(e["event"] == "RESET" and e["data"]["guest"] for e in q.events):
            if time.monotonic() > end:
                g.die("Ctrl-Alt-Delete does not reset")
            screen(q)
            time.sleep(0.1)
        g.expect("No bootable device", 60)
    print(f"ok: {card}: again after reset, and after Ctrl-Alt-Delete")


def main():
    if not os.path.exists("/usr/share/seabios/vgabios-stdvga.bin"):
        vm.skip("needs Debian's seabios")
    for card in sys.argv[1:] or ["std"]:
        bios(vm.scratch(), card)


main()
