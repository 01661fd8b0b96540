#!/usr/bin/env python3
"""Serial and parallel ports: -device instead of a default port, and what the ACPI tables name. -debugcon."""
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


def debugcon(work):
    """What a kernel writes to E9h, or elsewhere by -global; mon: has the monitor beside it."""
    code = b"\xb0D\xe6\xe9\xb0E\xba\x02\x04\x00\x00\xee" + HALT  # out e9h: D; out 402h: E
    base = ["-m", "16M", "-nodefaults", "-display", "none", "-kernel", multiboot.kernel(work, code, "debug")]
    for args, want in ((["stdio"], "^D"), (["stdio", "-global", "isa-debugcon.iobase=0x402"], "^E"), (["mon:stdio"], "^D"),
                       (["chardev:c", "-chardev", "stdio,id=c"], "^D")):
        with vm.Guest(base + ["-debugcon"] + args, " ".join(args)) as g:
            g.expect(want, 30)
            if args[0] == "mon:stdio":
                g.send("\x01cinfo status\r")
                g.expect("VM status: running", 30)
    for args, want in ((["null", "-debugcon", "null"], "there is one already"), (["bogus"], "no back end 'bogus'"),
                       (["mon:chardev:c", "-chardev", "null,id=c"], "needs mux=on")):
        with vm.Guest(base + ["-debugcon"] + args, " ".join(args)) as g:
            if g.wait(30) != 1 or want not in g.text:
                g.die(f"not refused with '{want}'")
    print("ok: -debugcon")


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
    debugcon(work)


main()
