#!/bin/sh
# What only qcow2 has, against Debian's qemu-img in both directions: compressed clusters, data files, subclusters, chains of three
# with each of them.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io python3

seed=${SEED:-1}
echo "seed $seed"

# Text, noise and holes, of a size that is no multiple of a cluster.
python3 - "$seed" <<'P'
import random, sys
r = random.Random(int(sys.argv[1]))
with open("r.raw", "wb") as f:
    f.truncate(7 * 1048576 + 1536)
    for _ in range(70):
        f.seek(r.randrange(7 * 2048) * 512)
        kind = r.randrange(3)
        n = r.randrange(1, 200000)
        f.write(r.randbytes(n) if kind == 0 else bytes([r.randrange(1, 256)]) * n if kind == 1 else
                b"".join(b"%d lines of text, number %d\n" % (n, k) for k in range(n // 40)))
    f.truncate(7 * 1048576 + 1536)
P

same() # FORMAT IMAGE WHAT: it is r.raw to both, and sound
{
    qemu-img check -q -f "$1" "$2" || fail "$3: qemu-img check"
    qemu-img compare -q -f raw -F "$1" r.raw "$2" || fail "$3: qemu-img compare"
    $VIV_IMG compare -q -f raw -F "$1" r.raw "$2" || fail "$3: compare"
    qemu-img check -f "$1" "$2" >theirs
    $VIV_IMG check -f "$1" "$2" >ours || fail "$3: check"
    diff theirs ours || fail "$3: check prints something else"
    qemu-img info -f "$1" "$2" | grep -v 'disk size' >theirs
    $VIV_IMG info -f "$1" "$2" | grep -v 'disk size' >ours
    diff theirs ours || fail "$3: info prints something else"
}

# Ours by any number of threads are the same file; theirs and ours are about as large.
for o in cluster_size=512 cluster_size=4k,refcount_bits=1 - cluster_size=2M compat=0.10 extended_l2=on compression_type=zstd \
    compression_type=zstd,cluster_size=16k,extended_l2=on,refcount_bits=2; do
    [ $o = - ] && opt= || opt="-o $o"
    for m in 1 3; do
        # shellcheck disable=SC2086
        $VIV_IMG convert -t unsafe -c -m $m $opt -f raw -O qcow2 r.raw ours$m.qcow2 || fail "convert -c $opt"
    done
    cmp ours1.qcow2 ours3.qcow2 || fail "convert -c -m 3 $opt writes another file"
    same qcow2 ours1.qcow2 "ours -c $opt"
    # shellcheck disable=SC2086
    $VIV_IMG convert -t unsafe -c -W -m 8 $opt -f raw -O qcow2 r.raw ours3.qcow2
    same qcow2 ours3.qcow2 "ours -c -W $opt"
    # shellcheck disable=SC2086
    qemu-img convert -t unsafe -c $opt -f raw -O qcow2 r.raw theirs.qcow2
    same qcow2 theirs.qcow2 "theirs -c $opt"
    python3 -c '
import os, sys
a, b = (os.stat(f).st_size for f in ("ours1.qcow2", "theirs.qcow2"))
sys.exit(abs(a - b) > 65536 + b // 50 and "%d bytes, theirs %d" % (a, b))' || fail "size of -c $opt"
    # Written over: compressed over compressed by us, then by turns.
    $VIV_IMG convert -t unsafe -c -n -f raw -O qcow2 r.raw theirs.qcow2 || fail "-c over their $opt"
    same qcow2 theirs.qcow2 "ours over theirs -c $opt"
    cp r.raw patched.raw
    for i in theirs.qcow2 ours1.qcow2 patched.raw; do
        f=qcow2
        [ $i = patched.raw ] && f=raw
        qemu-io -t unsafe -f $f -c 'write -P 77 100k 300k' -c 'write -z 2M 1M' -c 'write -P 5 7M 1k' $i >/dev/null
    done
    for i in theirs ours1; do
        qemu-img check -q $i.qcow2 || fail "$i $opt after qemu-io"
        $VIV_IMG compare -q -f raw -F qcow2 patched.raw $i.qcow2 || fail "$i $opt after qemu-io"
    done
    rm -f ours*.qcow2 theirs.qcow2
    echo "ok -c $o"
done

expect 1 "Compression not supported for this file format" $VIV_IMG convert -c -f raw -O raw r.raw x
expect 1 "not supported at the same time" $VIV_IMG convert -c -o preallocation=metadata -f raw -O qcow2 r.raw x
expect 1 "not supported at the same time" $VIV_IMG convert -c -o data_file=x.data -f raw -O qcow2 r.raw x
[ ! -e x ] && [ ! -e x.data ] || fail "a refused convert left a file"
$VIV_IMG create -q -f qcow2 -o data_file=x.data x 8M
expect 1 "file of its own" $VIV_IMG convert -c -n -f raw -O qcow2 r.raw x

# What a raw data file holds is the disk; where it is said wrong, nothing is opened.
$VIV_IMG convert -f raw -O qcow2 -o data_file=d.raw,data_file_raw=on r.raw d.qcow2
cmp r.raw d.raw || fail "a raw data file is not the disk"
same qcow2 d.qcow2 "ours, raw data file"
qemu-img convert -f raw -O qcow2 -o data_file=d.raw,data_file_raw=on r.raw d.qcow2
same qcow2 d.qcow2 "theirs, raw data file"
mv d.raw elsewhere.raw
expect 2 "Could not open the data file of 'd.qcow2'" $VIV_IMG compare -f raw -F qcow2 r.raw d.qcow2
$VIV_IMG info d.qcow2 >/dev/null && $VIV_IMG check -q d.qcow2 || fail "info and check need the data file"
expect 2 "in use by this image already" sh -c "cp d.qcow2 d.raw && ln -f d.raw d.qcow2 && $VIV_IMG compare -f raw -F qcow2 r.raw d.qcow2"

# The same words about what cannot be.
same_refusal()
{
    $VIV_IMG create -f qcow2 -o "$1" y 1M >ours 2>&1 && fail "create -o $1 works"
    qemu-img create -f qcow2 -o "$1" y 1M 2>&1 >/dev/null | sed 's/^qemu-img/viv-img/' >theirs
    grep -v '^Formatting' ours | diff theirs - || fail "create -o $1 says something else"
}
same_refusal extended_l2=on,cluster_size=8k
same_refusal data_file_raw=on
for s in 1M 100G; do
    for o in extended_l2=on extended_l2=on,cluster_size=16k data_file=z.raw; do
        [ "$(qemu-img measure -O qcow2 -o $o --size $s)" = "$($VIV_IMG measure -O qcow2 -o $o --size $s)" ] || fail "measure $o $s"
    done
done

# Room in advance when a disk grows: the same map as theirs.
for o in extended_l2=off extended_l2=on data_file=z.raw data_file=z.raw,data_file_raw=on; do
    for p in metadata falloc full; do
        for who in qemu-img "$VIV_IMG"; do
            $who create -q -f qcow2 -o $o y.qcow2 1M
            $who resize -q --preallocation=$p y.qcow2 3M
            qemu-img check -q y.qcow2 || fail "resize --preallocation=$p of $o"
            qemu-img map --output=json y.qcow2 >"map.$(basename "$who")"
        done
        diff map.qemu-img map.viv-img || fail "resize --preallocation=$p of $o makes another map"
    done
done
expect 1 "only be used for growing" $VIV_IMG resize --preallocation=full --shrink y.qcow2 1M

# Chains of three: each layer of another kind, by turns theirs and ours, data in each.
scribble() # IMAGE SEED
{
    python3 - "$2" 7M <<'P' | qemu-io -t unsafe "$1" >/dev/null
import random, sys
r = random.Random(int(sys.argv[1]))
for _ in range(30):
    at = r.randrange(7 * 2048) * 512
    n = min(r.randrange(1, 200) * 512, 7 * 1048576 - at)
    print(r.choice(("write -P %d" % r.randrange(1, 256),) * 3 + ("write -z", "write -z -u", "discard")), at, n)
P
}
qemu-img convert -t unsafe -c -f raw -O qcow2 -o compression_type=zstd r.raw base.qcow2
$VIV_IMG create -q -f qcow2 -o extended_l2=on -b base.qcow2 -F qcow2 middle.qcow2
scribble middle.qcow2 "$seed"
for o in cluster_size=512 extended_l2=on,cluster_size=128k extended_l2=on,preallocation=metadata data_file=top.raw \
    data_file=top.raw,extended_l2=on; do
    for who in qemu-img "$VIV_IMG"; do
        $who create -q -f qcow2 -o $o -b middle.qcow2 -F qcow2 top.qcow2 || fail "create -o $o on a chain"
        scribble top.qcow2 $((seed + 1))
        qemu-img convert -t unsafe -O raw top.qcow2 theirs.raw
        $VIV_IMG convert -t unsafe -O raw top.qcow2 ours.raw
        cmp theirs.raw ours.raw || fail "chain with $o by $who is read differently"
        # Everything of the top rewritten by us; the chain below stays.
        $VIV_IMG convert -t unsafe -n -f raw -O qcow2 r.raw top.qcow2
        qemu-img check -q top.qcow2 || fail "chain with $o by $who after our writes"
        qemu-img compare -q -f raw -F qcow2 r.raw top.qcow2 || fail "chain with $o by $who: our writes"
        $VIV_IMG convert -t unsafe -c -B middle.qcow2 -F qcow2 -O qcow2 top.qcow2 flat.qcow2
        qemu-img compare -q flat.qcow2 top.qcow2 || fail "convert -c -B of $o"
        qemu-img check -q flat.qcow2 || fail "convert -c -B of $o: check"
    done
    echo "ok chain $o"
done
echo ok
