#!/usr/bin/env python3
"""viv-nbd on the host, a guest of ours as its client over user networking: Debian's nbd-client (netlink with two connections, then ioctls) and
viv-nbd -c on the same export. A pattern, a discard, a file system with files, read back in the guest after each disconnection and compared on the host."""
import hashlib
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

MIB = 1 << 20
SIZE, FS, PATTERN, HOLE = 128, 96, 100, 104  # MiB: the disk, its file system, where the pattern is, a hole of 2 MiB in it

SCRIPT = r"""
dmesg -n 1 # its lines would fall into ours
ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
port=$(sed 's/.*nbdport=\([0-9]*\).*/\1/' /proc/cmdline)
size() { cat /sys/block/$1/size; }
complain() { echo "complaint: $*"; }
drop() { blockdev --flushbufs $1; echo 3 >/proc/sys/vm/drop_caches; }
sum() { sha256sum <$1 | cut -d ' ' -f 1; }
put() { # DEVICE SEEK FILE: in one-MiB writes, to the disk
  dd if=$3 of=$1 bs=1M seek=$2 conv=notrunc,fsync 2>/dev/null || complain "writing $1"; }
same() { # DEVICE SKIP FILE
  drop $1
  dd if=$1 bs=1M skip=$2 count=8 2>/dev/null | cmp - $3 || complain "$1 reads back differently"; }
files() { # DEVICE NAME: what is there is right; one more file
  mount -t ext4 $1 /mnt || complain "mount $1"
  for f in /mnt/*.sum; do [ -e $f ] || continue; [ "$(cat $f)" = "$(sum ${f%.sum})" ] || complain "file ${f%.sum} on $1"; done
  head -c 3000001 /dev/urandom >/mnt/$2; sum /mnt/$2 >/mnt/$2.sum
  echo "file $2 $(cat /mnt/$2.sum)"
  umount /mnt || complain "umount $1"; }
gone() { for i in $(seq 100); do [ "$(size $1)" = 0 ] && return; sleep 0.1; done; complain "$1 is still connected"; }

nbd-client -l 10.0.2.2 $port | grep -q '^exp' && echo listed
head -c 8388608 /dev/urandom >/tmp/data
for how in '-C 2' -nonetlink; do
  nbd-client 10.0.2.2 $port /dev/nbd0 -name exp -b 512 $how >/tmp/out 2>&1 || complain "nbd-client $how: $(cat /tmp/out)"
  for i in $(seq 100); do [ "$(size nbd0)" != 0 ] && break; sleep 0.1; done
  echo connected $how: size $(size nbd0) ro $(cat /sys/block/nbd0/ro) flush $(cat /sys/block/nbd0/queue/write_cache)
  if [ "$how" != -nonetlink ]; then
    put /dev/nbd0 100 /tmp/data
    /bin/mke2fs -q -t ext4 -F /dev/nbd0 96M || complain mke2fs
  fi
  same /dev/nbd0 100 /tmp/data
  files /dev/nbd0 f$(echo $how | tr -dc a-zC)
  nbd-client -c /dev/nbd0 >/dev/null || complain "nbd-client -c: not connected"
  nbd-client -d /dev/nbd0 >/dev/null 2>&1 || complain "nbd-client -d"
  gone nbd0
  echo disconnected
done
head -c 1048576 /dev/urandom >/tmp/more
viv-nbd --fork --pid-file=/tmp/pid -c /dev/nbd1 -f raw --discard=unmap nbd://10.0.2.2:$port/exp || complain "viv-nbd -c"
echo ours: size $(size nbd1)
same /dev/nbd1 100 /tmp/data
files /dev/nbd1 fours
blkdiscard -o 109051904 -l 2097152 /dev/nbd1 || complain blkdiscard
put /dev/nbd1 107 /tmp/more
viv-nbd -d /dev/nbd1 || complain "viv-nbd -d"
gone nbd1
for i in $(seq 100); do [ -e /tmp/pid ] || break; sleep 0.1; done
[ -e /tmp/pid ] && complain "viv-nbd is still there"
echo data $(sum /tmp/data) more $(sum /tmp/more)
dd if=/tmp/data bs=1M count=4 2>/dev/null >/tmp/head; echo head $(sum /tmp/head)
dmesg | grep -iE 'bug:|oops|call trace|i/o error|ext4-fs error' | sed 's/^/complaint: /'
echo all-done
"""


def sha(data):
    return hashlib.sha256(data).hexdigest()


