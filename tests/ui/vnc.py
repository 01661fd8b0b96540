#!/usr/bin/env python3
"""The VNC server against a client of our own (tests/lib/rfb.py): every encoding and pixel format beside what screendump says, keys and pointer
beside what the guest gets, passwords, several clients, sharing, WebSocket, resizing, clipboards, and clients that misbehave."""
import os
import shutil
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import rfb  # noqa: E402
import vga_guest  # noqa: E402
import vm  # noqa: E402

ALL = (-223, -308, -239, -257, -258, -261, -307)
CLIP_TEXT, CAPS, REQUEST, PEEK, NOTIFY, PROVIDE = (1 << n for n in (0, 24, 25, 26, 27, 28))


def hmp(q, line):
    return q.cmd("human-monitor-command", **{"command-line": line})


def must(ok, g, why):
    if not ok:
        g.die(why)


class Machine(vm.Guest):
    """Two sockets: QMP and VNC."""

    def __init__(self, work, name, args, vnc=""):
        self.work, self.path = work, f"{work}/{name}.vnc"
        super().__init__(["-M", "pc", "-m", "64M", "-accel", "xlate", "-nodefaults", "-vga", "std", "-qmp",
                          f"unix:{work}/{name},server=on,wait=off", "-vnc", (vnc or "unix:" + self.path)] + args, name)
        self.q = vm.QMP(f"{work}/{name}")

    def client(self, **kw):
        return rfb.RFB(rfb.Plain(self.path), **kw)

    def getfd(self, name):
        """A socket whose other end the machine has, by that name."""
        ours, theirs = socket.socketpair()
        socket.send_fds(self.q.s, [f'{{"execute": "getfd", "arguments": {{"fdname": "{name}"}}}}'.encode()], [theirs.fileno()])
        theirs.close()
        answer = self.q.f.readline()
        while b'"event"' in answer:
            answer = self.q.f.readline()
        must(b"return" in answer, self, f"getfd: {answer}")
        return ours

    def same(self, c, seconds=30):
        """Does the client come to show what screendump does?"""
        w, h, want = self.q.picture(f"{self.work}/p")
        return c.settle(lambda: c.size == (w, h) and c.rgb() == want, seconds * vm.SLOW)


def refused(fn, *kinds):
    try:
        fn()
    except (kinds or (rfb.Refused, rfb.Closed)) as e:
        return str(e) or "closed"
    return None


# ---- pictures ----

def encodings(g, what):
    for e, name in ((rfb.RAW, "raw"), (rfb.ZRLE, "ZRLE"), (rfb.TIGHT, "Tight")):
        c = g.client()
        must(c.name == "Vivarium (doll)" and c.server_format[:4] == (32, 24, 0, 1), g, f"ServerInit: {c.name} {c.server_format}")
        c.set_encodings(e, *ALL)
        c.request()
        must(g.same(c), g, f"{what} by {name} is not what screendump shows")
        c.link.close()
    print(f"ok: {what} by raw, ZRLE and Tight")


