#!/bin/sh
# qcow (version 1): images that we wrote, read by Debian's qemu-img, and the reverse; compressed clusters, chains, the same words.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io python3

seed=${SEED:-1}
echo "seed $seed"
dd if=/dev/urandom of=r.raw bs=64k count=30 status=none
truncate -s 11000k r.raw
dd if=/dev/urandom of=r.raw bs=4k count=9 seek=2345 conv=notrunc status=none
seq 300000 | dd of=r.raw bs=64k seek=40 conv=notrunc status=none # shrinks

same() # what both programs say of an image: command, image
{
    # shellcheck disable=SC2086
    qemu-img $1 "$2" >theirs 2>&1 || true
    # shellcheck disable=SC2086
    $VIV_IMG $1 "$2" >ours 2>&1 || fail "$1 of $3"
    case $1 in
    *json) python3 -c 'import json; a = json.load(open("ours")); b = json.load(open("theirs")); assert a == b, (a, b)' ;;
    *) cmp -s theirs ours ;;
    esac || { diff theirs ours; fail "$1 of $3 prints something else"; }
}

say() # image, its name, plain (default), packed, holes (of the file, which our map knows) or leaky: all that can be asked; their check knows nothing of qcow
{
    kind=${3:-plain}
    same info "$1" "$2"
    same "info --output=json" "$1" "$2"
    [ "$kind" != plain ] || same map "$1" "$2"
    $VIV_IMG check -q "$1" || [ "$kind:$?" = leaky:3 ] || fail "check of $2"
}

truncate -s 3M base.raw
for s in 1 512 11000k 3G 1T; do
    for b in "" "-b base.raw -F raw"; do
        # shellcheck disable=SC2086
        $VIV_IMG create -f qcow $b a.img $s >ours
        # shellcheck disable=SC2086
        qemu-img create -f qcow $b b.img $s | sed s/b.img/a.img/ >theirs
        diff theirs ours || fail "create $b $s prints something else"
        cmp a.img b.img || fail "create $b $s writes something else"
        $VIV_IMG check -q a.img || fail "check of an empty image"
        rm a.img b.img
    done
done
expect 1 "Image size is too small, cannot be zero length" $VIV_IMG create -f qcow a.img 0
expect 1 "too large" $VIV_IMG create -f qcow a.img 1P
expect 1 "cannot change its size" sh -c "qemu-img create -q -f qcow a.img 1M; $VIV_IMG resize a.img 2M"

# Ours, read by them; theirs, read by us; random patterns by qemu-io over both, then ours over theirs.
$VIV_IMG convert -f raw -O qcow r.raw a.img
qemu-img compare -q -f raw -F qcow r.raw a.img || fail "convert"
say a.img "what we wrote"
qemu-img convert -f raw -O qcow r.raw b.img
say b.img "what they wrote"
patterns "$seed" 11264000 >p1
for i in a b; do
    qemu-io -f qcow $i.img <p1 >/dev/null
    cp r.raw m.raw
    qemu-io -f raw m.raw <p1 >/dev/null
    $VIV_IMG convert -f qcow -O raw $i.img o.raw
    cmp m.raw o.raw || fail "their writes over $i"
    $VIV_IMG check -q $i.img || fail "their writes over $i are not sound"
    $VIV_IMG convert -n -f raw -O qcow r.raw $i.img
    qemu-img compare -q -f raw -F qcow r.raw $i.img || fail "our writes over theirs over $i"
    say $i.img "all writes over $i" holes
done

# Compressed by them: read, overwritten, and read by them again.
qemu-img convert -c -f raw -O qcow r.raw z.img || true # 7.2 says nothing, gives 1, and the image is whole
qemu-img compare -q -f raw -F qcow r.raw z.img || fail "the test's own image"
say z.img "what they compressed" packed
$VIV_IMG convert -f qcow -O raw z.img o.raw
cmp r.raw o.raw || fail "reading what they compressed"
qemu-io -f raw -c "write -P 9 0 11000k" o.raw >/dev/null
dd if=r.raw of=o.raw bs=1k count=4000 skip=3000 seek=3000 conv=notrunc status=none
$VIV_IMG convert -n -f raw -O qcow o.raw z.img
qemu-img compare -q -f raw -F qcow o.raw z.img || fail "writing over what they compressed"
say z.img "what we wrote over that" leaky
# And by us.
if $VIV_IMG convert -c -f raw -O qcow r.raw c.img; then
    say c.img "what we compressed" packed
    qemu-img compare -q -f raw -F qcow r.raw c.img || fail "reading what we compressed"
    [ "$(stat -c %s c.img)" -le $(($(stat -c %s z.img) + 65536)) ] || fail "what we compressed is larger than theirs"
    qemu-io -f qcow c.img <p1 >/dev/null
    cp r.raw m.raw
    qemu-io -f raw m.raw <p1 >/dev/null
    $VIV_IMG compare -q -f raw -F qcow m.raw c.img || fail "their writes over what we compressed"
