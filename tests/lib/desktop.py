"""A desktop for tests of windows: Xvfb, with keys and pointer by xdotool."""
import atexit
import os
import re
import struct
import subprocess
import tempfile
import time

import vm


def must(ok, g, why):
    if not ok:
        g.die(why)


def until(fn, seconds):
    end = time.monotonic() + seconds * vm.SLOW
    while time.monotonic() < end:
        if fn():
            return True
        time.sleep(0.1)
    return False


class Screen:
    """Xvfb with an XKB layout, whose picture is a file."""

    def __init__(self, work, layout):
        vm.need("Xvfb", "xdotool", "setxkbmap", "xwininfo")
        self.folder = tempfile.mkdtemp(dir=work)
        log = open(os.path.join(self.folder, "log"), "wb")
        r, w = os.pipe()
        self.p = subprocess.Popen(["Xvfb", "-displayfd", str(w), "-screen", "0", "1400x900x24", "-fbdir", self.folder, "-nolisten", "tcp", "-noreset", "-r"],
                                  pass_fds=[w], stderr=log)
        os.close(w)
        atexit.register(self.p.kill)
        with os.fdopen(r) as f:  # the whole line: Xvfb ends when it cannot write all of it
            self.env = dict(os.environ, DISPLAY=":" + f.readline().strip())
        words = ["setxkbmap", "-model", "pc105", "-layout", layout]
        if not until(lambda: subprocess.run(words, env=self.env).returncode == 0, 20):
            vm.fail(f"{words}: Xvfb, status {self.p.poll()}, says {open(log.name).read()}")

    def do(self, *words):
        return subprocess.run(["xdotool", *map(str, words)], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout

    def show(self, x, y, w, h):
        """X11's XWD: a head of 32-bit numbers, colours, lines of BGRX."""
        data = open(os.path.join(self.folder, "Xvfb_screen0"), "rb").read()
        head = struct.unpack(">25I", data[:100])
        start, line = head[0] + 12 * head[19], head[12]
        out = bytearray()
        for row in range(y, y + h):
            px = data[start + row * line + 4 * x:][:4 * w]
            rgb = bytearray(3 * w)
            for b in range(3):
                rgb[b::3] = px[2 - b::4]
            out += rgb
        return bytes(out)

    def window(self, name="Vivarium", by="--name"):
        """The id of a window, or None."""
        names = self.do("search", "--onlyvisible", by, name).split()
        return names[0] if names else None

    def geometry(self, window):
        out = subprocess.run(["xwininfo", "-id", window], env=self.env, stdout=subprocess.PIPE, text=True).stdout
        found = [re.search(what + r":\s+(-?\d+)", out) for what in ("Absolute upper-left X", "Absolute upper-left Y", "Width", "Height")]
        return tuple(int(f.group(1)) if f else 0 for f in found)

    def close(self):
        self.p.terminate()
        self.p.wait()
