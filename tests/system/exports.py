#!/usr/bin/env python3
"""Exports of a running machine: its disk read over NBD, and the disk of one moment (a new overlay by blockdev-create, blockdev-snapshot, an export
of what is below now) read while the guest overwrites everything; the overlay is committed when the copy is done. Then one moment again by
fleecing: an overlay that a backup keeps."""
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402
from disks import MIB, image  # noqa: E402

SIZE = 64 * MIB
SCRIPT = """
dd if=/dev/urandom of=/tmp/p bs=1M count=16 2>/dev/null
dd if=/tmp/p of=/dev/vda bs=1M oflag=direct 2>/dev/null; dd if=/tmp/p of=/dev/vda bs=1M seek=32 oflag=direct 2>/dev/null; sync
echo first $(sha256sum < /dev/vda) done
read word
dd if=/dev/urandom of=/tmp/p bs=1M count=16 2>/dev/null
n=0; while [ $n -lt 4 ]; do dd if=/tmp/p of=/dev/vda bs=64k seek=$((n * 256)) oflag=direct 2>&1 | grep -i error; n=$((n + 1)); done
dmesg | grep -iE 'I/O error|timeout|call trace' | sed 's/^/complaint: /'
echo busy
dd if=/tmp/p of=/tmp/small bs=1M count=1 2>/dev/null
( while [ ! -e /tmp/stop ]; do dd if=/tmp/small of=/dev/vda bs=4k oflag=direct 2>/dev/null; done ) &
read word
touch /tmp/stop; wait
dd if=/tmp/p of=/dev/vda bs=1M count=1 oflag=direct 2>/dev/null
echo second $(dd if=/dev/vda bs=1M iflag=direct 2>/dev/null | sha256sum) done
read word
dd if=/dev/zero of=/dev/vda bs=1M count=8 oflag=direct 2>/dev/null; dd if=/tmp/p of=/dev/vda bs=4k seek=5003 oflag=direct 2>/dev/null
blkdiscard -o 50331648 -l 8388608 /dev/vda 2>/dev/null || dd if=/dev/zero of=/dev/vda bs=1M seek=48 count=8 oflag=direct 2>/dev/null
echo third $(dd if=/dev/vda bs=1M iflag=direct 2>/dev/null | sha256sum) done
read word
echo user-space-reached
"""


def sum_over_nbd(sock, name):
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "raw", f"nbd+unix:///{name}?socket={sock}", out.name], check=True)
        return subprocess.run(["sha256sum", out.name], check=True, capture_output=True, text=True).stdout.split()[0]


def same(what, a, b):
    if a != b:
        vm.fail(f"{what}: {a}, not {b}")
    print(f"ok: {what}", flush=True)


def create(q, path):
    """An empty image of the disk's size; its file is the node "new"."""
    for driver, options in (("file", {"filename": path, "size": 0}), ("qcow2", {"file": "new", "size": SIZE})):
        if driver == "qcow2":
            q.cmd("blockdev-add", **{"driver": "file", "node-name": "new", "filename": path})
        q.cmd("blockdev-create", **{"job-id": "create", "options": {"driver": driver, **options}})
        while (job := next(j for j in q.cmd("query-jobs") if j["id"] == "create"))["status"] != "concluded":
            time.sleep(0.05)
        if "error" in job:
            vm.fail(f"blockdev-create: {job}")
        q.cmd("job-dismiss", id="create")


def freeze(q, work):
    """The disk as it is now, as an export; the guest goes on in an overlay."""
    create(q, os.path.join(work, "overlay.qcow2"))
    q.cmd("blockdev-add", **{"driver": "qcow2", "node-name": "over", "file": "new", "backing": None})
    q.cmd("blockdev-snapshot", node="disk", overlay="over")
    q.cmd("block-export-add", **{"type": "nbd", "id": "m", "node-name": "disk", "name": "moment"})


def thaw(q):
    """All of the overlay back into the disk, under the guest."""
    q.cmd("block-export-del", id="m")
    q.cmd("block-commit", **{"job-id": "c", "device": "over", "auto-dismiss": False})
    for status, command in ("ready", "job-complete"), ("concluded", "job-dismiss"):
        while (job := next(j for j in q.cmd("query-jobs") if j["id"] == "c"))["status"] != status:
            if job["status"] == "concluded":
                vm.fail(f"block-commit: {job}")
            time.sleep(0.05)
        q.cmd(command, id="c")


