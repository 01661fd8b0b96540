#!/usr/bin/env python3
"""-sandbox, -runas, -chroot with whole machines: what monitors, disks, sockets and scripts still do, and how the two processes end."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

IMG = vm.tool("viv-img")
BASE = ["-m", "16", "-accel", "interp", "-nodefaults", "-display", "none", "-S"]


def check(what, ok):
    if not ok:
        vm.fail(what)


def until(what, test, seconds=20):
    end = time.monotonic() + seconds * vm.SLOW
    while not test():
        check(what, time.monotonic() < end)
        time.sleep(0.02)


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def broker(pid):
    for p in os.listdir("/proc"):
        try:
            text = open(f"/proc/{p}/status").read()
        except OSError:
            continue
        if re.search(rf"^PPid:\t{pid}$", text, re.M) and "Name:\tviv-broker" in text:
            return int(p)
    vm.fail(f"process {pid} has no broker")


class Machine:
    def __init__(self, work, *args, sandbox="on"):
        self.path = os.path.join(work, "qmp")
        self.log = open(os.path.join(work, "log"), "w+")
        self.p = subprocess.Popen(vm.emulator() + ["-sandbox", sandbox] + BASE + ["-qmp", f"unix:{self.path},server=on,wait=off", *args],
                                  cwd=work, stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.q = vm.QMP(self.path)

    def text(self):
        self.log.flush()
        return open(self.log.name).read()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.p.poll() is None:
            self.p.kill()
        self.p.wait()
        os.path.exists(self.path) and os.unlink(self.path)

    def cmd(self, name, **args):
        return self.q.cmd(name, **args)

    def refused(self, part, name, **args):
        s = self.q
        try:
            answer = s.cmd(name, **args)
        except Exception as e:  # noqa: BLE001
            check(f"{name}: wanted '{part}', got {e}", part in str(e))
            return
        vm.fail(f"{name} {args} gave {answer}")

    def hmp(self, line):
        return self.cmd("human-monitor-command", **{"command-line": line})

    def quit(self):
        try:
            self.cmd("quit")
        except Exception:  # noqa: BLE001
            pass
        check(f"status {self.p.wait(30)}: {self.text()}", self.p.returncode == 0)


def image(work, name, *more):
    path = os.path.join(work, name)
    subprocess.run([IMG, "create", "-q", "-f", "qcow2", *more, path, "1M"], check=True, cwd=work)
    return path


def files(work):
    """Disks that come later with their backing files, screens, saved states; what nobody named stays shut."""
    image(work, "low.qcow2")
    image(work, "mid.qcow2", "-b", "low.qcow2", "-F", "qcow2")
    image(work, "first.qcow2", "-b", "mid.qcow2", "-F", "qcow2")
    for name in ("a disc.iso", "other.iso"):
        with open(os.path.join(work, name), "wb") as f:
            f.write(bytes(1 << 16))
    image(work, "base.qcow2")
    image(work, "top.qcow2", "-b", "base.qcow2", "-F", "qcow2")
    image(work, "comma,name.qcow2")
    os.mkdir(os.path.join(work, ".hidden"))
    image(work, ".hidden/disk.qcow2")
    with Machine(work, "-drive", "file=first.qcow2,if=none,id=d0,format=qcow2", "-device", "virtio-blk-pci,drive=d0",
                 "-device", "VGA", "-drive", "if=none,id=cd,media=cdrom", "-device", "ide-cd,drive=cd") as m:
        pid = broker(m.p.pid)
        seccomp = open(f"/proc/{m.p.pid}/status").read()
        check(f"no filter: {seccomp}", "Seccomp:\t2" in seccomp and "NoNewPrivs:\t1" in seccomp)
        check("the broker is confined", "Seccomp:\t0" in open(f"/proc/{pid}/status").read())
        for t in os.listdir(f"/proc/{m.p.pid}/task"):
            check(f"thread {t} goes without", "Seccomp:\t2" in open(f"/proc/{m.p.pid}/task/{t}/status").read())
        m.cmd("blockdev-add", driver="qcow2", **{"node-name": "n1"}, file={"driver": "file", "filename": f"{work}/top.qcow2"})
        m.cmd("blockdev-add", driver="qcow2", **{"node-name": "n2"}, file={"driver": "file", "filename": "comma,name.qcow2"})
        # Down the chain: an image that was opened for reading is opened again for writing.
        m.cmd("block-commit", **{"job-id": "c"}, device="d0", top="mid.qcow2", base="low.qcow2")
        until("the commit does not end", lambda: not m.cmd("query-block-jobs"))
        check(f"{m.q.events}", any(e["event"] == "BLOCK_JOB_COMPLETED" and "error" not in e["data"] for e in m.q.events))
        m.cmd("blockdev-mirror", **{"job-id": "m"}, device="d0", target="n2", sync="full")
        until("the mirror is not ready", lambda: any(j.get("ready") for j in m.cmd("query-block-jobs")))
        m.cmd("block-job-cancel", device="m")
        until("the mirror stays", lambda: not m.cmd("query-block-jobs"))
        out = m.hmp(f"change cd '{work}/a disc.iso'")
        check(f"change: {out}", "a disc.iso" in m.hmp("info block"))
        out = m.hmp(f"change cd {work}/other.iso")
        check(f"change: {out}", "other.iso" in m.hmp("info block"))
        port = vm.free_port()
        check("gdbserver", "rror" not in m.hmp(f"gdbserver tcp::{port}"))
        socket.create_connection(("127.0.0.1", port)).close()
        check("gdbserver none", "rror" not in m.hmp("gdbserver none"))
        out = m.hmp("netdev_add user,id=u0") + m.hmp(f"hostfwd_add u0 tcp:127.0.0.1:{port}-:22")
        check(f"netdev_add: {out}", "rror" not in out)
        m.cmd("nbd-server-start", addr={"type": "unix", "data": {"path": f"{work}/nbd"}})
        m.cmd("block-export-add", type="nbd", id="e", **{"node-name": "n1"})
        info = subprocess.run([vm.tool("viv-img"), "info", f"nbd+unix:///n1?socket={work}/nbd"], capture_output=True, text=True)
        check(f"an export: {info.stderr}", "virtual size" in info.stdout)
        m.cmd("nbd-server-stop")
        m.cmd("screendump", filename=f"{work}/screen.ppm")
        check("no screen", open(f"{work}/screen.ppm", "rb").read(2) == b"P6")
        m.refused("the sandbox does not open", "blockdev-add", driver="file", filename=f"{work}/.hidden/disk.qcow2", **{"node-name": "h"})
        m.refused("reaches nothing of the system's for writing", "screendump", filename="/usr/viv-screen.ppm")
        check("a file of the system", not os.path.exists("/usr/viv-screen.ppm"))
        out = m.hmp(f"pmemsave 0 4096 {work}/mem")
        check(f"pmemsave: {out}", os.path.getsize(f"{work}/mem") == 4096)
        out = m.hmp("savevm one")
        check(f"savevm: {out}", "rror" not in out and "one" in m.hmp("info snapshots"))
        m.cmd("migrate", uri=f"file:{work}/state")
        until("no saved state", lambda: os.path.exists(f"{work}/state") and os.path.getsize(f"{work}/state") > 1000)
        m.quit()
        until("the broker stays", lambda: not alive(pid))
    # A state that the command line names, loaded in the sandbox.
    with Machine(work, "-drive", "file=first.qcow2,if=none,id=d0,format=qcow2", "-device", "virtio-blk-pci,drive=d0",
                 "-device", "VGA", "-drive", "if=none,id=cd,media=cdrom", "-device", "ide-cd,drive=cd", "-incoming", f"file:{work}/state") as m:
        check("not loaded", m.cmd("query-status")["status"] in ("paused", "inmigrate", "postmigrate", "prelaunch"))
        m.quit()


def addresses(work):
    """Network cards that come later: no two machines give the same address, and one that goes is given back."""
    def macs(m):
        return set(re.findall("52:54:00(?::[0-9a-f]{2}){3}", m.hmp("info network")))

    def fds(m):
        return len(os.listdir(f"/proc/{m.p.pid}/fd"))

    for sandbox in ("on", "off"):
        os.makedirs(f"{work}/{sandbox}")
        with Machine(work, sandbox=sandbox) as a, Machine(f"{work}/{sandbox}", sandbox=sandbox) as b:
            for m in (a, b):
                m.cmd("netdev_add", type="user", id="n")
                m.cmd("device_add", driver="e1000", netdev="n")
            check(f"{macs(a)}, {macs(b)}", len(macs(a)) == 1 and not macs(a) & macs(b))
            before = fds(a)
            for _ in range(20):
                m.refused("no back end", "device_add", driver="e1000", netdev="nope")
                m.refused("no back end", "device_add", driver="virtio-net-pci", netdev="nope")
            check(f"sandbox={sandbox}: of {before} descriptors came {fds(a)}", fds(a) == before)
            a.quit()
            b.quit()


def sockets(work):
    """A chardev that connects again, and one that listens; their paths go with the machine."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"{work}/peer")
    server.listen(2)
    server.settimeout(30)
    with Machine(work, "-chardev", "socket,id=a,path=peer,reconnect=1", "-serial", "chardev:a",
                 "-chardev", "socket,id=b,path=listen,server=on,wait=off", "-serial", "chardev:b") as m:
        for _ in range(3):
            conn, _ = server.accept()
            conn.close()
        c = socket.socket(socket.AF_UNIX)
        c.connect(f"{work}/listen")
        m.refused("", "object-add", **{"qom-type": "nothing-like-it", "id": "x"})
        m.quit()
        check("a socket stays", not os.path.exists(f"{work}/listen"))


