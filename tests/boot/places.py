#!/usr/bin/env python3
"""SeaBIOS boots from a disk wherever it is plugged in: behind root ports and bridges, on the ports that EHCI lends; with -boot strict=on; on a CPU
without MSRs. Kernels: one whose ELF headers lie in the BIOS's place, one that is loaded again after who started it has gone elsewhere."""
import os
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import multiboot  # noqa: E402
import vm  # noqa: E402

ROOT = ["-M", "q35", "-device", "pcie-root-port,id=rp,chassis=1"]
PLACES = {
    "virtio-blk, root port": ROOT + ["-device", "virtio-blk-pci,drive=b,bus=rp"],
    "NVMe, root port": ROOT + ["-device", "nvme,serial=x,drive=b,bus=rp"],
    "virtio-scsi, root port": ROOT + ["-device", "virtio-scsi-pci,bus=rp", "-device", "scsi-hd,drive=b"],
    "USB, root port": ROOT + ["-device", "qemu-xhci,bus=rp", "-device", "usb-storage,drive=b"],
    "virtio-blk, plugged into a root port before the start": ROOT + ["-S", "-monitor", "stdio"],
    "virtio-blk, bridge": ["-M", "pc", "-device", "pci-bridge,id=br,chassis_nr=1", "-device", "virtio-blk-pci,drive=b,bus=br,addr=1"],
    "EHCI's third port": ["-M", "q35", "-usb", "-drive", "if=none,id=a,format=raw,file=A", "-device", "ide-hd,drive=a,bootindex=2",
                          "-device", "usb-storage,drive=b,bootindex=1,port=3"],
    "strict, no order": ["-M", "pc", "-boot", "strict=on", "-device", "virtio-blk-pci,drive=b"],
    "strict, and an order": ["-M", "pc", "-boot", "strict=on", "-device", "virtio-blk-pci,drive=b,bootindex=1"],
    "486": ["-M", "pc", "-cpu", "486", "-device", "ide-hd,drive=b"],
}


def say(letter):
    """16 or 32 bits alike: the letter to port E9h, 1 to the exit port."""
    return bytes([0xb0, ord(letter), 0xe6, 0xe9, 0xb0, 1, 0xe6, 0xf4, 0xfa, 0xf4, 0xeb, 0xfd])


def sector(path, letter):
    with open(path, "wb") as f:
        f.write((say(letter).ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))
    return path


def run(work, words, what, typed=""):
    """What was said until the machine ended by its exit port."""
    out = f"{work}/out"
    p = subprocess.run([*vm.emulator(), "-m", "64", "-nodefaults", "-display", "none", "-debugcon", f"file:{out}", "-device",
                        "isa-debug-exit,iobase=0xf4,iosize=1", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, input=typed,
                       text=True, timeout=100 * vm.SLOW)
    if p.returncode != 3:
        vm.fail(f"{what}: status {p.returncode}: {p.stdout}")
    with open(out) as f:
        return f.read()


def places(work):
    a, b = sector(f"{work}/a", "A"), sector(f"{work}/b", "B")
    for name, words in PLACES.items():
        try:
            said = run(work, [w.replace("file=A", f"file={a}") for w in words] + ["-drive", f"if=none,id=b,format=raw,file={b}"], name,
                       "device_add virtio-blk-pci,drive=b,bus=rp\ncont\n" if "-S" in words else "")
        except subprocess.TimeoutExpired:
            vm.fail(f"{name}: the disk is not booted")
        if said != "B":
            vm.fail(f"{name}: '{said}'")
        print(f"ok: {name}", flush=True)


def elf(path):
    """As `ld -Ttext=0x100000` makes one: the headers are a segment of their own, in the page below."""
    code = struct.pack("<3I", 0x1badb002, 0, -0x1badb002 & 0xffffffff) + say("K")
    head = b"\x7fELF\x01\x01\x01".ljust(16, b"\0") + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x10000c, 52, 0, 0, 52, 32, 2, 0, 0, 0)
    head += struct.pack("<8I", 1, 0, 0xff000, 0xff000, 116, 116, 4, 0x1000) + struct.pack("<8I", 1, 0x1000, 0x100000, 0x100000, len(code), len(code), 5, 0x1000)
    with open(path, "wb") as f:
        f.write(head.ljust(0x1000, b"\0") + code)
    return path


def kernels(work):
    if (said := run(work, ["-M", "pc", "-kernel", elf(f"{work}/elf")], "ELF")) != "K":
        vm.fail(f"ELF: '{said}'")
    # Says L, and stands still: a reset loads it again.
    multiboot.kernel(work, bytes([0xb0, ord("L"), 0xe6, 0xe9, 0xf4, 0xeb, 0xfd]), "loop")
    pid, out, qmp = f"{work}/pid", f"{work}/said", f"{work}/q"
    subprocess.run([*vm.emulator(), "-M", "pc", "-m", "64", "-nodefaults", "-display", "none", "-daemonize", "-pidfile", pid, "-kernel", "loop",
                    "-debugcon", f"file:{out}", "-qmp", f"unix:{qmp},server=on,wait=off"], cwd=work, check=True, timeout=60 * vm.SLOW)
    os.unlink(f"{work}/loop")
    q = vm.QMP(qmp)
    for n in 1, 2, 3:
        end = time.monotonic() + 20 * vm.SLOW
        while open(out).read() != "L" * n:
            if time.monotonic() > end:
                vm.fail(f"start {n} of a kernel that was deleted: '{open(out).read()}'")
            time.sleep(0.02)
        q.cmd("system_reset")
    q.cmd("quit")
    print("ok: headers below 1 MiB; a deleted kernel is loaded again")


def main():
    work = vm.scratch()
    places(work)
    kernels(work)


if __name__ == "__main__":
    main()
