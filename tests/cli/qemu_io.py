#!/usr/bin/env python3
"""HMP's qemu-io: the words of the command language beside QEMU's, whose rights a command has, and that it holds up nobody."""
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

MIB = 1 << 20
ARGS = ["-M", "pc", "-S", "-m", "16", "-nodefaults", "-display", "none",
        "-drive", "if=none,id=used,file=a,format=raw", "-device", "virtio-blk-pci,drive=used,id=vda",
        "-drive", "if=none,id=idle,file=b,format=qcow2",
        "-drive", "if=none,id=ro,file=c,format=raw,readonly=on",
        "-drive", "if=none,id=empty", "-device", "ide-cd,drive=empty,id=cd",
        "-blockdev", "driver=raw,node-name=node,file.driver=file,file.filename=d", "-device", "ide-hd,drive=node,id=hd",
        "-blockdev", "driver=raw,node-name=free,file.driver=file,file.filename=e"]
# Both say the same of these, but for figures and what is set right below.
SAME = ["used|write -P 7 0 64k", "used|read -P 7 0 64k", "used|read -P 8 0 1k", "used|read -v 0 40", "used|length", "used|bogus", "used|read",
        "used|open x", "used|close", "used|quit", "used|read 0 2M", "used|write -z -P 1 0 1k", "used|read x 1", "used|discard 0 64k",
        "idle|write -P 1 65535 2", "idle|map", "idle|alloc 0 1M", "idle|read -C 0 4k", "idle|truncate 2M", "idle|length",
        "ro|write 0 512", "ro|read 0 512", "empty|length", "node|read 0 512", "free|writev -P 3 0 1k 2k", "free|readv -P 3 0 1k 2k",
        "free|help length", "-d hd|write -P 4 0 1k", "node|read -P 4 0 1k", "nobody|read 0 512", "-d nobody|read 0 512", "used|aio_flush"]


