#!/usr/bin/env python3
"""Debian's kernel on disks of one kind: disks.py virtio-blk|scsi|virtio-blk-iothread|scsi-iothread|nvme

The guest writes, reads and compares patterns, also many at a time, and discards; the image holds what it wrote. A host file system
that fills up stops the VM, and once there is room it goes on and nothing is lost. A VM saved in the middle of its I/O goes on
elsewhere. The driver is taken off the device and put back again and again, with I/O in flight."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402
from disks import MIB, image, no_complaints, sum_of  # noqa: E402

# name in the guest, modules, device (the drive is d0), driver and how to find the function that it drives
KINDS = {
    "virtio-blk": ("vda", ["virtio_pci", "virtio_blk"], ["virtio-blk-pci,drive=d0,num-queues=2"],
                   "/sys/bus/virtio/drivers/virtio_blk", "virtio"),
    "scsi": ("sda", ["virtio_pci", "virtio_scsi", "sd_mod"], ["virtio-scsi-pci,id=s,num_queues=2", "scsi-hd,bus=s.0,drive=d0"],
             "/sys/bus/virtio/drivers/virtio_scsi", "virtio"),
    "virtio-blk-iothread": ("vda", ["virtio_pci", "virtio_blk"], ["virtio-blk-pci,drive=d0,num-queues=2,iothread=io0"],
                            "/sys/bus/virtio/drivers/virtio_blk", "virtio"),
    "scsi-iothread": ("sda", ["virtio_pci", "virtio_scsi", "sd_mod"], ["virtio-scsi-pci,id=s,num_queues=2,iothread=io0", "scsi-hd,bus=s.0,drive=d0"],
                      "/sys/bus/virtio/drivers/virtio_scsi", "virtio"),
    "nvme": ("nvme0n1", ["nvme"], ["nvme,drive=d0,serial=viv"], "/sys/bus/pci/drivers/nvme", "0000:"),
}

COMPLAINTS = """
dmesg | grep -iE 'I/O error|timeout|call trace|frozen|reset controller|lost' | sed 's/^/complaint: /'
"""

BASICS = """
D=/dev/DISK
n=0; while [ "$(cat /sys/block/DISK/size)" -lt 1 ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done 2>/dev/null
echo size $(cat /sys/block/DISK/size)
dd if=/dev/urandom of=/tmp/p bs=1M count=24 2>/dev/null
dd if=/tmp/p of=$D bs=1M seek=3 oflag=direct 2>/dev/null
sync
dd if=$D of=/tmp/q bs=64k skip=48 count=384 iflag=direct 2>/dev/null
cmp /tmp/p /tmp/q && echo pattern-same
echo pattern $(sha256sum < /tmp/p)
# eight at a time, small and large, none aligned with another
for i in 0 1 2 3 4 5 6 7; do
  ( dd if=/tmp/p of=$D bs=$((512 << i)) skip=$i count=96 seek=$(((64 + i * 8) * 2048 >> i)) oflag=direct 2>/dev/null
    dd if=$D of=/tmp/r$i bs=$((512 << i)) skip=$(((64 + i * 8) * 2048 >> i)) count=96 iflag=direct 2>/dev/null
    dd if=/tmp/p of=/tmp/s$i bs=$((512 << i)) skip=$i count=96 2>/dev/null
    cmp /tmp/r$i /tmp/s$i || echo different $i ) &
done
wait
echo many-same
/bin/blkdiscard -o 4194304 -l 2097152 $D && echo discarded
/bin/blkdiscard -z -o 8388608 -l 1048576 $D && echo zeroed
dd if=$D bs=1M skip=8 count=1 iflag=direct 2>/dev/null | tr -d '\\0' | wc -c | sed 's/^/left /'
t0=$(cut -d' ' -f1 /proc/uptime); dd if=$D of=/dev/null bs=1M count=128 iflag=direct 2>/dev/null
echo time $t0 $(cut -d' ' -f1 /proc/uptime)
sync
""" + COMPLAINTS + "echo user-space-reached\n"

WRITER = """
dd if=/dev/urandom of=/tmp/p bs=1M count=16 2>/dev/null
echo pattern $(sha256sum < /tmp/p)
echo writing
n=0; while [ $n -lt ROUNDS ]; do
dd if=/tmp/p of=/dev/DISK bs=64k oflag=direct 2>&1 | sed 's/^/dd: /' & dd if=/tmp/p of=/dev/DISK bs=32k seek=512 oflag=direct 2>/dev/null
wait
dd if=/dev/DISK of=/tmp/q bs=64k count=256 iflag=direct 2>/dev/null; cmp /tmp/p /tmp/q || echo different
n=$((n + 1)); done
""" + COMPLAINTS + "echo user-space-reached\n"

RESETS = """
dd if=/dev/urandom of=/tmp/p bs=1M count=16 2>/dev/null
n=0
for f in DRIVER/PREFIX*; do f=${f##*/}; done
while [ $n -lt 100 ]; do
  for i in 1 2 3 4; do dd if=/tmp/p of=/dev/DISK bs=64k seek=$((i * 256)) oflag=direct 2>/dev/null & done
  sleep 0.0$((n % 10))
  echo $f > DRIVER/unbind
  wait
  rm -f /dev/DISK # a dd that came too late made a file of it
  echo $f > DRIVER/bind
  t=0; while [ ! -b /dev/DISK ]; do sleep 0.02; t=$((t + 1)); [ $t -gt 500 ] && echo different: no disk after $n && break 2; done
  n=$((n + 1))
done
dd if=/tmp/p of=/dev/DISK bs=64k oflag=direct 2>/dev/null; dd if=/dev/DISK of=/tmp/q bs=64k count=256 iflag=direct 2>/dev/null
cmp /tmp/p /tmp/q || echo different
dmesg | grep -iE 'call trace|timeout' | sed 's/^/complaint: /'
echo resets $n
echo user-space-reached
"""


RESIZE = """
n=0; while [ "$(cat /sys/block/DISK/size)" -lt 1 ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done 2>/dev/null
dd if=/dev/urandom of=/tmp/p bs=1M count=4 2>/dev/null
( while :; do dd if=/tmp/p of=/dev/DISK bs=64k oflag=direct 2>&1 | grep -i error; done ) &
old=0; n=0
while [ $n -lt 600 ]; do
  case NAME in scsi*) true ;; *) false ;; esac && echo 1 > /sys/block/DISK/device/rescan
  size=$(cat /sys/block/DISK/size)
  [ $size != $old ] && echo size $size
  [ $old = LAST ] && break
  old=$size; n=$((n + 1)); sleep 0.1
done
dmesg | grep -iE 'capacity|detected capacity' | tail -3
dd if=/tmp/p of=/dev/DISK bs=1M seek=$((LAST / 2048 - 4)) oflag=direct 2>/dev/null; dd if=/dev/DISK of=/tmp/q bs=1M skip=$((LAST / 2048 - 4)) iflag=direct 2>/dev/null
cmp /tmp/p /tmp/q && echo end-same
""" + COMPLAINTS + "echo user-space-reached\n"


KEPT = """
dd if=/dev/urandom of=/tmp/p bs=1M count=16 2>/dev/null
echo pattern $(sha256sum < /tmp/p)
dd if=/tmp/p of=/dev/DISK bs=64k oflag=direct 2>/dev/null
echo written
n=0; while [ $n -lt 20 ]; do dd if=/tmp/p of=/dev/DISK bs=64k seek=512 oflag=direct 2>&1 | grep -i error; n=$((n + 1)); done
dd if=/dev/DISK of=/tmp/q bs=64k count=256 iflag=direct 2>/dev/null; cmp /tmp/p /tmp/q || echo different
""" + COMPLAINTS + "echo user-space-reached\n"


class Kind:
    def __init__(self, name, work):
        self.disk, self.modules, self.devices, self.driver, self.prefix = KINDS[name]
        self.name, self.work = name, work

    def args(self, script, drive, cpus=1):
        for word, value in ("DISK", self.disk), ("DRIVER", self.driver), ("PREFIX", self.prefix), ("NAME", self.name):
            script = script.replace(word, value)
        args = vm.base_args("pc", "512M", cpus) + [
            "-kernel", vm.kernel("generic"),
            "-initrd", vm.initramfs(script, self.modules, arch="generic", programs=["/usr/sbin/blkdiscard"]),
            "-append", "console=ttyS0 panic=-1", "-qmp", f"unix:{self.qmp()},server=on,wait=off",
            "-drive", f"if=none,id=d0,{drive}", "-object", "iothread,id=io0"]
        for d in self.devices:
            args += ["-device", d]
        return args

    def qmp(self):
        return os.path.join(self.work, "qmp")


def finish(g):
    g.expect(r"^user-space-reached", 300)
    if g.wait(60):
        g.die("status not 0")
    no_complaints(g)


def basics(k):
    disk = image(k.work, "basics.qcow2", 256 * MIB)
    with vm.Guest(k.args(BASICS, f"file={disk},discard=unmap", 2)) as g:
        if int(g.expect(r"^size (\d+)", 200).group(1)) != 256 * MIB // 512:
            g.die("the disk's size")
        g.expect(r"^pattern-same", 300)
        pattern = g.expect(r"^pattern (\w+) ").group(1).decode()
        for word in "many-same", "discarded", "zeroed", "left 0":
            g.expect(f"^{word}", 300)
        t0, t1 = (float(x) for x in g.expect(r"^time ([\d.]+) ([\d.]+)\s", 300).groups())
        finish(g)
    if sum_of(disk, 3 * MIB, MIB) == pattern or sum_of(disk, 4 * MIB, 2 * MIB) != vm_zeroes(2 * MIB):
        vm.fail("what was discarded is still in the image")
    print(f"ok: {k.name}: basics, reading {128 / (t1 - t0 + 0.01):.0f} MiB/s")


def vm_zeroes(n):
    import hashlib
    return hashlib.sha256(bytes(n)).hexdigest()


def full(k):
    """The host's file system has no room for all that the guest writes."""
    small = os.path.join(k.work, "small")
    os.mkdir(small)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small], stderr=subprocess.DEVNULL).returncode:
        print("skipped: no right to mount a tmpfs")
        return
    try:
        disk = image(small, "full.qcow2", 64 * MIB)
        with open(os.path.join(small, "filler"), "wb") as f:
            f.write(bytes(18 * MIB))
        with vm.Guest(k.args(WRITER.replace("ROUNDS", "1"), f"file={disk}")) as g:
            q = vm.QMP(k.qmp())
            pattern = g.expect(r"^pattern (\w+) ", 200).group(1).decode()
            g.expect(r"^writing")
            end = time.monotonic() + 100 * vm.SLOW
            while q.cmd("query-status")["status"] != "io-error":
                if time.monotonic() > end:
                    g.die("no stop although the disk is full")
                g._pump(0.1)
            q.cmd("cont")  # too early: it stops again
            time.sleep(0.5)
            if q.cmd("query-status")["status"] != "io-error":
                g.die("it went on without room")
            subprocess.run(["mount", "-o", "remount,size=100m", small], check=True)
            q.cmd("cont")
            finish(g)
            errors = [e["data"] for e in q.events if e["event"] == "BLOCK_IO_ERROR"]
        if not errors or any(e["action"] != "stop" or not e["nospace"] for e in errors):
            vm.fail(f"events: {errors}")
        for at in 0, 16:
            if sum_of(disk, at * MIB, 16 * MIB) != pattern:
                vm.fail("what the guest wrote is not in the image")
    finally:
        subprocess.run(["umount", "-l", small], check=True)
    print(f"ok: {k.name}: full, {len(errors)} requests held and sent again, nothing lost")


