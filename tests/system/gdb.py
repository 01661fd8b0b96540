#!/usr/bin/env python3
"""gdb on Debian's kernel: gdb.py

gdb attaches to a running guest of two CPUs over -gdb, and does what people do: breakpoints, single steps, watchpoints, registers,
memory, threads, interruption, the monitor; then lets the guest go, which must not have noticed."""
import os
import random
import re
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import multiboot  # noqa: E402
import vm  # noqa: E402

SCRIPT = """
echo 0 > /proc/sys/kernel/kptr_restrict
for s in __x64_sys_getpid __x64_sys_getppid jiffies linux_banner; do grep " $s$" /proc/kallsyms | sed 's/^/symbol /'; done
echo ready
read x
for i in 1 2 3 4 5 6 7 8 9 10; do setsid true; sh -c 'echo $PPID' >/dev/null; done
echo sum $(seq 1 20000 | awk '{ s += $1 } END { print s }')
dmesg | grep -iE 'call trace|rcu.*stall|bug:' | sed 's/^/complaint: /'
echo done
read x
"""

COMMANDS = """
set pagination off
set confirm off
set architecture i386:x86-64
target remote {sock}
info threads
printf "sysregs %d %d %d %d\\n", ($cr0 & 0x80000001) == 0x80000001, ($efer & 0x500) == 0x500, $cr3 != 0, $cs == 0x10 || $cs == 0x33
x/s {linux_banner}
hbreak *{__x64_sys_getpid}
watch *(unsigned long *){jiffies}
monitor info status
continue
printf "first stop\\n"
delete 2
continue
printf "at break %d\\n", $rip == {__x64_sys_getpid}
x/2i $rip
set $sp0 = $rsp
stepi
printf "stepped %d\\n", $rip > {__x64_sys_getpid} && $rip < {__x64_sys_getpid} + 16
stepi
stepi
set $rbx0 = $rbx
set $rbx = 0x1122334455667788
printf "written %d\\n", $rbx == 0x1122334455667788
set $rbx = $rbx0
p $xmm0
p $mxcsr
info registers eflags cr0 cr4 efer
delete
break *{__x64_sys_getppid}
continue
printf "second break %d\\n", $rip == {__x64_sys_getppid}
maintenance packet Qqemu.PhyMemMode:1
x/2xb 0xffff0
maintenance packet Qqemu.PhyMemMode:0
x/2xb 0xffff888000000000
delete
detach
"""


def run_gdb(g, script):
    """Its output. The guest, which waits for a key, gets one when gdb has its breakpoints."""
    gdb = subprocess.Popen(["timeout", str(int(120 * vm.SLOW)), "gdb", "-nx", "-batch", "-x", script], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    out = ""
    for line in gdb.stdout:
        out += line
        if line == "first stop\n":
            g.send("\n")
    if gdb.wait() == 124:
        g.die(f"gdb does not end:\n{out}")
    return out


def narrow(work, cpu):
    """A CPU without long mode: gdb takes the 32-bit description and stands before the first instruction."""
    sock = f"{work}/gdb-{cpu}"
    kernel = multiboot.kernel(work, b"\x40\xeb\xfd")  # 1: inc eax; jmp 1b
    args = ["-m", "64M", "-nodefaults", "-display", "none", "-serial", "stdio", "-cpu", cpu, "-kernel", kernel, "-S", "-gdb",
            f"unix:{sock},server=on,wait=off"]
    with open(f"{work}/cmds32", "w") as f:
        f.write(f"""set pagination off
target remote {sock}
stepi
stepi
stepi
printf "at %x %x %x %d\\n", $eip, $eax, $ebx, $cr0 & 1
info registers eflags cr0 cr4
""")
    with vm.Guest(args, cpu) as g:
        out = run_gdb(g, f"{work}/cmds32")
        if f"at {multiboot.CODE + 1:x} 2badb004 " not in out:
            g.die(f"gdb with a CPU of 32 bits:\n{out}")
        for bits in [r"eflags +0x\w+ +\[ .*IOPL=0 \]", r"cr0 +0x\w+ +\[ PE .*\]", r"cr4 +0x0 +\[ \]"]:
            if not re.search(bits, out):
                g.die(f"gdb does not say {bits}:\n{out}")
    print(f"ok: {cpu} by its 32-bit description")


def junk(sock):
    """Packets that no gdb sends: each gets an answer or none, and the server lives."""
    rng = random.Random(4)
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(sock)
        s.settimeout(20 * vm.SLOW)
        for n in range(3000):
            kind = rng.choice(["m", "M", "X", "g", "G", "p", "P", "Z0,", "z1,", "Z2,", "vCont;t", "vCont?", "vX", "qXfer:features:read:", "qRcmd,",
                               "qSupported", "Qqemu.sstep=", "H", "T", "!", "qThreadExtraInfo,", "Z"])
            body = kind + "".join(rng.choice("0123456789abcdef,:;=-}*\x7f") for _ in range(rng.choice([0, 1, 4, 12, 40, 20000 if n % 100 == 0 else 3])))
            raw = body.encode("latin1")
            total = sum(raw) & 255 if rng.random() < 0.9 else rng.randrange(256)
            s.sendall(b"$" + raw + b"#%02x" % total)
        s.sendall(b"$qC#b4" + b"$qAttached#8f")
        seen = b""
        while b"$1#31" not in seen:
            more = s.recv(65536)
            if not more:
                vm.fail("the gdb server hung up")
            seen = seen[-100:] + more
        s.sendall(b"$D#44")


def main():
    vm.need("gdb")
    work = vm.scratch()
    sock = f"{work}/gdb"
    narrow(work, "qemu32")
    narrow(work, "pentium3")
    args = vm.base_args("pc", "256M", 2) + ["-kernel", vm.kernel(), "-initrd", vm.initramfs(SCRIPT, []), "-append",
                                            "console=ttyS0 panic=-1 nokaslr", "-gdb", f"unix:{sock}"]
    with vm.Guest(args + sys.argv[1:], "guest") as g:
        g.expect("^ready", 120)
        symbols = dict((n, "0x" + a) for a, n in re.findall(r"^symbol ([0-9a-f]+) \w (\S+)", g.text, re.M))
        with open(f"{work}/cmds", "w") as f:
            f.write(COMMANDS.format(sock=sock, **symbols))
        out = run_gdb(g, f"{work}/cmds")
        if os.environ.get("VIV_KEEP"):
            print(out)
        for want in ["CPU#0", "CPU#1", "sysregs 1 1 1 1", "Linux version 6", "VM status: paused", "Old value = ", "at break 1", "stepped 1",
                     "written 1", "second break 1", "detached]"]:
            if want not in out:
                g.die(f"gdb did not say '{want}':\n{out}")
        for bits in [r"eflags .*\[ .*IOPL=0 \]", r"cr0 .*\[ PE .*WP.*PG \]", r"cr4 .*\[ .*PAE ", r"efer .*\[ .*LME LMA"]:
            if not re.search(bits, out):
                g.die(f"gdb does not say {bits}:\n{out}")
        g.expect("^sum 200010000", 60)
        g.expect("^done", 60)
        if "complaint" in g.text:
            g.die("the kernel complains")
        junk(sock) # which may have hurt the guest
        if g.p.poll() is not None:
            g.die("ended by junk from gdb's side")
    print("ok: breakpoints, watchpoints, steps, registers, memory; the guest went on")


main()
