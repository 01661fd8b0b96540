#!/usr/bin/env python3
"""A guest draws by the registers of a standard VGA; the monitor takes pictures of it and types.

The guest is tests/lib/vga_guest.py's."""
import os
import struct
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402
from vga_guest import H, W, kernel, want  # noqa: E402

def read_png(path):
    """RGB, 8 bits, as we write it."""
    data, at, idat = open(path, "rb").read(), 8, b""
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + n]
        if kind == b"IHDR":
            w, h = struct.unpack(">II", body[:8])
        idat += body if kind == b"IDAT" else b""
        at += n + 12
    raw, stride, out, prev = zlib.decompress(idat), w * 3, bytearray(), bytes(w * 3)
    for y in range(h):
        f, row = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride):
            a, b, c = (row[i - 3] if i > 2 else 0), prev[i], (prev[i - 3] if i > 2 else 0)
            p = a + b - c
            near = a if abs(p - a) <= abs(p - b) and abs(p - a) <= abs(p - c) else b if abs(p - b) <= abs(p - c) else c
            row[i] = (row[i] + (0, a, b, (a + b) // 2, near)[f]) & 255
        out += row
        prev = row
    return w, h, bytes(out)


def hmp(q, line):
    return q.cmd("human-monitor-command", **{"command-line": line})


def run(work, image, accel):
    def args(qmp):
        return ["-M", "pc", "-m", "16M", "-accel", accel, "-nodefaults", "-display", "none", "-vga", "std", "-serial", "stdio",
                "-kernel", image, "-qmp", f"unix:{qmp},server=on,wait=off"]

    with vm.Guest(args(f"{work}/q1"), accel) as g:
        q = vm.QMP(f"{work}/q1")
        g.expect("A", 60)
        if q.picture(f"{work}/p") != (W, H, want()):
            g.die("the first picture differs")
        if "Error" in hmp(q, f"screendump {work}/png -f png") or read_png(f"{work}/png") != (W, H, want()):
            g.die("the PNG picture differs")
        if hmp(q, "info screen") != f"graphics {W}x{H}\r\n" and hmp(q, "info screen") != f"graphics {W}x{H}\n":
            g.die(f"info screen: {hmp(q, 'info screen')!r}")
        g.send("x")
        g.expect("B", 60)
        if q.picture(f"{work}/p") != (W, H, want(True)):
            g.die("the second picture differs")
        hmp(q, "sendkey ctrl-a 20")
        q.cmd("send-key", keys=[{"type": "qcode", "data": "up"}, {"type": "number", "data": 0x1e}])
        end = time.monotonic() + 20
        while b"\x1d\x1e\x9e\x9d\xe0\x48\x1e\x9e\xe0\xc8" not in g.log:
            if time.monotonic() > end:
                g.die(f"scan codes: {bytes(g.log)!r}")
            g._pump(0.1)
        q.cmd("input-send-event", events=[{"type": "key", "data": {"down": True, "key": {"type": "qcode", "data": "b"}}},
                                          {"type": "rel", "data": {"axis": "x", "value": -5}},
                                          {"type": "btn", "data": {"down": True, "button": "left"}}])
        end = time.monotonic() + 20
        while not g.log.endswith(b"\x30"):
            if time.monotonic() > end:
                g.die(f"scan code of b: {bytes(g.log)!r}")
            g._pump(0.1)
        q.cmd("migrate", uri=f"file:{work}/state")
        with vm.Guest(args(f"{work}/q2") + ["-incoming", f"file:{work}/state"], f"{accel}, loaded") as copy:
            q2 = vm.QMP(f"{work}/q2")
            if q2.picture(f"{work}/p") != (W, H, want(True)):
                copy.die("the picture of a loaded state differs")
    print(f"ok: pictures and keys with -accel {accel}")


def refusals(work, image):
    base = ["-M", "pc", "-m", "16M", "-nodefaults", "-display", "none", "-S", "-kernel", image]
    with vm.Guest(base + ["-qmp", f"unix:{work}/q3,server=on,wait=off"], "no screen"):
        q = vm.QMP(f"{work}/q3")
        for line, word in (("screendump /tmp/x", "no screen"), ("sendkey ctrl-nokey", "no key 'nokey'"), ("sendkey 0xffff", "no key"),
                           ("mouse_set 9", "no pointer 9"), ("screendump", "is missing"), ("screendump x -f gif", "format"),
                           ("screendump x -f", "value is missing")):
            if word not in hmp(q, line):
                vm.fail(f"'{line}' says {hmp(q, line)!r}, not '{word}'")
        if hmp(q, "mouse_move -3 5") or "* Mouse #1: PS/2 Mouse" not in hmp(q, "info mice"):
            vm.fail(f"mouse: {hmp(q, 'mouse_move -3 5')!r} {hmp(q, 'info mice')!r}")
        if hmp(q, "mouse_button 1") or hmp(q, "mouse_button 0") or hmp(q, "mouse_set 1"):
            vm.fail("mouse_button, mouse_set")
    print("ok: what cannot be is told")


def main():
    work = vm.scratch()
    image = kernel(work)
    for accel in ("xlate", "interp"):
        run(work, image, accel)
    refusals(work, image)


main()
