#!/bin/sh
# Images that we wrote, read and checked by Debian's qemu-img, and the reverse; the same words from both.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io python3

# Every create option: both programs agree that the image is sound and what it is.
for cs in 512 4k 64k 2M; do
    for rb in 1 2 4 8 16 32 64; do
        $VIV_IMG create -q -f qcow2 -o cluster_size=$cs,refcount_bits=$rb a.qcow2 20M
        qemu-img check -q a.qcow2 || fail "create cluster_size=$cs refcount_bits=$rb"
        qemu-img info --output=json a.qcow2 >theirs
        $VIV_IMG info --output=json a.qcow2 >ours
        python3 -c 'import json; a = json.load(open("ours")); b = json.load(open("theirs")); assert a == b, (a, b)'
        rm a.qcow2
    done
done
for o in compat=0.10 compat=1.1 preallocation=metadata preallocation=falloc preallocation=full lazy_refcounts=on; do
    $VIV_IMG create -f qcow2 -o $o a.qcow2 10M >ours
    qemu-img create -f qcow2 -o $o b.qcow2 10M | sed s/b.qcow2/a.qcow2/ >theirs
    diff theirs ours || fail "create -o $o prints something else"
    qemu-img check -q a.qcow2 || fail "create -o $o"
    qemu-img check a.qcow2 | grep -v 'end offset' >theirs
    $VIV_IMG check a.qcow2 | grep -v 'end offset' >ours
    diff theirs ours || fail "check after -o $o prints something else"
    rm -f a.qcow2 b.qcow2
done

# Data, both ways, also from what only they can write.
dd if=/dev/urandom of=r.raw bs=64k count=300 status=none
truncate -s 60M r.raw
dd if=/dev/urandom of=r.raw bs=4k count=9 seek=12345 conv=notrunc status=none
for cs in 512 4k 64k 2M; do
    $VIV_IMG convert -f raw -O qcow2 -o cluster_size=$cs r.raw a.qcow2
    qemu-img check -q a.qcow2 || fail "convert to clusters of $cs is not sound"
    qemu-img compare -q -f raw -F qcow2 r.raw a.qcow2 || fail "convert to clusters of $cs"
    $VIV_IMG convert -O raw a.qcow2 o.raw && cmp r.raw o.raw
    qemu-img check a.qcow2 >theirs
    $VIV_IMG check a.qcow2 >ours
    diff theirs ours || fail "check of clusters of $cs prints something else"
    rm a.qcow2 o.raw
done
for o in '-c' '-c -o compression_type=zstd' '-o compat=0.10' '-o preallocation=metadata' '-c -o cluster_size=4k'; do
    # shellcheck disable=SC2086
    qemu-img convert -f raw -O qcow2 $o r.raw a.qcow2
    $VIV_IMG convert -O raw a.qcow2 o.raw
    cmp r.raw o.raw || fail "reading qemu-img convert $o"
    qemu-img info a.qcow2 >theirs
    $VIV_IMG info a.qcow2 >ours
    diff theirs ours || fail "info of $o prints something else"
    rm a.qcow2 o.raw
done
$VIV_IMG convert -S 0 -f raw -O qcow2 r.raw a.qcow2
[ "$(qemu-img map --output=json a.qcow2 | grep -c '"data": false')" = 0 ] || fail "-S 0 left holes"
qemu-img compare -q -f raw -F qcow2 r.raw a.qcow2

# A compressed cluster and one shared with a snapshot are written over: theirs before, ours after.
qemu-img convert -c -f raw -O qcow2 r.raw c.qcow2
qemu-img create -q -f qcow2 top.qcow2 60M
qemu-io -c 'write -P 1 0 1M' -c 'write -P 2 30M 64k' top.qcow2 >/dev/null
qemu-img snapshot -c one top.qcow2
dd if=/dev/urandom of=patch.raw bs=1k count=900 status=none
truncate -s 60M patch.raw
cp r.raw expected.raw
$VIV_IMG convert -n -f raw -O qcow2 patch.raw top.qcow2
qemu-img check -q top.qcow2 || fail "writing an image with a snapshot"
qemu-img compare -q -f raw -F qcow2 patch.raw top.qcow2 || fail "data beside a snapshot"
qemu-img snapshot -a one top.qcow2
qemu-io -c 'read -P 1 0 1M' -c 'read -P 2 30M 64k' top.qcow2 | grep -q 'verification failed' &&
    fail "the snapshot changed"
$VIV_IMG convert -n -f raw -O qcow2 patch.raw c.qcow2
qemu-img check -q c.qcow2 || fail "writing over compressed clusters"
qemu-img compare -q -f raw -F qcow2 patch.raw c.qcow2 || fail "data over compressed clusters"
echo ok
