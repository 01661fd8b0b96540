#!/usr/bin/env python3
"""Memory back ends, without a guest in them: what saving and loading take from the host, files of machines that do not start, core dumps."""
import os
import subprocess
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
                q.save(g, state)
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


def dumped(pid):
    """Is the guest's RAM in core dumps? ("dd": do not dump)"""
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            if "-" in line.split()[0] and ":" not in line.split()[0]:
                first, last = (int(n, 16) for n in line.split()[0].split("-"))
            if line.startswith("VmFlags:") and last - first == SIZE * MIB:
                return "dd" not in line.split()
    return vm.fail("no mapping of the guest's RAM")


def core_dumps(work):
    backend = f"-object memory-backend-ram,id=m,size={SIZE}M%s -machine memory-backend=m"
    for args, want in (("", False), ("-machine dump-guest-core=on", True), ("-machine dump-guest-core=off", False), (backend % "", False),
                       (backend % "" + ",dump-guest-core=on", True), (backend % ",dump=on", True),
                       (backend % ",dump=off" + ",dump-guest-core=on", False)):
        g, q = start(work, args)
        with g:
            q.cmd("query-status")
            if dumped(g.p.pid) != want:
                g.die(f"the guest's memory is {'not ' if want else ''}in core dumps")
            q.cmd("quit")
            g.wait(30)
    print("ok: guest memory in core dumps when it is asked for")


def does_not_start(work):
    """A file that was made for a machine that does not start goes with it; one that was there stays."""
    path = f"{work}/ram"
    for there in False, True:
        if there:
            with open(path, "wb") as f:
                f.truncate(SIZE * MIB)
        p = subprocess.run(vm.emulator() + ["-M", "pc", "-m", f"{SIZE}M", "-display", "none", "-mem-path", path, "-device", "nonsense"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        if not p.returncode or "nonsense" not in p.stdout or os.path.exists(path) != there:
            vm.fail(f"a machine that does not start: {p.stdout}, {os.listdir(work)}")
    print("ok: no file of a machine that does not start")


def nobodys(work):
    g, q = start(work, f"-object memory-backend-ram,id=idle,size={SIZE}M")
    with g:
        g.expect("memory 'idle' is nobody's", 20)
        q.cmd("quit")
        g.wait(30)
    print("ok: a memory back end that nobody uses is told")


def main():
    work = vm.scratch()
    if not os.access("/dev/shm", os.W_OK):
        vm.skip("no /dev/shm")
    core_dumps(work)
    does_not_start(work)
    nobodys(work)
    sparse_save(work, "memfd", None, f"-object memory-backend-memfd,id=m,size={SIZE}M -machine memory-backend=m")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as shm:
        for share in "on", "off":
            path = f"{shm}/{share}"
            sparse_save(work, f"file, share={share}", path, f"-object memory-backend-file,id=m,size={SIZE}M,mem-path={path},share={share} "
                        "-machine memory-backend=m")


main()
