#!/usr/bin/env python3
"""I/O limits of a running machine: what query-block says of -drive's and of block_set_io_throttle's, beside what QEMU says of the same;
another medium is held by the limits of the one before."""
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

RATES = ["bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"]
NAMES = RATES + [r + "_max" for r in RATES] + [r + "_max_length" for r in RATES] + ["iops_size", "group"]


def throttle(which, **given):
    return "block_set_io_throttle", dict({r: 0 for r in RATES}, **which, **given)


STEPS = [
    throttle({"device": "hd"}, iops=50),
    throttle({"id": "disk"}, bps_rd=1000000, bps_wr=2000000, bps_rd_max=3000000, bps_rd_max_length=4),
    throttle({"device": "hd"}, iops=100, iops_max=200, iops_size=4096, group="both"),
    throttle({"device": "cd"}, bps=12345),
    ("blockdev-change-medium", {"device": "cd", "filename": "OTHER", "format": "raw"}),
    throttle({"device": "hd"}),
    throttle({"device": "cd"}, bps=1, bps_rd=1),
    throttle({"device": "cd"}, iops_max=7),
    throttle({"device": "cd"}, iops=-1),
    throttle({"device": "nothing"}, iops=5),
    throttle({}, iops=5),
    ("human-monitor-command", {"command-line": "block_set_io_throttle hd 0 70000 0 0 0 9"}),
]


def limits(q):
    out = {}
    for row in q.cmd("query-block"):
        said = row.get("inserted", {})
        out[row["device"]] = {n: said[n] for n in NAMES if n in said}
    return out


def ask(emulator, ours):
    work = vm.scratch()
    for name in "a", "b", "c":
        with open(f"{work}/{name}", "wb") as f:
            f.truncate(1 << 20)
    p = subprocess.Popen(emulator + ["-S", "-M", "pc", "-m", "16", "-nodefaults", "-display", "none", "-qmp", f"unix:{work}/q,server=on,wait=off",
                                     "-drive", f"if=none,id=hd,file={work}/a,format=raw,iops_rd=70,iops_rd_max=90,bps=1000", "-device", "virtio-blk-pci,drive=hd,id=disk",
                                     "-drive", f"if=ide,media=cdrom,id=cd,file={work}/b,format=raw"])
    try:
        q = vm.QMP(f"{work}/q")
        seen = [limits(q)]
        for name, args in STEPS:
            if not ours and args.get("id") == "disk":  # QEMU wants the path of a part of it
                args = dict({k: v for k, v in args.items() if k != "id"}, device="hd")
            try:
                said = q.cmd(name, **{k: f"{work}/c" if v == "OTHER" else v for k, v in args.items()})
                seen.append("error" if isinstance(said, str) and said else limits(q))
            except RuntimeError:
                seen.append("error")
        if ours:
            text = q.cmd("human-monitor-command", **{"command-line": "info block"}).replace("\r", "")
            if "I/O throttling:   bps=0 bps_rd=70000 bps_wr=0 iops=0 iops_rd=0 iops_wr=9 group=hd\n" not in text:
                vm.fail(f"info block: {text}")
        return seen
    finally:
        p.kill()
        p.wait()


def main():
    ours = ask(vm.emulator(), True)
    if ours[0]["hd"].get("iops_rd") != 70 or [i for i, s in enumerate(ours) if s == "error"] != [7, 8, 9, 10, 11]:
        vm.fail(f"{ours}")
    if not shutil.which("qemu-system-x86_64"):
        print("ok: (no QEMU to compare with)")
        return
    for step, mine, theirs in zip(["-drive"] + STEPS, ours, ask(["qemu-system-x86_64"], False)):
        if mine != theirs:
            vm.fail(f"{step}:\n{mine}\nQEMU:\n{theirs}")
    print(f"ok: {len(STEPS)} changes, as QEMU's")


main()
