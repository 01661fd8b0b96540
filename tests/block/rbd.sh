#!/bin/sh
# Images of a Ceph cluster (ceph.sh), beside Debian's qemu-img with its driver (qemu-block-extra). VIV_IMG, VIV_IO, VIV_NBD.
tests=$(cd "$(dirname "$0")" && pwd)
. "$tests/functions.sh"
VIV_IO=${VIV_IO:-$(dirname "$VIV_IMG")/viv-io}
VIV_NBD=${VIV_NBD:-$(dirname "$VIV_IMG")/viv-nbd}
requires qemu-img qemu-io nbdcopy
$VIV_IMG info rbd: >out 2>&1 || true
if grep -q "not implemented yet" out; then echo "skip: built without librbd-dev"; exit 77; fi
. "$tests/ceph.sh"
ceph_start p
qemu-img create -q -f raw rbd:p/probe 1M 2>/dev/null || { echo "skip: qemu-img has no rbd (qemu-block-extra)"; exit 77; }

same() # FORMAT NAME DISK
{
    $VIV_IMG convert -f "$1" -O raw "$2" o.raw || fail "convert of $2"
    cmp "$3" o.raw || fail "$2 is another disk"
    rm o.raw
}

echo "# sizes of objects"
qemu-img create -f raw -o cluster_size=64k rbd:p/s1 8M | sed 's/s1/s2/' >theirs
$VIV_IMG create -f raw -o cluster_size=64k rbd:p/s2 8M >ours
cmp theirs ours || fail "what create says: $(cat ours), not $(cat theirs)"
$VIV_IMG info rbd:p/s1 >theirs
$VIV_IMG info rbd:p/s2 | sed 's/s2/s1/' >ours
grep -q '^cluster_size: 65536$' ours || fail "objects of another size: $(cat ours)"
expect 1 "power of 2" $VIV_IMG create -f raw -o cluster_size=100k rbd:p/s3 8M
expect 1 "4096 bytes to 32 MiB" $VIV_IMG create -f raw -o cluster_size=1k rbd:p/s3 8M
expect 1 "4096 bytes to 32 MiB" $VIV_IMG create -f raw -o cluster_size=64M rbd:p/s3 8M
expect 1 "cluster_size" $VIV_IMG create -f raw -o cluster_size=64k plain.raw 8M

echo "# create, write, read, map"
[ "$($VIV_IMG create -f raw rbd:p/a 40M)" = "Formatting 'rbd:p/a', fmt=raw size=41943040" ] || fail "what create says"
expect 1 "File exists" $VIV_IMG create -f raw rbd:p/a 40M
dd if=/dev/urandom of=d.raw bs=1M count=40 status=none
qemu-io -f raw -c 'write -z -u 12M 9M' -c 'write -z 30M 5M' d.raw >/dev/null
$VIV_IMG convert -n -f raw -O raw d.raw rbd:p/a
same raw rbd:p/a d.raw
qemu-img compare -q -f raw -F raw d.raw rbd:p/a || fail "qemu-img reads another disk"
$VIV_IMG info rbd:p/a | grep -q '^virtual size: 40 MiB' || fail info
$VIV_IMG info rbd:p/a | grep -q '^cluster_size: 4194304$' || fail "info: size of objects"
$VIV_IMG map --output=json -f raw rbd:p/a >ours.map
qemu-img map --output=json -f raw rbd:p/a >theirs.map
same_map ours.map theirs.map || fail map
grep -q '"start": 12582912, "length": 8388608, .*"zero": true' ours.map || fail "map: no hole: $(cat ours.map)"

echo "# random requests, the same to a file"
for seed in 1 2 3; do
    qemu-img create -q -f raw m.raw 24M
    $VIV_IMG create -q -f raw rbd:p/m$seed 24M
    patterns $((${SEED:-0} + seed)) $((24 << 20)) 60 >commands
    qemu-io -f raw m.raw <commands >/dev/null
    $VIV_IO -f raw rbd:p/m$seed <commands >/dev/null
    same raw rbd:p/m$seed m.raw
    qemu-img compare -q -f raw -F raw m.raw rbd:p/m$seed || fail "random requests: qemu-img reads another disk"
done
$VIV_IO -f raw -c 'write -P 3 0 10M' -c 'discard 0 8M' -c 'write -z 9000000 5000' -c 'write -zu 1M 2M' -c 'read -P 0 1M 2M' \
    -c 'read -P 0 9000000 5000' -c 'read -P 3 9005000 1000' -c flush rbd:p/m1 >out
! grep -q failed out || fail "zeroes and discards: $(cat out)"
expect 0 "" $VIV_IMG resize -f raw rbd:p/m1 +8M
rbd info p/m1 | grep -q 'size 32 MiB' || fail "resize +8M"
expect 0 "" $VIV_IMG resize -f raw --shrink rbd:p/m1 3M
rbd info p/m1 | grep -q 'size 3 MiB' || fail "resize --shrink"
expect 1 "preallocation" $VIV_IMG resize -f raw --preallocation=full rbd:p/m1 +1M

