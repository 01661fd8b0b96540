#!/usr/bin/env python3
"""viv-bridge-helper, set-uid and called by nobody: what it refuses, and that it and qemu-bridge-helper stand in for each other."""
import array
import os
import re
import shutil
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from lab import HELPER, Recipe, enter, install_helper, sh, stop, vm  # noqa: E402

NOBODY = 65534
QEMU_HELPER = "/usr/lib/qemu/qemu-bridge-helper"


def nobody(program, fds=()):
    return subprocess.Popen(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"] + program,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, pass_fds=fds)


def ask(*words, helper=HELPER):
    """Calls the helper as VMs do. What it said, and the descriptor (None: none came)."""
    ours, its = socket.socketpair()
    with ours, its:
        p = nobody([helper, f"--fd={its.fileno()}"] + list(words), (its.fileno(),))
        its.close()
        said = p.communicate(timeout=20 * vm.SLOW)[0]
        _, anc, _, _ = ours.recvmsg(1, 64)
        fds = array.array("i")
        for level, kind, data in anc:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data)
        if (p.returncode == 0) != (len(fds) == 1):
            vm.fail(f"status {p.returncode} with {len(fds)} descriptors: {said}")
        return said, fds[0] if fds else None


def refused(word, *words):
    said, fd = ask(*words)
    if fd is not None or word not in said:
        vm.fail(f"{words}: expected a refusal with '{word}', got {'a descriptor' if fd is not None else said}")


def members(bridge):
    return re.findall(r"^\d+: (tap\d+)", sh(f"ip -o link show master {bridge}"), re.M)


def rules(text, path="/etc/viv/bridge.conf", mode=0o644):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)


def check_rules():
    with Recipe("rules") as r:
        sh("ip link add br0 type bridge; ip link add br1 type bridge; ip link add dummy9 type veth peer name dummy8; ip link set br0 up mtu 1400; ip link set br1 up")
        r.undo("ip link del br0; ip link del br1; ip link del dummy9")
        os.remove("/etc/viv/bridge.conf")
        refused("neither", "--br=br0")
        rules("allow br0\n", "/etc/qemu/bridge.conf")
        for words in (["--br=br0"], ["--br=br0", "--use-vnet"]):
            said, fd = ask(*words)
            if fd is None:
                vm.fail(said)
            tap = members("br0")
            if len(tap) != 1 or "mtu 1400" not in sh(f"ip link show {tap[0]}") or " fe:" not in sh(f"ip link show {tap[0]}"):
                vm.fail(f"on br0: {tap}")
            if ("vnet_hdr on" in sh(f"ip -d link show {tap[0]}")) != (len(words) == 2):
                vm.fail("--use-vnet made no difference")
            os.close(fd)
            end = time.monotonic() + 5
            while members("br0") and time.monotonic() < end:
                time.sleep(0.05)
            if members("br0"):
                vm.fail("the interface outlives its descriptor")
        refused("no rule allows", "--br=br1")
        rules("deny br0\nallow all\n")  # /etc/viv goes before /etc/qemu
        sh("ip link property add dev br0 altname other-br0")
        refused("no name of a bridge", "--br=br0:x")  # the kernel would take both for br0, which is denied
        refused("is called 'br0'", "--br=other-br0")
        refused("denied", "--br=br0")
        rules("allow all\n")
        refused("no bridge", "--br=dummy9")
        refused("No such device", "--br=br9")
        refused("no name", "--br=")
        refused("no name", "--br=../../br0")
        refused("no name", "--br=" + "b" * 16)
        refused("usage", "--br=br0", "--more")
        refused("usage")
        rules("allow br0\n", mode=0o666)
        refused("written by others", "--br=br0")
        rules("allow br0\n")
        os.chown("/etc/viv/bridge.conf", NOBODY, NOBODY)
        refused("must be root's", "--br=br0")
        os.chown("/etc/viv/bridge.conf", 0, 0)
        rules("allow br0\ngarbage\n")
        refused("two words", "--br=br0")
        # Rules of a file that nobody may not read are not for nobody; as the whole file they refuse.
        rules("include /etc/viv/admin.conf\n")
        rules("allow br0\n", "/etc/viv/admin.conf", 0o640)
        refused("no rule allows", "--br=br0")
        rules("allow br0\n", "/etc/viv/admin.conf", 0o644)
        said, fd = ask("--br=br0")
        if fd is None:
            vm.fail(said)
        os.close(fd)
        rules("allow br0\n", mode=0o600)
        refused("Permission denied", "--br=br0")
        rules("allow br0\n")
        # Without privilege.
        os.chmod(HELPER, 0o755)
        said, fd = ask("--br=br0")
        if fd is not None or "set-uid root" not in said:
            vm.fail(f"without set-uid: {said}")
        os.chmod(HELPER, 0o4755)
        p = nobody([HELPER, "--br=br0", "--fd=0"])
        if "no unix socket" not in p.communicate()[0]:
            vm.fail("took a descriptor that is no socket")
        if members("br0") or members("br1"):
            vm.fail("refusals left interfaces")


