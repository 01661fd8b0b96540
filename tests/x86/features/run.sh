#!/bin/sh
# Each instruction whose CPUID feature a model lacks must be undefined there, whatever the host has.
# usage: tests/x86/features/run.sh VIV_VM GEN [ACCEL...]
#   default ACCEL: every software engine; ACCEL "qemu": QEMU TCG instead of VIV_VM, for comparison (never fails)
set -eu
vm=$1 gen=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
command -v "${CC:-gcc}" >/dev/null || { echo "SKIP: no C compiler"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
"$gen" >"$tmp/table.inc"
"$here/../../boot/build-payload" -I"$tmp" "$here/features.S" "$tmp/features.elf"
[ $# -gt 0 ] || set -- $("$vm" -accel help | sed -n 's/^\(interp\|xlate\)$/\1/p')
rc=0

# accelerator, model, at least so many instructions that it lacks
run() {
    case $1 in
    qemu) set -- "$@" qemu-system-x86_64 tcg ;;
    *) set -- "$@" "$vm" "$1" ;;
    esac
    timeout 60 "$4" -accel "$5" -cpu "$2" -m 64 -nodefaults -display none -serial stdio -monitor none \
        -device isa-debug-exit,iobase=0xf4,iosize=4 -kernel "$tmp/features.elf" </dev/null >"$tmp/out" 2>"$tmp/err" && st=0 || st=$?
    n=$(sed -n 's/^checked \([0-9]*\) wrong .*/\1/p' "$tmp/out")
    echo "$1 -cpu $2: $(tail -n 1 "$tmp/out")"
    if [ "$st" != 1 ] || [ "${n:-0}" -lt "$3" ]; then
        grep -v '^checked' "$tmp/out" | head -n "${SHOW:-20}"
        [ "$1" = qemu ] || { cat "$tmp/err"; echo "FAIL: status $st, at least $3 wanted"; rc=1; }
    fi
}

for a in "$@"; do
    run $a qemu64 700
    run $a Nehalem 600
    run $a SandyBridge 350
    run $a Haswell 100
    run $a Skylake-Client 100
    run $a EPYC 100
    # Nothing but what 64-bit mode needs.
    run $a base,level=13,+lm,+pae,+msr,+fpu,+pse,+pge,+hypervisor,+apic 1000
done
[ $rc = 0 ] && echo PASS
exit $rc
