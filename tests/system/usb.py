#!/usr/bin/env python3
"""Debian's kernel with its USB drivers: usb.py [CONTROLLER]...

Each controller: the devices it lists, then keys and positions that the monitor sends against the events that the guest reads; saved
and loaded between two of them. A disk and a CD: what is written is read again and is in the image, saved and loaded under I/O. A network card: pings of lengths
around whole packets, a file by HTTP."""
import functools
import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import inputs  # noqa: E402
import vm  # noqa: E402
from disks import no_complaints  # noqa: E402

MODULES = ["ehci_pci", "uhci_hcd", "xhci_pci", "usbhid", "hid_generic", "evdev"]
ICH9 = ["-device", "ich9-usb-ehci1,id=u,addr=1d.7,multifunction=on", "-device", "usb-hub,bus=u.0,port=3"]
for n in range(3):
    ICH9[-2:-2] = ["-device", f"ich9-usb-uhci{n + 1},masterbus=u.0,firstport={2 * n},addr=1d.{n},multifunction=on"]
CONTROLLERS = {"uhci": ["-usb"], "xhci": ["-device", "qemu-xhci"], "ehci": ["-device", "usb-ehci"], "ich9": ICH9}

NET = """
n=0; while [ ! -e /sys/class/net/usb0 ]; do sleep 0.2; n=$((n + 1)); [ $n -gt 150 ] && break; done
echo address $(cat /sys/class/net/usb0/address).
ifconfig usb0 10.0.2.15 up; route add default gw 10.0.2.2
for n in 22 470 982 1472; do ping -c 2 -s $n 10.0.2.2 | grep -q '2 packets received' && echo ping $n; done
wget -q -O /tmp/f http://10.0.2.2:PORT/file; echo file $(sha256sum < /tmp/f)
dmesg | grep -iE 'usb|hci|cdc' | grep -iE 'error|fail|timeout|died|reset .*USB|call trace' | sed 's/^/complaint: /'
echo user-space-reached
"""
MIB = 1 << 20

STORAGE = """
n=0; while [ ! -e /dev/sda -o ! -e /dev/sr0 ]; do sleep 0.2; n=$((n + 1)); [ $n -gt 150 ] && break; done
dd if=/dev/urandom of=/tmp/p bs=64k count=COUNT 2>/dev/null
echo pattern $(sha256sum < /tmp/p)
echo writing
n=0; while [ $n -lt ROUNDS ]; do
dd if=/tmp/p of=/dev/sda bs=64k seek=$((n * COUNT)) oflag=direct 2>/dev/null || echo different write
dd if=/dev/sda of=/tmp/q bs=64k skip=$((n * COUNT)) count=COUNT iflag=direct 2>/dev/null; cmp /tmp/p /tmp/q || echo different
dd if=/dev/sr0 of=/tmp/c bs=64k count=4 iflag=direct 2>/dev/null; echo cd $(sha256sum < /tmp/c)
n=$((n + 1)); done
dmesg | grep -iE 'usb|hci|sd |sr |scsi' | grep -iE 'error|fail|timeout|died|reset .*USB|call trace' | sed 's/^/complaint: /'
echo user-space-reached
"""

INPUT = inputs.wait_for("Vivarium USB", 2) + """
for d in /sys/bus/usb/devices/*; do [ -f $d/product ] && echo "device $(cat $d/idVendor):$(cat $d/idProduct) $(cat $d/speed) $(cat $d/product)."; done
""" + inputs.record("Vivarium USB", ("Keyboard", "Tablet")) + """
dmesg | grep -iE 'usb|hci' | grep -iE 'error|fail|timeout|died|reset .*USB|call trace' | sed 's/^/complaint: /'
echo user-space-reached
"""

def keys(work, name, controller, speed):
    state = os.path.join(work, "state")
    qmp = os.path.join(work, "qmp")
    args = vm.base_args("pc", "256M", 1) + controller + [
        "-device", "usb-kbd,id=k", "-device", "usb-tablet", "-kernel", vm.kernel("generic"),
        "-initrd", vm.initramfs(INPUT, MODULES, arch="generic"), "-append", "console=ttyS0 panic=-1 quiet",
        "-qmp", f"unix:{qmp},server=on,wait=off"]
    with vm.Guest(args) as g:
        q = vm.QMP(qmp)
        for product in ("USB Keyboard", "USB Tablet"):
            g.expect(rf"^device 0627:0001 {speed} {product}\.", 200)
        g.expect(r"^reading")
        time.sleep(1 * vm.SLOW)
        mice = q.cmd("query-mice")
        if not mice[0]["current"] or not mice[0]["absolute"]:
            g.die(f"the tablet is not preferred: {mice}")
        info = q.cmd("human-monitor-command", **{"command-line": "info usb"})
        if "Product USB Keyboard, ID: k" not in info or f"Speed {speed} Mb/s, Product USB Tablet" not in info:
            g.die(f"info usb: {info}")
        kbd, tablet = inputs.play(q, 0)
        time.sleep(0.5 * vm.SLOW)
        q.save(g, state)
        q.cmd("quit")
        g.wait(30)
    with vm.Guest(args + ["-incoming", f"file:{state}"], "loaded") as g:
        q = vm.QMP(qmp)
        kbd2, tablet2 = inputs.play(q, 1)
        time.sleep(0.5 * vm.SLOW)
        g.send("\n")
        inputs.compare(f"{name} keyboard", inputs.events(g, "Keyboard"), kbd + kbd2)
        inputs.compare(f"{name} tablet", inputs.events(g, "Tablet"), inputs.changes(tablet + tablet2))
        g.expect(r"^user-space-reached")
        if g.wait(60):
            g.die("status not 0")
        if "complaint: " in g.text:
            g.die("the kernel complains")
    print(f"ok: {name}: keyboard and tablet, saved and loaded between")


