#!/usr/bin/env python3
"""kill -9 of the emulator while the guest writes: kill9.py [ROUNDS]

A small guest fsyncs numbered files onto an ext4 file system on a qcow2 disk and says so; the emulator is killed
at a random moment. The image must then be clean for our own and for QEMU's check (leaked clusters allowed), the file
system must be repairable by journal replay alone, and every file the guest was told is durable must be there."""
import os
import random
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

SCRIPT = """
mount -t ext4 /dev/vda /mnt || echo mount-failed
i=$(ls /mnt | sed -n 's/^f//p' | sort -n | tail -n 1); i=$((${i:--1} + 1))
echo start $i
while :; do
  dd if=/dev/urandom of=/mnt/f$i bs=4k count=$((i % 37 + 1)) 2>/dev/null
  echo $i $(md5sum < /mnt/f$i) > /mnt/s$i; sync
  echo durable $i
  [ $((i % 5)) = 4 ] && rm -f /mnt/f$((i - 3)) /mnt/s$((i - 3)) && sync && echo gone $((i - 3))
  i=$((i + 1))
done
"""


def image_check(img):
    ours = subprocess.run([vm.tool("viv-img"), "check", img], capture_output=True, text=True)
    if ours.returncode not in (0, 3):
        vm.fail(f"viv-img check: {ours.stdout}{ours.stderr}")
    if shutil.which("qemu-img"):
        peer = subprocess.run(["qemu-img", "check", img], capture_output=True, text=True)
        if peer.returncode not in (0, 3):
            vm.fail(f"qemu-img check: {peer.stdout}{peer.stderr}")


def fs_check(img, work, durable, gone):
    raw = os.path.join(work, "d.raw")
    subprocess.run([vm.tool("viv-img"), "convert", "-O", "raw", img, raw], check=True)
    # Replays the journal, then a forced check must find nothing to mend.
    subprocess.run(["/sbin/e2fsck", "-p", raw], capture_output=True)
    p = subprocess.run(["/sbin/e2fsck", "-fn", raw], capture_output=True, text=True)
    if p.returncode:
        vm.fail(f"e2fsck: {p.stdout}")
    names = subprocess.run(["/sbin/debugfs", "-R", "ls -p /", raw], capture_output=True, text=True).stdout
    have = {x.split("/")[5] for x in names.splitlines() if x.count("/") >= 6}
    for i in durable - gone - {max(durable, default=0)}:
        if f"f{i}" not in have:
            vm.fail(f"file f{i} was durable and is not there")
    return raw


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    vm.need("mke2fs", "e2fsck", "debugfs")
    work = vm.scratch()
    img = os.path.join(work, "d.qcow2")
    raw = os.path.join(work, "d.raw")
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", raw, "256M"], check=True, capture_output=True)
    subprocess.run([vm.tool("viv-img"), "convert", "-f", "raw", "-O", "qcow2", raw, img], check=True)
    args = vm.base_args(mem="256M") + [
        "-kernel", vm.kernel(), "-initrd", vm.initramfs(SCRIPT, vm.VIRTIO + ["ext4"]),
        "-append", "console=ttyS0 panic=-1 quiet", "-drive", f"file={img},format=qcow2,if=virtio"]
    rng = random.Random(7)
    durable, gone = set(), set()
    for n in range(rounds):
        with vm.Guest(args, f"round {n}") as g:
            g.expect(r"^start \d+", 300)
            g.expect(r"^durable \d+", 60)
            end = time.monotonic() + rng.uniform(0.2, 4)
            while time.monotonic() < end:
                g._pump(0.05)
            g.kill()
            text = g.text
        if "mount-failed" in text:
            vm.fail("the guest could not mount its disk: " + text[-2000:])
        lines = text.splitlines()
        durable |= {int(x.split()[1]) for x in lines if x.startswith("durable ") and x.split()[1:]}
        for x in lines:
            if x.startswith("gone ") and x.split()[1:]:
                gone.add(int(x.split()[1]))
        # A removal after the last line we saw may have happened as well.
        last = max(durable)
        gone |= {last - 3, last - 2}
        image_check(img)
        fs_check(img, work, durable, gone)
        print(f"round {n}: {len(durable)} durable files", flush=True)
    print(f"ok: {rounds} rounds")


main()
