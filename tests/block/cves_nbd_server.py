#!/usr/bin/env python3
"""Hostile clients against viv-nbd: the classes of published CVEs of NBD servers.

CVE-2008-0928 (ranges), 2013-1922 (format guessed), 2013-7441, 2017-7539, 2017-9524, 2017-10664 (clients that leave), 2017-15118 and
2020-10761 (long names), 2017-15119 (long options), 2021-3716 (plain text behind STARTTLS), 2024-7409 (many clients at the stop)."""
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

NBD = os.environ["VIV_NBD"].split()
work = tempfile.TemporaryDirectory(prefix="viv-cves-")
os.chdir(work.name)
OPTS, REP, INIT = 0x49484156454F5054, 0x3E889045565A9, 0x4E42444D41474943
OPT_LIST, OPT_STARTTLS, OPT_INFO, OPT_GO, OPT_STRUCTURED, OPT_LIST_META, OPT_SET_META = 3, 5, 6, 7, 8, 9, 10
READ, WRITE, FLUSH, TRIM, ZEROES, STATUS = 0, 1, 3, 4, 6, 7
SIZE, KIB = 1 << 20, 400 << 10
failures = []


def wrong(what, why):
    failures.append("%s: %s" % (what, why))


# --- viv-nbd and its clients ---

class Server:
    def __init__(self, *words, disk="disk", size=SIZE):
        if not os.path.exists(disk):
            with open(disk, "wb") as f:
                f.truncate(size)
        if os.path.exists("sock"):
            os.unlink("sock")
        self.said = tempfile.TemporaryFile()
        self.p = subprocess.Popen([*NBD, "-k", os.path.abspath("sock"), "-t", "-e", "0", *words, disk], stdout=self.said, stderr=self.said)
        for _ in range(600): # the name is there a moment before anybody listens
            with socket.socket(socket.AF_UNIX) as c:
                if not c.connect_ex("sock") or self.p.poll() is not None:
                    break
            time.sleep(0.05)

    def usage(self):
        """Seconds of CPU, most memory in KiB."""
        with open("/proc/%d/stat" % self.p.pid) as f:
            fields = f.read().rpartition(")")[2].split()
        with open("/proc/%d/status" % self.p.pid) as f:
            peak = [int(s.split()[1]) for s in f if s.startswith("VmHWM")][0]
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), peak

    def sound(self, what):
        """Alive, within bounds, and serving."""
        if self.p.poll() is not None:
            self.said.seek(0)
            return wrong(what, "viv-nbd ended with %d: %s" % (self.p.returncode, self.said.read().decode(errors="replace")[-2000:]))
        if self.usage()[1] > KIB:
            wrong(what, "viv-nbd took %d MiB" % (self.usage()[1] >> 10))
        try:
            with Client() as c:
                c.go()
                if c.ask(READ, 0, 512) != 0:
                    wrong(what, "a sound client is not served any more")
        except OSError as e:
            wrong(what, "a sound client is not served any more: %s" % e)

    def stop(self, what):
        self.p.send_signal(signal.SIGTERM)
        try:
            self.p.wait(60)
        except subprocess.TimeoutExpired:
            wrong(what, "viv-nbd does not stop")
            self.p.kill()
            self.p.wait()
        self.said.seek(0)
        said = self.said.read().decode(errors="replace")
        if self.p.returncode not in (0, -signal.SIGTERM) or "Sanitizer" in said or "runtime error" in said:
            wrong(what, "viv-nbd ended with %d: %s" % (self.p.returncode, said[-2000:]))