fi

# Chains of three, each layer of another size, over raw; written by turns.
qemu-img create -q -f qcow -b r.raw -F raw base.qcow 12M
patterns "$seed" 12582912 | qemu-io base.qcow >/dev/null
$VIV_IMG create -q -f qcow -b base.qcow -F qcow mid.qcow 14M
patterns $((seed + 1)) 14680064 | qemu-io mid.qcow >/dev/null
$VIV_IMG create -q -f qcow -b mid.qcow -F qcow top.qcow
patterns $((seed + 2)) 14680064 | qemu-io top.qcow >/dev/null
qemu-img convert -O raw top.qcow theirs.raw
$VIV_IMG convert -O raw top.qcow ours.raw
cmp theirs.raw ours.raw || fail "reading a chain"
for b in base mid; do
    $VIV_IMG convert -O qcow -B $b.qcow -F qcow top.qcow flat.qcow
    qemu-img compare -q flat.qcow top.qcow || fail "convert -B $b"
    same "info --backing-chain" flat.qcow "a chain"
    same "info --backing-chain --output=json" flat.qcow "a chain"
    $VIV_IMG check -q flat.qcow || fail "convert -B $b is not sound"
    rm flat.qcow
done

# Into its backing file, which then shows the same; the overlay is empty.
for who in "$VIV_IMG" qemu-img; do
    cp r.raw c.raw
    $who create -q -f qcow -b c.raw -F raw o.qcow
    qemu-io -f qcow o.qcow <p1 >/dev/null
    qemu-img convert -f qcow -O raw o.qcow m.raw
    $who commit -q -f qcow o.qcow || fail "$who commit"
    cmp m.raw c.raw || fail "$who: what commit wrote"
    qemu-img compare -q -f raw -F qcow c.raw o.qcow || fail "$who: the layer after commit"
    $VIV_IMG check -q o.qcow || fail "$who: the layer is not sound after commit"
    [ "$(stat -c %s o.qcow)" -lt 600 ] || fail "$who: the layer is as large as before after commit"
done

# AES: what create prints and writes, info, and the data by turns; with a backing file too.
secret="secret,id=key,data=correct horse battery staple"
aes=encrypt.format=aes,encrypt.key-secret=key
opts=driver=qcow,encrypt.key-secret=key,file.filename
for b in "" "-b r.raw -F raw"; do
    # shellcheck disable=SC2086
    $VIV_IMG create --object "$secret" -f qcow -o $aes $b a.img 11000k >ours
    # shellcheck disable=SC2086
    qemu-img create --object "$secret" -f qcow -o $aes $b b.img 11000k | sed s/b.img/a.img/ >theirs
    diff theirs ours || fail "create with AES prints something else"
    cmp a.img b.img || fail "create with AES writes something else"
    same info a.img "an encrypted image"
    same "info --output=json" a.img "an encrypted image"
    for i in a b; do
        $VIV_IMG convert --object "$secret" -n -f raw --target-image-opts r.raw $opts=$i.img || fail "writing an encrypted image"
        qemu-img compare -q --object "$secret" --image-opts driver=raw,file.filename=r.raw $opts=$i.img || fail "they read another disk from $i"
        qemu-io --object "$secret" --image-opts $opts=$i.img <p1 >/dev/null
        cp r.raw m.raw
        qemu-io -f raw m.raw <p1 >/dev/null
        $VIV_IMG compare -q --object "$secret" --image-opts driver=raw,file.filename=m.raw $opts=$i.img || fail "we read another disk from $i"
        $VIV_IMG check -q --object "$secret" --image-opts $opts=$i.img || fail "check of an encrypted image"
    done
    grep -aq 299999 a.img && fail "an encrypted image holds plain text"
    rm a.img b.img
done
expect 1 "encrypt.key-secret" $VIV_IMG create -f qcow -o encrypt.format=aes a.img 1M
expect 1 "encrypt.format" $VIV_IMG create -f qcow -o encrypt.key-secret=key a.img 1M
expect 1 "Unsupported encryption format" $VIV_IMG create -f qcow -o encrypt.format=luks,encrypt.key-secret=key a.img 1M
expect 1 "can't be used at the same time" $VIV_IMG create -f qcow -o encryption=on,encrypt.format=aes,encrypt.key-secret=key a.img 1M
echo ok
