#!/usr/bin/env python3
"""Words of command lines written for QEMU that are taken although there is less behind them here: the machine starts, says in
at most one line what is different, and is what the words asked for. (Refusals: errors.sh.)"""
import os
import re
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import multiboot  # noqa: E402
import vm  # noqa: E402

BASE = ["-S", "-m", "16", "-display", "none", "-monitor", "stdio", "-serial", "null"]
ACCEL = ["-accel", "interp"]
failures = []
work = vm.scratch()

# (arguments, what the one line on stderr says; None: there is none, {monitor command: a pattern in its answer})
CASES = [
    # Cards of -net: with a back end of their own, with the next of the old ones, with none.
    (["-netdev", "user,id=n0", "-net", "nic,netdev=n0,model=e1000"], None, {"info network": r"(?s)n0.*e1000|e1000.*n0"}),
    (["-net", "nic,model=e1000"], "the network card has no cable", {"info pci": "(?i)ethernet"}),
    (["-net", "nic,model=e1000", "-net", "nic,model=rtl8139", "-net", "user"], "the network card has no cable",
     {"info network": "nic0", "info pci": "(?is)ethernet.*ethernet"}),
    (["-net", "user"], "has no card", {"info network": "nic0"}),
    (["-net", "nic,model=e1000", "-net", "user,net=10.9.0.0/24"], None, {"info network": "e1000"}),
    # Room for what cannot be added.
    (["-m", "32M,slots=2,maxmem=64M"], "memory cannot be added", {"info memory_size_summary": "base memory: 33554432"}),
    (["-smp", "2,maxcpus=4"], "CPUs cannot be added to a running machine yet: there are 2", {"info cpus": r"CPU #1"}),
    (["-m", "32M,slots=0,maxmem=32M", "-smp", "2,maxcpus=2"], None, {}),
    # Flash that only SMM would protect.
    (["-M", "q35,smm=off", "-global", "driver=cfi.pflash01,property=secure,value=on", "-drive", "if=pflash,format=raw,file=WORK/rom"],
     "secure=on has no effect without system management mode", {}),
    # What is so anyway.
    (["-drive", "if=none,id=d,format=raw,file=WORK/rom", "-device", "virtio-blk-pci,drive=d,scsi=off"], None, {}),
    # Settings that a launcher writes into each command line, for a device that this machine has not: it may be plugged in later.
    (["-global", "virtio-blk-pci.scsi=off"], None, {}),
    (["-global", "usb-kbd.usb_version=1", "-device", "qemu-xhci"], None,
     {"device_add usb-kbd,id=k": r"device_add usb-kbd,id=k\s*\(viv\)", "info qtree": r'(?s)usb-kbd, id "k".{,200}usb_version = 1'}),
    (["-M", "q35", "-global", "PIIX4_PM.disable_s3=1"], "PIIX4_PM.disable_s3=1 has no effect: this machine has no such device", {}),
    # What libvirt writes for <acpi-hotplug-bridge state='off'/>, and its like for the root bus.
    (["-M", "q35", "-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"], None, {}),
    (["-global", "PIIX4_PM.acpi-pci-hotplug-with-bridge-support=off", "-device", "pci-bridge,id=b,chassis_nr=1"], None,
     {"device_add virtio-rng-pci,id=r,bus=b": "Bus 'b' does not support hotplugging", "device_add virtio-rng-pci,id=r": r"id=r\s*\(viv\)"}),
    (["-global", "PIIX4_PM.acpi-root-pci-hotplug=off", "-device", "pci-bridge,id=b,chassis_nr=1"], None,
     {"device_add virtio-rng-pci,id=r": "Bus 'pci.0' does not support hotplugging; guests are told by ACPI.*PIIX4_PM", "device_add virtio-rng-pci,id=r,bus=b": r"bus=b\s*\(viv\)"}),
    # The card that nobody chose is one that every system has a driver for.
    ([], None, {"info network": "e1000"}),
    (["-M", "q35", "-nic", "user"], None, {"info network": "e1000"}),
    (["-net", "nic", "-net", "user"], None, {"info network": "e1000"}),
    # -nic without a type is -nic user.
    (["-nic", "hostfwd=tcp:127.0.0.1:0-:22"], None, {"info network": "nic0.*user", "info usernet": "TCP.*HOST_FORWARD"}),
    (["-nic", "model=virtio-net-pci"], None, {"info network": "(?s)virtio-net-pci.*nic0.*user"}),
    (["-nic", "mac=52:54:00:12:34:57"], None, {"info network": "(?s)macaddr=52:54:00:12:34:57.*nic0.*user"}),
    (["-nic", "user,model=virtio"], None, {"info network": "virtio-net-pci"}),
    (["-M", "microvm", "-kernel", "WORK/k", "-nic", "user"], None, {"info network": "virtio-net-device"}),
    # Accelerators of other systems in a list are passed over, and what is KVM's affair has no effect elsewhere.
    (["-accel", "hvf", "-accel", "interp"], "hvf: no such accelerator; using interp", {"info status": "prelaunch"}),
    (["-machine", "pc,accel=whpx:hvf:interp"], "whpx: no such accelerator; hvf: no such accelerator; using interp", {}),
    (["-machine", "pc,accel=interp:hvf"], None, {}),
    (["-machine", "q35,accel=interp,kernel_irqchip=on"], "kernel_irqchip=on has no effect", {}),
    (["-machine", "q35,accel=interp,kernel-irqchip=split"], "kernel-irqchip=split has no effect", {}),
    (["-machine", "q35,accel=interp,kernel_irqchip=off"], None, {}),
    # Where a terminal line would stand: character devices that are none, and the own output.
    (["-parallel", "/dev/null", "-chardev", "tty,id=t,path=/dev/null", "-device", "isa-serial,chardev=t,index=1"], None, {"info chardev": "t: filename=serial"}),
    (["-debugcon", "/dev/stdout"], None, {"o /1 0xe9 0x5a": r"(?m)^Z|[^x]Z"}),
    # Parts of a machine that launchers leave away, and words about what there is none of.
    (["-M", "q35,i8042=off,smbus=off,sata=off,vmport=off,graphics=on,suppress-vmdesc=on", "-device", "qemu-xhci", "-device", "usb-kbd"], None,
     {"i /1 0x64": "0x0064. = 0xff", "sendkey a": r"sendkey a\s*\(viv\)", "info block": r"(?s)\A((?!cd0).)*\Z",
      "info qtree": r"(?s)\A((?!ICH9-SMB|ich9-ahci|i8042).)*\Z"}),
    (["-M", "pc,i8042=off,graphics=off"], None, {"i /1 0x64": "0x0064. = 0xff"}),
    (["-M", "pc,i8042=on,graphics=on,suppress-vmdesc=off"], None, {"i /1 0x64": "0x0064. = 0x.*1[4c]"}),
    (["-M", "microvm,x-option-roms=off,isa-serial=off,pit=off,pic=off,rtc=off,auto-kernel-cmdline=off,graphics=off", "-kernel", "WORK/k"],
     None, {"i /1 0x3fa": "0x03fa. = 0xffff"}),
    (["-M", "microvm,isa-serial=on", "-kernel", "WORK/k"], None, {"i /1 0x3fa": "= 0x.*01"}),
    # Shortcuts for Windows, in every command line for it.
    (["-cpu", "qemu64,hv_relaxed,+hv-vapic,hv_spinlocks=0x1fff,hv_time=off,-hv_synic"], r"left out: hv-relaxed hv-vapic hv-spinlocks \(", {}),
    (["-cpu", "qemu64,hv_relaxed,check=off"], None, {}),
    # CDs where there are only disks; and who names a SCSI disk needs no CD drive.
    (["-drive", "if=virtio,media=cdrom,format=raw,file=WORK/rom"], None, {"info block": r"virtio0 .*read-only", "info qtree": "virtio-blk"}),
    (["-drive", "if=none,id=d,format=raw,file=WORK/rom", "-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=d"], None, {"info block": r"(?s)\A((?!-cd).)*\Z"}),
    # Old forms of options.
    (["-startdate", "2006-06-17T16:01:21"], None, {"o /1b 0x70 9": "", "i /1b 0x71": "0x0071. = 0x06"}),
    (["-localtime", "-show-cursor", "-balloon", "none"], None, {"info qtree": r"(?s)\A((?!balloon).)*\Z"}),
    (["-balloon", "virtio,id=old"], None, {"info qtree": '(?s)virtio-balloon-pci, id "old"'}),
    # What can be said to the monitor, asked there.
    ([], None, {"device_add help": '(?m)^name "virtio-rng-pci", bus PCI', "device_add nvme,help": "(?m)^nvme options:", "device_add nosuch,help": "'nosuch' is not a valid",
                "object_add help": "(?m)^rng-random ", "object_add iothread,help": "(?m)^iothread options:", "netdev_add ?": "(?m)^  tap ",
                "netdev_add user,help": "(?m)^-netdev user options:", "chardev-add help": "(?m)^Available chardev", "chardev-add file,help": "(?m)^-chardev file options:",
                "log help": "(?m)^Log categories"}),
    # What the machine's parts would not use.
    (["-iscsi", "initiator-name=iqn.1993-08.org.debian:01:aabbccddeeff"], "-iscsi has no effect", {}),
    (["-vga", "none", "-device", "cirrus-vga,vgamem_mb=16"], "vgamem_mb=16 has no effect above 4", {"info qtree": "vgamem_mb = 16"}),
    (["-accel", "xlate,tb-size=2048"], "tb-size=2048 has no effect above 1024", {}),
    (["-M", "microvm", "-global", "virtio-mmio.force-legacy=false", "-kernel", "WORK/k"], None, {}),
    # Versions of machines, and distributions' names for them.
    (["-M", "pc+pve0"], "machine 'pc' here", {"info pci": "8086:1237"}),
    (["-M", "q35+pve1"], "machine 'q35' here", {"info pci": "8086:29c0"}),
    (["-M", "pc-i440fx-9.2"], "machine 'pc' here, which has one version", {"info pci": "8086:1237"}),
    (["-M", "pc-q35-10.0+pve0"], "machine 'q35' here", {"info pci": "8086:29c0"}),
    (["-M", "pc-i440fx-jammy"], "machine 'pc' here", {}),
    (["-M", "ubuntu-q35"], "machine 'q35' here", {}),
    (["-M", "pc-q35-7.2"], None, {}),
    # The empty machine, by which programs ask what there is.
    (["-M", "none", "-nodefaults"], None, {"info cpus": r"info cpus\s*\(viv\)", "info mtree": "ffffff .*ram.: ram", "info registers": "No CPU", "x 0": "No CPU",
                                           "info status": "paused|prelaunch", "gdbserver": "No CPU", "info pic": r"info pic\s*\(viv\)"}),
    (["-M", "none", "-m", "64", "-drive", "if=none,id=d,format=raw,file=WORK/rom"], None, {"info mtree": "0000000003ffffff .*ram", "info block": "d "}),
    # What managers write into every command line.
    (["-msg", "timestamp=on"], None, {}),
    (["-name", "guest=dolly", "-msg", "timestamp=on,guest-name=on", "-machine", "q35,accel=interp,kernel_irqchip=on"],
     r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z dolly viv-vm: warning: ", {}),
    (["-overcommit", "mem-lock=off,cpu-pm=off"], None, {}),
    (["-overcommit", "cpu-pm=on"], "cpu-pm=on has no effect", {}),
    (["-rtc", "base=utc,driftfix=slew"], None, {}),
    (["-global", "kvm-pit.lost_tick_policy=discard"], None, {}),
    (["-global", "kvm-pit.lost_tick_policy=delay"], "lost_tick_policy=delay has no effect", {}),
    (["-global", "mc146818rtc.lost_tick_policy=slew"], None, {}),
    (["-audiodev", "none,id=a", "-vnc", "unix:WORK/v,audiodev=a"], None, {}),
    (["-audiodev", '{"id":"a","driver":"none"}'], None, {}),
    (["-vnc", "unix:WORK/v,power-control=off,sasl=off"], None, {}),
]


def start(args, commands=""):
    extra = [] if any(a.startswith("accel=") or ",accel=" in a or a == "-accel" for a in args) else ACCEL
    args = [a.replace("WORK", work) for a in args]
    return subprocess.run(vm.emulator() + BASE + extra + args, input=commands + "quit\n", capture_output=True, text=True, timeout=60 * vm.SLOW)


def one(args, line, answers):
    r = start(args, "".join(c + "\n" for c in answers))
    said = r.stderr.splitlines()
    if r.returncode or (line is None and said) or (line is not None and (len(said) != 1 or not re.search(line, said[0]))):
        failures.append(f"{args}: status {r.returncode}, wanted {line!r} on stderr, got {said}")
    for command, want in answers.items():
        if not re.search(want, r.stdout):
            failures.append(f"{args}: {command}: no '{want}' in\n{r.stdout}")


def config():
    """-readconfig: as QEMU's documentation shows it for USB, and with a comma and the machine's own sections."""
    with open(f"{work}/a,b", "wb") as f:
        f.write(bytes(1 << 20))
    with open(f"{work}/vm.cfg", "w") as f:
        f.write('# USB 2.0\n[device "ehci"]\n  driver = "ich9-usb-ehci1"\n  addr = "1d.7"\n  multifunction = "on"\n\n'
                '[device "uhci-1"]\n  driver = "ich9-usb-uhci1"\n  addr = "1d.0"\n  multifunction = "on"\n  masterbus = "ehci.0"\n  firstport = "0"\n'
                f'[drive "comma"]\nfile = "{work}/a,b"\nformat="raw"\n  if = "none"\n[machine]\n\ttype = "q35"\n[memory]\n size = "48"\n'
                '[smp-opts]\n cpus = "2"\n[global]\n driver = "VGA"\n property = "vgamem_mb"\n value = "8"\n[chardev "c"]\n backend = "null"')
    one(["-readconfig", f"{work}/vm.cfg", "-smp", "sockets=2"], None,
        {"info block": "comma .*a,b", "info qtree": '(?s)ich9-usb-uhci1, id "uhci-1".*ich9-usb-ehci1, id "ehci"|ich9-usb-ehci1, id "ehci".*uhci-1', "info cpus": "CPU #1",
         "info memory_size_summary": "base memory: 50331648", "info pci": "8086:29c0", "info chardev": "c: filename=null"})


def listed():
    for args in (["-net", "nic,model=help"], ["-net", "nic,model=?"], ["-nic", "user,model=help"], ["-nic", "model=help"]):
        r = subprocess.run(vm.emulator() + args, capture_output=True, text=True, timeout=20 * vm.SLOW)
        if r.returncode or r.stderr or not {"virtio", "e1000", "rtl8139"} <= set(r.stdout.split("\n")):
            failures.append(f"{args}: {r}")


def accelerators():
    """-accel help: lines that are a name and nothing else, as scripts look for them."""
    r = subprocess.run(vm.emulator() + ["-accel", "help"], capture_output=True, text=True, timeout=20 * vm.SLOW)
    if r.returncode or r.stderr or not {"kvm", "tcg", "xlate", "interp"} <= set(r.stdout.split("\n")) or "software CPU" not in r.stdout:
        failures.append(f"-accel help: {r}")


def locked():
    """-overcommit mem-lock=on: all of the process is in memory."""
    p = subprocess.Popen(vm.emulator() + BASE + ACCEL + ["-overcommit", "mem-lock=on"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    said = ""
    while "(viv)" not in said:
        said += p.stdout.read(1) or "(viv) never came"
    status = open(f"/proc/{p.pid}/status").read()
    err = p.communicate("quit\n", timeout=60 * vm.SLOW)[1]
    if p.returncode and "cannot lock memory" in err and os.geteuid():
        return
    if p.returncode or int(re.search(r"VmLck:\s*(\d+)", status)[1]) < 16384:
        failures.append(f"mem-lock=on: {p.returncode} {err} {status}")


def splash():
    """-boot splash=: SeaBIOS shows it."""
    w, h = 640, 480
    with open(f"{work}/s.bmp", "wb") as f:
        f.write(b"BM" + struct.pack("<IHHI", 54 + 3 * w * h, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, w, h, 1, 24, 0, 3 * w * h, 2835, 2835, 0, 0) +
                b"\0\0\xff" * w * h)
    p = subprocess.Popen(vm.emulator() + ["-m", "64", "-display", "none", "-serial", "null", "-nic", "none", "-qmp", f"unix:{work}/q,server=on,wait=off",
                                          "-boot", f"menu=on,splash={work}/s.bmp,splash-time=60000"], stderr=subprocess.DEVNULL)
    q, picture = vm.QMP(f"{work}/q"), b""
    for _ in range(int(120 * vm.SLOW)):
        q.cmd("screendump", filename=f"{work}/p")
        picture = open(f"{work}/p", "rb").read()
        if picture.count(b"\xff\0\0") == w * h:  # it is drawn line by line
            break
        time.sleep(0.5)
    q.cmd("quit")
    if p.wait(30) or picture.count(b"\xff\0\0") != w * h:
        failures.append(f"-boot splash: {picture[:16]}")


def no_screen():
    """-machine graphics=off: the firmware's text goes to the serial port."""
    p = subprocess.Popen(vm.emulator() + ["-m", "64", "-M", "pc,i8042=off,graphics=off", "-display", "none", "-nic", "none", "-serial", f"file:{work}/serial"],
                         stderr=subprocess.DEVNULL)
    said = b""
    for _ in range(int(120 * vm.SLOW)):
        said = open(f"{work}/serial", "rb").read() if os.path.exists(f"{work}/serial") else b""
        if b"No bootable device" in said or p.poll() is not None:
            break
        time.sleep(0.5)
    p.terminate()
    p.wait(30)
    if b"No bootable device" not in said:
        failures.append(f"graphics=off: {said[:200]}")


def main():
    multiboot.kernel(work, b"\xf4", "k")
    with open(f"{work}/rom", "wb") as f:
        f.write(bytes(65536))
    for case in CASES:
        one(*case)
    config()
    listed()
    accelerators()
    locked()
    if os.path.exists("/usr/share/seabios/bios-256k.bin"):
        splash()
        no_screen()
    for f in failures:
        print(f)
    if failures:
        vm.fail(f"{len(failures)} not taken as they should be")
    print(f"{len(CASES)} command lines: ok")


main()
