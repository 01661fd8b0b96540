#!/usr/bin/env python3
"""What the gdb server answers to packets that gdb rarely or never sends, and in what pieces (RSP, gdb's manual, appendix E)."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import multiboot  # noqa: E402
import rsp  # noqa: E402
import vm  # noqa: E402

# 1: inc %eax; jmp 1b
SPIN = bytes.fromhex("40ebfd")
# mov $3,%al; out %al,$0xf4; 1: jmp 1b
LEAVE = bytes.fromhex("b003e6f4ebfe")


def machine(work, code, *args):
    sock = f"{work}/gdb"
    if os.path.exists(sock):
        os.unlink(sock)
    return ["-M", "pc", "-m", "16M", "-nodefaults", "-display", "none", "-serial", "stdio", "-kernel", multiboot.kernel(work, code), "-S", "-gdb",
            f"unix:{sock},server=on,wait=off", *args], sock


def check(what, got, want):
    if not re.fullmatch(want, "(hung up)" if got is None else got):
        vm.fail(f"{what}: {got}, not {want}")


def description(c):
    xml = ""
    while True:
        piece = c.ask(f"qXfer:features:read:target.xml:{len(xml):x},800")
        xml += piece[1:]
        if piece[0] == "l":
            return xml


def console(c, line):
    """What "monitor LINE" prints."""
    c.send("qRcmd," + line.encode().hex())
    text = ""
    while (got := c.packet()) != "OK":
        if not got or got[0] != "O" or len(got) > 0x4000:
            vm.fail(f"monitor {line}: {(got or '(hung up)')[:80]}")
        text += bytes.fromhex(got[1:]).decode()
    return text


def test_points(work):
    args, sock = machine(work, SPIN)
    with vm.Guest(args, "points"):
        c = rsp.Client(sock)
        check("a condition", c.ask("Z0,100020,1;X3,220022"), "E22")
        check("commands", c.ask("Z1,100020,1;cmds:0,X1,27"), "E22")
        check("none of these is set", c.ask("z0,100020,1"), "E01")
        check("a breakpoint", c.ask("Z0,100020,1"), "OK")
        check("it is met", c.ask("vCont;c"), "T05thread:1;")
        console(c, "system_reset")
        check("and again after a reset", c.ask("vCont;c"), "T05thread:1;")


def test_console(work):
    args, sock = machine(work, SPIN)
    with vm.Guest(args, "console"):
        c = rsp.Client(sock)
        text = console(c, "help")
        if len(text) <= 0x2000 or "xp" not in text or not text.endswith("\n"):
            vm.fail(f"monitor help ends after {len(text)} bytes: {text[-60:]}")
        check("a line without an answer", console(c, "stop"), "")


def test_registers(work):
    args, sock = machine(work, SPIN)
    with vm.Guest(args, "registers"):
        c = rsp.Client(sock)
        names = re.findall(r'<reg name="(\w+)"', description(c))
        for name in "fs_base", "gs_base", "k_gs_base":
            n = names.index(name)
            check(f"{name} canonical", c.ask(f"P{n:x}=000000000080ffff"), "OK")
            check(f"{name} not canonical", c.ask(f"P{n:x}=00000000000000aa"), "E01")
            check(f"{name} as it was", c.ask(f"p{n:x}"), "000000000080ffff")


def test_end(work):
    args, sock = machine(work, LEAVE, "-device", "isa-debug-exit,iobase=0xf4,iosize=1")
    with vm.Guest(args, "end") as g:
        check("the guest ends", rsp.Client(sock).ask("vCont;c"), "W07")
        if g.wait() != 7:
            g.die(f"status {g.p.returncode}")
    args, sock = machine(work, SPIN)
    with vm.Guest(args, "killed") as g:
        check("vKill", rsp.Client(sock).ask("vKill;1"), "OK")
        g.wait()


def main():
    work = vm.scratch()
    tests = {n[5:]: f for n, f in globals().items() if n.startswith("test_")}
    for name in sys.argv[1:] or tests:
        tests[name](work)
        print(f"ok: {name}")


main()
