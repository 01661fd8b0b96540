#!/usr/bin/env python3
"""-netdev tap,vhost=on: the host's kernel moves the frames. Hosts of tests seldom have /dev/vhost-net, so the host is a guest: an outer
machine with Debian's kernel, tun and vhost_net, and in it viv-vm with an inner guest on a tap.
usage: tests/net/vhost.py [kvm]    (kvm: the outer machine is QEMU's with SVM, emulated, and the inner one runs under -accel kvm)"""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
import lab  # noqa: E402
from lab import vm  # noqa: E402

INNER = """
ip link set lo up; ip link set eth0 up; ip addr add 10.9.0.2/24 dev eth0
mkdir -p /www; httpd -h /www
stty -echo 2>/dev/null
echo inner-ready
while read -r line; do eval "$line" </dev/null; echo "done $?"; done
"""
# In the outer guest. The inner one is behind pipes: `inner COMMAND` runs it there, `mon LINE` types to its monitor.
OUTER = r"""
cat > /lib.sh <<'EOF'
begin() { # log, words...
    log=$1; shift
    rm -f /in /mon.in /mon.out; mkfifo /in /mon.in /mon.out
    : > $log; seen=1
    cat /mon.out > /mon.log &
    viv-vm -nodefaults -display none -m 128 -serial stdio -chardev pipe,id=m,path=/mon -mon chardev=m "$@" < /in > $log 2>&1 &
    pid=$!
    exec 8> /in 9> /mon.in
    tap || { cat $log; return 1; }
}
tap() {
    n=0
    until ip link set tap0 address 02:00:00:00:00:01 2>/dev/null; do
        n=$((n + 1)); [ $n -le 200 ] || return 1
        sleep 0.2
    done
    ip addr add 10.9.0.1/24 dev tap0; ip link set tap0 up
}
answer() { # pattern, seconds
    n=0
    while ! tail -c +$seen $log | grep -q "$1"; do
        n=$((n + 1)); [ $n -le $(($2 * 5)) ] || { echo "NO ANSWER $1"; tail -n 30 $log; return 1; }
        kill -0 $pid 2>/dev/null || { echo "ENDED"; tail -n 30 $log; return 1; }
        sleep 0.2
    done
    tail -c +$seen $log | tr -d '\r' > /answer
    seen=$(($(wc -c < $log) + 1))
}
ready() { answer inner-ready 1000; }
inner() { echo "$1" >&8; answer "^done" ${2:-300} && sed '/^done/d' /answer && return $(sed -n 's/^done //p' /answer); }
mon() { echo "$1" >&9; }
gone() { n=0; while kill -0 $pid 2>/dev/null; do n=$((n + 1)); [ $n -le 600 ] || return 1; sleep 0.2; done; wait $pid; }
same() { [ -n "$1" ] && [ "$1" = "$2" ] || { echo "not the same: '$1' and '$2'"; return 1; }; }
down() { # host to inner
    inner "wget -q -O - http://10.9.0.1/big | md5sum" > /dev/null && same "$(md5sum < /www/big)" "$(sed -n 's/^\([0-9a-f]\{32\}\)/\1/p' /answer)"
}
up() { # inner to host
    inner "head -c $1 /dev/urandom > /www/up; md5sum < /www/up" > /dev/null &&
    same "$(sed -n 's/^\([0-9a-f]\{32\}\)/\1/p' /answer)" "$(wget -q -O - http://10.9.0.2/up | md5sum)"
}
worker() { cat /proc/[0-9]*/comm 2>/dev/null | grep -q "^vhost-"; } # the kernel's thread
EOF
. /lib.sh
mkdir -p /www; dd if=/dev/urandom of=/www/big bs=1M count=8 2>/dev/null; httpd -h /www
ip link set lo up
""" + lab.SHELL


NET = "-netdev tap,id=n0,ifname=tap0,script=no,downscript=no"
KVM = sys.argv[1:] == ["kvm"]
BOOT = f"-accel {'kvm' if KVM else 'xlate'} -kernel /root/vmlinuz -initrd /root/initrd -append 'console=ttyS0 quiet panic=-1'"


class Outer(lab.Guest):
    def __init__(self, words):
        emu = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max,+svm"] if KVM else vm.emulator() + ["-cpu", "max"]
        vm.Guest.__init__(self, words, "outer", emu)

    def step(self, what, *commands):
        start = time.monotonic()
        for c in commands:
            if self.do(c, 1200, check=False):
                self.do("tail -n 30 $log /mon.log; echo", check=False)
                self.die(f"{what}: '{c}' failed")
        print(f"ok: {what} ({time.monotonic() - start:.0f} s)", flush=True)

    def do(self, command, timeout=60, check=True):
        """Its text alone is asked for when it ended well."""
        start = self.seen
        self.send(command + "\n")
        status = int(self.expect(r"^done (\d+)\s", timeout).group(1))
        if check and status:
            self.die(f"'{command}' gave {status}")
        return self.log[start:self.seen].decode("utf-8", "replace").replace("\r", "") if check else status


