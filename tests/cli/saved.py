#!/usr/bin/env python3
"""Saved machines and those that do not fit them: devices that came and went, others than were saved, loads that are refused or fail."""
import os
import re
import resource
import struct
import subprocess
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import monitored  # noqa: E402
import multiboot  # noqa: E402
import vm  # noqa: E402

NIC = {"driver": "virtio-net-pci"} # with an expansion ROM, as firmware runs


class Machine(monitored.Machine):
    def __init__(self, work, *words, paused=True, flash=None):
        bios = f"{work}/hlt.bin"
        if not os.path.exists(bios):
            with open(bios, "wb") as f:
                f.write(b"\xf4\xeb\xfd".rjust(65536 - 13, b"\x90") + b"\xeb\xfe".rjust(13, b"\x90"))
        firmware = ["-drive", f"if=pflash,format=raw,file={flash}"] if flash else ["-bios", bios]
        super().__init__(vm.emulator(), *firmware, *words, paused=paused, work=work)

    def hmp(self, line):
        return super().hmp(line).strip()

    def status(self):
        return self.q.cmd("query-status")["status"]

    def unplug(self, name):
        self.q.cmd("device_del", id=name)
        self.q.cmd("system_reset") # nobody answers in the guest
        end = time.monotonic() + 10 * vm.SLOW
        while not any(e["event"] == "DEVICE_DELETED" for e in self.q.events):
            if time.monotonic() > end:
                vm.fail(f"{name} does not go")
            self.q.cmd("query-status")
        del self.q.events[:]


def must(what, got, want):
    if got != want:
        vm.fail(f"{what}: {got!r}, not {want!r}")


