"""Seeds of screens, diskettes, keyboards, serial lines, small virtio devices and the chips of the PC."""
import struct

import device_seeds_usb
from device_script import Script, msix


# --- screens ---

def vga_registers(s, window=0, base=0x3b0):
    def index(port, n, v):
        s.out(window, port - base, n | v << 8, 2)
    return index


def set_mode(s, misc, seq, crtc, gr, attr):
    index = vga_registers(s)
    s.out(0, 0x12, misc, 1)
    for n, v in enumerate(seq):
        index(0x3c4, n, v)
    index(0x3d4, 0x11, 0)
    for n, v in enumerate(crtc):
        index(0x3d4, n, v)
    for n, v in enumerate(gr):
        index(0x3ce, n, v)
    s.read(0, 0x2a, 1)
    for n, v in enumerate(attr):
        s.out(0, 0x10, n, 1).out(0, 0x10, v, 1)
    s.out(0, 0x10, 0x20, 1).out(0, 0x18, 0, 1).rep(0, 0x19, 96, 1, True)
    return s


CRTC = {"text": "5f4f50825581bf1f004f0d0e00000000 9c8e8f281f96b9a3ff", "320": "5f4f50825480bf1f004100000000000 09c8e8f284096b9a3ff",
        "640": "5f4f508254800b3e00400000000000 00ea8cdf2800e704e3ff", "cga": "2d27282b3280bf1f00c1000000000000 9c8e8f140096b9a2ff"}
MODES = [(0x67, "0300030002", "text", "0000000000100e00ff", 0x0c), (0x63, "03010f000e", "320", "000000000040050fff", 0x41),
         (0xe3, "03010f0006", "640", "000000000000050fff", 1), (0x63, "0309030002", "cga", "00000000003 00f00ff", 1),
         (0x67, "0301030002", "text", "0000000000100e00ff", 0), (0x63, "0301010006", "640", "00000000000 00d00ff", 1)]


def mode(s, n):
    misc, seq, crtc, gr, control = MODES[n]
    parts = [bytes.fromhex(x.replace(" ", "")) for x in (seq, CRTC[crtc], gr)]
    return set_mode(s, misc, *parts, bytes(range(16)) + bytes((control, 0, 15, 0 if n != 4 else 8, 0)))


def picture(s, window=2, mmio=True):
    for i in range(4):
        s.out(window, 0x18000 * (not mmio) + i * 0x1000, 0x07410720, 4)
    s.rep(window, 0, 200, 4, True).ram(0xb8000, bytes((0x41, 7, 0x42, 0x17, 0xc9, 0x2f) * 20))
    return s.back(9, 1).back(9, 0).out(window, 5, 0x55, 1).read(window, 5, 1).back(9, 0)


def vga():
    for n in range(len(MODES)):
        yield picture(mode(Script(), n)).reload().back(9, 0).out(0, 0x24, 0x0c, 1).out(0, 0x25, 1, 1).back(9, 0)
        for gr5 in (0, 1, 2, 3, 0x40, 8):
            s = mode(Script(), n)
            index = vga_registers(s)
            index(0x3ce, 5, gr5)
            index(0x3ce, 1, 0xf)
            index(0x3ce, 3, gr5 << 3 & 0x18 | 1)
            yield picture(s)
    s = mode(Script(), 0)
    index = vga_registers(s)
    for n, v in ((0xa, 0x20), (0xe, 0), (0xf, 5), (8, 3), (9, 0x8f), (0x14, 0x1f), (0x17, 0xe3), (0x18, 20), (7, 0), (9, 0x0f), (0x13, 0)):
        index(0x3d4, n, v)
        picture(s)
    yield s
    for bpp in (4, 8, 15, 16, 24, 32):
        for flags in (0x41, 1, 0x81, 0xe1):
            s = Script()
            for n, v in ((4, 0), (1, 160), (2, 120), (3, bpp), (4, flags), (6, 200), (8, 8), (9, 4), (5, 1)):
                s.out(1, 0, n, 2).out(1, 2, v, 2).read(1, 2, 2)
            s.rep(3, 0, 200, 4, True).out(3, 0x10000, 0x00ff00ff, 4).back(9, 1).back(9, 0).out(3, 0x100, 0xffff, 2)
            yield s.back(9, 0).reload().back(9, 4 | 0x500).back(9, 2).back(9, 0)
    s = Script().read(4, 0).read(4, 0x100).out(4, 0x604, 0x1e1e1e1e).out(4, 0x500, 0x160, 2).read(4, 0x508, 2).out(4, 0x410, 1, 1)
    yield s.out(4, 0x502, 640, 2).out(4, 0x504, 200, 2).out(4, 0x506, 32, 2).out(4, 0x508, 0x41, 2).back(9, 1).control(0)
    yield mode(Script(), 1).read(0, 0xa, 1).read(0, 0x11, 1).rep(0, 0x19, 30, 1).out(0, 0x17, 3, 1).rep(0, 0x19, 9, 1).read(0, 0x2a, 1).read(0, 0x12, 1)


