#!/bin/sh
# The everyday PC under a real KVM (inside.sh): firmware and boot loaders, disks, saved state, resets, networking, USB.
# usage: VIV_BUILD=BUILD tests/kvm/nested_pc.sh [CASE]...       (all: about 25 minutes; skips with 77 when something is missing)
set -eu
here=$(dirname "$0")
commands() {
    case $1 in
    state) echo 'tests/kvm/state.py' ;;
    payload) echo 'tests/boot/payload.sh build/src/cmd/viv-vm kvm && tests/x86/payload.sh build/src/cmd/viv-vm kvm' | sed "s#build/#$build/#g" ;;
    bios) echo 'tests/boot/bios_screen.py std && tests/boot/iso.py' ;;
    cd) echo 'tests/kvm/pc.py cd' ;;
    disks) echo 'tests/kvm/pc.py disks' ;;
    resets) echo 'tests/kvm/pc.py resets' ;;
    snapshot) echo 'tests/system/snapshot.py 3' ;;
    net) echo 'tests/system/net.py 8' ;;
    usb) echo 'tests/system/usb.py uhci' ;;
    # Not of all: Debian's QEMU 7.2 ended with an assertion in tcg_handle_interrupt, in both tries.
    uefi) echo 'VIV_MACHINE=q35 tests/boot/ovmf.py shell' ;;
    *) echo "nested_pc.sh: no case $1" >&2; exit 2 ;;
    esac
}
build=${VIV_BUILD:-$(cd "$here/../.." && pwd)/build}
[ $# -gt 0 ] || set -- state payload bios cd disks resets snapshot net usb
n=$#
while [ "$n" -gt 0 ]; do
    c=$(commands "$1") || exit 2
    shift
    set -- "$@" "$c"
    n=$((n - 1))
done
exec "$here/inside.sh" "$@"
