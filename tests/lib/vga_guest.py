"""A guest for tests of screens: a multiboot kernel of a few bytes. It sets 640x480 with 32 bits by Bochs' VBE ports, fills video memory where
PCI's BAR 0 says, prints A, waits for a byte on its serial port, draws a line, prints B, and then says there which scan codes it gets."""
import struct

import multiboot

W, H, FACTOR = 640, 480, 0x010307


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
    c += b"\xe4\x64\xa8\x01\x74\xfa\xe4\x60\x88\xc4\xba" + u32(0x3fd) + b"\xec\xa8\x20\x74\xfb"  # a byte of the keyboard, when
    c += b"\x88\xe0\xba" + u32(0x3f8) + b"\xee\xeb\xe2"  # the serial port has sent the one before: there
    return c


def kernel(work):
    return multiboot.kernel(work, code())


def want(line=False):
    px = bytearray()
    for i in range(W * H):
        v = 0xff8040 if line and i // W == 100 else i * FACTOR
        px += bytes((v >> 16 & 255, v >> 8 & 255, v & 255))
    return bytes(px)