class Client:
    """A client that can be asked to do anything; sockets wait 60 seconds at most."""

    def __init__(self, hello=True):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect("sock") # waits while the server's queue is full
        self.s.settimeout(60)
        if hello:
            self.read(18)
            self.s.sendall(struct.pack(">I", 3))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    def read(self, n):
        data = b""
        while len(data) < n:
            piece = self.s.recv(n - len(data))
            if not piece:
                raise ConnectionError("closed")
            data += piece
        return data

    def option(self, kind, data=b"", length=None):
        self.s.sendall(struct.pack(">QII", OPTS, kind, len(data) if length is None else length) + data)

    def reply(self):
        """Type and data of an option's reply."""
        magic, _, kind, length = struct.unpack(">QIII", self.read(20))
        assert magic == REP
        return kind, self.read(length)

    def replies(self):
        while True:
            kind, data = self.reply()
            yield kind, data
            if kind == 1 or kind & 1 << 31:
                return

    def go(self, name=b""):
        self.option(OPT_GO, struct.pack(">I", len(name)) + name + struct.pack(">H", 0))
        return list(self.replies())[-1][0]

    def send(self, kind, offset, length, data=b""):
        self.s.sendall(struct.pack(">IHHQQI", 0x25609513, 0, kind, 7, offset, length) + data)

    def ask(self, kind, offset, length, data=b""):
        """The error of a simple reply."""
        self.send(kind, offset, length, data)
        _, error, _ = struct.unpack(">IIQ", self.read(16))
        if kind == READ and not error:
            self.read(length)
        return error

    def ended(self):
        """Reads whatever still comes; True: the server closed."""
        self.s.settimeout(20)
        try:
            while self.s.recv(65536):
                pass
            return True
        except ConnectionError:
            return True
        except socket.timeout:
            return False


def name(text):
    return struct.pack(">I", len(text)) + text


def refused(what, c, send):
    """The server answers with an error or ends the connection; it does not take it."""
    try:
        send(c)
        kinds = [k for k, _ in c.replies()]
        if not kinds[-1] & 1 << 31:
            wrong(what, "accepted: %s" % kinds)
    except ConnectionError:
        pass


def long_names(s):
    for n in (255, 4096, 4097, 65536, 1 << 20):
        for kind in (OPT_GO, OPT_INFO, OPT_SET_META, OPT_LIST_META):
            for tail in (struct.pack(">H", 0), struct.pack(">I", 0)):
                with Client() as c:
                    refused("2017-15118 2020-10761: name of %d bytes in option %d" % (n, kind), c,
                            lambda c: c.option(kind, name(b"n" * n) + tail))
    s.sound("2017-15118 2020-10761: long names")


def long_options(s):
    before = s.usage()[0]
    for kind in (0, OPT_LIST, OPT_GO, OPT_STRUCTURED, OPT_SET_META, 1, 77, 0xffffffff):
        with Client() as c:
            try:
                c.option(kind, b"", 0xffffffff)
                for _ in range(512): # 32 MiB
                    c.s.sendall(bytes(65536))
                wrong("2017-15119: option %d of 4 GiB" % kind, "the server reads on")
            except ConnectionError:
                pass
    for count in (0xffffffff, 1 << 20):
        with Client() as c:
            c.option(OPT_STRUCTURED)
            c.reply()
            refused("2017-15119: %d queries" % count, c, lambda c: c.option(OPT_SET_META, name(b"") + struct.pack(">I", count) + name(b"base:") * 100))
    if s.usage()[0] - before > 10:
        wrong("2017-15119", "%.1f s of CPU" % (s.usage()[0] - before))
    s.sound("2017-15119: long options")


def leaving(s):
    """Clients that go at each point, with and without a reset."""
    go = struct.pack(">QII", OPTS, OPT_GO, 6) + name(b"") + struct.pack(">H", 0)
    read = struct.pack(">IHHQQI", 0x25609513, 0, READ, 7, 0, SIZE)
    write = struct.pack(">IHHQQI", 0x25609513, 0, WRITE, 7, 0, SIZE)
    talk = [b"", b"\0\0", b"\0\0\0\3", b"\0\0\0\3" + go[:10], b"\0\0\0\3" + go, b"\0\0\0\3" + go + read[:9], b"\0\0\0\3" + go + read * 20,
            b"\0\0\0\3" + go + write + bytes(1000), b"\0\0\0\3" + go + (write + bytes(SIZE) + read) * 2]
    for _ in range(6):
        for t in talk:
            for linger in (False, True):
                c = Client(hello=False)
                if linger:
                    c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                try:
                    c.s.sendall(t)
                except OSError:
                    pass
                c.s.close()
    s.sound("2017-7539 2017-9524 2017-10664: clients that leave")


