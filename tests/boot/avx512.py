#!/usr/bin/env python3
"""A program built for AVX-512 in a guest with -cpu max: avx512.py CPUS

The kernel finds the state components, several processes use ZMM registers and opmasks while they preempt each other,
and the result is the host's own."""
import hashlib
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

# What -march=icelake-server takes for granted.
NEEDED = "avx512f avx512bw avx512dq avx512vl avx512cd avx512ifma avx512vbmi avx512_vbmi2 avx512_vnni avx512_bitalg".split()

SCRIPT = """
grep -m 1 ^flags /proc/cpuinfo
dmesg | grep -o "Enabled xstate features 0x[0-9a-f]*"
avx512 3 6
echo user-space-reached
"""


def program():
    source = os.path.join(vm.TOP, "tests/boot/avx512.c")
    with open(source, "rb") as f:
        out = os.path.join(vm.GUEST, "avx512-" + hashlib.sha256(f.read()).hexdigest()[:16])
    if not os.path.exists(out):
        vm.need("gcc")
        os.makedirs(vm.GUEST, exist_ok=True)
        subprocess.run(["gcc", "-O3", "-ffast-math", "-march=icelake-server", "-mprefer-vector-width=512", "-static",
                        source, "-o", out + ".new"], check=True)
        os.rename(out + ".new", out)
    return out


def main():
    cpus = int(sys.argv[1])
    with open("/proc/cpuinfo") as f:
        have = re.search(r"^flags\s*: (.*)", f.read(), re.M).group(1).split()
    lacks = [n for n in NEEDED if n not in have]
    if lacks:
        vm.skip(f"the host's CPU has no {lacks[0]}")
    native = subprocess.run([program(), "3", "6"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    args = vm.base_args("pc", "256M", cpus) + [
        "-accel", "interp", "-cpu", "max",
        "-kernel", vm.kernel(), "-initrd", vm.initramfs(SCRIPT, modules=(), files=[f"{program()}:/bin/avx512"]),
        "-append", "console=ttyS0 panic=-1 quiet"]
    with vm.Guest(args) as g:
        flags = g.expect(r"^flags\s*: (.*)\r?\n", 300).group(1).decode().split()
        for n in NEEDED:
            if n not in flags:
                g.die(f"the guest has no {n}")
        features = int(g.expect(r"^Enabled xstate features (0x[0-9a-f]+)\s").group(1), 16)
        if features & 0xe0 != 0xe0:
            g.die(f"xstate features {features:#x}")
        g.expect("^" + re.escape(native) + r"\s*$", 300)
        g.expect(r"^user-space-reached")
    print(f"PASS: {native}")


main()
