#!/bin/sh
# Payload kernels on every accelerator there is: text on COM1 and the exit status must match.
# usage: tests/boot/payload.sh VIV_VM
set -eu
vm=$1
here=$(cd "$(dirname "$0")" && pwd)
command -v "${CC:-gcc}" >/dev/null || { echo "SKIP: no C compiler"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
rc=0

# accelerator, machine, payload, expected text
run() {
    out=$(timeout 60 "$vm" -M "$2" -accel "$1" -m 64 -nodefaults -display none -serial stdio -monitor none \
        -device isa-debug-exit,iobase=0xf4,iosize=4 -kernel "$tmp/$3.elf" -append "a b" </dev/null 2>"$tmp/err") && st=0 || st=$?
    if [ "$st" = 1 ] && [ "$out" = "$4" ]; then
        echo "ok: $3 on $2 with $1"
    else
        echo "FAIL: $3 on $2 with $1: status $st, output '$out'"
        cat "$tmp/err"
        rc=1
    fi
}

for p in hello realmode; do
    "$here/build-payload" "$here/$p.S" "$tmp/$p.elf" 2>"$tmp/err" || { cat "$tmp/err"; echo "FAIL: cannot build $p"; exit 1; }
done
accels=interp
if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then accels="interp kvm"; else echo "skip: no access to /dev/kvm"; fi
for a in $accels; do
    for m in pc microvm; do
        run "$a" "$m" hello "hello, $tmp/hello.elf a b"
        run "$a" "$m" realmode "real mode"
    done
done
[ $rc = 0 ] && echo PASS
exit $rc
