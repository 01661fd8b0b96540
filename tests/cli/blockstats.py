#!/usr/bin/env python3
"""query-blockstats: what is accounted, latencies' histograms and intervals, discards of files; beside what QEMU says of the same requests."""
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

MIB = 1 << 20
A, B = "/machine/peripheral/a/virtio-backend", "/machine/peripheral/b/virtio-backend"
SET = "block-latency-histogram-set"
# Writes at 512 KiB fail.
FAILING = "format=raw,file.driver=blkdebug,file.image.driver=file,file.inject-error.0.event=none,file.inject-error.0.iotype=write," \
    "file.inject-error.0.errno=5,file.inject-error.0.sector=1024,file.image.filename="
ARGS = ["-M", "pc", "-S", "-m", "16", "-nodefaults", "-display", "none",
        "-drive", f"if=none,id=da,{FAILING}a,stats-account-failed=off,stats-intervals.0=10,stats-intervals.1=3600",
        "-device", "virtio-blk-pci,drive=da,id=a",
        "-blockdev", "driver=file,node-name=bf,filename=b,discard=unmap", "-blockdev", "driver=raw,node-name=b,file=bf,discard=unmap",
        "-device", "virtio-blk-pci,drive=b,id=b,account-invalid=off",
        "-drive", "if=none,id=dc", "-device", "ide-cd,drive=dc,id=c",
        "-drive", f"if=none,id=dd,{FAILING}d,stats-account-invalid=off,stats-account-failed=off",
        "-device", "virtio-blk-pci,drive=dd,id=d,account-failed=on"]


