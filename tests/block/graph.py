#!/usr/bin/env python3
"""blockdev-reopen and block_resize of viv-storaged and viv-vm, and what they change, beside Debian's qemu-storage-daemon."""
import os
import re
import sys
import tempfile

from daemons import OURS, PEER, VM, Daemon, call, comparable, differences, images

EXPORTED = 18 << 20

# Said better, on purpose: theirs, ours.
WORDS = [
    (r"Block node is read-only$", r"Block node is read-only: '[\w-]+' was opened with read-only=on$"),
    (r"Read-only block node '([\w-]+)' cannot support read-write users$", r"Read-only block node '[\w-]+' cannot support read-write users: .*"),
    (r"Device '\(null\)' is in use$", r"Image is read-only$"),
    (r"Permission conflict on node .*", r"'f-top' is below another image: resize that one$"),
    (r"Permission conflict on node .*", r"'file' is below another image: resize that one$"),
    (r"Permission conflict on node .*", r"nbd export 'e' uses 't' and cannot be told of another size$"),
    (r"Parameter 'options\[0\]\.(\w+)' is unexpected", r"blockdev-reopen \(\w+\): unknown option .*"),
    (r"Cannot change the option 'file\.driver'", r"Cannot change the option '[\w-]+'"),
]


def same(a, b):
    return a == b or any(re.match(t, a) and re.match(o, b) for t, o in WORDS)


def forgive(theirs, ours):
    """Errors in other words become the same."""
    for i, (a, b) in enumerate(zip(theirs, ours)):
        if isinstance(a[2], list):
            continue
        ea, eb = a[2].get("error"), b[2].get("error")
        if ea and eb and ea[0] == eb[0] and same(ea[1], eb[1]):
            ours[i] = a


def state(d):
    m = d.do("query-named-block-nodes", flat=True)
    d.answers.pop()
    rows = sorted((n["node-name"], n["ro"] if n["drv"] != "file" else None, n["cache"]["direct"], n["cache"]["no-flush"], n["detect_zeroes"],
                   n.get("backing_file"), n["image"]["virtual-size"] if n["drv"] != "file" else None)
                  for n in m["return"] if not n["node-name"].startswith("#"))
    d.answers.append(("state", {}, rows))


def reopen(d, *options):
    d.do("blockdev-reopen", options=list(options))
    state(d)


def node(name, file=None, **more):
    return {"driver": "qcow2", "node-name": name, "file": file or "f-" + name, **more}


def reopens(d):
    top = {"backing": "mid"}
    reopen(d, node("t", **{"read-only": True}))
    reopen(d, node("t"))
    reopen(d, node("t", discard="unmap", **{"detect-zeroes": "unmap"}))
    reopen(d, node("t", cache={"no-flush": True}))
    reopen(d, node("t"))
    reopen(d, node("nope"))
    reopen(d, {"driver": "raw", "node-name": "t", "file": "f-t"})
    reopen(d, node("t", "nope"))
    reopen(d, node("t", blah=1))
    reopen(d, node("top"))
    reopen(d, node("top", backing="nope"))
    reopen(d, node("top", backing="top"))
    reopen(d, node("mid", backing="top", **{"read-only": True}))
    reopen(d, node("top", backing="base"))
    reopen(d, node("top", backing=None))
    reopen(d, node("top", **top))
    reopen(d, node("mid", backing="base"))
    reopen(d, node("mid", backing="base", **{"read-only": True}))
    reopen(d, node("base"), node("mid", backing="base"))
    reopen(d, node("base", **{"read-only": True}), node("mid", backing="base", **{"read-only": True}))
    # All or nothing: the last one is wrong.
    reopen(d, node("t", **{"read-only": True}), node("nope"))
    reopen(d, node("t", **{"read-only": True}), node("top", backing="nope"))
    # Files: O_DIRECT and back, not read-only below a writer.
    reopen(d, {"driver": "file", "node-name": "f-top", "filename": "top", "read-only": True})
    reopen(d, {"driver": "file", "node-name": "f-top", "filename": "other"})
    reopen(d, {"driver": "file", "node-name": "f-top", "filename": "top"})
    # One that was opened to be read, below an image that is to be written.
    d.do("blockdev-add", driver="file", node_name="fixed", filename="spare", read_only=True)
    d.do("blockdev-add", driver="qcow2", node_name="spare", file="fixed", read_only=True)
    reopen(d, node("spare", "fixed"))
    reopen(d, {"driver": "file", "node-name": "fixed", "filename": "spare"}, node("spare", "fixed"))
    # Windows into a file.
    d.do("blockdev-add", driver="raw", node_name="window", file={"driver": "file", "filename": "plain"}, size=1 << 20)
    reopen(d, {"driver": "raw", "node-name": "window", "file": {"driver": "file", "filename": "plain"}, "offset": 1 << 20, "size": 1 << 20})
    reopen(d, {"driver": "raw", "node-name": "window", "file": {"driver": "file", "filename": "plain"}})
    return ["top", "t", "base", "mid"]


def resizes(d):
    for args in ({"node_name": "nope", "size": 512}, {"device": "nope", "size": 512}, {"size": 512}, {"node_name": "t", "size": -1},
                 {"node_name": "t", "size": 1000}, {"node_name": "t", "size": 32 << 20}, {"node_name": "t", "size": 8 << 20},
                 {"node_name": "t", "size": 0}, {"node_name": "t", "size": 16 << 20}, {"node_name": "top", "size": 24 << 20},
                 {"node_name": "top", "size": 16 << 20}, {"node_name": "mid", "size": 16 << 20}, {"node_name": "f-top", "size": 16 << 20}):
        d.do("block_resize", **args)
        state(d)
    d.do("block-dirty-bitmap-add", node="t", name="b")
    d.do("block_resize", node_name="t", size=17 << 20)
    state(d)
    d.do("nbd-server-start", addr={"type": "unix", "data": {"path": "n"}})
    d.do("block-export-add", type="nbd", id="e", node_name="t")
    d.do("block_resize", node_name="t", size=EXPORTED)
    d.do("block-export-del", id="e")
    d.do("block_resize", node_name="t", size=EXPORTED)
    return ["top", "t"]


def compare(which):
    seen = []
    for prog in (PEER, OURS, VM):
        images()
        call("qemu-img", "create", "-q", "-f", "qcow2", "spare", "1M")
        call("qemu-img", "create", "-q", "-f", "raw", "plain", "2M")
        call("qemu-img", "convert", "-O", "raw", "top", "disk.raw")
        d = Daemon(prog)
        d.events.clear()
        for name in which(d):
            d.do("block-dirty-bitmap-add", node=name, name="still-there")
        d.end()
        for name in ("base", "mid", "top", "t", "spare"):
            call("qemu-img", "check", "-q", name)
        call("qemu-img", "compare", "-q", "-F", "raw", "top", "disk.raw")
        answers, _ = comparable(d)
        seen.append(answers)
    bad = 0
    for prog, mine in ((OURS, seen[1]), (VM, seen[2])):
        theirs = list(seen[0])
        forgive(theirs, mine)
        bad += differences(f"{os.path.basename(prog)}: {which.__name__}", [theirs], [mine])
    print(f"{which.__name__}: {len(seen[0])} answers and states", flush=True)
    return bad


def main():
    with tempfile.TemporaryDirectory(prefix="viv-graph-") as work:
        os.chdir(work)
        bad = sum(compare(w) for w in (reopens, resizes))
        os.chdir("/")
    sys.exit(bad != 0)


main()
