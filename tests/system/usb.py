#!/usr/bin/env python3
"""Debian's kernel with its USB drivers: usb.py [CONTROLLER]...

Each controller: the devices it lists, then keys and positions that the monitor sends against the events that the guest reads; saved
and loaded between two of them."""
import os
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

MODULES = ["uhci_hcd", "xhci_pci", "usbhid", "hid_generic", "evdev"]
CONTROLLERS = {"uhci": ["-usb"], "xhci": ["-device", "qemu-xhci"]}
EV_KEY, EV_REL, EV_ABS = 1, 2, 3

# Events of the keyboard's and the tablet's node until the word comes, in hexadecimal.
INPUT = """
n=0; while [ $(grep -c 'Vivarium USB' /proc/bus/input/devices) -lt COUNT ]; do sleep 0.2; n=$((n + 1)); [ $n -gt 100 ] && break; done
for d in /sys/bus/usb/devices/*; do [ -f $d/product ] && echo "device $(cat $d/idVendor):$(cat $d/idProduct) $(cat $d/speed) $(cat $d/product)."; done
for k in Keyboard Tablet; do
node=$(grep -A5 "Name=\\"Vivarium USB $k\\"" /proc/bus/input/devices | sed -n 's/.*Handlers=.*\\(event[0-9]*\\).*/\\1/p')
cat /dev/input/$node > /tmp/$k &
done
echo reading
read x
sleep 1
killall cat
for k in Keyboard Tablet; do echo "events $k $(hexdump -v -e '1/1 "%02x"' /tmp/$k)."; done
dmesg | grep -iE 'usb|hci' | grep -iE 'error|fail|timeout|died|reset .*USB|call trace' | sed 's/^/complaint: /'
echo user-space-reached
"""

# Letters, a modifier with one, a key on the pad, one of the E0 set.
KEYS = [("a", 30), ("z", 44), ("ret", 28), ("kp_7", 71), ("up", 103), ("f12", 88), ("less", 86)]


def events(g, name):
    data = bytes.fromhex(g.expect(rf"^events {name} ([0-9a-f]*)\.", 60).group(1).decode())
    all24 = [struct.unpack("<qqHHi", data[i:i + 24])[2:] for i in range(0, len(data) // 24 * 24, 24)]
    return [e for e in all24 if e[0] in (EV_KEY, EV_REL, EV_ABS)]


def send(q, *what):
    q.cmd("input-send-event", events=[{"type": t, "data": d} for t, d in what])


def place(q, x, y):
    send(q, ("abs", {"axis": "x", "value": x}), ("abs", {"axis": "y", "value": y}))


def button(q, name, down):
    send(q, ("btn", {"button": name, "down": down}))


def key(q, name, down):
    send(q, ("key", {"down": down, "key": {"type": "qcode", "data": name}}))


def play(q, half):
    """Returns what keyboard, tablet and mouse are to tell."""
    kbd, tablet = [], []
    for name, code in KEYS[half::2]:
        for down in (True, False):
            key(q, name, down)
            kbd.append((EV_KEY, code, int(down)))
    for x, y in ((100 + half, 200), (32767 - half, 0), (0, 32767 - half)):
        place(q, x, y)
        button(q, "left", True)
        button(q, "left", False)
        tablet += [(EV_ABS, 0, x), (EV_ABS, 1, y), (EV_KEY, 0x110, 1), (EV_KEY, 0x110, 0)]
    return kbd, tablet


def compare(what, got, want):
    got = [e for e in got if e[:2] != (4, 4)]
    if got != want:
        vm.fail(f"{what}: the guest read {got}, sent was {want}")


def changes(all_abs):
    """evdev leaves out an axis that did not move."""
    at, out = {}, []
    for e in all_abs:
        if e[0] == EV_ABS and at.get(e[1], 0) == e[2]:
            continue
        if e[0] == EV_ABS:
            at[e[1]] = e[2]
        out.append(e)
    return out


def inputs(work, name, controller, speed):
    state = os.path.join(work, "state")
    qmp = os.path.join(work, "qmp")
    args = vm.base_args("pc", "256M", 1) + controller + [
        "-device", "usb-kbd,id=k", "-device", "usb-tablet", "-kernel", vm.kernel("generic"),
        "-initrd", vm.initramfs(INPUT.replace("COUNT", "2"), MODULES, arch="generic"), "-append", "console=ttyS0 panic=-1 quiet",
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
        kbd, tablet = play(q, 0)
        time.sleep(0.5 * vm.SLOW)
        q.cmd("migrate", uri=f"file:{state}")
        if q.cmd("query-migrate")["status"] != "completed":
            g.die("migrate failed")
        q.cmd("quit")
        g.wait(30)
    with vm.Guest(args + ["-incoming", f"file:{state}"], "loaded") as g:
        q = vm.QMP(qmp)
        kbd2, tablet2 = play(q, 1)
        time.sleep(0.5 * vm.SLOW)
        g.send("\n")
        compare(f"{name} keyboard", events(g, "Keyboard"), kbd + kbd2)
        compare(f"{name} tablet", events(g, "Tablet"), changes(tablet + tablet2))
        g.expect(r"^user-space-reached")
        if g.wait(60):
            g.die("status not 0")
        if "complaint: " in g.text:
            g.die("the kernel complains")
    print(f"ok: {name}: keyboard and tablet, saved and loaded between")


SPEED = {"uhci": "12", "xhci": "480"}


def main():
    work = vm.scratch()
    for name in sys.argv[1:] or CONTROLLERS:
        inputs(work, name, CONTROLLERS[name], SPEED[name])


main()
