"""Seeds of the device targets: what a driver does first, step by step. Each generator of FAMILIES yields scripts; windows are
numbered as in fuzz/device_families.c."""
import random
import struct

import device_seeds_more
from device_script import Script, msix

# --- network cards ---

def e1000():
    frame = bytes.fromhex("ffffffffffff525400000005") + b"\x08\x00\x45\0\0\x40\0\0\0\0\x40\x06\0\0\x0a\0\0\1\x0a\0\0\2" + bytes(range(44))
    ip6 = bytes.fromhex("ffffffffffff525400000005") + b"\x86\xdd\x60\0\0\0\0\x40\x06\x40" + bytes(range(90))

    def init(rctl=0x8002 | 0x18, ctrl=0x40):
        s = Script().out(0, 0, 1 << 26).out(0, 0, ctrl).read(0, 8).out(0, 0xd8, 0xffffffff).read(0, 0xc0)
        s.out(0, 0x14, 1).read(0, 0x14).out(0, 0x20, 0x08210000).read(0, 0x20).out(0, 0x20, 0x04201140)
        s.out(0, 0x5400, 0x00005452).out(0, 0x5404, 0x80000500).out(0, 0x5200, 1)
        s.out(0, 0x2800, 0x10000).out(0, 0x2804, 0).out(0, 0x2808, 128).out(0, 0x2810, 0).out(0, 0x5000, 0x300)
        for i in range(8):
            s.ptr(0x10000 + 16 * i, 0x20000 + 2048 * i)
        s.out(0, 0x100, rctl).out(0, 0x2818, 7)
        s.out(0, 0x3800, 0x11000).out(0, 0x3804, 0).out(0, 0x3808, 128).out(0, 0x3810, 0).out(0, 0x3818, 0).out(0, 0x400, 0x10a)
        return s.ram(0x30000, frame).out(0, 0xd0, 0x9f)

    def legacy(at, length, cmd, cso=0, css=0, special=0):
        return struct.pack("<QHBBBBH", at, length, cso, cmd, 0, css, special)

    def context(tucmd, paylen, hdrlen, mss, ip=True):
        return struct.pack("<BBHBBHIBBH", 14, 24, 33, 34 if ip else 54, 50 if ip else 70, 0, paylen | 0x20 << 24 | tucmd << 24, 0, hdrlen, mss)

    def data(at, length, dcmd, popts=0, special=0):
        return struct.pack("<QIBBH", at, length | 1 << 20 | (dcmd | 0x20) << 24, 0, popts, special)

    yield init().ram(0x11000, legacy(0x30000, 78, 0x0b)).out(0, 0x3818, 1).read(0, 0xc0)
    yield init(ctrl=0x40000040).ram(0x11000, legacy(0x30000, 40, 2) + legacy(0x30028, 38, 0x4f, 50, 34, 5)).out(0, 0x3818, 2).reload()
    tso = context(0x87 >> 0 & 7 | 8, 3000, 54, 1000)[:8] + struct.pack("<IBBH", 3000 | 0x20 << 24 | 7 << 24, 0, 54, 1000)
    yield init().ram(0x11000, tso + data(0x30000, 54, 0x84, 3) + data(0x38000, 3000, 0x8d, 3)).out(0, 0x3818, 3).read(0, 0xc0)
    tso6 = struct.pack("<BBHBBHIBBH", 14, 0, 53, 54, 70, 0, 2000 | (0x20 | 5) << 24, 0, 74, 700)
    yield init().ram(0x30000, ip6).ram(0x11000, tso6 + data(0x30000, 74, 0x84, 2) + data(0x38000, 2000, 0x8d, 2)).out(0, 0x3818, 3)
    sums = struct.pack("<BBHBBHIBBH", 14, 24, 33, 34, 50, 0, 0x20 << 24, 0, 0, 0)
    yield init(ctrl=0x40000040).ram(0x11000, sums + data(0x30000, 78, 0xc9, 3, 7)).out(0, 0x3818, 2).reload().out(0, 0x3818, 2)
    yield init().back(4, 1).ram(0x11000, legacy(0x30000, 78, 9) * 4).out(0, 0x3818, 4).reload().back(4, 0).read(0, 0xc0)
    for kind in range(8):
        yield init().frame(kind << 2).frame(kind << 2 | 1, 500).read(0, 0xc0).add(0, 0x2818, 3)
    yield init(0x8002 | 1 << 25 | 3 << 16 | 1 << 5).frame(1, 1000).frame(5, 1023).reload().frame(1, 1023)
    yield init(0x1004c002 | 4 | 1 << 26).out(0, 0x5600, 0xffffffff).frame(16, 100).frame(2, 80).frame(3, 80).back(5, 0).back(5, 1).read(0, 0xc0)
    yield init().out(0, 0xc4, 200).frame(1).frame(1).time(100000).frame(1).reload().time(1000000).read(0, 0xc0)
    s = init()
    for i in range(0, 0x100, 32):
        s.read(0, 0x4000 + i)
    yield s.out(1, 0, 0x100).out(1, 4, 0x8002).read(1, 4).read(0, 0x10)
    s = init().out(0, 0x10, 0x100)
    for bit in "1100000001" + "0" * 16:  # the EEPROM by hand: read word 1
        v = 0x102 | (4 if bit == "1" else 0)
        s.out(0, 0x10, v).out(0, 0x10, v | 1)
    yield s.read(0, 0x10).reload()
    yield init(0x8002 | 0x400 | 1 << 27).frame(1, 600).out(0, 0x2818, 2).time(2000000).out(0, 0xc8, 4).cfg(1, 4, 3, 2).out(0, 0x3818, 3)


