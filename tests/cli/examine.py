#!/usr/bin/env python3
"""x, xp, print, i, memsave, info registers: what they say of a machine, mostly one that stands at its reset vector, beside what QEMU says of the same."""
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import multiboot  # noqa: E402
import vm  # noqa: E402

SAME = ["xp/4xw 0xffff0", "xp/10xb 0xffff0", "xp/3dw 0xffff0", "xp/5ub 0xffff0", "xp/2xg 0xffff0", "xp/3xh 0xffff1", "xp/4oh 0xffff0", "xp/2dg 0xffff0",
        "xp/2ow 0xffff0", "xp/3db 0xffff5", "x/4xw 0xfffffff0", "xp /2xw 0xffff0 + 4 * 2", "print/x 1+2*3", "print/x $cs", "print/d 0xffffffff",
        "p/d -5", "p/x ~0xf", "p/c 65", "p/u 7 % 4", "p/o 8", "p/x (1 + 2) * 4", "p/x 0xff & 0x3c", "p/x 1 | 6 ^ 3", "p/x $pc",
        "p $eax", "p $esp", "p $eip", "p $eflags", "p $cs.base", "p $ds.limit", "x/2xw $eip", "gva2gpa 0xfffffff0", "gva2gpa $eip + 0x10"]
REFUSED = [("xp/q 0", "format 'q'"), ("print foo", "'foo' is no number"), ("print (1", "parenthesis"), ("print 5/0", "division by zero"),
           ("x/100000x 0", "1 to 65536"), ("x", "'addr' is missing"), ("cpu 7", "there is no CPU 7"), ("print $xyz", "no register 'xyz'"),
           ("i 0x10000", "ports are 0 to 0xffff"), ("gpa2hva 0xfec00000", "Memory at address 0xfec00000 is not RAM"),
           ("gpa2hva 0x80000000000", "No memory is mapped at address 0x80000000000"), ("gpa2hva 0x1000", "Host virtual address for 0x1000 (ram"),
           ("log foo", "no such log category"), ("log out_asm", "chosen at the start"), ("boot_set xy", "'x' is no kind of device"),
           ("print " + "(" * 200, "in each other"), ("p 0x10000000000000000", "more than 64 bits")]

# 32-bit code that sets EAX, EDI, EBP and DF; code that goes to 64-bit mode and sets RAX, R9, XMM3, XMM13, ST(0) and TR. Both halt.
CODE = {"32-bit": bytes.fromhex("bf00300000bd00200000b811223344fdf4ebfd"),
        "64-bit": bytes.fromhex("c7050000200003102000c7050010200003202000c7050020200083000000c70508300000ffff0000c7050c300000009aaf00c70510300000ffff0000"
                     "c705143000000092cf00c7051830000067000040c7051c30000000890000c7052030000000000000c7052430000000000000b8000020000f22d8b820"
                     "0200000f22e0b9800000c00f320d000100000f30b8110000800f22c00f0115c2001000eac80010000800270000300000b8100000008ed08ed831c08e"
                     "c0b8180000000f00d848b8887766554433221166480f6ed8664c0f6ee8dbe3d9eb4989c1f9f4ebfd")}
SET = {"32-bit": ["EAX=44332211 ", "EBP=00002000 ", " [D------] ", "DPL=0 CS32 [-R"],
       "64-bit": ["RAX=1122334455667788 ", "R9 =1122334455667788 ", "XMM13=0000000000000000 1122334455667788\n", "FPR7=c90fdaa22168c235 4000\n", "[ST=7]",
                  "DPL=0 CS64 [-R", "TR =0018 0000000000004000 "]}


def ask(emulator, lines):
    """The answer to each line."""
    work = vm.scratch()
    p = subprocess.Popen(emulator + ["-S", "-M", "pc", "-m", "16", "-nodefaults", "-display", "none", "-qmp", f"unix:{work}/q,server=on,wait=off"])
    try:
        q = vm.QMP(f"{work}/q")
        return [q.cmd("human-monitor-command", **{"command-line": line}).replace("\r", "") for line in lines]
    finally:
        p.kill()
        p.wait()


