#!/usr/bin/env python3
"""HMP's commands about disks' images (commit, jobs, copies into files, snapshots, NBD), drive-mirror, change-backing-file: answers and images beside
QEMU's."""
import filecmp
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

MIB = 1 << 20
IMG, IO, NBD = (os.path.join(vm.BUILD, "src/cmd/viv-" + name) for name in ("img", "io", "nbd"))
LINES = """info block-jobs
commit d9
commit d1
commit empty
commit d0
commit all
block_stream d9
block_job_cancel d0
block_job_set_speed d0 1
drive_backup -f d0 bak1
info block-jobs
drive_backup d0 bak2 raw
drive_backup -n d0 nothere
drive_mirror -f d1 mir1 qcow2
info block-jobs
drive_mirror -f d1 mir2 qcow2
block_job_pause d1
block_job_pause d1
info block-jobs
block_job_resume d1
block_job_set_speed d1 5M
info block-jobs
block_job_complete d1
info block-jobs
drive_mirror d2 mir3
block_job_complete d2
snapshot_blkdev d0
snapshot_blkdev d0 snap1
snapshot_blkdev d0 snap1
snapshot_blkdev -n d0 nothere
snapshot_blkdev_internal d0 s1
snapshot_blkdev_internal d0 s1
snapshot_blkdev_internal raw s1
snapshot_delete_blkdev_internal d0 nope
snapshot_delete_blkdev_internal d0 s1
nbd_server_start -w unix:sock
nbd_server_start unix:sock
nbd_server_start unix:sock
nbd_server_add d0
nbd_server_add d0
nbd_server_remove d9
nbd_server_remove -f d0
nbd_server_stop
nbd_server_stop
nbd_server_start nothing
nbd_server_start -a -w unix:sock
nbd_server_stop
nbd_server_start -a unix:sock
nbd_server_stop
block_stream d3 1M
block_job_cancel -f d3""".splitlines()
# Ours begins with "Error:", says why, or is checked in another order.
DIFFERENT = {"commit d9", "commit d1", "commit empty", "drive_mirror -f d1 mir2 qcow2", "snapshot_blkdev d0", "nbd_server_start nothing",
             "nbd_server_start -a -w unix:sock"}
ONCE = {"snapshot_blkdev d0 snap1"}  # the second time, likewise


def make_images(work):
    def run(*args):
        subprocess.run(args, check=True, stdout=subprocess.DEVNULL, cwd=work)

    run(IMG, "create", "-q", "-f", "qcow2", "base", "4M")
    run(IO, "-c", "write -P 1 0 2M", "base")
    run(IMG, "create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top", "6M")  # longer than what is below it
    run(IO, "-c", "write -P 2 1M 512k", "-c", "write -P 7 5M 1M", "-c", "write -z 0 64k", "top")
    run(IMG, "create", "-q", "-f", "raw", "raw", "4M")
    run(IO, "-f", "raw", "-c", "write -P 3 0 1M", "raw")
    for name, below in (("a", "base2"), ("b", "base3")):
        shutil.copy(f"{work}/base", f"{work}/{below}")
        run(IMG, "create", "-q", "-f", "qcow2", "-b", below, "-F", "qcow2", name)
        run(IO, "-c", "write -P 9 100k 100k", name)


def hmp(q, line):
    return q.cmd("human-monitor-command", **{"command-line": line}).replace("\r", "").strip()


def wait_done(q, line):
    """Until jobs that end by themselves have, and others are ready."""
    for _ in range(300):
        jobs = q.cmd("query-block-jobs")
        if all(j["ready"] or j["paused"] or (line.startswith("block_stream") and j["type"] == "stream") for j in jobs) and not line.startswith("block_job_complete"):
            return
        if not jobs:
            return
        time.sleep(0.05)
    vm.fail(f"'{line}': {jobs}")


def exports(sock):
    """The names of what the machine's NBD server has; None: it does not run."""
    r = subprocess.run([NBD, "-L", "-k", sock], capture_output=True, text=True)
    return sorted(line.split("'")[1] for line in r.stdout.splitlines() if "export: '" in line) if r.returncode == 0 else None


def play(emulator):
    work = vm.scratch()
    make_images(work)
    p = subprocess.Popen(emulator + ["-S", "-m", "16", "-nodefaults", "-display", "none", "-qmp", "unix:q,server=on,wait=off", "-drive", "if=none,id=d0,file=top",
                                     "-drive", "if=none,id=d1,file=raw,format=raw", "-drive", "if=none,id=d2,file=a", "-drive", "if=none,id=d3,file=b",
                                     "-device", "virtio-blk,drive=d0", "-device", "virtio-blk,drive=d1", "-drive", "if=none,id=empty,media=cdrom",
                                     "-device", "ide-cd,drive=empty"], cwd=work, stdout=subprocess.DEVNULL)
    try:
        q, said, names = vm.QMP(f"{work}/q"), [], []
        for line in LINES:
            said.append(hmp(q, line).replace(work, "WORK"))
            wait_done(q, line)
            if line.startswith("nbd_server_"):
                names.append((line, exports(f"{work}/sock")))
        shown = [(d["device"], d.get("inserted", {}).get("file"), d.get("inserted", {}).get("backing_file_depth")) for d in q.cmd("query-block")]
        # Nodes that nobody named have names too.
        nodes = {n["node-name"]: (n["drv"], os.path.basename(n["file"])) for n in q.cmd("query-named-block-nodes")}
        rows = sorted((nodes[r["node-name"]], nodes[r["parent"]["node-name"]] if "parent" in r else (), "backing" in r)
                      for r in q.cmd("query-blockstats", **{"query-nodes": True}))
        nodes = sorted(nodes.values())
        for args, error in (({"device": "d1", "target": "x", "sync": "incremental"}, "not supported"), ({"device": "d1", "target": "x", "sync": "full", "format": "no"}, "no"),
                            ({"device": "d1", "target": "nothere", "sync": "full", "mode": "existing"}, "No such file")):
            try:
                q.cmd("drive-mirror", **args)
                vm.fail(f"drive-mirror {args}: taken")
            except RuntimeError as e:
                if error not in str(e):
                    vm.fail(f"drive-mirror {args}: {e}")
        if os.path.exists(f"{work}/mir2") and "viv" in emulator[0]:
            vm.fail("a mirror that was refused left its file behind")
        q.cmd("quit")
        p.wait(30)
        return work, said, (shown, names, nodes, rows)
    finally:
        p.kill()
        p.wait()


