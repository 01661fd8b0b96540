#!/usr/bin/env python3
"""-object and its paths beside QEMU's: what there is, what can be read and changed, ids that are taken, who uses what; the limits that were changed hold."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import monitored  # noqa: E402
import vm  # noqa: E402
from monitored import hmp  # noqa: E402


def get(path, name):
    return "qom-get", {"path": path, "property": name}


def change(path, name, value):
    return "qom-set", {"path": path, "property": name, "value": value}


def add(kind, id, **more):
    return "object-add", dict(more, **{"qom-type": kind, "id": id})


def delete(id):
    return "object-del", {"id": id}


LIST = "qom-list", {"path": "/objects"}
STEPS = [
    LIST, get("/objects/tg", "limits"), get("tg", "limits"), get("tg", "type"), get("tg", "nosuch"), get("nosuch", "type"), get("/objects/nosuch", "type"),
    change("/objects/tg", "limits", {"iops-total": 200}), get("tg", "limits"), change("tg", "limits", {"bps-read": 0, "bps-read-max": 0}), get("tg", "limits"),
    change("tg", "limits", {"iops-total": 200, "iops-read": 2}), change("tg", "limits", {"bogus": 2}), change("tg", "limits", 3), change("tg", "nosuch", 3),
    ("qom-set", {"path": "tg", "property": "limits"}), ("qom-set", {"path": "tg", "property": "limits", "value": {"iops-total": 9}, "bogus": 1}),
    change("tg", "id", "other"), change("tg", "limits.iops-total", 9), change("tg", "limits", "x"), get("tg", "limits"), get("/objects/", "type"), get("", "type"),
    *(add(k, i) for k in ("rng-builtin", "throttle-group") for i in ("a b", "", "1", "a/b", "-")), get("/objects", "type"), get("/", "type"),
    add("iothread", "i0"), add("secret", "i0", data="x"), add("secret", "s0", data="abc"), add("secret", "s1"), add("secret", "1s", data="x"), add("nosuch", "x"),
    ("object-add", {}), ("object-add", {"qom-type": "secret"}), get("i0", "type"), get("/objects/i0", "type"), LIST,
    add("rng-random", "r0", filename="/dev/urandom"), get("r0", "filename"), add("rng-builtin", "r1"), delete("r1"), delete("r1"), delete("i0"), delete("s0"), LIST,
    add("authz-simple", "a0", identity="CN=x"), get("a0", "identity"), delete("tg"), delete("tg"), LIST, hmp("qom-list /objects"),
    ("qom-list-types", {"implements": "authz"}), ("qom-list-types", {"implements": "nosuch"}),
]


class Machine(monitored.Machine):
    def __init__(self, emulator):
        super().__init__(emulator, "-object", "throttle-group,id=tg,x-iops-total=100,x-bps-read-max=1000,x-bps-read=100")
        with open(f"{self.work}/d", "wb") as f:
            f.truncate(1 << 20)

    def do(self, name, args):
        """What was said, without QEMU's memory, its type that we have not, and the x- names of what is said twice; of errors the class."""
        try:
            said = self.q.cmd(name, **args)
        except RuntimeError as e:
            return "error", monitored.error_class(e)
        if isinstance(said, str):
            return sorted(line for line in said.splitlines() if "pc.ram" not in line)
        if isinstance(said, list):
            return sorted(str(sorted(x.items())) for x in said if x["name"] not in ("pc.ram", "authz-list"))
        return said


def limits(m):
    """One group, seen and changed by its path, and by a drive that is in it."""
    m.q.cmd("blockdev-add", driver="throttle", **{"node-name": "t", "throttle-group": "tg", "file": {"driver": "raw", "file": {"driver": "file", "filename": f"{m.work}/d"}}})
    m.q.cmd("qom-set", path="tg", property="limits", value={"iops-total": 0, "bps-read": 50, "bps-read-max": 0})
    if m.q.cmd("qom-get", path="/objects/tg", property="limits")["bps-read"] != 50:
        vm.fail("limits")
    for step in (delete("tg"), add("secret", "tg", data="x")):
        if m.do(*step)[0] != "error":
            vm.fail(f"{step}: taken")
    said = m.q.cmd("human-monitor-command", **{"command-line": 'qom-set tg limits {"iops-total": 7}'}) + m.q.cmd("human-monitor-command", **{"command-line": "qom-get tg limits"})
    said += m.q.cmd("human-monitor-command", **{"command-line": "info qom-tree"})
    if "/objects (container)\r\n  /tg (throttle-group)" not in said:
        vm.fail(f"info qom-tree: {said}")
    if '"iops-total": 7' not in said or '"bps-read": 50' not in said:
        vm.fail(f"HMP: {said}")


def helped(m):
    """What can be added while the machine runs, and with which properties."""
    for line, want, unwanted in (("help", 'name "virtio-rng-pci", bus PCI', '"VGA"'), ("?", '"usb-tablet"', '"i8254"'), ("virtio-rng,help", "rng=<str>", "Error"),
                                 ("nosuch,help", "not a valid device model name", "\nname")):
        said = m.q.cmd("human-monitor-command", **{"command-line": f"device_add {line}"})
        if want not in said or unwanted in said:
            vm.fail(f"device_add {line}: {said}")


def boots(m):
    """A device's properties are read by the names they were given by, and its place in the boot order is another one after a reset."""
    path = {"path": "/machine/peripheral/n0"}

    def get(name, **at):
        return m.q.cmd("qom-get", property=name, **(at or path))

    for id, index in ("n0", 1), ("n1", 2):
        m.q.cmd("device_add", driver="virtio-net-pci", id=id, bootindex=index, mac=f"52:54:00:00:00:0{index}")
    if [get(x) for x in ("mac", "bootindex")] != ["52:54:00:00:00:01", 1] or {"name": "mac", "type": "str"} not in m.q.cmd("qom-list", **path):
        vm.fail(f"n0: {m.q.cmd('qom-list', **path)}")
    m.q.cmd("qom-set", property="bootindex", value=3, **path)
    if get("bootindex") != 3:
        vm.fail("bootindex")
    for name, value, why in ("bootindex", 2, "already that of"), ("bootindex", -2, "out of range"), ("bootindex", "x", "'x'"), ("mac", "x", "cannot be set"), ("nosuch", 1, "not found"):
        try:
            m.q.cmd("qom-set", property=name, value=value, **path)
            vm.fail(f"qom-set {name} {value}: taken")
        except RuntimeError as e:
            if why not in str(e):
                vm.fail(f"qom-set {name} {value}: {e}")
    m.q.cmd("qom-set", property="bootindex", value=-1, **path)
    if get("bootindex") != -1:
        vm.fail("bootindex=-1")


def used(m):
    """A source of random numbers stays as long as a device reads from it."""
    m.q.cmd("object-add", **add("rng-random", "r")[1])
    m.q.cmd("device_add", driver="virtio-rng-pci", rng="r", id="d")
    try:
        m.q.cmd("object-del", id="r")
    except RuntimeError as e:
        if "virtio-rng reads from it" not in str(e):
            vm.fail(str(e))
    else:
        vm.fail("deleted under a device")


def main():
    with Machine(vm.emulator()) as m:
        limits(m)
        used(m)
        boots(m)
        helped(m)
    monitored.same_answers(Machine, STEPS)


if __name__ == "__main__":
    main()
