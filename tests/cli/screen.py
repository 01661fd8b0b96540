#!/usr/bin/env python3
"""A guest draws by the registers of a standard VGA; the monitor takes pictures of it and types.

The guest is a multiboot kernel of a few bytes: it sets 640x480 with 32 bits by Bochs' VBE ports, fills video memory where PCI's BAR 0 says, and
then says on its serial port which scan codes it gets."""
import os
import struct
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

BASE, W, H, FACTOR = 0x100000, 640, 480, 0x010307


def u32(v):
    return struct.pack("<I", v & 0xffffffff)


def out16(port, v):
    return b"\xba" + u32(port) + b"\xb8" + u32(v) + b"\x66\xef"


def say(letter):
    return b"\xba" + u32(0x3f8) + b"\xb0" + letter + b"\xee"


def code():
    c = b"".join(out16(0x1ce, i) + out16(0x1cf, v) for i, v in ((4, 0), (1, W), (2, H), (3, 32), (4, 0x41)))
    c += b"\xba" + u32(0xcf8) + b"\xb8" + u32(0x80001010) + b"\xef\xb2\xfc\xed\x24\xf0\x89\xc7"  # edi: BAR 0 of 00:02.0
    # for ecx: [edi + 4 * ecx] = ecx * FACTOR
    c += b"\x31\xc9\x89\xc8\x69\xc0" + u32(FACTOR) + b"\x89\x04\x8f\x41\x81\xf9" + u32(W * H) + b"\x75\xec"
    c += say(b"A")
    c += b"\xba" + u32(0x3fd) + b"\xec\xa8\x01\x74\xfb\xba" + u32(0x3f8) + b"\xec"  # until somebody types there
    c += b"\xb9" + u32(W * 100) + b"\xc7\x04\x8f" + u32(0xff8040) + b"\x41\x81\xf9" + u32(W * 101) + b"\x75\xf0"
    c += say(b"B")
    c += b"\xe4\x64\xa8\x01\x74\xfa\xe4\x60\xba" + u32(0x3f8) + b"\xee\xeb\xf0"  # keyboard to serial port
    return c


def kernel(work):
    flags, body = 1 << 16, code()
    end = BASE + 32 + len(body)
    head = struct.pack("<8I", 0x1badb002, flags, -(0x1badb002 + flags) & 0xffffffff, BASE, BASE, end, end, BASE + 32)
    path = os.path.join(work, "kernel")
    with open(path, "wb") as f:
        f.write(head + body)
    return path


def want(line=False):
    px = bytearray()
    for i in range(W * H):
        v = 0xff8040 if line and i // W == 100 else i * FACTOR
        px += bytes((v >> 16 & 255, v >> 8 & 255, v & 255))
    return bytes(px)


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


def picture(q, path):
    q.cmd("screendump", filename=path)
    data = open(path, "rb").read()
    head = b"P6\n%d %d\n255\n" % (W, H)
    if not data.startswith(head):
        vm.fail(f"not a picture of {W}x{H}: {data[:20]!r}")
    return data[len(head):]


def hmp(q, line):
    return q.cmd("human-monitor-command", **{"command-line": line})


def run(work, image, accel):
    def args(qmp):
        return ["-M", "pc", "-m", "16M", "-accel", accel, "-nodefaults", "-display", "none", "-vga", "std", "-serial", "stdio",
                "-kernel", image, "-qmp", f"unix:{qmp},server=on,wait=off"]

    with vm.Guest(args(f"{work}/q1"), accel) as g:
        q = vm.QMP(f"{work}/q1")
        g.expect("A", 60)
        if picture(q, f"{work}/p") != want():
            g.die("the first picture differs")
        if "Error" in hmp(q, f"screendump {work}/png -f png") or read_png(f"{work}/png") != (W, H, want()):
            g.die("the PNG picture differs")
        if hmp(q, "info screen") != f"graphics {W}x{H}\r\n" and hmp(q, "info screen") != f"graphics {W}x{H}\n":
            g.die(f"info screen: {hmp(q, 'info screen')!r}")
        g.send("x")
        g.expect("B", 60)
        if picture(q, f"{work}/p") != want(True):
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
            if picture(q2, f"{work}/p") != want(True):
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
