#!/bin/sh
# Small kernels that check one thing of CPU or board each and say "ok".
# usage: tests/x86/payload.sh VIV_VM ACCEL    (as -accel takes it, with its options)
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

# payload, options
run() {
    p=$1
    shift
    [ -f "$tmp/$p.elf" ] || "$here/../boot/build-payload" "$here/payload/$p.S" "$tmp/$p.elf" 2>"$tmp/err" || { cat "$tmp/err"; exit 1; }
    out=$(timeout 60 "$vm" -accel "$accel" -m 64 -nodefaults -display none -serial stdio -monitor none \
        -device isa-debug-exit,iobase=0xf4,iosize=4 "$@" -kernel "$tmp/$p.elf" </dev/null 2>"$tmp/err") && st=0 || st=$?
    if [ "$st" = 1 ] && [ "$out" = ok ]; then
        echo "ok: $p $* with $accel"
    else
        echo "FAIL: $p $* with $accel: status $st, output '$out'"
        cat "$tmp/err"
        rc=1
    fi
}

# KVM's own local APIC is the kernel's to test.
[ "${accel%%,*}" = kvm ] || run apic_timer -cpu qemu64,+tsc-deadline,+tsc-adjust
run firmware -M pc
run firmware -M pc,pit=off -append nopit
run a20 -M pc
run firmware -M microvm,pic=on,pit=on
# KVM without VT-x or SVM under it does not know all their instructions; with it, this is the host's CPU.
if [ "${accel%%,*}" != kvm ]; then
    for p in smc latency precise debug ferr multiboot; do
        run $p
    done
    run smp -smp 2
    run smm -smp 2 -M pc,smm=on
    run smm -smp 2 -M q35,smm=on
fi
[ $rc = 0 ] && echo PASS
exit $rc
