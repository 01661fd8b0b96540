"""Steps of the device targets as fuzz/device_rig.h has them, for seeds."""
import struct

OUT, IN, ADD, RAM, PTR, CFG, TIME, BACK, CTL, REP, VQ, START = range(12)
LOG2 = {1: 0, 2: 1, 4: 2, 8: 3}


class Script:
    def __init__(self):
        self.data = bytearray(1)

    def put(self, kind, n, s, form, *args):
        self.data += struct.pack("<B" + form, kind | n << 4 | s << 6, *args)
        return self

    def out(self, window, off, value, size=4):
        self.put(OUT, LOG2[size], LOG2[size], "BH", window | off >> 16 << 4, off & 0xffff)
        self.data += (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        return self

    def read(self, window, off, size=4):
        return self.put(IN, 0, LOG2[size], "BH", window | off >> 16 << 4, off & 0xffff)

    def add(self, window, off, value=1, size=4):
        return self.put(ADD, 0, LOG2[size], "BHB", window, off, value)

    def ram(self, at, data):
        for i in range(0, len(data), 200):
            part = data[i:i + 200]
            self.put(RAM, 0, 0, "BHB", (at + i) >> 12, (at + i) & 0xfff, len(part))
            self.data += part
        return self

    def ptr(self, at, to, size=8):
        return self.put(PTR, LOG2[size], 0, "BHH", at >> 12, at & 0xfff, to // 16)

    def cfg(self, function, register, value, size=4):
        self.put(CFG, LOG2[size], 0, "BB", function, register)
        self.data += value.to_bytes(size, "little")
        return self

    def time(self, ns):
        shift = max(0, ns.bit_length() - 12)
        return self.put(TIME, 0, 0, "H", ns >> shift | shift << 12)

    def back(self, what, v=0):
        return self.put(BACK, 0, 0, "BH", what, v)

    def disk(self, count=0, error=0):
        return self.back(0, count | (error << 8))

    def frame(self, kind=0, size=60, header=False):
        return self.back(3 if header else 2, kind | min(size, 1023) << 6)

    def control(self, what, v=0):
        return self.put(CTL, 0, 0, "BH", what, v)

    def reload(self):
        return self.control(1)

    def rep(self, window, off, count, size=2, write=False):
        return self.put(REP, int(write), LOG2[size], "BHB", window, off, min(255, (count + 1) // 2))

    def virtio(self, packed=False, flags=0, features=0, window=0):
        return self.put(START, 0, 0, "BBI", flags | packed, 1 | window << 4, features)

    def request(self, queue, out, into, *lengths, table=False, kick=True, where=0):
        codes = [n if n < 192 else min(254, 191 + (n + 255) // 256) for n in lengths]
        codes += [0] * (4 - len(codes))
        return self.put(VQ, 0, 0, "BBB4B", queue, out | into << 2 | table << 4 | (not kick) << 5, where, *codes)


def msix(s, function, cap=0x98):
    return s.cfg(function, cap + 2, 0x8000, 2)
