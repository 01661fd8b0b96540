#!/usr/bin/env python3
"""Installs Debian from a CD onto an empty disk, then boots the result: tests/install/debian.py [--keep FOLDER]

The CD holds Debian's own text installer; a preseed answers its questions and the packages come from a mirror served here. What is
seen on the screen at each milestone is kept in FOLDER as pictures. The screen and the one key that it takes go over VNC. It takes the machine
of the tutorials: SeaBIOS, a CD drive, an empty qcow2 disk on virtio (or as --machine says), user networking, a standard VGA."""
import argparse
import difflib
import lzma
import os
import re
import shutil
import struct
import subprocess
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
sys.path.insert(0, os.path.dirname(__file__))
import iso  # noqa: E402
import mirror  # noqa: E402
import rfb  # noqa: E402
import udebs  # noqa: E402
import vm  # noqa: E402

INSTALL_LIMIT = 3600  # s
# What the mirror is asked for when the installer has come so far.
MILESTONES = [("preseed", "/preseed[.]cfg"), ("components", "/partman-base_"), ("base", "/base-files_"), ("kernel", "/linux-image-6"),
              ("grub", "/grub-(pc|efi-amd64)_")]
FIRMWARE, VARIABLES = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
# Name: (arguments, the root file system's partition).
MACHINES = {
    "virtio": (["-usbdevice", "tablet", "-drive", "file=DISK,if=virtio,format=qcow2"], "/dev/vda1"),
    "ide": (["-drive", "file=DISK,if=ide,format=qcow2"], "/dev/sda1"),
    "sata": (["-M", "q35", "-drive", "file=DISK,if=ide,format=qcow2"], "/dev/sda1"),
    "uefi": (["-M", "q35", "-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE}", "-drive", "if=pflash,format=raw,file=DISK.vars",
              "-drive", "file=DISK,if=none,id=d0,format=qcow2", "-device", "nvme,drive=d0,serial=nvme1"], "/dev/nvme0n1p2"),
}
ASKED = ["lscpu", "lspci -nn", "lsusb", "lsmem", "hostnamectl"]
# (what a line that differs from QEMU's has, why it may)
EXPLAINED = [
    (r"^Boot ID:", "new at each boot"),
    (r"^(BIOS Vendor ID|Hardware Vendor):", "the maker's name"),
    (r"^Model name:", "the maker's name in the CPU model's"),
    (r"^BIOS Model name:", "SMBIOS type 4 names the CPU model; QEMU's names the machine"),
    (r"^Hardware Model:", "the machine's name, without a year"),
    (r"^Hypervisor vendor:|^Virtualization type:|^Virtualization: (kvm|qemu)|^Flag: tsc_known_freq", "KVM's clock is offered under every accelerator"),
    (r"^Flag: vme", "virtual-8086 extensions work; TCG has none"),
    (r"^Flag: x2apic", "the local APIC has the mode; TCG's in QEMU 7.2 has not"),
    (r"^Flag: svm|^Virtualization: AMD-V", "no guests inside guests of the translator"),
    (r"^L1d|^L1i|^L2", "one description of caches for all models, of an Intel server's sizes"),
    (r"^BogoMIPS:", "measured by each kernel"),
]


class Screen:
    """The guest's screen and keyboard over VNC; pictures, numbered."""

    def __init__(self, path, folder):
        self.rfb, self.folder, self.n = rfb.RFB(rfb.Plain(path)), folder, 0
        self.rfb.set_encodings(rfb.ZRLE, rfb.EXT_SIZE, rfb.DESKTOP_SIZE)

    def take(self, name):
        for _ in range(2):  # the first may tell of a new size
            self.rfb.drain(0)
            self.rfb.request()
            self.rfb.update()
        self.n += 1
        path = os.path.join(self.folder, f"{self.n:02d}-{name}.png")
        write_png(path, *self.rfb.size, self.rfb.rgb())
        print(f"  {path}", flush=True)

    def enter(self):
        self.rfb.tap(0xff0d)