def cirrus():
    def extended(s, gr, sr7=1, sr17=0, more=()):
        index = vga_registers(s)
        index(0x3c4, 6, 0x12)
        index(0x3c4, 7, sr7)
        index(0x3c4, 0x17, sr17)
        for n, v in more:
            index(0x3c4, n, v)
        for n, v in gr:
            index(0x3ce, n, v)
        return s

    def blit(width, height, dst=0, src=0x8000, gr30=0, rop=0x0d, gr33=0, pitch=256, start=2):
        regs = {0x20: width - 1, 0x21: (width - 1) >> 8, 0x22: height - 1, 0x23: (height - 1) >> 8, 0x24: pitch, 0x25: pitch >> 8, 0x26: pitch, 0x27: pitch >> 8,
                0x28: dst, 0x29: dst >> 8, 0x2a: dst >> 16, 0x2c: src, 0x2d: src >> 8, 0x2e: src >> 16, 0x2f: 0, 0x30: gr30, 0x32: rop, 0x33: gr33,
                0: 0x11, 1: 0xee, 0x10: 1, 0x11: 2, 0x12: 3, 0x13: 4, 0x14: 5, 0x15: 6, 0x31: start}
        return [(n, v & 255) for n, v in regs.items()]

    rops = (0x00, 0x05, 0x06, 0x09, 0x0b, 0x0d, 0x0e, 0x50, 0x59, 0x6d, 0x90, 0x95, 0xad, 0xd0, 0xd6, 0xda)
    for n, rop in enumerate(rops):
        yield extended(mode(Script(), 2), blit(64, 8, rop=rop, gr30=n & 1, dst=0x2000 if n & 1 else 0), 1 | (n & 7) << 1).back(9, 1).reload().back(9, 0)
    for gr30 in (0x40, 0x80, 0xc0, 0x48, 0x88, 0xc8, 0x90, 0xd0, 0xa0, 0xe0, 0x10):
        for gr33 in (0, 2, 4):
            yield extended(mode(Script(), 2), blit(64, 16, gr30=gr30, gr33=gr33), 3)
    for gr30 in (4, 0x84, 0x8c, 0x44, 0xc4, 0x94):
        s = extended(mode(Script(), 2), blit(40, 6, gr30=gr30, gr33=gr30 & 1), 7)
        yield s.rep(1, 0, 20, 4, True).reload().rep(1, 0, 60, 4, True).read(2, 0)
    for sr7 in (1, 3, 5, 7, 9, 0):
        s = extended(mode(Script(), 2), [(9, 4), (0xa, 8), (0xb, 0x21)], sr7, 0, [(0x10, 4), (0x11, 5), (0x12, 5), (0x13, 3)])
        vga_registers(s)(0x3d4, 0x1b, 0x22)
        yield s.rep(2, 0, 250, 4, True).rep(1, 0, 100, 4, True).read(1, 0x8000, 1).back(9, 1).reload().back(9, 0)
    for sr17 in (4, 0x44):
        s = extended(mode(Script(), 2), [], 3, sr17)
        for n in range(0, 0x34, 4):
            s.out(1, 0x18000 + n, 0x00100010 + n).out(3, 0x100 + n, 0x00100010 + n)
        yield s.out(1, 0x18040, 2, 1).out(3, 0x140, 2, 1).out(2, 0xfff40, 2, 1).read(1, 0x18040).reload()
    for mode4 in (4, 5):
        s = extended(mode(Script(), 2), [(0xb, 0x16 if mode4 == 4 else 6), (5, mode4), (1, 0x55), (0, 0x22)], 1)
        yield s.rep(2, 0, 20, 4, True).rep(1, 0, 20, 1, True).back(9, 1)
    s = Script().read(0, 0x16, 1).read(0, 0x16, 1).read(0, 0x16, 1).read(0, 0x16, 1).out(0, 0x16, 0xe1, 1).read(0, 0x16, 1)
    index = vga_registers(extended(s, []))
    for n in range(0x20):
        s.out(0, 0x14, n, 1).read(0, 0x15, 1)
    for n in range(0x40):
        s.out(0, 0x1e, n, 1).read(0, 0x1f, 1)
    for n in (0x22, 0x24, 0x26, 0x27, 0x1d, 0x25):
        s.out(0, 0x24, n, 1).read(0, 0x25, 1)
    index(0x3c4, 0x12, 3)
    yield s.out(0, 0x18, 15, 1).rep(0, 0x19, 6, 1, True).out(0, 0x17, 1, 1).rep(0, 0x19, 6, 1).back(9, 1)


# --- diskettes ---