def rtl8139():
    frame = bytes.fromhex("ffffffffffff525400000005") + b"\x08\x00\x45\0\0\x40\0\0\0\0\x40\x06\0\0\x0a\0\0\1\x0a\0\0\2" + bytes(range(44))

    def init(rcr=0x0f, cplus=0):
        s = Script().out(0, 0x37, 0x10, 1).read(0, 0x37, 1).out(0, 0x50, 0xc0, 1).out(0, 0, 0x00005452).out(0, 4, 0x0500)
        if cplus:
            s.out(0, 0xe0, cplus, 2)
        s.out(0, 0x30, 0x20000).out(0, 0x37, 0x0c, 1).out(0, 0x44, rcr).out(0, 0x40, 0x03000700).out(0, 8, 0xffffffff).out(0, 12, 0xffffffff)
        s.out(0, 0x3c, 0xe1ff, 2)
        return s.ram(0x30000, frame)

    def tx(s, first, vlan=0, at=0x30000, length=78):
        return s.ram(0x11000, struct.pack("<IIQ", first | length, vlan, at)).out(0, 0xd9, 0x40, 1)

    s = init()
    for i in range(5):
        s.out(0, 0x20 + 4 * (i & 3), 0x30000).out(0, 0x10 + 4 * (i & 3), 78)
    yield s.read(0, 0x3e, 2).out(0, 0x3e, 0xffff, 2).reload()
    for kind in range(8):
        yield init().frame(kind << 2).frame(kind << 2 | 1, 500).read(0, 0x3e, 2).read(0, 0x3a, 2).out(0, 0x38, 0x40, 2).frame(kind << 2 | 2, 90)
    yield init(0x8f | 3 << 11).frame(1, 1000).frame(1, 1000).frame(1, 1000).reload().frame(1, 1023).out(0, 0x38, 0x300, 2).frame(1)
    s = init(0x0f)
    for _ in range(9):
        s.frame(1, 1000)
    yield s.read(0, 0x4c).out(0, 0x37, 0x1c, 1)
    for cplus in (3, 0x63, 0x2b):
        s = init(0x8f, cplus).out(0, 0x20, 0x11000).out(0, 0x24, 0).out(0, 0xe4, 0x10000).out(0, 0xe8, 0)
        for i in range(4):
            s.ram(0x10000 + 16 * i, struct.pack("<IIQ", 1 << 31 | (i == 3) << 30 | 1500, 0, 0x40000 + 2048 * i))
        s.frame(1, 300).frame(16, 300).frame(4, 600).frame(8, 80).frame(12, 80).frame(0, 900).read(0, 0x3e, 2)
        yield s.reload().frame(1, 600)
        yield tx(tx(s, 0xf0000000), 0xf0000000 | 7 << 16, 1 << 17 | 0x500).read(0, 0x3e, 2)
        s = init(0x8f, cplus).out(0, 0x20, 0x11000)
        yield tx(s, 0xf0000000 | 1 << 27 | 700 << 16, length=3000).reload().read(0, 0x3e, 2)  # large send
        s = init(0x8f, cplus).out(0, 0x20, 0x11000).ram(0x11000, struct.pack("<IIQ", 0xa0000000 | 40, 0, 0x30000))
        s.ram(0x11010, struct.pack("<IIQ", 0xd0000000 | 38, 0, 0x30028)).back(4, 1).out(0, 0xd9, 0x40, 1)
        yield s.reload().back(4, 0).out(0, 0x10, 0x50000 | 8).read(0, 0x10).out(0, 0x10, 0x50001)
    yield init().out(0, 0x54, 10000).out(0, 0x48, 0).time(1000000).read(0, 0x48).read(0, 0x3e, 2).reload().out(0, 0x48, 0).time(1000000)
    yield init().out(0, 0x62, 0x9200, 2).read(0, 0x64, 2).back(5, 0).read(0, 0x64, 2).read(0, 0x58, 1).back(5, 1).read(0, 0x3e, 2).read(1, 0x37, 1)
    s = init().out(0, 0x50, 0x80, 1)
    for bit in "110000001" + "0" * 16:
        v = 0x88 | (2 if bit == "1" else 0)
        s.out(0, 0x50, v, 1).out(0, 0x50, v | 4, 1)
    yield s.read(0, 0x50, 1).out(0, 0x52, 0x8d, 1).out(0, 0x59, 1, 1).out(0, 0xd8, 1, 1).out(0, 0x5c, 0x8000, 2).control(0)
    yield init().back(4, 1).out(0, 0x20, 0x30000).out(0, 0x10, 100).out(0, 0x24, 0x30000).out(0, 0x14, 2000).reload().back(4, 0)


