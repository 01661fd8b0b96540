#!/usr/bin/env python3
"""The process around the machine: -daemonize, -pidfile, monitors on sockets and terminals, Ctrl-A, names it is called by,
signals, exit statuses."""
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

MULTIBOOT = (0x1BADB002).to_bytes(4, "little") + (0x00010000).to_bytes(4, "little") + \
    ((-(0x1BADB002 + 0x00010000)) & 0xFFFFFFFF).to_bytes(4, "little") + \
    b"".join(v.to_bytes(4, "little") for v in (0x100000, 0x100000, 0, 0, 0x100020))
# mov dx,0x3f8; mov al,'K'; out; in/echo loop: polls LSR (3FDh) bit 0, echoes what came. exit code through port F4h.
ECHO = bytes.fromhex("ba f8030000 b0 4b ee") + bytes.fromhex("ba fd030000 ec a8 01 74 f6 ba f8030000 ec ee 3c 71 75 eb"
                                                             " ba f4000000 b8 10000000 ef f4 eb fd")


def check(what, ok):
    if not ok:
        vm.fail(what)


def read_until(fd, want, timeout=20):
    data = b""
    end = time.monotonic() + timeout
    while want not in data:
        left = end - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            vm.fail(f"'{want}' did not come, but {data}")
        try:
            more = os.read(fd, 4096)
        except OSError:
            more = b""
        if not more:
            vm.fail(f"ended before '{want}': {data}")
        data += more
    return data


def base(kernel):
    return vm.emulator() + ["-accel", "interp", "-m", "16", "-kernel", kernel, "-nic", "none"]


def terminal(kernel, extra, talk):
    """Runs on a pseudo-terminal; talk(fd, p) drives it; returns exit status. The terminal must be as before."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    p = subprocess.Popen(base(kernel) + extra, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                         preexec_fn=lambda: __import__("fcntl").ioctl(0, termios.TIOCSCTTY, 0))
    try:
        talk(master, p)
        status = p.wait(20)
        check("terminal not restored", termios.tcgetattr(slave) == before)
        return status
    finally:
        p.kill()
        os.close(slave)
        os.close(master)


def nographic(fd, p):
    read_until(fd, b"K")
    os.write(fd, b"a\x03b")  # Ctrl-C is the guest's
    check("echo", b"a\x03b" in read_until(fd, b"b"))
    os.write(fd, b"\x01h")
    read_until(fd, b"C-a C-a  sends C-a")
    os.write(fd, b"\x01cinfo sta\t\r")  # completion
    read_until(fd, b"VM status: running")
    os.write(fd, b"\x1b[A\r")  # history
    read_until(fd, b"VM status: running")
    os.write(fd, b"stop\rinfo status\r")
    read_until(fd, b"VM status: paused")
    os.write(fd, b"cont\r\x01c")
    os.write(fd, b"z")
    read_until(fd, b"z")
    os.write(fd, b"\x01x")


def told_where_it_is(fd):
    said = read_until(fd, b"Ctrl-A H helps)")
    check(f"{said}: Ctrl-A X is not said", b"Ctrl-A X ends" in said)
    port = int(re.search(rb"the screen is at 127.0.0.1:(\d+)", said)[1])
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        check("no VNC server on the default screen", s.recv(12) == b"RFB 003.008\n")
    if b"K" not in said.split(b"H helps)")[1]:  # the guest's letter may come in the same read
        read_until(fd, b"K")


def ctrl_c(fd, p):
    read_until(fd, b"K")
    os.write(fd, b"\x03")


def daemon(work, kernel):
    pid_file = os.path.join(work, "pid")
    mon = os.path.join(work, "mon")
    args = base(kernel) + ["-daemonize", "-display", "none", "-pidfile", pid_file, "-monitor", f"unix:{mon},server,nowait",
                           "-serial", f"file:{work}/serial"]
    r = subprocess.run(args, capture_output=True, text=True, timeout=30, cwd=work)
    check(f"daemonize: {r}", r.returncode == 0)
    pid = int(open(pid_file).read())
    os.kill(pid, 0)
    check("the daemon's folder", os.readlink(f"/proc/{pid}/cwd") == "/")
    r = subprocess.run(args, capture_output=True, text=True, timeout=30, cwd=work)
    check(f"second with the pidfile: {r}", r.returncode == 1 and f"locked by process {pid}" in r.stderr)
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(mon)
    data = b""
    while b"(viv) " not in data:
        data += s.recv(4096)
    s.sendall(b"info name\nquit\n")
    end = time.monotonic() + 20
    while os.path.exists(pid_file):
        check("the daemon does not end", time.monotonic() < end)
        time.sleep(0.05)
    check("serial file", open(f"{work}/serial").read().startswith("K"))


def names(work, kernel):
    exe = vm.emulator()[0]
    for name, arg, want in (("qemu-system-x86_64", ["-M", "help"], "pc"), ("qemu-system-x86_64-microvm", ["-M", "help"], "microvm")):
        link = os.path.join(work, name)
        os.symlink(os.path.abspath(exe), link)
        r = subprocess.run([link] + arg, capture_output=True, text=True, timeout=20)
        check(f"{name}: {r}", r.returncode == 0 and want in r.stdout)
    link = os.path.join(work, "kvm")
    os.symlink(os.path.abspath(exe), link)
    r = subprocess.run([link, "-m", "16", "-kernel", kernel, "-display", "none", "-nic", "none", "-serial", "stdio", "-no-reboot",
                        "-device", "isa-debug-exit,iobase=0xf4,iosize=4"], input="q", capture_output=True, text=True, timeout=60)
    check(f"kvm: {r}", r.returncode == 33 and "K" in r.stdout)


def main():
    work = vm.scratch()
    kernel = os.path.join(work, "k")
    with open(kernel, "wb") as f:
        f.write(MULTIBOOT + ECHO + bytes(4096))
    exit_dev = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4,bus=isa.0"]
    check("Ctrl-A X", terminal(kernel, ["-nographic"], nographic) == 0)
    check("Ctrl-C on -serial stdio", terminal(kernel, ["-display", "none", "-serial", "stdio"], ctrl_c) == 0)
    check("no display", terminal(kernel, [], lambda fd, p: (told_where_it_is(fd),
                                                            os.write(fd, b"\x01x"))) == 0)
    r = subprocess.run(base(kernel) + ["-nodefaults", "-display", "none", "-serial", "stdio"] + exit_dev, input=b"hiq", timeout=30,
                       capture_output=True)
    check(f"isa-debug-exit: {r}", r.returncode == 33 and r.stdout == b"Khiq" and not r.stderr)
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        p = subprocess.Popen(base(kernel) + ["-display", "none", "-serial", "stdio"], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        read_until(p.stdout.fileno(), b"K")
        p.send_signal(sig)
        out, err = p.communicate(timeout=20)
        check(f"{sig}: {p.returncode} {err}", p.returncode == 0 and re.search(rb"terminating on signal \d+ .* from process", err))
    daemon(work, kernel)
    names(work, kernel)
    print("ok")


main()
