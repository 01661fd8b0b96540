"""Where workloads run: natively in a chroot, or in a guest. Both talk to the same program (bench/guest/runall.c) through
a pipe, so one clock, the host's, sees every beginning and end."""
import glob
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
GUEST_SCRIPT = """
mount -t ext4 -o ro,noload /dev/vda /mnt || exec poweroff -f
for d in proc sys dev; do mount --move /$d /mnt/$d 2>/dev/null || mount --bind /$d /mnt/$d; done
mount -t tmpfs tmp /mnt/tmp
exec chroot /mnt /bin/sh -c 'cd /tmp; exec /bench/bin/runall'
"""
NATIVE_SCRIPT = """
mount --rbind /dev "$1/dev"; mount --rbind /proc "$1/proc"; mount -t tmpfs tmp "$1/tmp"
exec chroot "$1" /bin/sh -c 'cd /tmp; exec /bench/bin/runall'
"""


class Broken(Exception):
    """The session is of no more use; the text says what happened."""


@dataclass
class Result:
    host: float   # seconds by the host's clock
    guest: float  # by the guest's
    cpu: float    # CPU seconds on the host
    sum: str
    note: str

    @property
    def unsupported(self):
        return self.note.startswith("unsupported")


def run_tool(*args):
    p = subprocess.run(args, cwd=TOP, stdout=subprocess.PIPE, text=True)
    if p.returncode == 77:  # something is not installed, and it has said what
        sys.exit(77)
    if p.returncode:
        sys.exit(f"bench: {' '.join(args)} failed")
    return p.stdout.strip()


def prepare(build):
    """(folder, image, kernel, initramfs) of the guest, made when they are not there."""
    guest = os.path.join(build, "guest")
    bench = os.path.join(guest, "bench")
    run_tool("tools/guest/make-bench", bench)
    kernel = run_tool("tools/fetch-kernel", guest).splitlines()[-1]
    initrd = os.path.join(bench, "initramfs.gz")
    modules = [x for m in ("virtio_pci", "virtio_blk", "virtio_rng", "ext4") for x in ("-m", m)]
    run_tool("tools/mkinitramfs-busybox", "-o", initrd, "-k", os.path.join(guest, "kernel"), *modules, GUEST_SCRIPT)
    return os.path.join(bench, "root"), os.path.join(bench, "disk.raw"), kernel, initrd


def our_engine(build):
    """The fastest of our software CPUs that this build has."""
    have = subprocess.run([os.path.join(build, "src/cmd/viv-vm"), "-accel", "help"], capture_output=True, text=True)
    return "xlate" if "\nxlate" in have.stdout else "interp"


def emulator(engine, build):
    """Its command up to -accel NAME: NAME[:OPTION=VALUE...][@BUILD]."""
    if engine == "tcg":
        return ["qemu-system-x86_64", "-accel", "tcg"]
    what, _, other = engine.partition("@")
    return [os.path.join(os.path.abspath(other) if other else build, "src/cmd/viv-vm"), "-accel",
            what.replace(":", ",")]


class Session:
    """One process with runall at the other end; started when it is first needed, and again after it broke."""

    def __init__(self, name, command, timeout):
        self.name, self.command, self.timeout = name, command, timeout
        self.native = name == "native"
        self.p = None

    def start(self, boot_timeout=300):
        self.p = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, bufsize=0)
        self.buffer, self.tail = b"", []
        self._expect("@ready", boot_timeout)

    def stop(self):
        if self.p:
            self.p.kill()
            self.p.wait()
            self.p = None

    def _line(self, end):
        """(text, time) of the next line."""
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.p.stdout], [], [], left)[0]:
                raise Broken("no answer in time")
            data = os.read(self.p.stdout.fileno(), 65536)
            if not data:
                raise Broken(f"ended with status {self.p.wait()}")
            self.buffer += data
            self.stamp = time.monotonic()
        line, self.buffer = self.buffer.split(b"\n", 1)
        text = line.decode("utf-8", "replace").rstrip("\r")
        self.tail = self.tail[-30:] + [text]
        return text, self.stamp

    def _expect(self, marker, timeout):
        """(rest of the line, time) of the next line with that marker. Anywhere in it: the kernel may print too."""
        end = time.monotonic() + timeout
        while True:
            text, stamp = self._line(end)
            if (at := text.find(marker)) >= 0:
                return text[at + len(marker):].split(maxsplit=4), stamp
            if "@error" in text:
                raise Broken(text)

    def _cpu(self):
        """CPU seconds that the threads of our process have used."""
        total = 0
        for path in glob.glob(f"/proc/{self.p.pid}/task/*/schedstat"):
            try:
                total += int(open(path).read().split()[0])
            except OSError:
                pass  # a thread that ended
        return total * 1e-9

    def _send(self, line):
        try:
            os.write(self.p.stdin.fileno(), line.encode() + b"\n")
        except OSError as e:
            raise Broken(f"does not listen: {e}") from None

    def run(self, w, scale):
        """The Result of one run; raises Broken, after which the session has ended."""
        try:
            if not self.p:
                self.start()
            return self._run(w, max(1, round(w.count * scale)))
        except Broken as e:
            self.stop()
            raise Broken("\n    ".join([f"{self.name}: {w.name}: {e}", *self.tail])) from None

    def _run(self, w, n):
        if w.prepare:
            self._send("sh " + w.prepare.format(n=n))
            if (status := self._expect("@done", self.timeout)[0]) != ["0"]:
                raise Broken(f"preparation: status {status}")
        before = self._cpu()
        self._send(f"run {w.name} " + w.command.format(n=n))
        start = self._expect(f"@begin {w.name}", self.timeout)[1]
        stop = self._expect(f"@ended {w.name}", self.timeout)[1]
        cpu = self._cpu() - before
        words = self._expect(f"@end {w.name} ", self.timeout)[0]
        if len(words) < 4 or words[3] != "0":
            raise Broken(f"status {words[3:4]}")
        guest, guest_cpu = float(words[0]), float(words[1])
        note = words[4] if len(words) > 4 else ""
        if self.native:  # its clock is the host's, and reading it does not depend on when we wake up
            return Result(guest, guest, guest_cpu, words[2], note)
        return Result(stop - start, guest, cpu, words[2], note)


def stay_punctual():
    """Lines are stamped when they come, also on a busy host; processes started from here on stay ordinary."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except PermissionError:
        print("bench: not root: on a busy host times get less exact", file=sys.stderr)


def native(root, timeout):
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    return Session("native", ["unshare", "--mount", *user, "sh", "-e", "-c", NATIVE_SCRIPT, "sh", root], timeout)


def machine(engine, build, files, memory, timeout):
    _, disk, kernel, initrd = files
    return Session(engine, emulator(engine, build) + [
        "-cpu", "max", "-M", "pc", "-m", memory, "-smp", "2", "-nodefaults",
        "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", kernel, "-initrd", initrd,
        "-append", "console=ttyS0 quiet panic=-1",
        "-drive", f"file={disk},format=raw,if=none,id=d0,readonly=on", "-device", "virtio-blk-pci,drive=d0",
        "-device", "virtio-rng-pci"], timeout)
