"""A small RFB client (RFC 6143 and the community's extensions) that keeps the picture it is sent. Written beside the server, from the
documents, so that what one gets wrong the other does not repeat."""
import base64
import os
import select
import socket
import struct
import subprocess
import time
import zlib

RAW, TIGHT, ZRLE = 0, 7, 16
DESKTOP_SIZE, CURSOR, POINTER_TYPE, EXT_KEY, LED, NAME, EXT_SIZE, ALPHA_CURSOR = -223, -239, -257, -258, -261, -307, -308, -314
CLIPBOARD = 0xc0a1e5ce - (1 << 32)
NATIVE = (32, 24, 0, 1, 255, 255, 255, 16, 8, 0)


class Refused(Exception):
    pass


class Closed(Exception):
    pass


# ---- DES, for the challenge: FIPS 46-3 ----

def _table(text):
    return [int(n) - 1 for n in text.split()]


_IP = _table("58 50 42 34 26 18 10 2 60 52 44 36 28 20 12 4 62 54 46 38 30 22 14 6 64 56 48 40 32 24 16 8 57 49 41 33 25 17 9 1 "
             "59 51 43 35 27 19 11 3 61 53 45 37 29 21 13 5 63 55 47 39 31 23 15 7")
_FP = _table("40 8 48 16 56 24 64 32 39 7 47 15 55 23 63 31 38 6 46 14 54 22 62 30 37 5 45 13 53 21 61 29 36 4 44 12 52 20 60 28 "
             "35 3 43 11 51 19 59 27 34 2 42 10 50 18 58 26 33 1 41 9 49 17 57 25")
_E = _table("32 1 2 3 4 5 4 5 6 7 8 9 8 9 10 11 12 13 12 13 14 15 16 17 16 17 18 19 20 21 20 21 22 23 24 25 24 25 26 27 28 29 28 29 "
            "30 31 32 1")
_P = _table("16 7 20 21 29 12 28 17 1 15 23 26 5 18 31 10 2 8 24 14 32 27 3 9 19 13 30 6 22 11 4 25")
_PC1 = _table("57 49 41 33 25 17 9 1 58 50 42 34 26 18 10 2 59 51 43 35 27 19 11 3 60 52 44 36 63 55 47 39 31 23 15 7 62 54 46 38 30 "
              "22 14 6 61 53 45 37 29 21 13 5 28 20 12 4")
_PC2 = _table("14 17 11 24 1 5 3 28 15 6 21 10 23 19 12 4 26 8 16 7 27 20 13 2 41 52 31 37 47 55 30 40 51 45 33 48 44 49 39 56 34 53 "
              "46 42 50 36 29 32")
