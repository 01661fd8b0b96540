#!/usr/bin/env python3
"""Capabilities and parameters of migration: what is listed, set and refused, beside QEMU's; MIGRATION events; a machine that was loaded announces
itself as the parameters say; no TPM. Saving to pipes: by name and by descriptor, with nobody who reads, or not for a while; cancelled, ended."""
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import multiboot  # noqa: E402
import monitored  # noqa: E402
import vm  # noqa: E402

SET = [{"announce-rounds": 7}, {"announce-initial": 20, "announce-max": 60, "announce-step": 5}, {"announce-rounds": 1001}, {"announce-initial": -1},
       {"announce-step": 10001}, {}, {"max-bandwidth": (1 << 63) - 1}]  # the same answers
REFUSED = [{"downtime-limit": 30}, {"max-bandwidth": 1000}, {"tls-creds": "x"}, {"multifd-channels": 2}, {"announce-rounds": 3, "compress-level": 1}]


class Machine(monitored.Machine):
    def __init__(self, emulator, *words, **popen):
        super().__init__(emulator, *words, paused=not words, **popen)

    def ok(self, name, **args):
        try:
            self.q.cmd(name, **args)
            return True
        except RuntimeError as e:
            self.said = str(e)
            return False


def cap(**states):
    return {"capabilities": [{"capability": k.replace("_", "-"), "state": v} for k, v in states.items()]}


def script(emulator):
    """What both have to say the same of."""
    with Machine(emulator) as m:
        seen = [m.q.cmd("query-migrate-capabilities"), m.hmp("info migrate_capabilities"), m.q.cmd("query-tpm"), m.hmp("info tpm")]
        for step in SET:
            seen.append(m.ok("migrate-set-parameters", **step))
            now = m.q.cmd("query-migrate-parameters")
            seen.append({k: v for k, v in now.items() if k.startswith("announce")})
        for step in cap(), cap(events=True), cap(foo=True), cap(multifd=False, events=True):
            seen.append(m.ok("migrate-set-capabilities", **step))
            seen.append(m.q.cmd("query-migrate-capabilities"))
        for line in ("migrate_set_capability events off", "migrate_set_capability events on", "migrate_set_parameter announce-rounds 3"):
            seen.append(m.hmp(line))
        seen.append([bool(m.hmp(line)) for line in ("migrate_set_capability foo on", "migrate_set_parameter foo 1", "migrate_set_parameter announce-rounds 7000")])
        seen.append([line for line in m.hmp("info migrate_parameters").splitlines() if line.startswith("announce")])
        return seen


def check_refused():
    """By its name, and then nothing has changed."""
    with Machine(vm.emulator()) as m:
        before = m.q.cmd("query-migrate-parameters"), m.q.cmd("query-migrate-capabilities")
        for step in REFUSED:
            if m.ok("migrate-set-parameters", **step) or not any(k in m.said for k in step):
                vm.fail(f"{step} is not refused by name")
        for c in before[1]:
            if c["capability"] != "events" and (m.ok("migrate-set-capabilities", **cap(events=True, **{c["capability"].replace("-", "_"): True})) or
                                                f"'{c['capability']}'" not in m.said):
                vm.fail(f"{c} is not refused by name")
        if "max-bandwidth" not in m.hmp("migrate_set_parameter max-bandwidth 32") or m.hmp("migrate_set_parameter max-bandwidth 4E"):
            vm.fail("HMP's max-bandwidth")
        m.q.cmd("migrate-set-parameters", **{"max-bandwidth": (1 << 63) - 1})
        if before != (m.q.cmd("query-migrate-parameters"), m.q.cmd("query-migrate-capabilities")):
            vm.fail("what was refused has changed something")
        if m.q.cmd("query-tpm-models") or m.q.cmd("query-tpm-types"):
            vm.fail("a TPM")


def check_events():
    """Of saving and loading; and the frames of a machine that was loaded, as often as it was told."""
    wire, far = socket.socket(), []
    wire.bind(("127.0.0.1", 0))
    wire.listen(2)
    wire.settimeout(30 * vm.SLOW)
    nic = ["-netdev", f"socket,id=n0,connect=127.0.0.1:{wire.getsockname()[1]}", "-device", "e1000,netdev=n0,mac=52:54:00:aa:bb:cc,romfile=", "-kernel",
           multiboot.kernel(vm.scratch(), b"\xfa\xf4\xeb\xfd")]
    with Machine(vm.emulator(), *nic) as m:
        far.append(wire.accept()[0])
        m.ok("migrate-set-capabilities", **cap(events=True))
        m.q.cmd("migrate", uri=f"file:{m.work}/state")
        if m.ok("migrate", uri="tcp:x:1"):
            vm.fail("migrate to tcp:")
        told = [e["data"]["status"] for e in m.q.events if e["event"] == "MIGRATION"]
        if told != ["setup", "active", "completed", "setup", "active", "failed"]:
            vm.fail(f"events: {told}")
        with Machine(vm.emulator(), *nic, "-incoming", "defer") as copy:
            far.append(wire.accept()[0])
            copy.ok("migrate-set-capabilities", **cap(events=True))
            copy.q.cmd("migrate-set-parameters", **{"announce-rounds": 3, "announce-initial": 10, "announce-max": 10})
            copy.q.cmd("migrate-incoming", uri=f"file:{m.work}/state")
            time.sleep(0.5 * vm.SLOW)
            told = [e["data"]["status"] for e in copy.q.events if e["event"] == "MIGRATION"]
            got = far[1].recv(65536, socket.MSG_DONTWAIT)
            if told != ["setup", "active", "completed"] or got.count(b"\x80\x35\x00\x01") != 3:
                vm.fail(f"after loading: {told}, {got}")


