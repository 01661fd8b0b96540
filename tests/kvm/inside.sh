#!/bin/sh
# Runs commands of this tree in a guest with a real KVM: Debian's QEMU emulates a CPU with SVM; a Debian kernel in it sees the host's
# files, read-only with a file system in memory above them, at the same paths. So any test can be run there, each command a line:
#   tests/kvm/inside.sh 'tests/system/snapshot.py 3' 'tests/boot/ovmf.py shell'
# It is like a host that is 20 times slower: VIV_SLOW is 8 unless it is set. VIV_ACCEL=kvm, and VIV_VM says -accel kvm. Prints each
# command's output and "DONE status seconds command"; ends with 1 when one of them failed. KEEP: a folder where files left in the inner
# /tmp/keep are put (as a tar of it, on a second serial port).
. "$(dirname "$0")/outer.sh"
build=$(cd "${VIV_BUILD:-$top/build}" && pwd)
python=$(python3 -c 'import os, sys; print(os.path.dirname(os.path.realpath(sys.executable)))') || exit 77
kernel=$("$top/tools/fetch-kernel" -a generic "$cache") || exit $?
{
    echo "export PATH=$python:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1"
    echo "export VIV_BUILD='$build' VIV_VM='$build/src/cmd/viv-vm -accel kvm' VIV_ACCEL=kvm VIV_SLOW='${VIV_SLOW:-8}' VIV_KEEP=/tmp/keep"
    echo "mkdir /tmp/keep; cd '$top'; failed=0"
    for c; do
        printf 's=$(cut -d. -f1 /proc/uptime); timeout %s sh -c %s </dev/null 2>&1; r=$?; case $r in 0 | 77) ;; *) failed=1 ;; esac\n' \
            "${LIMIT_EACH:-1800}" "'$(echo "$c" | sed "s/'/'\\\\''/g")'"
        printf 'echo "DONE $r $(($(cut -d. -f1 /proc/uptime) - s)) s" %s\n' "'$(echo "$c" | sed "s/'/'\\\\''/g")'"
    done
    echo 'echo "ALL DONE $failed"; tar -C /tmp/keep -cf /dev/ttyS1 . 2>/dev/null'
} >"$tmp/commands"
own_tmp='mount -t tmpfs tmp /r/tmp'
case $top:$build in /tmp/* | *:/tmp/*) own_tmp=: ;; esac # the tree itself lies there
{
    echo "own_tmp() { $own_tmp; }"
    cat <<'EOS'
mkdir /h /u /r
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=500000 host /h && mount -t tmpfs u /u && mkdir /u/up /u/work &&
    mount -t overlay -o lowerdir=/h,upperdir=/u/up,workdir=/u/work over /r || { echo "no root"; exit; }
for d in proc sys dev run tmp; do mkdir -p /r/$d; done
mount -t proc proc /r/proc; mount -t sysfs sys /r/sys; mount -t devtmpfs dev /r/dev; mount -t tmpfs run /r/run; own_tmp
mkdir -p /r/dev/shm /r/dev/pts; mount -t tmpfs shm /r/dev/shm; mount -t devpts pts /r/dev/pts
ip link set lo up
cp /root/commands /r/tmp/commands
dmesg -n 4
chroot /r /bin/sh /tmp/commands
EOS
} >"$tmp/script"
"$top/tools/mkinitramfs-busybox" -k "${kernel%/boot/*}" -o "$tmp/l1.gz" -m kvm_amd -m virtio_pci -m virtio_rng -m 9pnet_virtio -m 9p -m overlay \
    -f "$tmp/commands:root/commands" - <"$tmp/script" || exit $?
st=0
outer "$kernel" "$tmp/l1.gz" "${MIB:-6144}" "${LIMIT:-7200}" -device virtio-rng-pci -serial "file:$tmp/keep.tar" \
    -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap >"$tmp/out" 2>"$tmp/err" &
q=$!
tail -f --pid=$q "$tmp/out" 2>/dev/null | sed -u 's/\r$//' &
t=$!
wait $q || st=$?
wait $t
[ $st = 0 ] || { echo "outer QEMU: status $st"; cat "$tmp/err"; }
[ -z "${KEEP:-}" ] || { mkdir -p "$KEEP"; tar -C "$KEEP" -xf "$tmp/keep.tar" 2>/dev/null || true; cp "$tmp/out" "$KEEP/console"; }
grep -q '^ALL DONE 0' "$tmp/out"
