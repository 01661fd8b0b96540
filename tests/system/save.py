#!/usr/bin/env python3
"""Saved state of a whole VM: save.py [POINTS] [MACHINE] [CPUS]

A kernel boot is stopped and saved at POINTS random moments. Each copy is loaded into a fresh process, saved again
before anything runs (must be byte-equal), and then resumed: it must reach user space and power off."""
import filecmp
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

SCRIPT = """
n=0; while [ $n -lt 40 ]; do n=$((n + 1)); dd if=/dev/zero of=/tmp/z bs=64k count=4 2>/dev/null
dd if=/dev/vda of=/tmp/r bs=4k count=16 2>/dev/null; md5sum /tmp/r >/dev/null; done
echo clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)
sleep 1
echo user-space-reached
"""


def check_copy(args, path, work, what):
    """Loads, saves again before anything runs, resumes to user space and power-off."""
    qmp = os.path.join(work, "q2")
    again = path + ".again"
    with vm.Guest(args(qmp) + ["-S", "-incoming", f"file:{path}"], f"copy of {what}") as g:
        q = vm.QMP(qmp)
        q.save(g, again)
        if not filecmp.cmp(path, again, shallow=False):
            print(subprocess.run([os.path.join(vm.TOP, "tools/state-diff"), path, again,
                                  os.path.join(vm.BUILD, "tests/devices/state-dump")],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout)
            g.die(f"saved again, the state of {what} differs")
        q.cmd("cont")
        g.expect("user-space-reached", 300)
        if g.wait(60):
            g.die("status not 0")
    os.remove(path)
    os.remove(again)


def main():
    points = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    machine = sys.argv[2] if len(sys.argv) > 2 else "pc"
    cpus = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    suffix = "device" if machine == "microvm" else "pci"
    work = vm.scratch()
    disk = os.path.join(work, "d.raw")
    with open(disk, "wb") as f:
        f.write(os.urandom(1 << 20))

    def args(qmp):
        return vm.base_args(machine, "256M", cpus) + [
            "-kernel", vm.kernel(), "-initrd", vm.initramfs(SCRIPT),
            "-append", "console=ttyS0 panic=-1",
            "-drive", f"file={disk},format=raw,if=none,id=d0,readonly=on",
            "-device", f"virtio-blk-{suffix},drive=d0",
            "-netdev", "user,id=n0", "-device", f"virtio-net-{suffix},netdev=n0",
            "-device", f"virtio-rng-{suffix}",
            "-qmp", f"unix:{qmp},server=on,wait=off"]

    rng = random.Random(3)
    qmp = os.path.join(work, "q1")
    # How long a boot takes here, so that the moments spread over all of it.
    with vm.Guest(args(qmp), "measure") as g:
        t = time.monotonic()
        g.expect("^user-space-reached", 300)
        boot = time.monotonic() - t
    done = 0
    while done < points:
        # A source that ends before its last moment (the machine got less busy) is followed by another.
        moments = sorted(rng.uniform(0.02, boot) for _ in range(points - done))
        with vm.Guest(args(qmp), "source") as g:
            q = vm.QMP(qmp)
            ran = 0.0
            for m in moments:
                time.sleep(max(m - ran, 0))
                ran = m
                path = os.path.join(work, "state")
                try:
                    q.cmd("stop")
                    q.save(g, path)
                except OSError:
                    boot = ran
                    break
                check_copy(args, path, work, f"point {done} at {m:.2f} s")
                done += 1
                q.cmd("cont")
            g.expect("user-space-reached", 300)
    print(f"ok: {points} points in {boot:.1f} s of boot, every copy byte-equal and booted")


main()
