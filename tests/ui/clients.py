#!/usr/bin/env python3
"""Three VNC clients with a Linux guest: our own, TigerVNC's under Xvfb, noVNC in headless Chromium over our WebSocket.

On each layout (en-us, de, fr, ja) text is typed into each client's keyboard and read back in the guest, from its text console with that
layout's keymap; the pointer goes to pixels, and the guest's tablet says where it is; the client's picture is compared with screendump pixel
by pixel. Passwords: right and wrong ones. Sizes: the window follows the guest. clients.py [LAYOUT]..."""
import atexit
import base64
import http.server
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import desktop  # noqa: E402
import rfb  # noqa: E402
import vga_guest  # noqa: E402
import vm  # noqa: E402
from desktop import must, until  # noqa: E402

ASCII = "".join(map(chr, range(33, 127))) + " and spaces"
# In X who types Japanese has another keyboard: on X's own xdotool presses Alt for the bar.
LAYOUTS = {  # of -k: XKB's model and layout, and what is typed
    "en-us": ("pc105", "us", ASCII),
    "de": ("pc105", "de", "Zwölf Boxkämpfer: ÄÖÜäöüß @{[]}\\~|<>#'+*°!\"§$%&/()=?,.-;:_ ^ ` ` éàê 0123456789 yzYZ"),
    "fr": ("pc105", "fr", "Voix ambiguë, zéphyr préfère çà: âêîôû 0123456789 &\"'(-_)=*<>,;:!?./§%$@#{[|\\^]}~ qawzQAWZ mM"),
    "ja": ("jp106", "jp", ASCII),
}
MODULES = ["bochs", "uhci_hcd", "usbhid", "hid_generic", "evdev"]
SCRIPT = """
echo 0 > /proc/sys/kernel/printk
n=0; until grep -q 'Vivarium USB Tablet' /proc/bus/input/devices; do sleep 0.2; n=$((n + 1)); [ $n -gt 100 ] && break; done
node=$(grep -A5 'Name="Vivarium USB Tablet"' /proc/bus/input/devices | sed -n 's/.*Handlers=.*\\(event[0-9]*\\).*/\\1/p')
loadkmap < /keymap
printf '\\033[2J\\033[H\\033[?25l\\033[1;33;44mVivarium\\033[0m LAYOUT\\n' > /dev/tty1
cat /dev/input/$node > /tmp/pointer &
stty -echo
echo ready
while read -r what; do
    case $what in
    line) read -r line < /dev/tty1; echo "line $(printf %s "$line" | hexdump -v -e '1/1 "%02x"')." ;;
    pointer) echo "pointer $(hexdump -v -e '1/1 "%02x"' /tmp/pointer)." ;;
    end) break ;;
    esac
done
"""


def keep(path, w, h, rgb):
    """For people: VIV_KEEP names a folder."""
    if os.environ.get("VIV_KEEP"):
        with open(os.path.join(os.environ["VIV_KEEP"], path + ".ppm"), "wb") as f:
            f.write(b"P6\n%d %d\n255\n" % (w, h) + rgb)


# ---- clients: show() is a picture (width, height, RGB), type() and move() are a user's ----

class Own:
    """Keysyms only, and no modifiers: the server presses what is needed."""
    name = "own"

    def __init__(self, work, layout, port, ws, password=None):
        self.c = rfb.RFB(rfb.Plain(("127.0.0.1", port)), password)
        self.c.set_encodings(rfb.TIGHT, rfb.DESKTOP_SIZE)
        self.c.request()

    def show(self):
        self.c.request(True)
        self.c.drain(0.2)
        return self.c.size + (self.c.rgb(),)

    def type(self, text):
        for ch in text:
            self.c.tap(ord(ch) if ord(ch) < 256 else 0x1000000 | ord(ch))
        self.c.tap(0xff0d)

    def move(self, x, y):
        self.c.pointer(0, x, y)

    def close(self):
        self.c.link.close()


class Tiger:
    name = "TigerVNC"

    def __init__(self, work, layout, port, ws, password=None, more=()):
        vm.need("xtigervncviewer")
        self.x = desktop.Screen(work, "us" if layout == "ja" else LAYOUTS[layout][1])
        self.log = open(os.path.join(work, "tiger.log"), "wb")
        env = dict(self.x.env, HOME=work, **({"VNC_PASSWORD": password} if password is not None else {}))
        self.p = subprocess.Popen(["xtigervncviewer", "-RemoteResize=0", "-AlertOnFatalError=0", *more, f"127.0.0.1::{port}"], env=env,
                                  stdout=self.log, stderr=self.log)
        self.window = None
        until(lambda: self.find() or self.p.poll() is not None, 30)

    def find(self):
        self.window = self.x.window()
        return self.window

    def show(self):
        x, y, w, h = self.x.geometry(self.window)
        return w, h, self.x.show(x, y, w, h)

    def type(self, text):
        self.x.do("windowfocus", "--sync", self.window)
        self.x.do("type", "--delay", "60", text)
        self.x.do("key", "Return")

    def move(self, x, y):
        left, top, _, _ = self.x.geometry(self.window)
        self.x.do("mousemove", left + x, top + y)

    def close(self):
        self.p.terminate()
        self.p.wait()
        self.x.close()


