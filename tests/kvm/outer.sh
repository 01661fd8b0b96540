# Sourced by nested.sh and inside.sh: the outer guest, whose CPU has SVM because Debian's QEMU emulates it. Sets $tmp, $top.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
command -v qemu-system-x86_64 >/dev/null || { echo "SKIP: needs qemu-system-x86_64 (apt-get install qemu-system-x86)"; exit 77; }
cache=${VIV_GUEST_DIR:-${VIV_BUILD:-$top/build}/guest}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap "exit 1" INT TERM

# KERNEL INITRAMFS MIB SECONDS [QEMU'S ARGUMENTS]...: runs it with its serial port on standard output.
outer() {
    k=$1 i=$2 m=$3 s=$4
    shift 4
    timeout "$s" qemu-system-x86_64 -accel tcg -cpu max,+svm -smp 2 -m "$m" -nodefaults -no-reboot -display none -serial stdio \
        -kernel "$k" -initrd "$i" -append "console=ttyS0 quiet panic=-1" "$@" </dev/null
}
