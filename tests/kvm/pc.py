#!/usr/bin/env python3
"""An everyday PC under KVM: pc.py [cd|disks|resets]... (all)

cd: SeaBIOS, GRUB's menu from a CD on the serial line, Linux from there. disks: virtio-blk, NVMe and AHCI, each written, read back and
compared by the guest, the same on the host, images sound. resets: system_reset, reboot by the guest (ACPI's register, keyboard controller, triple
fault), the power button, S5. Meant for a guest with a real KVM (inside.sh); VIV_ACCEL=xlate runs it on the translator."""
import hashlib
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import vm  # noqa: E402
from disks import no_complaints  # noqa: E402

ACCEL = ["-accel", os.environ.get("VIV_ACCEL", "kvm")]


def qmp_args(work):
    return ["-qmp", f"unix:{work}/q,server=on,wait=off"]


CFG = """serial --unit=0
terminal_input serial
terminal_output serial
set timeout=600
menuentry 'first' {
  echo FIRST-ENTRY
  sleep --interruptible 1000
}
menuentry 'second' {
  echo SECOND-ENTRY
  linux /vmlinuz console=ttyS0 panic=-1 quiet viv=cd
  initrd /initrd
}
"""


def test_cd(work):
    """The second entry is chosen with a key, on a command line first."""
    vm.need("grub-mkrescue", "xorriso", "mformat")
    os.makedirs(f"{work}/iso/boot/grub")
    with open(f"{work}/iso/boot/grub/grub.cfg", "w") as f:
        f.write(CFG)
    shutil.copy(vm.kernel(), f"{work}/iso/vmlinuz")
    shutil.copy(vm.initramfs("echo cpus=$(nproc) $(grep -o viv=[a-z]* /proc/cmdline) from-the-cd"), f"{work}/iso/initrd")
    p = subprocess.run(["grub-mkrescue", "-o", f"{work}/cd.iso", "--modules=biosdisk iso9660 serial terminal echo linux sleep", "-d",
                        "/usr/lib/grub/i386-pc", f"{work}/iso"],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        vm.skip(f"grub-mkrescue: {p.stdout[-300:]}")
    with vm.Guest(vm.base_args("pc", "256M", 2) + ACCEL + ["-vga", "std", "-cdrom", f"{work}/cd.iso", "-boot", "d"], "cd") as g:
        g.expect(r"\*first", 90)
        g.send("c")
        g.expect("grub> ", 30)
        for c in "echo cmd-$grub_cpu-$grub_platform\r":
            g.send(c)
            time.sleep(0.02)
        g.expect("cmd-i386-pc", 30)
        g.send("\x1b")
        g.expect(r"\*first", 30)
        g.send("\x0e\r")  # Ctrl-N: down
        g.expect("SECOND-ENTRY", 30)
        g.expect("cpus=2 viv=cd from-the-cd", 120)
        if g.wait(60):
            g.die("status not 0")
    print("ok: GRUB from a CD on the serial line, and Linux from there")


DISKS = """
n=0; while [ ! -e /dev/vda -o ! -e /dev/nvme0n1 -o ! -e /dev/sda ]; do sleep 0.2; n=$((n + 1)); [ $n -gt 200 ] && break; done
for d in vda nvme0n1 sda; do (
k=0; while [ $k -lt 4 ]; do
dd if=/dev/urandom of=/tmp/$d.$k bs=1M count=2 2>/dev/null
dd if=/tmp/$d.$k of=/dev/$d bs=256k seek=$((k * 8)) oflag=direct 2>/dev/null || echo different write
k=$((k + 1)); done
sync; echo 3 > /proc/sys/vm/drop_caches
k=0; while [ $k -lt 4 ]; do
dd if=/dev/$d of=/tmp/q.$d bs=4k skip=$((k * 512)) count=512 iflag=direct 2>/dev/null; cmp /tmp/q.$d /tmp/$d.$k || echo different $d $k
k=$((k + 1)); done
echo "sum $d $(cat /tmp/$d.0 /tmp/$d.1 /tmp/$d.2 /tmp/$d.3 | sha256sum)"
) & done
wait
dmesg | grep -iE 'nvme|ata|vda|virtio' | grep -iE 'error|fail|timeout|reset|call trace' | sed 's/^/complaint: /'
echo user-space-reached
"""


def test_disks(work):
    args = vm.base_args("q35", "384M", 2) + ACCEL + [
        "-kernel", vm.kernel("generic"), "-append", "console=ttyS0 panic=-1 quiet", "-initrd",
        vm.initramfs(DISKS, ["virtio_pci", "virtio_blk", "nvme", "ahci", "sd_mod"], arch="generic")]
    for name, device in ("vda", "virtio-blk-pci"), ("nvme0n1", "nvme,serial=1"), ("sda", "ide-hd"):
        vm.run_tool([vm.tool("viv-img"), "create", "-q", "-f", "qcow2", f"{work}/{name}", "64M"])
        args += ["-drive", f"if=none,id={name},format=qcow2,file={work}/{name}", "-device", f"{device},drive={name}"]
    with vm.Guest(args, "disks") as g:
        sums = {}
        for _ in range(3):
            m = g.expect(r"^sum (\w+) ([0-9a-f]{64}) ", 200)
            sums[m.group(1).decode()] = m.group(2).decode()
        g.expect("^user-space-reached", 30)
        if g.wait(60):
            g.die("status not 0")
        if "different" in g.text:
            g.die("what was read is not what was written")
        no_complaints(g)
    for name, want in sums.items():
        vm.run_tool([vm.tool("viv-img"), "check", f"{work}/{name}"])
        vm.run_tool([vm.tool("viv-img"), "convert", "-O", "raw", f"{work}/{name}", f"{work}/raw"])
        with open(f"{work}/raw", "rb") as f:
            if hashlib.sha256(f.read(8 << 20)).hexdigest() != want:
                vm.fail(f"{name}: what the guest wrote is not in the image")
    print("ok: virtio-blk, NVMe and AHCI with two CPUs, images as the guest wrote them")


# How it reboots is the kernel's reboot= of this boot; the way of the next one is asked for in a line.
RESETS = """
node=$(grep -A5 'Name="Power Button"' /proc/bus/input/devices | sed -n 's/.*Handlers=.*\\(event[0-9]*\\).*/\\1/p')
echo "up cpus=$(nproc)"
while read way; do
case $way in
acpi | kbd | triple) echo $way > /sys/kernel/reboot/type; echo going; reboot -f ;;
button) echo waiting; dd if=/dev/input/$node bs=24 count=1 2>/dev/null | hexdump -v -e '1/1 "%02x"'; echo; echo pressed; break ;;
off) break ;;
esac
done
"""


def resets_on(work, board):
    args = vm.base_args(board, "256M", 2) + ACCEL + qmp_args(work)
    args.remove("-no-reboot")
    args += ["-kernel", vm.kernel("generic"), "-append", "console=ttyS0 panic=-1 quiet", "-initrd",
             vm.initramfs(RESETS, ["button", "evdev"], arch="generic")]
    with vm.Guest(args, f"resets {board}") as g:
        q = vm.QMP(f"{work}/q")
        for way in ("system_reset", "acpi", "kbd", "triple", "system_reset"):
            g.expect(r"up cpus=2\r", 200)
            q.cmd("query-status")  # with the events until now: the keyboard controller may have been told twice
            q.events.clear()
            if way == "system_reset":
                q.cmd(way)
            else:
                g.send(way + "\n")
                g.expect("^going", 30)
            end = time.monotonic() + 60 * vm.SLOW
            while not (resets := [e["data"] for e in q.events if e["event"] == "RESET"]):
                if time.monotonic() > end:
                    g.die(f"{way}: no reset")
                q.cmd("query-status")
                time.sleep(0.1)
            if resets[0]["guest"] != (way != "system_reset"):
                g.die(f"{way}: {resets}")
        g.expect(r"up cpus=2\r", 200)
        g.send("button\n")
        g.expect("^waiting", 30)
        time.sleep(0.5 * vm.SLOW)
        q.cmd("system_powerdown")
        g.expect("01007400" "01000000", 60)  # EV_KEY, KEY_POWER, down
        g.expect("^pressed", 30)
        if g.wait(60):
            g.die("power-off ends with an error")
    print(f"ok: {board}: resets of each way, the power button, S5")


def test_resets(work):
    for board in "pc", "q35":
        resets_on(work, board)


def main():
    tests = {n[5:]: f for n, f in globals().items() if n.startswith("test_")}
    for name in sys.argv[1:] or tests:
        tests[name](vm.scratch())


main()
