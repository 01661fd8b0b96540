#!/usr/bin/env python3
"""The network recipes that tutorials teach, each as typed there: recipes.py [NAME...]

Guests are Debian's kernel with a shell. Everything happens in network namespaces made for the test; after each recipe the
interfaces are those of before."""
import hashlib
import os
import re
import sys
import time
import urllib.request

sys.path.insert(0, os.path.dirname(__file__))
from lab import Recipe, boot_files, enter, install_helper, mac_of, no_ping, ping, sh, vm, HELPER  # noqa: E402

PAIR = "ip link add br0 type bridge; ip link set br0 up"
NOBODY = 65534


def static(g, addr):
    g.ready().do(f"ip link set eth0 up; ip addr add {addr}/24 dev eth0")


def lease(g):
    m = re.search(r"leased (\S+) from", g.ready().do("ip link set eth0 up; udhcpc -s /usr/share/udhcpc/default.script -i eth0 -n -q -t 10 -T 1", 120))
    if not m:
        g.die("no lease")
    return m.group(1)


def transfer(one, two, addr, mib=8):
    """A file over TCP, the same bytes at both ends."""
    one.do(f"mkdir -p /w; dd if=/dev/urandom of=/w/f bs=1M count={mib} 2>/dev/null; httpd -p 80 -h /w")
    want = re.search(r"(\w{64})", one.do("sha256sum /w/f")).group(1)
    got = re.search(r"(\w{64})", two.do(f"wget -q -O - http://{addr}/f | sha256sum", 120)).group(1)
    if want != got:
        vm.fail(f"{mib} MiB over TCP are not the same at both ends")


def recipe_user():
    with Recipe("user networking with two forwards") as r:
        g = r.guest(["-nic", "user,model=virtio,hostfwd=tcp::2222-:22,hostfwd=tcp::8080-:80"])
        if lease(g) != "10.0.2.15":
            g.die("not the usual address")
        g.do("mkdir -p /w22 /w80; echo port-22 > /w22/x; echo port-80 > /w80/x; httpd -p 22 -h /w22; httpd -p 80 -h /w80")
        for port, want in ((2222, b"port-22\n"), (8080, b"port-80\n")):
            got = urllib.request.urlopen(f"http://127.0.0.1:{port}/x", timeout=60 * vm.SLOW).read()
            if got != want:
                g.die(f"port {port} gave {got!r}")
        g.end()


def recipe_none():
    with Recipe("-nic none") as r:
        g = r.guest(["-nic", "none"]).ready()
        if [n for n in g.do("echo nics $(ls /sys/class/net)").split() if n.startswith("e")]:
            g.die("it has a network card")
        g.end()


def recipe_taps(model="virtio-net-pci", arch="amd64"):
    with Recipe(f"two guests on tap0 and tap1 of a bridge, {model}") as r:
        sh(PAIR)
        r.undo("ip link del br0")
        guests = []
        for i in range(2):
            sh(f"ip tuntap add dev tap{i} mode tap && ip link set tap{i} master br0 && ip link set tap{i} up")
            r.undo(f"ip tuntap del dev tap{i} mode tap")
            guests.append(r.guest(["-netdev", f"tap,id=n0,ifname=tap{i},script=no,downscript=no", "-device", f"{model},netdev=n0"],
                                  f"guest {i}", arch))
        for i, g in enumerate(guests):
            static(g, f"10.9.0.{i + 1}")
        macs = [mac_of(g) for g in guests]
        if macs[0] == macs[1] or any(not m.startswith("52:54:00:") for m in macs):
            vm.fail(f"the guests have {macs}")
        ping(guests[0], "10.9.0.2")
        transfer(guests[0], guests[1], "10.9.0.1")
        transfer(guests[1], guests[0], "10.9.0.2")
        for g in guests:
            g.end()


def recipe_e1000():
    recipe_taps("e1000", "generic")


def recipe_rtl8139():
    recipe_taps("rtl8139", "generic")


