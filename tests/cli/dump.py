#!/usr/bin/env python3
"""dump-guest-memory: what gdb and readelf find in a core is what the machine holds; both formats have the same bytes; events, answers
and errors beside QEMU's; a disk that is full, a pipe that nobody reads, and the end of the process meanwhile."""
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import monitored  # noqa: E402
import multiboot  # noqa: E402
import vm  # noqa: E402

# As in examine.py: 32-bit code that sets EAX, EDI, EBP and DF; code that goes to 64-bit mode, where the first 2 MiB are mapped as they
# are, and sets RAX, R9 and others. Both halt.
CODE = {"32-bit": bytes.fromhex("bf00300000bd00200000b811223344fdf4ebfd"),
        "64-bit": bytes.fromhex("c7050000200003102000c7050010200003202000c7050020200083000000c70508300000ffff0000c7050c300000009aaf00c70510300000ffff0000"
                     "c705143000000092cf00c7051830000067000040c7051c30000000890000c7052030000000000000c7052430000000000000b8000020000f22d8b820"
                     "0200000f22e0b9800000c00f320d000100000f30b8110000800f22c00f0115c2001000eac80010000800270000300000b8100000008ed08ed831c08e"
                     "c0b8180000000f00d848b8887766554433221166480f6ed8664c0f6ee8dbe3d9eb4989c1f9f4ebfd")}
REGISTERS = {"32-bit": {"eax": 0x44332211, "edi": 0x3000, "ebp": 0x2000, "cs": 8}, "64-bit": {"rax": 0x1122334455667788, "r9": 0x1122334455667788, "cs": 8}}
STEPS = [{"protocol": "file:DIR/a"}, {"protocol": "file:DIR/a", "paging": True}, {"protocol": "file:DIR/a", "format": "kdump-zlib"},
         {"protocol": "file:DIR/a", "begin": 0x100000, "length": 0x10000}, {"protocol": "file:DIR/a", "format": "kdump-zlib", "paging": True},
         {"protocol": "file:DIR/a", "format": "kdump-zlib", "begin": 0, "length": 4096}, {"protocol": "file:DIR/a", "begin": 4096},
         {"protocol": "file:DIR/a", "length": 4096}, {"protocol": "file:DIR/a", "begin": 1 << 40, "length": 10}, {"protocol": "file:DIR/no/a"},
         {"protocol": "foo"}, {"protocol": "fd:foo"}, {"protocol": "file:/dev/full"}, {"protocol": "file:DIR/a", "format": "kdump-lzo"},
         {"protocol": "file:DIR/a", "format": "foo"}]


class Machine(monitored.Machine):
    def __init__(self, emulator, mode="64-bit"):
        work = vm.scratch()
        super().__init__(emulator, "-smp", "2", "-kernel", multiboot.kernel(work, CODE[mode]), paused=False, work=work, stderr=None)
        for _ in range(500):
            text = self.hmp("info registers")
            if "HLT=1" in text and re.search(r"IP=[0-9a-f]*001000", text):
                return
            time.sleep(0.02)
        vm.fail(f"the code has not halted: {text}")

    def dump(self, paging=False, **args):
        args["protocol"] = args["protocol"].replace("DIR", self.work)
        self.q.cmd("dump-guest-memory", paging=paging, **args)

    def refused(self, **args):
        try:
            self.dump(**args)
        except RuntimeError as e:
            return re.search(r"'desc': ['\"](.*)['\"]}", str(e))[1].replace(self.work, "DIR")
        vm.fail(f"{args} is not refused")

    def memory(self, start, size):
        """What lies there, by another command."""
        self.q.cmd("pmemsave", val=start, size=size, filename=f"{self.work}/mem")
        return open(f"{self.work}/mem", "rb").read()

    def ended(self):
        """The last event of a dump that was not waited for."""
        end = time.monotonic() + 60 * vm.SLOW
        while time.monotonic() < end:
            self.q.cmd("query-status")
            for e in self.q.events:
                if e["event"] == "DUMP_COMPLETED":
                    return e["data"]
            time.sleep(0.02)
        vm.fail("the dump does not end")


