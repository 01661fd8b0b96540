"""A Debian mirror for guests: what a guest asks for is fetched from the machine's own mirror once and kept in BUILD/guest/mirror.

Paths are /debian/... and /debian-security/..., as on Debian's servers; other files are given by the test: `pages`, by their path, and
the files of a folder `overlay`, which come first below /debian. Only what a mirror has is fetched: a path is made of plain names. Where
the mirror is, apt says (`apt-get indextargets`)."""
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

PLAIN = re.compile(r"^/(debian|debian-security)((?:/[A-Za-z0-9_+~:@%.-]+)+)$")


def sources():
    """{"debian": URI, "debian-security": URI} of this machine."""
    vm.need("apt-get")
    out = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE) $(REPO_URI) $(RELEASE)"], stdout=subprocess.PIPE, text=True).stdout
    found = {}
    for line in out.splitlines():
        _, uri, release = (line.split(" ") + ["", ""])[:3]
        if release.startswith("bookworm-security"):
            found["debian-security"] = uri.rstrip("/")
        elif release.startswith("bookworm"):
            found["debian"] = uri.rstrip("/")
    if len(found) < 2 or not all(u.startswith("http") for u in found.values()):
        vm.skip("apt of this machine knows no http mirror of bookworm and bookworm-security")
    return found


class Mirror(http.server.ThreadingHTTPServer):
    """Serves on 127.0.0.1 (10.0.2.2 for a guest on user networking)."""
    daemon_threads = True

    def __init__(self, pages, overlay=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.overlay = overlay
        self.pages, self.sources, self.asked = pages, sources(), []
        self.folder = os.path.join(vm.GUEST, "mirror")
        shutil.rmtree(os.path.join(self.folder, "debian/dists"), True)  # indices change, packages do not
        shutil.rmtree(os.path.join(self.folder, "debian-security/dists"), True)
        self.port = self.server_address[1]
        self.locks, self.lock = {}, threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def fetch(self, which, path):
        """Path of the file in the cache, None if the mirror has none."""
        if self.overlay and which == "debian" and os.path.isfile(self.overlay + path):
            return self.overlay + path
        kept = self.folder + "/" + which + path
        with self.lock:
            mine = self.locks.setdefault(kept, threading.Lock())
        with mine:
            if os.path.exists(kept):
                return kept
            os.makedirs(os.path.dirname(kept), exist_ok=True)
            part = kept + ".part"
            try:
                with urllib.request.urlopen(self.sources[which] + path, timeout=60) as r, open(part, "wb") as f:
                    shutil.copyfileobj(r, f)
            except urllib.error.HTTPError as e:
                if e.code == 404:
                    return None
                raise
            os.rename(part, kept)
            return kept


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, body):
        self.server.asked.append(self.path)
        m = PLAIN.match(self.path)
        if self.path in self.server.pages:
            data = self.server.pages[self.path].encode()
            self.begin(200, len(data))
            if body:
                self.wfile.write(data)
            return
        try:
            kept = self.server.fetch(m[1], m[2]) if m and "/.." not in self.path else None
        except OSError as e:
            print(f"mirror: {self.path}: {e}", flush=True)
            return self.begin(503, 0)
        if not kept or os.path.isdir(kept):
            print(f"mirror: {self.path}: not there", flush=True)
            return self.begin(404, 0)
        with open(kept, "rb") as f:
            self.begin(200, os.fstat(f.fileno()).st_size)
            if body:
                shutil.copyfileobj(f, self.wfile)

    def begin(self, status, length):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def do_GET(self):
        self.answer(True)

    def do_HEAD(self):
        self.answer(False)
