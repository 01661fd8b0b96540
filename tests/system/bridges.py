#!/usr/bin/env python3
"""Virtio devices below PCI bridges, Debian's cloud kernel: bridges.py [MACHINE]

On pc behind two pci-bridges; on q35 behind a root port and behind a pcie-pci-bridge. The disk gives what the host wrote and takes
what the guest writes, the kernel has nothing to say against the windows it finds, interrupts arrive by MSI-X and by INTx."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

SCRIPT = """
for d in /sys/bus/pci/devices/*; do echo pci $(basename $d) $(cat $d/vendor) $(cat $d/device); done
for v in vda vdb; do
echo disk $v $(dd if=/dev/$v bs=512 count=1 2>/dev/null | head -c 11)
echo from-guest | dd of=/dev/$v bs=512 seek=7 conv=notrunc,fsync 2>/dev/null
dd if=/dev/$v of=/dev/null bs=64k iflag=direct 2>/dev/null && echo read-$v
done
sed 's/^/irq: /' /proc/interrupts
dmesg | grep -iE 'warn|bug:|oops|call trace|unable to|failed|conflict|no compatible|bogus|no space|BAR.*(error|can.t)|not claimed' | sed 's/^/complaint: /'
echo user-space-reached
"""

LAYOUTS = {
    "pc": ["-device", "pci-bridge,id=b1,chassis_nr=1", "-device", "pci-bridge,id=b2,bus=b1,chassis_nr=2,addr=3",
           "-device", "virtio-blk-pci,drive=d0,bus=b2,addr=5", "-device", "virtio-blk-pci,drive=d1,bus=b1,addr=6,vectors=0"],
    "q35": ["-device", "pcie-root-port,id=rp0,chassis=1,slot=1", "-device", "pcie-root-port,id=rp1,chassis=1,slot=2",
            "-device", "pcie-pci-bridge,id=pb,bus=rp1",
            "-device", "virtio-blk-pci,drive=d0,bus=rp0", "-device", "virtio-blk-pci,drive=d1,bus=pb,addr=6,vectors=0"],
}


def main():
    machine = sys.argv[1] if len(sys.argv) > 1 else "pc"
    work = vm.scratch()
    args = vm.base_args(machine, "512M", 1) + [
        "-kernel", vm.kernel(), "-initrd", vm.initramfs(SCRIPT), "-append", "console=ttyS0 panic=-1"] + LAYOUTS[machine]
    disks = []
    for i in range(2):
        disks.append(os.path.join(work, f"d{i}.raw"))
        with open(disks[i], "wb") as f:
            f.write(b"hello-guest")
            f.truncate(4 << 20)
        args += ["-drive", f"file={disks[i]},format=raw,if=none,id=d{i}"]
    with vm.Guest(args) as g:
        for v in "vda", "vdb":
            g.expect(rf"^disk {v} hello-guest", 300)
            g.expect(rf"^read-{v}")
        g.expect(r"^user-space-reached")
        if g.wait(60):
            g.die("status not 0")
        complaints = [x for x in g.text.splitlines() if x.startswith("complaint: ")]
        if complaints:
            g.die("\n".join(complaints))
        wires = [x for x in g.text.splitlines() if x.startswith("irq: ") and "virtio" in x]
        if not any("MSI" in x for x in wires) or not any("IO-APIC" in x for x in wires):
            g.die("interrupts came neither by MSI-X nor by INTx:\n" + "\n".join(wires))
        print("\n".join(x for x in g.text.splitlines() if x.startswith("pci ")))
    for d in disks:
        with open(d, "rb") as f:
            f.seek(7 * 512)
            if f.read(10) != b"from-guest":
                vm.fail("what the guest wrote is not in the file")
    print(f"ok: {machine}")


main()
