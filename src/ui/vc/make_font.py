#!/usr/bin/env python3
"""Makes C tables of console fonts: PSF 1 with a table of Unicode characters, glyphs of 8 by 16.

    make_font.py FONT.psf.gz > font.c              all of a font, with its table
    make_font.py --cp437 FONT.psf.gz... > cp437.c  code page 437, of each character the glyph in the first font that has it"""
import gzip
import struct
import sys

# What a VGA shows for 00h-1Fh and 7Fh. (The triangles are those that console fonts have.)
LOW = "\0☺☻♥♦♣♠•◘○◙♂♀♪♫☼▶◀↕‼¶§▬↨↑↓→←∟↔▲▼"


def load(path):
    """Glyphs, and which of them a character has."""
    with gzip.open(path) as f:
        data = f.read()
    magic, mode, height = struct.unpack("<HBB", data[:4])
    if magic != 0x0436 or height != 16 or not mode & 2:
        sys.exit(f"{path} is not a PSF 1 font of 16 lines with a Unicode table")
    count = 512 if mode & 1 else 256
    glyphs, table = data[4:4 + 16 * count], data[4 + 16 * count:]
    chars, glyph, sequence = {}, 0, False
    for (u,) in struct.iter_unpack("<H", table):
        if u == 0xffff:
            glyph, sequence = glyph + 1, False
        elif u == 0xfffe:
            sequence = True
        elif not sequence:
            chars.setdefault(u, glyph)
    return [glyphs[16 * g:16 * g + 16] for g in range(count)], chars


def table(name, glyphs):
    print(f'/* Made by make_font.py. */\n#include "ui/vc/font.h"\n\nconst uint8_t {name}[VIV_FONT_HEIGHT] = {{')
    for g in glyphs:
        print("    {" + ", ".join(f"0x{b:02x}" for b in g) + "},")
    print("};")


def font(path):
    glyphs, chars = load(path)
    table("viv_font_glyphs[]", glyphs)
    print("\nconst struct viv_font_char viv_font_chars[] = {")
    for u in sorted(chars):
        print(f"    {{0x{u:04x}, {chars[u]}}},")
    print(f"}};\n\nconst unsigned viv_font_count = {len(chars)};")


def cp437(paths):
    fonts = [load(p) for p in paths]
    out = [bytes(16)]
    for code in range(1, 256):
        ch = LOW[code] if code < 32 else "⌂" if code == 127 else bytes([code]).decode("cp437")
        found = [glyphs[chars[ord(ch)]] for glyphs, chars in fonts if ord(ch) in chars]
        if not found:
            sys.exit(f"none of {' '.join(paths)} has U+{ord(ch):04X}, which is {code:02x}h in code page 437")
        out.append(found[0])
    table("viv_font_cp437[256]", out)


if sys.argv[1] == "--cp437":
    cp437(sys.argv[2:])
else:
    font(sys.argv[1])
