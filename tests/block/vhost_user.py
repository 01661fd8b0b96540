#!/usr/bin/env python3
"""viv-storaged's vhost-user-blk under Debian's QEMU (its translator): a guest with two queues reads, writes from several processes at
once, flushes and discards; what it wrote is in the image. Front ends come one after the other; a hard delete cuts one
off. VIV_STORAGED is the path of viv-storaged."""
import atexit
import hashlib
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

SCRIPT = r"""
dmesg -n 1
d=/dev/vda
echo size $(cat /sys/block/vda/size) ro $(cat /sys/block/vda/ro) serial $(cat /sys/block/vda/serial) queues $(ls /sys/block/vda/mq | wc -l) \
    discard $(cat /sys/block/vda/queue/discard_max_bytes | grep -c '^[1-9]') cache $(cat /sys/block/vda/queue/write_cache)
if [ $(cat /sys/block/vda/ro) = 1 ]; then
    echo first $(dd if=$d bs=1M count=8 2>/dev/null | sha256sum | cut -c1-64)
    dd if=/tmp/data of=$d bs=4k count=1 conv=notrunc,fsync 2>/dev/null && echo "complaint: wrote a read-only disk"
    echo all-done
    exit 0
fi
echo first $(dd if=$d bs=1M count=8 2>/dev/null | sha256sum | cut -c1-64)
head -c 8388608 /dev/urandom >/tmp/data
for i in 0 1 2 3; do
    dd if=/tmp/data of=$d bs=$((4096 << i)) count=$((512 >> i)) skip=$((512 * i >> i)) seek=$((16384 + 512 * i >> i)) oflag=direct conv=notrunc 2>/dev/null &
done
wait
sync
dd if=/tmp/data of=$d bs=1M seek=16 conv=notrunc,fsync 2>/dev/null || echo "complaint: write"
echo 3 >/proc/sys/vm/drop_caches
[ "$(dd if=$d bs=1M skip=16 count=8 2>/dev/null | sha256sum)" = "$(sha256sum </tmp/data)" ] || echo "complaint: read"
blkdiscard -o 33554432 -l 1048576 $d || echo "complaint: discard"
dd if=$d of=/dev/null bs=512 skip=131071 count=1 2>/dev/null || echo "complaint: the last sector"
dd if=$d of=/dev/null bs=512 skip=131072 count=1 2>/dev/null
sync
echo 3 >/proc/sys/vm/drop_caches
echo disk $(sha256sum <$d | cut -c1-64)
dmesg | grep -iE 'bug:|\boops|call trace|i/o error' | sed 's/^/complaint: /'
echo all-done
[ -e /proc/cmdline ] && grep -q stay /proc/cmdline && while :; do dd if=$d of=/dev/null bs=1M count=32 iflag=direct 2>/dev/null || break; done
"""


class Daemon:
    def __init__(self, work, *exports):
        self.path = os.path.join(work, "q")
        self.p = subprocess.Popen([os.environ["VIV_STORAGED"], "--chardev", f"socket,id=m,path={self.path},server=on,wait=off",
                                   "--monitor", "m", *exports])
        atexit.register(self.p.kill)
        self.qmp = vm.QMP(self.path)

    def end(self):
        self.p.terminate()
        if self.p.wait(30):
            vm.fail(f"the daemon ended with {self.p.returncode}")


def qemu(initrd, sock, queues, extra=""):
    args = ["-accel", "tcg", "-M", "pc", "-m", "256M", "-smp", "2", "-object", "memory-backend-memfd,id=ram,size=256M,share=on",
            "-M", "memory-backend=ram", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", vm.kernel(),
            "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet no_timer_check " + extra, "-chardev", f"socket,id=c,path={sock}",
            "-device", f"vhost-user-blk-pci,chardev=c,num-queues={queues}"]
    return vm.Guest(args, "qemu", ["qemu-system-x86_64"])


def complaints(g):
    bad = [x for x in g.text.splitlines() if x.startswith("complaint: ")]
    if bad:
        g.die("\n".join(bad))


def sha(data):
    return hashlib.sha256(data).hexdigest()


def main():
    if not shutil.which("qemu-system-x86_64"):
        vm.skip("qemu-system-x86_64 is missing")
    work = vm.scratch()
    image, sock, ro = (os.path.join(work, n) for n in ("d.qcow2", "v", "r"))
    start = os.urandom(8 << 20)
    with open(os.path.join(work, "raw"), "wb") as f:
        f.write(start)
        f.truncate(64 << 20)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", os.path.join(work, "raw"), image], check=True)
    initrd = vm.initramfs(SCRIPT)
    node = f"driver=qcow2,node-name=d,discard=unmap,file.driver=file,file.filename={image}"
    d = Daemon(work, "--blockdev", node, "--export",
               f"vhost-user-blk,id=disk0,node-name=d,addr.type=unix,addr.path={sock},writable=on,num-queues=2",
               "--export", f"vhost-user-blk,id=ro,node-name=d,addr.type=unix,addr.path={ro}")
    with qemu(initrd, sock, 2) as g:
        g.expect(r"^size 131072 ro 0 serial disk0 queues 2 discard 1 cache write back", 300)
        g.expect("^first " + sha(start))
        g.expect(r"^disk ([0-9a-f]{64})")
        g.expect(r"^all-done")
        g.wait(120)
        complaints(g)
    with qemu(initrd, ro, 1) as g: # the same node, read-only
        g.expect(r"^size 131072 ro 1 serial ro queues 1", 300)
        g.expect("^first " + sha(start))
        g.expect(r"^all-done")
        g.wait(120)
        complaints(g)
    with qemu(initrd, sock, 2, "stay") as g: # a second front end on the same socket; it is cut off while it reads
        disk = g.expect(r"^disk ([0-9a-f]{64})", 300).group(1).decode()
        g.expect(r"^all-done")
        try:
            d.qmp.cmd("block-export-del", id="disk0")
            g.die("an export in use was deleted")
        except RuntimeError as e:
            if "still in use" not in str(e):
                g.die(str(e))
        d.qmp.cmd("block-export-del", id="disk0", mode="hard")
        if [x["id"] for x in d.qmp.cmd("query-block-exports")] != ["ro"]:
            g.die("the export stays")
        g.kill()
    d.end()
    raw = os.path.join(work, "out")
    subprocess.run(["qemu-img", "convert", "-O", "raw", image, raw], check=True)
    subprocess.run(["qemu-img", "check", "-q", image], check=True)
    with open(raw, "rb") as f:
        if sha(f.read()) != disk:
            vm.fail("the image does not hold what the last guest saw")
    print("ok")


main()