def recipe_queues():
    """Two pairs of queues on a tap with as many, both in use."""
    with Recipe("tap with two queues, virtio-net with mq=on") as r:
        sh(PAIR + "; ip addr add 10.9.3.1/24 dev br0; ip tuntap add dev tap0 mode tap multi_queue && ip link set tap0 master br0 up")
        r.undo("ip link del br0; ip tuntap del dev tap0 mode tap multi_queue")
        kernel, initrd = boot_files(["virtio_pci", "virtio_net"])
        g = r.guest(None, words=vm.base_args(mem="256M", cpus=2) + [
            "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet", "-netdev",
            "tap,id=n0,ifname=tap0,queues=2,script=no,downscript=no", "-device", "virtio-net-pci,netdev=n0,mq=on,vectors=6"])
        static(g, "10.9.3.2")
        if len(re.findall(r"[rt]x-[01]", g.do("ls /sys/class/net/eth0/queues"))) != 4:
            g.die("it has not two pairs of queues")
        g.do("mkdir -p /w; dd if=/dev/urandom of=/w/f bs=1M count=1 2>/dev/null; httpd -p 80 -h /w")
        want = re.search(r"(\w{64})", g.do("sha256sum /w/f")).group(1)
        for _ in range(24):  # connections are spread by their ports
            if hashlib.sha256(urllib.request.urlopen("http://10.9.3.2/f", timeout=60 * vm.SLOW).read()).hexdigest() != want:
                g.die("a file over TCP is not the same at both ends")
        lines = g.do("cat /proc/interrupts")
        for q in ("input.0", "input.1"):
            m = re.search(rf"^ *\d+:((?: +\d+)+) .*-{q}\s*$", lines, re.M)
            if not m or not any(int(n) for n in m.group(1).split()):
                g.die(f"no interrupt came from {q}")
        g.end()


def recipe_old():
    """-net nic -net tap, and a script that sets the interface up and another that takes it down."""
    with Recipe("-net nic -net tap with scripts") as r:
        sh(PAIR + "; ip addr add 10.9.1.1/24 dev br0")
        r.undo("ip link del br0")
        for name, line in (("up", "ip link set $1 master br0 up"), ("down", "ip link set $1 nomaster; echo $1 > /etc/viv-test/down")):
            with open(f"/etc/viv-test/if{name}", "w") as f:
                f.write(f"#!/bin/sh\n{line}\n")
            os.chmod(f"/etc/viv-test/if{name}", 0o755)
        g = r.guest(["-net", "nic,model=virtio", "-net", "tap,ifname=vtap,script=/etc/viv-test/ifup,downscript=/etc/viv-test/ifdown"])
        static(g, "10.9.1.2")
        ping(g, "10.9.1.1")
        g.end()
        if sh("cat /etc/viv-test/down") != "vtap":
            g.die("downscript did not run")


def recipe_helper():
    """Two guests of a user without any privilege."""
    with Recipe("two guests through viv-bridge-helper, mac=") as r:
        sh(PAIR)
        r.undo("ip link del br0")
        install_helper()
        macs = ["52:54:00:aa:bb:01", "52:54:00:aa:bb:02"]
        # The second as -nic, whose helper is found beside the program or where the other one's is: so it is named here, too.
        guests = [r.guest(["-netdev", f"bridge,id=n0,br=br0,helper={HELPER}", "-device", f"virtio-net-pci,netdev=n0,mac={macs[0]}"],
                          "guest 0", user=NOBODY),
                  r.guest(["-nic", f"bridge,model=virtio,br=br0,helper={HELPER},mac={macs[1]}"], "guest 1", user=NOBODY)]
        for i, g in enumerate(guests):
            static(g, f"10.9.2.{i + 1}")
            if mac_of(g) != macs[i]:
                g.die(f"its address is not {macs[i]}")
        ping(guests[1], "10.9.2.1")
        transfer(guests[0], guests[1], "10.9.2.1")
        for g in guests:
            g.end()


