#!/usr/bin/env python3
"""What one sees of the translator: info jit and x-query-jit, -d in_asm,out_asm, the perf map, and that each option does what
it says, by the figures."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

WORK = vm.scratch()
KERNEL = os.path.join(WORK, "smc.elf")


def check(what, ok):
    if not ok:
        vm.fail(what)


def figures(text):
    """{row: [a figure for each CPU, and their sum]}, pages."""
    rows = {m[1]: [int(v) for v in m[2].split()] for m in re.finditer(r"^([a-z ]+?)\s+([\d ]+)$", text, re.M)}
    pages = re.findall(r"^  0x([0-9a-f]{16}) +(\d+) +(\d+)$", text, re.M)
    return rows, [(int(a, 16), int(b), int(i)) for a, b, i in pages]


def run(options, extra=(), cpus=1):
    """Runs the payload, which then sleeps; returns figures and the process id."""
    path = os.path.join(WORK, "qmp")
    args = ["-accel", options, "-m", "64", "-smp", str(cpus), "-nodefaults", "-display", "none", "-serial", "stdio",
            "-kernel", KERNEL, "-qmp", f"unix:{path},server=on,wait=off"]
    with vm.Guest(args + list(extra), options) as g:
        g.expect("^ok")
        q = vm.QMP(path)
        text = q.cmd("x-query-jit")["human-readable-text"]
        people = q.cmd("human-monitor-command", **{"command-line": "info jit"})
        check(f"{options}: info jit is another table: {people}",
              people.replace("\r", "").split("\n")[0] == text.split("\n")[0])
        check("stopped for good", q.cmd("query-status")["running"])
        q.cmd("quit")
        check(f"{options}: exit status", g.wait() == 0)
        return (*figures(text), g.p.pid)


def options():
    rows, pages, _ = run("xlate")
    check(f"blocks: {rows}", rows["blocks translated"][0] > 100 and rows["blocks alive"][0] <= rows["blocks translated"][0])
    check(f"bytes: {rows}", rows["guest bytes translated"][0] > 500 and rows["host bytes made"][0] > 500)
    check(f"cache: {rows}", 0 < rows["cache bytes used"][0] < rows["cache bytes"][0] <= 128 << 20)
    check(f"the payload changes code: {rows}", rows["blocks invalidated"][0] > 100)
    check(f"links: {rows}", rows["jumps linked"][0] > 0)
    check(f"pages: {pages}", pages and pages == sorted(pages, key=lambda p: -p[1]))
    # The payload's text is the first page above 1 MiB; its functions are made at 8 MiB.
    check(f"pages: {pages}", {0x100000, 0x800000} <= {p[0] for p in pages} and all(p[0] % 4096 == 0 for p in pages))

    rows, _, _ = run("tcg,tb-size=8", cpus=2)
    check(f"tb-size: {rows['cache bytes']}", rows["cache bytes"] == [4 << 20, 4 << 20, 8 << 20])
    check(f"sums: {rows}", all(a + b == s for a, b, s in rows.values()))
    check("the second CPU sleeps", rows["blocks translated"][1] == 0)
    rows, _, _ = run("xlate,x-cache-size=256k")
    check(f"x-cache-size: {rows['cache bytes']}", rows["cache bytes"] == [256 << 10])
    rows, _, _ = run("xlate,one-insn-per-tb=on")
    check(f"one instruction: {rows}", rows["guest bytes translated"][0] <= 8 * rows["blocks translated"][0])
    rows, _, _ = run("xlate,x-no-chain=on")
    check(f"no chains: {rows}", rows["jumps linked"] == [0])
    rows, _, _ = run("xlate,x-fail-nth=5")
    check(f"allocations that fail: {rows}", rows["cache flushes"][0] > 10)


def logs():
    log = os.path.join(WORK, "log")
    _, _, pid = run("xlate,perfmap=on", ["-d", "in_asm,out_asm", "-D", log])
    with open(log) as f:
        text = f.read()
    entries = re.split(r"\n\n", text.rstrip())
    heads = [e.split("\n")[0] for e in entries]
    check(f"heads {set(heads[:50])}", all(re.fullmatch(r"IN: CPU 0, (32|64) bits(?: \(compatibility mode\))?|OUT: CPU 0, \d+ bytes", h) for h in heads))
    line = re.compile(r"0x[0-9a-f]{16}:  (?:[0-9a-f]{2} )+ +\S.*")
    bad = [i for e in entries for i in e.split("\n")[1:] if not line.fullmatch(i)]
    check(f"lines {bad[:5]}", not bad)
    # The first instructions of a 64-bit payload, and what the changed function always is.
    check("32-bit code", re.search(r"IN: CPU 0, 32 bits\n.*mov esp, .*\n.*\bcld\b", text))
    check("64-bit code", "mov cr0, eax" in text and re.search(r"IN: CPU 0, 64 bits\n0x0000000000800000:  b8 .*\n.*\bret", text))
    check("no OUT", sum(h.startswith("OUT") for h in heads) > 100)

    path = f"/tmp/perf-{pid}.map"
    try:
        with open(path) as f:
            lines = f.read().splitlines()
        check(f"mode of {path}", os.stat(path).st_mode & 0o777 == 0o600)
    finally:
        os.unlink(path)
    rows = [re.fullmatch(r"([0-9a-f]+) ([0-9a-f]+) guest:0x([0-9a-f]+)", i) for i in lines]
    check(f"perf map: {lines[:3]}", len(rows) > 100 and all(rows))
    check("perf map has the changed function", any(int(r[3], 16) == 0x800000 for r in rows))
    # Where -d says that host code lies.
    out = {int(m[1], 16) for m in re.finditer(r"^OUT: .*\n0x([0-9a-f]{16})", text, re.M)}
    check("perf map and -d out_asm disagree", {int(r[1], 16) for r in rows} == out)


def elsewhere():
    path = os.path.join(WORK, "qmp")
    args = ["-accel", "interp", "-m", "64", "-nodefaults", "-display", "none", "-kernel", KERNEL, "-qmp",
            f"unix:{path},server=on,wait=off"]
    with vm.Guest(args, "interp"):
        try:
            vm.QMP(path).cmd("x-query-jit")
            vm.fail("interp has figures of a translator")
        except RuntimeError as e:
            check(f"refusal: {e}", "runs on interp, which makes no code; only -accel xlate" in str(e))


subprocess.run([os.path.join(vm.TOP, "tests/boot/build-payload"), os.path.join(vm.TOP, "tests/x86/payload/smc.S"), KERNEL],
               check=True, cwd=vm.TOP)
options()
logs()
elsewhere()
print("PASS")