# --- disks ---

ATA = [(0xec, 1), (0x20, 1), (0x25, 2), (0x29, 2), (0xc8, 1), (0x30, 1), (0x35, 2), (0x39, 2), (0xca, 1), (0x3d, 1), (0xc4, 2), (0xc5, 2), (0xc6, 8),
       (0x40, 1), (0x42, 1), (0xe7, 0), (0xea, 0), (0xef, 3), (0xe5, 0), (0x70, 0), (0x90, 0), (0x91, 16), (0xb0, 0), (0xf8, 0), (0x27, 0),
       (0x2f, 1), (0x24, 1), (0x34, 1), (0xa1, 1), (0x10, 0), (0x08, 0), (0x06, 1), (0x45, 1)]
SCSI = ["000000000000", "030000001200", "120000002400", "120100002400", "120180002400", "1201b0004000", "1201b1004000", "1201b2004000", "120183004000",
        "1a003f00ff00", "1a080800ff00", "5a003f000000000000ff00", "1500100018", "5510000000000000001800", "1b0000000200", "1b0000000300", "1e0000000100",
        "1e0000000000", "25000000000000000000", "28000000000100000200", "2a000000000100000200", "2f000000000100000200", "35000000000000000000",
        "41000000000100000200", "42000000000000001800", "43000000000000006400", "43020000000000006400", "430000000002000064000", "46000000000000004000",
        "4a010000100000004000", "51000000000000002200", "52010000000000002200", "9e100000000000000000000000200000", "88000000000000000001000000020000",
        "8a000000000000000001000000020000", "8f000000000000000001000000020000", "93000000000000000001000000020000", "a00000000000000000ff0000",
        "a80000000001000000020000", "ad0000000000000000ff0000", "b90000000000000001f80000", "bd00000000000000006400000", "be0000000001000001f80000",
        "bb00ffff0000000000000000", "a3050000000000000000400", "8e000000000000000001000000020000", "0800000101", "0a00000101", "2b000000000100000000"]


def cdb(text):
    text += "0" * (len(text) & 1)
    b = bytes.fromhex(text)
    return b + bytes(16 - len(b))


