#!/usr/bin/env python3
"""What firmware reads through fw_cfg follows the machine: ACPI tables name the places that firmware has chosen, the
boot order the devices that have come.

No guest runs: the monitor writes and reads the ports as firmware would."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

HIGH = 0xE000000000  # where OVMF has 64-bit BARs when the CPU has 40 bits


class Machine:
    def __init__(self, work, board, *args, name="q"):
        self.p = vm.Guest(["-S", "-M", board, "-m", "64", "-cpu", "qemu64", "-nodefaults", "-display", "none", "-qmp", f"unix:{work}/{name},server=on,wait=off",
                           *args], board)
        self.q = vm.QMP(f"{work}/{name}")

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.p.kill()

    def hmp(self, line):
        return self.q.cmd("human-monitor-command", **{"command-line": line})

    def config(self, slot, function, reg, value):
        self.hmp(f"o/w 0xcf8 {0x80000000 | slot << 11 | function << 8 | reg:#x}")
        self.hmp(f"o/w 0xcfc {value:#x}")

    def read(self, count):
        return bytes(int(self.hmp("i/b 0x511").split("=")[1], 16) for _ in range(count))

    def select(self, key):
        self.hmp(f"o/h 0x510 {key:#x}")

    def find(self, name):
        """(key, length) of a file."""
        self.select(0x19)
        for _ in range(struct.unpack(">I", self.read(4))[0]):
            size, key, _, this = struct.unpack(">IHH56s", self.read(64))
            if this.rstrip(b"\0").decode() == name:
                return key, size
        vm.fail(f"there is no file {name}")

    def file(self, name):
        key, size = self.find(name)
        self.select(key)
        return self.read(size)


def table(blob, signature):
    at = blob.index(signature)
    return blob[at:at + struct.unpack_from("<I", blob, at + 4)[0]]


def window(blob):
    """The last window of 64 bits in the DSDT (ACPI 6.4, 6.4.3.5.1): first, last."""
    dsdt = table(blob, b"DSDT")
    return struct.unpack_from("<QQ", dsdt, dsdt.rindex(b"\x8a\x2b\x00\x00") + 14)


def check(blob, pm, inside, outside, what):
    fadt = table(blob, b"FACP")
    blocks = struct.unpack_from("<I", fadt, 56) + struct.unpack_from("<I", fadt, 64) + struct.unpack_from("<I", fadt, 76) + struct.unpack_from("<Q", fadt, 152)
    if blocks != (pm, pm + 4, pm + 8, pm):
        vm.fail(f"{what}: the FADT says {[hex(b) for b in blocks]}, the block is at {pm:#x}")
    if struct.pack("<BBHH", 0x47, 1, pm, pm) not in table(blob, b"DSDT"):
        vm.fail(f"{what}: the DSDT does not reserve {pm:#x}")
    first, last = window(blob)
    if not all(first <= a <= last for a in inside) or any(first <= a <= last for a in outside):
        vm.fail(f"{what}: the window is {first:#x}-{last:#x}")


def pc(work):
    args = ["-device", "virtio-rng-pci,addr=5"]
    with Machine(work, "pc", *args) as m:
        check(m.file("etc/acpi/tables"), 0x600, [1 << 32, (9 << 32) - 1], [HIGH], "pc, as SeaBIOS has it")
        m.config(1, 3, 0x40, 0xb001)
        m.config(1, 3, 0x80, 1)
        m.config(5, 0, 0x20, 0)
        m.config(5, 0, 0x24, HIGH >> 32)
        tables = m.file("etc/acpi/tables")
        check(tables, 0xb000, [HIGH, HIGH + (32 << 30) - 1], [1 << 32, 1 << 40], "pc, as OVMF has it")
        # Saved while they are read: the rest is the same for the machine that loads.
        key, size = m.find("etc/acpi/tables")
        m.select(key)
        start = m.read(64)
        m.q.cmd("migrate", uri=f"file:{work}/state")
        with Machine(work, "pc", "-incoming", f"file:{work}/state", *args, name="copy") as copy:
            if start + copy.read(size - 64) != tables:
                vm.fail("tables that are read while the machine is saved are others afterwards")
        m.q.cmd("system_reset")
        check(m.file("etc/acpi/tables"), 0x600, [1 << 32], [HIGH], "pc, after a reset")


def q35(work):
    with Machine(work, "q35", "-device", "pcie-root-port,id=rp,addr=5") as m:
        m.config(0, 0, 0x60, 0xe0000001)
        for reg, value in [(0x24, 0x01f10001), (0x28, HIGH >> 32), (0x2c, HIGH >> 32)]:  # 32 MiB for what comes
            m.config(5, 0, reg, value)
        m.config(31, 0, 0x40, 0x801)
        m.config(31, 0, 0x44, 0x80)
        tables = m.file("etc/acpi/tables")
        check(tables, 0x800, [HIGH, HIGH + (32 << 20) - 1], [1 << 32], "q35")
        if struct.unpack_from("<Q", table(tables, b"MCFG"), 44)[0] != 0xe0000000:
            vm.fail("q35: MCFG names another place than PCIEXBAR")


def order(work):
    """The boot order is that of the devices there are at the reset."""
    first, second = (f"/pci@i0cf8/ethernet@{n}/ethernet-phy@0" for n in (3, 4))
    with Machine(work, "pc", "-device", "virtio-net-pci,addr=3,bootindex=5,id=old") as m:
        def now(*want):
            said = m.file("bootorder").rstrip(b"\0").decode().split("\n")
            if [line for line in said if line] != list(want):
                vm.fail(f"boot order: {said}, not {want}")

        now(first)
        m.q.cmd("device_add", driver="virtio-net-pci", addr="4", bootindex=1, id="new")
        m.q.cmd("system_reset")
        now(second, first)
        m.q.cmd("device_del", id="old")
        m.q.cmd("system_reset")  # nobody has ejected it: it goes now
        now(second)
        m.q.cmd("device_del", id="new")
        m.q.cmd("system_reset")
        now()


def main():
    if not os.path.exists("/usr/share/seabios/bios-256k.bin"):
        vm.skip("needs Debian's seabios")
    work = vm.scratch()
    pc(work)
    q35(work)
    order(work)
    print("ok: the tables say where firmware has put things, the boot order what there is")


main()
