#!/usr/bin/env python3
"""Transactions, snapshots and backups of viv-storaged and viv-vm beside Debian's qemu-storage-daemon: all or nothing, and of one moment."""
import fcntl
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from daemons import OURS, PEER, SIZE, VM, Daemon, backing, call, comparable, differences, images

GROUPED = {"completion-mode": "grouped"}
# Said better, or differently for a reason: theirs, ours.
WORDS = [
    (r"Parameter 'actions\[\d+\]\.data' is missing", r".*"),
    (r"Failed to get \"write\" lock", r".*'snap'.*"),
    (r"Parameter 'actions\[0\]\.\w+' is unexpected", r".*"),
    (r"Could not open 'missing': No such file or directory", r".*'missing'.*"),
    (r"Snapshot with name 'i' already exists on device 't'", r"Snapshot with name 'i' already exists on device 't'"),
]


def act(kind, /, **data):
    return {"type": kind, "data": {k.replace("_", "-"): v for k, v in data.items()}}


def t(d, *actions, **more):
    return d.do("transaction", actions=list(actions), **more)


def backup(job, source, target, **more):
    return act("blockdev-backup", job_id=job, device=source, target=target, sync="full", **more)


def bitmaps_of(d, *names):
    """What there is of bitmaps, as an answer."""
    m = d.do("query-named-block-nodes", flat=True)
    d.answers.pop()
    rows = {n["node-name"]: sorted((b["name"], b["granularity"], b["count"], b["recording"], b["persistent"]) for b in n.get("dirty-bitmaps", []))
            for n in m["return"] if n["node-name"] in names}
    d.answers.append(("bitmaps", {}, sorted(rows.items())))


def chain(d):
    m = d.do("query-named-block-nodes", flat=True)
    d.answers.pop()
    d.answers.append(("chain", {}, sorted((n["node-name"], n["ro"], n.get("backing_file")) for n in m["return"]
                                          if not n["node-name"].startswith(("#", "f-")) and n["drv"] != "file")))


def until_no_jobs(d):
    end = time.monotonic() + 30
    while d.do("query-jobs")["return"]:
        d.answers.pop()
        if time.monotonic() > end:
            sys.exit("jobs that do not end")
        time.sleep(0.05)
    d.answers.pop()


def settled(d, **want):
    """Until the jobs have these states."""
    end = time.monotonic() + 30
    while True:
        rows = d.do("query-jobs")["return"]
        d.answers.pop()
        if {r["id"]: r["status"] for r in rows} == want:
            return
        if time.monotonic() > end:
            sys.exit(f"{d.prog}: jobs: {rows}, not {want}")
        time.sleep(0.05)


def bitmaps(d):
    add = lambda name, **more: act("block-dirty-bitmap-add", node="t", name=name, **more)  # noqa: E731
    t(d)
    t(d, act("abort"))
    t(d, act("nope"))
    t(d, add("a"), act("abort"))
    bitmaps_of(d, "t")
    t(d, add("a"), add("a"))
    bitmaps_of(d, "t")
    t(d, add("a"), add("p", persistent=True, granularity=4096), add("off", disabled=True))
    bitmaps_of(d, "t")
    # Each is undone by what fails behind it.
    for one in (act("block-dirty-bitmap-remove", node="t", name="a"), act("block-dirty-bitmap-remove", node="t", name="p"),
                act("block-dirty-bitmap-clear", node="t", name="p"), act("block-dirty-bitmap-disable", node="t", name="a"),
                act("block-dirty-bitmap-disable", node="t", name="p"), act("block-dirty-bitmap-enable", node="t", name="off"),
                act("block-dirty-bitmap-merge", node="t", target="off", bitmaps=["a"]), add("b", persistent=True)):
        t(d, one, act("abort"))
        bitmaps_of(d, "t")
        t(d, one, add("a2"), add("a2"))
        bitmaps_of(d, "t")
    # As backup programs do it: what was since then, into one for the backup, and a new one from now on.
    t(d, add("job", disabled=True), act("block-dirty-bitmap-merge", node="t", target="job", bitmaps=[{"node": "t", "name": "a"}, "p"]),
      act("block-dirty-bitmap-disable", node="t", name="a"), add("since"))
    bitmaps_of(d, "t")
    d.do("block-dirty-bitmap-merge", node="t", target="job", bitmaps=[{"node": "nope", "name": "a"}])
    d.do("block-dirty-bitmap-merge", node="t", target="job", bitmaps=["nope"])
    d.do("block-dirty-bitmap-add", node="top", name="elsewhere")
    d.do("block-dirty-bitmap-merge", node="t", target="job", bitmaps=[{"node": "top", "name": "elsewhere"}])
    d.do("block-dirty-bitmap-remove", node="nope", name="a")
    for kind in ("add", "remove", "clear"):
        t(d, act("block-dirty-bitmap-" + kind, node="t", name="a"), properties=GROUPED)
    return [("t", "t.raw")]