def storage(work, name, controller, kib64, rounds, points):
    disk, iso, tree, state, qmp = (os.path.join(work, f"{n}-{name}") for n in ("disk", "iso", "tree", "state", "qmp"))
    vm.run_tool([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", disk, str(64 * MIB)])
    os.makedirs(tree)
    with open(os.path.join(tree, "data"), "wb") as f:
        f.write(os.urandom(MIB))
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", iso, tree], check=True, stderr=subprocess.DEVNULL)
    with open(iso, "rb") as f:
        cd = hashlib.sha256(f.read(4 * 65536)).hexdigest()
    script = STORAGE.replace("COUNT", str(kib64)).replace("ROUNDS", str(rounds))
    base = vm.base_args("pc", "256M", 1) + controller + [
        "-drive", f"if=none,id=d,format=qcow2,file={disk}", "-device", "usb-storage,drive=d",
        "-drive", f"if=none,id=c,media=cdrom,file={iso}", "-device", "usb-storage,drive=c",
        "-kernel", vm.kernel("generic"), "-initrd", vm.initramfs(script, MODULES + ["usb_storage", "sd_mod", "sr_mod"], arch="generic"),
        "-append", "console=ttyS0 panic=-1 quiet", "-qmp", f"unix:{qmp},server=on,wait=off"]
    args, log, pattern = base, "", None
    for i in range(points + 1):
        with vm.Guest(args, f"{name} part {i}") as g:
            q = vm.QMP(qmp)
            if i == 0:
                pattern = g.expect(r"^pattern (\w+) ", 200).group(1).decode()
                g.expect(r"^writing")
            if i < points:
                time.sleep(0.1 + 0.13 * i)
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
    sums = [x.split()[1] for x in log.splitlines() if x.startswith("cd ")]
    if set(sums) != {cd} or len(sums) != rounds:
        vm.fail(f"{name}: the CD was read as {sums}, it is {cd}")
    vm.run_tool([vm.tool("viv-img"), "convert", "-O", "raw", disk, disk + ".raw"])
    with open(disk + ".raw", "rb") as f:
        for _ in range(rounds):
            if hashlib.sha256(f.read(kib64 * 65536)).hexdigest() != pattern:
                vm.fail(f"{name}: what the guest wrote is not in the image")
    print(f"ok: {name}: disk and CD, saved and loaded {points} times under I/O")


def net(work, name, controller):
    folder = os.path.join(work, f"www-{name}")
    os.makedirs(folder)
    data = os.urandom(MIB)
    with open(os.path.join(folder, "file"), "wb") as f:
        f.write(data)
    handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *a: None})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        script = NET.replace("PORT", str(server.server_port))
        args = vm.base_args("pc", "256M", 1) + controller + [
            "-netdev", "user,id=n", "-device", "usb-net,netdev=n,mac=52:54:00:aa:bb:cc", "-kernel", vm.kernel("generic"),
            "-initrd", vm.initramfs(script, MODULES + ["cdc_ether"], arch="generic"), "-append", "console=ttyS0 panic=-1 quiet"]
        with vm.Guest(args, name) as g:
            g.expect(r"^address 52:54:00:aa:bb:cc\.", 200)
            for n in 22, 470, 982, 1472:
                g.expect(rf"^ping {n}\s", 30)
            if g.expect(r"^file (\w+) ", 120).group(1).decode() != hashlib.sha256(data).hexdigest():
                g.die("the file is another")
            g.expect(r"^user-space-reached")
            if g.wait(60):
                g.die("status not 0")
            no_complaints(g)
        server.shutdown()
    print(f"ok: {name}: network card")


SPEED = {"uhci": "12", "xhci": "480", "ehci": "480", "ich9": "480"}


def main():
    vm.need("xorriso")
    work = vm.scratch()
    for name in sys.argv[1:] or CONTROLLERS:
        keys(work, name, CONTROLLERS[name], SPEED[name])
        storage(work, name, CONTROLLERS[name], *((4, 6, 2) if name == "uhci" else (64, 12, 4)))
        net(work, name, CONTROLLERS[name])


main()
