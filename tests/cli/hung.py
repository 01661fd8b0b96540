#!/usr/bin/env python3
"""Storage that answers no more: what can still be done with the machine, and that it ends."""
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import monitored  # noqa: E402
import vm  # noqa: E402

SIZE = 1 << 20


class Server:
    """NBD, of zeroes. While `hold` is set reads are not answered; `asked`: one was."""

    def __init__(self, path):
        self.hold, self.asked = threading.Event(), threading.Event()
        self.held = []
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(path)
        self.s.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def get(self, n):
        data = self.c.recv(n, socket.MSG_WAITALL)
        if len(data) < n:
            raise EOFError
        return data

    def agree(self):
        self.c.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
        self.get(4)
        while True:
            _, option, size = struct.unpack(">8sII", self.get(16))
            self.get(size)
            head = struct.pack(">QI", 0x3e889045565a9, option)
            if option == 7: # GO
                self.c.sendall(head + struct.pack(">IIHQH", 3, 12, 0, SIZE, 5) + head + struct.pack(">II", 1, 0))
                return
            self.c.sendall(head + struct.pack(">II", 0x80000001, 0))

    def answer(self, handle, data=b""):
        self.c.sendall(struct.pack(">IIQ", 0x67446698, 0, handle) + data)

    def serve(self):
        self.c, _ = self.s.accept()
        try:
            self.agree()
            while True:
                _, _, kind, handle, _, size = struct.unpack(">IHHQQI", self.get(28))
                if kind == 0 and self.hold.is_set():
                    self.held.append((handle, size))
                    self.asked.set()
                else:
                    self.answer(handle, {0: bytes(size), 1: b""}.get(kind, b""))
        except (EOFError, OSError):
            pass

    def let_go(self):
        while self.held:
            handle, size = self.held.pop()
            self.answer(handle, bytes(size))


class Machine(monitored.Machine):
    """Its firmware waits for the boot disk `h`; disk `k` is on good storage."""

    def __init__(self, device="virtio-blk-pci"):
        work = vm.scratch()
        self.disk = f"{work}/k.qcow2"
        subprocess.run([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", self.disk, "1M"], check=True)
        self.server = Server(f"{work}/n")
        super().__init__(vm.emulator(), "-drive", f"if=none,id=h,format=raw,file=nbd+unix:///?socket={work}/n", *device.split(), "-drive",
                         f"if=none,id=k,format=qcow2,file={self.disk}", "-device", "virtio-blk-pci,drive=k", work=work,
                         stderr=subprocess.PIPE, text=True)
        self.server.hold.set()
        self.q.cmd("cont")
        if not self.server.asked.wait(30 * vm.SLOW):
            vm.fail("the firmware reads nothing")


DEVICES = ["-device virtio-blk-pci,drive=h,bootindex=0", "-device ich9-ahci,id=a -device ide-hd,drive=h,bus=a.0,bootindex=0"]


def starting():
    """Ctrl-C and SIGTERM, while what the start waits for does not come: a client, a server's answer."""
    work = vm.scratch()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(1)
        waits = [["-serial", f"unix:{work}/c,server=on"], ["-drive", f"file=nbd://127.0.0.1:{s.getsockname()[1]}/x,if=none"]]
        for signo, words in zip((signal.SIGINT, signal.SIGTERM), waits):
            p = subprocess.Popen(vm.emulator() + ["-M", "pc", "-m", "16", "-nodefaults", "-display", "none", *words], stderr=subprocess.DEVNULL)
            time.sleep(1.5 * vm.SLOW)
            must("still starting", p.poll(), None)
            p.send_signal(signo)
            try:
                must("status", p.wait(10 * vm.SLOW), -signo)
            except subprocess.TimeoutExpired:
                p.kill()
                vm.fail(f"{words}: {signo} does nothing")
    print("ok: a start that waits can be ended")


def ends():
    """quit: after half a minute, without the disk."""
    for device in DEVICES[:1]:
        with Machine(device) as m:
            m.q.cmd("quit")
            try:
                text = m.p.communicate(timeout=45 + 10 * vm.SLOW)[1]
            except subprocess.TimeoutExpired:
                vm.fail("it never ends")
            if m.p.returncode != 1 or "'h'" not in text or "'k'" in text:
                vm.fail(f"status {m.p.returncode}: {text}")
    print("ok: quit ends where a disk hangs, names it, and no other")


def resets():
    """system_reset: the monitor answers, and it happens when the disk is there again."""
    for device in DEVICES:
        with Machine(device) as m:
            m.q.cmd("system_reset")
            must("state", m.q.cmd("query-status")["status"], "restore-vm")
            for c in "system_reset", "stop", "cont", "stop":
                m.q.cmd(c)
            must("events", [e["event"] for e in m.q.events if e["event"] != "RESUME"], [])
            m.server.asked.clear()
            m.server.let_go()
            end = time.monotonic() + 20 * vm.SLOW
            while m.q.cmd("query-status")["status"] == "restore-vm" and time.monotonic() < end:
                time.sleep(0.01)
            must("state", m.q.cmd("query-status")["status"], "paused")
            must("events", [e["event"] for e in m.q.events if e["event"] != "RESUME"], ["RESET", "STOP"])
            m.q.cmd("cont")
            if not m.server.asked.wait(30 * vm.SLOW):
                vm.fail("the firmware does not read again")
            m.server.hold.clear()
            m.server.let_go()
            m.q.cmd("quit")
            must("status", m.p.wait(20 * vm.SLOW), 0)
    print("ok: a reset waits for a disk that hangs, and everybody else does not")


def must(what, got, want):
    if got != want:
        vm.fail(f"{what}: {got!r}, not {want!r}")


def main():
    starting()
    resets()
    ends()


main()
