#!/usr/bin/env python3
"""-qtest: the same lines to viv-vm and to QEMU (a stopped one: Debian's has no -accel qtest), the same answers back, on pc and q35;
interrupts and time by steps; what is wrong is refused; what -accel qtest does not run does not run."""
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

failures = []
work = vm.scratch()


def check(what, ok, got=""):
    if not ok:
        failures.append(what)
        print(f"{what}: {str(got)[:500]}")


class Machine:
    def __init__(self, program, *args):
        path = work + "/s"
        if os.path.exists(path):
            os.unlink(path)
        s = socket.socket(socket.AF_UNIX)
        s.bind(path)
        s.listen(1)
        self.log = work + "/log"
        self.p = subprocess.Popen([*program, "-m", "32", "-display", "none", "-nodefaults", "-qtest", "unix:" + path,
                                   "-qtest-log", self.log, *args], stderr=subprocess.PIPE, text=True)
        s.settimeout(20 * vm.SLOW)
        self.conn = s.accept()[0]
        s.close()
        self.conn.settimeout(20 * vm.SLOW)
        self.file = self.conn.makefile("rw")
        self.irqs = []

    def ask(self, line):
        self.file.write(line + "\n")
        self.file.flush()
        while True:
            got = self.file.readline().rstrip("\n")
            if not got.startswith("IRQ "):
                return got
            self.irqs.append(got)

    def end(self):
        self.p.terminate()
        self.p.wait(20 * vm.SLOW)
        self.file.close()
        self.conn.close()
        return self.p.stderr.read()


# Chips by ports, PCI's configuration, memory by each size and in bulk.
SCRIPT = ["endianness", "irq_intercept_in ioapic", "outb 0x70 0x0f", "inb 0x70", "outb 0x71 0x5a", "inb 0x71", "outb 0x21 0xfb", "inb 0x21",
          "outl 0xcf8 0x80000000", "inl 0xcfc", "inw 0xcfe", "inb 0xcfc", "outl 0xcf8 0x80000008", "inl 0xcfc",
          "writeb 0x1000 0x11", "writew 0x1002 0x2233", "writel 0x1004 0x44556677", "writeq 0x1008 0x8899aabbccddeeff", "readb 0x1000",
          "readw 0x1002", "readl 0x1004", "readq 0x1008", "readl 0x1001", "writel 0x1011 0x01020304", "read 0x1000 0x20",
          "memset 0x2000 64 0x5a", "read 0x1ffe 6", "write 0x2004 0x3 0x010203", "read 0x2000 8", "b64write 0x3000 5 aGVsbG8=", "b64read 0x3000 5",
          "read 0x3000 5", "inb 0x2ff", "inl 0x2fc", "nosuch"]


def answers(program, *args):
    m = Machine(program, *args)
    got = []
    for line in SCRIPT:
        reply = m.ask(line)
        got.append((line, "FAIL" if reply.startswith("FAIL") else reply, m.irqs))
        m.irqs = []
    err = m.end()
    return got, err


def same():
    qemu = shutil.which("qemu-system-x86_64")
    for machine in ("pc", "q35"):
        for accel in (["qtest"], ["interp", "-S"]):
            ours, err = answers(vm.emulator(), "-M", machine, "-accel", *accel)
            check(f"{machine}: nothing on stderr", "terminating on signal" in err and err.count("\n") == 1, err)
            if not qemu:
                continue
            theirs, _ = answers([qemu], "-M", machine, "-accel", "tcg", "-S")
            for mine, other in zip(ours, theirs):
                check(f"{machine}: {mine[0]}", mine == other, f"{mine[1:]}, QEMU {other[1:]}")
    return bool(qemu)