def snapshots(d):
    sync = lambda **more: d.do("blockdev-snapshot-sync", **more)  # noqa: E731
    call("qemu-img", "create", "-q", "-f", "qcow2", "over", str(SIZE))
    call("qemu-img", "create", "-q", "-f", "qcow2", "over2", str(SIZE))
    for name in ("over", "over2"):
        d.do("blockdev-add", driver="qcow2", node_name=name, file={"driver": "file", "filename": name}, backing=None)
    sync(node_name="top", snapshot_file="snap")
    sync(snapshot_file="snap", snapshot_node_name="s")
    sync(node_name="nope", snapshot_file="snap", snapshot_node_name="s")
    sync(device="nope", snapshot_file="snap", snapshot_node_name="s")
    sync(node_name="top", snapshot_file="snap", snapshot_node_name="t")
    sync(node_name="mid", snapshot_file="snap", snapshot_node_name="s")
    sync(node_name="top", snapshot_file="snap", snapshot_node_name="s", format="raw")
    sync(node_name="top", snapshot_file="snap", snapshot_node_name="s", format="nope")
    sync(node_name="top", snapshot_file="nodir/snap", snapshot_node_name="s")
    sync(node_name="top", snapshot_file="missing", snapshot_node_name="s", mode="existing")
    chain(d)
    # Undone: the disk is top again, and may be written.
    t(d, act("blockdev-snapshot", node="top", overlay="over"), act("abort"))
    t(d, act("blockdev-snapshot-sync", node_name="top", snapshot_file="snap", snapshot_node_name="s"), act("abort"))
    t(d, act("blockdev-snapshot", node="top", overlay="over"), act("block-dirty-bitmap-add", node="over", name="x"),
      act("block-dirty-bitmap-add", node="over", name="x"))
    chain(d)
    bitmaps_of(d, "over")
    sync(node_name="top", snapshot_file="snap", snapshot_node_name="s")
    chain(d)
    sync(node_name="top", snapshot_file="snap2", snapshot_node_name="s2")
    for overlay in ("nope", "s", "base", "f-t"):
        d.do("blockdev-snapshot", node="s", overlay=overlay)
    d.do("blockdev-snapshot", node="nope", overlay="over")
    # With a bitmap that belongs to the new layer.
    t(d, act("blockdev-snapshot", node="s", overlay="over"), act("block-dirty-bitmap-add", node="over", name="x"))
    chain(d)
    bitmaps_of(d, "over")
    d.do("blockdev-snapshot", node="s", overlay="over2")
    d.do("blockdev-snapshot", node="over", overlay="over")
    inner = lambda name, **more: d.do("blockdev-snapshot-internal-sync", name=name, **more)  # noqa: E731
    inner("i", device="t")
    inner("i", device="t")
    inner("", device="t")
    inner("i", device="nope")
    inner("i", device="base")
    t(d, act("blockdev-snapshot-internal-sync", device="t", name="j"), act("blockdev-snapshot-internal-sync", device="t", name="i"))
    t(d, act("blockdev-snapshot-internal-sync", device="t", name="j"), act("abort"))
    gone = lambda **more: d.do("blockdev-snapshot-delete-internal-sync", **more)  # noqa: E731
    gone(device="t", name="j")
    gone(device="t", id="9")
    gone(device="t")
    gone(device="nope", name="i")
    gone(device="t", name="i", id="7")
    gone(device="t", name="i", id="1")
    d.answers[-1][2]["return"] = {k: v for k, v in d.answers[-1][2]["return"].items() if not k.startswith(("date", "vm-clock"))}
    for one in (act("blockdev-snapshot-internal-sync", device="t", name="k"), act("blockdev-snapshot", node="over", overlay="over2"),
                act("blockdev-snapshot-sync", node_name="over", snapshot_file="snap2", snapshot_node_name="s2")):
        t(d, one, properties=GROUPED)
    chain(d)
    return [("over", None), ("snap", "disk.raw")]


