"""Keys and positions: sent by the monitor, read by the guest from its event nodes."""
import struct

import vm

EV_KEY, EV_REL, EV_ABS = 1, 2, 3


def wait_for(prefix, count):
    """Guest script: until so many devices are there whose names begin so."""
    return f"""
n=0; while [ $(grep -c 'Name="{prefix}' /proc/bus/input/devices) -lt {count} ]; do sleep 0.2; n=$((n + 1)); [ $n -gt 100 ] && break; done
"""


def record(prefix, kinds):
    """Guest script: events of these devices until a line comes, in hexadecimal."""
    kinds = " ".join(kinds)
    return f"""
for k in {kinds}; do
node=$(grep -A5 "Name=\\"{prefix} $k\\"" /proc/bus/input/devices | sed -n 's/.*Handlers=.*\\(event[0-9]*\\).*/\\1/p')
cat /dev/input/$node > /tmp/$k &
done
echo reading
read x
sleep 1
killall cat
for k in {kinds}; do echo "events $k $(hexdump -v -e '1/1 "%02x"' /tmp/$k)."; done
"""


# Letters, a modifier with one, a key on the pad, one of the E0 set.
KEYS = [("a", 30), ("z", 44), ("ret", 28), ("kp_7", 71), ("up", 103), ("f12", 88), ("less", 86)]


def events(g, name):
    data = bytes.fromhex(g.expect(rf"^events {name} ([0-9a-f]*)\.", 60).group(1).decode())
    all24 = [struct.unpack("<qqHHi", data[i:i + 24])[2:] for i in range(0, len(data) // 24 * 24, 24)]
    if (0, 3, 0) in all24:
        vm.fail(f"{name}: the guest's reader was too slow (SYN_DROPPED)")
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
        at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        vm.fail(f"{what}: the guest read {len(got)} events, sent were {len(want)}; from number {at} on {got[at:at + 8]}, not {want[at:at + 8]}")


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
