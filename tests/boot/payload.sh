#!/bin/sh
# Payload kernels on each board: text on COM1 and the exit status must match.
# usage: tests/boot/payload.sh VIV_VM ACCEL    (as -accel takes it, with its options)
set -eu
vm=$1 accel=$2
case $accel in
kvm*) [ -r /dev/kvm ] && [ -w /dev/kvm ] || { echo "SKIP: no access to /dev/kvm"; exit 77; } ;;
esac
here=$(cd "$(dirname "$0")" && pwd)
command -v "${CC:-gcc}" >/dev/null || { echo "SKIP: no C compiler"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
rc=0

# machine, payload, expected text
run() {
    out=$(timeout 60 "$vm" -M "$1" -accel "$accel" -m 64 -nodefaults -display none -serial stdio -monitor none \
        -device isa-debug-exit,iobase=0xf4,iosize=4 -kernel "$tmp/$2.elf" -append "a b" </dev/null 2>"$tmp/err") && st=0 || st=$?
    if [ "$st" = 1 ] && [ "$out" = "$3" ]; then
        echo "ok: $2 on $1 with $accel"
    else
        echo "FAIL: $2 on $1 with $accel: status $st, output '$out'"
        cat "$tmp/err"
        rc=1
    fi
}

for p in hello realmode; do
    "$here/build-payload" "$here/$p.S" "$tmp/$p.elf" 2>"$tmp/err" || { cat "$tmp/err"; echo "FAIL: cannot build $p"; exit 1; }
done
for m in pc microvm; do
    run "$m" hello "hello, $tmp/hello.elf a b"
    run "$m" realmode "real mode"
done
[ $rc = 0 ] && echo PASS
exit $rc
