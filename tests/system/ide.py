#!/usr/bin/env python3
"""Debian's kernel with ATA drivers on IDE or SATA: ide.py [pc|q35]

A disk in qcow2 and a CD made here. The guest writes and reads patterns by DMA and by PIO, checks a file of the CD, ejects it; the
monitor puts another one in, and the guest sees it. A disk whose writes fail stops the VM and loses nothing; a VM saved in the
middle of its I/O goes on elsewhere."""
import hashlib
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402
from disks import MIB, image, make_iso, no_complaints, sum_of  # noqa: E402

# The CD is drive 2: the second bus of pc, the third of q35.
MACHINES = {
    "pc": {"drivers": ["ata_piix", "ata_generic"], "cd": "ide1-cd0", "link": 2, "dma": "XFER_MW_DMA_2 XFER_MW_DMA_2", "queue": "1"},
    "q35": {"drivers": ["ahci"], "cd": "ide2-cd0", "link": 3, "dma": "XFER_UDMA_5 XFER_UDMA_5", "queue": "32"},
}
MACHINE = sys.argv[1] if len(sys.argv) > 1 else "pc"
M = MACHINES[MACHINE]
MODULES = M["drivers"] + ["sd_mod", "sr_mod", "isofs", "nls_utf8"]

BASICS = """
[ "LIBATA" ] && { rmmod DRIVERS libahci 2>/dev/null; rmmod libata; insmod /m/libata.ko LIBATA; for m in libahci DRIVER; do [ -f /m/$m.ko ] && insmod /m/$m.ko; done; sleep 2; }
echo mode $(cat /sys/class/ata_device/dev1.0/xfer_mode) $(cat /sys/class/ata_device/devLINK.0/xfer_mode)
echo depth $(cat /sys/block/sda/device/queue_depth)
echo model $(cat /sys/block/sda/device/model)
dd if=/dev/urandom of=/tmp/p bs=1M count=PATTERN 2>/dev/null
dd if=/tmp/p of=/dev/sda bs=1M seek=3 oflag=direct 2>/dev/null
sync
dd if=/dev/sda of=/tmp/q bs=1M skip=3 count=PATTERN iflag=direct 2>/dev/null
cmp /tmp/p /tmp/q && echo pattern-same
echo pattern $(sha256sum < /tmp/p)
dd if=/dev/zero of=/dev/sda bs=512 seek=1 count=1 2>/dev/null; sync
t0=$(cut -d' ' -f1 /proc/uptime); dd if=/dev/sda of=/dev/null bs=1M count=COUNT iflag=direct 2>/dev/null
echo time $t0 $(cut -d' ' -f1 /proc/uptime)
mount -t iso9660 -o ro /dev/sr0 /mnt && echo mounted
echo cdsum $(sha256sum < /mnt/data.bin)
echo cdname $(cat /mnt/name)
eject /dev/sr0 && echo ejected
read x
n=0; while ! mount -t iso9660 -o ro /dev/sr0 /mnt 2>/dev/null; do sleep 0.2; n=$((n + 1)); [ $n -gt 100 ] && break; done
echo cdname $(cat /mnt/name)
umount /mnt
dmesg | grep -iE 'ata.*(exception|error|failed|frozen)|I/O error|lost interrupt|call trace' | sed 's/^/complaint: /'
echo user-space-reached
"""

# Numbered blocks, each written with O_DIRECT; what was told to be written must be there.
WRITER = """
dd if=/dev/urandom of=/tmp/p bs=1M count=16 2>/dev/null
echo pattern $(sha256sum < /tmp/p)
echo writing
dd if=/tmp/p of=/dev/sda bs=64k oflag=direct 2>&1 | sed 's/^/dd: /'
n=0; while [ $n -lt ROUNDS ]; do
dd if=/dev/sda of=/tmp/q bs=64k count=256 iflag=direct 2>/dev/null; cmp /tmp/p /tmp/q || echo different
dd if=/dev/sr0 of=/tmp/c bs=64k count=32 iflag=direct 2>/dev/null; dd if=/tmp/p of=/dev/sda bs=64k seek=256 oflag=direct 2>/dev/null
echo cd $(sha256sum < /tmp/c); n=$((n + 1)); done
dmesg | grep -iE 'ata.*(exception|error|failed|frozen)|I/O error|lost interrupt|call trace' | sed 's/^/complaint: /'
echo user-space-reached
"""


