#!/usr/bin/env python3
"""-object iothread under Debian's kernel: two disks on one thread and on two, SCSI disks on a third; the threads are the ones that serve the
queues (the host's count of their turns says so), disks with threads come and go while others are written to, objects in use stay. iothreads.py [kvm]"""
import os
import sys
import types

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402
from disks import MIB, image  # noqa: E402
from hotplug import GONE, USE_DISK, WAIT, Machine, lock_free  # noqa: E402

# Two disks at once, different patterns, read back past the cache.
USE_BOTH = ("for d in A B; do dd if=/dev/urandom of=/tmp/$d bs=64k count=64 2>/dev/null; done; "
            "( dd if=/tmp/A of={0} bs=4k oflag=direct 2>/dev/null; dd if={0} of=/tmp/a bs=4k count=1024 iflag=direct 2>/dev/null ) & "
            "( dd if=/tmp/B of={1} bs=4k oflag=direct 2>/dev/null; dd if={1} of=/tmp/b bs=4k count=1024 iflag=direct 2>/dev/null ) & "
            "wait; cmp /tmp/A /tmp/a && cmp /tmp/B /tmp/b")


def turns(m, name):
    """How often the thread has gone to sleep on its own."""
    tid = {t["id"]: t["thread-id"] for t in m.q.cmd("query-iothreads")}[name]
    folder = f"/proc/{m.g.p.pid}/task/{tid}"
    with open(f"{folder}/comm") as f:
        if f.read() != f"IO {name}\n":
            m.g.die(f"thread {tid} is not {name}")
    with open(f"{folder}/status") as f:
        return int(f.read().split("\nvoluntary_ctxt_switches:")[1].split()[0])


def refused(m, word, command, **args):
    try:
        m.q.cmd(command, **args)
    except RuntimeError as e:
        if word not in str(e):
            m.g.die(f"{command} {args}: {e}")
        return
    m.g.die(f"{command} {args} is taken")


def work_on(m, what, busy, idle, nodes=("/dev/vda", "/dev/vdb")):
    before = {t: turns(m, t) for t in busy + idle}
    m.run(USE_BOTH.format(*nodes), 200)
    after = {t: turns(m, t) - before[t] for t in before}
    if min(after[t] for t in busy) < 200 or any(after[t] for t in idle):
        m.g.die(f"{what}: turns of the threads {after}")
    print(f"ok: {what}: turns {after}", flush=True)


def machine(work, name, disks, extra=()):
    args = ["-object", "iothread,id=one", "-object", "iothread,id=two"]
    for i, thread in enumerate(disks):
        args += ["-drive", f"if=none,id=d{i},format=qcow2,file={image(work, f'{name}{i}.qcow2', 64 * MIB)}",
                 "-device", f"virtio-blk-pci,drive=d{i},iothread={thread}"]
    m = Machine("pc", work, args + list(extra), name)
    m.boot()
    m.run(WAIT.format("/dev/vdb") if disks else "true")
    return m


def plugging(m, work):
    """A thread and a disk of it come and go while another disk is written to."""
    m.run("( while [ ! -e /tmp/stop ]; do dd if=/tmp/A of=/dev/vda bs=4k oflag=direct 2>/dev/null; done; echo ended > /tmp/ended ) &")
    path = image(work, "plugged.qcow2", 64 * MIB)
    for n in range(3):
        m.q.cmd("object-add", **{"qom-type": "iothread", "id": "three"})
        m.q.cmd("blockdev-add", **{"driver": "qcow2", "node-name": "disk", "file": {"driver": "file", "filename": path}})
        m.q.cmd("device_add", driver="virtio-blk-pci", id="d", drive="disk", iothread="three")
        refused(m, "in use", "object-del", id="three")
        m.run(WAIT.format("/dev/vdc"))
        m.run(USE_DISK.format("/dev/vdc"))
        if turns(m, "three") < 10:
            m.g.die("the new thread has nothing to do")
        m.q.cmd("stop")
        m.q.cmd("cont")
        m.unplug("d")
        m.run(GONE.format("/dev/vdc"))
        m.q.cmd("blockdev-del", **{"node-name": "disk"})
        m.q.cmd("object-del", id="three")
        lock_free(m, path)
    refused(m, "not found", "object-del", id="three")
    refused(m, "no iothread 'three'", "device_add", driver="virtio-scsi-pci", iothread="three")
    m.run("touch /tmp/stop; " + WAIT.format("/tmp/ended"))
    print("ok: a thread and its disk come and go beside a busy one", flush=True)


