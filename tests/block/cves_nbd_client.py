#!/usr/bin/env python3
"""Hostile servers against viv-img and viv-nbd -L: the classes of published CVEs of NBD clients.

CVE-2017-2630 (long replies), 2020-1711 and 2023-5871 (block status longer than asked), 2021-20286 (servers that go, replies out of turn),
2022-0485 (read errors lost), 2023-5215 (sizes beyond 2^63)."""
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

IMG, NBD = os.environ["VIV_IMG"].split(), os.environ["VIV_NBD"].split()
work = tempfile.TemporaryDirectory(prefix="viv-cves-")
os.chdir(work.name)
OPTS, REP, INIT = 0x49484156454F5054, 0x3E889045565A9, 0x4E42444D41474943
OPT_LIST, OPT_INFO, OPT_GO, OPT_STRUCTURED, OPT_LIST_META, OPT_SET_META = 3, 6, 7, 8, 9, 10
READ, WRITE, STATUS = 0, 1, 7
SIZE, KIB = 1 << 20, 400 << 10
failures = []


def wrong(what, why):
    failures.append("%s: %s" % (what, why))


def name(text):
    return struct.pack(">I", len(text)) + text


class Fake:
    """A server that says `script` (a function of the connection) to each client."""

    def __init__(self, script):
        self.path = os.path.abspath("fake")
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(self.path)
        self.s.listen(8)
        self.script = script
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        while True:
            try:
                conn = self.s.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.talk, args=(conn,), daemon=True).start()

    def talk(self, conn):
        conn.settimeout(30)
        try:
            self.script(Peer(conn))
        except (OSError, struct.error):
            pass
        conn.close()

    def close(self):
        self.s.shutdown(socket.SHUT_RDWR)
        self.s.close()


