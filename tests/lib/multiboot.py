"""A guest of a few bytes of 32-bit code, as a kernel for -kernel: Multiboot 1 with addresses in its header (flag 16)."""
import os
import struct

BASE = 0x100000    # of the header in memory
CODE = BASE + 32   # where the code begins


def kernel(work, code, name="kernel"):
    flags, end = 1 << 16, CODE + len(code)
    path = os.path.join(work, name)
    with open(path, "wb") as f:
        f.write(struct.pack("<8I", 0x1badb002, flags, -(0x1badb002 + flags) & 0xffffffff, BASE, BASE, end, end, CODE) + code)
    return path
