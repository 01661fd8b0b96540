#!/bin/sh
# The same locks on the wire: qemu-io keeps us out and we keep qemu-img out; the holder is named.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io

qemu-img create -q -f qcow2 a.qcow2 10M
mkfifo ctl
qemu-io a.qcow2 <ctl >/dev/null 2>&1 &
holder=$!
cleanup_pids=$holder
exec 3>ctl
echo 'write 0 1k' >&3
for _ in 1 2 3 4 5 6 7 8 9 10; do
    grep -q "OFDLCK.*:$(stat -c %i a.qcow2) " /proc/locks && break
    sleep 0.1
done
expect 1 "process $holder (qemu-io a.qcow2)" $VIV_IMG convert -O raw a.qcow2 o.raw
expect 1 "Failed to get" $VIV_IMG check -r all a.qcow2
expect 0 "is in use" $VIV_IMG info a.qcow2
expect 0 "virtual size" $VIV_IMG info -U a.qcow2
expect 1 "Failed to get" $VIV_IMG resize a.qcow2 20M
[ ! -e o.raw ] || fail "a refused convert left a file"
echo quit >&3
exec 3>&-
wait $holder || true
cleanup_pids=
expect 0 "" $VIV_IMG check -q a.qcow2

# We hold it while a conversion into it stands still (its source is a FIFO's worth of patience: SIGSTOP).
dd if=/dev/urandom of=big.raw bs=1M count=64 status=none
qemu-img create -q -f qcow2 held.qcow2 64M
$VIV_IMG convert -n -f raw -O qcow2 big.raw held.qcow2 &
ours=$!
cleanup_pids=$ours
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    if grep -q "OFDLCK.*:$(stat -c %i held.qcow2) " /proc/locks; then
        kill -STOP $ours 2>/dev/null || true
        break
    fi
done
if kill -0 $ours 2>/dev/null && grep -q "OFDLCK.*:$(stat -c %i held.qcow2) " /proc/locks; then
    expect 1 "write\" lock" qemu-img info held.qcow2
    expect 1 "lock" qemu-io -c 'write 0 512' held.qcow2
    kill -CONT $ours
else
    echo "note: the conversion ended before it could be stopped"
fi
wait $ours
cleanup_pids=
qemu-img compare -q -f raw -F qcow2 big.raw held.qcow2 || fail "the conversion that was stopped"
echo ok
