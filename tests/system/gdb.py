#!/usr/bin/env python3
"""gdb on Debian's kernel: gdb.py [OPTION...]

gdb attaches to a running guest of two CPUs over -gdb, and does what people do: breakpoints, single steps, watchpoints, registers,
memory, threads, interruption, the monitor; then lets the guest go, which must not have noticed. OPTIONs are the emulator's."""
import os
import random
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import gdb_session  # noqa: E402
import vm  # noqa: E402


def junk(sock):
    """Packets that no gdb sends: each gets an answer or none, and the server lives."""
    rng = random.Random(4)
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(sock)
        s.settimeout(20 * vm.SLOW)
        for n in range(3000):
            kind = rng.choice(["m", "M", "X", "g", "G", "p", "P", "Z0,", "z1,", "Z2,", "vCont;t", "vCont?", "vX", "qXfer:features:read:", "qRcmd,",
                               "qSupported", "Qqemu.sstep=", "H", "T", "!", "qThreadExtraInfo,", "Z"])
            body = kind + "".join(rng.choice("0123456789abcdef,:;=-}*\x7f") for _ in range(rng.choice([0, 1, 4, 12, 40, 20000 if n % 100 == 0 else 3])))
            raw = body.encode("latin1")
            total = sum(raw) & 255 if rng.random() < 0.9 else rng.randrange(256)
            s.sendall(b"$" + raw + b"#%02x" % total)
        s.sendall(b"$qC#b4" + b"$qAttached#8f")
        seen = b""
        while b"$1#31" not in seen:
            more = s.recv(65536)
            if not more:
                vm.fail("the gdb server hung up")
            seen = seen[-100:] + more
        s.sendall(b"$D#44")


def main():
    work = vm.scratch()
    sock = f"{work}/gdb"
    args = vm.base_args("pc", "256M", 2) + ["-kernel", vm.kernel(), "-initrd", vm.initramfs(gdb_session.SCRIPT, []), "-append",
                                            "console=ttyS0 panic=-1 nokaslr", "-gdb", f"unix:{sock}"]
    with vm.Guest(args + sys.argv[1:], "guest") as g:
        gdb_session.session(g, sock, work)
        junk(sock) # which may have hurt the guest
        if g.p.poll() is not None:
            g.die("ended by junk from gdb's side")
    print("ok: breakpoints, watchpoints, steps, registers, memory; the guest went on")


main()
