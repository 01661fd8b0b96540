#!/usr/bin/env python3
"""announce-self: which network cards send which frames and when, beside QEMU's; names that no card has; a machine that stands."""
import os
import shutil
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import monitored  # noqa: E402
import multiboot  # noqa: E402
import vm  # noqa: E402

MACS = ["52:54:00:aa:bb:cc", "52:54:00:aa:bb:cd"]
TIMES = {"initial": 50, "max": 150, "step": 80}
GAPS = [0.05, 0.13, 0.15]


class Machine(monitored.Machine):
    """Two cards on two wires, whose other ends are here."""

    def __init__(self, emulator):
        work = vm.scratch()
        self.got = []  # (time, card, frame)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen(2)
            where = f"127.0.0.1:{s.getsockname()[1]}"
            super().__init__(emulator, "-kernel", multiboot.kernel(work, b"\xfa\xf4\xeb\xfd"), "-netdev", f"socket,id=n0,connect={where}",
                             "-netdev", f"socket,id=n1,connect={where}", "-device", f"e1000,netdev=n0,mac={MACS[0]},id=vn0,romfile=",
                             "-device", f"virtio-net-pci,netdev=n1,mac={MACS[1]},id=vn1,romfile=", paused=False, work=work)
            s.settimeout(30 * vm.SLOW)
            self.wires = [s.accept()[0] for _ in range(2)]
        for w in self.wires:
            threading.Thread(target=self.read, args=(w.makefile("rb"),), daemon=True).start()
        time.sleep(0.5 * vm.SLOW)  # the firmware, if there is one, is through

    def read(self, f):
        while len(head := f.read(4)) == 4:
            frame = f.read(struct.unpack(">I", head)[0])
            self.got.append((time.monotonic(), ":".join(f"{b:02x}" for b in frame[6:12]), frame))

    def announce(self, seconds=0.9, **args):
        """The frames of each card, by its address, and when they came."""
        del self.got[:]
        self.q.cmd("announce-self", **TIMES, **args)
        time.sleep(seconds)
        return {m: [(t, f) for t, mac, f in self.got if mac == m] for m in MACS}


def script(emulator):
    with Machine(emulator) as m:
        out = [m.announce(rounds=5), m.announce(0.3, rounds=1, interfaces=["vn1"]), m.announce(0.3, rounds=0)]
        m.announce(0.02, rounds=50, id="x")
        out.append(m.announce(0.3, rounds=0, id="x"))  # ends it
        del m.got[:]
        m.hmp("announce_self vn0")
        time.sleep(0.1)
        out.append({mac: [(t, f) for t, got, f in m.got if got == mac][:1] for mac in MACS})
        return out


def check(seen):
    all_of, one, none, ended, hmp = seen
    for mac in MACS:
        raw = bytes.fromhex(mac.replace(":", ""))
        want = (b"\xff" * 6 + raw + bytes.fromhex("80350001080006040003") + raw + bytes(4) + raw + bytes(4)).ljust(60, b"\0")
        times = [t for t, _ in all_of[mac]]
        if [f for _, f in all_of[mac]] != [want] * 5:
            vm.fail(f"5 rounds of {mac}: {all_of[mac]}")
        gaps = [b - a for a, b in zip(times, times[1:])]
        if any(g < w - 0.04 for g, w in zip(gaps, GAPS + GAPS[-1:])):
            vm.fail(f"frames of {mac} came {gaps} apart, not {GAPS}")
    if [len(one[m]) for m in MACS] != [0, 1] or any(none.values()) or any(len(f) > 1 for f in ended.values()) or [len(hmp[m]) for m in MACS] != [1, 0]:
        vm.fail(f"one card {one}, no rounds {none}, ended {ended}, HMP {hmp}")


def check_ours():
    """Names that are wrong; a machine that stands sends nothing and makes up for it."""
    with Machine(vm.emulator()) as m:
        text = m.refused("announce-self", **TIMES, rounds=1, interfaces=["vn1", "vn9"])
        if "'vn9'" not in text:
            vm.fail(text)
        m.q.cmd("stop")
        if any(m.announce(0.3, rounds=1).values()):
            vm.fail("a machine that stands announces itself")
        m.q.cmd("cont")
        time.sleep(0.3 * vm.SLOW)
        if sorted(mac for _, mac, _ in m.got) != MACS:
            vm.fail(f"going on: {m.got}")


def main():
    check(script(vm.emulator()))
    check_ours()
    peer = shutil.which("qemu-system-x86_64")
    if peer:
        check(script([peer]))
    print("ok" if peer else "ok: (no QEMU to compare with)")


main()
