#!/usr/bin/env python3
"""-netdev socket between machines (TCP, UDP, multicast; one of them QEMU), filter-dump, set_link, netdev_add and netdev_del."""
import fcntl
import os
import re
import shutil
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from lab import Guest, Recipe, boot_files, enter, no_ping, ping, sh, vm  # noqa: E402


def static(g, addr):
    g.ready().do(f"ip link set eth0 up; ip addr add {addr}/24 dev eth0")


def pair(r, one, two, peer=None):
    """Two guests, pinged both ways. `peer`: the second one's program."""
    kernel, initrd = boot_files(["virtio_pci", "virtio_net"])
    words = vm.base_args(mem="256M") + ["-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet"]
    guests = []
    for i, options in enumerate((one, two)):
        args = words + ["-netdev", f"socket,id=n0,{options}", "-device", f"virtio-net-pci,netdev=n0,mac=52:54:00:00:77:0{i + 1}"]
        if i and peer:
            g = Guest.__new__(Guest)
            vm.Guest.__init__(g, args, f"guest {i}", peer)
            guests.append(r.stack.enter_context(g))
        else:
            guests.append(r.guest(None, name=f"guest {i}", words=args))
        if not i:
            time.sleep(0.5)
    for i, g in enumerate(guests):
        static(g, f"10.7.0.{i + 1}")
    ping(guests[0], "10.7.0.2")
    ping(guests[1], "10.7.0.1")
    guests[0].do("mkdir -p /w; dd if=/dev/urandom of=/w/f bs=1M count=2 2>/dev/null; httpd -p 80 -h /w")
    want = re.search(r"(\w{64})", guests[0].do("sha256sum < /w/f")).group(1)
    if want not in guests[1].do("wget -q -O - http://10.7.0.1/f | sha256sum", 200):
        vm.fail("2 MiB over TCP are not the same at both ends")
    for g in guests:
        g.end()


def check_stream():
    with Recipe("listen and connect") as r:
        pair(r, "listen=127.0.0.1:7001", "connect=127.0.0.1:7001")


def check_udp():
    with Recipe("udp") as r:
        pair(r, "udp=127.0.0.1:7003,localaddr=127.0.0.1:7002", "udp=127.0.0.1:7002,localaddr=127.0.0.1:7003")


def check_mcast():
    with Recipe("mcast") as r:
        pair(r, "mcast=230.0.0.1:7004,localaddr=127.0.0.1", "mcast=230.0.0.1:7004,localaddr=127.0.0.1")


