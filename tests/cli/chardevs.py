#!/usr/bin/env python3
"""Character back ends that come, change and go while the machine runs, beside QEMU: what is taken and refused; what a serial port
writes and hears through each of them; a hot-plugged port on one; names that HMP and QMP give."""
import os
import shutil
import socket
import subprocess
import sys
import time
import tty

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import monitored  # noqa: E402
import vm  # noqa: E402
from monitored import hmp  # noqa: E402


def unix(path, **more):
    return dict({"addr": {"type": "unix", "data": {"path": path}}}, **more)


def inet(port, **more):
    return dict({"addr": {"type": "inet", "data": {"host": "127.0.0.1", "port": port}}}, **more)


def add(id, type, _cmd="chardev-add", **data):
    return _cmd, {"id": id, "backend": {"type": type, "data": data}}


def change(id, type, **data):
    return add(id, type, "chardev-change", **data)


def remove(id):
    return "chardev-remove", {"id": id}


# W/ is the scratch folder. "same": the words of the error, too.
STEPS = [
    (add("old", "null"), "same"), (add("n", "null"), ""), (add("n", "null"), "same"),
    (("chardev-add", {"id": "z"}), "same"), (("chardev-add", {"id": "z", "backend": {"type": "nosuch", "data": {}}}), ""),
    (add("z", "null", bogus=1), "same"), (add("z", "file"), "same"), (add("z", "null", mux=True), "same"),
    (add("z", "file", out="W/no/x"), ""), (add("f", "file", out="W/f"), ""), (add("z", "file", out="W/f", **{"in": "W/nothere"}), ""),
    (add("p", "pty"), ""), (add("z", "ringbuf", size=100), ""), (add("r", "ringbuf", size=128), ""), (add("mem", "memory"), ""),
    (add("z", "pipe", device="W/pipe"), ""), (add("z", "parallel", device="/dev/null"), ""), (add("z", "console"), ""),
    (add("s", "socket", **unix("W/s")), ""), (add("z", "socket", **unix("W/none", server=False)), ""),
    (add("later", "socket", **unix("W/none", server=False, reconnect=1)), ""),
    (add("t", "socket", **inet("0", server=True, wait=False)), ""), (add("z", "socket", **inet("1", server=False)), ""),
    (add("z", "socket", **unix("W/z", server=True, reconnect=3)), ""), (add("z", "socket", server=True), ""),
    (add("z", "socket", **unix("x" * 200, wait=False)), ""), (add("v", "vc"), ""), (add("log", "null", logfile="W/log"), ""),
    (remove("nosuch"), "same"), (remove("com1"), "same"), (remove("shared"), "same"), (remove("port"), "same"), (remove("f"), "same"),
    (remove("f"), "same"), (remove("s"), ""), (remove("v"), ""), (remove("compat_monitor0"), "same"), (("chardev-remove", {"id": 5}), "same"),
    (("chardev-send-break", {"id": "com1"}), ""), (("chardev-send-break", {"id": "nosuch"}), "same"),
    (("chardev-send-break", {"id": "shared"}), ""), (("chardev-send-break", {"id": "n"}), ""),
    (change("nosuch", "null"), "same"), (change("com1", "ringbuf", size=99), ""), (change("com1", "file", out="W/com1"), ""),
    (change("com1", "socket", **unix("W/none", server=False)), ""), (change("com1", "ringbuf", size=128), ""), (change("shared", "null"), ""),
    (change("compat_monitor0", "null"), ""), (change("n", "pty"), ""), (change("mem", "null"), ""), (change("mem", "null", mux=True), "same"),
    (("ringbuf-write", {"device": "com1", "data": "!!", "format": "base64"}), ""), (("ringbuf-write", {"device": "com1", "data": "aGk=", "format": "base64"}), "same"),
    (hmp("ringbuf_read com1 2"), "same"), (hmp("chardev-add null,id=h"), ""), (hmp("chardev-add null,id=h"), ""), (hmp("chardev-add null"), "same"), (hmp("chardev-add nosuch,id=x"), ""),
    (hmp("chardev-add socket,id=hs,path=W/hs,server=on,wait=off"), ""), (hmp("chardev-add null,id=hm,mux=on"), ""), (hmp("chardev-add null,id=x,bogus=1"), ""),
    (hmp("chardev-change h ringbuf,size=64"), ""), (hmp("chardev-change com1 ringbuf,size=77"), ""), (hmp("chardev-change zz null"), "same"),
    (hmp("chardev-send-break com1"), ""), (hmp("chardev-send-break nope"), "same"), (hmp("chardev-remove h"), ""), (hmp("chardev-remove h"), "same"),
]


