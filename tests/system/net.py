#!/usr/bin/env python3
"""User-mode networking with a real guest of two CPUs: net.py [MIB [CARD]]

Guest to host: downloads MIB (default 64) MiB from a server on the host and writes them to its disk, where they must be
the same bytes; prints the rate. Host to guest: HTTP through two hostfwds at once, then what was downloaded (at most 32 MiB).
The guest must not have counted an error or a lost frame, nor complained of its card. CARD: virtio-net-pci, e1000, rtl8139."""
import hashlib
import http.server
import os
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

SCRIPT = """
ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
set -- $(cat /proc/cmdline | tr ' ' '\\n' | sed -n 's/^dl=//p')
mkdir -p /www; echo page-one > /www/one; httpd -p 80 -h /www
mkdir -p /w2; echo page-two > /w2/two; httpd -p 8080 -h /w2
echo servers-up
s=$(cut -d' ' -f1 /proc/uptime)
wget -q -O - http://10.0.2.2:$1/data | dd of=/dev/vda bs=1M 2>/dev/null && echo downloaded
sync
echo took $s $(cut -d' ' -f1 /proc/uptime)
head -c 33554432 /dev/vda > /www/big; echo big-there
read line
echo counters $(sed -n 's/.*eth0://p' /proc/net/dev)
dmesg | grep -i -E 'netdev watchdog|timed? ?out|hung|nobody cared' | sed 's/^/complaint /'
echo told
read line
"""
MODULES = {"e1000": ["e1000"], "rtl8139": ["8139cp"]}
CHUNK = 1 << 20


def block(i):
    """Content that no two blocks share."""
    return hashlib.shake_128(i.to_bytes(8, "little")).digest(CHUNK // 64) * 64


class Server(http.server.BaseHTTPRequestHandler):
    mib = 64

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(self.mib * CHUNK))
        self.end_headers()
        for i in range(self.mib):
            self.wfile.write(block(i))

    def log_message(self, *args):
        pass


def check_counters(g):
    """Of /proc/net/dev, both directions: bytes, packets, errors, dropped, FIFO errors, frame errors (or collisions)."""
    counters = [int(n) for n in g.expect(r"^counters ([\d ]+)\r?\n").group(1).split()]
    told = g.expect(r"(?s)(.*)^told").group(1)
    if len(counters) != 16 or any(counters[2:6]) or any(counters[10:14]) or b"complaint" in told:
        g.die(f"the guest counted {counters} and said {told.decode(errors='replace')!r}")


def main():
    Server.mib = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    card = sys.argv[2] if len(sys.argv) > 2 else "virtio-net-pci"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    p1, p2 = vm.free_port(), vm.free_port()
    disk = os.path.join(vm.scratch(), "d.raw")
    with open(disk, "wb") as f:
        f.truncate(Server.mib * CHUNK)
    arch = "generic" if card in MODULES else "amd64"
    args = vm.base_args(cpus=2) + [
        "-kernel", vm.kernel(arch), "-initrd", vm.initramfs(SCRIPT, vm.VIRTIO + MODULES.get(card, []), arch=arch),
        "-append", f"console=ttyS0 panic=-1 quiet dl={server.server_address[1]}",
        "-drive", f"file={disk},format=raw,if=virtio",
        "-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{p1}-:80,hostfwd=tcp:127.0.0.1:{p2}-10.0.2.15:8080",
        "-device", f"{card},netdev=n"]
    with vm.Guest(args) as g:
        g.expect("^servers-up", 300)
        for port, page in ((p1, "one"), (p2, "two")):
            got = urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=60 * vm.SLOW).read()
            if got != f"page-{page}\n".encode():
                g.die(f"hostfwd {port} gave {got!r}")
        start = time.monotonic()
        g.expect("^downloaded", 60 + Server.mib * 2)
        m = g.expect(r"^took (\S+) (\S+)\s")
        host = time.monotonic() - start
        took = float(m.group(2)) - float(m.group(1))
        print(f"{card}, download: {Server.mib} MiB, guest clock {took:.1f} s, {Server.mib / took:.1f} MiB/s")
        del host
        g.expect("^big-there", 60)
        start = time.monotonic()
        got = urllib.request.urlopen(f"http://127.0.0.1:{p1}/big", timeout=60 * vm.SLOW).read()
        print(f"upload: {len(got) >> 20} MiB, {len(got) / (1 << 20) / (time.monotonic() - start):.1f} MiB/s")
        if got != b"".join(block(i) for i in range(min(32, Server.mib))):
            g.die(f"{len(got)} bytes from the guest differ")
        g.send("\n")
        check_counters(g)
        g.send("\n")
        if g.wait(60):
            g.die("status not 0")
    with open(disk, "rb") as f:
        for i in range(Server.mib):
            if f.read(CHUNK) != block(i):
                vm.fail(f"MiB {i} differs from what the server sent")
    print("ok: both directions")


main()
