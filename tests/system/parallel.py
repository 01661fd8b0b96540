#!/usr/bin/env python3
"""Debian's kernel prints through its lp driver: what arrives in the file is what was printed."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

SCRIPT = """
n=0; while [ ! -e /dev/lp0 ]; do sleep 0.2; n=$((n + 1)); [ $n -gt 50 ] && break; done
dmesg | grep -o 'parport0: .*'
i=0; while [ $i -lt 400 ]; do echo "line $i of what is printed"; i=$((i + 1)); done > /dev/lp0 && echo printed
dmesg | grep -iE 'lp0' | grep -iE 'error|off-line|out of paper|timeout' | sed 's/^/complaint: /'
echo user-space-reached
"""


def main():
    machine = sys.argv[1] if len(sys.argv) > 1 else "pc"
    out = os.path.join(vm.scratch(), "printed")
    args = vm.base_args(machine, "256M", 1) + ["-parallel", f"file:{out}", "-kernel", vm.kernel("generic"), "-initrd",
                                               vm.initramfs(SCRIPT, ["parport_pc", "lp"], arch="generic"),
                                               "-append", "console=ttyS0 panic=-1 quiet"]
    with vm.Guest(args) as g:
        g.expect(r"^parport0: PC-style at 0x378.*irq 7", 200)
        g.expect(r"^printed", 100)
        g.expect(r"^user-space-reached")
        if "complaint: " in g.text or g.wait(60):
            g.die("the kernel complains")
    with open(out, "rb") as f:
        got = f.read()
    want = "".join(f"line {i} of what is printed\n" for i in range(400)).encode()
    if got != want:
        vm.fail(f"{len(got)} bytes arrived, {len(want)} were printed")
    print(f"ok: {machine}: {len(got)} bytes printed")


main()
