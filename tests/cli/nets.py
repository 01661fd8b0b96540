#!/usr/bin/env python3
"""Network cards and back ends at the monitor beside QEMU's: a card whose back end is gone, the cable, ports that the host chooses, names that nobody has."""
import os
import re
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import monitored  # noqa: E402
import vm  # noqa: E402
from monitored import hmp  # noqa: E402


NET = hmp("info network")
STEPS = [
    NET, ("set_link", {"name": "e1000.0", "up": False}), ("set_link", {"name": "e1000.1", "up": False}), ("set_link", {"name": "e1000", "up": False}),
    ("object-add", {"qom-type": "filter-dump", "id": "fd", "netdev": "n0", "file": "W/f"}), ("object-add", {"qom-type": "filter-dump", "id": "fe", "netdev": "m", "file": "W/f"}), ("query-rx-filter", {"name": "v"}), ("query-rx-filter", {"name": "z"}),
    ("set_link", {"name": "v", "up": False}), NET, ("set_link", {"name": "n0", "up": True}), ("set_link", {"name": "z", "up": True}),
    ("netdev_del", {"id": "n0"}), NET, ("netdev_del", {"id": "n0"}), ("netdev_del", {"id": "z"}),
    ("query-rx-filter", {"name": "v"}), ("set_link", {"name": "v", "up": False}), ("object-del", {"id": "fd"}), ("object-del", {"id": "fe"}),
    ("netdev_add", {"type": "user", "id": "n1"}), ("netdev_add", {"type": "nosuch", "id": "x"}), ("netdev_add", {"type": "user"}),
    ("netdev_add", {"type": "user", "id": "n2", "hostfwd": [{"str": "tcp:127.0.0.1:0-:22"}]}), hmp("info usernet"),
    hmp("hostfwd_add n2 udp:127.0.0.1:0-:53"), hmp("info usernet"), hmp("hostfwd_add z tcp::0-:22"), hmp("hostfwd_add n2 tcp:127.0.0.1:0-:0"),
    hmp("hostfwd_remove n2 tcp:127.0.0.1:1"), ("device_del", {"id": "e"}), NET,
]


class Machine(monitored.Machine):
    def __init__(self, emulator, **popen):
        super().__init__(emulator, "-netdev", "socket,id=m,mcast=230.0.0.1:12399,localaddr=127.0.0.1", "-netdev", "user,id=n0", "-device",
                         "virtio-net-pci,netdev=n0,id=v,mac=52:54:00:11:22:33", "-device", "e1000,id=e,mac=52:54:00:11:22:34,netdev=m",
                         "-device", "e1000,mac=52:54:00:11:22:35", **popen)

    def do(self, name, args):
        """What was said, without what is each program's own; of errors the class."""
        try:
            said = self.q.cmd(name, **{k: v.replace("W/", self.work + "/") if isinstance(v, str) else v for k, v in args.items()})
        except RuntimeError as e:
            return "error", monitored.error_class(e)
        if isinstance(said, list):
            return "returns", sorted((c["name"], c["main-mac"]) for c in said)
        if not isinstance(said, str):
            return "returns", said
        if name == "human-monitor-command" and args["command-line"] == "info network":
            return "cards", re.findall(r"^([\w.]+): index=0,type=nic,model=([\w-]+),macaddr=([\w:]+)", said, re.M)
        return "text", [re.sub(r" \d{2,5} ", " N ", " ".join(line.split())) for line in said.splitlines() if "HOST_FORWARD" in line]


def ports(m):
    """The port that the host chose leads to the guest's network; without a back end's name the first that forwards is meant."""
    m.q.cmd("netdev_add", type="user", id="n9", hostfwd=[{"str": "tcp:127.0.0.1:0-:22"}])
    said = m.q.cmd("human-monitor-command", **{"command-line": "info usernet"})
    port = int(re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+10\.0\.2\.15\s+22\b", said).group(1))
    socket.create_connection(("127.0.0.1", port), 10 * vm.SLOW).close()
    for line in (f"hostfwd_remove tcp:127.0.0.1:{port}", "hostfwd_add tcp:127.0.0.1:0-:80"):
        said = m.q.cmd("human-monitor-command", **{"command-line": line})
        if "rror" in said:
            vm.fail(f"{line}: {said}")
    with socket.socket() as s:
        if s.connect_ex(("127.0.0.1", port)) == 0:
            vm.fail("the forward is still there")


def name(m, fd):
    socket.send_fds(m.q.s, [b'{"execute": "getfd", "arguments": {"fdname": "f-0"}}'], [fd])
    while b"event" in (line := m.q.f.readline()):
        pass
    if b"return" not in line:
        vm.fail(f"getfd: {line}")


def descriptors(m):
    """What is open, for both ends of a name or number to be the same before and after."""
    folder = f"/proc/{m.p.pid}/fd"
    return {n: os.readlink(f"{folder}/{n}") for n in os.listdir(folder)}


def passed(emulator):
    """A descriptor that a manager passes has a name; a number is one that the machine was started with, and nobody else's."""
    near, far = socket.socketpair()
    near.settimeout(10 * vm.SLOW)
    with near, Machine(emulator, pass_fds=[far.fileno()]) as m:
        m.q.cmd("netdev_add", type="socket", id="p1", fd=str(far.fileno()))
        far.close()
        if emulator == vm.emulator():  # QEMU takes any number
            before = descriptors(m)
            for n in sorted(map(int, before)):
                for kind in ("tap", "socket"):
                    said = m.refused("netdev_add", type=kind, id="p2", fd=str(n))
                    if "3 or more" not in said and "not started with" not in said:
                        vm.fail(f"netdev_add {kind}, fd={n}: {said}")
            if descriptors(m) != before:
                vm.fail("descriptors of the machine were taken or closed")
        m.q.cmd("netdev_del", id="p1")
        if near.recv(1):
            vm.fail("the socket that was inherited is still open")
        near2, far2 = socket.socketpair()
        near2.settimeout(10 * vm.SLOW)
        with near2:
            with far2:
                name(m, far2.fileno())
            m.q.cmd("netdev_add", type="socket", id="p3", fd="f-0")
            if "has not been found" not in m.refused("netdev_add", type="socket", id="p4", fd="f-0"):
                vm.fail("a name serves twice")
            m.q.cmd("netdev_del", id="p3")
            if near2.recv(1):
                vm.fail("the socket that was passed is still open")
        with socket.socket() as s:
            name(m, s.fileno())
        if emulator == vm.emulator() and "no connected" not in m.refused("netdev_add", type="socket", id="p5", fd="f-0"):
            vm.fail("a socket that leads nowhere is taken")


def main():
    with Machine(vm.emulator()) as m:
        m.q.cmd("netdev_del", id="n0")
        ports(m)
    passed(vm.emulator())
    monitored.same_answers(Machine, STEPS)


if __name__ == "__main__":
    main()