def groups(d):
    call("qemu-img", "create", "-q", "-f", "qcow2", "t2", str(SIZE))
    call("qemu-img", "create", "-q", "-f", "qcow2", "other", str(SIZE))
    for name in ("t2", "other"):
        d.do("blockdev-add", driver="qcow2", node_name=name, file={"driver": "file", "filename": name})
    t(d, backup("j1", "top", "t"), act("abort"))
    t(d, backup("j1", "top", "t"), backup("j1", "other", "t2"))
    t(d, backup("j1", "top", "t"), backup("j2", "other", "nope"))
    until_no_jobs(d)
    t(d, backup("j1", "top", "t", auto_dismiss=False), backup("j2", "other", "t2", auto_dismiss=False), properties=GROUPED)
    settled(d, j1="concluded", j2="concluded")
    d.do("job-dismiss", id="j1")
    d.do("job-dismiss", id="j2")
    # One is cancelled: the other is too, though it has done its work.
    t(d, backup("j1", "top", "t", speed=65536), backup("j2", "other", "t2"), properties=GROUPED)
    settled(d, j1="running", j2="waiting")
    d.do("job-cancel", id="j1")
    until_no_jobs(d)
    t(d, backup("j1", "top", "t", speed=65536), backup("j2", "other", "t2"))
    settled(d, j1="running")
    d.do("job-cancel", id="j1")
    until_no_jobs(d)
    # One finalizes for all.
    t(d, backup("j1", "top", "t", auto_finalize=False), backup("j2", "other", "t2"), properties=GROUPED)
    settled(d, j1="pending", j2="pending")
    d.do("job-finalize", id="j1")
    until_no_jobs(d)
    t(d, backup("j1", "top", "t", auto_finalize=False), backup("j2", "other", "t2", auto_finalize=False), properties=GROUPED)
    settled(d, j1="pending", j2="pending")
    d.do("job-cancel", id="j2")
    until_no_jobs(d)
    # A bitmap of the same transaction.
    t(d, act("block-dirty-bitmap-add", node="top", name="b"), act("blockdev-backup", job_id="j", device="top", target="t", sync="bitmap", bitmap="b",
                                                                   bitmap_mode="never"))
    until_no_jobs(d)
    bitmaps_of(d, "top")
    t(d, act("blockdev-backup", job_id="missing", device="top", target="t", sync="incremental", bitmap="none"))
    until_no_jobs(d)
    d.do("drive-backup", job_id="d", device="top", target="made", format="qcow2", sync="full")
    until_no_jobs(d)
    d.do("drive-backup", job_id="d", device="top", target="made", sync="full", mode="existing")
    until_no_jobs(d)
    d.do("drive-backup", job_id="d", device="top", target="made2", sync="top")
    until_no_jobs(d)
    d.do("drive-backup", job_id="d", device="top", target="/nodir/made", sync="full")
    d.do("drive-backup", job_id="d", device="top", target="made", sync="full", format="nope")
    t(d, act("drive-backup", job_id="d", device="top", target="made3", sync="full"), act("abort"))
    until_no_jobs(d)
    return [("t", "disk.raw"), ("made", "disk.raw"), ("made2", "disk.raw")]


# --- beside the peer ---


def same(a, b):
    return a == b or any(re.match(x, a) and re.match(y, b) for x, y in WORDS)


def forgive(theirs, ours):
    for i, (a, b) in enumerate(zip(theirs, ours)):
        ea, eb = (x[2].get("error") if isinstance(x[2], dict) else None for x in (a, b))
        if ea and eb and ea[0] == eb[0] and same(ea[1], eb[1]):
            ours[i] = a