def running(name, words, r, bridge="br0"):
    """A VM of nobody's with its interface on the bridge."""
    p = nobody(words)
    r.stack.callback(stop, p)
    end = time.monotonic() + 20 * vm.SLOW
    while not members(bridge) and time.monotonic() < end and p.poll() is None:
        time.sleep(0.1)
    if len(members(bridge)) != 1:
        stop(p)
        vm.fail(f"{name}: no interface on the bridge: {p.stdout.read()}")


def check_peers():
    base = ["-display", "none", "-nodefaults", "-serial", "null", "-S", "-M", "pc", "-m", "64"]
    with Recipe("viv-vm with viv-bridge-helper") as r:
        sh("ip link add br0 type bridge")
        r.undo("ip link del br0")
        rules("allow br0\n")
        running("viv-vm", vm.emulator() + base + ["-nic", f"bridge,br=br0,helper={HELPER}"], r)
    if not os.path.exists(QEMU_HELPER) or not shutil.which("qemu-system-x86_64"):
        print("skipped: Debian's qemu-system-x86 and qemu-system-common for the other half")
        return
    with Recipe("viv-vm with qemu-bridge-helper") as r:
        sh("ip link add br0 type bridge")
        r.undo("ip link del br0")
        theirs = "/etc/viv-test/qemu-bridge-helper"
        # It opens the device as its caller; ours does before it drops privileges. In this mount namespace only.
        sh(f"cp {QEMU_HELPER} {theirs} && chmod 4755 {theirs} && mknod -m 666 /etc/viv-test/tun c 10 200 && "
           "mount --bind /etc/viv-test/tun /dev/net/tun")
        r.undo("umount /dev/net/tun")
        rules("allow br0\n", "/etc/qemu/bridge.conf")
        running("viv-vm", vm.emulator() + base + ["-netdev", f"bridge,id=n,br=br0,helper={theirs}", "-device", "virtio-net-pci,netdev=n"], r)
    with Recipe("QEMU with viv-bridge-helper") as r:
        sh("ip link add br0 type bridge")
        r.undo("ip link del br0")
        running("QEMU", ["qemu-system-x86_64"] + base + ["-netdev", f"bridge,id=n,br=br0,helper={HELPER}", "-device", "virtio-net-pci,netdev=n"], r)
    with Recipe("QEMU's tap,helper= with viv-bridge-helper") as r:
        sh("ip link add br0 type bridge")
        r.undo("ip link del br0")
        running("QEMU", ["qemu-system-x86_64"] + base + ["-netdev", f"tap,id=n,helper={HELPER} --br=br0", "-device", "virtio-net-pci,netdev=n"], r)
    with Recipe("tap,helper= with viv-bridge-helper") as r:
        sh("ip link add br0 type bridge")
        r.undo("ip link del br0")
        running("viv-vm", vm.emulator() + base + ["-netdev", f"tap,id=n,helper={HELPER} --br=br0", "-device", "virtio-net-pci,netdev=n"], r)


BASE = ["-display", "none", "-nodefaults", "-serial", "null", "-S", "-M", "pc", "-m", "64"]


