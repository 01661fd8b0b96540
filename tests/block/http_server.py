#!/usr/bin/env python3
"""A web server with ranges for the test beside, and with what can go wrong: the first part of a path says what.

usage: http_server.py FOLDER PORTFILE [CERT KEY]
/plain/F serves F; /count tells how many requests there were, how many bytes, and forgets them."""
import base64
import http.server
import mmap
import os
import socketserver
import ssl
import sys
import threading
import time

FOLDER = sys.argv[1]
lock = threading.Lock()
seen = {}        # requests a path
count = [0, 0]   # requests, bytes


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with lock:
            n = seen[self.path] = seen.get(self.path, 0) + 1
            if self.path == "/count":
                text = "%d %d" % tuple(count)
                count[:] = [0, 0]
                self.answer(200, text.encode())
                return
            count[0] += 1
        kind, _, name = self.path[1:].partition("/")
        try:
            with open(os.path.join(FOLDER, os.path.basename(name)), "rb") as f:
                data = f.read() if os.path.getsize(f.name) < 1 << 20 else mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError:
            self.answer(404, b"<html>no such file</html>")
            return
        getattr(self, "kind_" + kind, self.kind_plain)(data, n, name)

    def do_HEAD(self):
        """What QEMU asks first."""
        path = os.path.join(FOLDER, os.path.basename(self.path))
        if not os.path.isfile(path):
            self.answer(404)
            return
        self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(os.path.getsize(path)))
        self.end_headers()

    def ranged(self, data, extra=b"", cut=None, shift=0, total=None, stall=None, etag='"one"'):
        value = self.headers.get("Range", "")
        if not value.startswith("bytes="):
            self.answer(200, data)
            return
        first, last = (int(x) for x in value[6:].split("-"))
        if first >= len(data):
            self.answer(416, Content_Range="bytes */%d" % len(data))
            return
        body = data[first:last + 1]
        self.send_response(206)
        self.send_header("Content-Range", "bytes %d-%d/%d" % (first + shift, first + shift + len(body) - 1, total or len(data)))
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body) + len(extra)))
        self.end_headers()
        if stall is not None:
            self.wfile.write(body[:stall])
            self.wfile.flush()
            time.sleep(8)
            self.close_connection = True
            return
        if cut is not None:
            body = body[:cut]
        self.wfile.write(body + extra)
        self.wfile.flush()
        with lock:
            count[1] += len(body)
        if cut is not None:
            self.close_connection = True

    def kind_plain(self, data, n, name):
        self.ranged(data)

    def kind_norange(self, data, n, name):
        self.answer(200, data)

    def kind_later(self, data, n, name):
        """Ranges at first, then no more."""
        self.ranged(data) if n == 1 else self.answer(200, data)

    def kind_drop(self, data, n, name):
        """Every answer of more than 100000 bytes is cut there."""
        self.ranged(data, cut=100000)

    def kind_dead(self, data, n, name):
        """Works once; then nothing arrives."""
        self.ranged(data, cut=None if n == 1 else 0)

    def kind_flaky(self, data, n, name):
        """Every third request fails."""
        if n % 3:
            self.ranged(data)
        else:
            self.answer((500, 503, 429)[n // 3 % 3], b"not now")

    def kind_broken(self, data, n, name):
        self.ranged(data) if n == 1 else self.answer(500, b"never")

    def kind_stall(self, data, n, name):
        self.ranged(data, stall=None if n == 1 else 10)

    def kind_auth(self, data, n, name):
        if self.headers.get("Authorization") == "Basic " + base64.b64encode(b"me:open sesame").decode():
            self.ranged(data)
        else:
            self.answer(401, b"who?", WWW_Authenticate="Basic realm=x")

    def kind_cookie(self, data, n, name):
        self.ranged(data) if self.headers.get("Cookie") == "a=b; c=d" else self.answer(403, b"no")

    def kind_redirect(self, data, n, name):
        self.answer(302, b"there", Location="/plain/" + name)

    def kind_away(self, data, n, name):
        self.answer(302, b"there", Location="file:///etc/passwd")

    def kind_circle(self, data, n, name):
        self.answer(302, b"here", Location=self.path)

    def kind_grown(self, data, n, name):
        self.ranged(data, total=None if n == 1 else len(data) + 512)

    def kind_other(self, data, n, name):
        self.ranged(data, etag='"%d"' % n)

    def kind_more(self, data, n, name):
        self.ranged(data, extra=b"x" * 5000 if n > 1 else b"")

    def kind_shift(self, data, n, name):
        self.ranged(data, shift=512 if n > 1 else 0)

    def kind_nolength(self, data, n, name):
        self.send_response(206)
        self.send_header("Content-Range", "bytes 0-0/*")
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(data[:1])


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


server = Server(("127.0.0.1", 0), Handler)
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    server.socket = context.wrap_socket(server.socket, server_side=True)
with open(sys.argv[2] + ".new", "w") as out:
    out.write("%d" % server.server_address[1])
os.rename(sys.argv[2] + ".new", sys.argv[2])
server.serve_forever()