def ranges(s):
    with Client() as c:
        c.go()
        for kind in (READ, TRIM, ZEROES, STATUS):
            for offset, length in ((SIZE, 1), (SIZE - 1, 2), (1 << 63, 512), ((1 << 64) - 512, 512), ((1 << 64) - 1, 1), (0, SIZE + 512)):
                if not c.ask(kind, offset, length):
                    wrong("2008-0928: ranges", "request %d at %#x of %d is accepted" % (kind, offset, length))
        for offset in (SIZE, (1 << 64) - 512, 1 << 62):
            if not c.ask(WRITE, offset, 512, bytes(512)):
                wrong("2008-0928: ranges", "a write at %#x is accepted" % offset)
    for kind in (READ, WRITE):
        with Client() as c:
            c.go()
            c.send(kind, 0, 0xffffffff)
            try:
                error = struct.unpack(">IIQ", c.read(16))[1]
                if not error:
                    wrong("2008-0928: ranges", "a request of 4 GiB is accepted")
            except ConnectionError:
                pass
    if os.path.getsize("disk") != SIZE:
        wrong("2008-0928: ranges", "the disk's file has another size now")
    s.sound("2008-0928: ranges")


def guessed_format():
    """A client's write must not turn a raw disk whose format nobody said into another format's."""
    s = Server(disk="guessed")
    head = b"QFI\xfb\0\0\0\3".ljust(512, b"\0")
    with Client() as c:
        c.go()
        if not c.ask(WRITE, 0, 512, head):
            wrong("2013-1922: a guessed raw disk", "takes a qcow2 header")
        if c.ask(WRITE, 512, 512, head):
            wrong("2013-1922: a guessed raw disk", "takes no other write")
    s.sound("2013-1922: a guessed raw disk")
    s.stop("2013-1922")


def plain_behind_starttls():
    """What came in one packet with STARTTLS was not protected: it is no option, but a broken handshake."""
    what = "2021-3716: plain text behind STARTTLS"
    os.makedirs("psk", exist_ok=True)
    with open("psk/keys.psk", "w") as f:
        f.write("user:" + "ab" * 32 + "\n")
    s = Server("-f", "raw", "--object", "tls-creds-psk,id=t,dir=%s,endpoint=server" % os.path.abspath("psk"), "--tls-creds", "t")
    with Client() as c:
        plain = struct.pack(">QII", OPTS, OPT_STRUCTURED, 0) + struct.pack(">QII", OPTS, OPT_LIST, 0)
        c.s.sendall(struct.pack(">QII", OPTS, OPT_STARTTLS, 0) + plain)
        data = b""
        try:
            c.s.settimeout(20)
            while True:
                piece = c.s.recv(4096)
                if not piece:
                    break
                data += piece
        except ConnectionError:
            pass
        except socket.timeout:
            wrong(what, "the server waits on")
        if data.count(struct.pack(">Q", REP)) != 1:
            wrong(what, "answered: %r" % data)
    with Client() as c: # and nothing is told before it
        for kind in (OPT_LIST, OPT_GO, OPT_INFO, OPT_STRUCTURED):
            refused(what + ": option %d without TLS" % kind, c, lambda c: c.option(kind, name(b"") + bytes(2) if kind in (OPT_GO, OPT_INFO) else b""))
    if s.p.poll() is not None:
        wrong(what, "viv-nbd ended")
    s.stop(what)


def many_clients():
    """Half-open ones are dropped in time; a stop while clients come and go ends well."""
    what = "2024-7409: many clients"
    s = Server("-f", "raw", "--handshake-limit=2")
    idle = []
    for i in range(200):
        try:
            idle.append(Client(hello=False))
        except OSError:
            break
    s.sound(what)
    late = [c for c in idle if not c.ended()]
    if late:
        wrong(what, "%d of %d clients that say nothing stay" % (len(late), len(idle)))
    for c in idle:
        c.s.close()
    ending = threading.Event()

    def come_and_go():
        while not ending.is_set():
            try:
                with Client() as c:
                    c.go()
                    c.ask(READ, 0, 65536)
            except (OSError, AssertionError):
                time.sleep(0.002)

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    for t in threads:
        t.start()
    time.sleep(1)
    open_ones = [Client() for _ in range(3)] # in the handshake, between requests, in the middle of one
    for c in open_ones[1:]:
        c.go()
    open_ones[2].send(WRITE, 0, 65536)
    s.stop(what)
    ending.set()
    for t in threads:
        t.join()


def main():
    start = time.monotonic()
    s = Server("-f", "raw")
    for attack in (long_names, long_options, leaving, ranges):
        attack(s)
    s.stop("the end of the first server")
    guessed_format()
    plain_behind_starttls()
    many_clients()
    for f in failures:
        print("FAIL: " + f)
    print("%d failures, %.0f s" % (len(failures), time.monotonic() - start))
    sys.exit(1 if failures else 0)


main()
