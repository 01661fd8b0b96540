#!/usr/bin/env python3
"""Writes a raw disk as an image of a format that Debian has no writer for: cloop, bochs, dmg.

usage: make_image.py FORMAT RAW IMAGE [KEY=VALUE...]
  cloop: block=BYTES
  bochs: extent=BYTES version=1|2
  dmg:   types=zlib,bzip2,lzma,raw (used in turn), chunk=SECTORS, table=xml|rsrc, parts=N, seed=N
"""
import base64
import bz2
import lzma
import random
import struct
import sys
import zlib

SECTOR = 512


def cloop(data, out, block="65536"):
    block = int(block)
    blocks = [zlib.compress(data[i:i + block].ljust(block, b"\0")) for i in range(0, len(data), block)]
    script = b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"
    at = 136 + 8 * (len(blocks) + 1)
    offsets = []
    for b in blocks:
        offsets.append(at)
        at += len(b)
    out.write(script.ljust(128, b"\0") + struct.pack(">II", block, len(blocks)))
    out.write(struct.pack(">%dQ" % (len(offsets) + 1), *offsets, at) + b"".join(blocks))


def bochs(data, out, extent="32768", version="2"):
    """Extents in reverse order of the disk; sectors of zeroes are not stored."""
    extent, version = int(extent), int(version)
    catalog = -(-len(data) // extent)
    bitmap = max(1, extent // SECTOR // 8)
    head = b"Bochs Virtual HD Image".ljust(32, b"\0") + b"Redolog".ljust(16, b"\0") + b"Growing".ljust(16, b"\0")
    head += struct.pack("<IIIII", 0x10000 * version, SECTOR, catalog, bitmap, extent)
    head += struct.pack("<Q", len(data)) if version == 1 else struct.pack("<IQ", 0, len(data))
    entries, stored = [0xffffffff] * catalog, []
    for i in reversed(range(catalog)):
        part = data[i * extent:(i + 1) * extent].ljust(extent, b"\0")
        sectors = [part[k:k + SECTOR] for k in range(0, extent, SECTOR)]
        bits = bytearray(-(-bitmap // SECTOR) * SECTOR)
        for k, s in enumerate(sectors):
            if any(s):
                bits[k // 8] |= 1 << k % 8
        if any(bits):
            entries[i] = len(stored)
            stored.append(bytes(bits) + part)
    out.write(head.ljust(SECTOR, b"\0") + struct.pack("<%dI" % catalog, *entries) + b"".join(stored))


PACKED = {"zlib": (0x80000005, zlib.compress), "bzip2": (0x80000006, bz2.compress), "lzma": (0x80000008, lzma.compress),
          "raw": (1, bytes)}


def dmg_table(rng, part, first, base, fork, types, chunk):
    """A mish table for `part`, which begins at sector `first`; what it packs goes to the end of `fork`."""
    rows, at, turn = [], 0, 0
    total = len(part) // SECTOR
    while at < total:
        count = min(total - at, rng.randrange(1, 2 * chunk))
        piece = part[at * SECTOR:(at + count) * SECTOR]
        if not any(piece):
            rows.append((rng.choice((0, 2)), at, count, len(fork), 0))
        else:
            kind, pack = PACKED[types[turn % len(types)]]
            turn += 1
            packed = pack(piece)
            rows.append((kind, at, count, base + len(fork), len(packed)))
            fork += packed
        if rng.randrange(8) == 0:
            rows.append((0x7ffffffe, at + count, 0, 0, 0)) # a comment
        at += count
    rows.append((0xffffffff, total, 0, base + len(fork), 0))
    table = struct.pack(">4sIQQQII", b"mish", 1, first, total, 0, chunk + 8, 0) + bytes(24 + 136) + struct.pack(">I", len(rows))
    return table + b"".join(struct.pack(">IIQQQQ", k, 0, s, n, o, l) for k, s, n, o, l in rows)


def dmg_xml(tables):
    items = "".join("""
			<dict>
				<key>Attributes</key><string>0x0050</string>
				<key>CFName</key><string>part &amp; %d</string>
				<key>Data</key>
				<data>
				%s
				</data>
				<key>ID</key><string>%d</string>
			</dict>""" % (i, "\n\t\t\t\t".join(base64.b64encode(t[k:k + 39]).decode() for k in range(0, len(t), 39)), i)
                    for i, t in enumerate(tables))
    return ("""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple Computer//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>resource-fork</key>
	<dict>
		<key>blkx</key>
		<array>%s
		</array>
		<key>plst</key>
		<array><dict><key>Attributes</key><string>0x0050</string><key>Data</key>
			<data>
			%s
			</data><key>ID</key><string>0</string></dict></array>
	</dict>
</dict>
</plist>
""" % (items, base64.b64encode(bytes(64)).decode())).encode()


def dmg_rsrc(tables):
    body = b"".join(struct.pack(">I", len(t)) + t for t in tables)
    return struct.pack(">IIII", 256, 256 + len(body), len(body), 50) + bytes(240) + body + bytes(50)


def dmg(data, out, types="zlib,raw", chunk="64", table="xml", parts="3", seed="1"):
    rng = random.Random(int(seed))
    types, chunk, parts = types.split(","), int(chunk), int(parts)
    fork, tables, sectors = bytearray(), [], len(data) // SECTOR
    cuts = [0] + sorted(rng.randrange(1, sectors) for _ in range(parts - 1)) + [sectors]
    for a, b in zip(cuts, cuts[1:]):
        if a != b:
            tables.append(dmg_table(rng, data[a * SECTOR:b * SECTOR], a, 0, fork, types, chunk))
    fork += bytes(-len(fork) % SECTOR)
    book = dmg_xml(tables) if table == "xml" else dmg_rsrc(tables)
    where = (0, 0, len(fork), len(book)) if table == "xml" else (len(fork), len(book), 0, 0)
    koly = struct.pack(">4sIIIQQQQQII", b"koly", 4, 512, 1, 0, 0, len(fork), where[0], where[1], 1, 1)
    koly = koly.ljust(216, b"\0") + struct.pack(">QQ", where[2], where[3])
    koly = koly.ljust(488, b"\0") + struct.pack(">IQ", 1, sectors)
    out.write(fork + book + koly.ljust(512, b"\0"))


if __name__ == "__main__":
    with open(sys.argv[2], "rb") as f, open(sys.argv[3], "wb") as g:
        raw = f.read()
        {"cloop": cloop, "bochs": bochs, "dmg": dmg}[sys.argv[1]](raw, g, **dict(a.split("=", 1) for a in sys.argv[4:]))