def ends(work):
    """Neither process outlives the other."""
    with Machine(work) as m:
        pid = broker(m.p.pid)
        m.p.kill()
        m.p.wait()
        until("kill -9 leaves the broker", lambda: not alive(pid))
    image(work, "end.qcow2")
    with Machine(work, "-drive", "file=end.qcow2,if=none,id=d0") as m:
        os.kill(broker(m.p.pid), signal.SIGKILL)
        check(f"status {m.p.wait(30)}", m.p.returncode == 1)
        check(m.text(), "viv-broker) was ended: the machine stops" in m.text())
    with Machine(work) as m:
        pid = broker(m.p.pid)
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # as a terminal and a service manager send them: to both
            os.kill(pid, s)
        time.sleep(0.1)
        check("a signal ended the broker", alive(pid))
        m.p.send_signal(signal.SIGTERM)
        check(f"status {m.p.wait(30)}", m.p.returncode == 0)
        until("SIGTERM leaves the broker", lambda: not alive(pid))


def holders(work):
    """Who keeps an image locked is named, though the process may not look into /proc: one VM another's disk, and itself."""
    image(work, "a.qcow2")
    image(work, "b.qcow2")
    os.mkdir(f"{work}/other")
    with Machine(f"{work}/other", "-drive", f"if=none,id=d,file={work}/a.qcow2,format=qcow2") as other, \
            Machine(work, "-drive", "if=none,id=d,file=b.qcow2,format=qcow2") as m:
        for disk, who in (("a", rf"process {other.p.pid} \(\S*viv-vm "), ("b", "this process itself")):
            said = m.hmp(f"drive_add 0 if=none,id=x,file={disk}.qcow2,format=qcow2")
            check(f"{disk}: {said}", re.search(f"lock: {who}", said))
        check(m.text(), "/proc" not in m.text())


