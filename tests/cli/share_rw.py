#!/usr/bin/env python3
"""share-rw=on: two machines, ours and QEMU's in any order, write one raw disk; who does not share it is kept away, by the locks and by name."""
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

MIB = 1 << 20
DRIVE = ["-drive", "if=none,id=d,file=r,format=raw"]
NODE = ["-blockdev", "driver=file,node-name=f,filename=r", "-blockdev", "driver=raw,node-name=d,file=f"]
QCOW2 = ["-drive", "if=none,id=d,file=q,format=qcow2"]
ON = ",share-rw=on"
READ, WRITE, KEEPS_WRITERS = 100, 101, 201  # resizes (103, 203) we do not tell apart


def device(share="", kind="virtio-blk-pci,drive=d,id=v"):
    return ["-device", kind + share]


class Machine:
    count = 0

    def __init__(self, emulator, work, *args):
        Machine.count += 1
        self.path = f"{work}/q{Machine.count}"
        self.p = subprocess.Popen(emulator + ["-M", "pc", "-S", "-m", "16", "-nodefaults", "-display", "none", "-qmp",
                                              f"unix:{self.path},server=on,wait=off", *args], cwd=work, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 60
        while not os.path.exists(self.path) and self.p.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
        self.q = None

    def qmp(self):
        if not self.q:
            self.q = vm.QMP(self.path)
        return self.q

    def io(self, command):
        return self.qmp().cmd("human-monitor-command", **{"command-line": f'qemu-io -d /machine/peripheral/v/virtio-backend "{command}"'})

    def end(self):
        self.p.kill()
        return self.p.communicate()[1]

    def __enter__(self):
        self.qmp()
        return self

    def __exit__(self, *exc):
        self.end()


def refused(emulator, work, *args):
    """What it says when it does not start."""
    m = Machine(emulator, work, *args)
    try:
        m.p.wait(30)
    except subprocess.TimeoutExpired:
        m.end()
        vm.fail(f"{args} was not refused")
    return m.end()


def locks(m, path):
    inode, found = os.stat(path).st_ino, set()
    for fd in os.listdir(f"/proc/{m.p.pid}/fd"):
        try:
            if os.stat(f"/proc/{m.p.pid}/fd/{fd}").st_ino == inode:
                for line in open(f"/proc/{m.p.pid}/fdinfo/{fd}"):
                    if line.startswith("lock:"):
                        found |= set(range(int(line.split()[-2]), int(line.split()[-1]) + 1))
        except OSError:
            pass
    return sorted(found & {READ, WRITE, KEEPS_WRITERS})


def bytes_of(emulator, work):
    cases = {"drive": DRIVE + device(), "drive, shared": DRIVE + device(ON), "read-only": [DRIVE[0], DRIVE[1] + ",readonly=on"] + device(),
             "read-only, shared": [DRIVE[0], DRIVE[1] + ",readonly=on"] + device(ON), "node": NODE + device(), "node, shared": NODE + device(ON),
             "hd, shared": DRIVE + device(ON, "ide-hd,drive=d"), "nvme, shared": DRIVE + device(ON, "nvme,serial=1,drive=d"),
             "qcow2, shared": QCOW2 + device(ON), "two devices": NODE + device(ON) + device(ON, "ide-hd,drive=d")}
    got = {}
    for name, args in cases.items():
        with Machine(emulator, work, *args) as m:
            got[name] = locks(m, f"{work}/{'q' if name.startswith('qcow2') else 'r'}")
    return got


def share(work, first, second, mine):
    """Both write, and see what the other wrote. `mine`: which of them is ours."""
    with Machine(first, work, *NODE, *device(ON)) as a, Machine(second, work, *DRIVE, *device(ON)) as b:
        a.io("write -P 11 0 4k")
        b.io("write -P 22 4k 4k")
        a.io("flush")
        b.io("flush")
        if open(f"{work}/r", "rb").read(8192) != b"\x0b" * 4096 + b"\x16" * 4096:
            vm.fail(f"{first} and {second}: other bytes on the disk")
        for m, offset, pattern in ((a, "4k", 22), (b, "0", 11)):
            if m in [(a, b)[i] for i in mine] and "read 4096/4096" not in m.io(f"read -P {pattern} {offset} 4k"):
                vm.fail(f"{first} and {second}: one does not see what the other has written")
        told = refused(second, work, *DRIVE, *device())  # a third one, which does not share it
        if '"write" lock' not in told:
            vm.fail(f"a machine that does not share the disk: {told}")
    with Machine(first, work, *DRIVE, *device()):
        told = refused(second, work, *DRIVE, *device(ON))
        if '"write" lock' not in told:
            vm.fail(f"a disk that is not shared: {told}")
    with Machine(first, work, *QCOW2, *device(ON)):
        if '"write" lock' not in refused(second, work, *QCOW2, *device(ON)):
            vm.fail("a qcow2 image was shared")


def plugged(work):
    """The same with hot-plug: what has been shared is not any more, and the other way round."""
    ours = vm.emulator()
    image = f"{work}/r"
    with Machine(ours, work, *NODE) as m:
        q = m.qmp()

        def add(**args):
            q.cmd("device_add", driver="virtio-blk-pci", drive="d", **args)
        for n, (args, want) in enumerate((({"share-rw": True}, [READ, WRITE]), ({}, [READ, WRITE, KEEPS_WRITERS]), ({"share-rw": True}, [READ, WRITE]))):
            add(id=f"v{n}", **args)
            if locks(m, image) != want:
                vm.fail(f"plugged {n}: {locks(m, image)}")
            q.cmd("device_del", id=f"v{n}")
            q.cmd("system_reset")
            for _ in range(500):
                if any(e["event"] == "DEVICE_DELETED" and e["data"].get("device") == f"v{n}" for e in q.events):
                    break
                q.cmd("query-status")
                time.sleep(0.01)
            else:
                vm.fail(f"v{n} was not removed")
        add(id="v", **{"share-rw": True})
        for what, call in (("does not share", lambda: add(id="w")), ("a format", lambda: q.cmd("blockdev-add", driver="qcow2", file="f",
                                                                                                **{"node-name": "x"}))):
            try:
                call()
                vm.fail(f"{what}: not refused")
            except RuntimeError:
                pass
        add(id="w", **{"share-rw": True})
        m.io("write -P 33 0 512")
        if "read 512" not in q.cmd("human-monitor-command", **{"command-line": 'qemu-io -d w "read -P 33 0 512"'}):
            vm.fail("two devices of one node do not see the same")


def another_file(work):
    """A node's file is another one: that is locked as its user wants it."""
    shutil.copy(f"{work}/r", f"{work}/r2")
    with Machine(vm.emulator(), work, *NODE, *device(), "-blockdev", "driver=file,node-name=f2,filename=r2") as m:
        m.qmp().cmd("blockdev-reopen", options=[{"driver": "raw", "node-name": "d", "file": "f2"}])
        if locks(m, f"{work}/r2") != [READ, WRITE, KEEPS_WRITERS]:
            vm.fail(f"the new file: {locks(m, f'{work}/r2')}")


def main():
    work = vm.scratch()
    with open(f"{work}/r", "wb") as f:
        f.truncate(MIB)
    subprocess.run([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", "q", "1M"], check=True, cwd=work)
    ours, theirs = vm.emulator(), ["qemu-system-x86_64"]
    share(work, ours, ours, (0, 1))
    plugged(work)
    another_file(work)
    got = bytes_of(ours, work)
    if got["drive, shared"] != [READ, WRITE] or got["drive"] != [READ, WRITE, KEEPS_WRITERS] or got["qcow2, shared"] != got["drive"]:
        vm.fail(f"locks: {got}")
    if shutil.which(theirs[0]):
        share(work, ours, theirs, (0,))
        share(work, theirs, ours, (1,))
        want = bytes_of(theirs, work)
        if got != want:
            vm.fail(f"locks {got}, of QEMU {want}")
    print("ok")


main()
