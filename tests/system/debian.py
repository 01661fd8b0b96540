#!/usr/bin/env python3
"""The guest of `make run`, as a person uses it: a shell on the serial line, ssh and curl through hostfwds, a file that is
there on the next boot, poweroff with status 0; then kill -9 while it writes, and the disk is still sound."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import durable  # noqa: E402
import vm  # noqa: E402

SSH = ["ssh", "-q", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o",
       "ConnectTimeout=60", "-o", "BatchMode=no"]


def main():
    vm.need("mmdebstrap", "ssh", "curl")
    vm.run_tool(["tools/guest/make-debian", vm.GUEST, vm.tool("viv-img")])
    work = vm.scratch()
    img = os.path.join(work, "d.qcow2")
    base = os.path.join(vm.GUEST, "debian.qcow2")
    subprocess.run([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", img],
                   check=True)
    p22, p80 = vm.free_port(), vm.free_port()
    args = vm.base_args(mem="1G") + [
        "-kernel", os.path.join(vm.GUEST, "vmlinuz"), "-initrd", os.path.join(vm.GUEST, "initrd.img"),
        "-append", "console=ttyS0 root=/dev/vda rw", "-drive", f"file={img},if=virtio,format=qcow2",
        "-device", "virtio-rng-pci", "-netdev",
        f"user,id=n,hostfwd=tcp:127.0.0.1:{p22}-:22,hostfwd=tcp:127.0.0.1:{p80}-:80",
        "-device", "virtio-net-pci,netdev=n"]
    start = time.monotonic()
    with vm.Guest(args, "first boot") as g:
        g.expect(r"root@vivarium:~#", 600)
        print(f"shell prompt after {time.monotonic() - start:.1f} s")
        g.send("echo kept > /root/file; busybox httpd -p 80 -h /etc; echo ready-$((40 + 2))\n")
        g.expect("ready-42")
        got = subprocess.run(SSH + ["-p", str(p22), "root@127.0.0.1", "cat /root/file; uname -s"],
                             capture_output=True, text=True, timeout=300 * vm.SLOW, stdin=subprocess.DEVNULL)
        if got.stdout.split() != ["kept", "Linux"]:
            g.die(f"ssh gave {got}")
        got = subprocess.run(["curl", "-sS", "--noproxy", "*", f"http://127.0.0.1:{p80}/hostname"],
                             capture_output=True, text=True, timeout=120 * vm.SLOW)
        if got.stdout != "vivarium\n":
            g.die(f"curl gave {got}")
        g.send("poweroff\n")
        if g.wait(300):
            g.die("poweroff did not end with status 0")
    with vm.Guest(args, "second boot") as g:
        g.expect(r"root@vivarium:~#", 600)
        g.send("cat /root/file; (while :; do dd if=/dev/urandom of=/root/x bs=64k count=20; sync; done) 2>&1 &\n")
        g.expect("kept")
        g.expect("copied", 120)
        g.expect("copied", 120)
        g.kill()
    for check in ([vm.tool("viv-img"), "check", img], ["qemu-img", "check", img]):
        p = subprocess.run(check, capture_output=True, text=True)
        if p.returncode not in (0, 3):
            vm.fail(f"{' '.join(check)}: {p.stdout}{p.stderr}")
    durable.fs_sound(img, work)
    print("ok: shell, ssh, curl, persistence, poweroff, kill -9")


main()
