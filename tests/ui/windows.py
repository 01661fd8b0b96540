#!/usr/bin/env python3
"""Windows under Xvfb, with a guest of a few bytes: windows.py sdl|gtk. What the window shows beside what screendump says, keys, consoles by
Ctrl-Alt-N with a monitor in one, sizes, titles, closing it; and an X server that stands still, which holds nobody up."""
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import desktop  # noqa: E402
import vga_guest  # noqa: E402
import vm  # noqa: E402
from desktop import must, until  # noqa: E402


class Machine(vm.Guest):
    def __init__(self, work, x, kind, image, options="", args=(), window=("doll",)):
        self.work, self.x, self.kind, self.height, self.mark = work, x, kind, 480, 0
        env = dict(os.environ)
        os.environ.update(x.env)
        name = f"{kind}-{len(os.listdir(work))}"
        super().__init__(["-M", "pc", "-m", "64M", "-accel", "xlate", "-nodefaults", "-vga", "std", "-name", "doll", "-serial", "stdio", "-monitor", "vc",
                          "-kernel", image, "-display", kind + options, "-qmp", f"unix:{work}/{name},server=on,wait=off", *args], name)
        os.environ.clear()
        os.environ.update(env)
        self.q = vm.QMP(f"{work}/{name}")
        must(until(lambda: x.window(*window), 20), self, "there is no window")
        self.window = x.window(*window)
        x.do("windowfocus", "--sync", self.window)

    def title(self):
        return self.x.do("getwindowname", self.window).strip()

    def area(self):
        """Where the picture is on the screen."""
        x, y, w, h = self.x.geometry(self.window)
        top = self.header()
        return x, y + top, w, h - top

    def header(self):
        """GTK's menu bar."""
        return self.x.geometry(self.window)[3] - self.height if self.kind == "gtk" else 0

    def show(self):
        return self.area()[2:], self.x.show(*self.area())

    def same(self, device=None, seconds=20):
        self.x.do("mousemove", 1399, 899)  # beside it: Xvfb draws the pointer

        def equal():
            w, h, rgb = self.q.picture(f"{self.work}/p", **({"device": device} if device else {}))
            self.height = h
            return self.show() == ((w, h), rgb) and len(set(rgb)) > 1
        return until(equal, seconds)

    def codes(self, data):
        """Waits for these scan codes, and no others, on the serial port."""
        must(until(lambda: self._pump(0.05) and len(self.log) - self.mark >= len(data), 20) and bytes(self.log[self.mark:]) == data, self,
             f"scan codes {bytes(self.log[self.mark:]).hex()}, not {data.hex()}")
        self.mark = len(self.log)

    def read(self, seconds):
        """What it has said since the mark."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._pump(0.05)
        return bytes(self.log[self.mark:])

    def point(self, x, y):
        self.x.do("mousemove", x, y)
        time.sleep(0.05)

    def moved(self):
        """How far right the guest's mouse has gone since the mark."""
        data = self.read(0.5)
        return sum(data[i + 1] - (data[i] << 4 & 0x100) for i in range(0, len(data) - 2, 3))


def hmp(q, line):
    return q.cmd("human-monitor-command", **{"command-line": line})


def pictures(g):
    g.expect("A", 60)
    must(g.same(), g, "the window is not what screendump is")
    must(g.show()[1] == vga_guest.want(), g, "the window is not what the guest has drawn")
    g.send("x")
    g.expect("B", 20)
    must(until(lambda: g.show()[1] == vga_guest.want(True), 20), g, "a line that the guest draws does not come")
    print("ok: the picture, and what changes in it")


