#!/bin/sh
# Encrypted images (luks, qcow2 with luks and aes) against Debian's qemu-img: ours is the same disk to them, theirs to us, written by
# turns; the same facts, the same refusals; keys added and erased by one, used by the other; cryptsetup where it is.
. "$(dirname "$0")/functions.sh"
VIV_IO=${VIV_IO:-$(dirname "$VIV_IMG")/viv-io}
requires qemu-img qemu-io python3

seed=${SEED:-1}
echo "seed $seed"
printf 'open sesame' >pw
printf 'another one' >pw2
sec="--object secret,id=s,file=pw --object secret,id=t,file=pw2 --object secret,id=wrong,data=nonsense"
fast=iter-time=0

# qemu-img measures how fast it is for each new key and gives up when the kernel's count of its thread's time stood still meanwhile. On a
# busy machine that is so for many tries on end: the share of user time is guessed from the few ticks that such a young thread has met.
patient()
{
    for try in $(seq 200); do
        said=$(qemu-img "$@" 2>err) && { [ -z "$said" ] || printf '%s\n' "$said"; return 0; }
        grep -q "accurate CPU usage" err || break
    done
    cat err >&2
    return 1
}

# key_opts FORMAT SECRET: the key's part of --image-opts.
key_opts()
{
    case $1 in
    luks) echo "driver=luks,key-secret=$2" ;;
    *) echo "driver=$1,encrypt.key-secret=$2" ;;
    esac
}

opts()
{
    echo "$(key_opts "$1" "$2"),file.filename=$3"
}

same_disk()
{
    # shellcheck disable=SC2086
    qemu-img convert -t unsafe $sec --image-opts -O raw "$(opts "$1" s "$2")" theirs.raw
    # shellcheck disable=SC2086
    $VIV_IMG convert -t unsafe $sec --image-opts -O raw "$(opts "$1" s "$2")" ours.raw || fail "$3: convert"
    cmp theirs.raw ours.raw || fail "$3: read differently"
    qemu-img info "$2" >theirs
    $VIV_IMG info "$2" >ours || fail "$3: info"
    diff theirs ours || fail "$3: info prints something else"
    qemu-img info --output=json "$2" >theirs
    $VIV_IMG info --output=json "$2" >ours
    python3 -c 'import json; a = json.load(open("ours")); b = json.load(open("theirs")); assert a == b, (a, b)' ||
        fail "$3: info --output=json"
}

sound()
{
    [ "$1" = qcow2 ] || return 0
    # shellcheck disable=SC2086
    qemu-img check $sec --image-opts "$(opts "$1" s "$2")" >theirs || fail "$3: qemu-img check"
    # shellcheck disable=SC2086
    $VIV_IMG check $sec --image-opts "$(opts "$1" s "$2")" >ours || fail "$3: check"
    diff theirs ours || fail "$3: check prints something else"
}

