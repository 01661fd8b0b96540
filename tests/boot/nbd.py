#!/usr/bin/env python3
"""viv-nbd -c and -d in a guest with the kernel's nbd driver: an image as /dev/nbd0, written, discarded, partitions found,
disconnected by -d and by a signal, read-only."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

SCRIPT = r"""
dmesg -n 1 # its lines would fall into ours
wait_gone() { for i in $(seq 100); do [ -e /tmp/pid ] || return 0; sleep 0.1; done; echo "complaint: still there"; }
viv-img create -q -f qcow2 /tmp/a.qcow2 64M
viv-nbd --fork --pid-file=/tmp/pid -c /dev/nbd0 -f qcow2 --discard=unmap /tmp/a.qcow2 && echo connected
echo size $(cat /sys/block/nbd0/size) ro $(cat /sys/block/nbd0/ro) discard $(cat /sys/block/nbd0/queue/discard_max_bytes)
head -c 8388608 /dev/urandom >/tmp/data
dd if=/tmp/data of=/dev/nbd0 bs=1M seek=1 conv=notrunc,fsync 2>/dev/null || echo "complaint: write"
# A partition from sector 2048 on, 16384 sectors.
printf '\0\0\0\0\203\0\0\0\0\10\0\0\0\100\0\0' | dd of=/dev/nbd0 bs=1 seek=446 conv=notrunc 2>/dev/null
printf '\125\252' | dd of=/dev/nbd0 bs=1 seek=510 conv=notrunc,fsync 2>/dev/null
blkdiscard -o 33554432 -l 1048576 /dev/nbd0 && echo discarded
viv-nbd -d /dev/nbd0
wait_gone
viv-img check /tmp/a.qcow2 | head -n 1
viv-nbd --fork --pid-file=/tmp/pid -c /dev/nbd0 -r -f qcow2 /tmp/a.qcow2 && echo connected-again
echo ro $(cat /sys/block/nbd0/ro)
for i in $(seq 50); do [ -e /dev/nbd0p1 ] && break; sleep 0.1; done
cmp /dev/nbd0p1 /tmp/data && echo partition-is-right
dd if=/tmp/data of=/dev/nbd0 bs=4k count=1 conv=notrunc,fsync 2>/dev/null && echo "complaint: wrote a read-only device"
kill $(cat /tmp/pid)
wait_gone
echo left $(cat /sys/block/nbd0/size)
viv-nbd -d /tmp/data 2>&1 | head -n 1
viv-nbd -c /dev/nbd77 /tmp/a.qcow2 2>&1 | head -n 1
dmesg | grep -iE 'bug:|oops|call trace|i/o error' | sed 's/^/complaint: /'
echo all-done
"""


def main():
    programs = [os.path.join(vm.BUILD, "src/cmd", p) for p in ("viv-nbd", "viv-img")]
    initrd = vm.initramfs(SCRIPT, modules=["nbd"], programs=programs)
    args = vm.base_args("pc", "512M", 2) + ["-kernel", vm.kernel(), "-initrd", initrd, "-append", "console=ttyS0 panic=-1"]
    with vm.Guest(args) as g:
        g.expect(r"^connected\b", 300)
        g.expect(r"^size 131072 ro 0 discard [1-9]")
        g.expect(r"^discarded", 120)
        g.expect(r"^/dev/nbd0 disconnected")
        g.expect(r"^No errors were found", 60)
        g.expect(r"^connected-again", 60)
        g.expect(r"^ro 1")
        g.expect(r"^partition-is-right", 60)
        g.expect(r"^left 0", 60)
        g.expect(r"is no device of the kernel's nbd driver")
        g.expect(r"there is no '/dev/nbd77'")
        g.expect(r"^all-done")
        g.wait(60)
        complaints = [x for x in g.text.splitlines() if x.startswith("complaint: ")]
        if complaints:
            g.die("\n".join(complaints))
    print("ok")


main()
