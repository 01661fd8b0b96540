#!/usr/bin/env python3
"""SeaBIOS starts GRUB from an ATA disk and from a rescue ISO in the CD drive, GRUB starts Debian's kernel: grub_ata.py pc|q35

The kernel finds both drives itself, reads the disk's beginning and the CD's file, and powers off; once it goes through a reset
before, and once the power button ends it."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

DRIVERS = {"pc": ["ata_piix", "ata_generic"], "q35": ["ahci"]}
SCRIPT = """
echo drives $(cat /sys/block/sda/device/model) / $(cat /sys/block/sr0/device/model)
echo disk $(dd if=/dev/sda bs=512 count=1 2>/dev/null | sha256sum)
mount -t iso9660 -o ro /dev/sr0 /mnt && echo cd $(cat /mnt/boot/name)
echo here $(grep -c . /proc/cpuinfo >/dev/null && echo yes)
read what
[ "$what" = again ] && reboot -f
[ "$what" = button ] && { while ! [ -s /tmp/button ]; do sleep 0.2; done; }
"""
BUTTON = ": >/tmp/button; for e in /dev/input/event*; do head -c 24 $e >>/tmp/button & done\n"


def make_iso(work, kernel, initrd):
    tree = os.path.join(work, "tree")
    os.makedirs(os.path.join(tree, "boot/grub"))
    for src, name in (kernel, "vmlinuz"), (initrd, "initrd"):
        subprocess.run(["cp", src, os.path.join(tree, "boot", name)], check=True)
    with open(os.path.join(tree, "boot/name"), "w") as f:
        f.write("rescue-iso")
    with open(os.path.join(tree, "boot/grub/grub.cfg"), "w") as f:
        f.write("set timeout=0\nserial --unit=0 --speed=115200\nterminal_output serial\necho GRUB-HERE\n"
                "linux /boot/vmlinuz console=ttyS0 panic=-1\ninitrd /boot/initrd\nboot\n")
    iso = os.path.join(work, "rescue.iso")
    subprocess.run(["grub-mkrescue", "-o", iso, tree], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return iso


def main():
    vm.need("grub-mkrescue", "xorriso", "mformat")
    machine = sys.argv[1]
    work = vm.scratch()
    kernel = vm.kernel("generic")
    initrd = vm.initramfs(BUTTON + SCRIPT, DRIVERS[machine] + ["sd_mod", "sr_mod", "isofs", "nls_utf8", "evdev", "button"], arch="generic")
    disk = os.path.join(work, "disk")
    vm.run_tool([os.path.join(vm.TOP, "tests/boot/grub_disk.sh"), kernel, initrd, disk])
    iso = make_iso(work, kernel, initrd)
    args = vm.base_args(machine, "512M", 2)
    args.remove("-no-reboot")
    qmp = os.path.join(work, "qmp")
    args += ["-hda", disk, "-cdrom", iso, "-qmp", f"unix:{qmp},server=on,wait=off"]
    for order, told in ("c", "again"), ("d", "button"):
        with vm.Guest(args + ["-boot", f"order={order}"], f"-boot {order}") as g:
            for turn in range(2 if told == "again" else 1):
                g.expect(r"GRUB-HERE", 200)
                g.expect(r"^drives \S+.* / \S+", 200)
                g.expect(r"^disk \w+")
                g.expect(r"^cd rescue-iso")
                g.expect(r"^here yes")
                g.send(f"{told if turn == 0 else 'off'}\n")
            if told == "button":
                time.sleep(1)
                vm.QMP(qmp).cmd("system_powerdown")
            if g.wait(100):
                g.die("status not 0")
        print(f"ok: {machine}, -boot {order}, {told}")


main()