def start(emulator, work, *more):
    for name in "acde":
        with open(f"{work}/{name}", "wb") as f:
            f.truncate(MIB)
    subprocess.run([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", "b", "1M"], check=True, cwd=work)
    with open(f"{work}/said", "w") as out:
        p = subprocess.Popen(["stdbuf", "-oL"] + emulator + ARGS + ["-qmp", "unix:q,server=on,wait=off", *more], cwd=work, stdout=out,
                             stderr=out)
    q, said = vm.QMP(f"{work}/q"), open(f"{work}/said")
    said.read()
    return p, q, said


def stop(p, q):
    q.cmd("quit")
    p.wait(30)


def hmp(q, line):
    return q.cmd("human-monitor-command", **{"command-line": line}).replace("\r", "")


def told(text):
    """Without times; without what is our advice, or a matter of taste."""
    text = re.sub(r"[0-9:.]+ sec \(.*\)", "T", text)
    text = re.sub(r"(?m)^(4096,1),.*", r"\1,T", text)
    text = re.sub(r"(?m)^(Error: )?(Device '\w+' not found).*", r"\2", text)
    return re.sub(r"(?m)^Error: (Block node is read-only)", r"\1", text)


def peer(emulator):
    """What it says in answers, and prints: QEMU's commands print."""
    work = vm.scratch()
    p, q, out = start(emulator, work)
    said = {}
    try:
        for line in SAME:
            device, command = line.split("|")
            text = hmp(q, f'qemu-io {device} "{command}"')
            said[line] = told(out.read() + text)
        stop(p, q)
    finally:
        p.kill()
    disks = [open(f"{work}/{n}", "rb").read() for n in "acde"]
    return said, disks


def has(q, line, *parts):
    text = hmp(q, line)
    for part in parts:
        if part not in text:
            vm.fail(f"{line}: no '{part}' in '{text[:500]}'")


def counted(q):
    s = [d["stats"] for d in q.cmd("query-blockstats") if d["device"] == "used"][0]
    return s["rd_operations"], s["wr_operations"], s["invalid_rd_operations"], s["rd_bytes"]


def rights(q):
    """A drive's commands have its rights; who names the node is one user more, and the device does not share writing."""
    has(q, 'qemu-io node "write 0 512"', "Error: qemu-io cannot write 'node': device 'hd' uses it and does not share that")
    has(q, 'qemu-io -d vda "write -P 9 0 512"', "wrote 512/512")
    has(q, 'qemu-io used "read -P 9 0 512"', "read 512/512")
    has(q, 'qemu-io -d cd "read 0 512"', "Device 'cd' has no medium")
    q.cmd("blockdev-del", **{"node-name": "free"})  # nothing is left of the command
    if counted(q) != (0, 0, 0, 0):
        vm.fail(f"blocking forms count: {counted(q)}")
    has(q, 'qemu-io used "aio_read -q 0 4k"')
    has(q, 'qemu-io used "aio_write -P 9 0 4k"')
    has(q, 'qemu-io used "aio_read -i 0 4k"')
    has(q, 'qemu-io used "aio_flush"')
    if counted(q) != (1, 1, 1, 4096):
        vm.fail(f"aio_read and aio_write were counted as {counted(q)}")


def breaks(q):
    has(q, 'qemu-io dbg "break write_aio A"')
    has(q, 'qemu-io dbg "aio_write -P 5 0 4k"')
    has(q, 'qemu-io dbg "wait_break A"')
    has(q, 'qemu-io dbg "read -P 0 0 4k"', "read 4096")  # it was not written yet
    try:
        q.cmd("blockdev-del", **{"node-name": "dbg"})
        vm.fail("a node with a request under way was deleted")
    except RuntimeError as e:
        if "in use by qemu-io" not in str(e):
            raise
    text = hmp(q, 'qemu-io dbg "resume A"') + hmp(q, 'qemu-io dbg "aio_flush"')
    if "wrote 4096/4096" not in text:
        vm.fail(f"aio_write's end: '{text}'")
    has(q, 'qemu-io dbg "read -P 5 0 4k"', "read 4096")
    has(q, 'qemu-io dbg "wait_break B"', "Could not wait for breakpoint B")
    has(q, 'qemu-io dbg "sleep 20000"', "10000 ms at most")


def others_go_on(work, q):
    """While one monitor's command stands still another one is served, and told that qemu-io is busy."""
    other = vm.QMP(f"{work}/q2")
    q.s.sendall(b'{"execute": "human-monitor-command", "arguments": {"command-line": "qemu-io used \\"sleep 1500\\""}}\n')
    begin = time.monotonic()
    while "another monitor's" not in (text := hmp(other, 'qemu-io used "length"')):
        if time.monotonic() > begin + 1:
            vm.fail(f"not busy: {text}")
    other.cmd("query-status")
    if time.monotonic() > begin + 1.4:
        vm.fail("the monitor stood still")
    q.f.readline()
    has(other, 'qemu-io used "length"', "1 MiB")


def guard():
    work = vm.scratch()
    with open(f"{work}/f", "wb") as f:
        f.truncate(MIB)
    p, q, _ = start(vm.emulator(), work, "-qmp", "unix:q2,server=on,wait=off",
                    "-blockdev", "driver=raw,node-name=dbg,file.driver=blkdebug,file.image.driver=file,file.image.filename=f")
    try:
        rights(q)
        breaks(q)
        others_go_on(work, q)
        has(q, 'qemu-io used "read -v 0 1M"', "the rest is cut")
        hmp(q, 'qemu-io dbg "break write_aio B"')
        hmp(q, 'qemu-io dbg "aio_write 0 4k"')
        begin = time.monotonic()
        stop(p, q)
        if time.monotonic() > begin + 5:
            vm.fail("a breakpoint kept the machine from ending")
    finally:
        p.kill()


def main():
    ours, disks = peer(vm.emulator())
    guard()
    if shutil.which("qemu-system-x86_64") and shutil.which("stdbuf"):
        theirs, their_disks = peer(["qemu-system-x86_64"])
        theirs["empty|length"] = "Device 'empty' has no medium\n"  # "command failed: No medium found"
        for line, text in ours.items():
            if text != theirs[line]:
                vm.fail(f"{line}: '{text}', not '{theirs[line]}'")
        if disks != their_disks:
            vm.fail("other disks than QEMU's")
    print("ok")


main()