class Play:
    def __init__(self, emulator, work):
        for name in "abcd":
            with open(f"{work}/{name}", "wb") as f:
                f.truncate(MIB)
        self.p = subprocess.Popen(emulator + ARGS + ["-qmp", "unix:q,server=on,wait=off"], cwd=work, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        self.q = vm.QMP(f"{work}/q")
        self.facts = []

    def io(self, drive, *commands):
        for c in commands:
            self.q.cmd("human-monitor-command", **{"command-line": f'qemu-io {drive} "{c}"'})

    def set(self, path, **boundaries):
        """Whether it was done; the words are a matter of taste."""
        try:
            self.q.cmd(SET, id=path, **{k.replace("_", "-"): v for k, v in boundaries.items()})
            self.facts.append("set")
        except RuntimeError as e:
            self.facts.append("DeviceNotFound" if "DeviceNotFound" in str(e) else "refused")

    def stats(self, which, **args):
        for d in self.q.cmd("query-blockstats", **args):
            if which in (d.get("qdev"), d.get("node-name") if args else None):
                return d
        vm.fail(f"query-blockstats knows no {which}")

    def note(self, path):
        """What does not depend on how fast the host is."""
        s = self.stats(path)["stats"]
        known = {k: s[k] for k in s if k.startswith(("failed", "account")) or k.endswith(("_operations", "_bytes"))}
        known |= {k: (s[k]["boundaries"], sum(s[k]["bins"]), len(s[k]["bins"])) for k in s if k.endswith("histogram")}
        known["timed"] = [(t["interval_length"], sorted(t), [k for k in sorted(t) if t[k]]) for t in s["timed_stats"]]
        known["time"] = [bool(s[f"{k}_total_time_ns"]) for k in ("rd", "wr", "flush")] + ["idle_time_ns" in s]
        self.facts.append((path, known))

    def end(self):
        self.q.cmd("quit")
        self.p.wait(30)


def histograms(p):
    p.set("nobody", boundaries=[5])
    p.set("da", boundaries=[5])  # a drive is no device
    for bad in ([10, 5], [5, 5], [0, 5], [5, 10, 10]):
        p.set(A, boundaries=bad)
    p.note(A)
    p.set(A, boundaries=[1000, 10 ** 12], boundaries_write=[10 ** 12])
    p.io("da", "aio_read 0 4k", "aio_read 4k 4k", "aio_write 0 4k", "aio_write 512k 4k", "aio_read -i 0 4k", "aio_flush")
    p.note(A)
    p.set(A, boundaries_flush=[7, 8, 9])  # the others stay
    p.note(A)
    p.set(A, boundaries_read=[5])  # and this one begins again
    p.note(A)
    p.set(A)
    p.note(A)
    p.set(B, boundaries_flush=[1])
    p.note(B)
    p.set("c", boundaries=[5])  # an empty drive's: it is the device's, not the medium's
    p.note("c")


def accounts(p):
    p.io("-d " + B, "aio_read -i 0 4k")
    p.note(B)  # not in idle_time_ns
    p.io("-d " + B, "aio_read 0 4k", "aio_flush")
    p.note(B)
    p.io("dd", "aio_write 512k 4k", "aio_flush")
    p.note("/machine/peripheral/d/virtio-backend")


def media(p):
    p.q.cmd("blockdev-add", driver="raw", file={"driver": "file", "filename": "c"}, **{"node-name": "disc", "read-only": True})
    p.q.cmd("blockdev-open-tray", id="c")
    p.q.cmd("blockdev-insert-medium", id="c", **{"node-name": "disc"})
    p.q.cmd("blockdev-close-tray", id="c")
    p.io("-d c", "aio_read 0 2k", "aio_flush")
    p.note("c")
    p.q.cmd("blockdev-open-tray", id="c")
    p.q.cmd("blockdev-remove-medium", id="c")
    p.note("c")


def discards(p):
    p.io("-d " + B, "discard 0 64k", "discard 64k 4k")
    p.facts.append(p.stats("bf", **{"query-nodes": True}).get("driver-specific"))
    p.facts.append(p.stats(B)["parent"].get("driver-specific"))
    p.facts.append(p.stats("b", **{"query-nodes": True}).get("driver-specific"))


def play(emulator):
    p = Play(emulator, vm.scratch())
    try:
        for step in histograms, accounts, media, discards:
            step(p)
        p.end()
    finally:
        p.p.kill()
    return p.facts


def refused():
    """Of our own: words, and a bound on what a program may ask for."""
    work = vm.scratch()
    for value in ("0", "-1", "x", "4294967296"):
        r = subprocess.run(vm.emulator() + ["-M", "pc", "-S", "-display", "none", "-nodefaults", "-drive",
                                            f"if=none,id=d,driver=null-co,stats-intervals.0={value}"], capture_output=True, text=True, timeout=30)
        if r.returncode != 1 or f"Invalid interval length: {value}" not in r.stderr:
            vm.fail(f"stats-intervals.0={value}: {r.stderr}")
    p = Play(vm.emulator(), work)
    try:
        for args, words in (({"boundaries": [9, 1]}, "'boundaries' are nanoseconds above 0"), ({"boundaries-write": [-4]}, "'boundaries-write'"),
                            ({"boundaries": list(range(1, 6000))}, "4096 boundaries at most"), ({"bounds": [1]}, "bounds")):
            try:
                p.q.cmd(SET, id="a", **args)
                vm.fail(f"{words}: not refused")
            except RuntimeError as e:
                if words not in str(e):
                    vm.fail(f"'{words}' is not in '{e}'")
        p.end()
    finally:
        p.p.kill()


def main():
    refused()
    ours = play(vm.emulator())
    read = ours[8][1]
    if read["rd_latency_histogram"] != ([1000, 10 ** 12], 2, 3) or read["wr_latency_histogram"] != ([10 ** 12], 2, 2) or read["wr_operations"] != 1 \
            or read["failed_wr_operations"] != 1 or read["invalid_rd_operations"] != 1:
        vm.fail(f"after two reads, two writes and an invalid one: {read}")
    if shutil.which("qemu-system-x86_64"):
        for mine, theirs in zip(ours, play(["qemu-system-x86_64"]), strict=True):
            if mine != theirs:
                vm.fail(f"{mine}\nis in QEMU\n{theirs}")
    print("ok")


main()