def by_job(events):
    """Jobs run beside each other: the order within each counts."""
    out = {}
    for name, data in events:
        data = {k: v for k, v in data.items() if k != "offset"}
        if data.get("id") == "missing": # ours looks for a bitmap when the actions in front have been done
            continue
        out.setdefault(data.get("id", data.get("device")), []).append((name, data))
    return sorted(out.items())


def start(prog, export):
    d = Daemon(prog)
    if prog != VM: # there a device has the disk
        d.do("nbd-server-start", addr={"type": "unix", "data": {"path": "n"}})
        for node in export:
            d.do("block-export-add", type="nbd", id="e-" + node, node_name=node, writable=True)
    d.answers.clear()
    return d


def compare(which):
    seen = []
    for prog in (PEER, OURS, VM):
        images()
        for name in ("snap", "snap2", "made", "made2", "made3"):
            if os.path.exists(name):
                os.remove(name)
        call("qemu-img", "convert", "-O", "raw", "top", "disk.raw")
        call("qemu-img", "convert", "-O", "raw", "t", "t.raw")
        d = start(prog, ["top"])
        hold = which(d)
        d.end()
        for name, raw in hold:
            call("qemu-img", "check", "-q", name)
            if raw:
                call("qemu-img", "compare", "-q", "-F", "raw", name, raw)
        answers, events = comparable(d)
        seen.append((answers, by_job(events), [(n, backing(n)) for n, _ in hold]))
        if prog != PEER and os.path.exists("made3"):
            sys.exit(f"{prog}: {which.__name__}: an aborted backup leaves its file")
    bad = 0
    for prog, mine in ((OURS, seen[1]), (VM, seen[2])):
        forgive(seen[0][0], mine[0])
        bad += differences(f"{os.path.basename(prog)}: {which.__name__}", seen[0], mine)
    print(f"{which.__name__}: {len(seen[0][0])} answers, {sum(len(e) for _, e in seen[0][1])} events", flush=True)
    return bad


# --- one moment ---


class Writer:
    """An NBD client that writes one block (the protocol's fixed newstyle, without options but the export's name)."""

    def __init__(self, export):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect("n")
        self.read(18)
        self.s.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, len(export)) + export.encode())
        self.read(10)

    def read(self, n):
        data = b""
        while len(data) < n:
            more = self.s.recv(n - len(data))
            if not more:
                sys.exit("the NBD server has gone")
            data += more
        return data

    def write(self, at, data):
        self.s.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 1, 1, at, len(data)) + data)
        _, error, _ = struct.unpack(">IIQ", self.read(16))
        if error:
            sys.exit(f"a write failed: {error}")


def number(image):
    raw = image + ".raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", image, raw], check=True)
    with open(raw, "rb") as f:
        return struct.unpack(">Q", f.read(8))[0]


def moments(rounds):
    """A guest writes numbers to one disk, then to the other: backups and snapshots of both never know the second without the first."""
    for i in range(rounds):
        images()
        for name in ("a", "b", "ca", "cb"):
            call("qemu-img", "create", "-q", "-f", "qcow2", name, "1M")
        for name in ("a1", "b1"):
            if os.path.exists(name):
                os.remove(name)
        d = Daemon(OURS)
        for name in ("a", "b", "ca", "cb"):
            d.do("blockdev-add", driver="qcow2", node_name=name, file={"driver": "file", "filename": name})
        d.do("nbd-server-start", addr={"type": "unix", "data": {"path": "n"}})
        for name in ("a", "b"):
            d.do("block-export-add", type="nbd", id="e" + name, node_name=name, name=name, writable=True)
        stop, a, b = threading.Event(), Writer("a"), Writer("b")
        count = [0]

        def guest():
            while not stop.is_set():
                count[0] += 1
                for w in (a, b):
                    w.write(0, struct.pack(">Q", count[0]) * 64)

        worker = threading.Thread(target=guest)
        worker.start()
        time.sleep(0.02 + 0.01 * i)
        m = t(d, backup("ja", "a", "ca"), backup("jb", "b", "cb"), properties=GROUPED)
        if "return" not in m:
            sys.exit(f"transaction: {m}")
        until_no_jobs(d)
        before = count[0]
        m = t(d, *(act("blockdev-snapshot-sync", node_name=n, snapshot_file=n + "1", snapshot_node_name=n + "1") for n in ("a", "b")))
        if "return" not in m:
            sys.exit(f"transaction: {m}")
        time.sleep(0.02)
        stop.set()
        worker.join()
        d.end()
        pairs = {"backup": (number("ca"), number("cb")), "snapshot": (number("a"), number("b")), "disk": (number("a1"), number("b1"))}
        for name, (x, y) in pairs.items():
            if x - y not in (0, 1):
                sys.exit(f"round {i}: the {name} of a knows {x}, that of b {y}")
        if not pairs["backup"][0] <= before <= pairs["snapshot"][0] + 1 or pairs["disk"] != (count[0], count[0]):
            sys.exit(f"round {i}: {pairs}, {before}, {count}")
    print(f"{rounds} times two disks of one moment")