class Server:
    """viv-nbd with the image, on a TCP port of this host."""

    def __init__(self, work, image):
        self.port = vm.free_port()
        self.log = open(os.path.join(work, "nbd.log"), "w+")
        self.p = subprocess.Popen([vm.tool("viv-nbd"), "-t", "-e", "8", "-b", "127.0.0.1", "-p", str(self.port), "-x", "exp", "-f", "qcow2",
                                   "--discard=unmap", image], stdout=self.log, stderr=subprocess.STDOUT)
        for _ in range(200):
            if subprocess.run([vm.tool("viv-nbd"), "-L", "-b", "127.0.0.1", "-p", str(self.port)], capture_output=True).returncode == 0:
                return
            time.sleep(0.05)
        vm.fail("viv-nbd does not listen")

    def stop(self):
        self.p.terminate()
        if self.p.wait(30) not in (0, -15):
            self.log.seek(0)
            vm.fail(f"viv-nbd ended with {self.p.returncode}: {self.log.read()}")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.p.poll() is None:
            self.p.kill()


def check_image(work, image, g, sums):
    """On the host: the bytes that the guest told the sums of, a sound file system, a sound image."""
    raw = os.path.join(work, "d.raw")
    subprocess.run([vm.tool("viv-img"), "convert", "-f", "qcow2", "-O", "raw", image, raw], check=True)
    if subprocess.run([vm.tool("viv-img"), "check", "-q", "-f", "qcow2", image]).returncode:
        vm.fail("viv-img check of the image")
    with open(raw, "rb") as f:
        f.seek(PATTERN * MIB)
        got = f.read(8 * MIB)
    # The guest discarded two MiB in the middle and wrote one MiB over the last.
    for name, part, want in (("head", got[:4 * MIB], sums["head"]), ("hole", got[4 * MIB:6 * MIB], sha(bytes(2 * MIB))), ("more", got[7 * MIB:], sums["more"])):
        if sha(part) != want:
            g.die(f"{name}: the image holds something else than the guest wrote")
    p = subprocess.run(["/sbin/e2fsck", "-fn", raw], capture_output=True, text=True)
    if p.returncode:
        g.die(f"e2fsck: {p.stdout}")
    for name, want in sums["files"].items():
        out = os.path.join(work, "out")
        subprocess.run(["/sbin/debugfs", "-R", f"dump /{name} {out}", raw], capture_output=True, check=True)
        with open(out, "rb") as f:
            if sha(f.read()) != want:
                g.die(f"file {name} is another one on the host")


def main():
    vm.need("nbd-client", "mke2fs", "e2fsck", "debugfs")
    path = os.environ["PATH"] + ":/sbin:/usr/sbin"
    programs = [vm.tool("viv-nbd"), shutil.which("nbd-client", path=path), shutil.which("mke2fs", path=path)]
    initrd = vm.initramfs(SCRIPT, modules=["nbd", "virtio_pci", "virtio_net", "ext4", "crc32c_generic"], programs=programs)
    work = vm.scratch()
    image = os.path.join(work, "d.qcow2")
    subprocess.run([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", image, f"{SIZE}M"], check=True)
    with Server(work, image) as server:
        args = vm.base_args("pc", "512M", 2) + ["-accel", "xlate", "-kernel", vm.kernel(), "-initrd", initrd,
                                                "-append", f"console=ttyS0 panic=-1 nbdport={server.port}",
                                                "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n"]
        sums = {"files": {}}
        with vm.Guest(args) as g:
            g.expect(r"^listed", 300)
            for how in ("-C 2", "-nonetlink"):
                g.expect(rf"^connected {how}: size {SIZE * 2048} ro 0 flush write back")
                m = g.expect(r"^file (\w+) (\w{64})", 180)
                sums["files"][m[1].decode()] = m[2].decode()
                g.expect(r"^disconnected")
            g.expect(rf"^ours: size {SIZE * 2048}")
            m = g.expect(r"^file (\w+) (\w{64})", 180)
            sums["files"][m[1].decode()] = m[2].decode()
            g.expect(r"^/dev/nbd1 disconnected", 60)
            sums["more"] = g.expect(r"^data \w{64} more (\w{64})")[1].decode()
            sums["head"] = g.expect(r"^head (\w{64})")[1].decode()
            g.expect(r"^all-done")
            g.wait(60)
            complaints = [x for x in g.text.splitlines() if x.startswith("complaint: ")]
            if complaints:
                g.die("\n".join(complaints))
            server.stop()
            if len(sums["files"]) != 3:
                g.die(f"three files were to be there: {sums['files']}")
            check_image(work, image, g, sums)
    print("ok")


main()
