#!/usr/bin/env python3
"""Boots Debian's 686-pae kernel as qemu-system-i386: linux32.py CPUS [peer]

In the guest: a 32-bit kernel and user space (busybox of the i386 architecture), every CPU online, none with long mode, PAE
in use, the disk read and written, float and 64-bit arithmetic right; power-off ends the process with status 0. With "peer"
the same boot under QEMU TCG, and the ratio of both times (wall clock and the host's CPU time)."""
import hashlib
import os
import resource
import shlex
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

SCRIPT = """
echo machine $(uname -m) cpus $(grep -c ^processor /proc/cpuinfo)
echo long mode: $(grep '^flags' /proc/cpuinfo | grep -cw lm)
echo pae: $(grep '^flags' /proc/cpuinfo | grep -cw pae)
echo disk $(dd if=/dev/vda bs=512 count=1 2>/dev/null | head -c 11)
echo from-guest | dd of=/dev/vda bs=512 seek=7 conv=notrunc,fsync 2>/dev/null
head -c 16 /dev/hwrng | wc -c | sed 's/^/rng /'
echo sum $(i=0; s=1; while [ $i -lt 3000 ]; do s=$(( (s * 6364136223846793005 + i) ^ (s >> 29) )); i=$((i+1)); done; echo $s)
echo float $(awk 'BEGIN { x = 0.5; for (i = 0; i < 2000; i++) x = 3.99 * x * (1 - x); printf "%.15g", x }')
seq 1 20000 >/tmp/a; gzip -c /tmp/a | gunzip -c | md5sum | sed 's/^/md5 /'
(md5sum /tmp/a /bin/busybox | sort >/tmp/1) & (md5sum /tmp/a /bin/busybox | sort >/tmp/2) & wait
cmp /tmp/1 /tmp/2 && echo together same
dmesg | grep -iE 'bug:|oops|call trace|unable to|general protection|segfault' | sed 's/^/complaint: /'
echo user-space-reached
"""
MD5 = hashlib.md5("".join(f"{n}\n" for n in range(1, 20001)).encode()).hexdigest()
SUM = 0
for i in range(3000):
    s = SUM if i else 1
    signed = s - (1 << 64) if s >> 63 else s
    SUM = ((s * 6364136223846793005 + i) ^ (signed >> 29)) & ((1 << 64) - 1)
SUM -= (SUM >> 63) << 64


def run(emu, disk, cpus, strict=True):
    """Returns (wall, CPU) seconds from start to user space's last line, and what float arithmetic gave."""
    args = vm.base_args("pc", "256M", cpus) + [
        "-kernel", vm.kernel("i386"), "-initrd", vm.initramfs(SCRIPT, arch="i386"),
        "-append", "console=ttyS0 panic=-1",
        "-drive", f"file={disk},format=raw,if=none,id=d0", "-device", "virtio-blk-pci,drive=d0",
        "-device", "virtio-rng-pci"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    with vm.Guest(args, os.path.basename(emu[0]), emu=emu) as g:
        g.expect(rf"^machine i686 cpus {cpus}\b", 300)
        g.expect(r"^long mode: 0")
        g.expect(rf"^pae: {cpus}")
        g.expect(r"^disk hello-guest")
        g.expect(r"^rng 16")
        g.expect(rf"^sum {SUM}\b", 120)
        result = g.expect(r"^float (\S+)").group(1).decode()
        g.expect(rf"^md5 {MD5}")
        g.expect(r"^together same")
        g.expect(r"^user-space-reached")
        wall = time.monotonic() - start
        status = g.wait(60)
        complaints = [x for x in g.text.splitlines() if x.startswith("complaint: ")]
        print("\n".join(complaints))
        if status or (strict and complaints):
            g.die(f"power-off ended with status {status}, {len(complaints)} complaints")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, result


def main():
    cpus = int(sys.argv[1])
    folder = vm.scratch()
    disk = os.path.join(folder, "d.raw")
    with open(disk, "wb") as f:
        f.write(b"hello-guest")
        f.truncate(1 << 20)
    wall, cpu, ours = run(vm.i386(vm.emulator(), folder), disk, cpus)
    with open(disk, "rb") as f:
        f.seek(7 * 512)
        if f.read(10) != b"from-guest":
            vm.fail("what the guest wrote is not in the file")
    print(f"ok: i386 with {cpus} CPUs: {wall:.2f} s, {cpu:.2f} s of CPU")
    if sys.argv[2:] == ["peer"]:
        vm.need("qemu-system-i386")
        peer = shlex.split(os.environ.get("VIV_PEER32", "qemu-system-i386 -accel tcg"))
        peer_wall, peer_cpu, theirs = run(peer, disk, cpus, False)
        print(f"QEMU TCG: {peer_wall:.2f} s, {peer_cpu:.2f} s of CPU; ours is {peer_wall / wall:.2f} times as fast, "
              f"{peer_cpu / cpu:.2f} by CPU time")
        if ours != theirs:
            print(f"floating point differs: {ours} here, {theirs} there")


main()
