#!/bin/sh
# map, compare and measure say what Debian's qemu-img says, of chains with data, zeroes and holes at random places.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io python3

scribble() { # IMAGE SEED
    qemu-io "$1" >/dev/null <<END
$(python3 -c "
import random
r = random.Random($2)
for n in range(40):
    at = r.randrange(0, 200) * 16384 + r.choice((0, 512, 4096))
    print(r.choice(('write -P %d' % r.randrange(1, 255), 'write -P %d' % r.randrange(1, 255), 'write -z', 'discard')), at, r.choice((512, 4096, 65536, 200704)))
")
END
}

maps_agree() {
    $VIV_IMG map --output=json "$@" >ours
    qemu-img map --output=json "$@" >theirs
    same_map ours theirs || fail "map of $* says something else"
}

same() { # what our program and theirs say to the same words, and how they end
    $VIV_IMG "$@" >ours 2>&1 && echo "0" >>ours || echo "$?" >>ours
    qemu-img "$@" >theirs 2>&1 && echo "0" >>theirs || echo "$?" >>theirs
    sed -i s/qemu-img/viv-img/ theirs
    diff theirs ours || fail "$* prints something else"
}

for seed in 1 2 3 4; do
    rm -f base.qcow2 middle.qcow2 top.qcow2 a.raw b.raw
    qemu-img create -q -f qcow2 base.qcow2 4M
    scribble base.qcow2 $seed
    qemu-img create -q -f qcow2 -o cluster_size=4k -b base.qcow2 -F qcow2 middle.qcow2 5M
    scribble middle.qcow2 $((seed + 100))
    qemu-img create -q -f qcow2 -b middle.qcow2 -F qcow2 top.qcow2 6M
    scribble top.qcow2 $((seed + 200))
    for i in base middle top; do
        maps_agree $i.qcow2
        maps_agree -s 70000 -l 1M $i.qcow2
    done
    qemu-img convert -O raw top.qcow2 a.raw
    same map -f raw --output=json a.raw
    same compare top.qcow2 a.raw
    same compare base.qcow2 top.qcow2
    cp a.raw b.raw
    truncate -s 7M b.raw
    same compare -f raw -F raw a.raw b.raw
    same compare -s -f raw -F raw a.raw b.raw
    printf x | dd of=b.raw bs=1 seek=$((6500000 + seed)) conv=notrunc status=none
    same compare -f raw -F raw a.raw b.raw
    same compare -q -f raw -F raw a.raw b.raw
    printf x | dd of=b.raw bs=1 seek=$((1500000 + seed * 77777)) conv=notrunc status=none
    same compare -f raw b.raw top.qcow2
done
qemu-img create -q -f qcow2 whole.qcow2 4M
qemu-io -c 'write -P 1 64k 192k' -c 'write -z 1M 128k' -c 'write -P 2 3M 1M' whole.qcow2 >/dev/null
qemu-img create -q -f qcow2 -o preallocation=metadata -b whole.qcow2 -F qcow2 over.qcow2 5M 2>/dev/null ||
    qemu-img create -q -f qcow2 -b whole.qcow2 -F qcow2 over.qcow2 5M
qemu-io -c 'write -P 3 128k 64k' -c 'write -z 3M 64k' over.qcow2 >/dev/null
for i in whole over; do
    same map $i.qcow2
    same map --output=json $i.qcow2
done
qemu-img convert -c -O qcow2 top.qcow2 c.qcow2
same map --output=json c.qcow2
expect 1 'compressed clusters' $VIV_IMG map c.qcow2
same compare c.qcow2 top.qcow2
same compare nothing.qcow2 top.qcow2
same map nothing.qcow2

# How large will it be? And is it?
for o in '' '-o preallocation=full' '-o refcount_bits=1' '-o cluster_size=512' '-o compat=0.10' '-o cluster_size=2M'; do
    for what in '--size 0' '--size 513' '--size 100G' base.qcow2 top.qcow2 a.raw c.qcow2; do
        # shellcheck disable=SC2086
        same measure -O qcow2 $o $what --output=json
        # shellcheck disable=SC2086
        same measure -O qcow2 $o $what
    done
done
same measure -O raw --size 513
same measure top.qcow2
same measure
same measure --size 1M top.qcow2
$VIV_IMG convert -O qcow2 top.qcow2 new.qcow2
need=$($VIV_IMG measure -O qcow2 top.qcow2 | sed -n 's/required size: //p')
[ "$(stat -c %s new.qcow2)" -le "$need" ] || fail "measure promises $need bytes, convert made more"

# Options behind names, as people type them.
same info top.qcow2 --output=json
$VIV_IMG check top.qcow2 --output=json >ours
qemu-img check top.qcow2 --output=json >theirs
python3 -c 'import json; a = json.load(open("ours")); b = json.load(open("theirs")); assert a == b, (a, b)'