def write_png(path, width, height, rgb):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + rgb[y * width * 3:(y + 1) * width * 3] for y in range(height))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def text(q):
    return q.cmd("x-query-screen")["human-readable-text"]


def wait_text(g, q, word, seconds):
    end = time.monotonic() + seconds * vm.SLOW
    while word not in text(q):
        if time.monotonic() > end:
            g.die(f"'{word}' is not on the screen:\n{text(q)}")
        time.sleep(0.3)


def machine(kind, work, disk, *more):
    """The tutorial's command line."""
    return ["-m", "1G", "-smp", "2", "-serial", "stdio", "-monitor", "none", "-qmp", f"unix:{work}/q,server=on,wait=off",
            "-nic", "user,model=virtio-net-pci", *[a.replace("DISK", disk) for a in MACHINES[kind][0]], *more]


def components():
    """(mirror, initramfs files for the CD, preseed lines): where the installer's own components come from."""
    if os.path.isdir(udebs.HOME):
        return mirror.Mirror({}, udebs.HOME), [f"{udebs.HOME}/keys.gz"], f"d-i mirror/udeb/suite string {udebs.SUITE}\n"
    server = mirror.Mirror({})
    index = server.fetch("debian", "/dists/bookworm/main/debian-installer/binary-amd64/Packages.xz")
    with lzma.open(index) as f:
        files = dict(re.findall(r"^Package: (\S+)\n(?:.+\n)*?Filename: (\S+)", f.read().decode(), re.M))
    wanted = [n for names in udebs.SOURCES.values() for n in names] + list(udebs.BINARIES)
    missing = [n for n in wanted if n not in files or not server.fetch("debian", "/" + files[n])]
    if missing:
        vm.skip(f"this machine's mirror has not all udebs ({', '.join(missing[:3])}: {len(missing)} of {len(wanted)}), and tests/install/udebs.py "
                "has not made them")
    return server, [], ""


def watch(g, q, server, screen):
    """Milestones and pictures until the machine is off."""
    left, start = list(MILESTONES), time.monotonic()
    shot = start
    while not any(e["event"] == "SHUTDOWN" for e in q.events):
        now = time.monotonic()
        if now > start + INSTALL_LIMIT * vm.SLOW:
            screen.take("late")
            g.die(f"not installed in time; last asked for: {server.asked[-3:]}")
        while left and any(re.search(left[0][1], path) for path in server.asked):
            print(f"{now - start:.0f} s: {left[0][0]}", flush=True)
            screen.take(left.pop(0)[0])
        if now > shot + 60:
            shot = now
            screen.take("minute")
        g._pump(1)
        try:
            q.cmd("query-status")
        except (EOFError, OSError):
            break
    if left:
        g.die(f"ended before: {left[0][0]}")


def install(kind, work, keep, disk):
    server, more, lines = components()
    at = f"10.0.2.2:{server.port}"
    with open(os.path.join(os.path.dirname(__file__), "preseed.cfg")) as f:
        server.pages["/preseed.cfg"] = f.read().replace("@MIRROR@", at) + lines
    cd = iso.installer(f"{work}/cd.iso", f"vga=788 auto=true priority=critical hostname=viv-guest domain=test url=http://{at}/preseed.cfg ---", more)
    start = time.monotonic()
    args = machine(kind, work, disk, "-vga", "std", "-vnc", f"unix:{work}/vnc", "-cdrom", cd, "-boot", "d", "-no-reboot")
    print(" ".join(args))
    with vm.Guest(args, "installer") as g:
        q = vm.QMP(f"{work}/q")
        screen = Screen(f"{work}/vnc", keep)
        if kind == "uefi":
            g.expect("Install", 120)  # the firmware's console is the serial port too
            time.sleep(2)
        else:
            wait_text(g, q, "Install", 60)
        screen.take("menu")
        screen.enter()
        watch(g, q, server, screen)
        if g.wait(60):
            g.die("exit status")
    print(f"ok: installed in {time.monotonic() - start:.0f} s, {len(server.asked)} files from the mirror")