def keys(g):
    g.mark = len(g.log)
    g.x.do("key", "a")
    g.codes(b"\x1e\x9e")
    g.x.do("key", "shift+z")
    g.codes(b"\x2a\x2c\xaa\xac")
    g.x.do("key", "Left", "F12", "KP_Enter", "105")  # an X key code: right Ctrl
    g.codes(b"\xe0\x4b\xe0\xcb\x58\xd8\xe0\x1c\xe0\x9c\xe0\x1d\xe0\x9d")
    g.x.do("type", "--delay", "5", "er" * 100)  # the same key up and down within 2 ms is a repeated one for SDL
    g.codes(b"\x12\x92\x13\x93" * 100)
    g.x.do("keydown", "b")
    g.x.do("keydown", "Control_L", "keydown", "Alt_L", "key", "2", "keyup", "Alt_L", "keyup", "Control_L", "keyup", "b")
    time.sleep(0.5)
    g._pump(0.1)
    seen = bytes(g.log[g.mark:])
    must(seen.startswith(b"\x30") and b"\x03" not in seen and all(up in seen for up in (b"\xb0", b"\x9d", b"\xb8")), g,
         f"Ctrl-Alt-2 with B held: {seen.hex()}")
    print("ok: keys, 400 events at once, none of those for the window, nothing stays down")


def consoles(g):
    """It shows the monitor now."""
    must(g.same("compat_monitor0"), g, "Ctrl-Alt-2 does not show the monitor")
    g.x.do("type", "--delay", "10", "info status")
    g.x.do("key", "Return")
    want = "VM status: running"
    must(until(lambda: want in hmp(g.q, "info screen compat_monitor0"), 20), g, f"the monitor says {hmp(g.q, 'info screen compat_monitor0')!r}")
    must(g.same("compat_monitor0"), g, "the answer is not shown")
    for line in "help", "help", "info name":
        g.x.do("type", "--delay", "5", line)
        g.x.do("key", "Return")
    must(until(lambda: hmp(g.q, "info screen compat_monitor0").split()[-2:] == ["doll", "(viv)"], 20), g, "help does not end")
    end = hmp(g.q, "info screen compat_monitor0")
    g.x.do("key", "shift+Prior")
    must(until(lambda: hmp(g.q, "info screen compat_monitor0") != end, 10), g, "Shift-PageUp does not scroll back")
    must(g.same("compat_monitor0"), g, "what is scrolled is not shown")
    g.x.do("key", "shift+Next")
    must(until(lambda: hmp(g.q, "info screen compat_monitor0") == end, 10), g, "Shift-PageDown does not scroll forward")
    g.x.do("key", "ctrl+alt+9")  # there is none
    g.x.do("key", "ctrl+alt+1")
    must(g.same(), g, "Ctrl-Alt-1 does not show the head again")
    print("ok: Ctrl-Alt-2 is the monitor, which answers and scrolls back")


def titles(g):
    must(g.title() == "doll - Vivarium", g, f"title {g.title()!r}")
    g.q.cmd("stop")
    must(until(lambda: g.title() == "doll - Vivarium [Paused]", 10), g, f"title {g.title()!r} when it is stopped")
    g.q.cmd("cont")
    must(until(lambda: g.title() == "doll - Vivarium", 10), g, f"title {g.title()!r} when it goes on")
    g.x.do("key", "ctrl+alt+g")
    must(until(lambda: "Ctrl-Alt-G to release" in g.title(), 10), g, f"title {g.title()!r} with a grab")
    g.x.do("key", "ctrl+alt+g")
    must(until(lambda: g.title() == "doll - Vivarium", 10), g, f"title {g.title()!r} without one")
    print("ok: the title says paused and grabbed")