def still(work):
    """Words of a machine whose guest does nothing."""
    return "-device", "virtio-net-pci,id=n", "-kernel", multiboot.kernel(work, b"\xfa\xf4\xeb\xfd")


class Blocked:
    """A machine whose state goes into a full pipe; `ask` is its second monitor, as the first one may wait."""

    def __init__(self):
        work = vm.scratch()
        self.pipe = f"{work}/pipe"
        os.mkfifo(self.pipe)
        self.m = Machine(vm.emulator(), "-qmp", f"unix:{work}/second,server=on,wait=off", *still(work))
        self.second = vm.QMP(f"{work}/second")
        if self.m.ok("migrate", uri=f"file:{self.pipe}") or "start its reader first" not in self.m.said:
            vm.fail(f"a pipe that nobody reads: {self.m.said}")
        self.fd = os.open(self.pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.start()

    def start(self):
        self.m.q.cmd("migrate", uri=f"file:{self.pipe}", detach=True)
        self.sees("active")

    def sees(self, want, state=None):
        end = time.monotonic() + 10 * vm.SLOW
        while (now := self.second.cmd("query-migrate"))["status"] != want:
            if time.monotonic() > end:
                vm.fail(f"{now}, not {want}")
            time.sleep(0.05)
        if state and self.second.cmd("query-status")["status"] != state:
            vm.fail(f"{want}: {self.second.cmd('query-status')}")

    def read(self):
        data = b""
        os.set_blocking(self.fd, True)
        while piece := os.read(self.fd, 1 << 20):
            data += piece
        return data


def check_slow():
    """Nobody waits for who reads the pipe but who wants to."""
    b = Blocked()
    for name, args in ("migrate", {"uri": "file:/dev/null"}), ("cont", {}), ("system_reset", {}), ("device_del", {"id": "n"}), ("savevm", None):
        said = b.m.hmp(name) if args is None else "" if b.m.ok(name, **args) else b.m.said
        if "saved" not in said and "save-vm" not in said and "snapshots" not in said:
            vm.fail(f"{name} while it is saved: {said!r}")
    b.sees("active", "save-vm")
    b.second.cmd("migrate_cancel")
    b.sees("cancelled", "running")
    os.read(b.fd, 1 << 20)
    b.start()
    state = b.read()
    b.sees("completed", "postmigrate")
    b.m.q.cmd("migrate", uri=f"file:{b.m.work}/state")
    with open(f"{b.m.work}/state", "rb") as f:
        if f.read() != state:
            vm.fail("what came through the pipe is not what a file gets")
    b.start()
    b.m.p.send_signal(signal.SIGTERM)
    if b.m.p.wait(10 * vm.SLOW):
        vm.fail("SIGTERM while nobody reads the pipe")
    with Machine(vm.emulator(), *still(vm.scratch()), "-incoming", "defer") as m:
        m.q.s.sendall(json.dumps({"execute": "migrate-incoming", "arguments": {"uri": f"file:{b.pipe}"}}).encode() + b"\n")
        time.sleep(0.5 * vm.SLOW)
        m.p.send_signal(signal.SIGTERM)
        if m.p.wait(10 * vm.SLOW):
            vm.fail("SIGTERM while nobody writes to the pipe")
    print("ok: pipes that nobody reads or writes to")


def check_fds():
    """As libvirt saves and restores, but that some of its descriptors have names. Its own head is in front."""
    work = vm.scratch()
    r, w = os.pipe()
    with Machine(vm.emulator(), *still(work), pass_fds=[r, w]) as m:
        for uri, why in (f"fd:{r}", "cannot be written to"), ("fd:x", "getfd"), ("fd:", "only file:PATH and fd:NAME"), ("exec:cat >x", "mkfifo"):
            if m.ok("migrate", uri=uri) or why not in m.said:
                vm.fail(f"migrate {uri}: {m.said}")
        m.q.cmd("migrate", uri=f"fd:{w}", detach=True, resume=False, blk=False, inc=False)
        os.close(w)
        with os.fdopen(r, "rb") as f:
            state = f.read()
        if m.q.cmd("query-migrate")["ram"]["transferred"] != len(state):
            vm.fail(f"{m.q.cmd('query-migrate')}, and {len(state)} bytes came")
    r, w = os.pipe()
    os.write(w, b"head")
    with Machine(vm.emulator(), *still(work), "-incoming", "defer", pass_fds=[r]) as m, os.fdopen(w, "wb") as f:
        if os.read(r, 4) != b"head":
            vm.fail("the pipe")
        writer = threading.Thread(target=lambda: f.write(state) and f.flush())
        writer.start()
        m.q.cmd("migrate-incoming", uri=f"fd:{r}")
        writer.join()
        if m.q.cmd("query-status")["status"] != "running":
            vm.fail("loading from a descriptor")
    print("ok: descriptors")


def main():
    mine = script(vm.emulator())
    check_refused()
    check_events()
    check_slow()
    check_fds()
    peer = shutil.which("qemu-system-x86_64")
    for a, b in zip(mine, script([peer]) if peer else mine):
        if a != b:
            vm.fail(f"{a}\nQEMU: {b}")
    print("ok" if peer else "ok: (no QEMU to compare with)")


main()
