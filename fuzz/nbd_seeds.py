"""Conversations to start the NBD fuzzers from: nbd_seeds.py server|client FOLDER."""
import os
import struct
import sys

side, folder = sys.argv[1:]
OPTS, REP, INIT = 0x49484156454F5054, 0x3E889045565A9, 0x4E42444D41474943


def option(kind, data=b""):
    return struct.pack(">QII", OPTS, kind, len(data)) + data


def name(text):
    return struct.pack(">I", len(text)) + text


def contexts(export, *queries):
    return name(export) + struct.pack(">I", len(queries)) + b"".join(name(q) for q in queries)


def request(kind, offset, length, flags=0, data=b""):
    return struct.pack(">IHHQQI", 0x25609513, flags, kind, 7, offset, length) + data


def reply(kind, rep, data=b""):
    return struct.pack(">QIII", REP, kind, rep, len(data)) + data


def chunk(cookie, kind, data=b"", flags=1):
    return struct.pack(">IHHQI", 0x668E33EF, flags, kind, cookie, len(data)) + data


def server():
    hello = struct.pack(">I", 3)
    go = option(7, name(b"d") + struct.pack(">HH", 1, 3))
    requests = (request(0, 0, 512) + request(1, 4096, 16, 1, b"x" * 16) + request(6, 0, 8192) + request(4, 0, 4096) +
                request(3, 0, 0) + request(5, 0, 1000) + request(7, 0, 262144) + request(7, 4096, 100000, 8) + request(2, 0, 0))
    yield hello + go + requests
    yield hello + option(8) + option(9, contexts(b"d")) + option(
        10, contexts(b"d", b"base:allocation", b"qemu:allocation-depth", b"qemu:dirty-bitmap:b")) + go + requests
    yield hello + option(3) + option(6, name(b"d") + struct.pack(">HHHH", 3, 1, 2, 3)) + option(5) + option(1, b"d") + requests
    yield hello + option(8) + option(9, contexts(b"d", b"base:", b"qemu:")) + option(99) + option(2)


def client():
    hello = struct.pack(">QQH", INIT, OPTS, 3)
    export = struct.pack(">HQH", 0, 1 << 20, 0x5ED)
    sizes = struct.pack(">HIII", 3, 512, 4096, 1 << 20)
    start = (hello + reply(8, 1) + reply(10, 4, struct.pack(">I", 1) + b"base:allocation") + reply(10, 1) +
             reply(7, 3, sizes) + reply(7, 3, export) + reply(7, 1))
    data = struct.pack(">Q", 0)
    status = struct.pack(">III", 1, 4096, 3)
    yield b"\0" + start + chunk(1, 1, data + b"y" * 65536) + chunk(2, 5, status)
    yield b"\0" + start + chunk(1, 2, data + struct.pack(">I", 65536)) + chunk(2, 1, struct.pack(">Q", 512) + b"z" * 5632)
    yield b"\0" + start + chunk(1, 0x8001, struct.pack(">IH", 5, 2) + b"no") + chunk(2, 0x8002, struct.pack(">IHQ", 5, 0, 1000))
    yield b"\0" + hello + reply(8, 0x80000001) + reply(7, 3, export) + reply(7, 1) + b"".join(
        struct.pack(">IIQ", 0x67446698, 5, i) for i in range(1, 20))
    yield b"\0" + struct.pack(">QQQI", INIT, 0x420281861253, 1 << 20, 3) + bytes(124)
    yield b"\1" + hello + reply(8, 1) + reply(3, 2, name(b"x") + b"words") + reply(3, 1) + reply(6, 3, export) + reply(
        6, 1) + reply(9, 4, struct.pack(">I", 0) + b"base:allocation") + reply(9, 1)
    for text in (b"nbd://host:10809/name", b"nbds://[::1]/", b"nbd+unix:///a%20b?socket=/tmp/s&tls-hostname=x", b"nbds+unix:///?socket=s",
                 b"nbd:host:10809:exportname=a", b"nbd:unix:/tmp/s:exportname=", b"nbd://u@h:0/%00?tls-psk-file=x&tls-certificates=y"):
        yield b"\2" + text


for i, seed in enumerate({"server": server, "client": client}[side]()):
    with open(os.path.join(folder, f"seed-{i}"), "wb") as f:
        f.write(seed)
