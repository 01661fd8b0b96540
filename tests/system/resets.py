#!/usr/bin/env python3
"""Resets in a row of a PC that has a bit of everything: resets.py [ROUNDS] [MACHINE...]

Firmware, boot loader's work, drivers' start and a disk under writes are cut off at random moments, one reset in four by another one at once.
Each tenth guest must come up and write; the process must not grow, and image and file system must be sound at the end."""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import durable  # noqa: E402
import vm  # noqa: E402

MODULES = vm.VIRTIO + ["ext4", "virtio_balloon", "virtio_scsi", "sd_mod", "nvme", "ahci", "e1000", "xhci_pci", "usbhid", "hid_generic", "usb_storage"]
GROWTH_KIB = 96 << 10  # translated code and what the C library keeps
THREADS = 32  # the pools of disks have more when more is under way


def arguments(work, machine, img):
    for name in ("scsi", "nvme", "usb"):
        with open(os.path.join(work, name), "wb") as f:
            f.truncate(64 << 20)
    args = vm.base_args(machine, "384M", 2)
    args.remove("-no-reboot")
    # The guest's memory is not to be taken for ours.
    args[args.index(machine)] = f"{machine},memory-backend=ram"
    args += ["-object", "memory-backend-memfd,id=ram,size=384M"]
    args += ["-vga", "std", "-vnc", f"unix:{work}/vnc", "-qmp", f"unix:{work}/qmp,server=on,wait=off",
             "-drive", f"file={img},format=qcow2,if=virtio", "-device", "virtio-scsi-pci,id=s",
             "-device", "qemu-xhci,id=x", "-device", "usb-tablet,bus=x.0", "-device", "virtio-balloon-pci", "-device", "virtio-rng-pci",
             "-netdev", "user,id=a", "-device", "virtio-net-pci,netdev=a", "-netdev", "user,id=b", "-device", "e1000,netdev=b"]
    for name, device in ("scsi", "scsi-hd,bus=s.0"), ("nvme", "nvme,serial=1"), ("usb", "usb-storage,bus=x.0"):
        args += ["-drive", f"file={work}/{name},format=raw,if=none,id={name}", "-device", f"{device},drive={name}"]
    return args + ["-kernel", vm.kernel("generic"), "-initrd", vm.initramfs(durable.SCRIPT, MODULES, arch="generic"),
                   "-append", "console=ttyS0 panic=-1 quiet"]


def size_of(pid):
    """Open files, threads, KiB of private memory."""
    with open(f"/proc/{pid}/status") as f:
        status = dict(line.split(":", 1) for line in f)
    return len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"]), int(status["RssAnon"].split()[0])


def one(work, machine, rounds):
    img = durable.make(work)
    rng = random.Random(f"{machine} {rounds}")
    record = durable.Record()
    before = None
    with vm.Guest(arguments(work, machine, img), machine) as g:
        q = vm.QMP(f"{work}/qmp")
        for n in range(rounds):
            if n % 10 == 9 or n == rounds - 1:
                g.expect(r"^start \d+", 120)
                g.expect(r"^durable \d+", 60)
                before = before or size_of(g.p.pid)
            end = time.monotonic() + rng.uniform(0, 3.5) * (n % 4 != 3)
            while time.monotonic() < end:
                g._pump(0.05)
            q.cmd("system_reset")
            g.seen = len(g.log)
        g.expect(r"^start \d+", 120)
        g.expect(r"^durable \d+", 60)
        after = size_of(g.p.pid)
        if q.cmd("query-status")["status"] != "running":
            g.die("the machine does not run")
        record.read(g.text)
        q.cmd("quit")
        if g.wait() != 0:
            g.die("quit: no exit status 0")
    if after[0] > before[0] + 2 or after[1] > before[1] + THREADS or after[2] > before[2] + GROWTH_KIB:
        vm.fail(f"{machine}: {before} open files, threads and KiB after the first resets, {after} at the end")
    record.check(img, work)
    print(f"ok: {machine}: {rounds} resets; files, threads, KiB: {before}, {after}; {len(record.durable)} durable files", flush=True)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    for machine in sys.argv[2:] or ["pc", "q35"]:
        one(vm.scratch(), machine, rounds)


main()
