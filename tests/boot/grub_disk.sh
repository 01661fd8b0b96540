#!/bin/sh
# Makes a disk that a PC's firmware boots: GRUB in its first sectors, Debian's cloud kernel on an ext4 partition.
# usage: tests/boot/grub_disk.sh KERNEL INITRD IMAGE [kernel options]
set -eu
kernel=$1 initrd=$2 image=$3 append=${4:-console=ttyS0 panic=-1}
lib=/usr/lib/grub/i386-pc
if [ ! -f $lib/boot.img ] || ! command -v grub-mkimage >/dev/null; then
    echo "no GRUB tools: apt-get install grub-pc-bin grub-common" >&2
    exit 77
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/root/boot"
cp "$kernel" "$tmp/root/boot/vmlinuz"
cp "$initrd" "$tmp/root/boot/initrd"
cat >"$tmp/grub.cfg" <<END
serial --unit=0
terminal_output serial
echo GRUB-HERE
set root=(hd0,msdos1)
linux /boot/vmlinuz $append
initrd /boot/initrd
boot
END
grub-mkimage -O i386-pc -o "$tmp/core.img" -c "$tmp/grub.cfg" -p '(hd0,msdos1)/boot' \
    biosdisk part_msdos ext2 linux serial terminal echo boot
[ "$(stat -c %s "$tmp/core.img")" -lt 1000000 ] # fits before the partition, at 1 MiB
mke2fs -q -t ext4 -d "$tmp/root" "$tmp/part" 63M
truncate -s 64M "$image"
dd if=$lib/boot.img of="$image" bs=440 count=1 conv=notrunc status=none
dd if="$tmp/core.img" of="$image" bs=512 seek=1 conv=notrunc status=none
dd if="$tmp/part" of="$image" bs=1M seek=1 conv=notrunc status=none
# One primary partition, bootable: type 83h, from sector 2048, 63 MiB; and the signature (MBR, 1BEh and 1FEh).
printf '\200\0\0\0\203\0\0\0\0\010\0\0\0\370\001\0' | dd of="$image" bs=1 seek=446 conv=notrunc status=none
printf '\125\252' | dd of="$image" bs=1 seek=510 conv=notrunc status=none
