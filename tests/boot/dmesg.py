#!/usr/bin/env python3
"""What the kernel complains about here and not under Debian's QEMU TCG: dmesg.py [MACHINE [CPUS]]

Boots the same kernel and initramfs under both, compares the lines of level warning and worse (numbers and times
blanked), and fails on one that tests/boot/dmesg_known.txt does not explain."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

SCRIPT = "echo dmesg-begin; dmesg -r; echo dmesg-end"
KNOWN = os.path.join(os.path.dirname(__file__), "dmesg_known.txt")


def blank(line):
    line = re.sub(r"^<\d+>\[[^]]*\] ", "", line)
    line = re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+", "N", line)
    return line.strip()


def complaints(args, name, patience=300):
    with vm.Guest(args, name) as g:
        g.expect("^dmesg-begin", patience)
        g.expect("^dmesg-end", 120)
        g.wait(60)
        body = g.text.split("dmesg-begin")[-1].split("dmesg-end")[0]
    out = {}
    for line in body.splitlines():
        m = re.match(r"<(\d+)>", line)
        if m and int(m.group(1)) & 7 <= 4:
            out.setdefault(blank(line), line.strip())
    return out


def main():
    vm.need("qemu-system-x86_64")
    machine = sys.argv[1] if len(sys.argv) > 1 else "pc"
    cpus = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    suffix = "pci" if machine == "pc" else "device"
    tail = ["-kernel", vm.kernel(), "-initrd", vm.initramfs(SCRIPT), "-append", "console=ttyS0 panic=-1 quiet",
            "-netdev", "user,id=n0", "-device", f"virtio-net-{suffix},netdev=n0", "-device",
            f"virtio-rng-{suffix}"]
    ours = complaints(vm.base_args(machine, "512M", cpus) + tail, "ours")
    os.environ["VIV_VM"] = "qemu-system-x86_64 -accel tcg -cpu max"
    peer_machine = "microvm,acpi=on,rtc=on,pic=on,pit=on" if machine == "microvm" else machine
    try:
        peer = complaints(vm.base_args(peer_machine, "512M", cpus) + tail, "peer", 90)
    except SystemExit: # its microvm stops on some hosts: "tsc: Unable to calibrate against PIT"
        vm.skip("nothing to compare with: the kernel does not come up under QEMU")
    known = []
    if os.path.exists(KNOWN):
        known = [x.split(" ## ")[0].strip() for x in open(KNOWN) if x.strip() and not x.startswith("#")]
    bad = 0
    print(f"{len(ours)} complaints here, {len(peer)} under QEMU TCG")
    for key in sorted(set(ours) - set(peer)):
        explained = any(re.search(k, key) for k in known)
        print(("explained: " if explained else "ONLY HERE: ") + ours[key])
        bad += not explained
    for key in sorted(set(peer) - set(ours)):
        print("only QEMU: " + peer[key])
    sys.exit(1 if bad else 0)


main()