def shares(work):
    """A folder whose device comes later."""
    os.mkdir(f"{work}/shared")
    with Machine(work, "-fsdev", "local,id=f,path=shared,security_model=none") as m:
        m.cmd("device_add", driver="virtio-9p-pci", fsdev="f", mount_tag="x", id="s")
        m.quit()


def daemon(work):
    """-daemonize: nobody holds the terminal; -pidfile names the machine and is gone at its end."""
    p = subprocess.run(vm.emulator() + ["-sandbox", "on"] + BASE + ["-daemonize", "-pidfile", "pid", "-monitor", "unix:mon,server=on,wait=off",
                                                                    "-serial", "unix:later,reconnect=1"],
                       cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=60 * vm.SLOW)
    check(f"-daemonize: {p.stdout}", p.returncode == 0)
    pid = int(open(f"{work}/pid").read())
    check("not alive", alive(pid))
    other = broker(pid)
    for n in (pid, other):
        for fd in (0, 1, 2):
            check(f"{n} holds {fd}", os.readlink(f"/proc/{n}/fd/{fd}") == "/dev/null")
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"{work}/later")  # named from where it was started
    server.listen(1)
    server.settimeout(20 * vm.SLOW)
    server.accept()[0].close()
    os.kill(pid, signal.SIGTERM)
    until("does not end", lambda: not alive(pid) and not alive(other))
    check("pidfile stays", not os.path.exists(f"{work}/pid"))
    check("socket stays", not os.path.exists(f"{work}/mon"))


def user(work):
    """-runas, -chroot: both processes."""
    if os.geteuid():
        return
    os.chmod(work, 0o777)
    os.mkdir(f"{work}/root", 0o755)
    for sandbox in ("on", "off"):
        with Machine(work, "-runas", "12345:23456", "-chroot", f"{work}/root", sandbox=sandbox) as m:
            m.cmd("query-status")
            for n in [m.p.pid] + ([broker(m.p.pid)] if sandbox == "on" else []):
                text = open(f"/proc/{n}/status").read()
                check(f"{n}: {text}", re.search(r"^Uid:\t12345\t12345\t12345", text, re.M) and re.search(r"^Gid:\t23456", text, re.M))
                check("groups", re.search(r"^Groups:\t23456 ?$", text, re.M))
                check(f"root of {n}", os.readlink(f"/proc/{n}/root") == os.path.realpath(f"{work}/root"))
            m.p.terminate()
            m.p.wait(30)