def sata_name(m, slot, port, command):
    """What the unit says of itself to IDENTIFY, through the controller at this place of the PCI bus."""
    at, command_list, received, table, data = 0xfe100000, 0x100000, 0x101000, 0x102000, 0x103000
    regs = at + 0x100 + 0x80 * port
    for reg, value in ((0x24, at), (4, 6)):
        m.ask(f"outl 0xcf8 {0x80000000 | slot << 8 | reg:#x}"), m.ask(f"outl 0xcfc {value:#x}")
    m.ask(f"writel {at + 4:#x} 0x80000000")
    for reg, value in ((0, command_list), (4, 0), (8, received), (12, 0), (0x18, 0x10), (0x30, 0xffffffff), (0x18, 0x11)):
        m.ask(f"writel {regs + reg:#x} {value:#x}")
    for where, what in ((command_list, struct.pack("<IIQ", 5 | 1 << 16, 0, table)), (table, bytes([0x27, 0x80, command, 0, 0, 0, 0, 0xa0])),
                        (table + 128, struct.pack("<QII", data, 0, 511)), (data, bytes(512))):
        m.ask(f"write {where:#x} {len(what)} 0x{what.hex()}")
    m.ask(f"writel {regs + 0x38:#x} 1")
    end = time.time() + 20 * vm.SLOW
    while m.ask(f"readl {regs + 0x38:#x}") != "OK 0x0000000000000000" and time.time() < end:
        time.sleep(0.01)
    words = bytes.fromhex(m.ask(f"read {data:#x} 512")[5:])
    text = b"".join(words[i:i + 2][::-1] for i in range(0, 94, 2)).decode("latin1")
    m.ask(f"writel {regs + 0x18:#x} 0"), m.ask("outl 0xcfc 0")
    return [text[20:40].strip(), text[46:54].strip(), text[54:94].strip()]


def names():
    """Serial numbers go on from one controller to the next: by them guests know their disks."""
    disk = f"if=none,format=raw,file={work}/d"
    with open(work + "/d", "wb") as f:
        f.truncate(1 << 20)
    for machine, first in (("pc", 5), ("q35", 13)):
        args = ["-M", machine, "-device", "ahci,id=s,addr=5", "-device", "ahci,id=t,addr=6", "-snapshot", "-drive", disk + ",id=a", "-drive", disk + ",id=b",
                "-device", "ide-hd,drive=a,bus=s.0", "-device", "ide-hd,drive=b,bus=t.1", "-device", "ide-cd,bus=s.3"]
        want = [["QM%05d" % (first + n), "2.5+", model] for n, model in ((0, "QEMU HARDDISK"), (14, "QEMU HARDDISK"), (6, "QEMU DVD-ROM"))]
        for program, accel in ((vm.emulator(), ["qtest"]), ([shutil.which("qemu-system-x86_64")], ["tcg", "-S"])):
            if not program[0]:
                continue
            m = Machine(program, *args, "-accel", *accel)
            got = [sata_name(m, *where) for where in ((5 << 3, 0, 0xec), (6 << 3, 1, 0xec), (5 << 3, 3, 0xa1))]
            check(f"{program[0]} {machine}: names", got == want, got)
            m.end()


# The interval timer: mode 2 with a period of 4096 ticks of 1.193182 MHz, 3.4328 ms, its output low for the last of them; then mode 0
# with 1 tick. The clock of the motherboard: its interrupt at the end of a second, acknowledged by reading register C.
TIMES = [("irq_intercept_in ioapic", "OK", []),
         ("outb 0x43 0x34", "OK", None), ("outb 0x40 0x00", "OK", None), ("outb 0x40 0x10", "OK", None),
         ("clock_step 3000000", "OK 3000000", None), ("clock_step 500000", "OK 3500000", ["IRQ lower 2", "IRQ raise 2"]),
         ("clock_step 3000000", "OK 6500000", []), ("clock_step 500000", "OK 7000000", ["IRQ lower 2", "IRQ raise 2"]),
         ("outb 0x43 0x30", "OK", ["IRQ lower 2"]), ("outb 0x40 0x01", "OK", []), ("outb 0x40 0x00", "OK", []),
         ("clock_set 8000000", "OK 8000000", ["IRQ raise 2"]), ("clock_step 1000000000", "OK 1008000000", []),
         ("outb 0x70 0x0c", "OK", []), ("inb 0x71", None, []), ("outb 0x70 0x0b", "OK", []), ("outb 0x71 0x12", "OK", []),
         ("clock_step 1000000000", "OK 2008000000", ["IRQ raise 8"]), ("outb 0x70 0x0c", "OK", []),
         ("inb 0x71", "OK 0x00d0", ["IRQ lower 8"]), ("inb 0x71", "OK 0x0000", []),
         ("clock_step", None, ["IRQ raise 8"])]