def loads(path):
    """[(virtual, physical, bytes)], [notes' names and types] of a core file; readelf must have nothing to complain of."""
    if shutil.which("readelf"):
        p = subprocess.run(["readelf", "-hlnW", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if p.returncode or "arning" in p.stdout or "rror" in p.stdout:
            vm.fail(f"readelf {path}: {p.stdout}")
    data = open(path, "rb").read()
    wide = data[4] == 2
    at, = struct.unpack_from("<Q", data, 32) if wide else struct.unpack_from("<I", data, 28)
    size, count = struct.unpack_from("<HH", data, 54 if wide else 42)
    out, notes = [], []
    for i in range(count):
        if wide:
            kind, _, offset, virt, phys, length, _, _ = struct.unpack_from("<IIQQQQQQ", data, at + i * size)
        else:
            kind, offset, virt, phys, length, _, _, _ = struct.unpack_from("<8I", data, at + i * size)
        if kind == 1:
            out.append((virt, phys, data[offset:offset + length]))
        while kind == 4 and length:
            name, desc, what = struct.unpack_from("<III", data, offset)
            notes.append((data[offset + 12:offset + 12 + name].rstrip(b"\0").decode(), what, desc))
            step = 12 + (name + 3 & ~3) + (desc + 3 & ~3)
            offset, length = offset + step, length - step
    return out, notes, struct.unpack_from("<H", data, 18)[0]


def kdump(path):
    """{page's number: bytes} of a flattened kdump file."""
    data = open(path, "rb").read()
    if data[:16] != b"makedumpfile\0\0\0\0":
        vm.fail("no makedumpfile header")
    flat, at = bytearray(), 4096
    while True:
        offset, length = struct.unpack_from(">qq", data, at)
        if offset < 0:
            break
        flat.extend(bytes(max(0, offset + length - len(flat))))
        flat[offset:offset + length] = data[at + 16:at + 16 + length]
        at += 16 + length
    if at + 16 != len(data) or flat[:8] != b"KDUMP   ":
        vm.fail("the records do not end where the file ends")
    block, sub, bitmaps = struct.unpack_from("<iiI", flat, 428)
    start = (1 + sub) * block
    half = bitmaps // 2 * block
    if flat[start:start + half] != flat[start + half:start + 2 * half]:
        vm.fail("the two bitmaps differ")
    pages, desc = {}, start + 2 * half
    for i in range(half * 8):
        if flat[start + half + i // 8] >> i % 8 & 1:
            offset, length, flags, _ = struct.unpack_from("<qIIq", flat, desc)
            desc += 24
            raw = bytes(flat[offset:offset + length])
            pages[i] = zlib.decompress(raw) if flags == 1 else raw
            if len(pages[i]) != 4096:
                vm.fail(f"page {i} has {len(pages[i])} bytes")
    return pages


def gdb(core, *lines):
    words = [w for line in lines for w in ("-ex", line)]
    return subprocess.run(["gdb", "-nx", "-batch", *words, "-c", core], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def check_core(mode):
    """Registers and memory, in each way to write them."""
    with Machine(vm.emulator(), mode) as m:
        m.dump(protocol="file:DIR/core")
        parts, notes, machine = loads(f"{m.work}/core")
        want = [("CORE", 1, 336 if mode == "64-bit" else 144)] * 2 + [("QEMU", 0, 440)] * 2
        if notes != want or machine != (62 if mode == "64-bit" else 3):
            vm.fail(f"notes {notes}, machine {machine}")
        for virt, phys, data in parts:
            if virt != phys or data != m.memory(phys, len(data)):
                vm.fail(f"{len(data)} bytes at {phys:#x} are not what is in memory")
        if sum(len(p[2]) for p in parts) < 15 << 20:
            vm.fail("memory is missing")
        if shutil.which("gdb"):
            out = gdb(f"{m.work}/core", "info threads", *(f"printf \"{r} %#lx\\n\", ${r}" for r in REGISTERS[mode]), "x/3bx 0x100020")
            wanted = [f"{r} {v:#x}\n" for r, v in REGISTERS[mode].items()] + ["LWP 2", "0x100020:"]
            if not all(w in out for w in wanted):
                vm.fail(f"gdb does not find {wanted} in the core: {out}")
        m.dump(protocol="file:DIR/part", begin=0xff800, length=0x1000)
        parts = loads(f"{m.work}/part")[0]
        if [(p[1], p[2]) for p in parts] != [(0xff800, m.memory(0xff800, 0x1000))]:
            vm.fail(f"begin and length: {[(p[1], len(p[2])) for p in parts]}")
        if mode == "32-bit":
            if "64-bit mode" not in m.refused(protocol="file:DIR/k", format="kdump-zlib"):
                vm.fail("kdump of a 32-bit guest")
            return
        m.dump(protocol="file:DIR/k", format="kdump-zlib")
        pages = kdump(f"{m.work}/k")
        whole = {(phys + at) // 4096: data[at:at + 4096] for _, phys, data in loads(f"{m.work}/core")[0] for at in range(0, len(data), 4096)}
        if pages != whole:
            vm.fail("the two formats differ")
        m.dump(protocol="file:DIR/paged", paging=True)
        for virt, phys, data in loads(f"{m.work}/paged")[0]:
            if virt != phys or virt + len(data) > 2 << 20 or data != m.memory(phys, len(data)):
                vm.fail(f"paging: {len(data)} bytes of {phys:#x} at {virt:#x}")


def script(emulator):
    """What the steps gave: error, events, what query-dump says, whether the machine runs."""
    with Machine(emulator) as m:
        seen = [m.q.cmd("query-dump")]
        for step in STEPS:
            del m.q.events[:]
            error = None
            try:
                m.dump(**step)
            except RuntimeError as e:
                error = re.search(r"'desc': ['\"](.*)['\"]}", str(e))[1].replace(m.work, "DIR")
            running = m.q.cmd("query-status")["running"]
            state = m.q.cmd("query-dump")
            events = [(e["event"], e.get("data", {}).get("result", {}).get("status"), "error" in e.get("data", {})) for e in m.q.events]
            seen.append((error, events, state["status"], state["completed"] == state["total"], running))
        m.q.cmd("stop")
        m.dump(protocol="file:DIR/a")
        seen.append(m.q.cmd("query-status")["status"])
        seen.append(m.hmp("info dump"))
        m.hmp(f"dump-guest-memory -d {m.work}/a 0x1000 0x2000")
        m.ended()
        seen.append(m.q.cmd("query-dump")["total"])
        return seen


def compare(mine, theirs):
    for step, a, b in zip(["before"] + STEPS + ["stopped", "info dump", "HMP"], mine, theirs):
        if isinstance(a, tuple):
            if (a[0] is None) != (b[0] is None) or a[1:] != b[1:]:
                vm.fail(f"{step}: {a}\nQEMU: {b}")
        elif a != b:
            vm.fail(f"{step}: {a}\nQEMU: {b}")


def check_pipe():
    """A pipe that nobody reads: the machine stands, monitors answer, and whoever reads gets it whole."""
    with Machine(vm.emulator()) as m:
        r, w = os.pipe()
        socket.send_fds(m.q.s, [b'{"execute": "getfd", "arguments": {"fdname": "f"}}'], [w])
        m.q.f.readline()
        os.close(w)
        m.dump(protocol="fd:f", detach=True)
        if m.q.cmd("query-status")["status"] != "save-vm" or m.q.cmd("query-dump")["status"] != "active":
            vm.fail("the dump is not under way")
        if "Status: active\nFinished: " not in m.hmp("info dump"):
            vm.fail(m.hmp("info dump"))
        for name, args in (("cont", {}), ("dump-guest-memory", {"paging": False, "protocol": "file:/dev/null"}), ("migrate", {"uri": "file:/dev/null"}),
                           ("system_reset", {})):
            try:
                m.q.cmd(name, **args)
                vm.fail(f"{name} while memory is dumped")
            except RuntimeError:
                pass
        with open(f"{m.work}/core", "wb") as out, os.fdopen(r, "rb") as f:
            shutil.copyfileobj(f, out)
        if m.ended()["result"]["status"] != "completed" or sum(len(p[2]) for p in loads(f"{m.work}/core")[0]) < 15 << 20:
            vm.fail("what came through the pipe is not all")
        if not m.q.cmd("query-status")["running"]:
            vm.fail("the machine does not go on")
        # A reader that goes; and the end of the process, with one that stays and does not read.
        for step in "gone", "quit":
            r, w = os.pipe()
            socket.send_fds(m.q.s, [b'{"execute": "getfd", "arguments": {"fdname": "f"}}'], [w])
            m.q.f.readline()
            os.close(w)
            del m.q.events[:]
            m.dump(protocol="fd:f", detach=True)
            if step == "gone":
                os.close(r)
                if "Broken pipe" not in m.ended().get("error", ""):
                    vm.fail(f"a reader that is gone: {m.q.events}")
        m.q.cmd("quit")
        m.p.wait(30 * vm.SLOW)
        if m.p.returncode:
            vm.fail(f"quit while memory is dumped: {m.p.returncode}")


def check_full():
    """A disk without room: an error, and the machine runs."""
    if os.getuid() or not shutil.which("mount"):
        return
    with Machine(vm.emulator()) as m:
        folder = f"{m.work}/small"
        os.mkdir(folder)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], stderr=subprocess.DEVNULL).returncode:
            return
        try:
            said = m.refused(protocol=f"file:{folder}/core")
        finally:
            subprocess.run(["umount", folder], check=True)
        state = m.q.cmd("query-dump")
        if "No space left on device" not in said or not m.q.cmd("query-status")["running"] or state["status"] != "failed" or not 0 < state["completed"] < state["total"]:
            vm.fail(f"a disk that is full: {said} {state}")


def main():
    check_core("64-bit")
    check_core("32-bit")
    check_pipe()
    check_full()
    mine = script(vm.emulator())
    if not shutil.which("qemu-system-x86_64"):
        print("ok: (no QEMU to compare with)")
        return
    compare(mine, script(["qemu-system-x86_64"]))
    print(f"ok: {len(STEPS)} dumps as QEMU's")


main()
