#!/usr/bin/env python3
"""dump-guest-memory of Debian's kernel: with paging, gdb finds the kernel's text and data where its symbols are and each CPU's registers; without, what
the guest wrote to a physical address is there; the guest goes on as if nothing had been."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

PLACE, WORD = 0x1e123000, 0x5ca1ab1e  # above what mem= leaves to the kernel (and its next 64 MiB), so that /dev/mem may write it
SCRIPT = f"""
echo 0 > /proc/sys/kernel/kptr_restrict
for s in linux_banner jiffies; do grep " $s$" /proc/kallsyms | sed 's/^/symbol /'; done
busybox devmem {PLACE:#x} 32 {WORD:#x}
echo wrote $(busybox devmem {PLACE:#x} 32)
cat /proc/version
(while :; do :; done) &
echo ready
read x
kill $!
echo sum $(seq 1 20000 | awk '{{ s += $1 }} END {{ print s }}')
dmesg | grep -iE 'call trace|rcu.*stall|bug:' | sed 's/^/complaint: /'
echo done
"""


def gdb(core, *lines):
    words = [w for line in ("set architecture i386:x86-64",) + lines for w in ("-ex", line)]
    return subprocess.run(["gdb", "-nx", "-batch", *words, "-c", core], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def rips(q):
    """Of all CPUs, while the machine stands."""
    text = q.cmd("human-monitor-command", **{"command-line": "info registers -a"})
    return re.findall(r"RIP=([0-9a-f]{16})", text)


def main():
    vm.need("gdb", "readelf")
    work = vm.scratch()
    args = vm.base_args(cpus=2) + ["-kernel", vm.kernel(), "-initrd", vm.initramfs(SCRIPT), "-append", "console=ttyS0 quiet panic=-1 mem=400M",
                                   "-qmp", f"unix:{work}/q,server=on,wait=off"]
    with vm.Guest(args) as g:
        q = vm.QMP(f"{work}/q")
        symbols = {}
        for _ in range(2):
            m = g.expect(r"symbol ([0-9a-f]+) \S+ (\S+)\r")
            symbols[m[2].decode()] = int(m[1], 16)
        g.expect(r"wrote 0x[0-9A-F]+", 30)
        banner = g.expect(r"(Linux version [^\r]+)\r")[1].decode()
        g.expect("ready")
        q.cmd("dump-guest-memory", paging=True, protocol=f"file:{work}/paged")
        if not q.cmd("query-status")["running"]:
            g.die("it does not run after the dump")
        q.cmd("stop")
        stood = rips(q)
        q.cmd("dump-guest-memory", paging=False, protocol=f"file:{work}/plain")
        if q.cmd("query-status")["running"]:
            g.die("it runs after the dump of a machine that stood")
        q.cmd("dump-guest-memory", paging=False, protocol=f"file:{work}/k", format="kdump-zlib")
        q.cmd("cont")
        out = gdb(f"{work}/paged", f"x/s {symbols['linux_banner']:#x}", f"printf \"jiffies %lu\\n\", *(unsigned long *){symbols['jiffies']:#x}", "x/i $rip",
                  "thread 2", "x/i $rip")
        if banner[:40] not in out or "Cannot access" in out or not re.search(r"jiffies [1-9]", out) or out.count("=> 0x") != 2:
            g.die(f"gdb on the core with paging, at {symbols}: {out}")
        out = gdb(f"{work}/plain", "printf \"rip %016lx\\n\", $rip", "thread 2", "printf \"rip %016lx\\n\", $rip", f"x/1xw {PLACE:#x}")
        if re.findall(r"rip ([0-9a-f]+)", out) != stood or f"{WORD:#010x}" not in out:
            g.die(f"gdb on the core without paging, RIPs {stood}: {out}")
        with open(f"{work}/plain", "rb") as f:
            size = os.fstat(f.fileno()).st_size
        if os.stat(f"{work}/k").st_size > size / 4:
            g.die("the compressed dump is not small")
        g.send("\n")
        g.expect("sum 200010000")
        g.expect("done")
        if "complaint" in g.text:
            g.die("the guest noticed")
        if g.wait():
            g.die("it ended badly")
    print("ok")


main()