def floppy():
    def dma(s, length=511, write=False, at=0x20000, other=0x44):
        return s.out(1, 12, 0, 1).out(1, 11, (0x4a if write else 0x46), 1).out(1, 4, 0, 1).out(1, 4, 0, 1).out(2, 1, at >> 16, 1) \
                .out(1, 5, length & 255, 1).out(1, 5, length >> 8, 1).out(1, 10, 2, 1).out(3, 0x14, 0, 1).out(3, 0x16, 0xc0, 1)

    def command(s, text, results=7):
        for b in bytes.fromhex(text):
            s.read(0, 4, 1).out(0, 5, b, 1)
        return s.disk().rep(0, 5, results, 1)

    def init(dor=0x1c):
        s = Script().out(0, 2, 0, 1).out(0, 2, dor, 1).out(0, 7, 0, 1)
        return command(command(command(s, "08", 2), "03df02", 0), "0700", 0).rep(0, 5, 2, 1)

    texts = ["e600000001 0212 1bff", "c600000001 0212 1bff", "4600000001 02121bff", "cc00000001 0212 1bff", "5600000001 0212 1bff", "d100000001 0212 1bff",
             "d900000001021201ff", "dd00000001021201ff", "4200000001 02121bff", "6200000001021201ff", "4a00", "4a04", "0f000a", "8f0005", "cf0005", "1300570 0", "13005000",
             "0e", "10", "94", "14", "12fe", "9200", "2e" + "00" * 14, "4e" + "00" * 14, "18", "0400", "0401", "36", "6c", "bd", "0b00", "3301010000", "ff"]
    for text in texts:
        text = text.replace(" ", "")
        yield command(dma(init()), text).reload().rep(0, 5, 7, 1)
        s = init(0x1d if text[2:4] == "01" else 0x14)  # without DMA
        for b in bytes.fromhex(text):
            s.out(0, 5, b, 1)
        yield s.disk().rep(0, 5, 500, 1).disk().rep(0, 5, 40, 1)
    for text in ("c500000001021201ff", "c900000001021201ff", "4500000001 0212 1bff", "4d00021 21bf6"):
        text = text.replace(" ", "")
        yield command(dma(init(), 1023, True), text).reload()
        s = init(0x14)
        for b in bytes.fromhex(text):
            s.out(0, 5, b, 1)
        yield s.rep(0, 5, 500, 1, True).disk().rep(0, 5, 30, 1, True).disk().rep(0, 5, 10, 1)
    s = dma(init(), 1023)
    for b in bytes.fromhex("e600000001021201ff"):
        s.out(0, 5, b, 1)
    yield s.out(0, 2, 8, 1).out(0, 2, 0x1c, 1).disk().reload().back(10, 0).back(10, 1).read(0, 7, 1).back(10, 2).read(0, 7, 1)
    yield dma(init(), 1023).out(0, 4, 0x80, 1).out(0, 4, 0, 1).out(0, 3, 0x20, 1).read(0, 0, 1).read(0, 1, 1).read(0, 2, 1).read(0, 3, 1).control(0)
    s = Script()
    for port in range(16):
        s.out(1, port, 0x55, 1).out(1, port, 0x15, 1).read(1, port, 1)
    for port in range(0, 32, 2):
        s.out(3, port, 0x5, 1).read(3, port, 1)
    yield s.out(1, 9, 4, 1).out(1, 8, 0, 1).out(1, 9, 6, 1).reload()
    s = command(dma(init(), 511), "cc00000001021201ff").disk(0, 201)
    yield command(dma(s, 8191), "e6000000010212 1bff".replace(" ", "")).disk(0, 203).disk().disk().time(5000000)


# --- keyboard, mouse, serial lines ---

def ps2():
    s = Script().out(1, 0, 0xaa, 1).read(0, 0, 1).out(1, 0, 0xab, 1).read(0, 0, 1).out(1, 0, 0xa9, 1).read(0, 0, 1).out(1, 0, 0x60, 1).out(0, 0, 0x47, 1)
    for b in (0xff, 0xf2, 0xed, 7, 0xf0, 2, 0xf0, 0, 0xf3, 0x20, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0x1c, 0xee, 0xfe, 0xeb, 0xf4):
        s.out(0, 0, b, 1).time(2000000).read(1, 0, 1).read(0, 0, 1).read(0, 0, 1)
    yield s.reload()
    for code_set in (1, 2, 3):
        t = Script().out(1, 0, 0x60, 1).out(0, 0, 0x47 if code_set < 3 else 7, 1).out(0, 0, 0xf0, 1).out(0, 0, code_set, 1).out(0, 0, 0xf4, 1).rep(0, 0, 8, 1)
        for key in (30, 54, 96, 99, 119, 103, 210, 87, 0x150):
            t.back(0xc, key | 0x8000).back(0xc | 5 << 4, key).time(1000000).rep(0, 0, 8, 1).back(0xc, key).rep(0, 0, 6, 1)
        yield t.back(0xc | 4 << 4, 0).time(2000000).reload().rep(0, 0, 4, 1)
    for rates in ((), (200, 100, 80), (200, 200, 80)):
        t = Script().out(1, 0, 0xa8, 1).out(1, 0, 0x60, 1).out(0, 0, 0x43, 1)
        for b in (0xff, *(x for r in rates for x in (0xf3, r)), 0xf2, 0xe8, 3, 0xe7, 0xe6, 0xe9, 0xeb, 0xf0, 0xea, 0xee, 0x55, 0xec, 0xf4):
            t.out(1, 0, 0xd4, 1).out(0, 0, b, 1).time(1000000).rep(0, 0, 4, 1)
        for v in (0x0505, 0xfbfb, 0x7f80):
            t.back(0xc | 6 << 4, v).back(0xc | 1 << 4, v).back(0xc | 3 << 4, 0x11).time(20000000).rep(0, 0, 8, 1)
        yield t.reload().back(0xc | 6 << 4, 0x1111).rep(0, 0, 8, 1)
    t = Script()
    for c in (0x20, 0x21, 0xa7, 0xa8, 0xad, 0xae, 0xc0, 0xd0, 0xd1, 0xd2, 0xd3, 0xdd, 0xdf, 0xf0, 0xfe, 0xff, 0x61, 0xac):
        t.out(1, 0, c, 1).out(0, 0, 0x5a, 1).read(1, 0, 1).rep(0, 0, 2, 1)
    yield t.control(0).out(2, 0, 0x11, 1).out(2, 1, 8, 1).out(2, 1, 4, 1).out(2, 1, 1, 1).out(2, 1, 0, 1).back(0xc | 7 << 4, 2).back(0xc | 7 << 4, 2)