def recipe_private():
    with Recipe("private: guests see each other, nobody else sees them") as r:
        sh(PAIR)
        r.undo("ip link del br0")
        install_helper()
        guests = [r.guest(["-nic", f"bridge,model=virtio,br=br0,helper={HELPER}"], f"guest {i}", user=NOBODY) for i in range(2)]
        for i, g in enumerate(guests):
            static(g, f"192.168.77.{i + 1}")
        if mac_of(guests[0]) == mac_of(guests[1]):
            vm.fail("two guests of one command line have the same address")
        ping(guests[0], "192.168.77.2")
        no_ping(guests[0], "192.168.77.254")
        guests[0].do("mkdir -p /w; echo private > /w/x; httpd -p 80 -h /w")
        guests[1].do("wget -q -O - http://192.168.77.1/x | grep private")
        if asks("http://192.168.77.1/x"):
            vm.fail("the host reaches a private network")
        for g in guests:
            g.end()


def asks(url):
    try:
        return urllib.request.urlopen(url, timeout=3).read()
    except OSError:
        return None


def dnsmasq(r, interface, first, last, extra="", outside=None):
    vm.need("dnsmasq")
    # port=0: leases only.
    return r.server(f"dnsmasq -k -C /dev/null -p 0 --bind-interfaces -i {interface} --except-interface=lo --dhcp-range={first},{last},1h "
                    f"--dhcp-leasefile=/etc/viv-test/leases --pid-file= --user=root --log-facility=- {extra} 2>&1", outside)


def recipe_hostonly():
    with Recipe("host-only: leases from dnsmasq on the bridge") as r:
        sh(PAIR + "; ip addr add 192.168.78.1/24 dev br0")
        r.undo("ip link del br0")
        dnsmasq(r, "br0", "192.168.78.10", "192.168.78.20")
        install_helper()
        guests = [r.guest(["-nic", f"bridge,model=virtio,br=br0,helper={HELPER}"], f"guest {i}", user=NOBODY) for i in range(2)]
        addrs = [lease(g) for g in guests]
        if addrs[0] == addrs[1] or any(not a.startswith("192.168.78.1") for a in addrs):
            vm.fail(f"leases {addrs}")
        ping(guests[0], "192.168.78.1")
        ping(guests[0], addrs[1])
        for g in guests:
            g.end()


def web_server(r, outside, addr):
    """Says who asked it."""
    r.server(f"{sys.executable} -c \"import http.server as h\n"
             "class H(h.BaseHTTPRequestHandler):\n"
             "    def do_GET(s): s.send_response(200); s.end_headers(); s.wfile.write(b'you are '+s.client_address[0].encode())\n"
             f"h.HTTPServer(('{addr}', 80), H).serve_forever()\"", outside)


def recipe_nat():
    with Recipe("NAT: ip_forward and MASQUERADE to the outside") as r:
        nat = "nft" if os.path.exists("/usr/sbin/nft") else "iptables"
        vm.need(nat)
        out = r.outside()
        sh(PAIR + "; ip addr add 192.168.79.1/24 dev br0; ip link add up0 type veth peer name far0; ip addr add 203.0.113.1/24 dev up0; "
           "ip link set up0 up; echo 1 > /proc/sys/net/ipv4/ip_forward")
        r.undo("ip link del br0; ip link del up0; echo 0 > /proc/sys/net/ipv4/ip_forward")
        out.take("far0")
        out.sh("ip addr add 203.0.113.9/24 dev far0; ip link set far0 up")
        if nat == "nft":
            sh("nft add table ip nat && nft 'add chain ip nat post { type nat hook postrouting priority 100; }' && "
               "nft add rule ip nat post ip saddr 192.168.79.0/24 oifname up0 masquerade")
            r.undo("nft delete table ip nat")
        else:
            sh("iptables -t nat -A POSTROUTING -s 192.168.79.0/24 -o up0 -j MASQUERADE")
            r.undo("iptables -t nat -F")
        dnsmasq(r, "br0", "192.168.79.10", "192.168.79.20")
        web_server(r, out, "203.0.113.9")
        install_helper()
        g = r.guest(["-nic", f"bridge,model=virtio,br=br0,helper={HELPER}"], user=NOBODY)
        lease(g)
        ping(g, "203.0.113.9")
        if "you are 203.0.113.1" not in g.do("wget -q -O - http://203.0.113.9/; echo"):
            g.die("the outside did not see the host's address")
        g.end()