# write_by PROGRAM FORMAT IMAGE SEED: the same writes on it and on model.raw.
write_by()
{
    python3 - "$4" $((11000 * 1024)) >commands <<'P'
import random, sys
random.seed(int(sys.argv[1]))
size = int(sys.argv[2])
for _ in range(25):
    off = random.randrange(size // 512) * 512
    n = min(random.randrange(1, 400) * 512, size - off)
    print("write %s %d %d" % (random.choice(["-P %d" % random.randrange(1, 256)] * 4 + ["-z"]), off, n))
P
    # shellcheck disable=SC2086
    "$1" $sec -t unsafe --image-opts "$(opts "$2" s "$3")" <commands >/dev/null || fail "$1 on $3"
    qemu-io -t unsafe -f raw model.raw <commands >/dev/null
}

model_is()
{
    # shellcheck disable=SC2086
    $VIV_IMG convert -t unsafe $sec --image-opts -O raw "$(opts "$1" s "$2")" ours.raw || fail "$3: convert"
    cmp ours.raw model.raw || fail "$3"
}

# by_turns FORMAT IMAGE WHAT
by_turns()
{
    cp r.raw model.raw
    # shellcheck disable=SC2086
    qemu-img convert -t unsafe -n $sec -f raw --target-image-opts r.raw "$(opts "$1" s "$2")"
    model_is "$1" "$2" "$3: written by qemu-img"
    write_by "$VIV_IO" "$1" "$2" "$seed"
    same_disk "$1" "$2" "$3: after viv-io"
    model_is "$1" "$2" "$3: what viv-io wrote"
    sound "$1" "$2" "$3: after viv-io"
    write_by qemu-io "$1" "$2" $((seed + 1))
    same_disk "$1" "$2" "$3: after qemu-io"
    model_is "$1" "$2" "$3: what qemu-io wrote"
    sound "$1" "$2" "$3: after qemu-io"
}

dd if=/dev/urandom of=r.raw bs=64k count=40 status=none
truncate -s 11000k r.raw
dd if=/dev/urandom of=r.raw bs=4k count=9 seek=2345 conv=notrunc status=none

# variant FORMAT OPTIONS SIZES: the last size is 11000k. (A new LUKS header costs qemu-img seconds.)
variant()
{
    for size in $3; do
        # shellcheck disable=SC2086
        $VIV_IMG create $sec -f "$1" -o "$2" a.img $size >ours || fail "$1 $2 $size: create"
        # shellcheck disable=SC2086
        patient create $sec -f "$1" -o "$2" b.img $size | sed s/b.img/a.img/ >theirs
        diff theirs ours || fail "$1 $2 $size: create prints something else"
        [ "$1" = qcow2 ] || [ "$(stat -c %s a.img)" = "$(stat -c %s b.img)" ] || fail "$1 $2 $size: files of other sizes"
        sound "$1" a.img "$1 $2 $size"
    done
    by_turns "$1" a.img "ours: $1 $2"
    by_turns "$1" b.img "theirs: $1 $2"
    [ "$1" = qcow ] && { echo "ok $1 $2"; return; }
    # shellcheck disable=SC2086
    [ "$(patient measure $sec -O "$1" -o "$2" --size 11000k)" = "$($VIV_IMG measure $sec -O "$1" -o "$2" --size 11000k)" ] ||
        fail "$1 $2: measure"
    rm -f a.img b.img
    echo "ok $1 $2"
}

# qemu-img 7.2 ends in a failed assertion for keys of 24 bytes outside of XTS.
for o in cipher-alg=aes-192,ivgen-alg=plain,hash-alg=sha512 \
    cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256,hash-alg=ripemd160 cipher-alg=serpent-256,hash-alg=sha1 \
    cipher-alg=twofish-256,cipher-mode=ecb; do
    variant luks "key-secret=s,$fast,$o" 11000k
done
variant luks "key-secret=s,$fast" "512 11000k"
variant qcow2 "encrypt.format=luks,encrypt.key-secret=s,encrypt.$fast" "0 11000k"
variant qcow2 "encrypt.format=luks,encrypt.key-secret=s,encrypt.$fast,cluster_size=4k,encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc" \
    11000k
variant qcow encrypt.format=aes,encrypt.key-secret=s "512 11000k"
variant qcow encryption=on,encrypt.key-secret=s 11000k
variant qcow2 encrypt.format=aes,encrypt.key-secret=s "0 512 11000k"
variant qcow2 encryption=on,encrypt.key-secret=s,compat=0.10,cluster_size=512 "0 11000k"

# --- keys: each program adds and erases, both see it ---
for f in luks qcow2; do
    p=
    [ $f = luks ] || p=encrypt.
    [ $f = luks ] && o="key-secret=s,$fast" || o="encrypt.format=luks,encrypt.key-secret=s,encrypt.$fast"
    # shellcheck disable=SC2086
    $VIV_IMG create -q $sec -f $f -o "$o" k.img 1M
    for by in "$VIV_IMG" patient; do
        # shellcheck disable=SC2086
        $by amend $sec --image-opts "$(opts $f s k.img)" -o "${p}state=active,${p}new-secret=t,${p}$fast" || fail "$f: $by adds"
        for reader in "$VIV_IMG" qemu-img; do
            for key in s t; do
                # shellcheck disable=SC2086
                $reader compare -q $sec --image-opts "$(opts $f $key k.img)" "$(opts $f s k.img)" || fail "$f: $reader, key $key"
            done
        done
        # shellcheck disable=SC2086
        $by amend $sec --image-opts "$(opts $f s k.img)" -o "${p}state=inactive,${p}old-secret=t" || fail "$f: $by erases"
        for reader in "$VIV_IMG" qemu-img; do
            # shellcheck disable=SC2086
            expect 1 "Invalid password, cannot unlock any keyslot" $reader map $sec --image-opts "$(opts $f t k.img)"
        done
    done
    # The same words.
    for o in state=inactive,keyslot=0 state=inactive,old-secret=s state=inactive,old-secret=t state=inactive state=active \
        state=active,new-secret=t,keyslot=8 state=active,new-secret=t,old-secret=s state=inactive,new-secret=t,keyslot=0; do
        o=$p$(echo "$o" | sed "s/,/,$p/g")
        # shellcheck disable=SC2086
        ! qemu-img amend $sec --image-opts "$(opts $f s k.img)" -o "$o" 2>theirs || fail "qemu-img amend $o"
        # shellcheck disable=SC2086
        expect 1 "$(sed 's/^qemu-img: //' theirs)" $VIV_IMG amend $sec --image-opts "$(opts $f s k.img)" -o "$o"
    done
    echo "ok keys of $f"
done

# --- refusals and what needs no key ---
$VIV_IMG info k.img >/dev/null || fail "info without a key"
expect 1 "key-secret' is required for cipher" "$VIV_IMG" map k.img
# shellcheck disable=SC2086
expect 1 "No secret with id 'nobody'" $VIV_IMG map --image-opts "$(opts qcow2 nobody k.img)"
# shellcheck disable=SC2086
expect 1 "key-secret' is required for cipher" $VIV_IMG create -f luks l.img 1M
# shellcheck disable=SC2086
expect 1 "encrypt.format" $VIV_IMG create $sec -f qcow2 -o encrypt.key-secret=s l.img 1M
# shellcheck disable=SC2086
expect 1 "at the same time" $VIV_IMG create $sec -f qcow2 -o encrypt.format=aes,encryption=on,encrypt.key-secret=s l.img 1M
[ ! -e l.img ] || fail "a refused image was made"
truncate -s 1M plain.raw
# shellcheck disable=SC2086
expect 1 "unknown option 'key-secret'" $VIV_IMG map $sec --image-opts driver=raw,key-secret=s,file.filename=plain.raw

# --- resize, backing chains ---
# shellcheck disable=SC2086
$VIV_IMG create -q $sec -f luks -o key-secret=s,$fast b.img 1M
# shellcheck disable=SC2086
$VIV_IMG resize -q $sec --image-opts "$(opts luks s b.img)" +3M || fail resize
[ "$(stat -c %s b.img)" = $((2068480 + 4 * 1048576)) ] || fail "resize: the file's size"
cp r.raw base.raw
# shellcheck disable=SC2086
patient create -q $sec -f qcow2 -F raw -b base.raw -o encrypt.format=luks,encrypt.key-secret=s,encrypt.$fast o.img
cp r.raw model.raw
write_by "$VIV_IO" qcow2 o.img $((seed + 2))
model_is qcow2 o.img "an overlay"
write_by qemu-io qcow2 o.img $((seed + 3))
same_disk qcow2 o.img "an overlay"
model_is qcow2 o.img "an overlay after qemu-io"
sound qcow2 o.img "an overlay"
# One encrypted image on another.
# shellcheck disable=SC2086
$VIV_IMG create -q $sec -f qcow2 -o encrypt.format=aes,encrypt.key-secret=s b2.img 1M
# shellcheck disable=SC2086
$VIV_IMG create -q $sec -f qcow2 -F qcow2 -b o.img -o encrypt.format=luks,encrypt.key-secret=t,encrypt.$fast p.img 2>log || fail "$(cat log)"
chain=driver=qcow2,encrypt.key-secret=t,file.filename=p.img,backing.encrypt.key-secret=s
# shellcheck disable=SC2086
$VIV_IMG convert -t unsafe $sec --image-opts -O raw $chain ours.raw || fail "a chain of encrypted images"
cmp ours.raw model.raw || fail "a chain of encrypted images"
# shellcheck disable=SC2086
qemu-img compare -q $sec --image-opts $chain driver=raw,file.filename=model.raw || fail "a chain, to qemu-img"
# shellcheck disable=SC2086
expect 1 "has no backing file" $VIV_IMG map $sec --image-opts "$(opts qcow2 s b2.img),backing.encrypt.key-secret=s"
echo "ok resize, backing"

# --- snapshots share clusters: what a sector's number is counted from must hold for both ---
for o in "encrypt.format=luks,encrypt.key-secret=s,encrypt.$fast" encrypt.format=aes,encrypt.key-secret=s; do
    # shellcheck disable=SC2086
    $VIV_IMG convert -t unsafe $sec -f raw -O qcow2 -o "$o" r.raw v.img
    # shellcheck disable=SC2086
    $VIV_IMG snapshot $sec --image-opts -c one "$(opts qcow2 s v.img)" || fail "snapshot -c"
    cp r.raw model.raw
    write_by "$VIV_IO" qcow2 v.img $((seed + 4))
    same_disk qcow2 v.img "beside a snapshot"
    model_is qcow2 v.img "beside a snapshot"
    sound qcow2 v.img "beside a snapshot"
    # shellcheck disable=SC2086
    qemu-img snapshot $sec --image-opts -a one "$(opts qcow2 s v.img)"
    cp r.raw model.raw
    same_disk qcow2 v.img "a snapshot applied"
    model_is qcow2 v.img "a snapshot applied"
done
# shellcheck disable=SC2086
expect 1 "Compression and encryption not supported at the same time" \
    $VIV_IMG convert -c $sec -O qcow2 -o encrypt.format=aes,encrypt.key-secret=s r.raw w.img
# shellcheck disable=SC2086
expect 1 "exclude each other" $VIV_IMG create $sec -f qcow2 -o encrypt.format=aes,encrypt.key-secret=s,data_file=d.raw,data_file_raw=on w.img 1M
[ ! -e w.img ] || fail "a refused image was made"
echo "ok snapshots"

# --- convert makes and fills one; map names no place of what is encrypted ---
for f in luks qcow2; do
    [ $f = luks ] && o="key-secret=s,$fast" || o="encrypt.format=luks,encrypt.key-secret=s,encrypt.$fast"
    # shellcheck disable=SC2086
    $VIV_IMG convert -t unsafe $sec -f raw -O $f -o "$o" r.raw v.img || fail "convert to $f"
    cp r.raw model.raw
    same_disk $f v.img "converted to $f"
    model_is $f v.img "converted to $f"
    # shellcheck disable=SC2086
    qemu-img map --output=json $sec --image-opts "$(opts $f s v.img)" >theirs
    # shellcheck disable=SC2086
    $VIV_IMG map --output=json $sec --image-opts "$(opts $f s v.img)" >ours || fail "map of $f"
    python3 -c 'import json; a = json.load(open("ours")); b = json.load(open("theirs")); assert a == b, (a, b)' || fail "map of $f"
done
# shellcheck disable=SC2086
patient create -q $sec -f luks -o key-secret=s,$fast,preallocation=falloc p.img 1M
# shellcheck disable=SC2086
$VIV_IMG create -q $sec -f luks -o key-secret=s,$fast,preallocation=falloc q.img 1M
[ "$(stat -c %b p.img)" = "$(stat -c %b q.img)" ] || fail "preallocation"
echo "ok convert, map, preallocation"

# --- the rest of the world ---
if command -v cryptsetup >/dev/null; then
    # shellcheck disable=SC2086
    $VIV_IMG create -q $sec -f luks -o key-secret=s,$fast c.img 1M
    cryptsetup luksDump c.img >dump || fail "cryptsetup luksDump"
    grep -q "Payload offset:.*4040" dump || fail "cryptsetup: $(cat dump)"
    cryptsetup open --test-passphrase --key-file pw c.img || fail "cryptsetup: our key"
    ! cryptsetup open --test-passphrase --key-file pw2 c.img 2>/dev/null || fail "cryptsetup: a wrong key opens"
    if cryptsetup -q luksFormat --type luks1 --pbkdf-force-iterations 1000 --key-file pw d.img 2>err ||
        { truncate -s 4M d.img && cryptsetup -q luksFormat --type luks1 --pbkdf-force-iterations 1000 --key-file pw d.img 2>err; }; then
        same_disk luks d.img "made by cryptsetup"
        echo "ok cryptsetup"
    else
        echo "skip: cryptsetup luksFormat does not work here: $(cat err)"
    fi
fi