class Peer:
    """The server's end of a connection."""

    def __init__(self, conn):
        self.s = conn

    def read(self, n):
        data = b""
        while len(data) < n:
            piece = self.s.recv(n - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return data

    def say(self, data):
        self.s.sendall(data)

    def hello(self):
        self.say(struct.pack(">QQH", INIT, OPTS, 3))
        self.read(4)

    def option(self):
        _, kind, length = struct.unpack(">QII", self.read(16))
        return kind, self.read(length)

    def reply(self, kind, code, data=b"", length=None):
        self.say(struct.pack(">QIII", REP, kind, code, len(data) if length is None else length) + data)

    def negotiate(self, size=SIZE, structured=True, flags=0x1 | 0x4 | 0x20 | 0x40, extra=()):
        """As a sound server does, up to the requests."""
        self.hello()
        while True:
            kind, data = self.option()
            if kind == OPT_STRUCTURED:
                self.reply(kind, 1 if structured else 0x80000001)
            elif kind in (OPT_SET_META, OPT_LIST_META):
                self.reply(kind, 4, struct.pack(">I", 1) + b"base:allocation")
                self.reply(kind, 1)
            elif kind in (OPT_GO, OPT_INFO):
                for e in extra:
                    self.reply(kind, 3, e)
                self.reply(kind, 3, struct.pack(">HQH", 0, size & (1 << 64) - 1, flags))
                self.reply(kind, 1)
                if kind == OPT_GO:
                    return
            else:
                self.reply(kind, 0x80000001)

    def request(self):
        _, _, kind, cookie, offset, length = struct.unpack(">IHHQQI", self.read(28))
        if kind == WRITE:
            self.read(length)
        return kind, cookie, offset, length

    def chunk(self, cookie, kind, data=b"", flags=1, length=None):
        self.say(struct.pack(">IHHQI", 0x668E33EF, flags, kind, cookie, len(data) if length is None else length) + data)

    def status(self, cookie, *extents, context=1):
        self.chunk(cookie, 5, struct.pack(">I", context) + b"".join(struct.pack(">II", n, f) for n, f in extents))

    def data(self, cookie, offset, length):
        self.chunk(cookie, 1, struct.pack(">Q", offset) + bytes(length))


def answering(read=None, status=None, **more):
    """A server that is sound but for how it answers reads or block status."""
    def script(p):
        p.negotiate(**more)
        while True:
            kind, cookie, offset, length = p.request()
            if kind == READ:
                (read or Peer.data)(p, cookie, offset, length)
            elif kind == STATUS:
                if status:
                    status(p, cookie, offset, length)
                else:
                    p.status(cookie, (length, 0))
            elif kind == 2:
                return
            else:
                p.chunk(cookie, 0)
    return script


def at_go(code, data=b"", length=None, **more):
    """A server that answers the last option, GO, with this."""
    def script(p):
        p.hello()
        while True:
            kind, _ = p.option()
            if kind == OPT_GO:
                p.reply(kind, code, data, length)
                p.say(bytes(1 << 20))
                return p.read(1)
            p.reply(kind, 1 if kind == OPT_STRUCTURED else 0x80000001)
    return script


def leaving(at):
    """A server that is gone when this option comes."""
    def script(p):
        p.hello()
        while True:
            kind, _ = p.option()
            if kind == at:
                return
            p.reply(kind, 1 if kind == OPT_STRUCTURED else 0x80000001)
    return script


def endless(kind_wanted, code, data):
    def script(p):
        p.hello()
        while True:
            kind, _ = p.option()
            while kind == kind_wanted:
                p.reply(kind, code, data)
            p.reply(kind, 1 if kind == OPT_STRUCTURED else 0x80000001)
    return script


# Such an answer ends the connection; what was not known counts as data, and the read may come when there is a new one already.
EITHER = (0, 1)


def client(what, script, *words, want=1):
    """Our client ends by itself, with this exit code (or one of these), says why it failed, and leaves no target."""
    wanted = want if isinstance(want, tuple) else (want,)
    fake = Fake(script)
    words = words or ("convert", "-f", "raw", "-O", "raw", "URL", "out")
    program = NBD if words[0] == "-L" else IMG
    out = tempfile.TemporaryFile()
    p = subprocess.Popen([*program, *[w.replace("URL", "nbd+unix:///?socket=" + fake.path).replace("SOCK", fake.path) for w in words]],
                         stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    killer = threading.Timer(90, p.kill)
    killer.start()
    _, status, usage = os.wait4(p.pid, 0)
    killer.cancel()
    fake.close()
    code = p.returncode = os.waitstatus_to_exitcode(status)
    out.seek(0)
    said = out.read(10000).decode(errors="replace")
    if code not in wanted or "Sanitizer" in said or "runtime error" in said or (code and not said.strip()):
        wrong(what, "ends with %d, not %s: %s" % (code, want, said[-1500:]))
    if usage.ru_maxrss > KIB:
        wrong(what, "took %d MiB" % (usage.ru_maxrss >> 10))
    if usage.ru_utime > 20:
        wrong(what, "took %.0f s of CPU" % usage.ru_utime)
    if os.path.exists("out"):
        if code:
            wrong(what, "left a target")
        os.unlink("out")


def lone_after_break():
    """A server that allows several connections goes; the one that is there next does not: it gets one at a time."""
    lock = threading.Lock()
    seen = {"first": True, "now": 0, "most": 0}

    def slow(p, cookie, offset, length):
        time.sleep(0.03)
        p.data(cookie, offset, length)

    def script(p):
        with lock:
            first, seen["first"] = seen["first"], False
        if first:
            p.negotiate(size=32 * SIZE, flags=0x1 | 0x4 | 0x20 | 0x40 | 0x100)
            p.request()
            return
        with lock:
            seen["now"] += 1
            seen["most"] = max(seen["most"], seen["now"])
        try:
            answering(read=slow, size=32 * SIZE)(p)
        finally:
            with lock:
                seen["now"] -= 1

    client("several connections before a reconnect", script, "convert", "-m", "8", "--image-opts", "-O", "raw",
           "driver=raw,file.driver=nbd,file.path=SOCK,file.reconnect-delay=20", "out", want=0)
    if seen["most"] != 1:
        wrong("a server that comes back without NBD_FLAG_CAN_MULTI_CONN", "gets %d connections at once" % seen["most"])


def interrupted():
    """Ctrl-C ends a copy from a server that does not answer."""
    asked = threading.Event()

    def silent(p):
        p.negotiate()
        while True:
            kind, cookie, _, length = p.request()
            if kind == STATUS:
                p.status(cookie, (length, 0))
            else:
                asked.set()

    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asked.clear()
        fake = Fake(silent)
        p = subprocess.Popen([*IMG, "convert", "-f", "raw", "-O", "raw", "nbd+unix:///?socket=" + fake.path, "out"], stderr=subprocess.DEVNULL)
        asked.wait(20)
        p.send_signal(sig)
        try:
            if p.wait(20) != -sig:
                wrong("%s while a server is silent" % sig.name, "ends with %d" % p.returncode)
        except subprocess.TimeoutExpired:
            wrong("%s while a server is silent" % sig.name, "is swallowed")
            p.kill()
            p.wait()
        fake.close()
        if os.path.exists("out"):
            wrong(sig.name, "leaves a target")


def main():
    start = time.monotonic()
    u64 = (1 << 64) - 1
    client("a sound server", answering(), want=0)
    client("2017-2630: error of 4 GiB", at_go(0x80000003, b"x" * 1000, 0xffffffff))
    client("2017-2630: error of 1 MiB", at_go(0x80000003, b"x" * (1 << 20)))
    client("2017-2630: info of 4 GiB", at_go(3, b"\0\0", 0xffffffff))
    for option in (OPT_STRUCTURED, OPT_SET_META, OPT_GO):
        client("2021-20286: the server goes at option %d" % option, leaving(option))
    client("2021-20286: GO is acknowledged without a size", at_go(1))
    client("2021-20286: GO is answered by a server's name", at_go(2, name(b"x")))
    client("2021-20286: unknown answer", at_go(0x1234, b"x"))
    client("endless information", endless(OPT_GO, 3, struct.pack(">H", 99) + bytes(60000)))
    client("endless contexts", endless(OPT_SET_META, 4, struct.pack(">I", 1) + b"base:allocation"))
    client("endless list", endless(OPT_LIST, 2, name(b"n" * 4000)), "-L", "-k", "SOCK")
    for size in (1 << 63, u64, u64 - 511):
        client("2023-5215: export of %#x bytes" % size, answering(size=size))
    for sizes in ((0, 0, 0), (3, 4096, 1 << 20), (512, 4097, 1 << 20), (1 << 31, 1 << 31, 1 << 31), (4096, 512, 1 << 20), (512, 4096, 5)):
        client("2023-5215: block sizes %d, %d, %d" % sizes, answering(extra=[struct.pack(">HIII", 3, *sizes)]))
    client("2020-1711 2023-5871: status of more than was asked", answering(status=lambda p, c, o, n: p.status(c, (n, 0), (0xffffffff, 3))), want=0)
    client("2020-1711: one extent of 4 GiB", answering(status=lambda p, c, o, n: p.status(c, (0xffffffff, 0))), want=0)
    client("2023-5871: extents of no bytes", answering(status=lambda p, c, o, n: p.status(c, (0, 0), (0, 3))), want=EITHER)
    client("2023-5871: no extents", answering(status=lambda p, c, o, n: p.status(c)), want=EITHER)
    client("2023-5871: 100,000 extents", answering(status=lambda p, c, o, n: p.status(c, *[(1, 0)] * 100000)), want=0)
    client("2023-5871: another context", answering(status=lambda p, c, o, n: p.status(c, (n, 0), context=9)), want=EITHER)
    client("2023-5871: status of 4 GiB", answering(status=lambda p, c, o, n: p.chunk(c, 5, b"\0" * 100, length=0xffffffff)), want=EITHER)
    client("2022-0485: reads fail", answering(read=lambda p, c, o, n: p.chunk(c, 0x8001, struct.pack(">IH", 5, 2) + b"no")))
    client("2022-0485: reads fail, without structured replies",
           answering(structured=False, read=lambda p, c, o, n: p.say(struct.pack(">IIQ", 0x67446698, 5, c))))
    client("2022-0485: half of a read comes", answering(read=lambda p, c, o, n: p.data(c, o, n // 2)))
    client("a read's data from before it", answering(read=lambda p, c, o, n: p.data(c, (o - 512) & u64, n)))
    client("a read's data beyond it", answering(read=lambda p, c, o, n: p.data(c, o, n + 512)))
    client("a hole of 4 GiB", answering(read=lambda p, c, o, n: p.chunk(c, 2, struct.pack(">QI", o, 0xffffffff))))
    client("a chunk of 4 GiB", answering(read=lambda p, c, o, n: p.chunk(c, 1, struct.pack(">Q", o), length=0xffffffff)))
    client("an answer nobody asked for", answering(read=lambda p, c, o, n: p.data(c + 5, o, n)))
    client("an unknown chunk", answering(read=lambda p, c, o, n: p.chunk(c, 77, b"x")))
    lone_after_break()
    interrupted()
    for f in failures:
        print("FAIL: " + f)
    print("%d failures, %.0f s" % (len(failures), time.monotonic() - start))
    sys.exit(1 if failures else 0)


main()
