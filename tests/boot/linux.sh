#!/bin/sh
# Boots Debian's cloud kernel to user space and through power-off; with "reboot", once around first.
# usage: tests/boot/linux.sh VIV_VM MACHINE CPUS [reboot|pvh|big|noacpi] [viv-vm options...]
#   pvh: the same kernel, unpacked to ELF and entered by its PVH note;  big: 5 GiB of RAM;
#   noacpi: CPUs and interrupts by the MP table, and it ends by a reset
set -eu
vm=$1 machine=$2 cpus=$3 how=${4:-plain}
if [ $# -ge 4 ]; then shift 4; else shift 3; fi
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/lib/reboots.sh"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
arch=amd64
[ "$how" = noacpi ] && arch=generic # the cloud kernel reads no MP table
kernel=$("$top/tools/fetch-kernel" -a $arch "${VIV_GUEST_DIR:-$top/build/guest}") || exit $?
script='echo "MARKER cpus=$(nproc) ram=$(sed -n "s/MemTotal: *//p" /proc/meminfo) rng=$(cat /sys/class/misc/hw_random/rng_current)"'
case $how in
reboot) last='reboot -f' ;;
noacpi) last='echo "PINS $(dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c) $(grep virtio /proc/interrupts)"; reboot -f' ;;
*) last= ;;
esac
case $machine in
pc | q35) rng=virtio-rng-pci module=virtio_pci ;;
microvm) rng=virtio-rng-device module=virtio_mmio ;;
esac
"$top/tools/mkinitramfs-busybox" -k "${kernel%/boot/*}" -m $module -m virtio_rng -o "$tmp/initrd" \
    "$script; dmesg -r | grep '^<[0-4]>' >/tmp/w; echo \"WARNINGS \$(wc -l </tmp/w)\"; cat /tmp/w; $last" || exit $?
mem=256 append= end=
case $how in
pvh) "$top/tools/extract-vmlinux" "$kernel" >"$tmp/vmlinux"; kernel=$tmp/vmlinux ;;
big) mem=5G ;;
noacpi) append=" acpi=off pci=nomsi" end=-no-reboot ;;
esac
fail() { echo "FAIL: $*"; cat "$tmp/err"; tail -n 40 "$tmp/out"; exit 1; }
set -- -M "$machine" -smp "$cpus" -m $mem -nodefaults -display none -serial stdio -monitor none \
    -device $rng -kernel "$kernel" -initrd "$tmp/initrd" -append "console=ttyS0 panic=-1$append" $end "$@"
if [ "$how" = reboot ]; then
    reboots '^MARKER cpus=' "$vm" "$@"
    [ $st = 0 ] || fail "status $st at SIGTERM"
    echo "PASS: started three times"
    exit 0
fi
timeout "${LIMIT:-300}" "$vm" "$@" </dev/null >"$tmp/out" 2>"$tmp/err" && st=0 || st=$?
[ $st = 0 ] || fail "exit status $st"
grep -q "MARKER cpus=$cpus .*rng=virtio_rng" "$tmp/out" || fail "no marker with $cpus CPUs and a virtio rng"
if [ "$how" = noacpi ]; then
    grep -q "^PINS 64 .*IO-APIC.*virtio" "$tmp/out" || fail "the rng does not interrupt by a pin of the I/O APIC"
fi
if [ "$how" = big ]; then
    kb=$(sed -n 's/.*ram=\([0-9]*\) kB.*/\1/p' "$tmp/out")
    [ "$kb" -gt 4700000 ] || fail "guest sees $kb kB of 5 GiB"
fi
sed -n '/^MARKER/,/Preparing\|^PINS/p' "$tmp/out" | head -n 20
echo PASS
