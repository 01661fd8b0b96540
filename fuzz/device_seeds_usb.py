"""Seeds of USB controllers and what is behind them."""
import struct

from device_script import Script

SETUPS = ["8006000100001200", "8006000200000901", "8006010300000901", "8006020300000901", "8006000600000a00", "8006000f0000ff00", "0005050000000000",
          "0009010000000000", "8008000000000100", "0003010000000000", "0001010000000000", "8000000000000200", "8200810000000200", "0201000081000000",
          "8100000000000200", "010b010001000000", "810a000001000100", "8106002200000901", "210a000000000000", "210b000000000000", "a101000100000800",
          "2109000200000100", "a006002900000900", "a300000001000400", "2303080001000000", "2303040001000000", "2301100001000000", "a1fe000000000100",
          "21ff000000000000", "21430f0000000000"]
CBWS = ["000000000000", "120000002400", "25000000000000000000", "28000000000000000100", "2a000000000000000100", "030000001200", "1a003f00c000",
        "35000000000000000000", "1b0000000200", "5a003f000000000000c000"]


def cbw(text, length, into=True, tag=1):
    c = bytes.fromhex(text)
    return struct.pack("<4sIIBBB", b"USBC", tag, length, 0x80 * into, 0, len(c)) + c + bytes(16 - len(c))


def uhci():
    def td(link, pid, address, ep, toggle, length, buf, active=0x18800000, low=0):
        return struct.pack("<IIII", link, active | low << 26, pid | address << 8 | ep << 15 | toggle << 19 | ((length - 1) & 0x7ff) << 21, buf)

    def init(window=0):
        s = Script().out(window, 0, 4, 2).out(window, 0, 2, 2).time(1000000)
        s.ram(0x10000, struct.pack("<I", 0x11002) * 40)
        s.ram(0x11000, struct.pack("<II", 1, 1)).out(window, 8, 0x10000).out(window, 6, 0, 2).out(window, 4, 15, 2)
        for p in (0x10, 0x12):
            s.out(window, p, 0x200, 2).out(window, p, 0, 2).out(window, p, 0xe, 2)
        return s

    def chain(s, tds, at=0x12000):
        s.ram(at, b"".join(td((at + 16 * i + 16) | 4 if i + 1 < len(tds) else 1, *t) for i, t in enumerate(tds)))
        return s.ram(0x11004, struct.pack("<I", at))

    def control(s, setup, address=0, window=0, run=True):
        b = bytes.fromhex(setup)
        n, tds = min(struct.unpack_from("<H", b, 6)[0], 256), [(0x2d, address, 0, 0, 8, 0x14000)]
        into = b[0] & 0x80
        for i in range(0, n, 64):
            tds.append((0x69 if into else 0xe1, address, 0, 1, min(64, n - i), 0x15000 + i))
        tds.append((0xe1 if into and n else 0x69, address, 0, 1, 0, 0))
        chain(s.ram(0x14000, b), tds).out(window, 0, 0xc1, 2)
        return s.time(3000000) if run else s

    def bulk(s, address, text, length, into, window=0):
        s.ram(0x14000, cbw(text, length, into))
        tds = [(0xe1, address, 2, 0, 31, 0x14000)]
        tds += [(0x69 if into else 0xe1, address, 1 if into else 2, 0, 64, 0x16000 + i) for i in range(0, length, 64)]
        return chain(s, tds + [(0x69, address, 1, 0, 13, 0x18000)]).time(3000000).disk().time(3000000).disk().time(3000000)

    for setup in SETUPS:
        for window in (0, 1):
            yield control(control(init(window), "0009010000000000", 0, window), setup, 0, window).reload().time(1000000).read(window, 2, 2)
    for text in CBWS:
        s = control(init(), "0009010000000000")
        s.out(0, 0x10, 0, 2)  # only the second port
        yield bulk(control(s, "0005030000000000"), 3, text, 512 if text[:2] in ("28", "2a") else 64 if text[1] != "0" else 0, text[:2] != "2a").reload()
    s = control(control(init(), "0005020000000000"), "0009010000000000", 2)
    chain(s, [(0x69, 2, 1, i & 1, 8, 0x16000 + 8 * i) for i in range(3)]).time(2000000)
    for what, v in ((0xc | 2 << 4, 0x4050), (0xc | 3 << 4, 0x11), (0xc, 0x801e), (0xc | 1 << 4, 0x505), (0xc, 0x1e)):
        s.back(what, v).time(1000000)
    yield s.reload()
    s = control(control(init(1), "0005020000000000", 0, 1), "0009010000000000", 2, 1)
    for port in (1, 2, 3):
        for f in ("2303080000%02x0000", "2303040000%02x0000", "2301100000%02x0000"):
            b = f.replace("0000%02x", "00%02x00" % port)
            control(s, b, 2, 1)
    control(s, "0005070000000000", 0, 1)
    control(s, "0009010000000000", 7, 1)
    control(s, "010b010001000000", 7, 1)
    chain(s, [(0x69, 2, 1, 0, 1, 0x16000), (0xe1, 7, 2, 0, 64, 0x16000), (0xe1, 7, 2, 1, 20, 0x16040), (0x69, 7, 2, 0, 64, 0x17000), (0x69, 7, 1, 0, 16, 0x18000)])
    yield s.frame(1).time(4000000).frame(1, 200).time(2000000).reload()
    yield init().out(0, 0, 1, 2).time(2000000).out(0, 0x10, 0x1004, 2).out(0, 0, 8, 2).out(0, 0, 0x10, 2).back(0xc, 0x801e).read(0, 6, 2).control(0)


