#!/usr/bin/env python3
"""User-mode networking with a real guest: net.py [MIB]

Guest to host: downloads MIB (default 64) MiB from a server on the host and writes them to its disk, where they must be
the same bytes; prints the rate. Host to guest: HTTP through two hostfwds at once."""
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
read line
"""
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


def main():
    Server.mib = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    p1, p2 = vm.free_port(), vm.free_port()
    disk = os.path.join(vm.scratch(), "d.raw")
    with open(disk, "wb") as f:
        f.truncate(Server.mib * CHUNK)
    args = vm.base_args() + [
        "-kernel", vm.kernel(), "-initrd", vm.initramfs(SCRIPT),
        "-append", f"console=ttyS0 panic=-1 quiet dl={server.server_address[1]}",
        "-drive", f"file={disk},format=raw,if=virtio",
        "-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{p1}-:80,hostfwd=tcp:127.0.0.1:{p2}-10.0.2.15:8080",
        "-device", "virtio-net-pci,netdev=n"]
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
        print(f"download: {Server.mib} MiB, guest clock {took:.1f} s, {Server.mib / took:.1f} MiB/s")
        del host
        g.send("\n")
        if g.wait(60):
            g.die("status not 0")
    with open(disk, "rb") as f:
        for i in range(Server.mib):
            if f.read(CHUNK) != block(i):
                vm.fail(f"MiB {i} differs from what the server sent")
    print("ok: both directions")


main()