_S = [_table(t) for t in (
    "15 5 14 2 3 16 12 9 4 11 7 13 6 10 1 8 1 16 8 5 15 3 14 2 11 7 13 12 10 6 4 9 5 2 15 9 14 7 3 12 16 13 10 8 4 11 6 1 16 13 9 3 5 "
    "10 2 8 6 12 4 15 11 1 7 14",
    "16 2 9 15 7 12 4 5 10 8 3 14 13 1 6 11 4 14 5 8 16 3 9 15 13 1 2 11 7 10 12 6 1 15 8 12 11 5 14 2 6 9 13 7 10 4 3 16 14 9 11 2 4 "
    "16 5 3 12 7 8 13 1 6 15 10",
    "11 1 10 15 7 4 16 6 2 14 13 8 12 5 3 9 14 8 1 10 4 5 7 11 3 9 6 15 13 12 16 2 14 7 5 10 9 16 4 1 12 2 3 13 6 11 15 8 2 11 14 1 7 "
    "10 9 8 5 16 15 4 12 6 3 13",
    "8 14 15 4 1 7 10 11 2 3 9 6 12 13 5 16 14 9 12 6 7 16 1 4 5 8 3 13 2 11 15 10 11 7 10 1 13 12 8 14 16 2 4 15 6 3 9 5 4 16 1 7 11 2 "
    "14 9 10 5 6 12 13 8 3 15",
    "3 13 5 2 8 11 12 7 9 6 4 16 14 1 15 10 15 12 3 13 5 8 14 2 6 1 16 11 4 10 9 7 5 3 2 12 11 14 8 9 16 10 13 6 7 4 1 15 12 9 13 8 2 15 "
    "3 14 7 16 1 10 11 5 6 4",
    "13 2 11 16 10 3 7 9 1 14 4 5 15 8 6 12 11 16 5 3 8 13 10 6 7 2 14 15 1 12 4 9 10 15 16 6 3 9 13 4 8 1 5 11 2 14 12 7 5 4 3 13 10 6 16 "
    "11 12 15 2 8 7 1 9 14",
    "5 12 3 15 16 1 9 14 4 13 10 8 6 11 7 2 14 1 12 8 5 10 2 11 15 4 6 13 3 16 9 7 2 5 12 14 13 4 8 15 11 16 7 9 1 6 10 3 7 12 14 9 2 5 11 "
    "8 10 6 1 16 15 3 4 13",
    "14 3 9 5 7 16 12 2 11 10 4 15 6 1 13 8 2 16 14 9 11 4 8 5 13 6 7 12 1 15 10 3 8 12 5 2 10 13 15 3 1 7 11 14 16 4 6 9 3 2 15 8 5 11 9 "
    "14 16 13 10 1 4 6 7 12")]


def _bits(data):
    return [b >> (7 - i) & 1 for b in data for i in range(8)]


def des(key, block):
    k = [_bits(key)[i] for i in _PC1]
    c, d = k[:28], k[28:]
    text = [_bits(block)[i] for i in _IP]
    left, right = text[:32], text[32:]
    for n in (1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1):
        c, d = c[n:] + c[:n], d[n:] + d[:n]
        mixed = [right[i] ^ (c + d)[j] for i, j in zip(_E, _PC2)]
        out = []
        for s in range(8):
            six = mixed[6 * s:6 * s + 6]
            v = _S[s][32 * six[0] + 16 * six[5] + 8 * six[1] + 4 * six[2] + 2 * six[3] + six[4]]
            out += [v >> 3 & 1, v >> 2 & 1, v >> 1 & 1, v & 1]
        left, right = right, [a ^ out[i] for a, i in zip(left, _P)]
    final = [(right + left)[i] for i in _FP]
    return bytes(sum(final[8 * i + j] << (7 - j) for j in range(8)) for i in range(8))


def response(password, challenge):
    key = bytes(int(f"{b:08b}"[::-1], 2) for b in password.encode()[:8].ljust(8, b"\0"))
    return des(key, challenge[:8]) + des(key, challenge[8:])


# ---- connections ----

class Plain:
    def __init__(self, where, timeout=30):
        if isinstance(where, tuple):
            self.s = socket.create_connection(where, timeout)
        elif isinstance(where, socket.socket):
            self.s = where
        else:
            self.s = socket.socket(socket.AF_UNIX)
            self.s.settimeout(timeout)
            self.s.connect(where)
        self.s.settimeout(timeout)
        self.buf = bytearray()

    def send(self, data):
        self.s.sendall(data)

    def fill(self):
        try:
            data = self.s.recv(1 << 20)
        except socket.timeout:
            raise Closed("nothing comes")
        except OSError as e:
            raise Closed(str(e))
        if not data:
            raise Closed("closed")
        self.buf += data

    def read(self, n):
        while len(self.buf) < n:
            self.fill()
        data = bytes(self.buf[:n])
        del self.buf[:n]
        return data

    def ready(self, seconds):
        held = getattr(self.s, "pending", int)()  # what TLS has opened already
        return bool(self.buf) or held > 0 or bool(select.select([self.s], [], [], seconds)[0])

    def start_tls(self, context, name):
        if self.buf:
            raise Refused(f"bytes in the clear behind the word for TLS: {bytes(self.buf)!r}")
        self.s = context.wrap_socket(self.s, server_hostname=name)

    def close(self):
        self.s.close()