def ehci():
    op = 0x20

    def qtd(nxt, pid, length, buf, toggle=0, alt=1, ioc=1):
        pages = [buf & ~0xfff if i else buf for i in range(5)]
        return struct.pack("<III5I", nxt, alt, toggle << 31 | length << 16 | ioc << 15 | 3 << 10 | pid << 8 | 0x80, *[p + 0x1000 * i for i, p in enumerate(pages)])

    def init(ports=0x1000):
        s = Script().out(0, op, 2).out(0, op + 0x40, 1).out(0, op + 8, 0x3f)
        for p in range(4):
            s.out(0, op + 0x44 + 4 * p, 0x1100).time(1000000).out(0, op + 0x44 + 4 * p, 0x1000)
        return s.out(0, op + 0x18, 0x11000)

    def queue(s, tds, address=0, ep=0, at=0x12000, head=0x11000, periodic=False):
        blob = b"".join(qtd(at + 32 * (i + 1) if i + 1 < len(tds) else 1, *t) for i, t in enumerate(tds))
        s.ram(at, blob)
        s.ram(head, struct.pack("<IIIIII", head | 2, address | ep << 8 | 2 << 12 | 1 << 14 | (not periodic) << 15 | 64 << 16 | (0x40 if ep else 64) << 16 & 0, 1 << 30 | (1 if periodic else 0), 0, at, 1))
        s.ram(head + 4, struct.pack("<I", address | ep << 8 | 2 << 12 | (1 << 14) | (not periodic) << 15 | (512 if ep else 64) << 16))
        return s.ram(head + 24, bytes(4)).out(0, op, 0x80021 if not periodic else 0x80011).time(2000000)

    def control(s, setup, address=0):
        b = bytes.fromhex(setup)
        n, tds = min(struct.unpack_from("<H", b, 6)[0], 256), [(2, 8, 0x14000, 0)]
        into = b[0] & 0x80
        if n:
            tds.append((1 if into else 0, n, 0x15000, 1))
        tds.append((0 if into and n else 1, 0, 0, 1))
        return queue(s.ram(0x14000, b), tds, address)

    def bulk(s, address, text, length, into):
        s.ram(0x14000, cbw(text, length, into))
        queue(s, [(0, 31, 0x14000, 0)], address, 2)
        if length:
            queue(s, [(1 if into else 0, length, 0x16000, 0)], address, 1 if into else 2).disk().time(2000000)
        return queue(s, [(1, 13, 0x18000, 0)], address, 1).disk().time(2000000)

    for setup in SETUPS:
        s = init()
        s.out(0, op + 0x48, 0).out(0, op + 0x4c, 0)  # one port
        yield control(control(s, "0009010000000000"), setup).reload().time(1000000).read(0, op + 4).out(0, op + 4, 0x3f)
    for text in CBWS:
        s = control(control(init(), "0005030000000000"), "0009010000000000", 3)
        yield bulk(s, 3, text, 512 if text[:2] in ("28", "2a") else 64 if text[1] != "0" else 0, text[:2] != "2a").reload()
    s = init().out(0, op + 0x44, 4)
    s = control(control(control(s, "0005050000000000"), "0009010000000000", 5), "010b010001000000", 5)
    s.frame(1, 300)
    queue(s, [(0, 200, 0x16000, 0), (0, 0, 0x16000, 0)], 5, 2)
    yield queue(queue(s, [(1, 600, 0x16000, 0)], 5, 2), [(1, 16, 0x16000, 0)], 5, 1).reload()
    s = init().ram(0x10000, struct.pack("<I", 0x11002) * 40).out(0, op + 0x14, 0x10000)
    s = control(control(s.out(0, op + 0x44, 4).out(0, op + 0x48, 4), "0005050000000000"), "0009010000000000", 5)
    yield queue(s.back(0xc | 2 << 4, 0x4050), [(1, 8, 0x16000, 0), (1, 8, 0x16010, 0)], 5, 1, periodic=True).back(0xc | 2 << 4, 0x1020).time(9000000).reload()
    yield init().out(0, op, 0x80061).time(1000000).out(0, op + 0x44, 0x1084).out(0, op + 0x44, 0x10c4).time(30000000).out(0, op + 0x44, 0x3000).out(0, op + 0x40, 0).control(0)
    yield init().ram(0x11000, struct.pack("<I", 0x11002) + bytes(40)).out(0, op, 0x80031).time(20000000).out(0, op, 0x10000).read(0, op + 0xc).out(0, op + 0xc, 5)


