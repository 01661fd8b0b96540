"""Networks for tests: a network namespace of its own for the whole test, more of them for what stands outside, guests one can type to.

enter() runs the test again under unshare(1), so that nothing it makes is seen by the host, and gives it an /etc of its own. Each
recipe runs in a `with Recipe(...)`, which fails when an interface is left that was not there before."""
import contextlib
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402

HELPER = os.path.join("/etc/viv-test", "viv-bridge-helper")
NIC_MODULES = ["virtio_pci", "virtio_net", "e1000", "8139cp", "8139too"]

# Lines typed are run; "done STATUS" ends the answer.
SHELL = """
mkdir -p /usr/share/udhcpc /etc
cat > /usr/share/udhcpc/default.script <<'EOF'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr flush dev $interface; ip addr add $ip/${mask:-24} dev $interface
for r in $router; do ip route add default via $r; done
echo leased $ip from $serverid
EOF
chmod +x /usr/share/udhcpc/default.script
stty -echo 2>/dev/null
echo shell-ready
while read -r line; do eval "$line" </dev/null; echo "done $?"; done
"""


def sh(command, check=True, **kw):
    p = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    if check and p.returncode:
        vm.fail(f"{command}: {p.stdout}")
    return p.stdout.strip()


def enter():
    """Into namespaces of our own; returns in there."""
    if os.environ.get("VIV_LAB") == "in":
        os.makedirs("/tmp", exist_ok=True)
        tmp = vm.scratch()
        sh(f"mount -t tmpfs -o mode=755 tmpfs {tmp} && cp -a /etc/. {tmp} && mount --bind {tmp} /etc && "
           "rm -rf /etc/viv /etc/qemu /etc/viv-test && mkdir -p /etc/viv /etc/qemu /etc/viv-test && ip link set lo up")
        return
    if os.geteuid():
        vm.skip("network namespaces take root")
    vm.need("ip", "unshare", "nsenter", "setpriv")
    if not os.path.exists("/dev/net/tun"):
        vm.skip("this host has no TAP interfaces (/dev/net/tun)")
    probe = subprocess.run(["unshare", "-n", "-m", "sh", "-c", "ip link add vb0 type bridge && ip tuntap add dev vt0 mode tap"],
                           stderr=subprocess.PIPE, text=True)
    if probe.returncode:
        vm.skip(f"no bridge or TAP in a network namespace: {probe.stderr.strip()}")
    env = dict(os.environ, VIV_LAB="in")
    os.execvpe("unshare", ["unshare", "-n", "-m", "--propagation", "private", sys.executable] + sys.argv, env)


def links():
    return sorted(re.findall(r"^\d+: ([^:@]+)", sh("ip -o link"), re.M))


class Recipe:
    """What is made inside is undone: by the recipe's own undo(), the lines that its user would type."""

    def __init__(self, name, quiet=False):
        self.name = name
        self.quiet = quiet
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        self.before = links()
        self.start = time.monotonic()
        self.stack.__enter__()
        return self

    def undo(self, command):
        self.stack.callback(sh, command)

    def guest(self, *args, **kw):
        return self.stack.enter_context(Guest(*args, **kw))

    def outside(self):
        return self.stack.enter_context(Outside())

    def server(self, command, outside=None):
        p = subprocess.Popen((outside.prefix if outside else []) + ["sh", "-c", "exec " + command], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.stack.callback(stop, p)
        time.sleep(0.3)
        if p.poll() is not None:
            vm.fail(f"{self.name}: {command}: {p.stdout.read()}")
        return p

    def __exit__(self, *exc):
        self.stack.__exit__(*exc)
        if exc[0]:
            return
        end = time.monotonic() + 5  # the kernel takes a moment for a TAP whose process ended
        while links() != self.before and time.monotonic() < end:
            time.sleep(0.1)
        if links() != self.before:
            vm.fail(f"{self.name}: interfaces were {self.before}, afterwards {links()}")
        if not self.quiet:
            print(f"ok: {self.name} ({time.monotonic() - self.start:.0f} s)", flush=True)


def stop(p):
    p.terminate()
    try:
        p.wait(5)
    except subprocess.TimeoutExpired:
        p.kill()
        p.wait()


class Outside:
    """A network namespace that stands for somebody else's machine."""

    def __enter__(self):
        self.p = subprocess.Popen(["unshare", "-n", "sleep", "3600"])
        end = time.monotonic() + 10
        while os.readlink(f"/proc/{self.p.pid}/ns/net") == os.readlink("/proc/self/ns/net") and time.monotonic() < end:
            time.sleep(0.02)
        self.prefix = ["nsenter", "-t", str(self.p.pid), "-n"]
        self.sh("ip link set lo up")
        return self

    def sh(self, command):
        p = subprocess.run(self.prefix + ["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if p.returncode:
            vm.fail(f"outside: {command}: {p.stdout}")
        return p.stdout

    def take(self, link):
        sh(f"ip link set {link} netns {self.p.pid}")

    def __exit__(self, *exc):
        self.p.send_signal(signal.SIGKILL)
        self.p.wait()


def boot_files(modules, arch="amd64", programs=()):
    return vm.kernel(arch), vm.initramfs(SHELL, modules, arch=arch, programs=programs)


class Guest(vm.Guest):
    """A guest with a shell on its serial port, after `args` that give it its network."""

    def __init__(self, args, name="guest", arch="amd64", user=None, words=None):
        """`words`: the whole command line, for guests that are not started by -kernel."""
        emu = vm.emulator()
        if user:
            emu = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"] + emu
        if words is None:
            kernel, initrd = boot_files(NIC_MODULES if arch == "generic" else ["virtio_pci", "virtio_net"], arch)
            words = vm.base_args(mem="256M") + ["-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet"] + args
        super().__init__(words, name, emu)

    def ready(self):
        self.expect("^shell-ready", 200)
        return self

    def do(self, command, timeout=60, check=True):
        start = self.seen
        self.send(command + "\n")
        status = int(self.expect(r"^done (\d+)\s", timeout).group(1))
        out = self.log[start:self.seen].decode("utf-8", "replace").replace("\r", "")
        if check and status:
            self.die(f"'{command}' gave {status}:\n{out}")
        return out if check else status

    def end(self):
        self.send("poweroff -f\n")
        if self.wait(60):
            self.die("status not 0")


def ping(g, to, count=2):
    g.do(f"ping -c {count} -W 5 {to}")


def no_ping(g, to):
    if g.do(f"ping -c 1 -W 2 {to}", check=False) == 0:
        g.die(f"reached {to}, which it must not")


def mac_of(g, nic="eth0"):
    return re.search(r"([0-9a-f]{2}(:[0-9a-f]{2}){5})", g.do(f"cat /sys/class/net/{nic}/address")).group(1)


def install_helper(allow="br0", where="/etc/viv"):
    """Set-uid, at a place that others can reach, with its rules."""
    sh(f"mkdir -p {where} && cp {vm.tool('viv-bridge-helper')} {HELPER} && chmod 4755 {HELPER} && "
       f"echo 'allow {allow}' > {where}/bridge.conf && chmod 644 {where}/bridge.conf")