class Machine(monitored.Machine):
    def __init__(self, emulator):
        super().__init__(emulator, "-chardev", "null,id=old", "-chardev", "ringbuf,id=com1,size=64", "-serial", "chardev:com1",
                         "-chardev", "null,id=shared,mux=on", "-device", "isa-serial,chardev=shared,index=1", "-device", "virtio-serial-pci,id=vs",
                         "-chardev", "null,id=port", "-device", "virtserialport,chardev=port", stderr=None)

    def do(self, name, args):
        """(went well, what was said)"""
        def here(x):
            if isinstance(x, dict):
                return {k: here(v) for k, v in x.items()}
            return x.replace("W/", self.work + "/") if isinstance(x, str) else x
        try:
            said = self.q.cmd(name, **here(args))
        except RuntimeError as e:
            return False, str(e).replace(self.work, "W")
        if name == "human-monitor-command":
            said = said.strip()
            return "Error" not in said, said
        return True, sorted(said)

    def must(self, step):
        ok, said = self.do(*step)
        if not ok:
            vm.fail(f"{step}: {said}")
        return said

    def must_not(self, step, why):
        ok, said = self.do(*step)
        if ok or why not in said:
            vm.fail(f"{step}: {said}, and not '{why}'")

    def out(self, port, value):
        self.must(hmp(f"o /b {port:#x} {value:#x}"))

    def read(self, port):
        return int(self.must(hmp(f"i /b {port:#x}")).split("=")[1], 16)

    def filename(self, id):
        return {c["label"]: c["filename"] for c in self.q.cmd("query-chardev")}[id]


def receive(fd, n, what):
    end = time.monotonic() + 10 * vm.SLOW
    data = b""
    while len(data) < n and time.monotonic() < end:
        try:
            data += os.read(fd, n - len(data))
        except (BlockingIOError, OSError):
            time.sleep(0.02)
    if len(data) < n:
        vm.fail(f"{what}: {data} came")
    return data


def hears(m, byte, what):
    """The serial port has this in its receiver."""
    end = time.monotonic() + 10 * vm.SLOW
    while not m.read(0x3fd) & 1:
        if time.monotonic() > end:
            vm.fail(f"{what}: the serial port hears nothing")
        time.sleep(0.02)
    if (got := m.read(0x3f8)) != byte:
        vm.fail(f"{what}: the serial port hears {got:#x}")


def serial(m):
    """One port, one back end after the other. The guest stands still: the monitor writes and reads its registers."""
    m.out(0x3f8, 0x41)
    m.must_not(change("com1", "file", out="W/no/x"), "No such file")
    m.out(0x3f8, 0x42)
    ring = m.q.cmd("ringbuf-read", device="com1", size=10)
    m.must(change("com1", "file", out="W/com1"))
    m.out(0x3f8, 0x43)
    m.must(change("com1", "socket", **unix("W/sock", server=True, wait=False)))
    with open(f"{m.work}/com1", "rb") as f:
        if (ring, f.read()) != ("AB", b"C"):
            vm.fail(f"ring buffer: {ring}; file: {open(m.work + '/com1', 'rb').read()}")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(f"{m.work}/sock")
        s.sendall(b"x")
        hears(m, 0x78, "socket")
        m.out(0x3f8, 0x44)
        s.setblocking(False)
        if receive(s.fileno(), 1, "socket") != b"D":
            vm.fail("socket: another byte")
        m.must(("chardev-send-break", {"id": "com1"}))
        if not m.read(0x3fd) & 0x10 or m.read(0x3f8) != 0 or m.read(0x3fd) & 0x10:
            vm.fail("the serial port sees no break")
        m.must(change("com1", "pty"))
        if s.recv(1):
            vm.fail("the old socket is not closed")
    terminal(m)
    for end in "in", "out":
        os.mkfifo(f"{m.work}/fifo.{end}")
    m.must(change("com1", "pipe", device="W/fifo"))
    m.out(0x3f8, 0x46)
    with open(f"{m.work}/fifo.in", "wb", 0) as f:
        f.write(b"z")
        hears(m, 0x7a, "pipe")
    fd = os.open(f"{m.work}/fifo.out", os.O_RDONLY | os.O_NONBLOCK)
    if receive(fd, 1, "pipe") != b"F":
        vm.fail("pipe: another byte")
    os.close(fd)