def xhci():
    op, rt, db = 0x40, 0x1000, 0x2000

    def trb(param, status, kind, flags=1):
        return struct.pack("<QII", param, status, kind << 10 | flags)

    class Host:
        def __init__(self):
            self.s = Script()
            self.at = 0x12000  # command ring
            self.rings = {}
            s = self.s.out(0, op, 2).out(0, op + 0x38, 8).out(0, op + 0x30, 0x11000, 8).out(0, op + 0x18, self.at | 1, 8)
            s.ram(0x13000, struct.pack("<QII", 0x14000, 64, 0)).ram(0x13010, struct.pack("<QII", 0x13400, 32, 0))
            s.out(0, rt + 0x28, 1).out(0, rt + 0x30, 0x13000, 8).out(0, rt + 0x38, 0x14000, 8).out(0, rt + 0x20, 3)
            s.out(0, rt + 0x48, 1).out(0, rt + 0x50, 0x13010, 8).out(0, rt + 0x58, 0x13400, 8).out(0, op, 5)
            for p in range(8):
                s.out(0, 0x440 + 16 * p, 0x210).out(0, 0x440 + 16 * p, 0xfe0200 & ~0x10)

        def command(self, *t, kick=True):
            self.s.ram(self.at, trb(*t))
            self.at += 16
            if kick:
                self.s.out(0, db, 0)
            return self

        def transfer(self, slot, dci, *trbs, kick=True):
            base = 0x30000 + slot * 0x8000 + dci * 0x400
            at = self.rings.get((slot, dci), base)
            self.s.ram(at, b"".join(trb(*t) for t in trbs))
            self.rings[slot, dci] = at + 16 * len(trbs)
            if kick:
                self.s.out(0, db + 4 * slot, dci)
            return self

        def ep(self, slot, dci, kind, packet=64):
            return struct.pack("<IIQI", 3 << 16, 3 << 1 | kind << 3 | packet << 16, (0x30000 + slot * 0x8000 + dci * 0x400) | 1, packet) + bytes(12)

        def address(self, slot, port, speed=3, route=0, bsr=0):
            self.s.ram(0x11000 + 8 * slot, struct.pack("<Q", 0x20000 + 0x800 * slot))
            self.s.ram(0x18000, struct.pack("<II", 0, 3) + bytes(24) + struct.pack("<IIII", 1 << 27 | speed << 20 | route, port << 16, 0, 0) + bytes(16) +
                       self.ep(slot, 1, 4))
            return self.command(0, 0, 9).command(0x18000, 0, 11, slot << 24 | bsr << 9 | 1)

        def configure(self, slot, *eps):
            flags = 1
            for dci, kind, packet in eps:
                flags |= 1 << dci
                self.s.ram(0x18000 + 32 * (dci + 1), self.ep(slot, dci, kind, packet))
            self.s.ram(0x18000, struct.pack("<II", 0, flags)).ram(0x18020, struct.pack("<I", 31 << 27 | 3 << 20))
            return self.command(0x18000, 0, 12, slot << 24 | 1)

        def control(self, slot, setup):
            b = bytes.fromhex(setup)
            n, into = min(struct.unpack_from("<H", b, 6)[0], 1024), b[0] & 0x80
            t = [(struct.unpack("<Q", b)[0], 8, 2, 0x41 | (3 if into else 2) << 16)]
            if n:
                t.append((0x16000, n, 3, 1 | (bool(into)) << 16))
            return self.transfer(slot, 1, *t, (0, 0, 4, 0x21 | (not into or not n) << 16))

    for setup in SETUPS:
        for port in (1, 2, 3, 4):
            h = Host().address(1, port)
            h.control(1, "0009010000000000").control(1, setup)
            yield h.s.reload().read(0, op + 4)
    for text in CBWS:
        for ports in (1, 5):
            h = Host().address(1, ports, 4 if ports > 4 else 3)
            h.control(1, "0009010000000000").configure(1, (3, 6, 512), (4, 2, 512))
            length = 512 if text[:2] in ("28", "2a") else 64 if text[1] != "0" else 0
            into = text[:2] != "2a"
            h.s.ram(0x17000, cbw(text, length, into))
            h.transfer(1, 4, (0x17000, 31, 1, 0x21))
            if length:
                h.transfer(1, 3 if into else 4, (0x19000, length // 2, 1, 0x11), (0x19800, length - length // 2, 1, 0x25))
            h.s.disk()
            h.transfer(1, 3, (0x1a000, 13, 1, 0x21))
            yield h.s.disk().reload().disk()
    h = Host().address(1, 2)
    h.control(1, "0009010000000000").configure(1, (3, 7, 8)).transfer(1, 3, *[(0x19000 + 16 * i, 8, 1, 0x25) for i in range(4)])
    for what, v in ((0xc | 2 << 4, 0x4050), (0xc | 3 << 4, 0x11), (0xc | 1 << 4, 0x505)):
        h.s.back(what, v)
    h.s.reload().back(0xc | 2 << 4, 0x1020)
    yield h.command(0, 0, 15, 1 << 24 | 3 << 16 | 1).command(0x30000 + 0x8000 + 3 * 0x400 | 1, 0, 16, 1 << 24 | 3 << 16 | 1).s.out(0, db + 4, 3)
    h = Host().address(1, 4)
    h.control(1, "0009010000000000").control(1, "010b010001000000").configure(1, (3, 7, 16), (5, 6, 512), (4, 2, 512))
    h.transfer(1, 4, (0x19000, 100, 1, 0x21)).transfer(1, 5, (0x19000, 2000, 1, 0x25)).transfer(1, 3, (0x1a000, 16, 1, 0x25))
    yield h.s.frame(1, 300).frame(1, 90).reload().frame(1).back(5, 0).back(5, 1)
    for port in (1, 3, 4):
        h = Host().address(1, port)
        h.control(1, "0009010000000000").control(1, "210a000000000000").configure(1, (3, 7, 8)).transfer(1, 3, *[(0x19000 + 16 * i, 8, 1, 0x25) for i in range(9)])
        for v in (0x801e, 0x801d, 0x801f, 0x8020, 0x8021, 0x8022, 0x8023, 0x8024, 0x1e, 0x1d, 0x80d2):
            h.s.back(0xc, v)
        h.control(1, "a101000100000800").control(1, "2109000200000100").control(1, "210b000000000000").s.back(0xc, 0x8010).back(0xc | 4 << 4)
        yield h.s.reload().back(0xc, 0x8011)
    h = Host().address(1, 3, 3)
    h.control(1, "0009010000000000").control(1, "2303080001000000").control(1, "2303040001000000").control(1, "a300000001000400")
    yield h.address(2, 3, 2, 1).control(2, "8006000100001200").s.reload()
    h = Host().address(1, 1)
    for kind in (10, 13, 14, 15, 16, 17, 23, 24, 40):
        h.command(0x18000, 0, kind, 1 << 24 | 1 << 16 | 1)
    h.address(2, 2, bsr=1).command(0, 0, 10, 1 << 24 | 1).command(0x12001, 0, 6, 3)
    yield h.s.out(0, db, 0).out(0, op + 0x18, 4, 8).out(0, op + 0x18, 2, 8).reload()
    h = Host().address(1, 1)
    h.transfer(1, 1, (0, 8, 2, 0x41), (0x16000, 8, 6, 1), (0, 0, 7, 0x21), (0x16000, 16, 1, 0x61), (0x30000, 0, 6, 3))
    h.s.out(0, 0x440, 0x260).out(0, 0x440, 0x10260).out(0, 0x480, 0x80000210).out(0, op, 4).out(0, op, 0x104).out(0, op, 0x204).read(0, rt)
    yield h.s.reload().out(0, op, 2).control(0)


FAMILIES = {"uhci": uhci, "ehci": ehci, "xhci": xhci}
