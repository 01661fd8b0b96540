#!/bin/sh
# Small kernels that check one thing of CPU or board each and say "ok".
# usage: tests/x86/payload.sh VIV_VM
set -eu
vm=$1
here=$(cd "$(dirname "$0")" && pwd)
command -v "${CC:-gcc}" >/dev/null || { echo "SKIP: no C compiler"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
rc=0

# accelerator, payload, options
run() {
    a=$1 p=$2
    shift 2
    [ -f "$tmp/$p.elf" ] || "$here/../boot/build-payload" "$here/payload/$p.S" "$tmp/$p.elf" 2>"$tmp/err" || { cat "$tmp/err"; exit 1; }
    out=$(timeout 60 "$vm" -accel $a -m 64 -nodefaults -display none -serial stdio -monitor none \
        -device isa-debug-exit,iobase=0xf4,iosize=4 "$@" -kernel "$tmp/$p.elf" </dev/null 2>"$tmp/err") && st=0 || st=$?
    if [ "$st" = 1 ] && [ "$out" = ok ]; then
        echo "ok: $p $* with $a"
    else
        echo "FAIL: $p $* with $a: status $st, output '$out'"
        cat "$tmp/err"
        rc=1
    fi
}

accels=interp
if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then accels="interp kvm"; else echo "skip: no access to /dev/kvm"; fi
run interp apic_timer -cpu qemu64,+tsc-deadline,+tsc-adjust
for a in $accels; do
    run $a firmware -M pc
    run $a firmware -M pc,pit=off -append nopit
    run $a firmware -M microvm,pic=on,pit=on
done
[ $rc = 0 ] && echo PASS
exit $rc