# --- what cannot be done, or undone ---


def lock(path, byte):
    """As another program that did not look who has the image: 201 says "nobody else writes"."""
    fd = os.open(path, os.O_RDWR)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))
    return fd


def refused(m, what):
    if "error" not in m:
        sys.exit(f"{what}: {m}")


def snapshot_stays(prog):
    """The image below cannot become writable again: its users keep the overlay, and all of the disk."""
    images()
    call("qemu-img", "convert", "-O", "raw", "top", "disk.raw")
    for name in ("snap", "snap2"):
        if os.path.exists(name):
            os.remove(name)
    d = Daemon(prog)
    d.do("nbd-server-start", addr={"type": "unix", "data": {"path": "n"}})
    d.do("block-export-add", type="nbd", id="e", node_name="top", writable=True)
    fd = lock("top", 201)
    refused(t(d, act("blockdev-snapshot-sync", node_name="top", snapshot_file="snap", snapshot_node_name="s"), act("abort")), "abort")
    os.close(fd)
    call("qemu-img", "compare", "-q", "-f", "raw", "-F", "raw", "nbd:unix:n:exportname=top", "disk.raw")
    d.end()
    call("qemu-img", "compare", "-q", "-F", "raw", "snap", "disk.raw")


def snapshot_flushes(prog):
    """What the image below holds is durable before the guest's flushes go to the overlay."""
    with open("r.raw", "wb") as f:
        f.truncate(1 << 20)
    d = Daemon(prog)
    d.do("blockdev-add", driver="raw", node_name="r",
         file={"driver": "blkdebug", "image": {"driver": "file", "filename": "r.raw"}, "inject-error": [{"event": "flush_to_disk", "errno": 5}]})
    refused(d.do("blockdev-snapshot-sync", node_name="r", snapshot_file="snap-r", snapshot_node_name="s"), "a flush that failed")
    if os.path.exists("snap-r"):
        sys.exit("a snapshot that failed leaves its file")
    d.do("blockdev-del", node_name="r")
    d.do("quit")
    d.p.wait()


def count_of(d, node, name):
    """The dirty bytes of a bitmap; None: there is none."""
    for n in d.do("query-named-block-nodes", flat=True)["return"]:
        for b in n.get("dirty-bitmaps", []):
            if (n["node-name"], b["name"]) == (node, name):
                return b["count"]
    return None


def bitmaps_come_back(prog):
    """What a backup of the same transaction was to use is undone too; what an image says of a bitmap that was lost is not forgotten."""
    images()
    call("qemu-img", "create", "-q", "-f", "qcow2", "other", str(SIZE))
    d = Daemon(prog)
    d.do("blockdev-add", driver="qcow2", node_name="other", file={"driver": "file", "filename": "other"})
    d.do("nbd-server-start", addr={"type": "unix", "data": {"path": "n"}})
    d.do("block-export-add", type="nbd", id="e", node_name="t", writable=True)
    d.do("block-dirty-bitmap-add", node="t", name="p", persistent=True)
    Writer("t").write(65536, b"x" * 65536)
    job = lambda name: act("blockdev-backup", job_id="j", device="t", target="other", sync="bitmap", bitmap=name, bitmap_mode="never")  # noqa: E731
    refused(t(d, act("block-dirty-bitmap-clear", node="t", name="p"), job("p"), act("abort")), "abort")
    refused(t(d, act("block-dirty-bitmap-disable", node="t", name="p"), job("p"), act("abort")), "abort")
    refused(t(d, act("block-dirty-bitmap-add", node="t", name="q", persistent=True), job("q"), act("abort")), "abort")
    until_no_jobs(d)
    Writer("t").write(131072, b"y" * 65536)
    if (count_of(d, "t", "p"), count_of(d, "t", "q")) != (131072, None):
        sys.exit(f"undone bitmaps: p has {count_of(d, 't', 'p')} dirty bytes, q {count_of(d, 't', 'q')}")
    d.p.kill()
    d.p.wait()
    d = Daemon(prog)
    refused(t(d, act("block-dirty-bitmap-remove", node="t", name="p"), act("abort")), "abort")
    m = d.do("block-dirty-bitmap-clear", node="t", name="p")
    refused(m, "a lost bitmap that was removed, and came back")
    if "inconsistent" not in m["error"]["desc"]:
        sys.exit(f"a lost bitmap: {m}")
    d.end()