def serial():
    def init(window=0, fcr=0xc7, lcr=3, divisor=1):
        s = Script().out(window, 3, 0x80, 1).out(window, 0, divisor, 1).out(window, 1, divisor >> 8, 1).out(window, 3, lcr, 1)
        return s.out(window, 2, fcr, 1).out(window, 4, 0xb, 1).out(window, 1, 15, 1).read(window, 2, 1)

    for fcr in (0, 1, 0xc7, 0x47):
        for window in (0, 1):
            s = init(window, fcr).rep(window, 0, 20, 1, True).time(1000000).rep(window, 5, 2, 1)
            s.back(6, 0x0541 | window << 14).time(1000000).rep(window, 0, 6, 1).back(6, 0x0f41 | window << 14).back(6, 0x0f41 | window << 14).time(5000000)
            yield s.read(window, 2, 1).reload().rep(window, 0, 20, 1).back(7, 2 | window << 14).read(window, 5, 1).read(window, 6, 1)
    yield init().back(8, 3).rep(0, 0, 40, 1, True).time(20000000).reload().time(20000000).back(8, 255).time(3000000).read(0, 2, 1)
    yield init().out(0, 4, 0x1f, 1).rep(0, 0, 8, 1, True).time(1000000).rep(0, 0, 8, 1).out(0, 3, 0x43, 1).out(0, 4, 0x10, 1).read(0, 6, 1).out(0, 7, 9, 1).control(0)
    yield init(divisor=0).rep(0, 0, 8, 1, True).time(1000000).reload().out(0, 3, 0x80, 1).out(0, 0, 0xff, 1).out(0, 1, 0xff, 1).time(20000000)
    s = Script().out(2, 0, 0x41, 1).out(2, 2, 0xd, 1).out(2, 2, 0xc, 1).read(2, 1, 1).back(8, 0).out(2, 0, 0x42, 1).out(2, 2, 0x1d, 1).out(2, 2, 0x1c, 1)
    yield s.read(2, 1, 1).reload().back(8, 9).read(2, 1, 1).out(2, 2, 0x1d, 1).out(2, 2, 0x3c, 1).read(2, 0, 1)


# --- virtio ---

def virtio_gpu():
    def command(kind, *words, flags=1):
        return struct.pack("<IIQII%dI" % len(words), kind, flags, 7, 0, 0, *words)

    def send(s, data, more=b"", answer=24, queue=0, kick=True):
        s.ram(0x40000, data)
        if more:
            s.ram(0x44000, more)
            return s.request(queue, 2, 1, len(data), len(more), answer, kick=kick)
        return s.request(queue, 1, 1, len(data), answer, kick=kick)

    for packed in (0, 1):
        for form in (1, 2, 67, 121):
            s = send(Script().virtio(packed), command(0x100), answer=408)
            send(s, command(0x101, 1, form, 32, 16))
            send(s, command(0x106, 1, 2), struct.pack("<QIIQII", 0x50000, 1024, 0, 0x52000, 1024, 0))
            send(s, command(0x103, 0, 0, 32, 16, 0, 1))
            send(s, command(0x105, 0, 0, 32, 16, 0, 0, 1, 0))
            send(s, command(0x105, 4, 4, 8, 8, 16, 0, 1, 0))
            send(s, command(0x104, 0, 0, 32, 16, 1, 0)).back(9, 1).back(9, 0)
            yield send(send(s.reload(), command(0x104, 2, 2, 8, 8, 1, 0)), command(0x102, 1, 0)).back(9, 0)
        s = Script().virtio(packed)
        send(s, command(0x101, 2, 1, 64, 64))
        send(s, command(0x106, 2, 1), struct.pack("<QII", 0x50000, 16384, 0))
        send(s, command(0x105, 0, 0, 64, 64, 0, 0, 2, 0)).back(9, 1)
        send(s, command(0x300, 0, 3, 4, 0, 2, 5, 6, 0), queue=1)
        send(s, command(0x301, 0, 9, 9, 0, 2, 5, 6, 0), queue=1)
        send(s.reload(), command(0x300, 1, 3, 4, 0, 0, 0, 0, 0), queue=1)
        yield send(send(s, command(0x107, 2, 0)), command(0x103, 0, 0, 64, 64, 1, 2)).back(9, 0x1234).back(9, 4 | 0x700).read(0, 0x2000).out(0, 0x2004, 1)
        s = Script().virtio(packed)
        for kind in (0x108, 0x109, 0x10a, 0x10b, 0x200, 0x999):
            send(s, command(kind, 0, 0), answer=1100)
        send(s, command(0x101, 3, 1, 4000, 4000))
        send(s, command(0x101, 3, 1, 300, 300))
        send(s, command(0x103, 0, 0, 300, 300, 0, 3))
        yield send(s, command(0x103, 0, 0, 0, 0, 0, 0)).control(0)


