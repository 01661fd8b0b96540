#!/usr/bin/env python3
"""SeaBIOS and diskettes: GRUB from one by -boot a and by bootindexA, with a disk beside it; what GRUB then reads. A boot sector that
leaves by a reset of the CPUs and comes back by the shutdown byte."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
LIB = "/usr/lib/grub/i386-pc"
CONFIG = """
serial --unit=0
terminal_output serial
echo GRUB-HERE
cat (fd0)2600+1
halt
"""


def grub_image(work):
    cfg, core, out = (os.path.join(work, n) for n in ("grub.cfg", "core.img", "grub.img"))
    with open(cfg, "w") as f:
        f.write(CONFIG)
    subprocess.run(["grub-mkimage", "-O", "i386-pc", "-o", core, "-c", cfg, "-p", "(fd0)/boot", "biosdisk", "serial", "terminal", "echo",
                    "cat", "halt"], check=True)
    data = b""
    for name in (f"{LIB}/boot.img", core):
        with open(name, "rb") as f:
            data += f.read()
    data = data.ljust(2600 * 512, b"\0") + b"SECTOR-2600\n".ljust(512)
    with open(out, "wb") as f:
        f.write(data.ljust(1440 << 10, b"\0"))
    return out


def grub(work, floppy, machine, args):
    disk = os.path.join(work, "disk.img")
    with open(disk, "wb") as f:
        f.truncate(1 << 20)
    args = vm.base_args(machine, "64M", 1) + args + ["-drive", f"if=floppy,format=raw,readonly=on,file={floppy}",
                                                      "-drive", f"if=ide,format=raw,file={disk}"]
    with vm.Guest(args, machine) as g:
        g.expect(r"GRUB-HERE", 100)
        g.expect(r"SECTOR-2600", 30)
        if g.wait(30):
            g.die("halt did not end it")
    print(f"ok: GRUB from a diskette, {machine}")


def sector(work, source, *flags):
    return ["-boot", "a", "-drive", f"if=floppy,format=raw,readonly=on,file={vm.boot_sector(work, f'{HERE}/{source}', *flags)}"]


def resume(work, accel):
    args = vm.base_args("pc", "64M", 1) + ["-accel", accel] + sector(work, "resume.S")
    with vm.Guest(args, f"resume {accel}") as g:
        g.expect(r"S12$", 100)
        if g.wait(60):
            g.die("the last reset did not end it (-no-reboot)")
        if "!" in g.text:
            g.die("memory has changed")
    print(f"ok: back from a reset of the CPUs, {accel}")


def resets(work, accel):
    """Resets of the CPUs alone stay that: whatever the CPUs ask for until they stand, and where they were saved before it happened."""
    for flags in ["-DAGAIN"], []:
        args = ["-M", "pc", "-m", "16M", "-nodefaults", "-display", "none", "-serial", "stdio", "-accel", accel]
        args += sector(work, "resets.S", *flags)

        def going_on(g, starts=1):
            enough, end = g.log.count(b"R") + (3000 if flags else 50), time.monotonic() + 100 * vm.SLOW
            while g.log.count(b"R") < enough:
                if not g._pump(1) or g.log.count(b"S") > starts or time.monotonic() > end:
                    g.die("the machine was reset, or stands")

        with vm.Guest(args + ["-qmp", f"unix:{work}/q1,server=on,wait=off"], f"resets {accel} {flags}") as g:
            q = vm.QMP(f"{work}/q1")
            going_on(g)
            for i in range(0 if flags else 12):
                q.save(g, f"{work}/state")
                with vm.Guest(args + ["-incoming", f"file:{work}/state"], f"resets {accel}, copy {i}") as copy:
                    going_on(copy, 0)
                q.cmd("cont")
                going_on(g)
    print(f"ok: resets of the CPUs, and copies of them, {accel}")


def main():
    vm.need("grub-mkimage")
    if not os.path.exists(f"{LIB}/boot.img"):
        vm.skip("needs grub-pc-bin")
    work = vm.scratch()
    floppy = grub_image(work)
    grub(work, floppy, "pc", ["-boot", "a"])
    grub(work, floppy, "q35", ["-global", "isa-fdc.bootindexA=0"])
    for accel in sys.argv[1:] or ["xlate", "interp"]:
        resume(work, accel)
        resets(work, accel)


main()
