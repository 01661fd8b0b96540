#!/usr/bin/env python3
"""Another size of a disk that is exported: who can be told is (the front end of vhost-user-blk by a message, programs on a FUSE file by its
attributes), and clients of NBD, who cannot, keep block_resize and loadvm from it. VIV_STORAGED and VIV_VM are the programs."""
import array
import os
import shutil
import socket
import struct
import sys
import tempfile
import time

from daemons import OURS, SIZE, VM, Daemon, call, images

MIB = 1 << 20
GET_FEATURES, SET_FEATURES, GET_PROTOCOL, SET_PROTOCOL, SET_BACKEND, GET_CONFIG = 1, 2, 15, 16, 21, 24
REPLY_ACK, BACKEND_REQ, CONFIG = 1 << 3, 1 << 5, 1 << 9
CONFIG_CHANGE = 2


def fail(what):
    sys.exit(f"FAIL: {what}")


class Front:
    """As much of a front end as looks at the configuration."""
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(30)
        self.s.connect(path)
        if not struct.unpack("<Q", self.ask(GET_PROTOCOL))[0] & BACKEND_REQ:
            fail("no BACKEND_REQ")
        self.ask(SET_PROTOCOL, struct.pack("<Q", REPLY_ACK | BACKEND_REQ | CONFIG), answer=False)
        self.back, theirs = socket.socketpair()
        self.back.settimeout(30)
        self.ask(SET_BACKEND, fds=[theirs.fileno()])
        theirs.close()

    def ask(self, request, payload=b"", fds=(), answer=True):
        anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        get = request in (GET_PROTOCOL, GET_CONFIG)
        self.s.sendmsg([struct.pack("<III", request, 1 | (8 if answer and not get else 0), len(payload)) + payload], anc)
        if not answer:
            return b""
        size = struct.unpack("<III", self.s.recv(12, socket.MSG_WAITALL))[2]
        return self.s.recv(size, socket.MSG_WAITALL)

    def size(self):
        return struct.unpack_from("<Q", self.ask(GET_CONFIG, struct.pack("<III", 0, 60, 0) + bytes(60)), 12)[0] * 512

    def told(self, size):
        if struct.unpack("<III", self.back.recv(12, socket.MSG_WAITALL))[0] != CONFIG_CHANGE:
            fail("another message")
        if self.size() != size:
            fail(f"the configuration says {self.size()}, not {size}")


def expect(answer, word=None):
    if ("error" in answer) != bool(word) or (word and word not in answer["error"]["desc"]):
        fail(f"{answer}, not '{word}'")


def export(d, node, kind, **more):
    expect(d.do("block-export-add", **{"id": kind[0], "type": kind, "node-name": node, **more}))


def resizes(prog, node):
    images()
    d = Daemon(prog)
    export(d, node, "vhost-user-blk", addr={"type": "unix", "path": "v"}, logical_block_size=4096)
    front = Front("v")
    fuse = prog == OURS and os.path.exists("/dev/fuse") # a confined machine may not open that
    if fuse:
        open("file", "w").close()
        export(d, node, "fuse", mountpoint=os.path.abspath("file"))
    sizes = [SIZE + MIB, SIZE - MIB, SIZE] if node == "t" else [SIZE + MIB, SIZE]
    for size in sizes:
        expect(d.do("block_resize", node_name=node, size=size))
        front.told(size)
        end = time.monotonic() + 20
        while fuse and os.stat("file").st_size != size:
            if time.monotonic() > end:
                fail("the file keeps its size")
            time.sleep(0.1)
    expect(d.do("block_resize", node_name=node, size=SIZE + 512), "blocks of 4096 bytes")
    expect(d.do("nbd-server-start", addr={"type": "unix", "data": {"path": "nbd"}}))
    export(d, node, "nbd", name="n")
    expect(d.do("block_resize", node_name=node, size=SIZE + MIB), "cannot be told of another size")
    expect(d.do("block-export-del", id="n"))
    if prog == VM:
        loads(d, node, front)
    d.end()
    print(f"ok: {os.path.basename(prog)}: {len(sizes)} sizes")


def hmp(d, line, word=""):
    text = d.do("human-monitor-command", **{"command-line": line})["return"]
    if (word not in text) if word else text:
        fail(f"{line}: {text}")


def loads(d, node, front):
    """The machine goes back to a time when its disk had another size."""
    hmp(d, "savevm before")
    expect(d.do("block_resize", node_name=node, size=SIZE + MIB))
    front.told(SIZE + MIB)
    export(d, node, "nbd", name="n")
    hmp(d, "loadvm before", "nbd export 'n' uses")
    if front.size() != SIZE + MIB:
        fail("a loadvm that was refused changed the size")
    expect(d.do("block-export-del", id="n"))
    hmp(d, "loadvm before")
    front.told(SIZE)


def main():
    work = tempfile.mkdtemp(prefix="viv-sizes-")
    os.chdir(work)
    try:
        resizes(OURS, "t")
        call("qemu-img", "create", "-q", "-f", "qcow2", "t", str(SIZE))
        resizes(VM, "top")
    finally:
        os.chdir("/")
        shutil.rmtree(work)


main()