def fleece(g, q, work, sock, then):
    """The disk as it is now, as an export, without another disk for the guest: a backup copies into an overlay what it is about to overwrite."""
    create(q, os.path.join(work, "fleece.qcow2"))
    q.cmd("blockdev-add", **{"driver": "qcow2", "node-name": "fleece", "file": "new", "backing": "disk"})
    try:
        q.cmd("nbd-server-add", device="fleece", name="fleece")
        vm.fail("an image is exported that shows what the guest writes")
    except RuntimeError as e:
        print(f"ok: before the backup: {e}")
    q.cmd("blockdev-backup", **{"job-id": "f", "device": "disk", "target": "fleece", "sync": "none"})
    q.cmd("nbd-server-add", device="fleece", name="fleece")
    same("fleecing, before the guest writes", sum_over_nbd(sock, "fleece"), then)
    g.send("go\n")
    for _ in range(3):
        same("fleecing, while it writes", sum_over_nbd(sock, "fleece"), then)
    third = g.expect(r"^third (\w+) - done", 200)[1].decode()
    same("fleecing, afterwards", sum_over_nbd(sock, "fleece"), then)
    same("the disk beside it", sum_over_nbd(sock, "now"), third)
    q.cmd("nbd-server-remove", name="fleece")
    q.cmd("block-job-cancel", device="f")
    while q.cmd("query-block-jobs"):
        time.sleep(0.05)
    for node in "fleece", "new":
        q.cmd("blockdev-del", **{"node-name": node})
    return third


def ends(g, q, sock):
    """Clients are cut off while jobs that change the graph begin and end, and the guest writes."""
    g.expect("^busy", 100)
    q.cmd("blockdev-add", **{"driver": "null-co", "node-name": "nowhere", "size": SIZE})
    for n in range(20):
        q.cmd("block-export-add", **{"type": "nbd", "id": "x", "node-name": "over", "name": "x"})
        clients = [subprocess.Popen(["qemu-io", "-r", "-f", "raw", "-c", "read 0 60M", f"nbd+unix:///x?socket={sock}"], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)
                   for _ in range(2)]
        q.cmd("blockdev-backup", **{"job-id": "b", "device": "over", "target": "nowhere", "sync": "full", "speed": 64 << 20})
        time.sleep(0.02 * (n % 5))
        q.cmd("job-cancel", id="b")
        q.cmd("block-export-del", id="x", mode="hard")
        while any(j["id"] == "b" for j in q.cmd("query-jobs")):
            time.sleep(0.01)
        for c in clients:
            c.wait(60)
    q.cmd("blockdev-del", **{"node-name": "nowhere"})
    print("ok: exports end beside jobs", flush=True)


def main():
    for tool in "qemu-img", "qemu-io":
        if not shutil.which(tool):
            vm.skip(f"{tool} is missing")
    with tempfile.TemporaryDirectory(prefix="viv-exports-") as work:
        disk, sock, qmp = image(work, "disk.qcow2", SIZE), os.path.join(work, "nbd"), os.path.join(work, "qmp")
        args = vm.base_args("pc", "256M", 1) + [
            "-kernel", vm.kernel(), "-initrd", vm.initramfs(SCRIPT), "-append", "console=ttyS0 panic=-1", "-qmp", f"unix:{qmp},server=on,wait=off",
            "-blockdev", f"driver=qcow2,node-name=disk,file.driver=file,file.filename={disk}", "-device", "virtio-blk-pci,drive=disk"]
        with vm.Guest(args) as g:
            first = g.expect(r"^first (\w+) - done", 200)[1].decode()
            q = vm.QMP(qmp)
            q.cmd("nbd-server-start", addr={"type": "unix", "data": {"path": sock}})
            q.cmd("block-export-add", **{"type": "nbd", "id": "e", "node-name": "disk", "name": "now"})
            same("the disk over NBD is what the guest reads", sum_over_nbd(sock, "now"), first)
            try:
                q.cmd("nbd-server-add", device="disk", name="w", writable=True)
                vm.fail("a second writer was let in")
            except RuntimeError as e:
                print(f"ok: a second writer: {e}")
            freeze(q, work)
            g.send("go\n")
            same("one moment of the disk, read while the guest writes", sum_over_nbd(sock, "moment"), first)
            ends(g, q, sock)
            g.send("go\n")
            second = g.expect(r"^second (\w+) - done", 200)[1].decode()
            if b"complaint" in g.log or second == first:
                g.die("the guest's writes")
            same("the moment, afterwards", sum_over_nbd(sock, "moment"), first)
            same("the disk, afterwards", sum_over_nbd(sock, "now"), second)
            thaw(q)
            same("the disk, when the overlay is committed", sum_over_nbd(sock, "now"), second)
            for node in "over", "new":
                q.cmd("blockdev-del", **{"node-name": node})
            third = fleece(g, q, work, sock, second)
            g.send("go\n") # ends with an export there
            g.expect(r"^user-space-reached", 100)
            if g.wait(100):
                g.die("the status is not 0")
        subprocess.run(["qemu-img", "check", "-q", disk], check=True)
        same("the image alone", subprocess.run(f"qemu-img convert -O raw {disk} {disk}.raw && sha256sum < {disk}.raw", shell=True, check=True,
                                               capture_output=True, text=True).stdout.split()[0], third)


main()
