#!/bin/sh
# Makes a disk with an EFI system partition: GRUB as \EFI\BOOT\BOOTX64.EFI, and the files named.
# usage: tests/boot/efi_disk.sh IMAGE GRUB.CFG FILE...   (GRUB.CFG "-": no GRUB)
set -eu
image=$1 cfg=$2
shift 2
for p in mformat mmd mcopy grub-mkimage; do
    command -v $p >/dev/null || { echo "no $p: apt-get install mtools grub-common" >&2; exit 77; }
done
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
rm -f "$image"
truncate -s 96M "$image"
# One partition, type EFh, from sector 2048, 95 MiB; and the signature (MBR, 1BEh and 1FEh).
printf '\0\0\0\0\357\0\0\0\0\010\0\0\0\370\002\0' | dd of="$image" bs=1 seek=446 conv=notrunc status=none
printf '\125\252' | dd of="$image" bs=1 seek=510 conv=notrunc status=none
mformat -i "$image@@1M" -F -T 194560 -h 64 -s 32 ::
if [ "$cfg" != - ]; then
    [ -d /usr/lib/grub/x86_64-efi ] || { echo "no GRUB for UEFI: apt-get install grub-efi-amd64-bin" >&2; exit 77; }
    grub-mkimage -O x86_64-efi -o "$tmp/grub.efi" -c "$cfg" -p /EFI/BOOT part_msdos fat linux serial terminal echo boot efi_gop
    mmd -i "$image@@1M" ::/EFI ::/EFI/BOOT
    mcopy -i "$image@@1M" "$tmp/grub.efi" ::/EFI/BOOT/BOOTX64.EFI
fi
for f; do mcopy -i "$image@@1M" "$f" ::/; done
