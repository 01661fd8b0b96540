#!/usr/bin/env python3
"""SDL and GTK windows under Xvfb with a Linux guest: text typed with xdotool and read back from the guest's text console, by key codes and by
what keys mean (-k), on two layouts; the pointer goes to pixels, and the guest's tablet says where it is. window_guest.py [sdl] [gtk]"""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import clients  # noqa: E402
import desktop  # noqa: E402
import vm  # noqa: E402

# Without characters that are dead keys there, for which xdotool would change the keyboard.
GERMAN = "Zwölf Boxkämpfer: ÄÖÜäöüß @{[]}\\|<>#'+*!\"§$%&/()=?,.-;:_ 0123456789 yzYZ"
CASES = [("us", "en-us", None, clients.ASCII), ("de", "de", None, GERMAN), ("de", "de", "de", GERMAN)]  # of X, of the guest, of -k


class Window:
    def __init__(self, x, kind):
        self.x, self.name = x, kind
        desktop.until(lambda: x.window(), 30)
        self.window = x.window()
        self.height = None
        x.do("windowmove", "--sync", self.window, 0, 0)  # what Linux draws is larger than what the BIOS does

    def area(self):
        x, y, w, h = self.x.geometry(self.window)
        top = h - self.height if self.name == "gtk" and self.height else 0  # the menu bar
        return x, y + top, w, h - top

    def show(self):
        self.x.do("mousemove", 1399, 899)
        time.sleep(0.2)
        x, y, w, h = self.area()
        return w, h, self.x.show(x, y, w, h) if x + w <= 1400 and y + h <= 900 else b""

    def type(self, text):
        self.x.do("windowfocus", "--sync", self.window)
        self.x.do("type", "--delay", "60", text)
        self.x.do("key", "Return")

    def move(self, x, y):
        left, top, _, _ = self.area()
        self.x.do("mousemove", left + x, top + y)


def run(work, kind, case):
    xkb, layout, named, text = case
    model = clients.LAYOUTS[layout][0]
    keymap = os.path.join(work, f"{layout}.map")
    subprocess.run(f"ckbcomp -model {model} -layout {xkb} 2>/dev/null | loadkeys -u -b - > {keymap}", shell=True, check=True)
    x = desktop.Screen(work, xkb)
    name = f"{kind}-{layout}{'-k' if named else ''}"
    args = ["-M", "pc", "-m", "256M", "-nodefaults", "-serial", "stdio", "-no-reboot", "-vga", "std", "-usbdevice", "tablet", "-display", kind,
            *(["-k", named] if named else []), "-kernel", vm.kernel("generic"), "-initrd",
            vm.initramfs(clients.SCRIPT.replace("LAYOUT", layout), clients.MODULES, files=[f"{keymap}:keymap"], arch="generic"),
            "-append", "console=ttyS0 panic=-1 quiet", "-qmp", f"unix:{work}/{name},server=on,wait=off"]
    before = dict(os.environ)
    os.environ.update(x.env)
    g = vm.Guest(args, name)
    os.environ.clear()
    os.environ.update(before)
    with g:
        q = vm.QMP(f"{work}/{name}")
        window = Window(x, kind)
        g.expect(r"^ready", 200)
        time.sleep(1)
        size = q.picture(f"{work}/p")[:2]
        window.height = size[1]
        clients.same_picture(g, q, work, window)
        clients.typed(g, window, text)
        if layout == "en-us":
            clients.pointed(g, window, size)
        clients.same_picture(g, q, work, window)
        print(f"ok: {name}: {len(text)} characters{', the pointer' if layout == 'en-us' else ''}, the picture", flush=True)
        g.send("end\n")
        g.wait(60)
    x.close()


def main():
    vm.need("loadkeys", "ckbcomp")
    work = vm.scratch()
    listed = subprocess.run(vm.emulator() + ["-display", "help"], stdout=subprocess.PIPE, text=True).stdout.split()
    for kind in sys.argv[1:] or ["sdl", "gtk"]:
        if kind not in listed:
            vm.skip(f"viv-vm was built without {kind}")
        for case in CASES:
            run(work, kind, case)


main()