def check_qemu():
    if not shutil.which("qemu-system-x86_64"):
        print("skipped: Debian's qemu-system-x86 as the other side")
        return
    with Recipe("listen, QEMU connects") as r:
        pair(r, "listen=127.0.0.1:7005", "connect=127.0.0.1:7005", ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max"])


def received(g):
    return int(re.search(r"^count (\d+)", g.do("echo count $(cat /sys/class/net/eth0/statistics/rx_packets)"), re.M).group(1))


def frame(n, size=60):
    return bytes.fromhex("5254000077015254000077990800") + bytes([n]) * (size - 14)


def check_hostile_peer():
    """A peer that announces too much is sent away, the next one is served."""
    with Recipe("a peer that breaks the rules") as r:
        g = r.guest(["-netdev", "socket,id=n0,listen=127.0.0.1:7006", "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:00:77:01"])
        static(g, "10.7.0.1")
        for bad in (b"\xff\xff\xff\xff", struct.pack(">I", 0) * 5000 + struct.pack(">I", 70000), b"\0\0"):
            with socket.create_connection(("127.0.0.1", 7006)) as s:
                s.settimeout(20 * vm.SLOW)
                s.sendall(bad)
                if len(bad) > 2:
                    try:
                        while s.recv(65536):
                            pass
                    except ConnectionResetError:
                        pass
        with socket.create_connection(("127.0.0.1", 7006)) as s:
            before = received(g)
            for part in (frame(1), frame(2, 1514)):
                data = struct.pack(">I", len(part)) + part
                for i in range(0, len(data), 700):  # in pieces
                    s.sendall(data[i:i + 700])
                    time.sleep(0.05)
            time.sleep(0.5)
            if received(g) - before < 2:
                g.die("frames of a good peer did not arrive")
        g.end()


def read_pcap(path):
    with open(path, "rb") as f:
        data = f.read()
    magic, _, _, _, _, snap, kind = struct.unpack_from("<IHHIIII", data)
    if (magic, kind) != (0xA1B2C3D4, 1):
        vm.fail(f"{path} is no pcap file of Ethernet")
    at, out = 24, []
    while at < len(data):
        sec, usec, kept, size = struct.unpack_from("<IIII", data, at)
        if abs(sec - time.time()) > 600 or usec >= 1000000 or kept != min(size, snap):
            vm.fail(f"{path}: a record of {sec}.{usec}, {kept} of {size} bytes")
        out.append(data[at + 16:at + 16 + kept])
        at += 16 + kept
    return out


def check_monitor():
    with Recipe("filter-dump, set_link, netdev_add, netdev_del") as r:
        work = vm.scratch()
        qmp = os.path.join(work, "qmp")
        dumps = {q: os.path.join(work, f"{q}.pcap") for q in ("all", "rx", "tx")}
        args = ["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,id=card", "-qmp", f"unix:{qmp},server=on,wait=off"]
        for q, path in dumps.items():
            args += ["-object", f"filter-dump,id=d{q},netdev=n0,file={path},queue={q}" + (",maxlen=64" if q == "all" else "")]
        g = r.guest(args)
        q = vm.QMP(qmp)
        static(g, "10.0.2.15")
        ping(g, "10.0.2.2", 3)
        frames = {k: [f for f in read_pcap(p) if f[12:14] == b"\x08\x00" and f[23] == 1] for k, p in dumps.items()}
        kinds = {k: sorted({f[34] for f in v}) for k, v in frames.items()}
        if kinds != {"all": [0, 8], "rx": [8], "tx": [0]} or len(frames["all"]) != len(frames["rx"]) + len(frames["tx"]):
            vm.fail(f"filter-dump has ICMP types {kinds}")
        if max(len(f) for f in frames["all"]) != 64 or min(len(f) for f in frames["rx"]) < 98:
            vm.fail("maxlen= was not kept to")
        if shutil.which("tcpdump") and "ICMP echo request" not in sh(f"tcpdump -nr {dumps['all']} 2>/dev/null"):
            vm.fail("tcpdump reads something else")
        # the cable, by the card's id and by the back end's
        for name in ("card", "n0"):
            q.cmd("set_link", name=name, up=False)
            g.do("for i in $(seq 50); do [ $(cat /sys/class/net/eth0/carrier) = 0 ] && break; sleep 0.1; done; [ $(cat /sys/class/net/eth0/carrier) = 0 ]")
            no_ping(g, "10.0.2.2")
            q.cmd("set_link", name=name, up=True)
            g.do("for i in $(seq 50); do [ $(cat /sys/class/net/eth0/carrier) = 1 ] && break; sleep 0.1; done; [ $(cat /sys/class/net/eth0/carrier) = 1 ]")
            ping(g, "10.0.2.2")
        info = q.cmd("human-monitor-command", **{"command-line": "info network"})
        if "card: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00" not in info or "n0: index=0,type=user,net=10.0.2.0" not in info:
            vm.fail(f"info network: {info}")
        # back ends come and go; the last one goes from under its card
        q.cmd("netdev_add", type="user", id="n1", hostfwd=[{"str": "tcp:127.0.0.1:7010-:22"}])
        try:
            q.cmd("netdev_add", type="user", id="n1")
            vm.fail("two back ends with one id")
        except RuntimeError as e:
            if "already" not in str(e):
                raise
        q.cmd("netdev_del", id="n1")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 7010))  # its forward is gone
        q.cmd("netdev_del", id="n0")
        g.do("for i in $(seq 50); do [ $(cat /sys/class/net/eth0/carrier) = 0 ] && break; sleep 0.1; done; [ $(cat /sys/class/net/eth0/carrier) = 0 ]")
        no_ping(g, "10.0.2.2")
        g.end()


def tap(name):
    """A descriptor of an interface that goes with it."""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x5002))  # TUNSETIFF; IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
    return fd


def check_passed():
    """A card as managers plug it into a machine that runs: getfd, netdev_add, device_add."""
    with Recipe("a tap that is passed, plugged and unplugged") as r:
        qmp = os.path.join(vm.scratch(), "qmp")
        g = r.guest(["-qmp", f"unix:{qmp},server=on,wait=off"])
        q = vm.QMP(qmp)
        g.ready()
        fd = tap("given0")
        socket.send_fds(q.s, [b'{"execute": "getfd", "arguments": {"fdname": "fd-net0"}}'], [fd])
        if b"return" not in (line := q.f.readline()):
            vm.fail(f"getfd: {line}")
        os.close(fd)
        q.cmd("netdev_add", type="tap", id="h0", fd="fd-net0")
        q.cmd("device_add", driver="virtio-net-pci", netdev="h0", id="nic0")
        sh("ip addr add 10.7.1.1/24 dev given0; ip link set given0 up")
        g.do("for i in $(seq 100); do [ -e /sys/class/net/eth0 ] && break; sleep 0.1; done; ip link set eth0 up; ip addr add 10.7.1.2/24 dev eth0")
        ping(g, "10.7.1.1")
        q.cmd("netdev_del", id="h0")
        no_ping(g, "10.7.1.1")
        if "given0" in sh("ip -o link"):
            vm.fail("the interface is still there")
        g.end()


def main():
    enter()
    sh("ip link set lo multicast on; ip route add 224.0.0.0/4 dev lo")
    for n in sys.argv[1:] or ["stream", "udp", "mcast", "qemu", "hostile_peer", "monitor", "passed"]:
        globals()[f"check_{n}"]()


main()
