#!/usr/bin/env python3
"""kill -9 of the emulator while the guest writes: kill9.py [ROUNDS]

A small guest fsyncs numbered files onto an ext4 file system on a qcow2 disk and says so; the emulator is killed
at a random moment. The image must then be clean for our own and for QEMU's check (leaked clusters allowed), the file
system must be repairable by journal replay alone, and every file the guest was told is durable must be there."""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import durable  # noqa: E402
import vm  # noqa: E402


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    work = vm.scratch()
    img = durable.make(work)
    args = vm.base_args(mem="256M") + [
        "-kernel", vm.kernel(), "-initrd", vm.initramfs(durable.SCRIPT, vm.VIRTIO + ["ext4"]),
        "-append", "console=ttyS0 panic=-1 quiet", "-drive", f"file={img},format=qcow2,if=virtio"]
    rng = random.Random(7)
    record = durable.Record()
    for n in range(rounds):
        with vm.Guest(args, f"round {n}") as g:
            g.expect(r"^start \d+", 300)
            g.expect(r"^durable \d+", 60)
            end = time.monotonic() + rng.uniform(0.2, 4)
            while time.monotonic() < end:
                g._pump(0.05)
            g.kill()
            record.read(g.text)
        record.check(img, work)
        print(f"round {n}: {len(record.durable)} durable files", flush=True)
    print(f"ok: {rounds} rounds")


main()
