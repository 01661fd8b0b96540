#!/bin/sh
# Options of nodes that change what requests do, beside Debian's tools: raw's window, blkdebug's limits, copy-on-read's bottom. Both do
# the same to the same file; what is said, the exit code, and every byte of the file must be the same.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io
VIV_IO=${VIV_IO:-$(dirname "$VIV_IMG")/viv-io}

# one WHOSE PROGRAM WORDS...: in that one's folder; times, and lines about them, are cut out.
one()
{
    who=$1
    shift
    code=0
    (cd $who && exec "$@" --image-opts "$options") >$who.all 2>&1 || code=$?
    sed -E 's/[0-9:.]+( sec)? \([0-9.]+ [KMGT]?i?[Bb].*\)/T/; s/qemu-io/viv-io/g' $who.all >$who.txt
    echo "exit code $code" >>$who.txt
}

# same OPTIONS WORDS...: viv-io and qemu-io on a file of ones.
same()
{
    options=$1
    shift
    for who in ours theirs; do
        mkdir -p $who
        truncate -s "${size:-1M}" $who/r
        tr '\0' '\1' <$who/r >$who/t && mv $who/t $who/r
    done
    one theirs qemu-io -d unmap "$@"
    one ours "$VIV_IO" -d unmap "$@"
    diff theirs.txt ours.txt || fail "'$options' '$*': something else is said"
    cmp theirs/r ours/r || fail "'$options' '$*': another file"
}

# refused OPTIONS OURS THEIRS: by both.
refused()
{
    options=$1
    one theirs qemu-io -c length
    one ours "$VIV_IO" -c length
    grep -q "$3" theirs.txt || fail "'$options': theirs: $(cat theirs.txt)"
    grep -q "$2" ours.txt || fail "'$options': $(cat ours.txt)"
    grep -q 'exit code 1' ours.txt || fail "'$options': exit code"
}

# --- raw: a window into the file ---
raw=driver=raw,discard=unmap,file.driver=file,file.filename=r,file.discard=unmap
same $raw,offset=1000,size=1024 -c length -c 'write -P 2 0 100' -c 'write 1000 100' -c 'read 1020 5' -c 'read -P 2 0 100' -c 'read -P 1 100 924'
same $raw,offset=4k,size=8k -c 'write -z 0 4k' -c 'discard 4k 4k' -c map -c 'read -P 0 0 8k'
same $raw,offset=4k -c length -c 'write -P 3 0 3' -c 'truncate 2M' -c length -c 'write -P 4 1M 4k' -c 'truncate 64k' -c length
size=1049600
same $raw,offset=1000 -c length -c 'write -P 2 0 100'
size=1M
same $raw,offset=1M -c length
same $raw,size=0 -c length
refused $raw,offset=1000,size=1000 'size=1000 is not a multiple of 512' 'not multiple of 512'
refused $raw,offset=512,size=1M 'offset=512 and size=1048576 reach past the end of the file, which has 1048576 bytes' 'has to be smaller or equal'
refused $raw,offset=2M 'offset=2097152 lies past the end' 'cannot be greater than size'
options=$raw,offset=4k,size=16k
expect 1 "Cannot resize fixed-size raw disks" sh -c "cd ours && $VIV_IMG resize --image-opts $options +1M"
(cd ours && qemu-img map --output=json --image-opts $options >../o1 && $VIV_IMG map --output=json --image-opts $options >../o2)
diff o1 o2 || fail "map of a window"
(cd ours && $VIV_IMG convert -O qcow2 --image-opts $options w.qcow2 && dd if=r of=w.raw bs=4k skip=1 count=4 status=none)
qemu-img compare -q -f raw -F qcow2 ours/w.raw ours/w.qcow2 || fail "convert of a window"

# --- blkdebug: a request that fails shows which requests there were ---
debug=driver=raw,discard=unmap,file.driver=blkdebug,file.discard=unmap,file.image.driver=file,file.image.filename=r,file.image.discard=unmap
fault=file.inject-error.0.event=none,file.inject-error.0
same $debug,file.align=4096 -c 'write -P 2 512 512' -c 'write -P 3 4000 9000' -c 'read -P 3 4000 9000' -c 'read -P 1 0 512' -c length
same $debug,file.align=65536 -c 'write -P 2 1 5' -c 'write -P 3 65530 70000'
same $debug,file.align=4096,$fault.sector=7 -c 'write -P 2 512 512' -c 'read 512 512' -c 'read 4096 512'
same $debug,file.max-transfer=64k,$fault.sector=200 -c 'write -P 2 0 128k' -c 'read 0 128k' -c 'write -P 3 32k 96k'
same $debug,file.max-transfer=1536 -c 'write -P 2 1 8k' -c 'read -P 2 1 8k' -c 'writev -P 5 100 1k 2k 3k' -c 'readv -P 5 100 5k 1k'
same $debug,file.align=512,file.max-transfer=1536 -c 'write -P 2 1 8k' -c 'read -P 2 1 8k' -c 'writev -P 5 100 1k 2k 3k'
for kind in write write-zeroes discard; do
    k=$fault.iotype=$kind
    same $debug,file.align=4096,$k -c 'write -z 512 512' -c 'write -z 512 16k' -c 'write -z 40k 16k'
    same $debug,file.opt-write-zero=64k,$k -c 'write -z 4k 16k' -c 'write -z 68k 256k'
    same $debug,file.opt-write-zero=64k,$k,file.inject-error.0.sector=32 -c 'write -z 4k 256k'
    same $debug,file.opt-write-zero=3k,$k,file.inject-error.0.sector=32 -c 'write -z 1k 256k'
    same $debug,file.max-write-zero=64k,$k,file.inject-error.0.sector=300 -c 'write -z 4k 256k' -c 'write -z 0 256k'
    same $debug,file.opt-write-zero=16k,file.max-write-zero=48k,$k,file.inject-error.0.sector=400 -c 'write -z 1k 256k'
    same $debug,file.max-write-zero=1536,$k,file.inject-error.0.sector=9 -c 'write -z 0 256k'
    # Debian's qemu-io ends with SIGFPE or an assertion on some discards with align, so this has few of them.
    same $debug,file.align=4096,file.opt-discard=4096,$k,file.inject-error.0.sector=1 -c 'discard 512 16k' -c 'discard 512 512'
    same $debug,file.align=4096,file.opt-discard=64k,$k,file.inject-error.0.sector=1300 -c 'discard 512 200k'
    same $debug,file.opt-discard=64k,$k,file.inject-error.0.sector=8 -c 'discard 4k 256k' -c 'discard 300k 16k'
    same $debug,file.max-discard=64k,$k,file.inject-error.0.sector=300 -c 'discard 4k 256k'
    same $debug,file.opt-discard=16k,file.max-discard=48k,$k,file.inject-error.0.sector=400 -c 'discard 1k 256k'