def recipe_public():
    with Recipe("public: the guest on the LAN, through the host's card") as r:
        out = r.outside()
        # The host's "card" is one end of a veth; the other end is the LAN with its router, which gives leases.
        sh("ip link add eth9 type veth peer name lan0")
        out.take("lan0")
        out.sh("ip link set lan0 up; ip addr add 198.51.100.1/24 dev lan0")
        sh(PAIR + "; ip link set eth9 master br0; ip link set eth9 up")
        r.undo("ip link set eth9 nomaster; ip link del br0; ip link del eth9")
        dnsmasq(r, "lan0", "198.51.100.50", "198.51.100.60", outside=out)
        web_server(r, out, "198.51.100.1")
        install_helper()
        g = r.guest(["-nic", f"bridge,model=virtio,br=br0,helper={HELPER}"], user=NOBODY)
        addr = lease(g)
        if f"you are {addr}" not in g.do("wget -q -O - http://198.51.100.1/; echo"):
            g.die("the LAN did not see the guest's own address")
        g.do("mkdir -p /w; echo public > /w/x; httpd -p 80 -h /w")
        if "public" not in out.sh(f"{sys.executable} -c 'import urllib.request as u; print(u.urlopen(\"http://{addr}/x\", timeout=20).read())'"):
            g.die("the LAN does not reach the guest")
        g.end()


def recipe_pxe(model="virtio-net-pci", chip="virtio-net"):
    """SeaBIOS, iPXE from the card's ROM, then kernel and initramfs by TFTP."""
    if not os.path.exists("/usr/share/seabios/bios-256k.bin") or not os.path.exists("/usr/lib/ipxe/qemu/efi-e1000.rom"):
        vm.skip("Debian's packages seabios and ipxe-qemu")
    with Recipe(f"PXE from dnsmasq on a bridge, {model}") as r:
        sh(PAIR + "; ip addr add 192.168.80.1/24 dev br0; ip tuntap add dev tap0 mode tap && ip link set tap0 master br0 up")
        r.undo("ip link del br0; ip tuntap del dev tap0 mode tap")
        root = "/etc/viv-test/tftp"
        kernel, initrd = boot_files(["virtio_pci", "virtio_net"])
        sh(f"mkdir -p {root} && cp {kernel} {root}/vmlinuz && cp {initrd} {root}/initrd && chmod -R a+rX {root}")
        with open(f"{root}/boot.ipxe", "w") as f:
            f.write("#!ipxe\nkernel vmlinuz console=ttyS0 panic=-1 quiet initrd=initrd by=${net0/chip}\ninitrd initrd\nboot\n")
        dnsmasq(r, "br0", "192.168.80.10", "192.168.80.20", f"--enable-tftp --tftp-root={root} --dhcp-boot=boot.ipxe")
        g = r.guest(None, name=model, words=vm.base_args(mem="512M") + [
            "-boot", "n", "-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no", "-device", f"{model},netdev=n0"])
        g.ready()
        if f"by={chip}" not in g.do("cat /proc/cmdline"):
            g.die("not what iPXE was told to boot")
        g.end()


def recipe_pxe_e1000():
    recipe_pxe("e1000", "82540em")


def recipe_pxe_rtl8139():
    recipe_pxe("rtl8139", "rtl8139")


def main():
    enter()
    names = sys.argv[1:] or ["user", "none", "taps", "queues", "old", "helper", "private", "hostonly", "nat", "public", "e1000", "rtl8139", "pxe", "pxe_e1000", "pxe_rtl8139"]
    start = time.monotonic()
    for n in names:
        globals()[f"recipe_{n}"]()
    print(f"ok: {len(names)} recipes in {time.monotonic() - start:.0f} s")


main()
