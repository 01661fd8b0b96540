"""What gdb does to a guest that boots SCRIPT with two CPUs, and what must come of it. The kernel's command line has nokaslr."""
import os
import re
import subprocess

import vm

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
monitor info status
{watch}
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


WATCH = """
watch *(unsigned long *){jiffies}
continue
printf "first stop\\n"
delete 2
"""


def run_gdb(g, script, patience):
    """Its output. The guest, which waits for a key, gets one when gdb has its breakpoints."""
    gdb = subprocess.Popen(["timeout", str(int(patience * vm.SLOW)), "gdb", "-nx", "-batch", "-x", script], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    out = ""
    for line in gdb.stdout:
        out += line
        if line == "first stop\n":
            g.send("\n")
    if gdb.wait() == 124:
        g.die(f"gdb does not end:\n{out}")
    return out


def session(g, target, work, patience=120, watches=True):
    """`target` is what gdb connects to; the guest waits for a key where it is told nothing."""
    vm.need("gdb")
    g.expect("^ready", patience)
    symbols = dict((n, "0x" + a) for a, n in re.findall(r"^symbol ([0-9a-f]+) \w (\S+)", g.text, re.M))
    watch = WATCH.format(**symbols) if watches else 'printf "first stop\\n"'
    with open(f"{work}/cmds", "w") as f:
        f.write(COMMANDS.format(sock=target, watch=watch, **symbols))
    out = run_gdb(g, f"{work}/cmds", patience)
    if os.environ.get("VIV_KEEP"):
        print(out)
    for want in ["CPU#0", "CPU#1", "sysregs 1 1 1 1", "Linux version 6", "VM status: paused", "Old value = " if watches else "", "at break 1", "stepped 1",
                 "written 1", "second break 1", "detached]"]:
        if want not in out:
            g.die(f"gdb did not say '{want}':\n{out}")
    g.expect("^sum 200010000", patience)
    g.expect("^done", patience)
    if "complaint" in g.text:
        g.die("the kernel complains")