def sector():
    """A boot record that reads a sector by INT 13h and says K on the serial port, twenty times."""
    code = bytes.fromhex("31c08ed88ec0bc007cb9140051be507cb442b280cd13597206baf803b04bee")  # ... push cx; int 13h; pop cx; jc; out
    code += b"\xe2" + bytes([12 - (len(code) + 2) & 255]) + b"\xf4\xeb\xfd"  # loop; hlt
    packet = bytes.fromhex("10000100007e00000100000000000000")
    return (code.ljust(0x50, b"\0") + packet).ljust(510, b"\0") + b"\x55\xaa"


def firmware(work, accel):
    """SeaBIOS's driver. Under KVM its kicks are ioeventfds."""
    disk, qmp = os.path.join(work, "boot.raw"), os.path.join(work, "qmp-boot")
    with open(disk, "wb") as f:
        f.write(sector() + bytes(MIB))
    with vm.Guest(["-M", "pc", "-m", "64M", "-accel", accel, "-nodefaults", "-vga", "none", "-serial", "stdio", "-object", "iothread,id=one", "-drive",
                   f"if=none,id=d0,format=raw,file={disk}", "-device", "virtio-blk-pci,drive=d0,iothread=one", "-qmp",
                   f"unix:{qmp},server=on,wait=off"], f"boot-{accel}") as g:
        m = types.SimpleNamespace(g=g, q=vm.QMP(qmp))
        g.expect("K{20}", 200)
        if turns(m, "one") < 20:
            g.die(f"{accel}: the thread had {turns(m, 'one')} turns")
        m.q.cmd("quit")
    print(f"ok: SeaBIOS under {accel}", flush=True)


def main():
    work = vm.scratch()
    if sys.argv[1:]:
        firmware(work, sys.argv[1])
        return
    firmware(work, "xlate")
    m = machine(work, "one", ["one", "one"])
    work_on(m, "two disks on one thread", ["one"], ["two"])
    refused(m, "in use by 2 devices", "object-del", id="one")
    m.q.cmd("object-del", id="two")
    if [t["id"] for t in m.q.cmd("query-iothreads")] != ["one"] or not m.hmp("info iothreads").startswith("one:\r\n  thread_id="):
        m.g.die(m.hmp("info iothreads"))
    plugging(m, work)
    m.end()
    m = machine(work, "two", ["one", "two"])
    work_on(m, "two disks on two threads", ["one", "two"], [])
    m.q.cmd("system_reset")
    m.g.expect(r"^guest-ready", 200)
    m.run(WAIT.format("/dev/vdb"))
    work_on(m, "the same after a reset", ["one", "two"], [])
    m.end()
    scsi = []
    for i in range(2):
        scsi += ["-drive", f"if=none,id=s{i},format=qcow2,file={image(work, f'scsi{i}.qcow2', 64 * MIB)}", "-device", f"scsi-hd,bus=s.0,drive=s{i}"]
    m = machine(work, "scsi", [], ["-device", "virtio-scsi-pci,id=s,iothread=two"] + scsi)
    m.run(WAIT.format("/dev/sdb"))
    work_on(m, "two SCSI disks on one thread", ["two"], ["one"], ("/dev/sda", "/dev/sdb"))
    m.end()


main()
