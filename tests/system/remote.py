#!/usr/bin/env python3
"""Debian's disk guest with its disk somewhere else: behind viv-nbd and qemu-nbd, which is killed and comes back while the guest writes,
and as the base of an overlay behind a web server. remote.py [nbd|qemu-nbd|http]..."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

WRITE = ("for i in 1 2 3 4 5 6; do dd if=/usr/bin/perl of=/root/copy$i bs=64k oflag=direct 2>/dev/null; sync; echo wrote-$i; done; "
         "cmp /usr/bin/perl /root/copy6 && cat /root/copy* | md5sum; journalctl -k | grep -c 'I/O error'; echo done-$((40 + 2))\n")


def drive(text):
    return vm.base_args(mem="1G") + [
        "-kernel", os.path.join(vm.GUEST, "vmlinuz"), "-initrd", os.path.join(vm.GUEST, "initrd.img"),
        "-append", "console=ttyS0 root=/dev/vda rw", "-drive", text, "-device", "virtio-rng-pci"]


def overlay(work, base, fmt):
    img = os.path.join(work, "d.qcow2")
    if os.path.exists(img):
        os.unlink(img)
    subprocess.run([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", "-b", base, "-F", fmt, img], check=True)
    return img


def converse(args, name, meanwhile=None):
    with vm.Guest(args, name) as g:
        g.expect(r"root@vivarium:~#", 600)
        g.send(WRITE)
        g.expect(r"^wrote-2", 300)
        if meanwhile:
            meanwhile()
        g.expect(r"^done-42", 300)
        if not any(line.strip() == "0" for line in g.text.splitlines()[-8:]):
            g.die("the guest has seen I/O errors")
        g.send("poweroff\n")
        if g.wait(300):
            g.die("poweroff did not end with status 0")


def sound(img):
    for tool in ([vm.tool("viv-img")], ["qemu-img"]):
        p = subprocess.run(tool + ["check", img], capture_output=True, text=True)
        if p.returncode:
            vm.fail(f"{tool[0]} check: {p.stdout}{p.stderr}")


def nbd(work, server):
    """The server is killed in the middle of the writing; the client waits for it and sends again what was not answered."""
    img = overlay(work, os.path.join(vm.GUEST, "debian.qcow2"), "qcow2")
    sock = os.path.join(work, "nbd.sock")

    def start():
        if os.path.exists(sock):
            os.unlink(sock)
        p = subprocess.Popen([server, "-k", sock, "-f", "qcow2", "-t", "-x", "disk", img])
        for _ in range(200):
            if os.path.exists(sock):
                return p
            time.sleep(0.05)
        vm.fail(f"{server} does not listen")

    running = [start()]

    def again():
        running[0].kill()
        running[0].wait()
        time.sleep(1)
        running[0] = start()

    try:
        converse(drive(f"if=virtio,format=raw,file.driver=nbd,file.server.type=unix,file.server.path={sock},file.export=disk,"
                       "file.reconnect-delay=60"), os.path.basename(server), again)
    finally:
        running[0].terminate()
        running[0].wait()
    sound(img)
    print(f"{os.path.basename(server)}: booted, wrote through a killed server, powered off; image sound")


def http(work):
    port = os.path.join(work, "port")
    web = subprocess.Popen([sys.executable, os.path.join(vm.TOP, "tests/block/http_server.py"), vm.GUEST, port],
                           stderr=subprocess.DEVNULL) # it complains of each connection that is closed early
    try:
        while not os.path.exists(port) or not open(port).read().strip():
            time.sleep(0.05)
        img = overlay(work, f"http://127.0.0.1:{open(port).read().split()[0]}/plain/debian.qcow2", "qcow2")
        converse(drive(f"file={img},if=virtio,format=qcow2"), "http")
        sound(img)
    finally:
        web.terminate()
    print("http: booted from a web server, wrote to the overlay, powered off; image sound")


def main():
    vm.need("mmdebstrap", "qemu-img", "qemu-nbd")
    vm.run_tool(["tools/guest/make-debian", vm.GUEST, vm.tool("viv-img")])
    work = vm.scratch()
    for what in sys.argv[1:] or ["nbd", "qemu-nbd", "http"]:
        if what == "http":
            http(work)
        else:
            nbd(work, vm.tool("viv-nbd") if what == "nbd" else "qemu-nbd")


main()