def shut_out(work):
    """-daemonize with -chroot, which has neither /dev/null nor the pid file: that one and the sockets go at the end all the same."""
    if os.geteuid():
        return
    os.mkdir(f"{work}/root", 0o755)
    for sandbox in ("on", "off"):
        p = subprocess.run(vm.emulator() + ["-sandbox", sandbox] + BASE + ["-daemonize", "-chroot", f"{work}/root", "-pidfile", "pid", "-monitor",
                                                                           "unix:mon,server=on,wait=off"],
                           cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=60 * vm.SLOW)
        check(f"-daemonize -chroot: {p.stdout}", p.returncode == 0)
        pid = int(open(f"{work}/pid").read())
        for n in [pid] + ([broker(pid)] if sandbox == "on" else []):
            for fd in (0, 1, 2):
                check(f"{n} holds {fd}", os.readlink(f"/proc/{n}/fd/{fd}") == "/dev/null")
        os.kill(pid, signal.SIGTERM)
        until("does not end", lambda: not alive(pid))
        until("pidfile stays", lambda: not os.path.exists(f"{work}/pid"))
        check("socket stays", sandbox == "off" or not os.path.exists(f"{work}/mon"))
        os.path.exists(f"{work}/mon") and os.unlink(f"{work}/mon")


def shut_in(work):
    """A shared folder's files are opened by /proc, which a new root has not."""
    if os.geteuid():
        return
    os.mkdir(f"{work}/root", 0o755)
    for sandbox in ("on", "off"):
        p = subprocess.run(vm.emulator() + ["-sandbox", sandbox] + BASE + ["-virtfs", f"local,path={work},mount_tag=t,security_model=none", "-chroot",
                                                                           f"{work}/root", "-monitor", "stdio"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, input="quit\n", text=True, timeout=60 * vm.SLOW)
        check(f"-virtfs -chroot: {p.stdout}", p.returncode == 1 and "needs /proc" in p.stdout)


def unconnected(work):
    """No UNIX socket that is neither connected nor listens: who took the process over could connect it to anybody's."""
    with Machine(work, "-netdev", "user,id=n", "-device", "e1000,netdev=n", "-chardev", "socket,id=c,path=listen,server=on,wait=off",
                 "-serial", "chardev:c") as m:
        inodes = set()
        for fd in os.listdir(f"/proc/{m.p.pid}/fd"):
            found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{m.p.pid}/fd/{fd}"))
            inodes |= {found.group(1)} if found else set()
        seen = 0
        for line in open("/proc/net/unix").read().splitlines()[1:]:
            _, _, _, flags, kind, state, inode = line.split()[:7]
            if inode in inodes:
                seen += 1
                check(f"an open socket: {line}", kind != "0002" and (state == "03" or int(flags, 16) & 0x10000))
        check(f"{seen} sockets", seen >= 3)
        m.quit()


def programs(work):
    """guestfwd= that starts programs or connects by itself later goes without the sandbox, and says so."""
    p = subprocess.run(vm.emulator() + ["-sandbox", "on"] + BASE + ["-netdev", "user,id=n,guestfwd=tcp:10.0.2.100:1-cmd:cat"], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=60 * vm.SLOW)
    check(f"guestfwd: {p.stdout}", p.returncode == 1 and "guestfwd" in p.stdout and "-sandbox off" in p.stdout)
    with Machine(work) as m:
        out = m.hmp("netdev_add user,id=n,guestfwd=tcp:10.0.2.100:1-cmd:cat")
        check(f"netdev_add: {out}", "guestfwd" in out and "-sandbox off" in out)
        m.quit()


def words():
    for args, part in ([["-sandbox", "onn"], "enable"], [["-sandbox", "on,spawn=perhaps"], "possible: allow, deny"],
                       [["-sandbox", "off,spawn=deny"], "goes with on"], [["-sandbox", "on,seccomp=x"], "unknown option"],
                       [["-runas", "nobody-at-all"], "there is no user"], [["-chroot", "/no/such/folder"], "-chroot /no/such/folder"]):
        p = subprocess.run(vm.emulator() + BASE + args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        check(f"{args}: {p.stdout}", p.returncode == 1 and part in p.stdout)


def main():
    work = vm.scratch()
    for f in (files, holders, shares, addresses, sockets, ends, daemon, user, shut_out, shut_in, unconnected, programs):
        if len(sys.argv) > 1 and f.__name__ not in sys.argv[1:]:
            continue
        sub = os.path.join(work, f.__name__)
        os.mkdir(sub)
        f(sub)
        print(f"ok {f.__name__}", flush=True)
    words()
    print("ok")


main()
