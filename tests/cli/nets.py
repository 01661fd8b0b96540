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
    def __init__(self, emulator):
        super().__init__(emulator, "-netdev", "socket,id=m,mcast=230.0.0.1:12399,localaddr=127.0.0.1", "-netdev", "user,id=n0", "-device",
                         "virtio-net-pci,netdev=n0,id=v,mac=52:54:00:11:22:33", "-device", "e1000,id=e,mac=52:54:00:11:22:34,netdev=m",
                         "-device", "e1000,mac=52:54:00:11:22:35")

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


def main():
    with Machine(vm.emulator()) as m:
        m.q.cmd("netdev_del", id="n0")
        ports(m)
    monitored.same_answers(Machine, STEPS)


if __name__ == "__main__":
    main()