def virtio_input():
    for window in (0, 1, 2):
        for packed in (0, 1):
            s = Script().virtio(packed, window=window)
            for i in range(10):
                s.request(0, 0, 1, 8, where=(i % 4) << 4 | i)
            for what, v in ((0, 0x801e), (0, 0x1e), (1, 0x0505), (2, 0x4050), (3, 0x11), (3, 0x02), (4, 0)):
                s.back(0xc | what << 4, v)
            s.reload()
            for i in range(4):
                s.request(0, 0, 1, 8, where=i).ram(0x40000, struct.pack("<HHI", 17, i, 1)).request(1, 1, 0, 8)
            for sel, sub in ((1, 0), (2, 0), (3, 0), (0x10, 0), (0x11, 1), (0x11, 2), (0x11, 3), (0x11, 0x11), (0x12, 0), (0x12, 1), (9, 9)):
                s.out(window, 0x2000, sel, 1).out(window, 0x2001, sub, 1).read(window, 0x2002, 1).read(window, 0x2008, 8)
            yield s.control(0)
            s = Script().virtio(packed, window=window).request(0, 0, 1, 8)
            for i in range(5):
                s.back(0xc, 0x8000 | 30 + i).back(0xc | 1 << 4, 0x101).back(0xc | 2 << 4, i)
            yield s.reload().request(0, 0, 1, 8).request(0, 0, 2, 4, 4).request(0, 0, 1, 9).virtio(window=window)


def balloon():
    pages = struct.pack("<8I", 0x60, 0x61, 0x62, 0x63, 0x70, 0x7fffffff, 0x9f, 0x60)
    for packed in (0, 1):
        for n in (0, 1):
            s = Script().virtio(packed).back(11, 0x0800).read(0, 0x2000, 8).ram(0x40000, pages).request(n, 1, 0, 32).out(0, 0x2004, 8)
            yield s.reload().request(1 - n, 1, 0, 32).back(11, 0x0f00).control(0)
        s = Script().virtio(packed).ram(0x40000, b"".join(struct.pack("<HQ", i, i << 12) for i in range(11))).request(2, 1, 0, 110).back(11, 0x1001)
        yield s.time(20000000).request(2, 1, 0, 110).reload().back(11, 0x1001).time(20000000).request(2, 1, 0, 7).back(11, 1)
        s = Script().virtio(packed)
        for q in (3, 4):
            s.request(q, 0, 2, 4096, 4096).request(q, 0, 3, 4096, 100, 16384, table=True)
        yield s.request(0, 2, 0, 3, 9).request(5, 1, 1, 4, 4).reload()
    yield msix(Script(), 1).out(2, 0, 0xfee00000).virtio(flags=2).back(11, 0x100).back(11, 0x200).ram(0x40000, pages).request(0, 1, 0, 32)


def virtio_9p():
    def message(kind, form="", *args):
        body = b""
        for c, a in zip(form, args):
            body += struct.pack("<H", len(a)) + a if c == "s" else a if c == "x" else struct.pack("<" + c, a)
        return struct.pack("<IBH", 7 + len(body), kind, 1) + body

    version, attach = message(100, "Is", 8192, b"9P2000.L"), message(104, "IIssI", 0, 0xffffffff, b"", b"", 0)
    walk = message(110, "IIH", 0, 1, 0)
    talk = [message(14, "IsIII", 1, b"a", 0x42, 0o644, 0), message(118, "IQIx", 1, 0, 5, b"hello"), message(116, "IQI", 1, 0, 100), message(24, "IQ", 1, 0x7ff),
            message(120, "I", 1), message(72, "IsII", 0, b"d", 0o755, 0), message(110, "IIHs", 0, 2, 1, b"d"), message(12, "II", 2, 0), message(40, "IQI", 2, 0, 300),
            message(76, "IsI", 0, b"d", 0x200), message(8, "I", 0), message(108, "H", 1), message(99, "I", 0), b"\1\2\3"]
    for packed in (0, 1):
        s = Script().virtio(packed)
        for n, m in enumerate([version, attach, walk, *talk]):
            s.ram(0x40000, m).request(0, 1, 1, len(m), 500, table=bool(n & 1))
            if n % 4:
                s.disk()
        yield s.disk().reload().control(0).reload()
        s = Script().virtio(packed).ram(0x40000, version).request(0, 1, 1, len(version), 100).reload()
        for n in range(6):
            s.ram(0x40000 + 0x1000 * n, attach if n == 0 else walk).request(0, 1, 1, 30, 60, where=n << 4)
        yield s.out(0, 0x14, 0, 1).virtio(packed).request(0, 1, 1, 9, 3).disk().request(0, 2, 0, 9, 3).disk().read(0, 0x2000, 4)


# --- the chips of the PC ---