def saves(k, points):
    disk = image(k.work, "saves.qcow2", 64 * MIB)
    state = os.path.join(k.work, "state")
    base = k.args(WRITER.replace("ROUNDS", "16"), f"file={disk}")
    args, pattern = base, None
    for i in range(points + 1):
        with vm.Guest(args, f"part {i}") as g:
            q = vm.QMP(k.qmp())
            if i == 0:
                pattern = g.expect(r"^pattern (\w+) ", 200).group(1).decode()
                g.expect(r"^writing")
            if i < points:
                time.sleep(0.1 + 0.07 * i)
                q.save(g, state)
                q.cmd("quit")
                g.wait(30)
                no_complaints(g)
            else:
                finish(g)
        args = base + ["-incoming", f"file:{state}"]
    for at in 0, 16:
        if sum_of(disk, at * MIB, 16 * MIB) != pattern:
            vm.fail("what the guest wrote is not in the image")
    print(f"ok: {k.name}: saved and loaded {points} times under I/O")


def resets(k):
    disk = image(k.work, "resets.qcow2", 128 * MIB)
    with vm.Guest(k.args(RESETS, f"file={disk}")) as g:
        g.expect(r"^resets 100", 600)
        finish(g)
    print(f"ok: {k.name}: 100 resets with I/O in flight")


