#!/usr/bin/env python3
"""SeaBIOS on each USB controller: GRUB from a stick (by bootindex, with an IDE disk beside it), keys from a USB keyboard. A disk of
64 KiB, smaller than what a BIOS takes for a cylinder, on SCSI (SeaBIOS asks disks of QEMU's for their geometry)."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

LIB = "/usr/lib/grub/i386-pc"
CONTROLLERS = {"uhci": ["-usb"], "xhci": ["-device", "qemu-xhci"], "ehci": ["-device", "usb-ehci"]}
CONFIG = """
serial --unit=0
terminal_output serial
terminal_input console
echo GRUB-HERE
read line
echo LINE-$line.
"""


def make_stick(work):
    """GRUB in the sectors before where a partition would begin."""
    cfg, core, stick = (os.path.join(work, n) for n in ("grub.cfg", "core.img", "stick.img"))
    with open(cfg, "w") as f:
        f.write(CONFIG)
    subprocess.run(["grub-mkimage", "-O", "i386-pc", "-o", core, "-c", cfg, "-p", "(hd0)/boot", "biosdisk", "part_msdos", "serial",
                    "terminal", "echo", "read"], check=True)
    with open(f"{LIB}/boot.img", "rb") as f:
        boot = f.read()[:440].ljust(510, b"\0") + b"\x55\xaa"
    with open(core, "rb") as f:
        data = boot + f.read()
    with open(stick, "wb") as f:
        f.write(data.ljust(16 << 20, b"\0"))
    return stick


def boot(work, stick, name):
    qmp = os.path.join(work, f"qmp-{name}")
    empty = os.path.join(work, "empty.img")
    with open(empty, "wb") as f:
        f.truncate(1 << 20)
    args = vm.base_args("pc", "64M", 1) + CONTROLLERS[name] + [
        "-drive", f"if=ide,format=raw,file={empty}", "-drive", f"if=none,id=s,format=raw,file={stick}",
        "-device", "usb-storage,drive=s,bootindex=0,removable=on", "-device", "usb-kbd",
        "-qmp", f"unix:{qmp},server=on,wait=off"]
    with vm.Guest(args, name) as g:
        q = vm.QMP(qmp)
        start = time.monotonic()
        g.expect(r"GRUB-HERE", 100)
        took = time.monotonic() - start
        time.sleep(0.5 * vm.SLOW)
        for key in "v", "i", "v", "shift-a", "1", "ret":
            q.cmd("human-monitor-command", **{"command-line": f"sendkey {key}"})
        g.expect(r"LINE-vivA1\.", 30)
        q.cmd("quit")
        g.wait(30)
    print(f"ok: {name}: GRUB after {took:.1f} s, keys")


def small(work):
    """A boot sector that reads the next one, from head 0 of cylinder 0, and prints what it has there."""
    code = (b"\x31\xc0\x8e\xd8\x8e\xc0\x8e\xd0\xbc\x00\x7c"              # xor ax,ax; mov ds,es,ss,ax; mov sp,7c00h
            b"\xbb\x00\x7e\xb8\x01\x02\xb9\x02\x00\x30\xf6\xcd\x13\x72\x09"  # mov bx,7e00h; mov ax,201h; mov cx,2; xor dh,dh; int 13h; jc
            b"\xa0\x00\x7e\xba\xf8\x03\xee\xf4\xf4\xeb\xfd")              # mov al,[7e00h]; mov dx,3f8h; out dx,al; hlt
    image = os.path.join(work, "small.img")
    with open(image, "wb") as f:
        f.write(code.ljust(510, b"\0") + b"\x55\xaa" + b"Y".ljust(511, b"\0"))
        f.truncate(64 << 10)
    for name, device in {"scsi-hd": ["-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=d"],
                         "usb-storage": ["-usb", "-device", "usb-storage,drive=d"]}.items():
        with vm.Guest(vm.base_args("pc", "64M", 1) + ["-drive", f"if=none,id=d,format=raw,file={image}", *device], name) as g:
            g.expect("Y", 30)
        print(f"ok: 64 KiB as {name}")


def main():
    vm.need("grub-mkimage")
    if not os.path.exists(f"{LIB}/boot.img"):
        vm.skip("needs grub-pc-bin")
    work = vm.scratch()
    if not sys.argv[1:]:
        small(work)
    stick = make_stick(work)
    for name in sys.argv[1:] or CONTROLLERS:
        boot(work, stick, name)


main()
