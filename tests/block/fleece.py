#!/usr/bin/env python3
"""Fleecing as backup programs do it, through Debian's qemu-storage-daemon and ours: an overlay of a disk in use, a backup with sync=none into it,
an export of the overlay with the bitmap of what changed before. Both answer the same, and clients read the disk of that moment while others write
it. VIV_STORAGED is the daemon."""
import os
import subprocess
import sys
import tempfile
import threading

from daemons import OURS, PEER, SIZE, Daemon, call, comparable, differences, images

DISK, MOMENT = "nbd+unix:///disk?socket=n", "nbd+unix:///moment?socket=n"


def write(seed, rounds):
    for i in range(rounds):
        at, what = (seed * 37 + i * 53) % 200 * 65536 + i % 3 * 4096, ("-P %d" % (i % 250 + 1), "-z", "-z -u")[i % 3]
        subprocess.run(["qemu-io", "-f", "raw", "-c", f"write {what} {at} {65536 * (i % 9 + 1)}", DISK], check=True, stdout=subprocess.DEVNULL)


def read(url, *more):
    with tempfile.NamedTemporaryFile(dir=".") as f:
        call("qemu-img", "convert", "-O", "raw", *(more or ("-f", "raw", url)), f.name)
        return f.read()


def dirty():
    """What the bitmap says, as qemu-img shows it."""
    image = f"driver=nbd,server.type=unix,server.path=n,export=moment,x-dirty-bitmap=qemu:dirty-bitmap:b"
    return subprocess.run(["qemu-img", "map", "--output=json", "--image-opts", image], check=True, capture_output=True).stdout


def session(prog):
    images()
    call("qemu-img", "create", "-q", "-f", "qcow2", "over", str(SIZE))
    d = Daemon(prog)
    d.do("nbd-server-start", addr={"type": "unix", "data": {"path": "n"}})
    d.do("block-export-add", type="nbd", id="d", node_name="top", name="disk", writable=True)
    d.do("block-dirty-bitmap-add", node="top", name="b")
    write(1, 5)
    d.do("blockdev-add", driver="qcow2", node_name="over", file={"driver": "file", "filename": "over"}, backing="top")
    then = read(DISK)
    d.do("transaction", actions=[{"type": "block-dirty-bitmap-disable", "data": {"node": "top", "name": "b"}},
                                 {"type": "blockdev-backup", "data": {"job-id": "f", "device": "top", "target": "over", "sync": "none"}}])
    d.do("block-export-add", type="nbd", id="m", node_name="over", name="moment", bitmaps=["b"])
    d.do("block-export-add", type="nbd", id="w", node_name="t", name="else", bitmaps=["b"]) # no bitmap there
    writer = threading.Thread(target=write, args=(2, 40))
    writer.start()
    for _ in range(8):
        if read(MOMENT) != then:
            sys.exit(f"{prog}: the moment has changed")
    writer.join()
    if read(MOMENT) != then or read(DISK) == then:
        sys.exit(f"{prog}: the moment has changed, or the disk has not")
    bits = dirty()
    d.do("block-export-del", id="m", mode="hard") # its last client may not be gone yet
    d.job("block-job-cancel", "null", device="f")
    d.do("blockdev-del", node_name="over")
    d.do("block-export-del", id="d", mode="hard")
    d.end()
    return comparable(d), bits


def main():
    with tempfile.TemporaryDirectory(prefix="viv-fleece-") as work:
        os.chdir(work)
        (theirs, their_bits), (ours, our_bits) = session(PEER), session(OURS)
        bad = differences("fleece", theirs, ours) + (their_bits != our_bits)
        if their_bits != our_bits:
            print(f"bitmap\n  theirs {their_bits}\n  ours   {our_bits}")
        os.chdir("/")
    print(f"fleecing: {len(ours[0])} answers, {len(ours[1])} events, one moment under 40 writes")
    sys.exit(bad != 0)


main()