def terminal(m):
    name = m.filename("com1")
    fd = os.open(name.removeprefix("pty:"), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    tty.setraw(fd)
    os.write(fd, b"y")
    hears(m, 0x79, name)
    m.out(0x3f8, 0x45)
    if receive(fd, 1, name) != b"E":
        vm.fail(f"{name}: another byte")
    os.close(fd)


def hotplug(m):
    m.must(add("new", "socket", **unix("W/new", server=True, wait=False)))
    m.must(("device_add", {"driver": "virtserialport", "chardev": "new", "id": "hot"}))
    m.must_not(remove("new"), "Chardev 'new' is busy")
    m.must(("device_del", {"id": "hot"}))
    end = time.monotonic() + 10 * vm.SLOW
    while not m.do(*remove("new"))[0]:
        if time.monotonic() > end:
            vm.fail("the chardev of a port that is gone stays busy")
        time.sleep(0.05)
    if os.path.exists(f"{m.work}/new"):
        vm.fail("the socket's name is still there")


def passed(name, **more):
    return dict({"addr": {"type": "fd", "data": {"str": name}}}, **more)


def name(m, fd):
    socket.send_fds(m.q.s, [b'{"execute": "getfd", "arguments": {"fdname": "f"}}'], [fd])
    while b"event" in (line := m.q.f.readline()):
        pass
    if b"return" not in line:
        vm.fail(f"getfd: {line}")


def descriptors(m):
    """Sockets that somebody else has made: connected, listening, and what is neither."""
    near, far = socket.socketpair()
    with far:
        name(m, far.fileno())
    m.must(change("com1", "socket", **passed("f", server=False)))
    near.sendall(b"n")
    hears(m, 0x6e, "a connected socket")
    m.out(0x3f8, 0x47)
    near.setblocking(False)
    if receive(near.fileno(), 1, "a connected socket") != b"G":
        vm.fail("a connected socket: another byte")
    m.must_not(add("z", "socket", **passed("f", server=False)), "has not been found")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{m.work}/given")
        listener.listen(1)
        name(m, listener.fileno())
    m.must(change("com1", "socket", **passed("f", server=True, wait=False)))
    near.setblocking(True)
    if near.recv(1):
        vm.fail("the connected socket is not closed")
    near.close()
    for byte in b"op":  # one client after the other
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(f"{m.work}/given")
            s.sendall(bytes([byte]))
            hears(m, byte, "a socket that listens")
    with open("/dev/null", "rb") as f:
        name(m, f.fileno())
    m.must_not(add("z", "socket", **passed("f", server=False)), "not a socket")
    m.must(change("com1", "ringbuf"))


def odd(m):
    """Sockets that are good for nothing: an unconnected one could be connected to anybody's socket by whoever has taken the process over."""
    for server, make in ((False, lambda: socket.socket(socket.AF_UNIX)), (True, lambda: socket.socketpair()[0]),
                         (False, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))):
        with make() as s:
            name(m, s.fileno())
        ok, said = m.do(*add("z", "socket", **passed("f", server=server)))
        if ok or "socket" not in said:
            vm.fail(f"{said}")
    m.must_not(hmp("chardev-add socket,id=z,fd=f,path=/tmp/x"), "has not been found")