def exported_bitmap(prog):
    """A bitmap that an export shows stays with its node, also when the export's disk has become another one."""
    images()
    call("qemu-img", "create", "-q", "-f", "qcow2", "other", str(SIZE))
    d = Daemon(prog)
    d.do("blockdev-add", driver="qcow2", node_name="other", file={"driver": "file", "filename": "other"})
    d.do("block-dirty-bitmap-add", node="t", name="b")
    d.do("nbd-server-start", addr={"type": "unix", "data": {"path": "n"}})
    d.do("block-export-add", type="nbd", id="e", node_name="t", writable=True, bitmaps=["b"])
    d.do("blockdev-mirror", job_id="m", device="t", target="other", sync="full")
    settled(d, m="ready")
    d.do("job-complete", id="m")
    until_no_jobs(d)
    refused(d.do("blockdev-del", node_name="t"), "the node of a bitmap in use")
    d.do("block-export-del", id="e")
    if "return" not in d.do("blockdev-del", node_name="t"):
        sys.exit("a bitmap's node stays")
    d.end()


def bitmap_entry(image):
    """The file, where the directory's place and length are told in its header, and its only entry."""
    data = bytearray(open(image, "rb").read())
    at = struct.unpack_from(">I", data, 100)[0]
    while (kind := struct.unpack_from(">I", data, at)[0]) != 0x23852875:
        if not kind:
            sys.exit(f"{image} has no bitmaps")
        at += 8 + (struct.unpack_from(">I", data, at + 4)[0] + 7) // 8 * 8
    size, offset = struct.unpack_from(">QQ", data, at + 16)
    return data, at + 16, bytes(data[offset:offset + size]), offset


def extra_data(prog):
    """What a newer program has stored with a bitmap comes back with it."""
    extra = b"of a newer program"
    for persistent_flags in (4, 6): # "extra data compatible", and that with "auto"
        images()
        call("qemu-img", "bitmap", "--add", "t", "b")
        data, told, entry, offset = bitmap_entry("t")
        entry = entry[:12] + struct.pack(">I", persistent_flags) + entry[16:20] + struct.pack(">I", len(extra)) + extra + b"b"
        entry += bytes(-len(entry) % 8)
        struct.pack_into(">Q", data, told, len(entry))
        data[offset:offset + len(entry)] = entry
        open("t", "wb").write(data)
        d = Daemon(prog)
        m = t(d, act("block-dirty-bitmap-remove", node="t", name="b"), act("abort"))
        if "error" not in m:
            sys.exit(f"abort: {m}")
        d.end()
        now = bitmap_entry("t")[2]
        if now[12:16] != struct.pack(">I", persistent_flags) or now[20:25 + len(extra)] != entry[20:25 + len(extra)]:
            sys.exit(f"extra data: {now}, it was {entry}")


def main():
    with tempfile.TemporaryDirectory(prefix="viv-transactions-") as work:
        os.chdir(work)
        bad = sum(compare(w) for w in (bitmaps, snapshots, groups))
        snapshot_stays(OURS)
        bitmaps_come_back(OURS)
        exported_bitmap(OURS)
        extra_data(OURS)
        for prog in (OURS, VM):
            snapshot_flushes(prog)
        moments(10)
        os.chdir("/")
    sys.exit(bad != 0)


main()