def times():
    for machine in ("pc", "q35"):
        m = Machine(vm.emulator(), "-M", machine, "-accel", "qtest", "-rtc", "clock=vm")
        for line, reply, irqs in TIMES:
            got = m.ask(line)
            check(f"{machine}: {line}", (got.startswith("OK") if reply is None else got == reply) and irqs in (None, m.irqs), f"{got} {m.irqs}")
            m.irqs = []
        m.end()


def refusals():
    m = Machine(vm.emulator(), "-M", "pc", "-accel", "qtest")
    for line, why in (("inb 0x10000", "ports end"), ("inb", "takes 1 words"), ("inb 1 2", "takes 1 words"), ("inb one", "no number"), ("readb -1", "no number"),
                      ("readb 0x10000000000000000", "no number"), ("read 0 0x10000000", "at most"), ("read 0xffffffffffffffff 2", "at most"),
                      ("write 0 1 0x0102", "two digits"), ("write 0 1 0x1", "two digits"), ("write 0 1 0xzz", "hexadecimal"), ("b64write 0 9 aGVsbG8=", "5 bytes"),
                      ("clock_step 0x7fffffffffffffff", "time goes forward"), ("irq_intercept_in pic", "ioapic"), ("frob 1", "Unknown command 'frob'")):
        got = m.ask(line)
        check(line, got.startswith("FAIL") and why in got, got)
    check("time back", m.ask("clock_step 10") == "OK 10" and m.ask("clock_set 9").startswith("FAIL") and m.ask("clock_set 11") == "OK 11")
    m.file.write("readb " + "0" * (33 << 20) + "\n")
    check("a line without end", "longer than" in m.ask("endianness"), "")
    m.file.readline()
    m.end()
    log = open(m.log).read()
    check("log", re.search(r"^\[I \+[\d.]+\] OPENED\n\[R \+[\d.]+\] inb 0x10000\n\[S \+[\d.]+\] FAIL ", log), log[:300])
    running = Machine(vm.emulator(), "-M", "pc", "-accel", "interp", "-S")
    got = running.ask("clock_step 1")
    check("a clock that goes by itself", got.startswith("FAIL") and "-accel qtest" in got, got)
    running.end()


def stands_still():
    """No CPU runs, so nothing is printed, and time goes by steps alone; the monitor works, the machine is reset and ends."""
    m = Machine(vm.emulator(), "-M", "pc", "-accel", "qtest", "-debugcon", "file:" + work + "/debug", "-qmp", "unix:" + work + "/qmp,server=on,wait=off")
    q = vm.QMP(work + "/qmp")
    check("status", q.cmd("query-status")["status"] == "running")
    m.ask("outb 0x43 0x34"), m.ask("outb 0x40 0"), m.ask("outb 0x40 0")
    counts = []
    for _ in range(2):
        m.ask("outb 0x43 0")
        counts.append((m.ask("inb 0x40"), m.ask("inb 0x40")))
        time.sleep(0.05)
    check("time stands", counts[0] == counts[1], counts)
    q.cmd("system_reset")
    check("after a reset", m.ask("readb 0xffff0").startswith("OK"))
    q.cmd("quit")
    m.p.wait(20 * vm.SLOW)
    check("firmware has not run", os.path.getsize(work + "/debug") == 0)
    check("exit", m.p.returncode == 0, m.p.returncode)


compared = same()
names()
times()
refusals()
stands_still()
for f in failures:
    print("FAILED: " + f)
if not failures:
    print("qtest: %d lines on pc and q35%s" % (len(SCRIPT), "" if compared else "; not compared: no qemu-system-x86_64"))
sys.exit(bool(failures))
