#!/bin/sh
# Chains of three: random writes by us and by qemu-io on each layer, the whole compared.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io python3

seed=${SEED:-1}
echo "seed $seed"
# Theirs below, ours above: convert -B writes only what differs, over a base of another size and cluster size.
qemu-img create -q -f qcow2 -o cluster_size=4k base.qcow2 5M
patterns "$seed" 5242880 | qemu-io base.qcow2 >/dev/null
$VIV_IMG create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 8M
patterns $((seed + 1)) 8388608 | qemu-io mid.qcow2 >/dev/null
qemu-img check -q mid.qcow2 || fail "mid"
$VIV_IMG create -q -f qcow2 -o cluster_size=512 -b mid.qcow2 -F qcow2 top.qcow2
patterns $((seed + 2)) 8388608 | qemu-io top.qcow2 >/dev/null
qemu-img convert -O raw top.qcow2 theirs.raw
$VIV_IMG convert -O raw top.qcow2 ours.raw
cmp theirs.raw ours.raw || fail "reading a chain"
$VIV_IMG check -q top.qcow2 || fail "check of what qemu-io wrote"
for b in base mid; do
    $VIV_IMG convert -O qcow2 -B $b.qcow2 -F qcow2 top.qcow2 flat.qcow2
    qemu-img check -q flat.qcow2 || fail "convert -B $b is not sound"
    qemu-img compare -q flat.qcow2 top.qcow2 || fail "convert -B $b"
    rm flat.qcow2
done
$VIV_IMG info --backing-chain --output=json top.qcow2 >ours
qemu-img info --backing-chain --output=json top.qcow2 >theirs
python3 -c 'import json; a = json.load(open("ours")); b = json.load(open("theirs")); assert a == b, (a, b)'
$VIV_IMG info --backing-chain top.qcow2 >ours
qemu-img info --backing-chain top.qcow2 >theirs
diff theirs ours || fail "info --backing-chain prints something else"

# Growing over a longer backing file shows zeroes, not the backing file's end.
$VIV_IMG create -q -f qcow2 -b base.qcow2 -F qcow2 small.qcow2 1M
$VIV_IMG resize -q small.qcow2 5M
qemu-img check -q small.qcow2
qemu-io -c 'read -P 0 1M 4M' small.qcow2 | grep -q 'verification failed' && fail "the backing file came back"
expect 1 "--shrink" $VIV_IMG resize small.qcow2 1M
$VIV_IMG resize -q --shrink small.qcow2 1M
$VIV_IMG resize -q small.qcow2 +600G
qemu-img check -q small.qcow2 || fail "resize"
[ "$(qemu-img info --output=json small.qcow2 | python3 -c 'import json,sys; print(json.load(sys.stdin)["virtual-size"])')" = 644246142976 ] ||
    fail "size after resize"
echo ok