def args_for(script, work):
    return vm.base_args(MACHINE, "512M", 1) + [
        "-kernel", vm.kernel("generic"), "-initrd", vm.initramfs(script, MODULES, arch="generic", programs=["/usr/bin/eject"]),
        "-append", "console=ttyS0 panic=-1",
        "-qmp", f"unix:{os.path.join(work, 'qmp')},server=on,wait=off"]


def moved(q, n):
    q.cmd("query-status")
    trays = [e["data"]["tray-open"] for e in q.events if e["event"] == "DEVICE_TRAY_MOVED"]
    if trays != n:
        vm.fail(f"DEVICE_TRAY_MOVED told {trays}, not {n}")


def basics(work, what, mode, mib, count):
    disk = image(work, f"basics-{what}.qcow2", 256 * MIB)
    first, sum1 = make_iso(work, f"first-{what}", 5 * MIB + 1234)
    second, _ = make_iso(work, f"second-{what}", MIB)
    script = BASICS
    for word, by in (("COUNT", count), ("PATTERN", mib), ("LIBATA", "dma=0" if what == "pio" else ""), ("LINK", M["link"]),
                     ("DRIVERS", " ".join(M["drivers"])), ("DRIVER", M["drivers"][0])):
        script = script.replace(word, str(by))
    with vm.Guest(args_for(script, work) + ["-hda", disk, "-cdrom", first]) as g:
        q = vm.QMP(os.path.join(work, "qmp"))
        g.expect(rf"^mode {mode}", 200)
        depth = g.expect(r"^depth (\d+)").group(1).decode()
        if what == "dma" and depth != M["queue"] and not (depth == "31" and M["queue"] == "32"):
            g.die(f"the queue is {depth} deep")
        g.expect(r"^pattern-same", 300)
        pattern = g.expect(r"^pattern (\w+) ").group(1).decode()
        t0, t1 = (float(x) for x in g.expect(r"^time ([\d.]+) ([\d.]+)\s", 300).groups())
        g.expect(r"^mounted")
        if g.expect(r"^cdsum (\w+) ").group(1).decode() != sum1:
            g.die("the CD's file is not what was put there")
        g.expect(rf"^cdname first-{what}")
        g.expect(r"^ejected")
        time.sleep(0.3)
        moved(q, [True])
        b = [x for x in q.cmd("query-block") if x["device"] == M["cd"]][0]
        if not b["tray_open"] or "inserted" not in b:
            vm.fail(f"query-block after the guest's eject: {b}")
        q.cmd("blockdev-change-medium", device=M["cd"], filename=second)
        g.send("\n")
        g.expect(rf"^cdname second-{what}", 120)
        g.expect(r"^user-space-reached")
        if g.wait(60):
            g.die("status not 0")
        no_complaints(g)
    if sum_of(disk, 3 * MIB, mib * MIB) != pattern:
        vm.fail("what the guest wrote is not in the image")
    print(f"ok: basics by {what}, reading {count / (t1 - t0 + 0.01):.0f} MiB/s")


def stops(work):
    """Every write of the image fails for a while."""
    disk = image(work, "stops.qcow2", 64 * MIB)
    iso, _ = make_iso(work, "stops", 3 * MIB)
    rules = os.path.join(work, "rules")
    with open(rules, "w") as f:
        f.write('[inject-error]\nevent = "cluster_alloc"\nerrno = "28"\nonce = "on"\n')
    with vm.Guest(args_for(WRITER.replace("ROUNDS", "1"), work) + [
            "-drive", f"if=ide,index=0,format=qcow2,werror=stop,file=blkdebug:{rules}:{disk}", "-cdrom", iso]) as g:
        q = vm.QMP(os.path.join(work, "qmp"))
        pattern = g.expect(r"^pattern (\w+) ", 200).group(1).decode()
        stopped = 0
        end = time.monotonic() + 200 * vm.SLOW
        while time.monotonic() < end and b"user-space-reached" not in g.log:
            g._pump(0.1)
            if g.p.poll() is not None:
                break
            try:
                if q.cmd("query-status")["status"] == "io-error":
                    stopped += 1
                    status = [b.get("io-status") for b in q.cmd("query-block")]
                    if status != ["nospace", "ok"]:
                        g.die(f"query-block says {status}")
                    q.cmd("cont")
            except (EOFError, OSError):
                break
        g.expect(r"^user-space-reached")
        if g.wait(60):
            g.die("status not 0")
        no_complaints(g)
        errors = [e["data"] for e in q.events if e["event"] == "BLOCK_IO_ERROR"]
    if not stopped or not errors or errors[0]["action"] != "stop" or errors[0]["operation"] != "write":
        vm.fail(f"the VM did not stop as it should: {stopped} stops, events {errors}")
    if sum_of(disk, 0, 16 * MIB) != pattern:
        vm.fail("what the guest wrote is not in the image")
    print(f"ok: {stopped} stop(s) at failed writes, nothing lost")


