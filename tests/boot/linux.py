#!/usr/bin/env python3
"""Boots Debian's cloud kernel to user space: linux.py MACHINE CPUS

In the guest: every CPU is online, the disk gives what the host wrote, a file written by the guest is read back on
the host, and the power-off ends the process with status 0."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

SCRIPT = """
echo cpus $(grep -c ^processor /proc/cpuinfo)
echo disk $(dd if=/dev/vda bs=512 count=1 2>/dev/null | head -c 11)
echo from-guest | dd of=/dev/vda bs=512 seek=7 conv=notrunc,fsync 2>/dev/null
ip link show eth0 >/dev/null 2>&1 && echo nic yes
head -c 16 /dev/hwrng | wc -c | sed 's/^/rng /'
dmesg | grep -iE 'warn|bug:|oops|call trace|unable to|failed' | sed 's/^/complaint: /'
echo user-space-reached
"""


def main():
    machine, cpus = sys.argv[1], int(sys.argv[2])
    pci = machine == "pc"
    disk = os.path.join(vm.scratch(), "d.raw")
    with open(disk, "wb") as f:
        f.write(b"hello-guest")
        f.truncate(1 << 20)
    suffix = "pci" if pci else "device"
    args = vm.base_args(machine, "512M", cpus) + [
        "-kernel", vm.kernel(), "-initrd", vm.initramfs(SCRIPT),
        "-append", "console=ttyS0 panic=-1",
        "-drive", f"file={disk},format=raw,if=none,id=d0", "-device", f"virtio-blk-{suffix},drive=d0",
        "-netdev", "user,id=n0", "-device", f"virtio-net-{suffix},netdev=n0",
        "-device", f"virtio-rng-{suffix}"]
    with vm.Guest(args) as g:
        g.expect(rf"^cpus {cpus}\b", 300)
        g.expect(r"^disk hello-guest")
        g.expect(r"^nic yes")
        g.expect(r"^rng 16")
        g.expect(r"^user-space-reached")
        status = g.wait(60)
        complaints = [x for x in g.text.splitlines() if x.startswith("complaint: ")]
        print("\n".join(complaints))
        if status:
            g.die(f"power-off ended with status {status}")
    with open(disk, "rb") as f:
        f.seek(7 * 512)
        if f.read(10) != b"from-guest":
            vm.fail("what the guest wrote is not in the file")
    print(f"ok: {machine} with {cpus} CPUs")


main()
