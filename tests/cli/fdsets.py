#!/usr/bin/env python3
"""Passed descriptors: -add-fd, add-fd, remove-fd, query-fdsets and names like /dev/fdset/N for disks, logs and saved states. Answers and
errors beside QEMU's; ours is confined (-sandbox on), and no file's own name is told to it."""
import json
import os
import re
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

BASE = ["-M", "pc", "-m", "16", "-nodefaults", "-display", "none"] # it runs: while it stands QEMU takes nothing out of its sets


class Machine:
    def __init__(self, emulator):
        self.ours = emulator == vm.emulator()
        self.emulator = emulator + (["-sandbox", "on"] if self.ours else [])
        self.work = vm.scratch()
        for n in "abc":
            subprocess.run([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", f"{self.work}/{n}", "1M"], check=True)
        for n, size in ("raw", 1 << 20), ("log", 0), ("state", 0):
            with open(f"{self.work}/{n}", "wb") as f:
                f.truncate(size)
        self.open = []
        self.p = None

    def fd(self, name, mode):
        fd = os.open(f"{self.work}/{name}", mode)
        self.open.append(fd)
        return fd

    def start(self, words):
        self.p = subprocess.Popen(self.emulator + BASE + ["-qmp", f"unix:{self.work}/q,server=on,wait=off"] + words, pass_fds=self.open)
        self.forget() # it has its own
        self.q = vm.QMP(f"{self.work}/q")

    def forget(self):
        for fd in self.open:
            os.close(fd)
        self.open = []

    def end(self):
        self.forget()
        if self.p:
            self.p.kill()
            self.p.wait()
            self.p = None

    def refused(self, words):
        """What a start with them says."""
        p = subprocess.run(self.emulator + BASE + words, pass_fds=self.open, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           stdin=subprocess.DEVNULL, text=True, timeout=60 * vm.SLOW)
        if p.returncode != 1:
            vm.fail(f"{words}: {p.returncode} {p.stdout}")
        return p.stdout.strip().splitlines()[-1]

    def ask(self, name, passed=None, /, **args):
        """The answer, or the error's text; ids of descriptors are but yes or no."""
        text = json.dumps({"execute": name, "arguments": {k.replace("_", "-"): v for k, v in args.items()}}).encode()
        if passed is None:
            self.q.s.sendall(text)
        else:
            socket.send_fds(self.q.s, [text], [passed])
            self.forget()
        while "event" in (said := json.loads(self.q.f.readline())):
            pass
        self.q.schema.check(name, said)
        self.last = said.get("return")
        return self.plain(said["return"]) if "return" in said else said["error"]["desc"]

    def plain(self, v):
        if isinstance(v, list):
            return [self.plain(x) for x in v]
        if isinstance(v, dict):
            return {k: x if k != "fd" else x > 2 for k, x in sorted(((k, self.plain(x)) for k, x in v.items()), key=lambda i: i[0])}
        return v

    def node(self, name, path, **more):
        return self.ask("blockdev-add", node_name=name, driver="qcow2", file={"driver": "file", "filename": path}, **more)

    def img(self, verb, *words):
        p = subprocess.run([vm.tool("viv-img"), verb, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return p.returncode, p.stdout


def lines(m):
    """The command line's errors."""
    rw, wr = m.fd("raw", os.O_RDWR), m.fd("log", os.O_WRONLY)
    disk = ["-drive", "if=none,id=d,readonly=on,format=raw,file="]
    last = lambda n: disk[:-1] + [disk[-1] + n]
    return [re.sub(r"fd=\d+", "fd=N", re.sub(r"^[\w-]+: |-drive[^:]*: ", "", m.refused(w)).replace("-drive: ", "")) for w in (
        ["-add-fd", "fd=1,set=2"], ["-add-fd", "set=2"], ["-add-fd", f"fd={rw}"], ["-add-fd", "fd=999,set=1"], ["-add-fd", f"fd={rw},set=-1"],
        ["-add-fd", "fd=-1,set=1"], ["-add-fd", f"fd={rw},set=0"] + last("/dev/fdset/9"), ["-add-fd", f"fd={wr},set=1"] + last("/dev/fdset/1"),
        last("/dev/fdset/x"))]


def script(m):
    words = []
    for name, mode, rest in ("raw", os.O_RDWR, "set=2,opaque=rdwr:raw"), ("raw", os.O_RDONLY, "set=2,opaque=rdonly:raw"), ("log", os.O_WRONLY, "set=3"):
        words += ["-add-fd", f"fd={m.fd(name, mode)},{rest}"]
    os.write(m.open[-1], b"x" * 5000) # what was there goes
    m.start(words + ["-drive", "if=none,id=d0,file=/dev/fdset/2,format=raw", "-device", "virtio-blk-pci,drive=d0",
                     "-chardev", "file,id=c0,path=/dev/fdset/3", "-mon", "chardev=c0,mode=control"])
    out = [m.ask("query-fdsets"), m.ask("add-fd")]
    out.append(m.ask("add-fd", m.fd("a", os.O_RDWR)))
    both = m.last["fd"]
    out += [m.ask("add-fd", m.fd("a", os.O_RDONLY), fdset_id=0, opaque="ro"), m.ask("add-fd", m.fd("b", os.O_RDONLY), fdset_id=7, opaque="ro:b"),
            m.ask("add-fd", m.fd("b", os.O_RDONLY), fdset_id=-7), m.ask("add-fd", m.fd("c", os.O_RDONLY)), m.ask("query-fdsets")]
    out += [m.node("n7", "/dev/fdset/7"), m.node("n7", "/dev/fdset/7", read_only=True), m.node("n0", "/dev/fdset/0")]
    out += [m.node("nx", f"/dev/fdset/{n}") for n in ("9", "x", "", "1x", "0/", "-1")]
    # Written by the descriptor; locked, until the node goes, though the set is still there.
    out.append(m.ask("blockdev-snapshot-internal-sync", device="n0", name="by-descriptor"))
    if "by-descriptor" not in m.img("snapshot", "-l", "-U", f"{m.work}/a")[1]:
        vm.fail("what was written by a descriptor is not in the file")
    if m.img("check", f"{m.work}/a")[0] == 0:
        vm.fail("the file is not locked")
    out += [m.ask("remove-fd", fdset_id=99), m.ask("remove-fd", fdset_id=0, fd=1), m.ask("remove-fd", fdset_id=0, fd=-1)]
    out.append(m.ask("blockdev-del", node_name="n0"))
    if (said := m.img("check", f"{m.work}/a"))[0]:
        vm.fail(f"still locked? {said[1]}")
    # Read-only first, then also for writing, by the other descriptor.
    out.append(m.node("n0", "/dev/fdset/0", read_only=True))
    out.append(m.ask("blockdev-reopen", options=[{"node-name": "n0", "driver": "qcow2", "read-only": False,
                                                  "file": {"driver": "file", "filename": "/dev/fdset/0"}}]))
    out.append(m.ask("blockdev-snapshot-internal-sync", device="n0", name="reopened"))
    out.append(m.ask("blockdev-del", node_name="n0"))
    out.append(m.ask("remove-fd", fdset_id=0, fd=both))
    out += [m.ask("query-fdsets"), m.node("n0", "/dev/fdset/0"), m.ask("remove-fd", fdset_id=0), m.ask("remove-fd", fdset_id=0)]
    out += [m.ask("blockdev-del", node_name="n7"), m.ask("query-fdsets")]
    log = open(f"{m.work}/log", "rb").read()
    log = log if m.ours else log.lstrip(b"\0") # QEMU goes on where the descriptor was, behind a hole
    out.append("QMP" in json.loads(log.splitlines()[0]))
    return out


def alone(m):
    """What only ours is asked."""
    # One file by one descriptor twice: the kernel's locks would not tell.
    m.ask("add-fd", m.fd("c", os.O_RDWR), fdset_id=30)
    said = [m.node("c0", "/dev/fdset/30"), m.node("c1", "/dev/fdset/30"), m.ask("blockdev-del", node_name="c0"), m.node("c1", "/dev/fdset/30")]
    if said[0] or "given twice" not in said[1] or said[2] or said[3]:
        vm.fail(f"one file twice: {said}")
    # What was opened by a set goes on without it; another file's descriptor in its place is none of it.
    m.ask("remove-fd", fdset_id=30)
    if (said := m.ask("blockdev-snapshot-internal-sync", device="c1", name="s")) or m.img("snapshot", "-l", "-U", f"{m.work}/c")[1].count(" s ") != 1:
        vm.fail(f"without its set: {said}")
    m.ask("add-fd", m.fd("b", os.O_RDONLY), fdset_id=30)
    said = m.ask("blockdev-reopen", options=[{"node-name": "c1", "driver": "qcow2", "read-only": True,
                                              "file": {"driver": "file", "filename": "/dev/fdset/30", "read-only": True}}])
    if "another file's descriptor" not in str(said):
        vm.fail(f"another file: {said}")
    # A saved state: into a set, and out of one.
    m.ask("add-fd", m.fd("state", os.O_WRONLY), fdset_id=40)
    if said := m.ask("migrate", uri="file:/dev/fdset/40"):
        vm.fail(f"migrate: {said}")
    if m.q.cmd("query-migrate")["status"] != "completed" or os.path.getsize(f"{m.work}/state") < 100000:
        vm.fail("migrate into a descriptor")
    m.end()
    for mode, fine in (os.O_RDONLY, True), (os.O_RDWR, False):
        fd = m.fd("state", mode)
        os.lseek(fd, 1000, os.SEEK_SET)
        words = ["-S", "-add-fd", f"fd={fd},set=1", "-add-fd", f"fd={fd},set=5", "-incoming", "file:/dev/fdset/1", "-drive", f"if=none,id=d0,format=raw,file={m.work}/raw",
                 "-device", "virtio-blk-pci,drive=d0"]
        if fine:
            m.start(words)
            if m.q.cmd("query-status")["status"] != "paused" or len(m.q.cmd("query-fdsets")) != 2:
                vm.fail("-incoming from a descriptor")
            m.end()
        elif "Could not dup FD for /dev/fdset/1 flags 0" not in (said := m.refused(words)):
            vm.fail(f"-incoming for reading: {said}")


def main():
    m = Machine(vm.emulator())
    try:
        ours = lines(m)
        m.forget()
        ours += script(m)
        alone(m)
    finally:
        m.end()
    if not shutil.which("qemu-system-x86_64"):
        print("ok: (no QEMU to compare with)")
        return
    m = Machine(["qemu-system-x86_64"])
    try:
        theirs = lines(m)
        m.forget()
        theirs += script(m)
    finally:
        m.end()
    for n, (mine, other) in enumerate(zip(ours, theirs)):
        if mine != other:
            vm.fail(f"step {n}:\n{mine}\nQEMU:\n{other}")
    print(f"ok: {len(ours)} answers, as QEMU's")


main()