def resize(k):
    """Another size under a guest that writes; it finds out by itself."""
    disk = image(k.work, "resize.qcow2", 64 * MIB)
    with vm.Guest(k.args(RESIZE.replace("LAST", str(160 * MIB // 512)), f"file={disk}")) as g:
        q = vm.QMP(k.qmp())
        g.expect(f"^size {64 * MIB // 512}\\s", 200)
        q.cmd("block_resize", device="d0", size=96 * MIB)
        g.expect(f"^size {96 * MIB // 512}\\s", 100)
        q.cmd("human-monitor-command", **{"command-line": "block_resize d0 160"})
        g.expect(f"^size {160 * MIB // 512}\\s", 100)
        g.expect("^end-same", 100)
        finish(g)
    print(f"ok: {k.name}: resized twice, and the guest knew")


def snapshot(k):
    """What is written to a disk with -snapshot can be read again, and the image stays as it is."""
    disk = image(k.work, "snapshot.qcow2", 64 * MIB)
    before = open(disk, "rb").read()
    with vm.Guest(k.args(WRITER.replace("ROUNDS", "1"), f"file={disk}") + ["-snapshot"]) as g:
        finish(g)
    if open(disk, "rb").read() != before:
        vm.fail("-snapshot: the image has changed")
    print(f"ok: {k.name}: -snapshot")


def kept(k):
    """The writes of -snapshot go into the image after all, under a guest that writes on."""
    disk = image(k.work, "kept.qcow2", 64 * MIB)
    with vm.Guest(k.args(KEPT, f"file={disk}") + ["-snapshot"]) as g:
        q = vm.QMP(k.qmp())
        pattern = g.expect(r"^pattern (\w+) ", 200).group(1).decode()
        g.expect(r"^written", 200)
        said = q.cmd("human-monitor-command", **{"command-line": "commit all"})
        if said:
            g.die(f"commit all: {said}")
        finish(g)
    if sum_of(disk, 0, 16 * MIB) != pattern:
        vm.fail("commit all: the image has not what the guest wrote")
    print(f"ok: {k.name}: -snapshot, kept by commit")


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in KINDS:
        vm.fail(f"usage: disks.py {'|'.join(KINDS)} [PART]")
    vm.need("blkdiscard")
    k = Kind(sys.argv[1], vm.scratch())
    parts = {"basics": basics, "full": full, "saves": lambda k: saves(k, 4), "resets": resets, "snapshot": snapshot, "kept": kept, "resize": resize}
    for name, part in parts.items():
        if len(sys.argv) == 2 or name in sys.argv[2:]:
            part(k)


main()