def image(work):
    path = f"{work}/d.qcow2"
    subprocess.run([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", path, "1M"], check=True)
    return path, ["-drive", f"file={path},if=none,id=d,format=qcow2", "-device", "virtio-blk-pci,drive=d,addr=3"]


def came_and_went(work):
    """An unplugged network card leaves nothing behind that saved state would have to match."""
    disk = image(work)[1]
    state = f"{work}/state"
    with Machine(work, *disk) as m:
        must("savevm", m.hmp("savevm a"), "")
        m.q.cmd("device_add", id="n", addr="9", **NIC)
        m.unplug("n")
        must("loadvm after a card came and went", m.hmp("loadvm a"), "")
        m.q.cmd("migrate", uri=f"file:{state}")
    with Machine(work, *disk, "-incoming", "defer") as m:
        m.q.cmd("migrate-incoming", uri=f"file:{state}")
    with Machine(work, *disk, "-device", "virtio-net-pci,addr=9", "-incoming", "defer") as m:
        text = m.refused("migrate-incoming", uri=f"file:{state}")
        if "pci.0/09.0/virtio-net-pci" not in text:
            vm.fail(f"a card too many: {text}")
    print("ok: a card that came and went is in no saved state")


def other_order(work):
    """Cards plugged in by turns, given in another order."""
    state = f"{work}/state"
    with Machine(work) as m:
        m.q.cmd("device_add", addr="9", **NIC)
        m.q.cmd("device_add", addr="8", **NIC)
        m.q.cmd("migrate", uri=f"file:{state}")
    with Machine(work, "-device", "virtio-net-pci,addr=8", "-device", "virtio-net-pci,addr=9", "-incoming", "defer") as m:
        m.q.cmd("migrate-incoming", uri=f"file:{state}")
    with Machine(work, "-device", "virtio-net-pci,addr=8", "-incoming", "defer") as m:
        text = m.refused("migrate-incoming", uri=f"file:{state}")
        if "pci.0/09.0/virtio-net-pci" not in text:
            vm.fail(f"a card that is missing: {text}")
    print("ok: devices are found by their place, in any order")


def paused_or_not(work):
    """-S, `stop` and `cont` while the machine waits say how it ends."""
    state = f"{work}/state"
    with Machine(work) as m:
        m.q.cmd("migrate", uri=f"file:{state}")
    for paused, words, end in (True, [], "paused"), (False, [], "running"), (False, ["stop"], "paused"), (True, ["cont"], "running"), \
                              (True, ["cont", "stop"], "paused"):
        with Machine(work, "-incoming", "defer", paused=paused) as m:
            for w in words:
                m.q.cmd(w)
            must("before", m.status(), "inmigrate")
            m.q.cmd("migrate-incoming", uri=f"file:{state}")
            must(f"loaded, -S {paused}, {words}", m.status(), end)
            m.q.cmd("cont")
            must("after cont", m.status(), "running")
    print("ok: what was loaded later runs when it was told to")


def restarted(m):
    """After a refusal: it stands, and runs again."""
    must("state", m.status(), "internal-error")
    m.q.cmd("system_reset")
    m.q.cmd("cont")
    must("after a reset", m.status(), "running")


def failed_load(work):
    """A machine whose load failed half way cannot be saved, nor made to run, before a reset."""
    state = f"{work}/state"
    with Machine(work) as m:
        m.q.cmd("migrate", uri=f"file:{state}")
    with open(state, "r+b") as f:
        f.truncate(os.path.getsize(state) - 9) # into the devices' state
    with Machine(work, *image(work)[1], "-incoming", "defer") as m:
        m.refused("migrate-incoming", uri=f"file:{state}")
        for _ in range(2):
            must("state", m.status(), "internal-error")
            if "failed" not in m.refused("migrate", uri=f"file:{work}/again") or os.path.exists(f"{work}/again"):
                vm.fail("saved what was never loaded")
            if "failed" not in m.hmp("savevm a"):
                vm.fail("savevm of what was never loaded")
            m.refused("cont")
        restarted(m)
    print("ok: a machine whose load failed is not saved and does not run")


def io(path, *words):
    return subprocess.run([vm.tool("viv-io"), "-f", "qcow2", *[w for c in words for w in ("-c", c)], path], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True).stdout


def kept(path, what):
    out = io(path, "read -P 7 0 64k")
    if "read 65536/65536" not in out or "failed" in out:
        vm.fail(f"{what}: what was written since is gone: {out}")


def refused_whole(work):
    """A snapshot of another machine: neither disks nor machine change."""
    path, words = image(work)
    words += ["-device", "qemu-xhci,id=x"]
    with Machine(work, *words) as m:
        must("savevm", m.hmp("savevm a"), "")
    io(path, "write -P 7 0 64k")
    for odd, name in (["-device", "usb-kbd,id=k,bus=x.0"], "usb-kbd"), (["-m", "17"], "-m 17408K"), (["-smp", "2"], "-smp 2"), \
                     (["-cpu", "max,-sse4.2"], "other features"), \
                     (["-cpu", "qemu64,phys-bits=45"], "phys-bits=45"), (["-cpu", "qemu64,stepping=7"], "stepping=7"), \
                     (["-device", "virtio-net-pci,addr=9"], "virtio-net-pci/rom"):
        for paused, before in (True, "prelaunch"), (False, "running"):
            with Machine(work, *words, *odd, paused=paused) as m:
                text = m.hmp("loadvm a")
                if name not in text or "stay as they are" not in text:
                    vm.fail(f"loadvm with {odd}: {text}")
                must(f"state after a refused loadvm with {odd}", m.status(), before)
                m.q.cmd("cont")
                must("state after cont", m.status(), "running")
            kept(path, f"loadvm with {odd}")
    with Machine(work, *words, "-device", "usb-kbd,id=k,bus=x.0") as m:
        node = next(b["inserted"]["node-name"] for b in m.q.cmd("query-block"))
        m.q.cmd("snapshot-load", **{"job-id": "j", "tag": "a", "vmstate": node, "devices": [node]})
        while (job := m.q.cmd("query-jobs")[0])["status"] != "concluded":
            time.sleep(0.01)
        if "usb-kbd" not in job.get("error", ""):
            vm.fail(f"snapshot-load: {job}")
    kept(path, "snapshot-load")
    p = subprocess.run(vm.emulator() + ["-M", "pc", "-m", "16", "-nodefaults", "-display", "none", "-bios", f"{work}/hlt.bin", *words, "-device",
                                        "usb-kbd,bus=x.0", "-loadvm", "a"], stderr=subprocess.PIPE, text=True, timeout=30 * vm.SLOW)
    if not p.returncode or "usb-kbd" not in p.stderr:
        vm.fail(f"-loadvm: status {p.returncode}, {p.stderr}")
    kept(path, "-loadvm")
    with Machine(work, *words) as m:
        m.q.cmd("device_add", driver="usb-kbd", id="k", bus="x.0")
        m.unplug("k")
        must("loadvm where it fits", m.hmp("loadvm a"), "")
    if "verification failed" not in io(path, "read -P 7 0 64k"):
        vm.fail("loadvm left the disk as it was")
    print("ok: a snapshot that does not fit changes nothing")


def cut_short(work):
    """As after a savevm over an older name that was killed between two disks: the older pair is loaded, delvm removes all of the name."""
    paths, words = [f"{work}/{n}.qcow2" for n in "ab"], []
    for n, path in zip("ab", paths):
        subprocess.run([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", path, "1M"], check=True)
        words += ["-drive", f"file={path},if=none,id={n},format=qcow2", "-device", f"virtio-blk-pci,drive={n}"]
    for newer in paths:
        with Machine(work, *words) as m:
            must("savevm", m.hmp("savevm s"), "")
        for path in paths:
            io(path, "write -P 7 0 64k")
        subprocess.run([vm.tool("viv-img"), "snapshot", "-c", "s", newer], check=True)
        with Machine(work, *words) as m:
            must("loadvm of what all disks have", m.hmp("loadvm s"), "")
        for path in paths:
            if "verification failed" not in io(path, "read -P 7 0 64k"):
                vm.fail(f"loadvm left {path} as it was")
        with Machine(work, *words) as m:
            must("delvm", m.hmp("delvm s"), "")
            must("info snapshots", m.hmp("info snapshots"), "There is no snapshot available.")
        with Machine(work, *words) as m:
            must("savevm", m.hmp("savevm s"), "")
        subprocess.run([vm.tool("viv-img"), "snapshot", "-c", "s", newer], check=True)
        subprocess.run([vm.tool("viv-img"), "snapshot", "-d", "s", newer], check=True) # the first of them, the older
        with Machine(work, *words) as m:
            if "another moment" not in (text := m.hmp("loadvm s")):
                vm.fail(f"loadvm of two moments: {text}")
            must("delvm", m.hmp("delvm s"), "")
    print("ok: after a savevm that was cut short the older snapshot is loaded")


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        was = f.read(1)[0]
        f.seek(at)
        f.write(bytes([was ^ 0x80]))


def firmware_stays(work):
    """Firmware in a file that was refused is not what the machine then starts with, nor in the flash's image."""
    state = f"{work}/state"
    m = Machine(work)
    m.end()
    with open(f"{work}/hlt.bin", "rb") as f:
        rom = f.read()
    with open(f"{work}/flash", "wb") as f:
        f.write(rom)
    for kind, flash in ("ROM", None), ("flash", f"{work}/flash"):
        with Machine(work, flash=flash) as m:
            m.q.cmd("migrate", uri=f"file:{state}")
        with open(state, "rb") as f:
            flip(state, f.read().index(b"\x90\xf4\xeb\xfd\x90") + 1) # at the reset vector
        with Machine(work, "-incoming", "defer", flash=flash) as m:
            before = m.hmp("xp/4xb 0xfffffff0")
            if "0xf4 0xeb" not in before:
                vm.fail(f"no reset vector: {before}")
            if "check sum" not in m.refused("migrate-incoming", uri=f"file:{state}"):
                vm.fail("refused for something else")
            must(f"{kind} after a refusal", m.hmp("xp/4xb 0xfffffff0"), before)
            restarted(m)
            must(f"{kind} after a reset", m.hmp("xp/4xb 0xfffffff0"), before)
    with open(f"{work}/flash", "rb") as f:
        must("the flash's image is as it was", f.read() == rom, True)
    print("ok: refused firmware is not run")


def tampered(path, changes):
    """Devices' sections with other bytes, (from their end, what), and the check sum that goes with them."""
    with open(path, "rb") as f:
        data = bytearray(f.read()[:-8])
    for name, (where, new) in changes.items():
        key = re.compile(rb"S(..)([!-~]*" + re.escape(name) + rb")(....)", re.S)
        found = next(m for m in key.finditer(data) if struct.unpack("<H", m[1])[0] == len(m[2]))
        at = found.end() + struct.unpack("<I", found[3])[0] + where
        data[at:at + len(new)] = new
    with open(path, "wb") as f:
        f.write(data + struct.pack("<Q", zlib.crc32(data)))


def comparable(path):
    """But for the TSC's frequency, which is measured."""
    with open(path, "rb") as f:
        data = f.read()[:-8]
    hz = 24 + struct.unpack_from("<Q", data, 16)[0] + 16
    return data[:hz] + data[hz + 8:]


def nothing_stays(work):
    """The last device refuses its state: those before it, the clocks and the flash are what they were; reset, the machine is as one
    that never heard of that file."""
    state, disk = f"{work}/state", ["-drive", "if=none,id=f,driver=null-co", "-device", "nvme,drive=f,serial=x,addr=2"]
    flash = {}
    for name in "theirs", "mine":
        Machine(work).end() # hlt.bin
        with open(f"{work}/hlt.bin", "rb") as f:
            flash[name] = name.encode() + f.read()[len(name):]
        with open(f"{work}/{name}", "wb") as f:
            f.write(flash[name])
    own = [*disk, "-rtc", "base=2000-02-03T04:05:06,clock=vm"]
    with Machine(work, *own, flash=f"{work}/mine") as m:
        m.q.cmd("system_reset")
        m.q.cmd("migrate", uri=f"file:{work}/fresh")
    with Machine(work, *disk, "-rtc", "base=2031-12-30T23:58:57,clock=vm", paused=False, flash=f"{work}/theirs") as m:
        time.sleep(0.05) # the clocks go
        m.q.cmd("migrate", uri=f"file:{state}")
    tampered(state, {b"/PIIX3": (-4, b"\x0f"), # all of PCI's interrupt lines are high
                     b"/nvme": (-4, b"\xff" * 4)})
    with Machine(work, *own, "-incoming", "defer", flash=f"{work}/mine") as m:
        text = m.refused("migrate-incoming", uri=f"file:{state}")
        if "nvme" not in text:
            vm.fail(f"refused for something else: {text}")
        m.q.cmd("system_reset")
        m.q.cmd("migrate", uri=f"file:{work}/after")
        fresh, after = comparable(f"{work}/fresh"), comparable(f"{work}/after")
        must("size of the state after a refusal", len(after), len(fresh))
        must("bytes of it that differ", [i for i in range(len(fresh)) if fresh[i] != after[i]][:20], [])
        m.q.cmd("cont")
        must("state after cont", m.status(), "running")
    with open(f"{work}/mine", "rb") as f:
        must("the flash's image", f.read(), flash["mine"])
    print("ok: of a refused state nothing stays")


def damaged_snapshot(work):
    """A bit of a page in the snapshot's state is another: found before the disks go back to what they were."""
    path, words = image(work)
    with Machine(work, *words) as m:
        must("savevm", m.hmp("savevm a"), "")
    io(path, "write -P 7 0 64k")
    with open(path, "rb") as f:
        flip(path, f.read().index(b"\x90" * 4096) + 5) # of the firmware
    with Machine(work, *words) as m:
        text = m.hmp("loadvm a")
        if "check sum" not in text or "stay as they are" not in text:
            vm.fail(f"loadvm of damaged state: {text}")
        must("state after damaged state was refused", m.status(), "prelaunch")
        m.q.cmd("cont")
        must("state after cont", m.status(), "running")
    kept(path, "loadvm of damaged state")
    print("ok: a damaged snapshot changes nothing")


def older_format(path):
    """Format 2 had no text about the CPU; the rest is the same."""
    with open(path, "rb") as f:
        data = bytearray(f.read()[:-8])
    text = data.index(b"vendor=") - 4
    end = text + 4 + struct.unpack_from("<I", data, text)[0]
    blob = next(p for p in range(text - 8, 0, -1) if struct.unpack_from("<Q", data, p)[0] == len(data) - p - 8)
    del data[text:end]
    struct.pack_into("<Q", data, blob, len(data) - blob - 8)
    struct.pack_into("<Q", data, 8, 2)
    with open(path, "wb") as f:
        f.write(data + struct.pack("<Q", zlib.crc32(data)))


def other_cpu(work):
    """Same features, another CPU; and a file that does not tell."""
    state = f"{work}/state"
    with Machine(work) as m:
        m.q.cmd("migrate", uri=f"file:{state}")
    for words in ["-cpu", "qemu64,phys-bits=45"], ["-cpu", "qemu64,vendor=GenuineIntel"]:
        with Machine(work, *words, "-incoming", "defer") as m:
            text = m.refused("migrate-incoming", uri=f"file:{state}")
            if "saved state is of a CPU with 'vendor=" not in text:
                vm.fail(f"{words}: {text}")
    older_format(state)
    with Machine(work, "-cpu", "qemu64,phys-bits=45", "-incoming", "defer") as m:
        m.q.cmd("migrate-incoming", uri=f"file:{state}")
    print("ok: state of another CPU is refused, where it tells")


def earlier_stays(work):
    """A save that fails half way leaves the file that was there, and nothing else; also by a name without a folder, and by a link."""
    folder = f"{work}/states"
    os.mkdir(folder)
    os.mkdir(f"{folder}/in")
    state, link = f"{folder}/state", f"{folder}/link"
    open(f"{folder}/in/other", "w").close()
    os.symlink("in/other", link)
    for name in state, os.path.relpath(state), link:
        with Machine(work) as m:
            m.q.cmd("migrate", uri=f"file:{name}")
        with open(name, "rb") as f:
            first = f.read()
        if name == link:
            break
        os.chmod(state, 0o640)
        with Machine(work, "-device", "virtio-net-pci") as m:
            resource.prlimit(m.p.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            if "cannot write" not in (text := m.refused("migrate", uri=f"file:{name}")):
                vm.fail(f"save to a full disk: {text}")
            with open(name, "rb") as f:
                must("the earlier state is whole", f.read() == first, True)
            must("what lies in the folder", sorted(os.listdir(folder)), ["in", "link", "state"])
            must("the machine", m.status(), "prelaunch")
            resource.prlimit(m.p.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            m.q.cmd("migrate", uri=f"file:{name}")
        must("what lies in the folder", sorted(os.listdir(folder)), ["in", "link", "state"])
        must("its mode", os.stat(state).st_mode & 0o777, 0o640)
        with open(name, "rb") as f:
            must("the new one is another", f.read() == first, False)
        with Machine(work, "-device", "virtio-net-pci", "-incoming", f"file:{name}") as m:
            must("the machine loaded", m.status(), "paused")
    must("the link and what lies behind it", (os.path.islink(link), os.listdir(f"{folder}/in")), (True, ["other"]))
    print("ok: a save that fails leaves the earlier state")


def room_again(work):
    """The state of a snapshot that failed, or that is gone, takes no room in the image: what a disk writes then finds it there."""
    random, kernel = f"{work}/random", multiboot.kernel(work, b"\xfa\xf4\xeb\xfd")
    with open(random, "wb") as f:
        for _ in range(50): # runs of pages that are written one by one
            f.write(os.urandom(160 << 10) + bytes(4096))

    def writes(m, path, what):
        """A MiB, with no byte more for the file."""
        resource.prlimit(m.p.pid, resource.RLIMIT_FSIZE, (os.path.getsize(path) + (1 << 18), resource.RLIM_INFINITY))
        said = m.hmp('qemu-io d "write -P 7 0 1M"')
        must(f"a write after {what}", ("wrote 1048576" in said or not said) and "failed" not in said, True)
        resource.prlimit(m.p.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    for what in "a savevm that failed", "loadvm and delvm", "a loadvm of a second snapshot":
        path, disk = image(work)
        with monitored.Machine(vm.emulator(), "-kernel", kernel, "-initrd", random, *disk, work=work) as m:
            m.q.cmd("cont")
            if "failed" in what:
                resource.prlimit(m.p.pid, resource.RLIMIT_FSIZE, (4 << 20, resource.RLIM_INFINITY))
                if "Error" not in m.hmp("savevm a"):
                    vm.fail("savevm with a full disk")
            else:
                for line in ("savevm a", "loadvm a", "delvm a") + (("savevm b", "savevm c", "loadvm b", "delvm b") if "second" in what else ()):
                    must(line, m.hmp(line).strip(), "")
            writes(m, path, what)
            if "second" in what:
                must("the one that is left", m.hmp("loadvm c").strip(), "")
            must("status", m.q.cmd("query-status")["status"], "running")
            m.q.cmd("quit")
            m.p.wait()
        must(f"viv-img check after {what}", subprocess.run([vm.tool("viv-img"), "check", "-q", path]).returncode, 0)
    print("ok: what a snapshot that failed or went had taken is there for others")


def main():
    for case in earlier_stays, came_and_went, other_cpu, other_order, paused_or_not, failed_load, refused_whole, damaged_snapshot, cut_short, \
                firmware_stays, nothing_stays, room_again:
        case(vm.scratch())


main()
