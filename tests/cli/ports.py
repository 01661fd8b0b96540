#!/usr/bin/env python3
"""Serial and parallel ports: -device instead of a default port, and what the ACPI tables name."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import multiboot  # noqa: E402
import vm  # noqa: E402

HALT = b"\xf4\xeb\xfd"


def ports(work, image, args):
    """(first ports in use, names in the tables)"""
    with vm.Guest(["-M", "pc", "-m", "16M", "-display", "none", "-monitor", "none", "-net", "none", "-S", "-kernel", image,
                   "-qmp", f"unix:{work}/qmp,server=on,wait=off"] + args, " ".join(args)) as g:
        q = vm.QMP(f"{work}/qmp")
        tree = q.cmd("human-monitor-command", **{"command-line": "info mtree"})
        q.cmd("pmemsave", val=0xe0000, size=0x20000, filename=f"{work}/tables")
        q.cmd("quit")
        g.wait(30)
    with open(f"{work}/tables", "rb") as f:
        names = {n.decode() for n in re.findall(rb"(?:COM|LPT)[1-4](?=\x08)", f.read())}
    return {int(m, 16) for m in re.findall(r"^ *0*([0-9a-f]+)-[0-9a-f]+.*\b(?:uart|parallel)\b", tree, re.M)}, names


def main():
    work = vm.scratch()
    image = multiboot.kernel(work, HALT)  # with a kernel the tables lie at E0000h
    null = ["-chardev", "null,id=c", "-device"]
    cases = [
        ([], {0x3f8, 0x378}, {"COM1", "LPT1"}),
        (null + ["isa-parallel,chardev=c"], {0x3f8, 0x378}, {"COM1", "LPT1"}),
        (null + ['{"driver":"isa-parallel","chardev":"c","index":1}'], {0x3f8, 0x278}, {"COM1", "LPT2"}),
        (null + ["isa-serial,chardev=c,index=1"], {0x2f8, 0x378}, {"COM2", "LPT1"}),
        (null + ["isa-serial,chardev=c", "-serial", "null"], {0x3f8, 0x2f8, 0x378}, {"COM1", "COM2", "LPT1"}),
        (["-serial", "none", "-serial", "null", "-parallel", "none"], {0x2f8}, {"COM2"}),
        (null + ["isa-serial,chardev=c,irq=5"], {0x3f8, 0x378}, {"LPT1"}),  # not where COM1 is
    ]
    for args, want, names in cases:
        have = ports(work, image, args)
        if have != (want, names):
            vm.fail(f"{args}: ports {sorted(map(hex, have[0]))}, named {sorted(have[1])}")
    print(f"ok: {len(cases)} sets of ports")


main()