echo "# qcow2 on it grows the image"
$VIV_IMG create -q -f qcow2 rbd:p/q 40M
$VIV_IMG convert -n -f raw -O qcow2 d.raw rbd:p/q
qemu-img check -q rbd:p/q || fail "qemu-img check"
qemu-img compare -q -f raw -F qcow2 d.raw rbd:p/q || fail "qcow2: another disk"
qemu-io -f qcow2 -c 'write -P 9 100000 300000' rbd:p/q >/dev/null
qemu-io -f raw -c 'write -P 9 100000 300000' d.raw >/dev/null
same qcow2 rbd:p/q d.raw
$VIV_IMG create -q -f qcow2 -b rbd:p/q -F qcow2 top.qcow2
$VIV_IO -c 'write -P 4 1M 1M' top.qcow2 >/dev/null
qemu-io -f raw -c 'write -P 4 1M 1M' d.raw >/dev/null
same qcow2 top.qcow2 d.raw

echo "# snapshots, clones, namespaces, names with marks in them"
rbd snap create --no-progress p/a@one
rbd snap protect p/a@one
cp d.raw changed.raw
same raw rbd:p/a@one "$(qemu-img convert -f raw -O raw rbd:p/a@one one.raw && echo one.raw)"
$VIV_IO -f raw -c 'write -P 1 0 5M' rbd:p/a >/dev/null
same raw rbd:p/a@one one.raw
expect 1 "snapshot, which can only be read" $VIV_IO -f raw -c 'write 0 512' rbd:p/a@one
expect 1 "cannot be opened" $VIV_IMG info rbd:p/a@none
rbd clone p/a@one p/child
same raw rbd:p/child one.raw
$VIV_IO -f raw -c 'write -P 2 6M 1000' rbd:p/child >/dev/null
qemu-io -f raw -c 'write -P 2 6M 1000' one.raw >/dev/null
same raw rbd:p/child one.raw
$VIV_IMG map --output=json -f raw rbd:p/child >ours.map # qemu-img calls all of a clone data
grep -q '"start": 12582912, "length": 8388608, .*"zero": true' ours.map || fail "map of a clone: $(cat ours.map)"
rbd create --size 8M --image-feature layering p/plain
$VIV_IO -f raw -c 'write -P 5 5000000 1000' rbd:p/plain >/dev/null
$VIV_IMG map --output=json -f raw rbd:p/plain >ours.map
grep -q '"start": 0, "length": 4194304, .*"zero": true' ours.map && grep -q '"start": 5001216, "length": 3387392, .*"zero": true' ours.map ||
    fail "map of an image without an object map: $(cat ours.map)"
rbd namespace create p/space
$VIV_IMG create -q -f raw rbd:p/space/i 4M
[ "$(rbd ls p/space)" = i ] || fail "namespace"
$VIV_IMG create -q -f raw 'rbd:p/a\:b' 4M
rbd info 'p/a:b' >/dev/null || fail "a colon in a name"
expect 0 'image: rbd:p/a\:b' $VIV_IMG info 'rbd:p/a\:b'

echo "# options: who asks, and of whom"
export CEPH_CONF=/dev/null
where=driver=rbd,pool=p,image=plain,server.0.host=127.0.0.1,server.0.port=$ceph_port
secret="--object secret,id=k,data=$ceph_key,format=base64"
for prog in "$VIV_IMG" qemu-img; do
    $prog info $secret --image-opts "$where,key-secret=k,conf=/dev/null,auth-client-required.0=cephx" >out || fail "$prog: options"
    grep -q '^virtual size: 8 MiB' out || fail "$prog: $(cat out)"
done
expect 0 "virtual size: 8 MiB" $VIV_IMG info "rbd:p/plain:mon_host=127.0.0.1\\:$ceph_port:keyring=$work/ceph/keyring"
expect 0 "virtual size: 8 MiB" $VIV_IMG info "rbd:p/plain:conf=$work/ceph/ceph.conf:id=admin"
expect 0 "virtual size: 8 MiB" $VIV_IMG info --image-opts \
    "driver=raw,file.driver=rbd,file.pool=p,file.image=plain,file.conf=$work/ceph/ceph.conf,file.user=admin"
expect 1 "client.nobody" $VIV_IMG info "rbd:p/plain:conf=$work/ceph/ceph.conf:id=nobody"
expect 1 "cannot be read" $VIV_IMG info rbd:p/plain:conf=/nonexistent
expect 1 "the pool 'other'" $VIV_IMG info "rbd:other/plain:conf=$work/ceph/ceph.conf"
expect 1 "does not take the option 'nosuch'" $VIV_IMG info "rbd:p/plain:conf=$work/ceph/ceph.conf:nosuch=1"
expect 1 "KEY=VALUE is expected" $VIV_IMG info rbd:p/plain:conf
expect 1 "not of the form" $VIV_IMG info rbd:plain
expect 1 "cephx and none work" $VIV_IMG info --image-opts "$where,auth-client-required.0=yes"
expect 1 "has both" $VIV_IMG info --image-opts "driver=rbd,pool=p,image=a,server.0.host=x"
expect 1 "something else is among them" $VIV_IMG info --image-opts "driver=rbd,pool=p,image=a,server.1.host=x,server.1.port=1"
expect 1 "No secret with id" $VIV_IMG info --image-opts "$where,key-secret=none,conf=/dev/null"
export CEPH_CONF=$work/ceph/ceph.conf

echo "# exported, under many requests at once"
$VIV_NBD -f raw -k "$PWD/n" -t rbd:p/child &
cleanup_pids="$cleanup_pids $!"
for _ in $(seq 100); do [ -S n ] && break; sleep 0.1; done
nbdcopy "nbd+unix:///?socket=$PWD/n" o.raw
cmp one.raw o.raw || fail "nbdcopy of an export"
nbdcopy d.raw "nbd+unix:///?socket=$PWD/n"
kill $!
wait $! || true
same raw rbd:p/child d.raw
