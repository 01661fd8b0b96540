#!/usr/bin/env python3
"""memtest86+ of Debian's package, from a CD that GRUB starts, under SeaBIOS: one pass of its tests: memtest.py [MACHINE]"""
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

IMAGE = "/boot/memtest86+x64.bin"


def compact_disc(work):
    vm.need("grub-mkrescue", "xorriso", "mformat")
    os.makedirs(f"{work}/iso/boot/grub")
    with open(IMAGE, "rb") as src, open(f"{work}/iso/memtest", "wb") as dst:
        dst.write(src.read())
    with open(f"{work}/iso/boot/grub/grub.cfg", "w") as f:
        f.write("set timeout=0\nmenuentry 'memtest' {\n  linux16 /memtest\n}\n")
    p = subprocess.run(["grub-mkrescue", "-o", f"{work}/cd.iso", "--modules=biosdisk iso9660 linux16", "-d", "/usr/lib/grub/i386-pc",
                        f"{work}/iso"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        vm.skip(f"grub-mkrescue: {p.stdout[-300:]}")


def main():
    machine = sys.argv[1] if len(sys.argv) > 1 else "pc"
    if not os.path.exists(IMAGE):
        vm.skip("needs Debian's memtest86+")
    work = vm.scratch()
    compact_disc(work)
    args = ["-M", machine, "-m", "64M", "-smp", "2", "-display", "none", "-serial", "none", "-vga", "std", "-cdrom", f"{work}/cd.iso",
            "-boot", "d", "-nic", "none", "-qmp", f"unix:{work}/q,server=on,wait=off"]
    with vm.Guest(args, machine) as g:
        q = vm.QMP(f"{work}/q")
        end = time.monotonic() + 900 * vm.SLOW
        while True:
            text = q.cmd("x-query-screen")["human-readable-text"]
            errors = re.search(r"Errors:\s+(\d+)", text)
            passes = re.search(r"Pass:\s+(\d+)\s", text)
            if errors and int(errors[1]):
                g.die(f"memtest86+ finds errors:\n{text}")
            if errors and passes and int(passes[1]) >= 1:
                break
            if time.monotonic() > end:
                g.die(f"no pass has ended:\n{text}")
            time.sleep(0.5)
        print(text)
        q.cmd("quit")
    print(f"ok: {machine}: one pass, no error, {time.monotonic() - g.start:.0f} s")


main()
