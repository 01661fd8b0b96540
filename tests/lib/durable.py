"""A guest that writes numbered files to an ext4 file system on its first virtio disk and says which are durable, and what must be true of
the image after its end, whatever that was."""
import os
import shutil
import subprocess

import vm

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


def fs_sound(img, work):
    """Path of the disk as raw, whose ext4 needs no more than its journal."""
    raw = os.path.join(work, "d.raw")
    subprocess.run([vm.tool("viv-img"), "convert", "-O", "raw", img, raw], check=True)
    # Replays the journal, then a forced check must find nothing to mend.
    subprocess.run(["/sbin/e2fsck", "-p", raw], capture_output=True)
    p = subprocess.run(["/sbin/e2fsck", "-fn", raw], capture_output=True, text=True)
    if p.returncode:
        vm.fail(f"e2fsck: {p.stdout}")
    return raw


def fs_check(img, work, durable, gone):
    raw = fs_sound(img, work)
    names = subprocess.run(["/sbin/debugfs", "-R", "ls -p /", raw], capture_output=True, text=True).stdout
    have = {x.split("/")[5] for x in names.splitlines() if x.count("/") >= 6}
    for i in durable - gone - {max(durable, default=0)}:
        if f"f{i}" not in have:
            vm.fail(f"file f{i} was durable and is not there")


def make(work, size="256M"):
    """Path of a qcow2 image with an empty file system."""
    vm.need("mke2fs", "e2fsck", "debugfs")
    raw, img = os.path.join(work, "empty.raw"), os.path.join(work, "d.qcow2")
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", raw, size], check=True, capture_output=True)
    subprocess.run([vm.tool("viv-img"), "convert", "-f", "raw", "-O", "qcow2", raw, img], check=True)
    os.unlink(raw)
    return img


class Record:
    """Which files are durable by what guests said so far."""

    def __init__(self):
        self.durable, self.gone = set(), set()

    def read(self, text):
        if "mount-failed" in text:
            vm.fail("the guest could not mount its disk: " + text[-2000:])
        for line in text.splitlines():
            words = line.split()
            if len(words) < 2 or not words[1].isdigit():
                continue
            if words[0] == "durable":
                self.durable.add(int(words[1]))
            elif words[0] == "gone":
                self.gone.add(int(words[1]))
            elif words[0] == "start":
                self.cut_short()
        self.cut_short()

    def cut_short(self):
        """A guest ended: the removal after the last line that it got out, or after the one that it did not, may have happened."""
        last = max(self.durable, default=0)
        self.gone |= {i - 3 for i in (last, last + 1) if i % 5 == 4}

    def check(self, img, work):
        image_check(img)
        fs_check(img, work, self.durable, self.gone)