def ahci():
    def init(port=0):
        r = 0x100 + 0x80 * port
        s = Script().out(0, 4, 0x80000000).out(0, 4, 0x80000002).read(0, 0).read(0, 0xc)
        return s.out(0, r, 0x10000).out(0, r + 4, 0).out(0, r + 8, 0x11000).out(0, r + 0x30, 0xffffffff).out(0, r + 0x14, 0xffffffff).out(0, r + 0x18, 0x11), r

    def command(s, r, cmd, count=1, lba=1, slot=0, prds=1, feature=0, atapi=None, queued=False, write=None, length=None, high=0):
        w = write if write is not None else cmd in (0x30, 0x35, 0x39, 0x3d, 0xca, 0xc5, 0x61)
        fis = struct.pack("<BBBB", 0x27, 0x80, cmd, feature & 255) + (lba & 0xffffff).to_bytes(3, "little") + b"\x40"
        fis += bytes((lba >> 24 & 255, 0, 0, feature >> 8)) + struct.pack("<HBB", count, high, 0) + bytes(4)
        table = 0x12000 + 0x400 * slot
        s.ram(0x10000 + 32 * slot, struct.pack("<IIQ", 5 | (atapi is not None) << 5 | w << 6 | prds << 16, 0, table)).ram(table, fis)
        if atapi:
            s.ram(table + 0x40, atapi)
        size = length if length is not None else max(count & 0xff, 1) * 512
        for i in range(prds):
            s.ram(table + 0x80 + 16 * i, struct.pack("<QII", 0x40000 + 0x2000 * i, 0, (size // prds or 2) - 1))
        if queued:
            s.out(0, r + 0x34, 1 << slot)
        return s.out(0, r + 0x38, 1 << slot)

    for cmd, count in ATA:
        s, r = init()
        yield command(s, r, cmd, count, feature={0xef: 2, 0xb0: 0xd0}.get(cmd, 0), lba=0xc24f00 if cmd == 0xb0 else 1).disk().read(0, r + 0x10).read(0, r + 0x20)
    s, r = init()
    yield command(command(s, r, 0x35, 4, slot=0, prds=2), r, 0x25, 4, slot=1, prds=3).reload().disk().out(0, 8, 1)
    s, r = init()
    for slot in range(4):
        command(s, r, 0x60 + (slot & 1), slot << 3, 8 * slot, slot, 1, 2, queued=True, length=1024)
    yield s.disk(2).reload().disk().read(0, r + 0x34)
    s, r = init()
    for slot in range(3):
        command(s, r, 0x60, slot << 3, 8 * slot if slot < 2 else 0xffffff, slot, 1, 2, queued=True, length=1024)
    s.disk(1, 201).disk().read(0, r + 0x30)
    yield command(s.out(0, r + 0x18, 0x10).out(0, r + 0x30, 0xffffffff).out(0, r + 0x18, 0x11), r, 0x2f, 1, 0x10)
    s, r = init()
    yield command(s, r, 0x06, 1, 0, feature=1, write=True, length=512).ram(0x40000, struct.pack("<Q", 8 | 4 << 48)).disk()
    s, r = init(1)
    yield command(s, r, 0xc8, 8, 100000).disk(0, 202).control(0)
    for text in SCSI:
        s, r = init(2)
        yield command(s, r, 0xa0, 0, 0xfffe00 >> 0 & 0, atapi=cdb(text), feature=len(text) & 1, prds=2, length=4096).disk().reload().disk().read(0, r + 0x20)
    s, r = init(2)
    for text in ("1b0000000200", "000000000000", "4a010000100000004000", "1b0000000300", "030000001200", "28000000000100000200"):
        command(s, r, 0xa0, 0, 0, atapi=cdb(text), feature=1, length=2048).disk()
    yield s.back(10, 0x22).back(10, 0x21).disk()
    s, r = init()
    s.out(0, r + 0x2c, 0x301).out(0, r + 0x2c, 0x300).read(0, r + 0x28).out(0, r + 0x18, 0).out(0, r + 0x18, 0x1e).out(0, 0x24, 0)
    s.ram(0x10000, struct.pack("<IIQ", 5, 0, 0x12000)).ram(0x12000, bytes((0x27, 0, 0)) + bytes(12) + b"\4")
    yield s.out(0, r + 0x18, 0x11).out(0, r + 0x38, 1).ram(0x1200f, b"\0").out(0, r + 0x38, 1).out(1, 0x10, 0x100).read(1, 0x14).out(1, 0x14, 3)


def ide():
    def select(s, drive=0, window=0):
        return s.out(window, 6, 0xe0 | drive << 4, 1)

    def task(s, cmd, count=1, lba=1, drive=0, window=0, feature=0, twice=False):
        select(s, drive, window)
        for i in range(2 if twice else 1):
            s.out(window, 1, feature if i == 0 else 0, 1).out(window, 2, count if i == 0 else 0, 1)
            for k in range(3):
                s.out(window, 3 + k, lba >> 8 * k & 255, 1)
        return s.out(window, 7, cmd, 1).read(window, 7, 1)

    def prds(s, *entries):
        return s.ram(0x30000, b"".join(struct.pack("<II", a, n & 0xffff | (i == len(entries) - 1) << 31) for i, (a, n) in enumerate(entries)))

    for cmd, count in ATA:
        s = task(Script(), cmd, count, 0xc24f00 if cmd == 0xb0 else 1, feature={0xef: 3, 0xb0: 0xd0}.get(cmd, 0), twice=cmd in (0x24, 0x29, 0x34, 0x39)).disk()
        if cmd in (0x30, 0x34, 0xc5, 0x39):
            s.rep(0, 0, 256 * count, 2, True).disk().rep(0, 0, 256, 4, True)
        else:
            s.rep(0, 0, 256 * max(count, 1)).disk().rep(0, 0, 128, 4)
        yield s.read(0, 7, 1).read(0, 1, 1).reload().disk()
    for cmd in (0xc8, 0xca, 0x25, 0x35):
        write = cmd in (0xca, 0x35)
        s = prds(Script().out(4, 4, 0x30000), (0x40000, 1024), (0x42000, 1024)).out(4, 2, 6, 1).out(4, 0, 0 if write else 8, 1)
        task(s, cmd, 4, twice=cmd in (0x25, 0x35)).out(4, 0, 1 if write else 9, 1).disk()
        yield s.read(4, 2, 1).out(4, 0, 0, 1)
        s = prds(Script().out(4, 4, 0x30000), (0x40000, 512)).out(4, 2, 6, 1)
        yield task(s, cmd, 8).out(4, 0, 1 if write else 9, 1).reload().disk(0, 201).disk().read(0, 7, 1)
    for text in SCSI:
        for dma in (0, 1):
            s = Script()
            if dma:
                prds(s.out(4, 12, 0x30000), (0x40000, 4096)).out(4, 10, 6, 1)
            task(s, 0xa0, 0, 0xfffe00 & 0x080000 | 0x0800 << 8, window=2, feature=dma)
            for i in range(0, 12, 2):
                s.out(2, 0, int.from_bytes(cdb(text)[i:i + 2], "little"), 2)
            if dma:
                s.out(4, 8, 9, 1)
            s.disk().rep(2, 0, 64, 4).disk().rep(2, 0, 256).reload().disk()
            yield s.read(2, 7, 1)
    s = Script().out(1, 0, 4, 1).out(1, 0, 0, 1).out(1, 0, 2, 1)
    task(task(s, 0xec, drive=1).rep(0, 0, 256), 0x20, 2).control(0)
    yield task(s, 0xa1, window=2).rep(2, 0, 256).out(3, 0, 4, 1).out(3, 0, 0, 1).read(2, 4, 1)
    s = task(Script(), 0xc6, 4)
    yield task(s, 0xc4, 8).disk().rep(0, 0, 256).rep(0, 0, 256).out(2, 7, 8, 1).cfg(2, 0x40, 0xa307a307).cfg(2, 4, 1, 2)


def nvme():
    def init(entries=16, ps=0):
        s = Script().out(0, 0x14, 0).out(0, 0x24, (entries - 1) * 0x10001).out(0, 0x28, 0x10000, 8).out(0, 0x30, 0x11000, 8)
        return s.out(0, 0x14, 0x460001 | ps << 7).read(0, 0x1c)

    def entry(opc, cid, prp1=0x40000, prp2=0x42000, nsid=1, *dw):
        return struct.pack("<BBHI16xQQ6I", opc, 0, cid, nsid, prp1, prp2, *(list(dw) + [0] * (6 - len(dw))))

    def admin(s, *entries):
        for i, e in enumerate(entries):
            s.ram(0x10000 + 64 * (i & 15), e)
        return s.out(0, 0x1000, len(entries))

    queues = [entry(9, 1, 0, 0, 0, 7, 0x20002), entry(5, 2, 0x12000, 0, 0, 15 << 16 | 1, 1), entry(1, 3, 0x13000, 0, 0, 15 << 16 | 1, 1 << 16 | 1),
              entry(5, 4, 0x14000, 0, 0, 7 << 16 | 2, 3), entry(1, 5, 0x15000, 0, 0, 7 << 16 | 2, 2 << 16 | 1)]

    def io(s, *entries):
        for i, e in enumerate(entries):
            s.ram(0x13000 + 64 * (i & 15), e)
        return s.out(0, 0x1008, len(entries)).disk().out(0, 0x100c, len(entries))

    for cns in range(4):
        yield admin(init(), entry(6, 1, 0x40000, 0, cns & 1 or 0, cns)).out(0, 0x1004, 1)
    for page in (1, 2, 3, 4, 5):
        yield admin(init(), entry(2, 1, 0x40000, 0x42000, 0, page | 127 << 16))
    for f in range(1, 0x10):
        yield admin(init(), entry(0x0a, 1, 0, 0, 0, f), entry(9, 2, 0, 0, 0, f, 0x150), entry(0x0a, 3, 0, 0, 0, f)).reload()
    yield admin(init(), *queues, entry(0, 6, 0, 0, 0, 1), entry(0, 7, 0, 0, 0, 2), entry(4, 8, 0, 0, 0, 1), entry(4, 9, 0, 0, 0, 2)).reload()
    base = lambda: admin(init(), *queues)  # noqa: E731
    yield io(base(), entry(2, 1, 0x40000, 0x42000, 1, 0, 0, 7), entry(1, 2, 0x40000, 0x42000, 1, 8, 0, 7), entry(0, 3)).reload()
    yield io(base().ram(0x42000, struct.pack("<3Q", 0x44000, 0x45000, 0x46000)), entry(2, 1, 0x40000, 0x42000, 1, 0, 0, 31), entry(1, 2, 0x40200, 0x42000, 1, 64, 0, 31))
    yield io(base().ram(0x40000, struct.pack("<IIQIIQ", 0, 8, 16, 0, 4, 64)), entry(9, 1, 0x40000, 0, 1, 1, 4), entry(8, 2, 0, 0, 1, 3, 0, 5 | 1 << 25))
    s = base()
    for i in range(6):
        s.ram(0x13000 + 64 * i, entry(1 + (i & 1), i, 0x40000 + 0x1000 * i, 0, 1, 8 * i, 0, 7))
    s.out(0, 0x1008, 6).disk(3)
    yield admin(s, *queues, entry(0, 20, 0, 0, 0, 1)).reload().disk().disk(0, 202)
    s = base().ram(0x13000, entry(2, 1, 0x40000, 0, 1, 0, 0, 7)).out(0, 0x1008, 1)
    yield s.ram(0x10140, entry(0, 9, 0, 0, 0, 1)).ram(0x10180, entry(0x0c, 10)).ram(0x101c0, entry(8, 11, 0, 0, 0, 1 << 16 | 1)).out(0, 0x1000, 8).disk()
    yield base().ram(0x10140, entry(0x0c, 6)).ram(0x10180, entry(9, 7, 0, 0, 0, 0x0b, 0x100)).out(0, 0x1000, 7).back(10, 0).back(10, 1).reload().back(10, 0)
    yield base().out(0, 0x14, 0x464001).read(0, 0x1c).out(0, 0x14, 0x460000).read(0, 0x1c).out(0, 0x14, 0x460001).control(0).out(0, 0xc, 1).out(0, 0x10, 1)
    yield io(msix(base(), 1, 0x40), entry(2, 1, 0x40000, 0, 1, 0, 0, 7)).out(0, 0x2000, 0xfee00000, 4).out(0, 0x200c, 0)


# --- virtio ---

def virtio_blk():
    def head(kind, sector=0):
        return struct.pack("<IIQ", kind, 0, sector)

    for packed in (False, True):
        for table in (False, True):
            s = Script().virtio(packed).ram(0x40000, head(1, 1)).request(0, 2, 1, 16, 512, 1, table=table).disk()
            yield s.ram(0x40000, head(0, 1)).request(0, 1, 2, 16, 1024, 1, table=table).disk().reload().request(0, 1, 2, 16, 512, 1)
        s = Script().virtio(packed)
        for i in range(3):
            s.ram(0x40000 + 4096 * i, head(i & 1, i)).request(0, 1 + (i & 1), 2 - (i & 1), 16, 512, 1, where=i << 4)
        yield s.disk(1).reload().disk(0, 201).disk(0, 202).disk()
        for kind in (4, 8, 11, 13, 14, 99):
            s = Script().virtio(packed).ram(0x40000, head(kind)).ram(0x44000, struct.pack("<QIIQII", 0, 8, 0, 16, 8, 1 if kind == 13 else 0))
            if kind in (11, 13, 14):
                yield s.request(0, 2, 1, 16, 32, 1).disk().reload()
            else:
                yield s.request(0, 1, 2, 16, 20, 1).disk().read(0, 0x2000, 8)
    yield Script().virtio().ram(0x40000, head(0, 500)).request(0, 1, 3, 16, 16384, 16384, 1).disk().back(10, 0).read(0, 0x2000, 8).control(0)
    yield msix(Script(), 1).out(2, 0, 0xfee00000).out(2, 12, 0).virtio(flags=2).ram(0x40000, head(0)).request(0, 1, 2, 16, 512, 1).disk().read(0, 0x1000, 1)
    s = Script().out(1, 8, 0x10).out(1, 0x12, 1, 1).out(1, 0x12, 3, 1).out(1, 4, 0x244).out(1, 14, 0, 2).read(1, 12, 2).out(1, 8, 0x20).out(1, 0x12, 7, 1)
    s.ram(0x40000, head(0)).ram(0x20000, struct.pack("<QIHHQIHHQIHH", 0x40000, 16, 1, 1, 0x44000, 512, 3, 2, 0x48000, 1, 2, 0))
    yield s.ram(0x21000, b"\0\0\1\0\0\0").out(1, 16, 0, 2).disk().read(1, 0x13, 1).reload()


def virtio_scsi():
    def lun(target=0, lun=0):
        return bytes((1, target, 0x40 | lun >> 8, lun & 255, 0, 0, 0, 0))

    def command(s, text, target=0, number=0, size=512, write=False, **kw):
        s.ram(0x40000, lun(target, number) + struct.pack("<QBBB", 7, 0, 0, 0) + cdb(text) + bytes(16))
        return s.request(2, 2, 1, 51, size, 108, **kw) if write else s.request(2, 1, 2, 51, 108, size, **kw)

    for target in (0, 3):
        for n, text in enumerate(SCSI):
            write = text[:2] in ("15", "55", "2a", "8a", "0a", "8e", "41", "93", "42")
            s = command(Script().virtio(n & 1), "000000000000", target)  # what happened since power-on is told once
            command(s, text, target, 0, 1024, write, table=bool(n & 2)).disk()
            yield command(s.reload(), "030000001200", target)
    s = Script().virtio()
    command(s, "28000000000100000200", 2, 1)
    command(s, "2a000000000100000200", 2, 1, 1024, True)
    yield s.disk(1).reload().disk(0, 201).disk()
    s = Script().virtio().ram(0x44000, b"\0")
    command(s, "28000000000100000200", where=0)
    for kind in range(8):
        s.ram(0x50000, struct.pack("<II", 0, kind) + lun() + struct.pack("<Q", 7)).request(0, 1, 1, 24, 1, where=0x0)
        s.ram(0x40000, struct.pack("<II", 0, kind) + lun() + struct.pack("<Q", 7)).request(0, 1, 1, 24, 1)
    yield s.disk()
    yield Script().virtio().ram(0x40000, struct.pack("<I", 1) + lun() + struct.pack("<I", 0xff)).request(0, 1, 1, 16, 5).ram(0x40000, struct.pack("<I", 2) + lun(3)).request(0, 1, 1, 16, 5)
    s = Script().virtio().request(1, 0, 1, 16).request(1, 0, 1, 16).back(10, 0x20).back(10, 0x22).back(10, 0x21).back(10, 0)
    yield command(s, "000000000000", 3).disk().reload().back(10, 0x22)
    yield command(Script().virtio(), "a00000000000000000ff0000", 9).read(0, 0x2000).out(0, 0x2014, 96).control(0)


def virtio_net():
    frame = bytes.fromhex("ffffffffffff525400000005") + b"\x08\x00\x45\0\0\x40\0\0\0\0\x40\x06\0\0\x0a\0\0\1\x0a\0\0\2" + bytes(range(44))

    def rx(s, n=3, queue=0, size=2048, where=0x80):
        for i in range(n):
            s.request(queue, 0, 1, size, where=where + (i << 4))
        return s

    for packed in (False, True):
        for features in (0, 0x10020, 0x18020):
            s = rx(Script().virtio(packed, features=features)).frame(1).frame(4, 500).frame(9, 1000)
            yield rx(s.reload()).frame(1, 200).frame(5, 1000, True).frame(0, 1000, True)
            s = Script().virtio(packed, features=features).ram(0x40000, bytes(12) + frame).request(1, 1, 0, 90).request(1, 2, 0, 12, 100, table=True)
            yield s.back(4, 1).request(1, 1, 0, 90).request(1, 1, 0, 90).reload().back(4, 0)
            for gso in (1, 4, 3, 0x81):
                h = struct.pack("<BBHHHHH", 1, gso, 54, 1000, 34, 16, 0)
                yield Script().virtio(packed, features=features).ram(0x40000, h + frame).request(1, 2, 0, 66, 3000).request(1, 3, 0, 66, 3000, 16000, table=True)
        s = rx(Script().virtio(packed), 2, size=256)
        yield rx(s.frame(1, 1000, True), 6, size=256, where=0).frame(1, 1000, True).frame(1, 700)
        for cls, cmd, args in ((0, 0, b"\0"), (0, 1, b"\1"), (0, 2, b"\1"), (0, 3, b"\1"), (0, 4, b"\1"), (0, 5, b"\1"), (1, 1, b"\x52\x54\0\0\0\x09"),
                               (1, 0, struct.pack("<I6sI6s", 1, b"\2\2\2\2\2\2", 1, b"\1\0\x5e\0\0\1")), (2, 0, b"\5\0"), (2, 1, b"\5\0"),
                               (4, 0, b"\2\0"), (4, 0, b"\1\0"), (9, 0, b"")):
            s = rx(Script().virtio(packed)).ram(0x40000, bytes((cls, cmd)) + args)
            s.request(4, 1, 1, 2 + len(args), 1).ram(0x40000, bytes((0, 0, 0))).request(4, 1, 1, 3, 1, where=0)
            for kind in (0, 1, 2, 3, 16, 17):
                s.frame(kind, 100)
            yield rx(s.reload(), 3, 2).frame(33, 100).frame(35, 80)
    yield rx(Script().virtio()).back(5, 0).read(0, 0x2006, 2).request(4, 1, 1, 2, 1).back(5, 1).control(0).virtio()
    yield Script().out(1, 8, 0x10).out(1, 0x12, 3, 1).out(1, 4, 0x20).out(1, 14, 1, 2).read(1, 12, 2).out(1, 8, 0x20).out(1, 0x12, 7, 1).out(1, 16, 1, 2).out(1, 0x14, 0x52, 1)


FAMILIES = {"e1000": e1000, "rtl8139": rtl8139, "ahci": ahci, "ide": ide, "nvme": nvme, "virtio-blk": virtio_blk, "virtio-scsi": virtio_scsi,
            "virtio-net": virtio_net, "virtio-net-vhost": virtio_net, **device_seeds_more.FAMILIES}


def seeds(name):
    """Each as it is, and with states that are changed and loaded at its end: refusals by the reader of states are no news of the device."""
    rng = random.Random(1)
    whole = [bytes(s.data) for s in FAMILIES[name]()]
    changed = [s + bytes(Script().control(2, rng.randrange(65536)).data[1:]) for s in whole for _ in range(max(3, 120 // len(whole)))]
    return whole + changed
