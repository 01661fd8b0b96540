#!/bin/sh
# Real KVM without hardware for it: Debian's QEMU emulates a CPU with SVM, a Debian kernel in it has a true /dev/kvm, and
# there viv-vm -accel kvm boots the same Debian kernel to user space, on each board and with two CPUs.
# usage: tests/kvm/nested.sh VIV_VM VIV        (about a minute; skips with 77 when QEMU or the packages are missing)
. "$(dirname "$0")/outer.sh"
vm=$1 viv=$2
kernel=$("$top/tools/fetch-kernel" "$cache") || exit $?
folder=${kernel%/boot/*}

"$top/tools/mkinitramfs-busybox" -k "$folder" -o "$tmp/l2pc.gz" -m virtio_pci -m virtio_rng -m button \
    'echo "L2-MARKER cpus=$(nproc) clock=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource) rng=$(cat /sys/class/misc/hw_random/rng_current)"' || exit $?
"$top/tools/mkinitramfs-busybox" -k "$folder" -o "$tmp/l2mv.gz" -m virtio_mmio -m virtio_rng -m button \
    'echo "L2-MARKER cpus=$(nproc) clock=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource) rng=$(cat /sys/class/misc/hw_random/rng_current)"' || exit $?
"$top/tests/boot/build-payload" "$top/tests/boot/hello.S" "$tmp/hello.elf" 2>/dev/null
cat >"$tmp/script" <<'EOS'
run() {
    name=$1; shift
    echo "RUN $name"
    timeout 200 viv-vm -nodefaults -display none -serial stdio -monitor none "$@" </dev/null
    echo "END $name rc=$?"
}
boot() { # name, machine, cpus, initrd, rng, accelerator...
    n=$1 m=$2 c=$3 i=$4 r=$5; shift 5
    run "$n" -M "$m" -smp "$c" -m 256 "$@" -device "$r" -kernel /root/vmlinuz -initrd "/root/$i" -append "console=ttyS0 panic=-1"
}
viv doctor
run hello -M pc -accel kvm -m 64 -device isa-debug-exit,iobase=0xf4,iosize=4 -kernel /root/hello.elf -append x
boot pc pc 1 l2pc.gz virtio-rng-pci -accel kvm
boot smp2 pc 2 l2pc.gz virtio-rng-pci -accel kvm
boot q35 q35 2 l2pc.gz virtio-rng-pci -accel kvm
boot microvm microvm 1 l2mv.gz virtio-rng-device
EOS
"$top/tools/mkinitramfs-busybox" -k "$folder" -o "$tmp/l1.gz" -m kvm_amd -p "$vm" -p "$viv" -f "$kernel:root/vmlinuz" \
    -f "$tmp/l2pc.gz:root/l2pc.gz" -f "$tmp/l2mv.gz:root/l2mv.gz" -f "$tmp/hello.elf:root/hello.elf" - <"$tmp/script" || exit $?

echo "initramfs of the outer guest: $(wc -c <"$tmp/l1.gz") bytes"
outer "$kernel" "$tmp/l1.gz" 2048 "${LIMIT:-600}" >"$tmp/out" 2>"$tmp/err" && st=0 || st=$?
tr -d '\r' <"$tmp/out" >"$tmp/text"
rc=0
expect() {
    if grep -q "$1" "$tmp/text"; then echo "ok: $2"; else echo "FAIL: $2"; rc=1; fi
}
section() { sed -n "/^RUN $1\$/,/^END $1 /p" "$tmp/text"; }
grep -E '^(OK|warn|missing) +(cpu|kvm|/dev/kvm|nested)' "$tmp/text" || true
expect '^OK  *kvm speed' 'viv doctor finds KVM good'
expect '^Virtual machines run here with KVM' 'and says so'
expect '^hello, .*x$' 'multiboot payload'
expect '^END hello rc=1' 'its exit status'
for n in pc smp2 q35 microvm; do
    section $n >"$tmp/s"
    cpus=1
    case $n in smp2 | q35) cpus=2 ;; esac
    if grep -q "L2-MARKER cpus=$cpus .*rng=virtio_rng" "$tmp/s" && grep -q "^END $n rc=0" "$tmp/s"; then
        echo "ok: $n: $(grep L2-MARKER "$tmp/s")"
    else
        echo "FAIL: $n"
        rc=1
        tail -n 25 "$tmp/s"
    fi
done
section microvm | grep -q 'not using KVM' && { echo "FAIL: automatic choice did not take KVM"; rc=1; }
[ $st = 0 ] || { echo "outer QEMU: status $st"; cat "$tmp/err"; rc=1; }
[ -z "${KEEP:-}" ] || cp "$tmp/text" "$KEEP"
[ $rc = 0 ] && echo PASS
exit $rc