def check_boot_set():
    """The letters are where SeaBIOS looks for them, after a reset; and -d's names come and go."""
    answers = ask(vm.emulator(), ["boot_set nd", "system_reset", "o/b 0x70 0x3d", "i/b 0x71", "log int,pci", "log none"])
    if answers[0] != "boot device list now set to nd\n" or "= 0x34" not in answers[3] or answers[4:] != ["", ""]:
        vm.fail(f"boot_set, log: {answers}")


def grows(path, looks=100):
    """Is somebody writing to it?"""
    before = os.path.getsize(path)
    for _ in range(int(looks * vm.SLOW)):
        time.sleep(0.01)
        if os.path.getsize(path) > before:
            return True
    return False


def check_logfile():
    """What a guest that resets for ever has logged goes where it was told last; with -D, without, and to a place that is not there."""
    for words in ["-d", "cpu_reset", "-D", "first"], []:
        work = vm.scratch()
        p = subprocess.Popen(vm.emulator() + ["-M", "pc", "-m", "16", "-nodefaults", "-display", "none", "-kernel", multiboot.kernel(work, b"\x0f\x0b"),
                                              "-qmp", f"unix:{work}/q,server=on,wait=off"] + words, stderr=subprocess.DEVNULL, cwd=work)
        try:
            q = vm.QMP(f"{work}/q")
            said = [q.cmd("human-monitor-command", **{"command-line": line}) for line in
                    ("log cpu_reset", f"logfile {work}/second", f"logfile {work}/third", f"logfile {work}/no/fourth")]
            if said[:3] != [""] * 3 or "No such file or directory" not in said[3]:
                vm.fail(f"logfile: {said}")
            if not grows(f"{work}/third") or (words and grows(f"{work}/first", 10)) or grows(f"{work}/second", 10):
                vm.fail("the log goes somewhere else")
        finally:
            p.kill()
            p.wait()


