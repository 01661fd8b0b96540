#!/usr/bin/env python3
"""-display curses in a terminal of tmux: SeaBIOS and GRUB by what the terminal shows, keys typed into GRUB's command line, the monitor on
Alt-2, graphics, the terminal as it was at the end."""
import atexit
import os
import shlex
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vga_guest  # noqa: E402
import vm  # noqa: E402


class Terminal:
    def __init__(self, work):
        vm.need("tmux")
        self.words = ["tmux", "-S", f"{work}/tmux", "-f", "/dev/null"]
        self.do("new-session", "-d", "-x", "100", "-y", "40", "sh")
        atexit.register(self.do, "kill-server")

    def do(self, *words):
        return subprocess.run([*self.words, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              env=dict(os.environ, LC_ALL="C.UTF-8")).stdout

    def text(self):
        return self.do("capture-pane", "-p")

    def keys(self, *keys):
        self.do("send-keys", *keys)

    def type(self, text):
        self.do("send-keys", "-l", text)

    def wait(self, word, seconds=60):
        end = time.monotonic() + seconds * vm.SLOW
        while word not in self.text():
            if time.monotonic() > end:
                vm.fail(f"'{word}' is not on the terminal:\n{self.text()}")
            time.sleep(0.1)

    def run(self, *args):
        self.type(shlex.join(vm.emulator() + ["-M", "pc", "-m", "128M", "-accel", "xlate", "-display", "curses", "-nic", "none", *args]) + "; echo status $?-")
        self.keys("Enter")


def rescue(work):
    """GRUB's command line at once."""
    vm.need("grub-mkrescue", "xorriso", "mformat")
    os.makedirs(f"{work}/iso/boot/grub")
    with open(f"{work}/iso/boot/grub/grub.cfg", "w") as f:
        f.write("set timeout=-1\nmenuentry 'an entry' {\n  echo ENTRY-CHOSEN\n  sleep --interruptible 1000\n}\n")
    p = subprocess.run(["grub-mkrescue", "-o", f"{work}/cd.iso", "--modules=biosdisk iso9660", "-d", "/usr/lib/grub/i386-pc", f"{work}/iso"],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        vm.skip(f"grub-mkrescue: {p.stdout[-300:]}")


def grub(t, work):
    t.run("-cdrom", f"{work}/cd.iso", "-boot", "d")
    t.wait("SeaBIOS (version")
    t.wait("an entry")
    must_have(t, "┌", "└", "│", "─")
    print("ok: SeaBIOS, and GRUB's menu with its frame")
    t.keys("c")
    t.wait("grub>")
    t.type("echo Some_Text-[42] | {x}; echo")
    t.keys("BSpace", "BSpace", "BSpace", "BSpace")
    t.wait("grub> echo Some_Text-[42] | {x};")
    t.keys("C-a")
    t.type("echo ")
    t.wait("grub> echo echo Some_Text")
    t.keys("C-u")
    t.keys("Escape")
    t.wait("an entry")
    t.keys("Enter")
    t.wait("ENTRY-CHOSEN")
    print("ok: text with shift and Ctrl typed into GRUB, Escape, Enter")


def monitor(t):
    t.keys("M-2")
    t.wait("(viv)")
    t.type("info status")
    t.keys("Enter")
    t.wait("VM status: running")
    t.keys("Up")
    t.wait("(viv) info status\n")
    t.keys("C-c", "M-1")
    t.wait("ENTRY-CHOSEN")
    t.do("resize-window", "-x", "60", "-y", "10")
    time.sleep(1)
    t.do("resize-window", "-x", "100", "-y", "40")
    t.wait("ENTRY-CHOSEN")
    t.keys("M-2")
    t.wait("(viv)")
    t.keys("C-u")
    t.type("quit")
    t.keys("Enter")
    t.wait("status 0-")
    t.type("echo as it $((40 + 2)) was")
    t.keys("Enter")
    t.wait("as it 42 was")
    print("ok: the monitor on Alt-2, another size of the terminal, the terminal at the end")


def graphics(t, image):
    t.do("send-keys", "clear", "Enter")
    t.run("-nodefaults", "-vga", "std", "-monitor", "vc", "-kernel", image)
    t.wait("640 x 480 Graphic mode")
    t.keys("M-2")
    t.wait("(viv)")
    t.type("quit")
    t.keys("Enter")
    t.wait("status 0-")
    print("ok: graphics are said")


def refused():
    r = subprocess.run(vm.emulator() + ["-display", "curses"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if r.returncode != 1 or "no terminal" not in r.stderr:
        vm.fail(f"without a terminal: {r}")
    r = subprocess.run(vm.emulator() + ["-display", "curses", "-serial", "stdio"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if r.returncode != 1 or "has this terminal" not in r.stderr:
        vm.fail(f"-serial stdio beside it: {r}")
    print("ok: what cannot be is told")


def must_have(t, *words):
    text = t.text()
    for w in words:
        if w not in text:
            vm.fail(f"'{w}' is not on the terminal:\n{text}")


def main():
    listed = subprocess.run(vm.emulator() + ["-display", "help"], stdout=subprocess.PIPE, text=True).stdout.split()
    if "curses" not in listed:
        vm.skip("viv-vm was built without curses")
    work = vm.scratch()
    rescue(work)
    refused()
    t = Terminal(work)
    grub(t, work)
    monitor(t)
    graphics(t, vga_guest.kernel(work))


main()
