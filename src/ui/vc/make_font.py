#!/usr/bin/env python3
"""Makes C tables of a console font: make_font.py FONT.psf.gz > font.c. PSF 1 with its table of Unicode characters, glyphs of 8 by 16."""
import gzip
import struct
import sys


def main():
    data = gzip.open(sys.argv[1]).read()
    magic, mode, height = struct.unpack("<HBB", data[:4])
    if magic != 0x0436 or height != 16 or not mode & 2:
        sys.exit(f"{sys.argv[1]} is not a PSF 1 font of 16 lines with a Unicode table")
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
    print('/* Made by make_font.py. */\n#include "ui/vc/font.h"\n\nconst uint8_t viv_font_glyphs[][VIV_FONT_HEIGHT] = {')
    for g in range(count):
        print("    {" + ", ".join(f"0x{b:02x}" for b in glyphs[16 * g:16 * g + 16]) + "},")
    print("};\n\nconst struct viv_font_char viv_font_chars[] = {")
    for u in sorted(chars):
        print(f"    {{0x{u:04x}, {chars[u]}}},")
    print(f"}};\n\nconst unsigned viv_font_count = {len(chars)};")


main()