def formats(g):
    """Other pixel formats, raw: each pixel as the format has it."""
    width, _, rgb = g.q.picture(f"{g.work}/p")
    for f in ((16, 16, 0, 1, 31, 63, 31, 11, 5, 0), (16, 15, 1, 1, 31, 31, 31, 10, 5, 0), (8, 8, 0, 1, 7, 7, 3, 0, 3, 6),
              (32, 24, 1, 1, 255, 255, 255, 0, 8, 16), (32, 30, 0, 1, 1023, 1023, 1023, 20, 10, 0), (8, 8, 0, 0, 0, 0, 0, 0, 0, 0)):
        c = g.client()
        c.set_format(*f)
        c.set_encodings(rfb.RAW)
        c.request(w=width, h=16)
        c.update()
        n, top, shift = f[0] // 8, f[4:7], f[7:10]
        if not f[3]:  # a map: three bits of red and green, two of blue
            top, shift = (7, 7, 3), (0, 3, 6)
            must(len(c.map) == 256 and c.map[7] == (65535, 0, 0) and c.map[0xc0] == (0, 0, 65535), g, f"colour map {c.map[:9]}")
        for i in range(0, width * 16, 61):
            v = sum((rgb[3 * i + k] * top[k] + 127) // 255 << shift[k] for k in range(3))
            have = bytes(c.fb[4 * i:4 * i + n])
            must(have == v.to_bytes(n, "big" if f[2] else "little"), g, f"format {f}: pixel {i} is {have.hex()}, not {v:x}")
        c.link.close()
    print("ok: pixels of 8, 16 and 32 bits, both byte orders, a colour map")


def compressed_formats(g):
    """ZRLE's and Tight's short pixels in other formats: the same picture as raw has in that format."""
    for f in ((32, 24, 1, 1, 255, 255, 255, 16, 8, 0), (32, 24, 0, 1, 255, 255, 255, 24, 16, 8)):
        c = g.client()
        c.set_format(*f)
        c.set_encodings(rfb.ZRLE)
        c.request()
        order = [s // 8 for s in f[7:10]]
        order = [3 - o for o in order] if f[2] else order
        low = min(order)
        want = bytearray(len(c.fb))
        _, _, rgb = g.q.picture(f"{g.work}/p")
        for k in range(3):
            want[order[k] - low::4] = rgb[k::3]
        must(c.settle(lambda: c.fb == want), g, f"ZRLE in format {f}")
        c.link.close()
    print("ok: ZRLE's short pixels in other byte orders")


def jpeg(work, image):
    if not shutil.which("djpeg"):
        print("skipped: JPEG (libjpeg-turbo-progs is not installed)")
        return
    with Machine(work, "lossy", ["-serial", "stdio", "-kernel", image], f"unix:{work}/lossy.vnc,lossy=on") as g:
        g.expect("A", 60)
        want, off = vga_guest.want(), []

        def near(c, worst):
            have = c.rgb()
            off.append(sum(abs(a - b) for a, b in zip(have[::101], want[::101])) * 101 / len(want))
            return c.size == (640, 480) and off[-1] < worst

        for quality, worst in ((9, 12), (0, 60)):
            c = g.client()
            c.set_encodings(rfb.TIGHT, -32 + quality, -223)
            c.request()
            must(c.settle(lambda: near(c, worst)) and c.jpegs, g, f"JPEG of quality {quality}: pixels differ by {off[-1]:.1f}")
            c.link.close()
    print("ok: JPEG where the client wants it and lossy=on")


def only_changes(g):
    """A line is drawn: the lines around it come, not all of the picture."""
    c = g.client()
    c.set_encodings(rfb.RAW, *ALL)
    c.request()
    must(g.same(c), g, "the picture before")
    seen, old = [], c.raw
    c.raw = lambda x, y, w, h: (seen.append((y, h, w)), old(x, y, w, h))
    c.drain(0.3)
    must(not seen, g, f"an idle screen sends {seen}")
    g.send("x")
    g.expect("B", 60)
    must(c.settle(lambda: c.rgb() == vga_guest.want(True)), g, "the line does not come")
    must(all(y >= 96 and y + h <= 112 for y, h, w in seen), g, f"more than the line comes: {seen}")
    # A part that is asked for.
    c.request(False, 0, 0, 10, 10)
    del seen[:]
    c.update()
    must(seen == [(0, 16, 64)], g, f"for 10x10 pixels comes {seen}")
    c.link.close()
    print("ok: changes only, and what was asked for")


# ---- input ----

def codes(g, data, seconds=20):
    """Waits for these scan codes on the guest's serial port."""
    end = time.monotonic() + seconds * vm.SLOW
    while data not in g.log[g.mark:]:
        if time.monotonic() > end:
            g.die(f"scan codes {bytes(g.log[g.mark:]).hex()}, not {data.hex()}")
        g._pump(0.05)
    g.mark = len(g.log)


def keys(g):
    g.mark = len(g.log)
    c = g.client()
    c.tap(ord("a"))
    codes(g, b"\x1e\x9e")
    c.tap(ord("A"))  # shift around it, since the client has not pressed one
    codes(g, b"\x2a\x1e\xaa\x9e")
    c.key(0xffe1, True)
    c.tap(ord("A"))
    c.tap(ord("a"))  # a character without shift while shift is down
    c.key(0xffe1, False)
    codes(g, b"\x2a\x1e\x9e\xaa\x1e\x2a\x9e\xaa")
    c.key(0xffe1, True)
    c.tap(0xff51)  # left: shift stays
    c.key(0xffe1, False)
    codes(g, b"\x2a\xe0\x4b\xe0\xcb\xaa")
    c.set_encodings(rfb.RAW, rfb.EXT_KEY)
    c.request(True)
    must(c.settle(lambda: c.ext_key), g, "the extended key event is not acknowledged")
    for xt, want in ((0x1e, b"\x1e\x9e"), (0xc8, b"\xe0\x48\xe0\xc8"), (0x56, b"\x56\xd6"), (0x9d, b"\xe0\x1d\xe0\x9d")):
        c.raw_key(ord("z"), xt, True)
        c.raw_key(ord("z"), xt, False)
        codes(g, want)
    c.raw_key(0, 0x2a, True)
    c.key(ord("b"), True)
    codes(g, b"\x2a")
    c.link.close()  # what it holds is released
    codes(g, b"\xaa")
    c = g.client()
    for _ in range(400):
        c.tap(ord("e"))
    codes(g, b"\x12\x92" * 400, 60)
    c.link.close()
    print("ok: keys by keysym and by code, modifiers around them, 800 events at once, releases of who leaves")


def pointer(g):
    """Relative, as PS/2 has it: the client is told, and sends distances."""
    hmp(g.q, "info mice")
    c = g.client()
    c.set_encodings(rfb.RAW, rfb.POINTER_TYPE, rfb.LED)
    must(c.settle(lambda: c.absolute is False and c.leds == 0), g, f"pointer type {c.absolute}, LEDs {c.leds}")
    c.pointer(1, 0x7fff + 5, 0x7fff - 3)
    c.pointer(0, 0x7fff, 0x7fff)
    c.pointer(8, 0x7fff, 0x7fff)
    c.request()
    c.update()
    c.link.close()
    print("ok: the pointer's kind and LEDs are told")


# ---- who may come ----

def passwords(work):
    with Machine(work, "pass", ["-S"], f"unix:{work}/pass.vnc,password=on") as g:
        must(refused(lambda: g.client(password="")), g, "in without a password being set")
        must("Error" not in hmp(g.q, "change vnc password secret12"), g, hmp(g.q, "change vnc password secret12"))
        for version in (b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n", b"RFB 003.889\n"):
            c = g.client(password="secret12", version=version)
            must(c.kind == 2 and c.size, g, f"{version}: not in")
            c.link.close()
        start = time.monotonic()
        for bad in ("", "Secret12", "secret1", "x"):
            must(refused(lambda: g.client(password=bad)) == "Authentication failed", g, f"'{bad}' is let in")
        c = g.client(password="secret12xyz")  # eight count
        g.q.cmd("set_password", protocol="vnc", password="other")
        for how, word in (("keep", ""), ("-d default keep", ""), ("disconnect", "keep is what works")):
            said = hmp(g.q, f"set_password vnc other {how}")
            must(word in said if word else not said, g, f"set_password with {how}: {said}")
        c.request()
        c.update()  # who is in stays
        must(refused(lambda: g.client(password="secret12")), g, "the old password still works")
        g.client(password="other")
        g.q.cmd("expire_password", protocol="vnc", time="now")
        must(refused(lambda: g.client(password="other")), g, "an expired password works")
        g.q.cmd("expire_password", protocol="vnc", time="+60")
        g.client(password="other")
        g.q.cmd("expire_password", protocol="vnc", time="never")
        g.client(password="other")
        for args, word in (({"protocol": "spice", "password": "x"}, "only vnc"), ({"protocol": "vnc", "password": "x", "connected": "fail"}, "keep"),
                           ({"protocol": "vnc", "password": "x", "display": "nix"}, "no VNC server 'nix'")):
            try:
                g.q.cmd("set_password", **args)
                g.die(f"set_password {args} is accepted")
            except RuntimeError as e:
                must(word in str(e), g, f"{args}: {e}")
        info = g.q.cmd("query-vnc")
        must(info["enabled"] and info["auth"] == "vnc" and info["family"] == "unix" and info["clients"], g, f"query-vnc: {info}")
        must("Auth: vnc" in hmp(g.q, "info vnc"), g, hmp(g.q, "info vnc"))
        names = [e["event"] for e in g.q.events]
        must({"VNC_CONNECTED", "VNC_INITIALIZED", "VNC_DISCONNECTED"} <= set(names), g, f"events {names}")
    with Machine(work, "ask", ["-S", "-monitor", "stdio"], f"unix:{work}/ask.vnc,password=on") as g:
        g.expect(r"\(viv\) ", 30)
        g.send("change vnc password\r")
        g.expect("Password: ", 30)
        g.send("geh\tX\x7fim's\x1b[A\r")  # no completion, no history
        g.expect(r"\(viv\) ", 30)
        must(b"im's" not in g.log and b"******" in g.log, g, "the password is shown")
        g.client(password="gehim's")
        g.send("\x1b[A\x1b[A\r")
        g.expect("Password: ", 30)  # the command is in the history, the answer is not
    # Over TCP those who guess wait longer and longer.
    port = vm.free_port()
    with Machine(work, "guess", ["-S", "-object", "secret,id=s,data=right"],
                 f"127.0.0.1:{port - 5900 if port > 5900 else 0},password-secret=s") as g:
        def come(word):
            return rfb.RFB(rfb.Plain(("127.0.0.1", g.q.cmd("query-vnc")["service"])), password=word)
        start = time.monotonic()
        for n in range(3):
            must(refused(lambda: come("wrong")), g, "a wrong password over TCP")
        took = time.monotonic() - start
        must(took > 0.7, g, f"three guesses in {took:.2f} s")
        come("right")
    print("ok: passwords, right and wrong, new and expired, guesses slowed down")


def sharing(work):
    for share, first, second, want in (("allow-exclusive", True, True, (True, True)), ("allow-exclusive", True, False, (False, True)),
                                       ("allow-exclusive", False, True, (True, False)), ("force-shared", True, False, (True, False)),
                                       ("force-shared", True, True, (True, True)), ("ignore", False, False, (True, True))):
        with Machine(work, "share", ["-S"], f"unix:{work}/share.vnc,share={share}") as g:
            def lives(c):
                try:
                    c.request()
                    c.update()
                    return True
                except (rfb.Closed, OSError):
                    return False
            a = g.client(shared=first)
            must(lives(a), g, "the first client is not served")
            try:
                b = g.client(shared=second)
                have = (lives(a), lives(b))
            except rfb.Closed:
                have = (lives(a), False)
            must(have == want, g, f"share={share}, shared {first}, then {second}: {have}, not {want}")
    print("ok: share policies")


def several(g):
    """One does not read at all; others get pictures and the machine answers."""
    lazy = g.client()
    lazy.set_encodings(rfb.RAW)
    for _ in range(200):
        lazy.request()
    half = socket.socket(socket.AF_UNIX)
    half.connect(g.path)
    half.send(b"RFB 003.0")
    clients = [g.client() for _ in range(5)]
    start = time.monotonic()
    for c in clients:
        c.set_encodings(rfb.ZRLE)
        c.request()
        must(g.same(c), g, "a client beside a lazy one gets no picture")
    took = time.monotonic() - start
    g.q.cmd("query-status")
    must(took < 20 * vm.SLOW, g, f"five clients beside a lazy one took {took:.1f} s")
    for c in clients + [lazy]:
        c.link.close()
    print("ok: clients that do not read or say half a word hold nobody up")


def hostile(g):
    """Whatever is said, that client is at an end, and nobody else."""
    def say(*parts):
        c = g.client()
        for p in parts:
            c.link.send(p)
        c.link.s.settimeout(10)
        try:
            while True:
                c.link.read(1)
        except rfb.Closed as e:
            return str(e) != "nothing comes"
        except OSError:
            return True

    for name, parts in (("unknown message", (b"\x63",)), ("pixels of 24 bits", (struct.pack(">B3xBBBBHHHBBB3x", 0, 24, 24, 0, 1, 255, 255, 255, 0, 8, 16),)),
                        ("a maximum of 0", (struct.pack(">B3xBBBBHHHBBB3x", 0, 32, 24, 0, 1, 0, 255, 255, 0, 8, 16),)),
                        ("a shift of 200", (struct.pack(">B3xBBBBHHHBBB3x", 0, 32, 24, 0, 1, 255, 255, 255, 200, 8, 16),)),
                        ("audio", (b"\xff\x01\x00\x00",))):
        must(say(*parts), g, f"{name}: the connection goes on")
    c = g.client()
    c.set_encodings(rfb.RAW)
    c.link.send(struct.pack(">B3xI", 6, 3 << 20) + bytes(3 << 20))  # too much text is skipped
    c.request()
    c.update()
    c.link.send(struct.pack(">BBHHHH", 3, 1, 65535, 65535, 65535, 65535))
    c.set_size(0, 5)
    c.request()
    c.update()
    for bad in (b"HELLO WORLD!", b"RFB 002.000\n", b"RFB xxx.yyy\n"):
        link = rfb.Plain(g.path)
        link.send(bad)
        must(link.read(12) and refused(lambda: link.read(1)), g, f"version {bad}")
    print("ok: nonsense ends the connection that says it")


def handed(work):
    """add_client: a connected socket, passed over QMP."""
    with Machine(work, "handed", ["-S"], f"unix:{work}/handed.vnc,password=on") as g:
        q = g.q
        sock = g.getfd("one")
        q.cmd("add_client", protocol="vnc", fdname="one", skipauth=True)
        c = rfb.RFB(rfb.Plain(sock))
        must(c.kind == 1, g, "skipauth asks for a password")
        c.request()
        c.update()
        sock = g.getfd("two")
        q.cmd("add_client", protocol="default", fdname="two")
        must(refused(lambda: rfb.RFB(rfb.Plain(sock), "x")), g, "a wrong password on a passed socket")
        sock = g.getfd("three")
        q.cmd("closefd", fdname="three")
        must(sock.recv(1) == b"", g, "closefd does not close")
        for args, word in (({"protocol": "vnc", "fdname": "one"}, "not been found"), ({"protocol": "nix", "fdname": "one"}, "not been found"),
                           ({"protocol": "vnc", "fdname": "one", "tls": True}, "tls=true is for spice")):
            try:
                q.cmd("add_client", **args)
                g.die(f"add_client {args} is accepted")
            except RuntimeError as e:
                must(word in str(e), g, f"{args}: {e}")
        try:
            q.cmd("getfd", fdname="none")
            g.die("getfd without a descriptor")
        except RuntimeError as e:
            must("No file descriptor supplied" in str(e), g, str(e))
        for n in range(40):  # more than are kept
            a, b = socket.socketpair()
            socket.send_fds(q.s, [b" "], [a.fileno()])
            a.close()
            b.close()
        q.cmd("query-status")
    print("ok: sockets passed by QMP")


# ---- WebSocket ----

def websocket(work, image):
    port, ws = vm.free_port(), vm.free_port()
    display = f"127.0.0.1:{max(port, 5901) - 5900},websocket={ws}"
    with Machine(work, "ws", ["-serial", "stdio", "-kernel", image], display) as g:
        g.expect("A", 60)
        own = int(g.q.cmd("query-vnc")["service"])
        want = vga_guest.want()
        for where, piece in ((("127.0.0.1", ws), 0), (("127.0.0.1", ws), 1), (("127.0.0.1", own), 0), (("127.0.0.1", own), 7)):
            link = rfb.WebSocket(where, piece)
            c = rfb.RFB(link)
            c.set_encodings(rfb.TIGHT, *ALL)
            c.request()
            must(c.settle(lambda: c.size == (640, 480) and c.rgb() == want), g, f"the picture over WebSocket at {where}, pieces of {piece}")
            link.frame(9, b"are you there")
            c.request()
            c.update()
            must(link.pong == b"are you there", g, "no pong")
            link.close()
        servers = g.q.cmd("query-vnc-servers")[0]["server"]
        must([s["websocket"] for s in servers] == [False, True], g, f"query-vnc-servers: {servers}")
        for head in (b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n\r\n",
                     b"POST / HTTP/1.1\r\n\r\n", b"GET / " + b"x" * 9000):
            s = socket.create_connection(("127.0.0.1", ws))
            s.sendall(head)
            s.settimeout(10)
            text = s.recv(4096)
            must(text.startswith(b"HTTP/1.1 4"), g, f"{head[:20]} is answered by {text[:40]}")
        for frame in (b"\x82\x05hello", b"\x81\x80\0\0\0\0", b"\xc2\x80\0\0\0\0", b"\x89\xfe\x10\x00\0\0\0\0", b"\x83\x80\0\0\0\0"):
            link = rfb.WebSocket(("127.0.0.1", ws))
            link.read(12)
            link.s.sendall(frame)
            must(refused(lambda: link.read(1)), g, f"frame {frame.hex()} is taken")
    print("ok: WebSocket, in pieces, on its own port and on VNC's; what is none is refused")


# ---- clipboards ----

def clipboard(g):
    def pack(text):
        data = text.encode().replace(b"\n", b"\r\n") + b"\0"
        return __import__("zlib").compress(struct.pack(">I", len(data)) + data)

    def unpack(data):
        z = __import__("zlib").decompress(data)
        n, = struct.unpack(">I", z[:4])
        return z[4:4 + n].rstrip(b"\0").replace(b"\r\n", b"\n").decode()

    def wait(c, what):
        end = time.monotonic() + 20
        while not what(c):
            must(time.monotonic() < end, g, f"the clipboard does not come: {c.clip} {c.cut}")
            if c.link.ready(0.1):
                c.message()

    a, b, old = g.client(), g.client(), g.client()
    for c in (a, b):
        c.set_encodings(rfb.RAW, rfb.CLIPBOARD)
        wait(c, lambda c: c.clip)
        flags, sizes = c.clip.pop(0)
        must(flags & (CAPS | REQUEST | NOTIFY | PROVIDE | PEEK) == CAPS | REQUEST | NOTIFY | PROVIDE | PEEK and flags & CLIP_TEXT and
             len(sizes) == 4, g, f"caps {flags:x}")
        c.ext_clip(CAPS | REQUEST | NOTIFY | PROVIDE | PEEK | CLIP_TEXT, struct.pack(">I", 1 << 20))
    text = "Grüße, 日本語\nzweite Zeile"
    a.ext_clip(NOTIFY | CLIP_TEXT)
    wait(a, lambda c: c.clip)
    must(a.clip.pop()[0] == REQUEST | CLIP_TEXT, g, "notify is not followed by a request")
    a.ext_clip(PROVIDE | CLIP_TEXT, pack(text))
    wait(b, lambda c: c.clip)
    must(b.clip.pop()[0] == NOTIFY | CLIP_TEXT, g, "the other client is not told")
    b.ext_clip(REQUEST | CLIP_TEXT)
    wait(b, lambda c: c.clip)
    flags, data = b.clip.pop()
    must(flags == PROVIDE | CLIP_TEXT and unpack(data) == text, g, f"provided: {flags:x} {unpack(data)!r}")
    wait(old, lambda c: c.cut)
    must(old.cut == "Grüße, ???\nzweite Zeile".encode("latin-1"), g, f"plain text: {old.cut}")
    old.cut_text("von früher".encode("latin-1"))
    wait(b, lambda c: c.clip)
    b.clip.pop()
    b.ext_clip(REQUEST | CLIP_TEXT)
    wait(b, lambda c: c.clip)
    must(unpack(b.clip.pop()[1]) == "von früher", g, "plain text to an extended client")
    a.ext_clip(PROVIDE | CLIP_TEXT, b"no zlib")  # is not taken, and does no harm
    bomb = __import__("zlib").compress(struct.pack(">I", 1 << 30) + bytes(64 << 20))
    a.ext_clip(PROVIDE | CLIP_TEXT, bomb)
    a.request()
    a.update()
    for c in (a, b, old):
        c.link.close()
    print("ok: clipboards between clients, in UTF-8 and Latin 1; bombs do not go off")


def sizes(work, image):
    """The guest changes its mode while clients look: who can resize does; who cannot sees what fits."""
    with Machine(work, "sizes", ["-serial", "stdio", "-kernel", image, "-S"]) as g:
        new, plain, fixed = g.client(), g.client(), g.client()
        new.set_encodings(rfb.RAW, rfb.EXT_SIZE, rfb.DESKTOP_SIZE)
        plain.set_encodings(rfb.ZRLE, rfb.DESKTOP_SIZE)
        fixed.set_encodings(rfb.TIGHT)
        first = fixed.size
        for c in (new, plain, fixed):
            c.request()
            c.update()
        must(new.sizes and new.sizes[0][:2] == first and len(new.screens) == 1, g, f"ExtendedDesktopSize is not offered: {new.sizes}")
        g.q.cmd("cont")
        g.expect("A", 60)
        must(g.same(new) and g.same(plain), g, "another mode does not come")
        must(new.sizes[-1][2:] == (0, 0), g, f"a size that nobody asked for: {new.sizes}")
        want = vga_guest.want()
        must(fixed.settle(lambda: all(fixed.rgb()[y * first[0] * 3:][:640 * 3] == want[y * 640 * 3:][:min(640, first[0]) * 3]
                                      for y in range(0, min(480, first[1]), 37))), g, "who cannot resize sees something else")
        n = len(new.sizes)
        new.set_size(800, 600)
        must(new.settle(lambda: len(new.sizes) > n), g, "no answer to SetDesktopSize")
        must(new.sizes[n][2:] in ((1, 1), (1, 4)), g, f"SetDesktopSize of a standard VGA: {new.sizes[n]}")
    print("ok: sizes change for those who can, in both protocols")


def consoles(work, image):
    """Ctrl-Alt-2 is the monitor: its picture, what is typed there, and Ctrl-Alt-1 is the head again. Not where display= names one."""
    def choose(c, digit):
        for sym in (0xffe3, 0xffe9):
            c.key(sym, True)
        c.tap(ord(digit))
        for sym in (0xffe9, 0xffe3):
            c.key(sym, False)

    def shows(g, c, device):
        w, h, want = g.q.picture(f"{work}/p", **({"device": device} if device else {}))
        return c.settle(lambda: c.size == (w, h) and c.rgb() == want, 5)

    with Machine(work, "consoles", ["-serial", "stdio", "-kernel", image, "-monitor", "vc"]) as g:
        g.expect("A", 60)
        g.send("x")
        g.expect("B", 20)
        c = g.client()
        c.set_encodings(rfb.ZRLE, *ALL)
        c.request()
        must(shows(g, c, None), g, "the head")
        g.mark = len(g.log)
        choose(c, "2")
        codes(g, b"\x1d\x38")
        must(any(shows(g, c, "compat_monitor1") for _ in range(6)), g, "Ctrl-Alt-2 does not show the monitor")
        for ch in "info status\r":
            c.tap(ord(ch) if ch != "\r" else 0xff0d)
        end = time.monotonic() + 20 * vm.SLOW
        while "VM status: running" not in hmp(g.q, "info screen compat_monitor1"):
            must(time.monotonic() < end, g, f"the monitor says {hmp(g.q, 'info screen compat_monitor1')}")
        must(any(shows(g, c, "compat_monitor1") for _ in range(6)), g, "the monitor's answer is not shown")
        must(b"\x17" not in g.log[g.mark:], g, "the guest got what was typed to the monitor")
        choose(c, "1")
        must(any(shows(g, c, None) for _ in range(6)), g, "Ctrl-Alt-1 does not show the head")
        c.link.close()
    print("ok: Ctrl-Alt-2 shows the monitor, which answers; Ctrl-Alt-1 the head")


def main():
    work = vm.scratch()
    image = vga_guest.kernel(work)
    with Machine(work, "draw", ["-serial", "stdio", "-kernel", image, "-name", "doll"]) as g:
        g.expect("A", 60)
        encodings(g, "a picture of many colours")
        formats(g)
        compressed_formats(g)
        only_changes(g)
        keys(g)
        pointer(g)
        several(g)
        hostile(g)
        clipboard(g)
    if os.path.exists("/usr/share/seabios/vgabios-stdvga.bin"):
        with Machine(work, "text", ["-name", "doll"]) as g:
            end = time.monotonic() + 60 * vm.SLOW
            while "No bootable device" not in hmp(g.q, "info screen"):
                must(time.monotonic() < end, g, "no BIOS screen")
                time.sleep(0.2)
            g.q.cmd("stop")  # the cursor blinks
            encodings(g, "a text screen")
    passwords(work)
    sharing(work)
    handed(work)
    websocket(work, image)
    sizes(work, image)
    consoles(work, image)
    jpeg(work, image)


if __name__ == "__main__":
    main()