class WebSocket(Plain):
    """RFC 6455, as a browser does it; frames cut into pieces of `piece` bytes."""

    def __init__(self, where, piece=0, head=""):
        super().__init__(where)
        key = base64.b64encode(os.urandom(16)).decode()
        self.piece, self.wire = piece, bytearray()
        self.s.sendall(self.hello(key, head).encode())
        while b"\r\n\r\n" not in self.wire:
            self.more()
        text, _, rest = bytes(self.wire).partition(b"\r\n\r\n")
        self.wire = bytearray(rest)
        want = base64.b64encode(__import__("hashlib").sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        if not text.startswith(b"HTTP/1.1 101 ") or b"Sec-WebSocket-Accept: " + want not in text:
            raise Refused(text.decode("latin-1"))

    def hello(self, key, head):
        return (f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: binary\r\n{head}\r\n")

    def more(self):
        data = self.s.recv(1 << 20)
        if not data:
            raise Closed("closed: " + bytes(self.wire[:80]).decode("latin-1"))
        self.wire += data

    def frame(self, opcode, data, fin=True):
        mask, n = os.urandom(4), len(data)
        head = bytes([opcode | (0x80 if fin else 0), 0x80 | (n if n < 126 else 126 if n < 65536 else 127)])
        head += b"" if n < 126 else struct.pack(">H", n) if n < 65536 else struct.pack(">Q", n)
        self.s.sendall(head + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(data)))

    def send(self, data):
        step = self.piece or len(data) or 1
        for i in range(0, len(data), step):
            self.frame(2 if i == 0 else 0, data[i:i + step], i + step >= len(data))

    def fill(self):
        while True:
            while len(self.wire) < 2:
                self.more()
            n, at = self.wire[1] & 127, 2
            at += 2 if n == 126 else 8 if n == 127 else 0
            while len(self.wire) < at:
                self.more()
            if n >= 126:
                n = int.from_bytes(self.wire[2:at], "big")
            while len(self.wire) < at + n:
                self.more()
            opcode, data = self.wire[0] & 15, bytes(self.wire[at:at + n])
            if self.wire[1] & 0x80:
                raise Refused("a server does not mask")
            del self.wire[:at + n]
            if opcode == 8:
                raise Closed("closed")
            if opcode == 10:
                self.pong = data
                continue
            self.buf += data
            return

    def ready(self, seconds):
        return bool(self.buf) or bool(self.wire) or super().ready(seconds)


# ---- the protocol ----

class RFB:
    def __init__(self, link, password=None, version=b"RFB 003.008\n", shared=True, init=True, tls=None, name="localhost"):
        self.link, self.tls, self.tls_name, self.subtype = link, tls, name, None
        self.size = self.name = self.cursor = self.leds = self.absolute = self.cut = None
        self.sizes, self.ext_key, self.desktop_name, self.clip = [], False, None, []
        self.inflate = {}
        self.rects = 0
        self.fmt = NATIVE
        if link.read(12) != b"RFB 003.008\n":
            raise Refused("version")
        link.send(version)
        self.security(version, password)
        if init:
            link.send(bytes([shared]))
            self.size = w, h = struct.unpack(">HH", link.read(4))
            self.server_format = struct.unpack(">BBBBHHHBBB3x", link.read(16))
            self.name = link.read(*struct.unpack(">I", link.read(4))).decode()
            self.fb = bytearray(w * h * 4)

    def security(self, version, password):
        link, minor = self.link, int(version[8:11])
        if minor < 7:
            kind, = struct.unpack(">I", link.read(4))
        else:
            kinds = link.read(link.read(1)[0])
            if not kinds:
                raise Refused(link.read(*struct.unpack(">I", link.read(4))).decode())
            kind = 19 if self.tls else 2 if 2 in kinds else 1
            if kind not in kinds:
                raise Refused(f"security types {list(kinds)}")
            link.send(bytes([kind]))
        self.kind = kind
        if kind == 0:
            raise Refused(link.read(*struct.unpack(">I", link.read(4))).decode())
        if kind == 19:
            kind = 2 if self.vencrypt() in (258, 261) else 19
        if kind == 2:
            link.send(response(password or "", link.read(16)))
        if kind in (2, 19) or minor >= 8:
            if struct.unpack(">I", link.read(4))[0]:
                raise Refused(link.read(*struct.unpack(">I", link.read(4))).decode() if minor >= 8 else "refused")

    def vencrypt(self):
        """Version 0.2, whatever subtype is offered."""
        if self.link.read(2) != b"\0\2":
            raise Refused("VeNCrypt's version")
        self.link.send(b"\0\2")
        if self.link.read(1) != b"\0":
            raise Refused("VeNCrypt 0.2 is refused")
        n = self.link.read(1)[0]
        self.subtypes = struct.unpack(f">{n}I", self.link.read(4 * n))
        self.subtype = self.subtypes[0]
        self.link.send(struct.pack(">I", self.subtype))
        if self.link.read(1) != b"\1":
            raise Refused("the subtype is refused")
        self.link.start_tls(self.tls, self.tls_name)
        return self.subtype

    def set_format(self, *f):
        """bits, depth, big, true colour, maxima, shifts"""
        self.fmt = f
        self.link.send(struct.pack(">B3xBBBBHHHBBB3x", 0, *f))

    def set_encodings(self, *e):
        self.encodings = e
        self.link.send(struct.pack(f">BxH{len(e)}i", 2, len(e), *e))

    def request(self, incremental=False, x=0, y=0, w=None, h=None):
        self.link.send(struct.pack(">BBHHHH", 3, incremental, x, y, w or self.size[0], h or self.size[1]))

    def key(self, keysym, down):
        self.link.send(struct.pack(">BBxxI", 4, down, keysym))

    def raw_key(self, keysym, xt, down):
        self.link.send(struct.pack(">BBHII", 255, 0, down, keysym, xt))

    def tap(self, keysym):
        self.key(keysym, True)
        self.key(keysym, False)

    def pointer(self, mask, x, y):
        self.link.send(struct.pack(">BBHH", 5, mask, x, y))

    def cut_text(self, data):
        self.link.send(struct.pack(">B3xI", 6, len(data)) + data)

    def ext_clip(self, flags, data=b""):
        self.link.send(struct.pack(">B3xiI", 6, -4 - len(data), flags) + data)

    def set_size(self, w, h):
        self.link.send(struct.pack(">BxHHBxIHHHHI", 251, w, h, 1, 0, 0, 0, w, h, 0))

    # -- what comes --

    def message(self):
        """Reads one; returns its number."""
        kind = self.link.read(1)[0]
        if kind == 0:
            count, = struct.unpack(">xH", self.link.read(3))
            for _ in range(count):
                self.rect()
        elif kind == 1:
            first, n = struct.unpack(">xHH", self.link.read(5))
            self.map = [struct.unpack(">HHH", self.link.read(6)) for _ in range(n)]
        elif kind == 3:
            n, = struct.unpack(">3xi", self.link.read(7))
            data = self.link.read(abs(n))
            if n >= 0:
                self.cut = data
            else:
                self.clip.append((struct.unpack(">I", data[:4])[0], data[4:]))
        elif kind != 2:
            raise Refused(f"message {kind}")
        return kind

    def update(self):
        while self.message():
            pass

    def drain(self, seconds):
        """All that comes until it is quiet for so long; asks for more after each update."""
        while self.link.ready(seconds):
            if self.message() == 0:
                self.request(True)

    def settle(self, done, seconds=30):
        """Asks for updates until done() is true."""
        end = time.monotonic() + seconds
        self.request(True)
        while not done():
            if time.monotonic() > end:
                return False
            if self.link.ready(0.1) and self.message() == 0:
                self.request(True)
        return True

    def rect(self):
        x, y, w, h, e = struct.unpack(">HHHHi", self.link.read(12))
        self.rects += 1
        {RAW: self.raw, ZRLE: self.zrle, TIGHT: self.tight, DESKTOP_SIZE: self.resize, EXT_SIZE: self.ext_resize, CURSOR: self.on_cursor,
         ALPHA_CURSOR: self.on_alpha_cursor, POINTER_TYPE: self.on_pointer_type, EXT_KEY: self.on_ext_key, LED: self.on_led,
         NAME: self.on_name}[e](x, y, w, h)
        if e in (RAW, ZRLE, TIGHT) and (x + w > self.size[0] or y + h > self.size[1]):
            raise Refused(f"a rectangle outside: {x},{y} {w}x{h} of {self.size}")

    def resize(self, x, y, w, h):
        self.size = (w, h)
        self.fb = bytearray(w * h * 4)
        self.sizes.append((w, h, 0, 0))
        self.request()

    def ext_resize(self, x, y, w, h):
        screens = self.link.read(4)[0]
        self.screens = [struct.unpack(">IHHHHI", self.link.read(16)) for _ in range(screens)]
        if (w, h) != self.size:
            self.size = (w, h)
            self.fb = bytearray(w * h * 4)
            self.request()
        self.sizes.append((w, h, x, y))

    def on_cursor(self, x, y, w, h):
        n = self.fmt[0] // 8
        self.cursor = (x, y, w, h, self.link.read(w * h * n), self.link.read((w + 7) // 8 * h))

    def on_alpha_cursor(self, x, y, w, h):
        if struct.unpack(">i", self.link.read(4))[0] != RAW:
            raise Refused("a cursor that is not raw")
        self.cursor = (x, y, w, h, self.link.read(w * h * 4))

    def on_pointer_type(self, x, y, w, h):
        self.absolute = bool(x)

    def on_ext_key(self, x, y, w, h):
        self.ext_key = True

    def on_led(self, x, y, w, h):
        self.leds = self.link.read(1)[0]

    def on_name(self, x, y, w, h):
        self.desktop_name = self.link.read(*struct.unpack(">I", self.link.read(4))).decode()

    # -- pixels: the picture is kept as they come in the native format, in others as bytes of a line --

    def raw(self, x, y, w, h):
        n = self.fmt[0] // 8
        data = self.link.read(w * h * n)
        for i in range(h):
            at = ((y + i) * self.size[0] + x) * 4
            if n == 4:
                self.fb[at:at + 4 * w] = data[i * w * 4:(i + 1) * w * 4]
            else:
                for b in range(n):
                    self.fb[at + b:at + 4 * w:4] = data[i * w * n + b:(i + 1) * w * n:n]

    def line(self, x, y, bgr):
        """Blue, green and red of a line."""
        at, n = (y * self.size[0] + x) * 4, len(bgr) // 3
        for b in range(3):
            self.fb[at + b:at + 4 * n:4] = bgr[b::3]

    def stream(self, key, data):
        z = self.inflate.setdefault(key, zlib.decompressobj())
        return z.decompress(data)

    def zrle(self, x, y, w, h):
        data = memoryview(self.stream("zrle", self.link.read(*struct.unpack(">I", self.link.read(4)))))
        at = 0
        for ty in range(y, y + h, 64):
            for tx in range(x, x + w, 64):
                tw, th = min(64, x + w - tx), min(64, y + h - ty)
                px, at = self.zrle_tile(data, at, tw, th)
                for i in range(th):
                    self.line(tx, ty + i, px[i * tw * 3:(i + 1) * tw * 3])
        if at != len(data):
            raise Refused(f"{len(data) - at} bytes too many in a ZRLE rectangle")

    def zrle_tile(self, data, at, w, h):
        kind = data[at]
        at += 1
        n = kind & 127
        palette = [bytes(data[at + 3 * i:at + 3 * i + 3]) for i in range(n)]
        at += 3 * n
        if kind == 0:
            return bytes(data[at:at + w * h * 3]), at + w * h * 3
        if kind == 1:
            return palette[0] * (w * h), at
        out = bytearray()
        if kind < 17:
            bits = 1 if n == 2 else 2 if n <= 4 else 4
            for _ in range(h):
                row = data[at:at + (w * bits + 7) // 8]
                at += len(row)
                for i in range(w):
                    out += palette[row[i * bits // 8] >> (8 - bits - i * bits % 8) & ((1 << bits) - 1)]
            return out, at
        while len(out) < w * h * 3:
            if kind == 128:
                px, run = bytes(data[at:at + 3]), True
                at += 3
            else:
                px, run = palette[data[at] & 127], data[at] & 128
                at += 1
            length = 1
            while run:
                length += data[at]
                at += 1
                if data[at - 1] != 255:
                    break
            out += px * length
        if len(out) != w * h * 3:
            raise Refused("a run leaves its tile")
        return out, at

    def compact(self):
        n = 0
        for shift in (0, 7, 14):
            b = self.link.read(1)[0]
            n |= (b & 127 if shift < 14 else b) << shift
            if shift == 14 or not b & 128:
                return n

    def tight(self, x, y, w, h):
        def packed(stream, size):
            return self.link.read(size) if size < 12 else self.stream(stream, self.link.read(self.compact()))

        control = self.link.read(1)[0]
        for s in range(4):
            if control >> s & 1:
                self.inflate.pop(s, None)
        if control >> 4 == 8:
            px = self.link.read(3)[::-1]
            rows = [px * w] * h
        elif control >> 4 == 9:
            rows = self.jpeg(self.link.read(self.compact()), w, h)
        elif control >> 6 == 1 and self.link.read(1)[0] == 1:
            n = self.link.read(1)[0] + 1
            palette = [self.link.read(3)[::-1] for _ in range(n)]
            line = (w + 7) // 8 if n == 2 else w
            data = packed(control >> 4 & 3, line * h)
            if n == 2:
                rows = [b"".join(palette[data[i * line + j // 8] >> (7 - j % 8) & 1] for j in range(w)) for i in range(h)]
            else:
                rows = [b"".join(palette[v] for v in data[i * line:(i + 1) * line]) for i in range(h)]
        elif control >> 6 == 0:
            data = packed(control >> 4 & 3, w * h * 3)
            rows = []
            for i in range(h):
                row = bytearray(w * 3)
                for b in range(3):
                    row[b::3] = data[i * w * 3 + 2 - b:(i + 1) * w * 3:3]
                rows.append(row)
        else:
            raise Refused(f"Tight control {control:02x}")
        for i, row in enumerate(rows):
            self.line(x, y + i, row)

    def jpeg(self, data, w, h):
        self.jpegs = getattr(self, "jpegs", 0) + 1
        ppm = subprocess.run(["djpeg", "-rgb", "-pnm"], input=data, stdout=subprocess.PIPE, check=True).stdout
        head = b"P6\n%d %d\n255\n" % (w, h)
        if not ppm.startswith(head):
            raise Refused(f"a JPEG in {w}x{h}: {ppm[:20]!r}")
        rgb, rows = ppm[len(head):], []
        for i in range(h):
            row = bytearray(w * 3)
            for b in range(3):
                row[b::3] = rgb[i * w * 3 + 2 - b:(i + 1) * w * 3:3]
            rows.append(row)
        return rows

    def rgb(self):
        out = bytearray(self.size[0] * self.size[1] * 3)
        for b in range(3):
            out[b::3] = self.fb[2 - b::4]
        return bytes(out)