def check_history(emulator):
    """The lines of the monitor that asks, and of no other."""
    p = subprocess.run(emulator + ["-M", "none", "-display", "none", "-monitor", "stdio"], input="info status\ninfo name\ninfo name\ninfo history\nquit\n",
                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    seen = re.findall(r"^\d+: '.*'$", p.stdout.replace("\r", ""), re.M)
    if seen != ["0: 'info status'", "1: 'info name'", "2: 'info history'"]:
        vm.fail(f"info history: {seen} in {p.stdout}")
    if ask(emulator, ["info history"]) != [""]:
        vm.fail("a program has no history")


def check_irqs(emulator):
    """The timer that firmware has set up is counted, at both controllers."""
    work = vm.scratch()
    p = subprocess.Popen(emulator + ["-M", "pc", "-m", "16", "-nodefaults", "-display", "none", "-qmp", f"unix:{work}/q,server=on,wait=off"])
    try:
        q = vm.QMP(f"{work}/q")
        counts = []
        for _ in range(int(200 * vm.SLOW)):
            text = q.cmd("human-monitor-command", **{"command-line": "info irq"}).replace("\r", "")
            pic = re.search(r"IRQ statistics for isa-i8259:\n((?: ?\d+: \d+\n)*)", text)
            ticks = re.search(r"^ 0: (\d+)$", pic[1] if pic else "", re.M)
            counts.append(int(ticks[1]) if ticks else 0)
            if counts[-1] > 20 and "IRQ statistics for ioapic:\n" in text:
                break
            time.sleep(0.02)
        if counts[-1] <= 20 or counts != sorted(counts):
            vm.fail(f"info irq: {counts} {text}")
    finally:
        p.kill()
        p.wait()


def registers(emulator, code):
    """What `info registers` says when the code has halted."""
    work = vm.scratch()
    p = subprocess.Popen(emulator + ["-M", "pc", "-m", "16", "-nodefaults", "-display", "none", "-kernel", multiboot.kernel(work, code),
                                     "-qmp", f"unix:{work}/q,server=on,wait=off"])
    try:
        q = vm.QMP(f"{work}/q")
        for _ in range(500):
            text = q.cmd("human-monitor-command", **{"command-line": "info registers"}).replace("\r", "")
            if "HLT=1" in text and re.search(r"IP=[0-9a-f]*001000", text):
                return text
            time.sleep(0.02)
        vm.fail(f"the code has not halted: {text}")
    finally:
        p.kill()
        p.wait()


def layout(text):
    """Without the values: firmware leaves other ones, and QEMU does not write into descriptors what a CPU writes."""
    text = re.sub(r"\b[0-9a-f]{2,16}\b", lambda m: "x" * len(m[0]), text)
    return re.sub(r"\[[-A-Z]+\]", "[]", text).replace("-avl", "-busy")


def check_registers(peer):
    for mode, code in CODE.items():
        mine = registers(vm.emulator(), code)
        for want in SET[mode]:
            if want not in mine:
                vm.fail(f"info registers in {mode} mode does not say '{want}': {mine}")
        if peer and layout(mine) != layout(registers([peer], code)):
            vm.fail(f"info registers in {mode} mode is not laid out as QEMU's:\n{mine}")


def check_cpus():
    """-a, a number, cpu-index and `cpu` choose whose registers."""
    work = vm.scratch()
    p = subprocess.Popen(vm.emulator() + ["-S", "-m", "16", "-smp", "3", "-nodefaults", "-display", "none", "-qmp", f"unix:{work}/q,server=on,wait=off"])
    try:
        q = vm.QMP(f"{work}/q")
        for line, more, want in (("info registers", {}, "0"), ("info registers -a", {}, "012"), ("info registers 2", {}, "2"),
                                 ("info registers", {"cpu-index": 1}, "1"), ("cpu 2", {}, ""), ("info registers", {}, "2"), ("info registers 3", {}, "")):
            text = q.cmd("human-monitor-command", **{"command-line": line}, **more)
            if "".join(re.findall(r"CPU#(\d)\r\n", text)) != want:
                vm.fail(f"{line} {more}: {text}")
    finally:
        p.kill()
        p.wait()


def main():
    if not os.path.exists("/usr/share/seabios/bios-256k.bin"):
        vm.skip("needs Debian's seabios")
    dump = os.path.join(vm.scratch(), "dump")
    ours = ask(vm.emulator(), SAME + [r[0] for r in REFUSED] + ["x/2i $pc", "i/b 0x61", "o/b 0x80 1", f"pmemsave 0xffff0 16 {dump}", f"memsave 0xffff0 7 {dump}2"])
    for line, said in zip(SAME + [None] * 99, ours):
        if line and "rror" in said:
            vm.fail(f"{line}: {said}")
    for (line, want), said in zip(REFUSED, ours[len(SAME):]):
        if want not in said:
            vm.fail(f"{line}: {said!r} does not say '{want}'")
    code, port, out, saved, saved2 = ours[len(SAME) + len(REFUSED):]
    if not code.startswith("0xfffffff0:  ea 5b e0 00 f0 ") and "capstone" not in code.lower():
        vm.fail(f"x/2i $pc: {code}")
    if not port.startswith("portb[0x0061] = 0x") or out or saved or saved2:
        vm.fail(f"i, o, pmemsave: {port!r} {out!r} {saved!r} {saved2!r}")
    data = open(dump, "rb").read()
    if len(data) != 16 or data[0] != 0xea or open(dump + "2", "rb").read() != data[:7]:
        vm.fail("memsave saves something else")
    check_cpus()
    check_boot_set()
    check_logfile()
    check_history(vm.emulator())
    check_irqs(vm.emulator())
    if shutil.which("qemu-system-x86_64"):
        check_history(["qemu-system-x86_64"])
        check_irqs(["qemu-system-x86_64"])
    check_registers(shutil.which("qemu-system-x86_64"))
    if not shutil.which("qemu-system-x86_64"):
        print("ok: (no QEMU to compare with)")
        return
    for line, mine, theirs in zip(SAME, ours, ask(["qemu-system-x86_64"], SAME)):
        if mine.strip() != theirs.strip():
            vm.fail(f"{line}:\n{mine}\nQEMU:\n{theirs}")
    print(f"ok: {len(SAME)} answers as QEMU's, {len(REFUSED)} errors")


main()