def refusals(g):
    for words, said in [("-netdev tap,id=n0,script=no,vhost=on -device e1000,netdev=n0", "virtio-net cards only"),
                        ("-netdev tap,id=n0,script=no,vhost=off,vhostfd=5", "exclude each other"),
                        ("-netdev tap,id=n0,script=no,vhostfds=5:6", "there is 1 queue"),
                        ("-netdev tap,id=n0,script=no,vhostfd=8 8</dev/null", "none of /dev/vhost-net"),
                        ("-netdev tap,id=n0,script=no,poll-us=5", "goes with vhost=on"),
                        ("-netdev tap,id=n0,script=no,vhost=on -object filter-dump,id=f,netdev=n0,file=/f", "do not come by here"),
                        ("-netdev tap,id=n0,script=no,vhost=on", "modprobe vhost_net")]:
        if "modprobe" in said:
            g.do("mv /dev/vhost-net /dev/gone")
        g.do(f"viv-vm -nodefaults -display none -S -accel interp -kernel /root/vmlinuz {words} > /err 2>&1; cat /err; grep -q '{said}' /err")
    g.do("mv /dev/gone /dev/vhost-net")
    print("ok: refusals", flush=True)


def main():
    emu = vm.emulator()
    if KVM:
        vm.need("qemu-system-x86_64")
    kernel = vm.kernel()
    initrd = vm.initramfs(INNER, ["virtio_pci", "virtio_net"])
    outer = vm.initramfs(OUTER, ["tun", "vhost_net"] + ["kvm_amd"] * KVM, files=[f"{kernel}:root/vmlinuz", f"{initrd}:root/initrd"],
                         programs=[emu[0]])
    words = vm.base_args(mem="1G", cpus=2 if KVM else 1) + ["-kernel", kernel, "-initrd", outer, "-append", "console=ttyS0 panic=-1 quiet"]
    transfers = ["inner 'ping -c 2 10.9.0.1'", "ping -c 2 10.9.0.2", "down", "up 3000000"]
    with Outer(words) as g:
        g.ready()
        refusals(g)
        g.step("boot", f"begin /log {BOOT} {NET},vhost=on -device virtio-net-pci,netdev=n0", "ready", "worker")
        g.step("frames both ways", *transfers)
        g.step("cable", "mon 'set_link n0 off'", "! ping -c 1 -W 3 10.9.0.2", "mon 'set_link n0 on'", *transfers)
        g.step("stop and cont", "ping 10.9.0.2 > /dev/null & p=$!; sleep 1; mon stop; sleep 2; mon cont; kill $p", *transfers)
        g.step("reset", "mon system_reset", "ready", *transfers)
        g.step("saved", "ping 10.9.0.2 > /dev/null 2>&1 & p=$!; sleep 1; mon 'migrate file:/state'; sleep 3; mon quit; gone && kill $p && ls -l /state")
        g.step("started from there", f"begin /log2 {BOOT} {NET},vhost=on -device virtio-net-pci,netdev=n0 -incoming file:/state", *transfers, "worker")
        g.step("netdev_del", "mon 'netdev_del n0'; sleep 2; ! worker", "inner true", "mon quit; gone")
        g.step("started from there without vhost", f"begin /log3 {BOOT} {NET} -device virtio-net-pci,netdev=n0 -incoming file:/state",
               *transfers, "! worker", "mon quit; gone")
        g.step("as a daemon", f"viv-vm -nodefaults -display none -m 128 -serial null {BOOT} {NET},vhost=on -device virtio-net-pci,netdev=n0 "
               "-incoming file:/state -daemonize -pidfile /pid", "tap", "[ $(wget -q -O - http://10.9.0.2/up | wc -c) = 3000000 ]", "worker",
               "kill $(cat /pid); while worker; do sleep 1; done")
        g.step("two queues, packed rings, a descriptor each",
               f"begin /log4 {BOOT} -smp 2 {NET},queues=2,vhostfds=5:6,poll-us=50 -device virtio-net-pci,id=c0,netdev=n0,mq=on,packed=on "
               "5<>/dev/vhost-net 6<>/dev/vhost-net",
               "ready", "inner 'ls -d /sys/class/net/eth0/queues/rx-1'", "worker", *transfers)
        g.step("unplugged and plugged in again", "mon 'device_del c0'", "inner 'n=0; while [ -e /sys/class/net/eth0 -a $n -le 60 ]; do n=$((n + 1)); sleep 1; done; [ $n -le 60 ]'",
               "mon 'device_add virtio-net-pci,id=c1,netdev=n0,mac=52:54:00:11:22:33'", "inner 'until ip link set eth0 up 2>/dev/null; do sleep 1; done'",
               "inner 'ip addr add 10.9.0.2/24 dev eth0; ip neigh flush dev eth0'", "ip neigh flush dev tap0", *transfers,
               "mon 'netdev_add tap,id=n1,ifname=tap1,script=no,downscript=no,vhost=on'; mon 'info network'; sleep 3; grep 'tap1.*vhost=on' /mon.log",
               "mon quit; gone")
        g.end()
    print("PASS")


main()
