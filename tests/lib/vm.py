"""What the tests that boot guests share: kernels, small initramfs guests, a running VM one can talk to.

The emulator is $VIV_VM, or build/bin/viv-vm of $VIV_BUILD (set by meson). Everything made is cached in
BUILD/guest. A missing prerequisite ends the test with exit status 77 and its reason."""
import hashlib
import json
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(__file__))
import qmp_schema  # noqa: E402

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.path.abspath(os.environ.get("VIV_BUILD", os.path.join(TOP, "build")))
GUEST = os.path.join(BUILD, "guest")
# Under sanitizers everything is several times slower.
SLOW = float(os.environ.get("VIV_SLOW", "6" if re.search(r"-(asan|ubsan|tsan)$", BUILD) else "2"))


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def fail(reason):
    print(f"FAIL: {reason}")
    sys.exit(1)


def emulator():
    words = shlex.split(os.environ.get("VIV_VM", os.path.join(BUILD, "src/cmd/viv-vm")))
    if not os.path.exists(words[0]) and not any(
            os.path.exists(os.path.join(p, words[0])) for p in os.environ["PATH"].split(":")):
        fail(f"no emulator at {words[0]}: run make")
    return words


def i386(words, folder):
    """The emulator under the name that makes it a 32-bit machine. QEMU has a program of its own for that."""
    if os.path.basename(words[0]) == "qemu-system-x86_64":
        return ["qemu-system-i386"] + words[1:]
    link = os.path.join(folder, "qemu-system-i386")
    if not os.path.exists(link):
        os.symlink(os.path.realpath(words[0]), link)
    return [link] + words[1:]


def tool(name):
    return os.path.join(BUILD, "src/cmd", name)


def need(*programs):
    path = os.environ["PATH"].split(":") + ["/sbin", "/usr/sbin"]
    for p in programs:
        if not any(os.access(os.path.join(d, p), os.X_OK) for d in path):
            skip(f"{p} is not installed")


def run_tool(args, **kw):
    """A project tool; its 77 is our 77."""
    p = subprocess.run(args, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)
    if p.returncode == 77:
        skip((p.stderr or p.stdout).strip().splitlines()[-1])
    if p.returncode:
        fail(f"{' '.join(args)}: {p.stderr}")
    return p.stdout.strip()


def kernel(arch="amd64"):
    """Path of Debian's cloud kernel (bzImage); "generic": the one with all drivers, "i386": 686-pae."""
    return run_tool(["tools/fetch-kernel", "-a", arch, GUEST]).splitlines()[-1]


VIRTIO = ["virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_rng", "virtio_console"]


def initramfs(script, modules=VIRTIO, files=(), arch="amd64", programs=()):
    """Path of a gzip initramfs that loads modules and runs script, then powers off. Programs come with their libraries."""
    kernel(arch)
    what = [script, list(modules), list(files), arch] + [[p, os.stat(p).st_mtime_ns] for p in programs]
    key = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
    out = os.path.join(GUEST, f"initramfs-{key}.gz")
    if not os.path.exists(out):
        unpacked = os.path.join(GUEST, "kernel" if arch == "amd64" else f"kernel-{arch}")
        args = ["tools/mkinitramfs-busybox", "-o", out, "-k", unpacked]
        if arch == "i386":
            args += ["-b", os.path.join(unpacked, "bin/busybox")]
        for m in modules:
            args += ["-m", m]
        for f in files:
            args += ["-f", f]
        for p in programs:
            args += ["-p", p]
        run_tool(args + [script])
    return out


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Guest:
    """A VM with its serial port on our pipe."""

    def __init__(self, args, name="guest", emu=None):
        self.name = name
        self.args = (emu or emulator()) + args
        self.log = bytearray()
        self.seen = 0
        self.p = subprocess.Popen(self.args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, bufsize=0)
        self.start = time.monotonic()

    @property
    def text(self):
        return self.log.decode("utf-8", "replace")

    def die(self, why):
        self.kill()
        print(f"--- {' '.join(self.args)}\n{self.text[-6000:]}\n---")
        fail(f"{self.name}: {why}")

    def _pump(self, timeout):
        r, _, _ = select.select([self.p.stdout], [], [], max(timeout, 0))
        if not r:
            return True
        data = os.read(self.p.stdout.fileno(), 65536)
        self.log += data
        return bool(data)

    def expect(self, pattern, timeout=120):
        """Waits for a regular expression in what was not yet matched; returns the match."""
        end = time.monotonic() + timeout * SLOW
        rx = re.compile(pattern.encode(), re.M)
        while True:
            m = rx.search(self.log, self.seen)
            while m and self._cut_short(m):  # the rest of a number, in however many pieces, if there is more
                had = len(self.log)
                self._pump(0.5 * SLOW)
                m = rx.search(self.log, self.seen)
                if len(self.log) == had:
                    break
            if m:
                self.seen = m.end()
                return m
            left = end - time.monotonic()
            if left <= 0:
                self.die(f"'{pattern}' did not come within {timeout * SLOW:.0f} s")
            if not self._pump(min(left, 1)):
                if rx.search(self.log, self.seen):
                    continue
                self.die(f"ended (status {self.p.wait()}) before '{pattern}'")

    def _cut_short(self, m):
        """A group that ends where the output ends now may be half of what the guest is writing."""
        return bool(m.re.groups) and m.end(m.lastindex or 0) == len(self.log)

    def send(self, text):
        os.write(self.p.stdin.fileno(), text.encode())

    def wait(self, timeout=60):
        """Waits for the process to end; returns its exit status."""
        end = time.monotonic() + timeout * SLOW
        while time.monotonic() < end:
            if not self._pump(0.2):
                return self.p.wait(10)
            if self.p.poll() is not None:
                while self._pump(0):
                    if not select.select([self.p.stdout], [], [], 0)[0]:
                        break
                return self.p.returncode
        self.die(f"still running after {timeout * SLOW:.0f} s")

    def kill(self):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGKILL)
            self.p.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.kill()


