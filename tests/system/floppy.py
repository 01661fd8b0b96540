#!/usr/bin/env python3
"""Debian's kernel with its floppy driver: reads, writes and formats diskettes, sees them changed, write-protected and gone; saved and
loaded between two reads."""
import hashlib
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

SCRIPT = """
dmesg | grep -o 'fd[01] is .*M' | sed 's/^/drive /'
dmesg | grep -o 'FDC 0 is a .*'
s() { dd if=$1 bs=$2 iflag=direct 2>/dev/null | sha256sum | sed "s/^/$3 /"; }
s /dev/fd0 18k read
s /dev/fd1 9k small
dd if=/dev/urandom of=/tmp/p bs=9k count=20 2>/dev/null
dd if=/tmp/p of=/dev/fd0 bs=9k seek=3 oflag=direct conv=notrunc 2>/dev/null || echo write failed
dd if=/dev/fd0 of=/tmp/q bs=9k skip=3 count=20 iflag=direct 2>/dev/null; cmp /tmp/p /tmp/q && echo written $(sha256sum < /tmp/p)
echo x 2>/dev/null > /dev/fd1 || echo protected
echo state; read x
s /dev/fd0 18k again
/bin/fdformat /dev/fd0 && echo formatted
s /dev/fd0 18k blank
echo change; read x
s /dev/fd0 18k changed
echo eject; read x
dd if=/dev/fd0 bs=512 count=1 of=/dev/null 2>/dev/null || echo gone
dmesg | grep -iE 'bug:|oops|call trace|timeout' | sed 's/^/complaint: /'
echo user-space-reached
"""


def image(work, name, kib, seed):
    path = os.path.join(work, name)
    data = b"".join(hashlib.sha256(f"{seed}{i}".encode()).digest() for i in range(kib * 32))
    with open(path, "wb") as f:
        f.write(data)
    return path, hashlib.sha256(data).hexdigest()


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def format_program(work):
    out = os.path.join(work, "fdformat")
    subprocess.run(["cc", "-O2", "-static", "-o", out, os.path.join(os.path.dirname(__file__), "fdformat.c")], check=True)
    return out


def arguments(work, machine, a, b):
    initrd = vm.initramfs(SCRIPT, ["floppy"], [f"{format_program(work)}:/bin/fdformat"], arch="generic")
    return vm.base_args(machine, "256M", 1) + sys.argv[2:] + [
        "-drive", f"if=floppy,format=raw,file={a}", "-drive", f"if=floppy,format=raw,file={b},readonly=on",
        "-kernel", vm.kernel("generic"), "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet",
        "-qmp", f"unix:{work}/qmp,server=on,wait=off"]


def after_load(work, g, q, a):
    """The second half, in a VM that the state was loaded into."""
    before = digest(a)
    g.send("\n")
    g.expect(rf"^again {before}", 100)
    g.expect(r"^formatted", 200)
    g.expect(r"^blank ([0-9a-f]+)", 100)
    with open(a, "rb") as f:
        if f.read() != b"\xf6" * (1440 << 10):
            vm.fail("the format's filler is not in the image")
    c, want = image(work, "c", 1440, "c")
    g.expect(r"^change")
    q.cmd("blockdev-change-medium", device="floppy0", filename=c, format="raw")
    g.send("\n")
    g.expect(rf"^changed {want}", 100)
    g.expect(r"^eject")
    q.cmd("eject", device="floppy0")
    if [d for d in q.cmd("query-block") if d["device"] == "floppy0" and ("inserted" in d or "tray_open" in d)]:
        vm.fail(f"query-block after eject: {q.cmd('query-block')}")
    g.send("\n")
    g.expect(r"^gone", 100)
    g.expect(r"^user-space-reached")
    if "complaint: " in g.text:
        g.die("the kernel complains")
    if g.wait(60):
        g.die("power-off failed")


def main():
    machine = sys.argv[1] if len(sys.argv) > 1 else "pc"
    vm.need("cc")
    work = vm.scratch()
    a, sum_a = image(work, "a", 1440, "a")
    b, sum_b = image(work, "b", 720, "b")
    args = arguments(work, machine, a, b)
    state = os.path.join(work, "state")
    with vm.Guest(args, "first") as g:
        q = vm.QMP(f"{work}/qmp")
        g.expect(r"^drive fd0 is 1\.44M", 200)
        g.expect(r"fd1 is 1\.44M")
        g.expect(r"^FDC 0 is a S82078B")
        g.expect(rf"^read {sum_a}", 100)
        g.expect(rf"^small {sum_b}", 100)
        g.expect(r"^written ([0-9a-f]+)", 100)
        g.expect(r"^protected", 100)
        g.expect(r"^state")
        q.save(g, state)
        q.cmd("quit")
        g.wait(60)
    with vm.Guest(args + ["-incoming", f"file:{state}"], "second") as g:
        after_load(work, g, vm.QMP(f"{work}/qmp"), a)
    print(f"ok: {machine}: read, written, saved and loaded, formatted, changed, ejected, protected")


main()
