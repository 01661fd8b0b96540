#!/usr/bin/env python3
"""Devices that come and go while Debian's kernel runs: hotplug.py [ROUNDS] [CASE]...

Each case plugs a device into a running machine, the guest uses it, the machine asks for it back, the guest lets go: DEVICE_DELETED comes,
and the image is closed (its lock is free) once its drive or node has gone. In rounds."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402
from disks import MIB, image  # noqa: E402

MODULES = ["virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi", "sd_mod", "nvme", "xhci_pci", "ehci_pci", "uhci_hcd", "usb_storage",
           "usbhid", "hid_generic", "e1000", "9p", "9pnet_virtio"]

# Commands come on the serial port, one a line; each answer ends with its number.
SHELL = """
stty -echo 2>/dev/null
echo guest-ready
while read NUMBER LINE; do eval "$LINE"; echo "=$NUMBER= $?"; done
"""

WAIT = "n=0; while [ ! -e {0} ] && [ $n -lt 300 ]; do sleep 0.1; n=$((n + 1)); done; [ -e {0} ]"
GONE = "n=0; while [ -e {0} ] && [ $n -lt 300 ]; do sleep 0.1; n=$((n + 1)); done; [ ! -e {0} ]"
# What was written is read back, past the cache.
USE_DISK = ("dd if=/dev/urandom of=/tmp/p bs=64k count=16 2>/dev/null; dd if=/tmp/p of={0} bs=64k oflag=direct 2>/dev/null && "
            "dd if={0} of=/tmp/q bs=64k count=16 iflag=direct 2>/dev/null && cmp /tmp/p /tmp/q")


class Machine:
    """A guest that runs what it is told, with QMP."""

    def __init__(self, machine, work, extra=(), name="guest"):
        qmp = os.path.join(work, f"qmp-{name}")
        self.g = vm.Guest(vm.base_args(machine, "256M", 1) + ["-action", "reboot=reset"] + list(extra) + [
            "-kernel", vm.kernel("generic"), "-initrd", vm.initramfs(SHELL, MODULES, arch="generic"),
            "-append", "console=ttyS0 panic=-1 quiet", "-qmp", f"unix:{qmp},server=on,wait=off"], name)
        self.q = vm.QMP(qmp)
        self.n = 0

    def boot(self):
        self.g.expect(r"^guest-ready", 200)

    def run(self, line, timeout=60, good=True):
        self.n += 1
        self.g.send(f"{self.n} {line}\n")
        status = int(self.g.expect(rf"^={self.n}= (\d+)", timeout).group(1))
        if good and status:
            self.g.die(f"'{line}' gave {status}")
        return status

    def hmp(self, line):
        return self.q.cmd("human-monitor-command", **{"command-line": line})

    def deleted(self, device, timeout=60):
        """Waits for the event; false when it does not come."""
        end = time.monotonic() + timeout * vm.SLOW
        while time.monotonic() < end:
            self.q.cmd("query-status")
            for e in self.q.events:
                if e["event"] == "DEVICE_DELETED" and e["data"].get("device") == device:
                    self.q.events.remove(e)
                    return True
            time.sleep(0.05)
        return False

    def unplug(self, device):
        self.q.cmd("device_del", id=device)
        if not self.deleted(device):
            self.g.die(f"DEVICE_DELETED of {device} did not come")

    def end(self):
        self.run("dmesg | grep -iE 'call trace|BUG:|I/O error|hung' | sed 's/^/complaint: /'")
        if "complaint: " in self.g.text:
            self.g.die("the kernel complains")
        self.q.cmd("quit")
        self.g.wait(30)


def lock_free(m, path):
    """Nobody has the image open: a tool may write it."""
    p = subprocess.run([vm.tool("viv-io"), "-c", "write -q 0 512", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        m.g.die(f"{path} is not free after the unplug: {p.stdout}")


def plug_disk(m, path, n, **device):
    """Rounds go through a node of blockdev-add and a drive of drive_add in turns."""
    if n % 2:
        answer = m.hmp(f"drive_add 0 if=none,id=disk,file={path},format=qcow2")
        if answer.strip() != "OK":
            m.g.die(f"drive_add: {answer}")
        args = ",".join(f"{k}={v}" for k, v in device.items() if k != "driver")
        answer = m.hmp(f"device_add {device['driver']},drive=disk,{args}")
        if answer:
            m.g.die(f"device_add: {answer}")
    else:
        m.q.cmd("blockdev-add", **{"driver": "qcow2", "node-name": "disk", "file": {"driver": "file", "filename": path}})
        m.q.cmd("device_add", drive="disk", **device)


def forget_disk(m, path, n):
    if n % 2 == 0:
        m.q.cmd("blockdev-del", **{"node-name": "disk"})
    elif "disk" in m.hmp("info block"):
        m.g.die("the drive is still there")
    lock_free(m, path)


def disk_rounds(m, work, rounds, node, **device):
    path = image(work, f"{device['driver']}.qcow2", 64 * MIB)
    for n in range(rounds):
        plug_disk(m, path, n, id="d", **device)
        m.run(WAIT.format(node))
        m.run(USE_DISK.format(node))
        m.unplug("d")
        m.run(GONE.format(node))
        forget_disk(m, path, n)


def net_rounds(m, rounds, driver, **where):
    for n in range(rounds):
        m.q.cmd("netdev_add", type="user", id="n0")
        m.q.cmd("device_add", driver=driver, id="nic", netdev="n0", **where)
        m.run(WAIT.format("/sys/class/net/eth0"))
        m.run("ifconfig eth0 10.0.2.15 up && ping -c 1 -W 30 10.0.2.2 > /dev/null")
        m.unplug("nic")
        m.run(GONE.format("/sys/class/net/eth0"))
        m.q.cmd("netdev_del", id="n0")


def case_pc(work, rounds):
    m = Machine("pc", work)
    m.boot()
    disk_rounds(m, work, rounds, "/dev/vda", driver="virtio-blk-pci")
    disk_rounds(m, work, rounds, "/dev/nvme0n1", driver="nvme", serial="viv")
    net_rounds(m, rounds, "virtio-net-pci")
    net_rounds(m, 1, "e1000")
    m.end()
    print(f"ok: pc, ACPI: virtio-blk, nvme, virtio-net, e1000; {rounds} rounds")


def case_bridge(work, rounds):
    m = Machine("pc", work, ["-device", "pci-bridge,id=b0,chassis_nr=1"])
    m.boot()
    disk_rounds(m, work, rounds, "/dev/vda", driver="virtio-blk-pci", bus="b0")
    m.q.cmd("device_add", driver="piix3-usb-uhci", id="u", bus="b0")  # it has nothing but ports
    m.run(WAIT.format("/sys/bus/usb/devices/usb1"))
    m.unplug("u")
    m.end()
    print(f"ok: pc, ACPI, behind a bridge: virtio-blk, a UHCI controller; {rounds} rounds")


def case_q35(work, rounds):
    """A press of the attention button is followed by 5 seconds in which it could be taken back."""
    m = Machine("q35", work, ["-device", "pcie-root-port,id=rp0,slot=1", "-device", "pcie-root-port,id=rp1,slot=2,hotplug=off"])
    m.boot()
    for bus in ("pcie.0", "rp1"):
        try:
            m.q.cmd("device_add", driver="virtio-rng-pci", bus=bus)
            m.g.die(f"{bus} takes a device")
        except RuntimeError as e:
            if f"Bus '{bus}' does not support hotplugging" not in str(e):
                m.g.die(f"{bus}: {e}")
    disk_rounds(m, work, rounds, "/dev/vda", driver="virtio-blk-pci", bus="rp0")
    disk_rounds(m, work, rounds, "/dev/nvme0n1", driver="nvme", serial="viv", bus="rp0")
    net_rounds(m, rounds, "virtio-net-pci", bus="rp0")
    m.end()
    print(f"ok: q35, root port: virtio-blk, nvme, virtio-net; {rounds} rounds")


def case_usb(work, rounds):
    m = Machine("pc", work, ["-device", "qemu-xhci,id=x", "-device", "usb-ehci,id=e", "-device", "piix3-usb-uhci,id=u"])
    m.boot()
    for bus in ("x.0", "e.0", "u.0"):
        disk_rounds(m, work, rounds if bus == "x.0" else 1, "/dev/sda", driver="usb-storage", bus=bus)
    for n in range(rounds):
        m.q.cmd("device_add", driver="usb-hub", id="hub", bus="u.0", port="1")
        m.q.cmd("device_add", driver="usb-tablet", id="tab", bus="u.0", port="1.2")
        m.run("n=0; while ! grep -q 'Vivarium USB Tablet' /proc/bus/input/devices && [ $n -lt 300 ]; do sleep 0.1; n=$((n + 1)); done; "
              "grep -q 'Vivarium USB Tablet' /proc/bus/input/devices")
        m.q.cmd("device_del", id="hub")
        if not m.deleted("tab") or not m.deleted("hub"):
            m.g.die("hub and tablet have not gone")
        m.run("n=0; while grep -q 'Vivarium USB Tablet' /proc/bus/input/devices && [ $n -lt 300 ]; do sleep 0.1; n=$((n + 1)); done; "
              "! grep -q 'Vivarium USB Tablet' /proc/bus/input/devices")
    m.end()
    print(f"ok: USB: usb-storage on xHCI, EHCI, UHCI; a hub with a tablet; {rounds} rounds")


def case_scsi(work, rounds):
    m = Machine("pc", work, ["-device", "virtio-scsi-pci,id=s", "-device", "scsi-cd,bus=s.0,scsi-id=7"])
    m.boot()
    disk_rounds(m, work, rounds, "/dev/sda", driver="scsi-hd", bus="s.0")
    # The adapter with what is on it.
    path = image(work, "adapter.qcow2", 64 * MIB)
    for n in range(rounds):
        m.q.cmd("device_add", driver="virtio-scsi-pci", id="t")
        plug_disk(m, path, n, id="d", driver="scsi-hd", bus="t.0", lun=3)
        m.run(WAIT.format("/dev/sda"))
        m.run(USE_DISK.format("/dev/sda"))
        m.q.cmd("device_del", id="t")
        if not m.deleted("d") or not m.deleted("t"):
            m.g.die("adapter and disk have not gone")
        m.run(GONE.format("/dev/sda"))
        forget_disk(m, path, n)
    m.end()
    print(f"ok: SCSI: scsi-hd, an adapter with its disk; {rounds} rounds")


def case_busy(work, rounds):
    """Pulled out while the guest reads and writes: its requests end, one way or the other, and the guest lives."""
    m = Machine("pc", work, ["-device", "virtio-scsi-pci,id=s", "-device", "qemu-xhci,id=x"])
    m.boot()
    busy = "(while dd if=/dev/zero of={0} bs=64k count=256 oflag=direct; do :; done > /dev/null 2>&1; echo let-go) &"
    for n in range(rounds):
        for node, device in (("/dev/vda", {"driver": "virtio-blk-pci"}), ("/dev/nvme0n1", {"driver": "nvme", "serial": "viv"}),
                             ("/dev/sda", {"driver": "scsi-hd", "bus": "s.0"}), ("/dev/sda", {"driver": "usb-storage", "bus": "x.0"})):
            path = image(work, f"busy-{device['driver']}.qcow2", 64 * MIB)
            plug_disk(m, path, n, id="d", **device)
            m.run(WAIT.format(node))
            m.run(busy.format(node))
            time.sleep(0.3 * vm.SLOW)
            m.unplug("d")
            m.g.expect("^let-go", 60)
            m.run(GONE.replace("-e", "-b").format(node))
            m.run(f"rm -f {node}")  # a dd that came too late made a file of it
            forget_disk(m, path, n)
    for n in range(rounds):
        for driver in ("virtio-net-pci", "e1000"):
            m.q.cmd("netdev_add", type="user", id="n0")
            m.q.cmd("device_add", driver=driver, id="nic", netdev="n0")
            m.run(WAIT.format("/sys/class/net/eth0"))
            m.run("ifconfig eth0 10.0.2.15 up && ping -c 1 -W 30 10.0.2.2 > /dev/null")
            m.run("(while [ -e /sys/class/net/eth0 ]; do nc -u -w 1 10.0.2.2 9 < /dev/zero; done > /dev/null 2>&1; echo let-go) &")
            time.sleep(0.3 * vm.SLOW)
            m.unplug("nic")
            m.q.cmd("netdev_del", id="n0")
            m.g.expect("^let-go", 60)
    m.run("dmesg -c > /dev/null")  # it may well complain of I/O errors
    m.end()
    print(f"ok: pulled out under I/O: virtio-blk, nvme, scsi-hd, usb-storage, virtio-net, e1000; {rounds} rounds")


def case_saved(work, rounds):
    """A machine with devices that came later is loaded into one that has them from the start; another is refused by name."""
    disk, state = image(work, "saved.qcow2", 64 * MIB), os.path.join(work, "state")
    base = ["-drive", f"if=none,id=d,file={disk},format=qcow2"]
    later = [["-device", "virtio-blk-pci,id=a,drive=d,addr=9"], ["-device", "virtio-rng-pci,addr=5"]]
    m = Machine("pc", work, base)
    m.boot()
    for words in later:
        answer = m.hmp("device_add " + words[1])
        if answer:
            m.g.die(answer)
    m.run(WAIT.format("/dev/vda"))
    m.run(USE_DISK.format("/dev/vda"))
    m.q.cmd("migrate", uri=f"file:{state}")
    m.q.cmd("quit")
    m.g.wait(30)
    p = subprocess.run(vm.emulator() + m.g.args[len(vm.emulator()):] + later[0] + ["-incoming", f"file:{state}"], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60 * vm.SLOW)
    if not p.returncode or "pci.0/05.0/virtio-rng-pci" not in p.stdout:
        vm.fail(f"loaded without a device, or the error does not name it: {p.stdout}")
    m2 = Machine("pc", work, base + later[1] + later[0] + ["-incoming", f"file:{state}"], "loaded")
    m2.n = m.n
    m2.run(USE_DISK.format("/dev/vda"))
    m2.unplug("a")
    m2.run(GONE.format("/dev/vda"))
    lock_free(m2, disk)
    m2.end()
    print("ok: saved with devices that came later, loaded; the error names the odd one")


def case_reset(work, rounds):
    """A question that nobody has answered is answered by a reset, and the id is free."""
    m = Machine("pc", work, ["-S"])
    m.q.cmd("device_add", driver="virtio-rng-pci", id="r")
    m.q.cmd("device_del", id="r")
    if m.deleted("r", 1):
        m.g.die("the guest, which does not run, let go of a device")
    m.q.cmd("system_reset")
    if not m.deleted("r", 10):
        m.g.die("a reset does not complete the unplug")
    m.q.cmd("device_add", driver="virtio-rng-pci", id="r")
    m.q.cmd("quit")
    m.g.wait(30)
    print("ok: a reset completes what was asked for")


def case_share(work, rounds):
    """A shared folder comes and goes; a mounted one, which the guest does not let go of, under I/O by a reset."""
    folder = os.path.join(work, "share")
    os.makedirs(folder)
    m = Machine("pc", work, ["-fsdev", f"local,id=f,path={folder},security_model=none"])
    m.boot()
    for n in range(max(rounds, 2)):
        m.q.cmd("device_add", driver="virtio-9p-pci", fsdev="f", mount_tag="x", id="s")
        m.run("mkdir -p /mnt; n=0; until mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072 x /mnt 2>/dev/null || [ $n -ge 300 ]; "
              "do sleep 0.1; n=$((n + 1)); done; grep -q ' /mnt ' /proc/mounts")
        m.run("dd if=/dev/urandom of=/tmp/p bs=64k count=16 2>/dev/null; cp /tmp/p /mnt/file && cmp /tmp/p /mnt/file")
        if n % 2:
            m.run("umount /mnt")
            m.unplug("s")
            continue
        m.run("(while :; do dd if=/dev/zero of=/mnt/busy bs=64k count=64; done > /dev/null 2>&1) &")
        time.sleep(0.3 * vm.SLOW)
        m.q.cmd("device_del", id="s")
        m.q.cmd("system_reset")
        if not m.deleted("s"):
            m.g.die("a reset does not pull a mounted share")
        m.boot()
    m.end()
    print(f"ok: virtio-9p: unmounted and unplugged, pulled under I/O by a reset; {max(rounds, 2)} rounds")


def refused(m, word, **args):
    try:
        m.q.cmd("device_add", **args)
    except RuntimeError as e:
        if word not in str(e):
            m.g.die(f"device_add {args}: refused, but: {e}")
        return
    m.g.die(f"device_add {args}: not refused")


def case_half(work, rounds):
    """What cannot be added leaves nothing behind: its place, its drive, its network are free."""
    boot, path = image(work, "boot.qcow2", MIB), image(work, "half.qcow2", MIB)
    m = Machine("pc", work, ["-S", "-drive", f"if=none,id=boot,file={boot},format=qcow2", "-device", "virtio-blk-pci,drive=boot,bootindex=1",
                             "-device", "virtio-rng-pci,addr=9", "-device", "virtio-scsi-pci,id=s", "-device", "qemu-xhci,id=x"])
    disks = [{"driver": "virtio-blk-pci"}, {"driver": "nvme", "serial": "viv"}, {"driver": "scsi-hd", "bus": "s.0"},
             {"driver": "usb-storage", "bus": "x.0"}]
    for n in range(rounds):
        for device in disks:
            pci = "bus" not in device
            wrong = [("boot", {"bootindex": 1}), ("512", {"logical_block_size": 4096, "physical_block_size": 512})]
            wrong += [("taken", {"addr": "9"}), ("romfile", {"romfile": os.path.join(work, "no-rom")})] if pci else []
            for word, how in wrong:
                m.q.cmd("blockdev-add", **{"driver": "qcow2", "node-name": "disk", "file": {"driver": "file", "filename": path}})
                refused(m, word, id="d", drive="disk", **device, **how)
                refused(m, "nowhere", id="d", drive="nowhere", **device)
                if pci:  # nothing is at the place
                    m.q.cmd("device_add", driver="virtio-rng-pci", id="d", addr="1d")
                    m.q.cmd("device_del", id="d")
                    m.q.cmd("system_reset")
                    if not m.deleted("d", 10):
                        m.g.die("the one after it does not go")
                m.q.cmd("blockdev-del", **{"node-name": "disk"})
                lock_free(m, path)
        for driver in ("virtio-net-pci", "e1000", "rtl8139"):
            m.q.cmd("netdev_add", type="user", id="n0")
            refused(m, "taken", driver=driver, id="nic", netdev="n0", addr="9")
            refused(m, "bootindex", driver=driver, id="nic", netdev="n0", bootindex=1)
            m.q.cmd("netdev_del", id="n0")
    if "Ethernet" in m.hmp("info pci"):
        m.g.die("a network card is left")
    m.q.cmd("quit")
    m.g.wait(30)
    print(f"ok: what cannot be added leaves nothing; {rounds} rounds")


CASES = {"pc": case_pc, "bridge": case_bridge, "q35": case_q35, "usb": case_usb, "scsi": case_scsi, "busy": case_busy, "saved": case_saved,
         "reset": case_reset, "share": case_share, "half": case_half}


def main():
    args = sys.argv[1:]
    rounds = int(args.pop(0)) if args and args[0].isdigit() else 3
    work = vm.scratch()
    for name in args or CASES:
        CASES[name](work, rounds)


if __name__ == "__main__":
    main()
