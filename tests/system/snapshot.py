#!/usr/bin/env python3
"""savevm and loadvm, and snapshot-save and -load, under load: snapshot.py [ROUNDS]

A guest of two CPUs writes random blocks to two disks all the time, keeps their sums in its memory and checks old ones: after a
loadvm disks and memory must be of one moment. Snapshots are taken, gone back to, replaced and deleted at random; then a fresh process starts
from one (-loadvm), and QEMU's and our tools check the images."""
import os
import random
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

SCRIPT = """
worker() {
    n=0
    while :; do
        k=$((n % 32))
        dd if=/dev/urandom of=/tmp/p$1 bs=64k count=1 2>/dev/null
        dd if=/tmp/p$1 of=/dev/$1 bs=64k seek=$k oflag=direct 2>/dev/null
        md5sum < /tmp/p$1 > /tmp/$1.$k
        j=$((n * 7 % 32))
        if [ -f /tmp/$1.$j ]; then
            dd if=/dev/$1 of=/tmp/q$1 bs=64k skip=$j count=1 iflag=direct 2>/dev/null
            [ "$(md5sum < /tmp/q$1)" = "$(cat /tmp/$1.$j)" ] || echo "WRONG $1 $j at $n"
        fi
        n=$((n + 1))
        echo "tick $1 $n"
    done
}
echo started
worker vda &
worker vdb
"""


def hmp(q, line, g, want=""):
    said = q.cmd("human-monitor-command", **{"command-line": line})
    if want is not None and said.replace("\r\n", "\n") != want:
        g.die(f"{line}: {said!r}")
    return said


STATE = {} # the disk that a job finds the machine's state in


def job(q, verb, name, g):
    """The same as QMP's job; what it saves has the state in the second disk."""
    args = {} if verb == "delete" else {"vmstate": "n1" if verb == "save" else STATE[name]}
    q.cmd(f"snapshot-{verb}", **{"job-id": "j", "tag": name, "devices": ["n0", "n1"]}, **args)
    end = time.monotonic() + 120 * vm.SLOW
    while (j := q.cmd("query-jobs")[0])["status"] != "concluded":
        if time.monotonic() > end:
            g.die(f"snapshot-{verb}: {j}")
        time.sleep(0.01)
    if "error" in j:
        g.die(f"snapshot-{verb} {name}: {j}")
    q.cmd("job-dismiss", id="j")


def do(q, verb, name, g, as_job):
    if verb == "save":
        STATE[name] = "n1" if as_job else "n0"
    if as_job:
        job(q, verb, name, g)
    else:
        hmp(q, f"{'del' if verb == 'delete' else verb}vm {name}", g)


def last_tick(g):
    g._pump(0)
    ticks = re.findall(rb"^tick vda (\d+)\r?$", g.log, re.M)
    return int(ticks[-1]) if ticks else 0


def next_ticks(g):
    """The first tick of each disk that comes from now on."""
    while g._pump(0) and __import__("select").select([g.p.stdout], [], [], 0)[0]:
        pass
    g.seen = len(g.log)
    g.expect(r"^tick vd[ab] \d+\r?$", 60)
    first = int(g.expect(r"^tick vda (\d+)\r?$", 60)[1])
    g.expect(r"^tick vdb (\d+)\r?$", 60)
    if b"WRONG" in g.log:
        g.die("disk and memory are not of one moment")
    return first


def args(work, images, extra):
    disks = [a for n, i in enumerate(images) for a in ("-drive", f"file={i},format=qcow2,if=none,id=d{n},node-name=n{n}", "-device", f"virtio-blk-pci,drive=d{n}")]
    return vm.base_args("pc", "192M", 2) + [
        "-kernel", vm.kernel(), "-initrd", vm.initramfs(SCRIPT, ["virtio_pci", "virtio_blk"]), "-append", "console=ttyS0 panic=-1",
        "-device", "virtio-rng-pci", "-qmp", f"unix:{work}/q,server=on,wait=off"] + disks + extra


def rounds_of(g, q, count):
    rng = random.Random(11)
    taken = {}
    for n in range(count):
        time.sleep(rng.uniform(0, 0.3))
        name = f"s{rng.randrange(4)}"
        if name not in taken or rng.random() < 0.4:
            as_job = n % 2 == 0
            if as_job and name in taken: # a job replaces none
                do(q, "delete", name, g, rng.random() < 0.5)
            do(q, "save", name, g, as_job)
            taken[name] = last_tick(g)
        elif rng.random() < 0.1:
            do(q, "delete", name, g, n % 2)
            del taken[name]
        else:
            do(q, "load", name, g, rng.random() < 0.5)
            back = next_ticks(g)
            # What had been printed may not yet have been read here when it was taken.
            if back > taken[name] + 40:
                g.die(f"loadvm {name}: tick {back}, it was taken at {taken[name]}")
    hmp(q, "savevm last", g)
    return last_tick(g)


def refusals(g, q):
    hmp(q, "loadvm nothing", g, "Error: Device 'd0' does not have the requested snapshot 'nothing'\n")
    hmp(q, "delvm nothing", g, "Error: no disk has a snapshot 'nothing'\n")


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    work = vm.scratch()
    images = [f"{work}/{n}.qcow2" for n in "ab"]
    for i in images:
        subprocess.run([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", i, "64M"], check=True)
    with vm.Guest(args(work, images, []), "guest") as g:
        g.expect("^started", 120)
        q = vm.QMP(f"{work}/q")
        next_ticks(g)
        at = rounds_of(g, q, count)
        refusals(g, q)
        said = hmp(q, "info snapshots", g, None)
        if "on all disks" not in said or not re.search(r"^--\s+last\s", said, re.M) or "partial" in said:
            g.die(f"info snapshots: {said}")
        next_ticks(g)
        q.cmd("quit")
        g.wait()
    with vm.Guest(args(work, images, ["-loadvm", "last"]), "another process") as g:
        back = next_ticks(g)
        if back > at + 40:
            g.die(f"-loadvm: tick {back}, it was taken at {at}")
    # As after a savevm over a name that was there, cut short by a kill: one disk has a newer one.
    subprocess.run([vm.tool("viv-img"), "snapshot", "-c", "last", images[1]], check=True)
    with vm.Guest(args(work, images, ["-loadvm", "last"]), "the older pair") as g:
        back = next_ticks(g)
        if back > at + 40:
            g.die(f"-loadvm of the older pair: tick {back}, it was taken at {at}")
    subprocess.run([vm.tool("viv-img"), "snapshot", "-d", "last", images[1]], check=True) # the older one
    p = subprocess.run(vm.emulator() + args(work, images, ["-S", "-loadvm", "last"]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=120 * vm.SLOW)
    if p.returncode != 1 or "is of another moment than the other disks'" not in p.stdout:
        vm.fail(f"-loadvm of disks of two moments: {p.returncode} {p.stdout}")
    for i in images:
        for tool in [vm.tool("viv-img"), shutil.which("qemu-img")]:
            p = tool and subprocess.run([tool, "check", i], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if p and p.returncode:
                vm.fail(f"{tool} check {i}: {p.stdout}")
    print(f"ok: {count} rounds, disks and memory always of one moment, -loadvm, images clean")


main()
