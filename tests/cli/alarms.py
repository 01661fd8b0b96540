#!/usr/bin/env python3
"""What images tell unasked, BLOCK_WRITE_THRESHOLD and BLOCK_IMAGE_CORRUPTED, and how far nodes are written: beside what QEMU says of the same."""
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

MIB = 1 << 20
IMG, IO = vm.tool("viv-img"), vm.tool("viv-io")


def make_images(work):
    def run(*args):
        subprocess.run(args, check=True, stdout=subprocess.DEVNULL, cwd=work)
    run(IMG, "create", "-q", "-f", "raw", "source", "4M")
    run(IO, "-f", "raw", "-c", "write -P 5 0 4M", "source")
    run(IMG, "create", "-q", "-f", "qcow2", "target", "4M")
    run(IMG, "create", "-q", "-f", "qcow2", "bad", "4M")
    run(IO, "-c", "write -P 5 0 4M", "bad")
    run(IMG, "create", "-q", "-f", "raw", "sink", "4M")
    with open(f"{work}/bad", "r+b") as f:
        f.seek(40)  # the L1 table's offset
        table = int.from_bytes(f.read(8), "big")
        f.seek(table)
        entry = int.from_bytes(f.read(8), "big")
        f.seek(table)
        f.write((entry | 0x200).to_bytes(8, "big"))  # no L2 table begins there


def wait_for(q, event):
    for _ in range(500):
        if found := [e["data"] for e in q.events if e["event"] == event]:
            return found
        q.cmd("query-status")
        time.sleep(0.02)
    vm.fail(f"{event} did not come: {q.events}")


def backup(q, source, target):
    q.events.clear()
    q.cmd("blockdev-backup", **{"job-id": f"to-{target}", "device": source, "target": target, "sync": "full"})
    wait_for(q, "BLOCK_JOB_COMPLETED")


def play(emulator):
    work = vm.scratch()
    make_images(work)
    nodes = [a for n, d in (("source", "raw"), ("target", "qcow2"), ("bad", "qcow2"), ("sink", "raw"))
             for a in ("-blockdev", f"driver=file,node-name={n}-file,filename={n}", "-blockdev", f"driver={d},node-name={n},file={n}-file")]
    p = subprocess.Popen(emulator + ["-S", "-m", "16", "-nodefaults", "-display", "none", "-qmp", "unix:q,server=on,wait=off"] + nodes, cwd=work,
                         stderr=subprocess.DEVNULL)
    try:
        q = vm.QMP(f"{work}/q")

        def threshold(node):
            return [n["write_threshold"] for n in q.cmd("query-named-block-nodes") if n["node-name"] == node][0]
        q.cmd("block-set-write-threshold", **{"node-name": "target-file", "write-threshold": MIB})
        q.cmd("block-set-write-threshold", **{"node-name": "source", "write-threshold": MIB})
        before = threshold("target-file")
        backup(q, "source", "target")
        passed = wait_for(q, "BLOCK_WRITE_THRESHOLD")
        exceeded = [e.pop("amount-exceeded") for e in passed]
        if min(exceeded) <= 0 or max(exceeded) > 4 * MIB:
            vm.fail(f"amount-exceeded: {exceeded}")
        rows = {r["node-name"]: r for r in q.cmd("query-blockstats", **{"query-nodes": True}) if not r["node-name"].startswith("#")}
        ends = {name: r["stats"]["wr_highest_offset"] for name, r in rows.items()}
        if ends["target-file"] <= 4 * MIB or rows["target"]["parent"]["stats"]["wr_highest_offset"] != ends["target-file"]:
            vm.fail(f"query-blockstats: {ends}")
        del ends["target-file"]  # where a format puts things is its own affair
        try:
            q.cmd("block-set-write-threshold", **{"node-name": "nope", "write-threshold": MIB})
            vm.fail("a threshold for a node that is not there")
        except RuntimeError as e:
            refused = str(e)
        said = [before, threshold("target-file"), threshold("source"), passed, ends, refused]

        backup(q, "bad", "sink")
        corrupt = wait_for(q, "BLOCK_IMAGE_CORRUPTED")
        if not corrupt[0]["msg"]:
            vm.fail(f"{corrupt}")
        return said, [{k: e.get(k) for k in ("device", "node-name", "fatal")} for e in corrupt]
    finally:
        p.kill()
        p.wait()


def main():
    ours, peer = play(vm.emulator()), shutil.which("qemu-system-x86_64")
    if ours[0][:4] != [MIB, 0, MIB, [{"node-name": "target-file", "write-threshold": MIB}]] or ours[1] != [{"device": "", "node-name": "bad", "fatal": True}]:
        vm.fail(f"{ours}")
    if peer and (theirs := play([peer])) != ours:
        vm.fail(f"{ours}\nQEMU: {theirs}")
    print("ok: both events" + (", as QEMU's" if peer else " (no QEMU to compare with)"))


main()