def pc_platform():
    def pics(s):
        for w, base in ((0, 8), (1, 0x70)):
            s.out(w, 0, 0x11, 1).out(w, 1, base, 1).out(w, 1, 4 if not w else 2, 1).out(w, 1, 1, 1).out(w, 1, 0, 1)
        return s

    s = pics(Script()).out(3, 3, 0x34, 1).out(3, 0, 100, 1).out(3, 0, 1, 1).time(3000000).back(0xc | 7 << 4, 2).out(0, 0, 0x20, 1)
    for w in (0, 1):
        for b in (0x0a, 0x0b, 0x0c, 0x60, 0x68, 0x48, 0xc1, 0xa0, 0x80, 0):
            s.out(w, 0, b, 1).read(w, 0, 1).read(w, 1, 1)
    yield s.out(2, 0, 0xff, 1).out(2, 1, 0xff, 1).read(2, 0, 1).reload()
    for m in range(8):
        s = pics(Script()).out(4, 0, 1, 1)
        for c in range(3):
            s.out(3, 3, c << 6 | 0x30 | m << 1 | c & 1, 1).out(3, c, 0x20, 1).out(3, c, 1, 1).time(400000).out(3, 3, c << 6, 1).read(3, c, 1).read(3, c, 1)
        yield s.out(3, 3, 0xee, 1).read(3, 0, 1).read(3, 0, 1).reload().out(4, 0, 3, 1).read(4, 0, 1).out(3, 3, 0x10 | m << 1, 1).out(3, 0, 2, 1).time(200000).out(3, 0, 0, 1)
    s = Script()
    for n in (*range(14), 0x32, 0x37, 0x7f):
        s.out(5, 0, n, 1).read(5, 1, 1).out(5, 1, 0x23, 1)
    for a, b in ((0x2a, 0x72), (0x26, 0x12), (0x2f, 0x42), (0x00, 0x26), (0xa6, 0x82), (0x26, 0xf6)):
        s.out(5, 0, 10, 1).out(5, 1, a, 1).out(5, 0, 11, 1).out(5, 1, b, 1)
        for n in range(1, 10, 2):
            s.out(5, 0, n, 1).out(5, 1, 0xc0 if n < 6 else 1, 1)
        s.time(20000000).out(5, 0, 12, 1).read(5, 1, 1).out(5, 0, 0, 1).read(5, 1, 1)
    yield s.reload().time(20000000)
    s = Script().out(6, 0, 0xffff, 2).out(6, 2, 0x521, 2).out(6, 4, 1, 2).read(6, 8, 4).time(20000000).back(0xc | 7 << 4, 1).read(6, 0, 2).out(6, 12, 0xff, 2)
    s.out(6, 14, 2, 2).out(6, 4, 0x2001, 2).out(6, 4, 0x3401, 2).reload().read(6, 0, 2)
    s.out(7, 0x10, 0).read(7, 0).read(7, 4).read(7, 8).read(7, 12).out(7, 8, 0xffffffff).out(7, 0x18, 4).out(7, 0x10, 5)
    yield s.control(0)
    s = Script().cfg(2, 0x90, 0x701).cfg(2, 0xd0, 0x00090000).cfg(2, 4, 1, 2)
    for protocol in range(0, 0x1c, 4):
        s.out(14, 0, 0x1e, 1).out(14, 4, 0xa0 | protocol >> 4 & 1, 1).out(14, 3, 0, 1).out(14, 2, 0x40 | protocol, 1).read(14, 0, 1).read(14, 5, 1)
    yield s.rep(14, 7, 9, 1).reload()
    for cfg in (0x4, 0xc, 0x4e, 0x14, 0x16, 0x104, 0x8004):
        s = Script()
        for t in range(3):
            s.out(8, 0x100 + 32 * t, cfg | 2 << 9).out(8, 0x108 + 32 * t, 1000 + t, 8).out(8, 0x110 + 32 * t, 0xfee00000 << 32, 8)
        yield s.out(8, 0x10, 3 if cfg & 1 else 1).time(1000000).read(8, 0x20, 8).read(8, 0xf0, 8).reload().time(1000000).out(8, 0x20, 7, 8).out(8, 0x10, 2).out(8, 0xf0, 5, 8)
    s = Script()
    for n in range(0x40):
        s.out(9, 0, n, 1).read(9, 0x10).out(9, 0x10, 0x10030 + n if n & 1 else 0x01000000 | 0xa000)
    s = pics(s).out(3, 3, 0x34, 1).out(3, 0, 9, 1).out(3, 0, 0, 1).time(2000000).back(0xc | 7 << 4, 0x3004)
    yield s.reload().time(1000000).out(9, 0x40, 0x30).out(9, 0, 1, 1).read(9, 0x10)
    s = Script().out(10, 0, 0x19, 2).rep(10, 1, 80, 1).out(10, 0, 3, 2).rep(10, 1, 6, 1)
    for control, length, address in ((0xa, 0x20, 0x20000), (0x19 << 16 | 0xa, 64, 0x20000), (4, 10, 0), (0x21 << 16 | 0x18, 16, 0x20000), (0x21 << 16 | 0xe, 99, 0xfffffff0),
                                     (0x20 << 16 | 0x18, 4, 0x20000), (0x20 << 16 | 0xa, 1 << 30, 0x20000)):
        s.ram(0x10000, struct.pack(">IIQ", control, length, address)).out(10, 4, 0).out(10, 8, 0x00000100).read(10, 8, 4)
    yield s.reload().out(10, 4, 0xffffffff).out(10, 8, 0xf0ffffff)
    s = Script()
    for v in (0x80000000, 0x80000800, 0x80001000, 0x80001808, 0x80001818, 0x800008b0):
        s.out(13, 0, v).read(13, 4).out(13, 4, 0xffffffff).read(13, 4, 1).out(13, 6, 0x1234, 2)
    for f in range(6):
        for r in (4, 0x10, 0x20, 0x3c, 0x40, 0x59, 0x60, 0x72, 0x80, 0x90):
            s.cfg(f, r & ~3, 0x00010203)
    yield s.reload().out(11, 0, 3, 1).out(12, 0, 0, 1).out(13, 1, 6, 1).control(0)