def check_fd():
    """A descriptor that somebody else opened: here the helper for us, elsewhere a manager."""
    with Recipe("tap,fd=") as r:
        sh("ip link add br0 type bridge")
        r.undo("ip link del br0")
        rules("allow br0\n")
        fd = ask("--br=br0", "--use-vnet")[1]
        tap = members("br0")[0]
        qmp = os.path.join(vm.scratch(), "qmp")
        p = subprocess.Popen(vm.emulator() + BASE + ["-netdev", f"tap,id=n,fd={fd}", "-device", "virtio-net-pci,netdev=n,mac=52:54:00:00:00:01",
                                                     "-qmp", f"unix:{qmp},server=on,wait=off"], pass_fds=(fd,))
        r.stack.callback(stop, p)
        q = vm.QMP(qmp)
        os.close(fd)
        info = q.cmd("human-monitor-command", **{"command-line": "info network"})
        if f"type=tap,ifname={tap},fd={fd}" not in info or members("br0") != [tap]:
            vm.fail(f"fd={fd}: {info}")


def check_deleted():
    """The host's interface goes away under the card: it has no cable then."""
    with Recipe("an interface is deleted") as r:
        qmp = os.path.join(vm.scratch(), "qmp")
        p = subprocess.Popen(vm.emulator() + BASE + ["-netdev", "tap,id=n,ifname=gone0,script=no,downscript=no", "-device",
                                                     "virtio-net-pci,netdev=n", "-qmp", f"unix:{qmp},server=on,wait=off"])
        r.stack.callback(stop, p)
        q = vm.QMP(qmp)

        def info():
            return q.cmd("human-monitor-command", **{"command-line": "info network"})

        if "link down" in info():
            vm.fail(f"at first: {info()}")
        sh("ip link set gone0 up; ip link del gone0")
        end = time.monotonic() + 20 * vm.SLOW
        while "link down" not in info():
            if time.monotonic() > end:
                vm.fail(f"the card has a cable to nowhere: {info()}")
            time.sleep(0.1)
        try:
            q.cmd("set_link", name="n", up=True)
            vm.fail("a cable to nowhere is plugged in")
        except RuntimeError as e:
            if "is gone" not in str(e):
                vm.fail(e)


def check_words():
    """What -netdev tap and bridge refuse, and what they say."""
    with Recipe("what tap refuses") as r:
        sh("ip tuntap add dev mq0 mode tap multi_queue; ip tuntap add dev tun0 mode tun; ip tuntap add dev busy0 mode tap")
        r.undo("ip tuntap del dev mq0 mode tap multi_queue; ip tuntap del dev tun0 mode tun; ip tuntap del dev busy0 mode tap")
        holder = subprocess.Popen(vm.emulator() + BASE + ["-nic", "tap,ifname=busy0,script=no,downscript=no"], stderr=subprocess.DEVNULL)
        r.stack.callback(stop, holder)
        end = time.monotonic() + 20 * vm.SLOW
        while "LOWER_UP" not in sh("ip link set busy0 up; ip link show busy0") and time.monotonic() < end:
            time.sleep(0.1)
        file = os.open("/dev/null", os.O_RDWR)
        with open("/etc/viv-test/fails", "w") as f:
            f.write("#!/bin/sh\nexit 3\n")
        os.chmod("/etc/viv-test/fails", 0o755)
        for words, want in (
                ("ifname=busy0,script=no", "in use by another process"), ("ifname=mq0,script=no", "one queue"),
                ("ifname=tun0,script=no", "no TAP interface"), ("ifname=a-name-that-is-too-long,script=no", "at most 15"),
                (f"fd={file}", "no TAP interface"), ("fd=99", "not started with"), ("fd=eth0", "has not been found"),
                ("fd=5,ifname=x", "exclude each other"), ("fd=5,queues=2", "exclude each other"), ("br=br0", "-netdev bridge"),
                ("ifname=new0,script=/etc/viv-test/fails", "status 3"), ("ifname=new0,script=/etc/viv-test/none", "cannot be run"),
                ("vhost=on,script=no", "vhost"), ("helper=/etc/viv-test/none", "cannot be run"), ("helper=/bin/false", "gave no interface"),
                ("helper='/bin/true", "helper=")):
            p = subprocess.run(vm.emulator() + BASE + ["-netdev", f"tap,id=n,{words}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, pass_fds=(file,), timeout=60 * vm.SLOW)
            if p.returncode != 1 or want not in p.stdout:
                vm.fail(f"-netdev tap,{words}: status {p.returncode}, {p.stdout}")
        os.close(file)


def main():
    enter()
    install_helper()
    check_rules()
    check_peers()
    check_fd()
    check_deleted()
    check_words()


main()