done
for bad in align=3 align=1000 align=4G align=2147483648 align=4096,file.max-transfer=1000 align=4096,file.max-transfer=2048 max-transfer=4G \
    align=512,file.opt-write-zero=700 opt-write-zero=3k,file.max-write-zero=4k max-write-zero=4G align=512,file.opt-discard=700 \
    opt-discard=3k,file.max-discard=4k max-discard=100G opt-discard=100G; do
    what=${bad##*file.}
    refused $debug,file.$bad "${what%%=*}=[0-9]* is \(not\|too\)" "Cannot meet constraints with ${what%%=*}"
done
# An image above: the same disk whatever the limits.
for l in align=4096 max-transfer=4096 align=512,file.max-transfer=1536,file.opt-write-zero=3k,file.max-write-zero=6k,file.max-discard=1k; do
    qemu-img create -q -f qcow2 -o cluster_size=4k q.img 4M
    options=driver=qcow2,discard=unmap,file.driver=blkdebug,file.image.filename=q.img,file.$l
    "$VIV_IO" -c 'write -P 7 1000 300k' -c 'write -z 100k 50k' -c 'discard 200k 8k' -c 'read -P 7 1000 1000' -c 'read -P 0 100k 50k' \
        --image-opts "$options" >o1 || fail "qcow2 over $l: $(cat o1)"
    grep -qi failed o1 && fail "qcow2 over $l: $(cat o1)"
    qemu-img check -q q.img || fail "qcow2 over $l: not clean"
    qemu-io -r -c 'read -P 7 1000 101400' -c 'read -P 0 100k 50k' -c 'read -P 7 150k 50k' q.img | grep -i fail && fail "qcow2 over $l: other data"
done

# --- copy-on-read: what was read is in the image or below `bottom`, so that the layers between can be left out ---
qemu-img create -q -f qcow2 base 4M
qemu-img create -q -f qcow2 -b base -F qcow2 mid 3M
qemu-img create -q -f qcow2 -b mid -F qcow2 top 4M
qemu-io -c 'write -q -P 1 0 1M' -c 'write -q -P 4 3M 1M' base
qemu-io -c 'write -q -P 2 256k 128k' -c 'write -q -z 512k 64k' mid
qemu-io -c 'write -q -P 3 300k 10k' top
chain=driver=copy-on-read,file.driver=qcow2,file.node-name=top,file.file.filename=t,file.backing.driver=qcow2,file.backing.node-name=mid
chain=$chain,file.backing.file.filename=mid,file.backing.file.node-name=midf,file.backing.backing.driver=qcow2
chain=$chain,file.backing.backing.node-name=base,file.backing.backing.file.filename=base
for bottom in mid base; do
    cp top t
    qemu-io -c 'read 0 4M' --image-opts $chain,bottom=$bottom >/dev/null
    cp t theirs.t
    cp top t
    "$VIV_IO" -c 'read 0 4M' --image-opts $chain,bottom=$bottom >/dev/null || fail "copy-on-read with bottom=$bottom"
    qemu-img compare -q top t || fail "bottom=$bottom: another disk"
    qemu-img check -q t || fail "bottom=$bottom: not clean"
    # The peer forgets that mid's end hides what the base has from 3M on.
    for i in t theirs.t; do
        qemu-img map --output=json $i | grep -v '"start": 3145728' | sed 's/, "offset": [0-9]*//' >map.$i
    done
    cmp map.t map.theirs.t || fail "bottom=$bottom: not what the peer copied: $(diff map.theirs.t map.t)"
    rest=
    [ $bottom = base ] || rest=base
    qemu-img rebase -u -F qcow2 -b "$rest" t
    qemu-img compare -q top t || fail "bottom=$bottom: the layers between are still needed"
done
cp top t
"$VIV_IO" -c 'read 0 4M' --image-opts $chain,bottom=mid >/dev/null
# Nothing of the base was copied: 0-256k and 1M on are the base's.
qemu-img map --output=json t | tr -d '\n ' | grep -q '{"start":0,"length":262144,"depth":2' || fail "bottom=mid: $(qemu-img map --output=json t)"
expect 1 "no node 'none'" "$VIV_IO" -c length --image-opts $chain,bottom=none
for other in top midf; do
    expect 1 "'$other' is not in its chain of backing files" "$VIV_IO" -c length --image-opts $chain,bottom=$other
done
echo ok
