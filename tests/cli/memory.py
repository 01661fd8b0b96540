#!/usr/bin/env python3
"""Memory back ends, without a guest in them: what saving and loading take from the host."""
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

MIB = 1 << 20
SIZE = 256


def start(work, machine, *more):
    g = vm.Guest(["-M", "pc", "-m", f"{SIZE}M", "-nodefaults", "-display", "none", "-serial", "none", "-S",
                  "-qmp", f"unix:{work}/qmp,server=on,wait=off"] + machine.split() + list(more), machine)
    return g, vm.QMP(f"{work}/qmp")


def taken(path):
    return os.stat(path).st_blocks * 512


def sparse_save(work, name, path, machine):
    """The machine has not run: its memory is as good as empty, and is afterwards, here and where it is loaded."""
    state = f"{work}/state"
    for more in [], ["-incoming", f"file:{state}"]:
        g, q = start(work, machine, *more)
        with g:
            if not more:
                q.cmd("migrate", uri=f"file:{state}")
                if q.cmd("query-migrate")["status"] != "completed":
                    g.die("migrate failed")
            q.cmd("query-status")
            used = taken(path or memory_of(g.p.pid))
            q.cmd("quit")
            g.wait(30)
        if used > 16 * MIB:
            vm.fail(f"{name}: {'loading' if more else 'saving'} made {used // MIB} of {SIZE} MiB real")
    print(f"ok: {name}: {used >> 10} KiB after save and load")


def memory_of(pid):
    """The memfd with the guest's RAM."""
    for n in os.listdir(f"/proc/{pid}/fd"):
        fd = f"/proc/{pid}/fd/{n}"
        if os.readlink(fd).startswith("/memfd:m ") and os.stat(fd).st_size == SIZE * MIB:
            return fd
    return vm.fail("no memfd")


def main():
    work = vm.scratch()
    if not os.access("/dev/shm", os.W_OK):
        vm.skip("no /dev/shm")
    sparse_save(work, "memfd", None, f"-object memory-backend-memfd,id=m,size={SIZE}M -machine memory-backend=m")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as shm:
        for share in "on", "off":
            path = f"{shm}/{share}"
            sparse_save(work, f"file, share={share}", path, f"-object memory-backend-file,id=m,size={SIZE}M,mem-path={path},share={share} "
                        "-machine memory-backend=m")


main()