class NoVNC:
    """noVNC's light page in Chromium, driven by the DevTools protocol."""
    name = "noVNC"

    def __init__(self, work, layout, port, ws, password=None):
        vm.need("chromium")
        if not os.path.exists("/usr/share/novnc/vnc_lite.html"):
            vm.skip("novnc is not installed")

        class Quiet(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *a):
                super().__init__(*a, directory="/usr/share/novnc")

            def log_message(self, *a):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.p = subprocess.Popen(["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                                   "--remote-debugging-port=0", "--window-size=1500,1100", f"--user-data-dir={work}/chromium-{ws}",
                                   "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        atexit.register(self.p.kill)
        self.number, self.inner = 0, None
        for line in self.p.stderr:
            if "DevTools listening on" in line:
                where = line.split("ws://")[1].strip()
                break
        else:
            vm.skip("chromium does not start")
        threading.Thread(target=self.p.stderr.read, daemon=True).start()
        host, path = where.split("/", 1)
        self.link = DevTools((host.split(":")[0], int(host.split(":")[1])), path)
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.inner = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        secret = f"&password={password}" if password is not None else ""
        self.ask("Page.navigate", url=f"http://127.0.0.1:{self.http.server_port}/vnc_lite.html?host=127.0.0.1&port={ws}&path=&scale=false{secret}")
        until(lambda: "Connected" in self.status() or "disconnect" in self.status().lower() or "fail" in self.status().lower(), 40)

    def ask(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.inner:
            message["sessionId"] = self.inner
        self.link.frame(1, json.dumps(message).encode())
        while True:
            self.link.fill()
            answer = json.loads(bytes(self.link.buf))
            self.link.buf.clear()
            if answer.get("id") == self.number:
                return answer.get("result", {})

    def eval(self, text):
        return self.ask("Runtime.evaluate", expression=text, returnByValue=True).get("result", {}).get("value")

    def status(self):
        return self.eval("(document.getElementById('status') || {}).textContent") or ""

    def show(self):
        data = self.eval("""(() => { const c = document.querySelector('#screen canvas'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
            let s = ''; for (let i = 0; i < d.length; i += 32768) s += String.fromCharCode(...d.subarray(i, i + 32768));
            return [c.width, c.height, btoa(s)]; })()""")
        rgba = base64.b64decode(data[2])
        rgb = bytearray(len(rgba) // 4 * 3)
        for b in range(3):
            rgb[b::3] = rgba[b::4]
        return data[0], data[1], bytes(rgb)

    def press(self, **key):
        self.ask("Input.dispatchKeyEvent", type="keyDown", **key)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **key)

    def type(self, text):
        self.eval("document.querySelector('#screen canvas').focus()")
        for ch in text:
            self.press(key=ch, text=ch, code="")
        self.press(key="Enter", code="Enter", windowsVirtualKeyCode=13)

    def move(self, x, y):
        left, top = self.eval("(() => { const r = document.querySelector('#screen canvas').getBoundingClientRect(); return [r.left, r.top]; })()")
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=left + x + 0.5, y=top + y + 0.5)
        time.sleep(0.1)  # noVNC joins motion that comes faster

    def close(self):
        self.p.terminate()
        self.p.wait()
        self.http.shutdown()


class DevTools(rfb.WebSocket):
    def __init__(self, where, path):
        self.path = path
        super().__init__(where)

    def hello(self, key, head):
        return (f"GET /{self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                "Sec-WebSocket-Version: 13\r\n\r\n")


CLIENTS = (Own, Tiger, NoVNC)


# ---- what is shown ----

def same_picture(g, q, work, client):
    def same():
        a = client.show()
        b = q.picture(f"{work}/p")
        keep(f"{g.name}-{client.name}", *a)
        return a == b and len(set(a[2])) > 1
    must(until(same, 20), g, f"{client.name} does not show what screendump does")


def typed(g, client, text):
    g.send("line\n")
    time.sleep(0.5)
    client.type(text)
    got = bytes.fromhex(g.expect(r"^line ([0-9a-f]*)\.", 120).group(1).decode()).decode("utf-8", "replace")
    must(got == text, g, f"{client.name} typed {text!r}, the guest read {got!r}")


def pointed(g, client, size):
    w, h = size
    places = [(0, 0), (w - 1, 0), (w - 1, h - 1), (0, h - 1), (w // 2, h // 2), (1, 1), (123, 321 % h), (w - 2, 77)]
    for x, y in places:
        client.move(x, y)
        time.sleep(0.2)
    time.sleep(0.5)
    g.send("pointer\n")
    data = bytes.fromhex(g.expect(r"^pointer ([0-9a-f]*)\.", 60).group(1).decode())
    at, seen = [0, 0], []
    for i in range(0, len(data) // 24 * 24, 24):
        kind, code, value = struct.unpack("<HHi", data[i + 16:i + 24])
        if kind == 3 and code < 2:
            at[code] = value
        elif kind == 0:
            seen.append((at[0] * w >> 15, at[1] * h >> 15))
    it = iter(seen)
    must(all(any(p == s for s in it) for p in places), g, f"{client.name} pointed at {places}, the guest saw {seen[-12:]}")


def layout(work, name):
    model, xkb, text = LAYOUTS[name]
    keymap = os.path.join(work, f"{name}.map")
    subprocess.run(f"ckbcomp -model {model} -layout {xkb} 2>/dev/null | loadkeys -u -b - > {keymap}", shell=True, check=True)
    port, ws = vm.free_port(), vm.free_port()
    while port < 5901:
        port = vm.free_port()
    args = ["-M", "pc", "-m", "256M", "-nodefaults", "-serial", "stdio", "-no-reboot", "-vga", "std", "-usbdevice", "tablet", "-k", name, "-vnc",
            f"127.0.0.1:{port - 5900},websocket={ws}", "-kernel", vm.kernel("generic"), "-initrd",
            vm.initramfs(SCRIPT.replace("LAYOUT", name), MODULES, files=[f"{keymap}:keymap"], arch="generic"), "-append", "console=ttyS0 panic=-1 quiet",
            "-qmp", f"unix:{work}/{name},server=on,wait=off"]
    with vm.Guest(args, name) as g:
        q = vm.QMP(f"{work}/{name}")
        g.expect(r"^ready", 200)
        time.sleep(1)
        for kind in CLIENTS:
            client = kind(work, name, port, ws)
            same_picture(g, q, work, client)
            typed(g, client, text)
            if name == "en-us":
                pointed(g, client, q.picture(f"{work}/p")[:2])
            same_picture(g, q, work, client)
            client.close()
            print(f"ok: {kind.name}, {name}: {len(text)} characters{', the pointer' if name == 'en-us' else ''}, the picture", flush=True)
        g.send("end\n")
        g.wait(60)


def passwords(work, image):
    """Each client with the right password and with a wrong one; then the guest's mode changes under them."""
    port, ws = vm.free_port(), vm.free_port()
    while port < 5901:
        port = vm.free_port()
    for kind in CLIENTS:
        args = ["-M", "pc", "-m", "64M", "-nodefaults", "-serial", "stdio", "-vga", "std", "-kernel", image, "-S", "-object", "secret,id=s,data=geheim",
                "-vnc", f"127.0.0.1:{port - 5900},websocket={ws},password-secret=s", "-qmp", f"unix:{work}/pass,server=on,wait=off"]
        with vm.Guest(args, f"password, {kind.name}") as g:
            q = vm.QMP(f"{work}/pass")

            def inside():
                return [e for e in q.events if e["event"] == "VNC_INITIALIZED"]
            try:
                kind(work, "en-us", port, ws, "falsch").close()
            except rfb.Refused:
                pass
            q.cmd("query-vnc")
            must(not inside(), g, f"{kind.name} is in with a wrong password")
            client = kind(work, "en-us", port, ws, "geheim")
            q.cmd("query-vnc")
            must(inside(), g, f"{kind.name} is not in with the right password")
            old = client.show()[:2]
            q.cmd("cont")
            g.expect("A", 60)
            must(until(lambda: client.show() == (640, 480, vga_guest.want()), 20), g, f"{kind.name} does not follow from {old} to 640x480")
            keep(f"resized-{kind.name}", *client.show())
            client.close()
        print(f"ok: {kind.name}: wrong and right password, another size", flush=True)


def main():
    work = vm.scratch()
    vm.need("loadkeys", "ckbcomp", "Xvfb", "xtigervncviewer", "xdotool", "chromium")
    passwords(work, vga_guest.kernel(work))
    for name in sys.argv[1:] or LAYOUTS:
        layout(work, name)


if __name__ == "__main__":
    main()