def q35_platform():
    s = Script()
    for n in range(0, 0x80, 4):
        s.read(0, n).out(0, n, 0xffffffff)
    for v in (0x8000f840, 0x8000f8f0, 0x8000f860, 0x80000060, 0x80000090, 0x8000009c, 0x800000b0):
        s.out(1, 0, v).read(1, 4).out(1, 4, 0x11331133)
    yield s.reload().out(1, 1, 6, 1)
    for exbar in (0xb0000001, 0xb0000003, 0xb0000005, 0xb0000000, 0xe0000001):
        s = Script().out(2, 0x60, exbar).read(2, 0xfb000 & 0xfffff).out(2, 0x9d, 0x4a, 1).out(2, 0x9e, 0x3f, 1).out(2, 0xb0, 0x100, 2)
        for n in range(7):
            s.out(2, 0x90 + n, 0x33, 1).out(10, 0x4000 * n, 0x55, 1).read(10, 0x4000 * n, 1).out(2, 0x90 + n, 0x12, 1)
        yield s.reload().control(0)
    s = Script()
    for n in (0x3000, 0x3100, 0x3110, 0x3140, 0x31fe, 0x3404, 0x3410, 0x3418, 0x34fc, 0, 0x3fff):
        s.read(4, n).out(4, n, 0x80 + n)
    for r in (0x40, 0x44, 0x48, 0x60, 0x64, 0x68, 0x80, 0xa0, 0xdc, 0xf0):
        s.cfg(3, r, 0x0f0f0f0f)
    yield s.reload().out(6, 0, 0x55, 1).out(6, 1, 2, 1)
    s = Script().out(0, 2, 0x521, 2).out(0, 4, 1, 2).time(20000000).back(0xc | 7 << 4, 1).read(0, 0, 2).out(0, 0, 0xffff, 2).out(0, 0x28, 0xff).out(0, 4, 0x3401, 2)
    yield s.out(0, 0x30, 0x21).out(6, 0, 1, 1).reload()
    for devfn in (0x20, 0x28):
        s = Script()
        base = devfn << 12
        s.out(2, base | 0x18, 0x00010100).out(2, base | 0x1c, 0xf0f0).out(2, base | 0x20, 0xe0f0e000).out(2, base | 0x24, 0xe1f1e101).out(2, base | 4, 7, 2)
        for n in range(0, 0x100, 4):
            s.read(2, base | n)
        for n in range(0x40, 0x80, 2):
            s.out(2, base | n, 0xffff, 2)
        for n in (0, 0x10, 0x20, 0x40, 0x98):
            s.read(3, n).out(3, n, 0xffffffff).read(3, n)
        s.out(2, base | 0x3e, 0x42, 2).out(2, base | 0x3e, 0, 2)
        for off in range(0x40, 0xa0, 4):
            s.out(2, base | off + 0x18, 0x07ff, 2).out(2, base | off + 0x18, 0x0300, 2).out(2, base | off + 0x1a, 0xffff, 2)
        yield s.reload().control(0)
    s = Script().cfg(4, 0x20, 0x701).cfg(4, 0x40, 1, 1).cfg(4, 4, 1, 2)
    for protocol in range(0, 0x1c, 4):
        s.out(5, 0, 0x1e, 1).out(5, 4, 0xa0, 1).out(5, 2, 0x40 | protocol, 1).read(5, 0, 1)
    yield s.rep(5, 7, 9, 1).reload()


def virtio_serial():
    def control(s, port, event, value=0):
        return s.ram(0x40000, struct.pack("<IHH", port, event, value)).request(3, 1, 0, 8)

    for packed in (0, 1):
        for features in (0, 2, 0xfffffffd):
            s = Script().virtio(packed, features=features)
            for q in (0, 2, 2, 2, 4):
                for i in range(3):
                    s.request(q, 0, 1, 40, where=i << 4)
            for port, event, value in ((0, 0, 1), (0, 3, 1), (1, 3, 1), (0, 6, 1), (1, 6, 1), (7, 3, 1), (1, 6, 0), (1, 99, 0)):
                control(s, port, event, value)
            s.back(6, 0x0541).back(6, 0x4f42).request(1, 1, 0, 30).request(5, 2, 0, 30, 3000).back(8, 9).request(1, 2, 0, 30, 5000).request(5, 1, 0, 30)
            s.reload().back(8, 200).back(7, 0x4001).back(7, 0x4000).back(6, 0x4141).request(4, 0, 1, 9).back(8, 255).back(8, 255)
            yield s.reload().out(0, 0x14, 0, 1).virtio(packed).out(0, 0x2008, 65)


def virtio_rng():
    for packed in (0, 1):
        s = Script().virtio(packed)
        for i in range(5):
            s.request(0, 0, 1 + i % 3, 60, 60, 9, where=i)
        yield s.time(9000000).time(9000000).reload().time(20000000).request(0, 1, 1, 5, 5).out(0, 0x14, 0, 1).virtio(packed).request(0, 0, 1, 200).control(0)


