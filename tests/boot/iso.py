#!/usr/bin/env python3
"""SeaBIOS and CDs: GRUB's rescue ISO (as grub-mkrescue makes it) by -cdrom, what -boot once= and the boot menu choose, all by what the
screen says."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402


def screen(q):
    return q.cmd("x-query-screen")["human-readable-text"]


def wait_for(q, g, word, seconds=60):
    end = time.monotonic() + seconds * vm.SLOW
    while word not in screen(q):
        if time.monotonic() > end:
            g.die(f"'{word}' is not on the screen:\n{screen(q)}")
        time.sleep(0.1)


def rescue(work):
    vm.need("grub-mkrescue", "xorriso", "mformat")
    os.makedirs(f"{work}/iso/boot/grub")
    with open(f"{work}/iso/boot/grub/grub.cfg", "w") as f:
        f.write("set timeout=0\nmenuentry 'rescue' {\n  echo RESCUE-CD-HERE\n  sleep --interruptible 1000\n}\n")
    p = subprocess.run(["grub-mkrescue", "-o", f"{work}/cd.iso", "--modules=biosdisk iso9660", "-d", "/usr/lib/grub/i386-pc", f"{work}/iso"],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        vm.skip(f"grub-mkrescue: {p.stdout[-300:]}")


def disk(work):
    """Its first sector says DISK-HERE through int 10h and stops."""
    code = b"\x31\xc0\x8e\xd8\xbe\x20\x7c\xac\x08\xc0\x74\x08\xb4\x0e\xb7\x00\xcd\x10\xeb\xf3\xf4\xeb\xfd"
    with open(f"{work}/disk", "wb") as f:
        f.write(code.ljust(0x20, b"\x90") + b"DISK-HERE\0".ljust(510 - 0x20, b"\0") + b"\x55\xaa")
        f.truncate(1 << 20)


def run(work, name, *args):
    return vm.Guest(["-M", "pc", "-m", "128M", "-nodefaults", "-display", "none", "-vga", "std", "-hda", f"{work}/disk", "-cdrom",
                     f"{work}/cd.iso", "-qmp", f"unix:{work}/q,server=on,wait=off", *args], name)


def main():
    work = vm.scratch()
    if not os.path.exists("/usr/share/seabios/vgabios-stdvga.bin"):
        vm.skip("needs Debian's seabios")
    rescue(work)
    disk(work)
    with run(work, "default order") as g:
        wait_for(vm.QMP(f"{work}/q"), g, "DISK-HERE")
    with run(work, "-boot d", "-boot", "d") as g:
        q = vm.QMP(f"{work}/q")
        wait_for(q, g, "RESCUE-CD-HERE")
        if os.environ.get("VIV_KEEP"):
            q.cmd("human-monitor-command", **{"command-line": f"screendump {os.environ['VIV_KEEP']}/grub.png -f png"})
    print("ok: GRUB's rescue ISO with -boot d")
    with run(work, "once", "-boot", "once=d") as g:
        q = vm.QMP(f"{work}/q")
        wait_for(q, g, "RESCUE-CD-HERE")
        q.cmd("system_reset")
        wait_for(q, g, "DISK-HERE")
    print("ok: -boot once=d, and after a reset the disk")
    with run(work, "menu", "-boot", "menu=on,splash-time=20000") as g:
        q = vm.QMP(f"{work}/q")
        wait_for(q, g, "Press ESC for boot menu")
        q.cmd("send-key", keys=[{"type": "qcode", "data": "esc"}])
        wait_for(q, g, "Select boot device")
        wait_for(q, g, "DVD/CD")  # its lines come one by one
        lines = [l for l in screen(q).split("\n") if "DVD/CD" in l]
        q.cmd("send-key", keys=[{"type": "qcode", "data": lines[0].strip()[0]}])
        wait_for(q, g, "RESCUE-CD-HERE")
    print("ok: the boot menu")
    for name in "disk", "cd.iso": # nothing to boot from
        with open(f"{work}/empty", "wb") as f:
            f.truncate(1 << 20)
        os.replace(f"{work}/empty", f"{work}/{name}")
    with run(work, "fails", "-boot", "order=c,reboot-timeout=500") as g:
        q = vm.QMP(f"{work}/q")
        end = time.monotonic() + 60 * vm.SLOW
        while not any(e["event"] == "RESET" and e["data"]["guest"] for e in q.events):
            if time.monotonic() > end:
                g.die(f"no reset after reboot-timeout:\n{screen(q)}")
            time.sleep(0.1)
            screen(q)
    print("ok: reboot-timeout")


main()