def connect(path, who, seconds):
    """A socket to who listens at `path`, or will within so many seconds."""
    s = socket.socket(socket.AF_UNIX)
    end = time.monotonic() + seconds
    while True:
        try:
            s.connect(path)
            return s
        except OSError as e:
            if time.monotonic() > end:
                fail(f"no {who} at {path}: {e}")
            time.sleep(0.02)


class QMP:
    """A QMP client on a unix socket; negotiates at once."""

    def __init__(self, path, timeout=30):
        self.s = connect(path, "QMP", timeout * SLOW)
        # Not one text file for both ways: writing to it drops what it has read ahead.
        self.f = self.s.makefile("rb")
        self.events = []
        self.greeting = json.loads(self.f.readline())
        self.schema = None
        self.cmd("qmp_capabilities")
        self.schema = qmp_schema.Schema(self.cmd("query-qmp-schema"))

    def save(self, g, path):
        """The machine of `g` into a file."""
        self.cmd("migrate", uri=f"file:{path}")
        while (s := self.cmd("query-migrate").get("status")) not in ("completed", "failed"):
            time.sleep(0.01)
        if s != "completed":
            g.die("migrate failed")

    def picture(self, path, **args):
        """Of the screen, made in that file: width, height, RGB."""
        self.cmd("screendump", filename=path, **args)
        with open(path, "rb") as f:
            if f.readline() != b"P6\n":
                fail(f"{path}: no picture")
            w, h = map(int, f.readline().split())
            f.readline()
            return w, h, f.read()

    def cmd(self, name, /, **args):
        """What comes back, and events, must be what the schema says."""
        self.s.sendall(json.dumps({"execute": name, "arguments": args} if args else {"execute": name}).encode() + b"\n")
        while True:
            line = self.f.readline()
            if not line:
                raise EOFError("QMP closed")
            msg = json.loads(line)
            if self.schema:
                self.schema.check(name, msg)
            if "event" in msg:
                self.events.append(msg)
            elif "error" in msg:
                raise RuntimeError(f"{name}: {msg['error']}")
            else:
                return msg["return"]


def boot_sector(work, source, *flags):
    """A diskette of 1440 KiB that begins with what this assembles to."""
    need("gcc", "ld")
    elf, out = os.path.join(work, "sector.elf"), os.path.join(work, "sector.img")
    subprocess.run(["gcc", "-m32", "-c", *flags, "-o", elf, source], check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "-e", "_start", "--oformat", "binary", "-o", out, elf], check=True)
    os.truncate(out, 1440 << 10)
    return out


def scratch():
    """A folder that is gone when the process ends."""
    import atexit
    import shutil
    os.makedirs(GUEST, exist_ok=True)
    d = tempfile.mkdtemp(prefix="viv-test-")
    atexit.register(shutil.rmtree, d, True)
    return d


def base_args(machine="pc", mem="512M", cpus=1):
    """No defaults, serial on our pipe, ends at reboot."""
    return ["-M", machine, "-m", mem, "-smp", str(cpus), "-nodefaults", "-display", "none",
            "-serial", "stdio", "-no-reboot"]