REPORTED = """
dd if=/dev/urandom of=/tmp/p bs=1M count=8 2>/dev/null
dd if=/tmp/p of=/dev/sda bs=1M oflag=direct 2>/dev/null
for i in 0 1 2 3 4 5 6 7; do dd if=/dev/sda of=/dev/null bs=64k skip=$((i * 16)) count=16 iflag=direct 2>/dev/null & done; wait
dd if=/dev/sda of=/tmp/q bs=1M count=8 iflag=direct 2>/dev/null; cmp /tmp/p /tmp/q && echo again-same
dmesg | grep -E 'ata1' | sed 's/^/said: /'
echo user-space-reached
"""


def reported(work):
    """One of several queued reads fails: the guest learns which by the disk's log, and goes on."""
    disk = image(work, "reported.qcow2", 64 * MIB)
    rules = os.path.join(work, "read-rules")
    with open(rules, "w") as f:
        f.write('[set-state]\nevent = "write_aio"\nnew_state = "2"\n'
                '[inject-error]\nstate = "2"\nevent = "read_aio"\nerrno = "5"\nonce = "on"\n')
    with vm.Guest(args_for(REPORTED, work) + [
            "-drive", f"if=ide,index=0,format=qcow2,rerror=report,file=blkdebug:{rules}:{disk}"]) as g:
        g.expect(r"^again-same", 200)
        g.expect(r"^said: .*failed command: READ FPDMA QUEUED")
        g.expect(r"^said: .*error: { UNC }")
        g.expect(r"^said: .*EH complete")
        g.expect(r"^user-space-reached")
        if g.wait(60):
            g.die("status not 0")
    print("ok: a queued read that failed was told by the log")


def saves(work, points):
    disk = image(work, "saves.qcow2", 64 * MIB)
    iso, _ = make_iso(work, "saves", 4 * MIB)
    with open(iso, "rb") as f:
        cd = hashlib.sha256(f.read(32 * 65536)).hexdigest()
    state = os.path.join(work, "state")
    base = args_for(WRITER.replace("ROUNDS", "12"), work) + ["-hda", disk, "-cdrom", iso]
    qmp = os.path.join(work, "qmp")
    args, log, pattern = base, "", None
    for i in range(points + 1):
        with vm.Guest(args, f"part {i}") as g:
            q = vm.QMP(qmp)
            if i == 0:
                pattern = g.expect(r"^pattern (\w+) ", 200).group(1).decode()
                g.expect(r"^writing")
            if i < points:
                time.sleep(0.15 + 0.11 * i)
                q.save(g, state)
                q.cmd("quit")
                g.wait(30)
            else:
                g.expect(r"^user-space-reached", 300)
                if g.wait(60):
                    g.die("status not 0")
            no_complaints(g)
            log += g.text
        args = base + ["-incoming", f"file:{state}"]
    sums = re.findall(r"^cd (\w+) ", log, re.M)
    if set(sums) != {cd} or len(sums) < 10:
        vm.fail(f"the CD was read as {set(sums)}, {len(sums)} times; it is {cd}")
    for at in 0, 16:
        if sum_of(disk, at * MIB, 16 * MIB) != pattern:
            vm.fail("what the guest wrote is not in the image")
    print(f"ok: saved and loaded {points} times under I/O")


def main():
    vm.need("xorriso", "eject")
    work = vm.scratch()
    basics(work, "dma", M["dma"], 24, 256)
    basics(work, "pio", "XFER_PIO_4 XFER_PIO_4", 2, 2)
    stops(work)
    if MACHINE == "q35":
        reported(work)
    saves(work, 4)


main()