def inherited(emulator):
    """-chardev socket,fd=N."""
    with socket.socket(socket.AF_UNIX) as listener:
        work = vm.scratch()
        listener.bind(f"{work}/l")
        listener.listen(1)
        listener.set_inheritable(True)
        p = subprocess.Popen(emulator + ["-S", "-M", "pc", "-m", "16", "-nodefaults", "-display", "none", "-chardev",
                                         f"socket,id=mon,fd={listener.fileno()},server=on,wait=off", "-mon", "chardev=mon,mode=control"],
                             stdin=subprocess.DEVNULL, pass_fds=[listener.fileno()])
        try:
            if vm.QMP(f"{work}/l").cmd("query-status")["status"] != "prelaunch":
                vm.fail("a monitor on an inherited socket")
        finally:
            p.kill()
            p.wait()


def ours(m):
    """Where we go other ways."""
    m.must(change("port", "socket", **unix("W/p", server=True, wait=False)))
    m.must_not(change("port", "socket", **unix("W/p", server=True, wait=False)), "chardev 'port' listens")
    m.must_not(add("z", "socket", **unix("W/z", server=True, wait=True)), "wait=on would hold up the machine")
    m.must_not(add("z", "socket", **passed("7")), "'7' has not been found")
    m.must_not(hmp("chardev-add socket,id=z,fd=7"), "'7' has not been found")
    m.must_not(add("z", "udp"), "socket is TCP")
    m.must_not(add("z", "mux", chardev="old"), "add mux=on")
    m.must_not(add("1", "null"), "is no identifier")
    m.must(hmp(f"chardev-add socket,id=hmp,path={m.work}/h,server=on"))
    for n, here in enumerate((os.path.relpath(m.work), "./" + os.path.relpath(m.work))):  # the sandbox knows names from here too
        m.must(hmp(f"chardev-add socket,id=rel{n},path={here}/r{n},server=on,wait=off"))
    said = m.must(hmp("chardev-add pty,id=hp"))
    if said != f"char device redirected to {m.filename('hp')[4:]} (label hp)":
        vm.fail(f"HMP: {said}")
    said = m.must(hmp("gdbserver none")) + m.must(hmp(f"gdbserver unix:{m.work}/gdb,server=on,wait=off"))
    m.must_not(remove("gdb1"), "is busy")
    m.must_not(change("gdb1", "null"), "does not support chardev hotswap")
    m.must(hmp("gdbserver none"))


def steps(m):
    """(taken, said) of each. A failed change of a chardev that nobody uses is not among them: QEMU's is gone then."""
    return [m.do(*s) for s, _ in STEPS]


def one(emulator, *parts):
    m = Machine(emulator)
    try:
        return [part(m) for part in parts]
    finally:
        m.end()


def opened(m):
    """Nobody in the guest has opened the port; other devices are always there."""
    seen = {c["label"]: c["frontend-open"] for c in m.q.cmd("query-chardev")}
    if not (seen["com1"] and seen["shared"]) or seen["old"] or seen["port"]:
        vm.fail(f"frontend-open: {seen}")


def main():
    mine = one(vm.emulator(), steps)[0]
    one(vm.emulator(), opened, serial, hotplug, descriptors, odd, ours)
    inherited(vm.emulator())
    one(vm.emulator() + ["-sandbox", "off"], terminal_alone)
    if not shutil.which("qemu-system-x86_64"):
        print("ok: (no QEMU to compare with)")
        return
    qemu = ["qemu-system-x86_64"]
    one(qemu, opened, serial, hotplug, descriptors)
    inherited(qemu)
    theirs = one(qemu, steps)[0]
    for (step, same), a, b in zip(STEPS, mine, theirs):
        if a[0] != b[0] or ((same or a[0]) and a[1] != b[1]):
            vm.fail(f"{step}:\n{a}\nQEMU:\n{b}")
    print(f"ok: {len(STEPS)} steps, as QEMU's")


def terminal_alone(m):
    m.must(change("com1", "pty"))
    terminal(m)


main()