def sizes(g):
    _, _, w, h = g.area()
    header = g.header()
    g.x.do("windowsize", "--sync", g.window, 2 * w, 2 * h + header)
    g.height = 2 * h
    must(until(lambda: g.area()[2:] == (2 * w, 2 * h), 10), g, f"the window is {g.area()}")
    x, y, _, _ = g.area()
    doubled = [x + 200, y + 201]
    if g.kind == "gtk":  # the picture keeps its size, in the middle
        doubled = [x + w // 2 + 100, y + h // 2 + 100]

    def orange():  # the line that the guest has drawn; a pixel is mixed with those beside it
        have = g.x.show(*doubled, 1, 1)
        return all(abs(a - b) < 16 for a, b in zip(have, b"\xff\x80\x40"))
    must(until(orange, 10), g, "the line is not where it is in twice the size")
    g.x.do("key", "ctrl+alt+u")
    g.height = h
    must(until(lambda: g.area()[2:] == (w, h), 10) and g.same(), g, "Ctrl-Alt-U does not bring its own size back")
    for key, _ in ("equal", "larger"), ("0", "its own"):
        g.x.do("key", "ctrl+alt+" + key)
        g.height = h if key == "0" else h * 5 // 4
        must(until(lambda: g.area()[2:] == (w * g.height // h, g.height), 10), g, f"Ctrl-Alt-{key}: the window is {g.area()}")
    print("ok: twice the size, and its own")


def start_mouse(g):
    """What the PS/2 mouse says comes on the serial port from here on."""
    g.read(0.5)
    g.mark = len(g.log)
    hmp(g.q, "o /b 0x64 0xa8")
    hmp(g.q, "o /b 0x64 0xd4")
    hmp(g.q, "o /b 0x60 0xf4")
    g.codes(b"\xfa")


def mouse(g):
    start_mouse(g)
    x, y, w, h = g.area()
    g.point(x + w // 2, y + h // 2)
    g.x.do("click", 1)
    must(until(lambda: "to release" in g.title(), 10), g, "a click does not take the pointer")
    g.read(0.5)
    g.mark = len(g.log)
    g.x.do("mousedown", 1)
    g.codes(b"\x09\0\0")
    g.x.do("key", "ctrl+alt+g")
    must(b"\x08\0\0" in g.read(0.5), g, f"a button stays down without a grab: {g.read(0).hex()}")
    g.x.do("mouseup", 1)
    print("ok: a click takes the pointer; what is held when it is given back is let go")


def other_pointer(g):
    """The guest's tablet comes up while its mouse has the pointer: what is beside the window can be clicked again. And back."""
    mice = {"Tablet" in line: line.split("#")[1].split(":")[0] for line in hmp(g.q, "info mice").splitlines()}
    x, y, w, h = g.area()
    hmp(g.q, f"mouse_set {mice[False]}")
    for tablet in True, False:
        g.point(x + w // 2, y + h // 2)
        g.x.do(*(("key", "ctrl+alt+g") if not tablet else ("click", 1)))
        must(until(lambda: "to release" in g.title(), 10), g, "there is no grab")
        hmp(g.q, f"mouse_set {mice[tablet]}")
        must(until(lambda: g.title() == "doll - Vivarium", 10), g, f"title {g.title()!r} with another pointer, {tablet}")
    print("ok: a pointer of another kind ends the grab")


def unseen(g):
    """A window that goes and comes again."""
    g.x.do("key", "ctrl+alt+g")
    must(until(lambda: "to release" in g.title(), 10), g, "there is no grab")
    g.x.do("windowunmap", "--sync", g.window)
    g.x.do("windowmap", "--sync", g.window)
    must(until(lambda: g.title() == "doll - Vivarium", 10), g, f"title {g.title()!r} of a window that came again")
    g.x.do("windowfocus", "--sync", g.window)
    print("ok: a window that is not seen holds nothing")


def stalls(g):
    """The X server stands still for five seconds."""
    g.mark = len(g.log)
    os.kill(g.x.p.pid, signal.SIGSTOP)
    worst, end = 0, time.monotonic() + 5
    n = 0
    while time.monotonic() < end:
        start = time.monotonic()
        g.q.cmd("send-key", keys=[{"type": "qcode", "data": "q"}], **{"hold-time": 1})
        n += 1
        must(until(lambda: g._pump(0.01) and len(g.log) - g.mark >= 2 * n, 10), g, f"key {n} does not come while the X server stands still")
        worst = max(worst, time.monotonic() - start)
    os.kill(g.x.p.pid, signal.SIGCONT)
    must(n > 20 and worst < 2 * vm.SLOW, g, f"{n} keys in 5 s, the slowest took {worst:.2f} s")
    must(g.same(), g, "the window is not right when the X server goes on")
    print(f"ok: the X server stopped for 5 s: {n} keys went through meanwhile, the slowest in {worst * 1000:.0f} ms")


def close(g):
    subprocess.run([sys.executable, "-c", CLOSE, g.window], env=g.x.env, check=True)


# WM_DELETE_WINDOW, which xdotool cannot send. Xlib by hand, as python3-xlib need not be there.
CLOSE = """
import ctypes, sys
x = ctypes.CDLL("libX11.so.6")
x.XOpenDisplay.restype = ctypes.c_void_p
x.XInternAtom.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
x.XInternAtom.restype = ctypes.c_ulong
class Message(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("send", ctypes.c_int), ("display", ctypes.c_void_p),
                ("window", ctypes.c_ulong), ("kind", ctypes.c_ulong), ("format", ctypes.c_int), ("data", ctypes.c_long * 5), ("pad", ctypes.c_long * 20)]
d = x.XOpenDisplay(None)
w = int(sys.argv[1])
m = Message(33, 0, 1, d, w, x.XInternAtom(d, b"WM_PROTOCOLS", 0), 32, (ctypes.c_long * 5)(x.XInternAtom(d, b"WM_DELETE_WINDOW", 0), 0))
x.XSendEvent.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
x.XSendEvent(d, w, 0, 0, ctypes.byref(m))
x.XSync(ctypes.c_void_p(d), 0)
"""


def closing(work, x, kind, image):
    with Machine(work, x, kind, image) as g:
        close(g)
        must(g.wait(20) == 0, g, "closing the window does not end it well")
    for options, args in ((",window-close=off", ()), ("", ("-no-quit",))):
        with Machine(work, x, kind, image, options, args) as g:
            close(g)
            time.sleep(1)
            must(hmp(g.q, "info status").startswith("VM status: running"), g, "window-close=off")
            g.q.cmd("quit")
            must(g.wait(20) == 0, g, "quit")
    print("ok: closing the window ends the machine, unless window-close=off or -no-quit")


def menu(work, x, image):
    """Pause and Reset do what stop and system_reset do: not to a machine that waits for its state."""
    with Machine(work, x, "gtk", image, args=("-incoming", "defer")) as g:
        for keys, said in (("Down", "Return"), None), (("Down", "Down", "Return"), "in state 'inmigrate'"):
            left, top, _, _ = g.x.geometry(g.window)
            g.x.do("mousemove", left + 20, top + 10, "click", 1)
            time.sleep(1)
            g.x.do("key", *keys)
            must(not said or until(lambda: g._pump(0.1) and said in g.text, 20), g, f"the menu's answer is {g.text!r}")
            time.sleep(0 if said else 1)
            must(g.q.cmd("query-status")["status"] == "inmigrate", g, f"after {keys} in the menu it is {g.q.cmd('query-status')}")
        g.q.cmd("quit")
        must(g.wait(20) == 0, g, "quit")
    print("ok: the menu does nothing to a machine that waits for its state")


def server_ends(work, kind, image):
    """The guest goes on without its window, and with no key held."""
    x = desktop.Screen(work, "us")
    with Machine(work, x, kind, image) as g:
        pictures(g)
        g.mark = len(g.log)
        x.do("keydown", "shift")
        g.codes(b"\x2a")
        x.p.kill()
        must(until(lambda: b"\xaa" in g.read(0.1), 10), g, "a key stays down")
        g.q.cmd("send-key", keys=[{"type": "qcode", "data": "q"}])
        must(until(lambda: g.read(0.1).endswith(b"\x10\x90"), 10), g, "the guest does not go on")
        g.q.cmd("quit")
        must(g.wait(30) == 0, g, "quit without an X server")
    print("ok: the X server ends, the guest does not")


def nowhere(work, x, kind):
    """No server answers."""
    env = dict(x.env, DISPLAY=":12345", WAYLAND_DISPLAY=f"{work}/nobody", XDG_RUNTIME_DIR=work)
    p = subprocess.run(vm.emulator() + ["-M", "pc", "-m", "64M", "-accel", "interp", "-S", "-serial", "null", "-display", kind],
                       env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60 * vm.SLOW)
    if p.returncode != 1 or f"-display {kind}: " not in p.stderr or "is there a desktop" not in p.stderr:
        vm.fail(f"without a display: status {p.returncode}, {p.stderr}")
    print("ok: no display, no window")


def quiet(work, x, kind):
    """Libraries look for their caches and settings behind the sandbox: that is no news."""
    env = dict(x.env, HOME=work)
    p = subprocess.Popen(vm.emulator() + ["-M", "pc", "-m", "64M", "-accel", "interp", "-sandbox", "on", "-S", "-serial", "null", "-display", kind,
                                          "-name", "silent", "-monitor", "stdio"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    seen = until(lambda: x.window("silent"), 20)
    time.sleep(1)
    said = p.communicate("quit\n", timeout=60 * vm.SLOW)[1]
    if not seen or p.returncode or "does not open" in said:
        vm.fail(f"window {seen}, status {p.returncode}: {said}")
    print("ok: the sandbox is silent about what libraries look for")


def compositors(work, x, image):
    """A desktop with Wayland and Xwayland: GTK would end the machine with the compositor, so it takes the X server."""
    env = dict(x.env)
    x.env["XDG_RUNTIME_DIR"] = work
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{work}/wayland")
    listener.listen()
    listener.setblocking(False)
    x.env["WAYLAND_DISPLAY"] = f"{work}/wayland"
    with Machine(work, x, "gtk", image) as g:
        g.q.cmd("quit")
        must(g.wait(20) == 0, g, "quit")
        try:
            listener.accept()
            g.die("GTK asks the compositor, not the X server")
        except BlockingIOError:
            pass
    listener.close()
    x.env = env
    print("ok: GTK takes the X server of a desktop with Wayland")


def wayland(work, kind, image):
    """A compositor in a window of Xvfb, where there is one: the mouse reaches the edges; when it ends, SDL goes on."""
    if not shutil.which("weston"):
        return
    x = desktop.Screen(work, "us")
    words = ["weston", "--backend=x11-backend.so", "--shell=kiosk-shell.so", "--use-pixman", "--no-config", "--socket=wayland", "--width=800", "--height=600"]
    x.env["XDG_RUNTIME_DIR"] = work
    log = f"{work}/weston"
    server = subprocess.Popen(words, env=x.env, stdin=subprocess.DEVNULL, stdout=open(log, "wb"), stderr=subprocess.STDOUT)
    try:
        if not until(lambda: x.window("weston", "--class"), 20):
            vm.fail(f"weston has no window: {open(log).read()}")
        x.env.update(WAYLAND_DISPLAY="wayland", GDK_BACKEND="wayland", SDL_VIDEODRIVER="wayland")
        with Machine(work, x, kind, image, window=("weston", "--class")) as g:
            g.expect("A", 60)
            g.send("x")
            g.expect("B", 20)
            start_mouse(g)
            left, top, w, h = x.geometry(g.window)
            g.point(left + w // 2, top + h // 2)
            x.do("click", 1)
            g.read(1)
            for part in 0.4, 0.9:
                g.point(left + int(w * part), top + h // 2)
                g.read(0.5)
                g.mark = len(g.log)
                for step in range(1, 11):
                    g.point(left + int(w * part) + 5 * step, top + h // 2)
                must(g.moved() == 50, g, f"at {part} of the window the guest's mouse goes {g.moved()}, not 50")
            if kind == "sdl":
                g.mark = len(g.log)
                x.do("keydown", "shift")
                g.codes(b"\x2a")
                server.terminate()
                must(until(lambda: b"\xaa" in g.read(0.1), 10), g, "a key stays down")
            g.q.cmd("quit")
            must(g.wait(30) == 0, g, "quit")
    finally:
        server.kill()
        server.wait()
    print("ok: Wayland")


def by_default(work, x):
    """A window where nobody named one: -display default with options, and an adapter that is no VGA."""
    cases = ((["-display", "default,show-cursor=on,gl=on"], ["has no effect: there is no OpenGL", "the screen is a window"]),
             (["-vga", "none", "-device", "virtio-gpu-pci"], ["the screen is a window"]))
    for args, lines in cases:
        p = subprocess.Popen(vm.emulator() + ["-M", "pc", "-m", "64M", "-accel", "interp", "-S", "-serial", "null", "-name", "unnamed", "-monitor", "stdio"] + args,
                             env=dict(x.env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        seen = until(lambda: x.window("unnamed"), 20)
        said = p.communicate("quit\n", timeout=60 * vm.SLOW)[1].splitlines()
        if not seen or p.returncode or len(said) != len(lines) or not all(want in line for want, line in zip(lines, said)):
            vm.fail(f"{args}: window {seen}, status {p.returncode}: {said}")
    print("ok: a window by default")


def default_on_wayland(work, x):
    """With Wayland alone SDL is asked first; nobody answers, so the screen goes to VNC."""
    env = dict(x.env, WAYLAND_DISPLAY=f"{work}/nobody", XDG_RUNTIME_DIR=work)
    del env["DISPLAY"]
    with open(f"{work}/alone", "w+") as log:
        p = subprocess.Popen(vm.emulator() + ["-M", "pc", "-m", "64M", "-accel", "interp", "-serial", "null", "-S",
                                              "-qmp", f"unix:{work}/alone-qmp,server=on,wait=off"],
                             env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            vm.QMP(f"{work}/alone-qmp", 60 * vm.SLOW).cmd("quit")
            said = p.wait(30), open(log.name).read()
        finally:
            p.kill()
            p.wait()
    if said[0] or "-display sdl: " not in said[1]:
        vm.fail(f"with Wayland alone: {said}")
    print("ok: Wayland alone is left to SDL")


def late(work):
    """A desktop that answers after half a minute: the machine runs on without its window, which is not left there."""
    x = desktop.Screen(work, "us")
    os.kill(x.p.pid, signal.SIGSTOP)
    env = dict(os.environ)
    env.update(x.env)
    with open(f"{work}/late", "w+") as log:
        p = subprocess.Popen(vm.emulator() + ["-M", "pc", "-m", "64M", "-accel", "interp", "-name", "tardy", "-serial", "null", "-S",
                                              "-qmp", f"unix:{work}/late-qmp,server=on,wait=off"],
                             env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            q = vm.QMP(f"{work}/late-qmp", 60 * vm.SLOW)
            os.kill(x.p.pid, signal.SIGCONT)
            end = time.monotonic() + 5
            while time.monotonic() < end:  # it may be there for a moment
                x.do("mousemove", 700, 450, "click", 1, "key", "a")
                time.sleep(0.1)
            if not until(lambda: not x.window("tardy"), 20):
                vm.fail("the window of a machine that has gone without it is there")
            if q.cmd("query-status")["status"] != "prelaunch" or p.poll() is not None:
                vm.fail(f"it has ended: {open(log.name).read()}")
            q.cmd("quit")
            if p.wait(30):
                vm.fail(f"status {p.returncode}: {open(log.name).read()}")
        finally:
            p.kill()
            p.wait()
    print("ok: a desktop that answers late")


def main():
    kind = sys.argv[1]
    work = vm.scratch()
    listed = subprocess.run(vm.emulator() + ["-display", "help"], stdout=subprocess.PIPE, text=True).stdout.split()
    if kind not in listed:
        vm.skip(f"viv-vm was built without {kind}")
    image = vga_guest.kernel(work)
    x = desktop.Screen(work, "us")
    with Machine(work, x, kind, image) as g:
        pictures(g)
        keys(g)
        consoles(g)
        titles(g)
        sizes(g)
        mouse(g)
        unseen(g)
        stalls(g)
    with Machine(work, x, kind, image, args=("-usbdevice", "tablet")) as g:
        other_pointer(g)
    closing(work, x, kind, image)
    if kind == "gtk":
        menu(work, x, image)
        by_default(work, x)
        compositors(work, x, image)
    else:
        default_on_wayland(work, x)
    nowhere(work, x, kind)
    quiet(work, x, kind)
    server_ends(work, kind, image)
    wayland(work, kind, image)
    if kind == "gtk":  # the kind that is taken when none is named
        late(work)


main()