def small_cards():
    """The file etc/ramfb is written through fw_cfg's DMA: address, format, flags, width, height, stride (big-endian)."""
    for selector in range(0x20, 0x26):
        for address, form, width, height, stride in ((0x20000, 0x34325258, 64, 48, 256), (0x20000, 0x34325258, 16000, 16000, 0), (0xfff00, 0x34325258, 100, 9, 7),
                                                     (0x30000, 0x36314752, 8, 8, 16), (0x20000, 0x34324752, 33, 3, 99), (1 << 63, 0x34325258, 1, 1, 4), (0, 1, 0, 0, 0)):
            s = Script().ram(0x11000, struct.pack(">QIIIII", address, form, 0, width, height, stride))
            s.ram(0x10000, struct.pack(">IIQ", selector << 16 | 0x18, 28, 0x11000)).out(0, 4, 0).out(0, 8, 0x00000100).back(9, 0).ram(0x20000, b"\x55\xaa" * 90).time(40000000).back(9, 1)
            s.ram(0x10000, struct.pack(">IIQ", selector << 16 | 0x0a, 28, 0x12000)).out(0, 8, 0x00000100)
            yield s.reload().time(40000000).back(9, 0).control(0)
    for mode in ((64, 48, 32), (1024, 768, 32), (640, 480, 24), (320, 200, 16), (65535, 65535, 32), (0, 0, 0)):
        s = Script().read(2, 0, 8).read(2, 0x100, 1)
        for i, v in enumerate((0xb0c5, mode[0], mode[1], mode[2], 0x41, 0, mode[0], mode[1] + 3, 1, 2)):
            s.out(2, 0x500 + 2 * i, v, 2).read(2, 0x500 + 2 * i, 2)
        yield s.out(1, 0x1000, 0x55555555).rep(1, 0x40, 99, 4, True).back(9, 0).time(40000000).reload().back(9, 3).out(2, 0x508, 0, 2).out(2, 0x604, 0xbebebebe).control(0)

    def reload(s):
        return s.out(3, 12, 0x80, 2).out(3, 12, 0x86, 2)

    for config, lock in ((0, 2), (4, 2), (7, 6), (0x24, 3), (4, 7), (4, 0)):
        s = Script()
        for card in (1, 2, 3):
            s.cfg(card, 0x60, config, 1)
        for at in (0, 4):
            reload(s).out(3, at, 100)
        for card in (1, 2, 3):
            s.cfg(card, 0x68, lock, 1)
        for n in range(4):
            s.time(15000000).read(3, 8).read(3, 12, 2)
            if n == 1:
                reload(s).out(3, 12, 0x100, 2).out(3, 8, 1)
        s.reload()
        reload(s).out(3, 12, 0x200, 2).out(3, 0, 7).time(20000000)
        yield s.cfg(3, 0x68, 0, 1).control(0)


def microvm():
    s = Script().back(0xc | 7 << 4, 1).read(0, 0, 4)
    for off, v in ((4, 0xff), (8, 0x34), (9, 0x80), (0xc, 0x42), (4, 0x36), (5, 0xff), (0, 0xff)):
        s.out(0, off, v, 1).read(0, off, 1)
    yield s.reload()
    for at in (0, 0x40, 0x1000, 0xffe0):
        s = Script()
        for c in (0x90, 0x98, 0x70, 0x50, 0xff, 0x41):
            s.out(1, at, c, 1).rep(1, at, 3, 1).read(1, at + 1, 4)
        s.out(1, at, 0x20, 1).out(1, at, 0xd0, 1).read(1, at, 1).out(1, at, 0x40, 1).out(1, at + 1, 0x5a, 1).out(1, at, 0x10, 1).out(1, at + 2, 0, 1).reload()
        s.out(1, at, 0xe8, 1).out(1, at, 3, 1)
        for n in range(4):
            s.out(1, at + n, 0xf0 | n, 1)
        s.out(1, at, 0xd0, 1).read(1, at, 1).out(1, at, 0x60, 1).out(1, at, 1, 1).out(1, at, 0x60, 1).out(1, at, 0xd0, 1).out(1, at, 0xff, 1).disk()
        yield s.out(1, at, 0xe8, 1).out(1, at, 40, 1).out(1, at, 0xb0, 1).out(1, at, 0x20, 1).out(1, at, 1, 1).reload().out(1, at, 0xff, 1).read(1, at, 8).disk()
    for n in (2, 3):
        s = Script()
        for off in (*range(0, 0x110, 4), 0x101, 0x1fe):
            s.read(n, off)
        for off in range(0, 0x100, 4):
            s.out(n, off, 1)
        yield s.out(n, 0x70, 0).out(n, 0x30, 5).out(n, 0x38, 99).out(n, 0x50, 7).out(n, 0xfc, 3, 2).control(0)
        for packed in (0, 1):
            s = Script().virtio(packed, window=n).ram(0x40000, bytes(16)).request(0, 1, 2, 16, 512, 1).request(0, 0, 1, 60, where=1).request(0, 1, 1, 16, 1, table=True)
            s.disk().time(20000000).read(n, 0x60).out(n, 0x64, 3).reload().request(0, 2, 1, 16, 512, 1).disk().out(n, 0x44, 0).out(n, 0x70, 0)
            yield s.virtio(packed, window=n).request(0, 1, 1, 16, 1).control(0)


FAMILIES = {"small-cards": small_cards, "microvm": microvm, "q35-platform": q35_platform, "virtio-serial": virtio_serial, "virtio-rng": virtio_rng, "virtio-gpu": virtio_gpu, "vga": vga, "cirrus": cirrus, "floppy": floppy, "ps2": ps2, "serial": serial, "virtio-input": virtio_input,
            "balloon": balloon, "virtio-9p": virtio_9p, "pc-platform": pc_platform, **device_seeds_usb.FAMILIES}
