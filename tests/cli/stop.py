#!/usr/bin/env python3
"""stop: when it has been answered, what the guest has written is in its images, whatever was under way; a copy of them made now is whole.
The same with QEMU where there is one."""
import os
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import monitored  # noqa: E402
import vm  # noqa: E402

work = vm.scratch()

# Writes itself to sectors 1 and 2 of the second disk; says d on port E9h after each.
BOOT = bytes.fromhex("31c0 8ec0 8ed8 bb007c"  # es = ds = 0, bx = 7C00h
                     "b80103 b90200 ba8100 cd13 bae900 b064 ee"
                     "b80103 b90300 ba8100 cd13 bae900 b064 ee"
                     "f4 ebfd".replace(" ", "")).ljust(510, b"\x5a") + b"\x55\xaa"


def wait_for(path, text, seconds):
    end = time.monotonic() + seconds * vm.SLOW
    while time.monotonic() < end:
        if os.path.exists(path) and open(path, "rb").read() == text:
            return
        time.sleep(0.02)
    vm.fail(f"the guest does not write ({open(path, 'rb').read() if os.path.exists(path) else None})")


def one(program, name, disk_args):
    boot, disk, said = (f"{work}/{name}.{x}" for x in ("boot", "qcow2", "said"))
    with open(boot, "wb") as f:
        f.write(BOOT.ljust(1 << 20, b"\0"))
    vm.run_tool([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", disk, "8M"])
    with monitored.Machine(program, "-drive", f"file={boot},format=raw,if=ide,index=0", "-debugcon", f"file:{said}",
                           "-drive", f"file={disk},format=qcow2,if=none,id=d{disk_args}", "-device", "ide-hd,drive=d,bus=ide.0,unit=1",
                           paused=False, work=work) as m:
        wait_for(said, b"d", 60)
        time.sleep(0.3)
        m.q.cmd("stop")
        shutil.copy(disk, disk + ".copy")
    vm.run_tool([vm.tool("viv-img"), "convert", "-O", "raw", disk + ".copy", disk + ".raw"])
    with open(disk + ".raw", "rb") as f:
        f.seek(512)
        data = f.read(1024)
    for i in range(2):
        if data[i * 512:i * 512 + 512] != BOOT:
            vm.fail(f"{name}: write {i + 1} is not in the image of the machine that was stopped")
    print(f"ok: {name}: stopped, the image has all that was written")


def main():
    # The second write is held by the limits: it has to go its way all the same.
    limits = ",throttling.bps-write=40"
    one(vm.emulator(), "viv-vm", limits)
    qemu = shutil.which("qemu-system-x86_64")
    if qemu:
        one([qemu, "-accel", "tcg"], "qemu", limits)


main()