def same_disk(ours, theirs, name):
    for work in (ours, theirs):
        subprocess.run([IMG, "convert", "-O", "raw", name, f"{name}.flat"], cwd=work, check=True)
    if not filecmp.cmp(f"{ours}/{name}.flat", f"{theirs}/{name}.flat", shallow=False):
        vm.fail(f"{name}: another disk than QEMU's")


def check_committed(work):
    """All is in `base`, which has grown; `top` is empty."""
    subprocess.run([IO, "-r", "-c", "read -P 0 0 64k", "-c", "read -P 1 64k 960k", "-c", "read -P 2 1M 512k", "-c", "read -P 0 4M 1M", "-c", "read -P 7 5M 1M", "base"],
                   cwd=work, check=True, stdout=subprocess.DEVNULL)
    here = subprocess.run([IMG, "map", "--output=json", "top"], cwd=work, check=True, capture_output=True, text=True).stdout
    if '"depth": 0, "present": true, "zero": false' in here:
        vm.fail(f"commit: the image still holds something: {here}")
    for name in ("base", "top", "mir3", "snap1"):
        subprocess.run([IMG, "check", "-q", name], cwd=work, check=True)


def change_headers(emulator):
    """change-backing-file: what it answers, and what the headers say afterwards."""
    work, said = vm.scratch(), []
    for name, below in (("base", None), ("mid", "base"), ("top", "mid")):
        subprocess.run([IMG, "create", "-q", "-f", "qcow2", name, "4M"] + (["-b", below, "-F", "qcow2"] if below else []), cwd=work, check=True)
    chain = [a for name, more in (("base", ""), ("mid", ",backing=base"), ("top", ",backing=mid"), ("other", ""))
             for a in ("-blockdev", f"driver=qcow2,node-name={name},file.driver=file,file.filename={name}{more}")]
    shutil.copy(f"{work}/base", f"{work}/other")
    p = subprocess.Popen(emulator + ["-S", "-m", "16", "-nodefaults", "-display", "none", "-qmp", "unix:q,server=on,wait=off"] + chain +
                         ["-device", "virtio-blk,drive=top", "-device", "virtio-blk,drive=other"], cwd=work)
    try:
        q = vm.QMP(f"{work}/q")
        for device, image, file in (("top", "top", "./mid"), ("top", "mid", "./base"), ("top", "base", "x"), ("nope", "top", "x"), ("top", "nope", "x"),
                                    ("other", "mid", "x"), ("other", "other", "x")):
            try:
                said.append(q.cmd("change-backing-file", **{"device": device, "image-node-name": image, "backing-file": file}))
            except RuntimeError as e:
                said.append(str(e))
        q.cmd("quit")
        p.wait(30)
    finally:
        p.kill()
        p.wait()
    for name in ("top", "mid"):
        said.append([line for line in subprocess.run([IMG, "info", name], cwd=work, check=True, capture_output=True, text=True).stdout.splitlines()
                     if line.startswith("backing")])
    return said


def save_by_key():
    """Ctrl-A S with -snapshot; what a guest wrote, and "commit all", are system/disks.py's."""
    work = vm.scratch()
    subprocess.run([IMG, "create", "-q", "-f", "qcow2", "disk", "4M"], cwd=work, check=True)
    p = subprocess.Popen(vm.emulator() + ["-S", "-m", "16", "-nodefaults", "-display", "none", "-snapshot", "-serial", "mon:stdio", "-drive", "if=none,id=d,file=disk"],
                         cwd=work, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        p.stdin.write(b"\x01s\x01x")
        p.stdin.flush()
        seen = p.communicate(timeout=60)[0]
        if b"viv-vm: disks saved" not in seen:
            vm.fail(f"Ctrl-A S: {seen}")
    finally:
        p.kill()
        p.wait()


def main():
    peer = shutil.which("qemu-system-x86_64")
    ours, said, shown = play(vm.emulator())
    check_committed(ours)
    if peer:
        theirs, other, other_shown = play([peer])
        met = set()
        for line, mine, his in zip(LINES, said, other):
            known = line in DIFFERENT or (line in ONCE and line in met)
            met.add(line)
            if mine != his and not known:
                vm.fail(f"{line}: {mine}\nQEMU: {his}")
            if bool(mine) != bool(his):
                vm.fail(f"{line}: {mine or 'taken'}\nQEMU: {his or 'taken'}")
        if shown != other_shown:
            vm.fail(f"{shown}\nQEMU: {other_shown}")
        for name in ("bak1", "mir1", "mir3", "snap1", "base", "base2", "raw"):
            same_disk(ours, theirs, name)
    headers = change_headers(vm.emulator())
    if "backing file: ./mid" not in headers[-2][0] or (peer and headers != change_headers([peer])):
        vm.fail(f"change-backing-file: {headers}")
    save_by_key()
    print(f"ok: {len(LINES)} commands" + (", answers and images as QEMU's" if peer else " (no QEMU to compare with)"))


main()
