#!/usr/bin/env python3
"""Debian's kernel on each memory back end: boots, and goes on where another one was saved. A private file full of random bytes is RAM
that is not zero at first and stays as it was."""
import hashlib
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

MIB = 256
SCRIPT = """
dd if=/dev/urandom of=/tmp/p bs=1M count=20 2>/dev/null
a=$(sha256sum < /tmp/p)
echo state; read x
[ "$a" = "$(sha256sum < /tmp/p)" ] && echo same
grep MemTotal /proc/meminfo
echo user-space-reached
"""


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def args_of(work, backend):
    machine = ["-object", f"{backend},id=m,size={MIB}M", "-machine", "memory-backend=m"] if "memory" in backend else backend.split()
    return vm.base_args("pc", f"{MIB}M", 1) + machine + [
        "-kernel", vm.kernel(), "-initrd", vm.initramfs(SCRIPT, []), "-append", "console=ttyS0 panic=-1 quiet",
        "-qmp", f"unix:{work}/qmp,server=on,wait=off"]


def save(work, backend, state):
    with vm.Guest(args_of(work, backend), backend) as g:
        q = vm.QMP(f"{work}/qmp")
        g.expect(r"^state", 200)
        q.save(g, state)
        q.cmd("quit")
        g.wait(60)


def load(work, backend, state):
    with vm.Guest(args_of(work, backend) + ["-incoming", f"file:{state}"], backend) as g:
        q = vm.QMP(f"{work}/qmp")
        while q.cmd("query-status")["status"] != "running":
            pass
        g.send("\n")
        g.expect(r"^same", 100)
        g.expect(r"^user-space-reached", 30)
        if g.wait(60):
            g.die("power-off failed")


def main():
    work = vm.scratch()
    noise, shared, state = (os.path.join(work, n) for n in ("noise", "shared", "state"))
    with open(noise, "wb") as f:
        for _ in range(MIB):
            f.write(os.urandom(1 << 20))
    before = digest(noise)
    backends = [f"memory-backend-file,mem-path={noise}", "memory-backend-memfd,prealloc=on,prealloc-threads=2",
                f"memory-backend-file,mem-path={shared},share=on", "memory-backend-ram,merge=off", f"-mem-path {work} -mem-prealloc"]
    for i, backend in enumerate(backends):
        save(work, backend, state)
        load(work, backends[(i + 1) % len(backends)], state)
        print(f"ok: {backend}")
    if digest(noise) != before:
        vm.fail("the private file was written")
    if os.path.getsize(shared) != MIB << 20:
        vm.fail(f"the shared file has {os.path.getsize(shared)} bytes")


main()
