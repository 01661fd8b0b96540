#!/bin/sh
# SeaBIOS starts GRUB from a virtio disk (or, with "scsi", one on virtio-scsi, with "nvme", an NVMe one), GRUB starts Debian's cloud kernel, which sees the tables it was handed, and
# powers off (or, with "reboot", goes back into the firmware twice). "pxe": the network card's own ROM (iPXE) fetches the kernel.
# usage: tests/boot/seabios.sh VIV_VM CPUS [reboot|pxe|scsi|nvme] [viv-vm options...]
set -eu
vm=$1 cpus=$2 how=${3:-plain}
if [ $# -ge 3 ]; then shift 3; else shift 2; fi
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/lib/reboots.sh"
[ -f /usr/share/seabios/bios-256k.bin ] || { echo "no SeaBIOS: apt-get install seabios"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
kernel=$("$top/tools/fetch-kernel" "${VIV_GUEST_DIR:-$top/build/guest}") || exit $?
name=vda modules='-m virtio_pci -m virtio_blk' disk='-drive if=none,id=d0,format=raw,file='
device='-device virtio-blk-pci,drive=d0,bootindex=1'
case $how in
scsi)
    name=sda modules='-m virtio_pci -m virtio_scsi -m sd_mod' disk='-drive if=scsi,format=raw,file=' device='' ;;
nvme)
    name=nvme0n1 modules='-m nvme' device='-device nvme,drive=d0,serial=boot,bootindex=1' ;;
esac
script='d=/sys/class/dmi/id
echo "MARKER cpus=$(nproc) bios=$(cat $d/bios_vendor) product=$(cat $d/product_name) acpi=$(ls /sys/firmware/acpi/tables | tr "\n" ,) disk=$(cat /sys/block/'$name'/size)"
dmesg -r | grep "^<[0-4]>" >/tmp/w; echo "WARNINGS $(wc -l </tmp/w)"; cat /tmp/w'
[ "$how" = reboot ] && script="$script; reboot -f"
"$top/tools/mkinitramfs-busybox" -k "${kernel%/boot/*}" $modules -o "$tmp/initrd" "$script" || exit $?
"$top/tests/boot/grub_disk.sh" "$kernel" "$tmp/initrd" "$tmp/disk" || exit $?
fail() { echo "FAIL: $*"; cat "$tmp/err"; tail -n 40 "$tmp/out"; tail -n 20 "$tmp/log"; exit 1; }
set -- -M pc -smp "$cpus" -m 256 -nodefaults -display none -serial stdio -monitor none \
    $disk"$tmp/disk" $device \
    -chardev "file,id=log,path=$tmp/log" -device isa-debugcon,iobase=0x402,chardev=log "$@"
if [ "$how" = pxe ]; then
    [ -f /usr/lib/ipxe/qemu/efi-virtio.rom ] || { echo "no iPXE: apt-get install ipxe-qemu"; exit 77; }
    cp "$kernel" "$tmp/vmlinuz"
    printf '#!ipxe\nkernel vmlinuz console=ttyS0 panic=-1 initrd=initrd\ninitrd initrd\nboot\n' >"$tmp/boot.ipxe"
    set -- "$@" -boot n -netdev "user,id=n,tftp=$tmp,bootfile=boot.ipxe" -device virtio-net-pci,netdev=n,bootindex=0
fi
if [ "$how" = reboot ]; then
    reboots '^MARKER cpus=' "$vm" "$@"
    [ "$(grep -c '^Booting from Hard Disk' "$tmp/log")" -ge 3 ] || fail "a reset did not lead into the firmware"
else
    timeout "${LIMIT:-300}" "$vm" "$@" </dev/null >"$tmp/out" 2>"$tmp/err" && st=0 || st=$?
fi
[ $st = 0 ] || fail "exit status $st"
if [ "$how" = pxe ]; then
    grep -q '^Booting from ROM' "$tmp/log" || fail "the firmware did not start the card's ROM"
else
    grep -q '^Booting from Hard Disk' "$tmp/log" || fail "the firmware did not boot the disk"
    grep -q GRUB-HERE "$tmp/out" || fail "GRUB did not come up"
fi
grep -q "^Found $cpus cpu(s)" "$tmp/log" || fail "the firmware did not find $cpus CPUs"
grep -q "MARKER cpus=$cpus bios=.*product=Standard PC .*APIC,DSDT,FACP,FACS,.*disk=131072" "$tmp/out" || fail "no marker"
sed -n '/^MARKER/,/Preparing/p' "$tmp/out" | head -n 20
echo PASS