def login(g, root):
    g.expect(" login: ", 600)
    g.send("root\n")
    g.expect("Password: ")
    g.send("vivarium\n")
    g.expect("root@.*:~# ", 120)
    ask(g, "export TERM=dumb; stty cols 2000 rows 50")
    for command, answer in (("systemctl is-system-running --wait", "running"), ("findmnt -no SOURCE /", root)):
        if (said := ask(g, command)) != [answer]:
            g.die(f"{command}: {said}")


def ask(g, command):
    """Lines that a command prints."""
    g.send(f"{command}; echo end-of-$?\n")
    said = g.expect("(?s)\\n(.*)end-of-([0-9]+)\\r?\\n.*root@.*:~# ", 300)
    if said[2] != b"0":
        g.die(f"{command}: exit status {said[2].decode()}")
    return re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]|\r", "", said[1].decode()).splitlines()


def one_by_one(lines):
    """lscpu's flags each on a line of its own, all lines without their columns."""
    for line in lines:
        words = line.split()
        if words[:1] == ["Flags:"]:
            yield from (f"Flag: {w}" for w in words[1:])
        else:
            yield " ".join(words)


def boot(kind, work, keep, disk, emulator=None):
    """{command: lines} of the installed system, which then powers off."""
    more = ["-vga", "none", "-device", "VGA,xres=1920,yres=1080", "-no-reboot"]
    more += ["-display", "none"] if emulator else ["-vnc", f"unix:{work}/vnc"]
    with vm.Guest(machine(kind, work, disk, *more, *(["-snapshot", "-accel", "tcg"] if emulator else [])), "installed", emulator) as g:
        start = time.monotonic()
        login(g, MACHINES[kind][1])
        name = emulator[0] if emulator else "viv-vm"
        print(f"{name}: logged in after {time.monotonic() - start:.0f} s")
        if not emulator:
            if ask(g, "cat /sys/class/graphics/fb0/virtual_size") != ["1920,1080"]:
                g.die("the console is not 1920x1080")
            Screen(f"{work}/vnc", keep).take("console-1920x1080")
        said = {c: ask(g, f"{c} || echo status $?") for c in ASKED}
        g.send("poweroff\n")
        if g.wait(300):
            g.die("exit status")
    return said


def compare(ours, theirs):
    """Prints what differs from QEMU; a difference that EXPLAINED does not name is an error."""
    odd = 0
    for command in ASKED:
        print(f"--- {command}")
        for line in difflib.ndiff(*(list(one_by_one(said[command])) for said in (theirs, ours))):
            if line[0] in "+-":
                why = next((w for rx, w in EXPLAINED if re.search(rx, line[2:])), None)
                odd += not why
                print(f"{line}    [{why or 'NOT EXPLAINED'}]")
            elif line[0] == " ":
                print(line)
    if odd:
        vm.fail(f"{odd} lines differ from QEMU's without an explanation")


def check(disk):
    p = subprocess.run([vm.tool("viv-img"), "check", disk], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        vm.fail(f"viv-img check: {p.stdout}")
    print("ok: the installed system boots and powers off, its disk is clean")


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--keep", help="pictures and disk go here")
    ap.add_argument("--machine", choices=sorted(MACHINES), default="virtio", help="where the disk is (default: virtio); sata is q35 with AHCI, uefi q35 with OVMF and NVMe")
    ap.add_argument("--only-boot", action="store_true", help="the disk kept by an earlier run")
    a = ap.parse_args()
    work = vm.scratch()
    keep = a.keep or work
    os.makedirs(keep, exist_ok=True)
    disk = f"{keep}/disk.qcow2"
    if not a.only_boot:
        subprocess.run([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", disk, "10G"], check=True)
        if a.machine == "uefi":
            if not os.path.exists(FIRMWARE):
                vm.skip("package ovmf is not installed")
            shutil.copy(VARIABLES, disk + ".vars")
        install(a.machine, work, keep, disk)
    ours = boot(a.machine, work, keep, disk)
    check(disk)
    if shutil.which("qemu-system-x86_64"):
        compare(ours, boot(a.machine, work, keep, disk, ["qemu-system-x86_64"]))


main()
