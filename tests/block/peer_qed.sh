#!/bin/sh
# Formats without a script of their own: images that we wrote, read and checked by Debian's qemu-img, and the reverse;
# the same words from both. A line a variant: format, options, whether a file of it may be the base of a chain.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io python3

# (qemu-img 7.2 makes images with table_size=1 and cannot open them itself, and computes a limit of 0 bytes for
# clusters of 2M with table_size=16.)
variants=${VARIANTS:-'
qed,cluster_size=4k,table_size=2
qed,cluster_size=64k
qed,cluster_size=64k,table_size=8
qed,cluster_size=1M,table_size=2
parallels,cluster_size=512
parallels,cluster_size=63k
parallels,cluster_size=64k
'}
seed=${SEED:-1}
echo "seed $seed"
dd if=/dev/urandom of=r.raw bs=64k count=50 status=none
truncate -s 20M r.raw
dd if=/dev/urandom of=r.raw bs=4k count=9 seek=3345 conv=notrunc status=none

same_json()
{
    python3 -c '
import json, re, sys
a, b = (json.loads(re.split(r"^(?=[\[{])", open(f).read(), 1, re.M)[-1]) for f in ("theirs", "ours"))
sys.exit(a != b)'
}

same() # what both programs say of an image: command, image
{
    # shellcheck disable=SC2086
    code=0; qemu-img $1 "$2" >theirs 2>&1 || code=$?
    # shellcheck disable=SC2086
    mine=0; $VIV_IMG $1 "$2" >ours 2>&1 || mine=$?
    case $1 in
    *json) same_json ;; # the order of keys is no promise
    *) cmp -s theirs ours ;;
    esac || { diff theirs ours; fail "$v: $1 of $3 prints something else"; }
    [ $code = $mine ] || fail "$v: $1 of $3 gives $mine, not $code"
}

say() # all that can be asked
{
    same info "$1" "$2"
    same "info --output=json" "$1" "$2"
    same check "$1" "$2"
    same "check --output=json" "$1" "$2"
}

for v in $variants; do
    f=${v%%,*} o=${v#*,}
    $VIV_IMG create -f "$f" -o "$o" a.img 20M >ours
    qemu-img create -f "$f" -o "$o" b.img 20M | sed s/b.img/a.img/ >theirs
    diff theirs ours || fail "$v: create prints something else"
    cmp a.img b.img || fail "$v: create writes something else"
    # Ours, read by them; theirs, read by us; random patterns by qemu-io over both.
    $VIV_IMG convert -f raw -O "$f" -o "$o" r.raw a.img
    qemu-img check -q a.img || fail "$v: convert is not sound"
    qemu-img compare -q -f raw -F "$f" r.raw a.img || fail "$v: convert"
    say a.img "what we wrote"
    rm b.img
    qemu-img convert -f raw -O "$f" -o "$o" r.raw b.img
    say b.img "what they wrote"
    $VIV_IMG convert -O raw b.img o.raw
    cmp r.raw o.raw || fail "$v: reading what they wrote"
    patterns "$seed" 20971520 | tee cmds | qemu-io -f "$f" a.img >/dev/null
    qemu-io -f raw o.raw <cmds >/dev/null
    $VIV_IMG convert -f "$f" -O raw a.img p.raw
    cmp o.raw p.raw || fail "$v: patterns over what we wrote"
    qemu-img check a.img >/dev/null || [ $? = 3 ] || fail "$v: patterns over what we wrote are not sound"
    say a.img "what they wrote over ours"
    # Ours over theirs, all of it.
    $VIV_IMG convert -n -f raw -O "$f" r.raw a.img
    qemu-img compare -q -f raw -F "$f" r.raw a.img || fail "$v: convert -n"
    say a.img "what we wrote over theirs"
    # Leaks behind the end.
    truncate -s +3000000 b.img
    say b.img "a longer file"
    $VIV_IMG check -q -r leaks b.img || fail "$v: leaks stay"
    qemu-img check -q b.img || fail "$v: the repair is not sound"
    qemu-img compare -q -f raw -F "$f" r.raw b.img || fail "$v: the repair lost data"
    rm -f a.img b.img o.raw p.raw
done
for v in qed,cluster_size=2048 qed,table_size=3; do
    expect 1 "$(qemu-img create -f qed -o "${v#*,}" b.img 1M 2>&1 | sed -n 's/.*b.img: //p')" \
        $VIV_IMG create -f qed -o "${v#*,}" b.img 1M
done
expect 1 "Backing file not supported for file format 'parallels'" $VIV_IMG create -f parallels -b r.raw -F raw b.img 1M

# Qed: chains of three, each layer of another size, over raw; growing over a longer backing file.
v=chain
qemu-img create -q -f qed -o cluster_size=4k,table_size=2 -b r.raw -F raw base.qed 21M
patterns "$seed" 22020096 | qemu-io base.qed >/dev/null
$VIV_IMG create -q -f qed -b base.qed -F qed mid.qed 24M
patterns $((seed + 1)) 25165824 | qemu-io mid.qed >/dev/null
$VIV_IMG create -q -f qed -o cluster_size=8k -b mid.qed -F qed top.qed
patterns $((seed + 2)) 25165824 | qemu-io top.qed >/dev/null
qemu-img convert -O raw top.qed theirs.raw
$VIV_IMG convert -O raw top.qed ours.raw
cmp theirs.raw ours.raw || fail "reading a chain"
for b in base mid; do
    $VIV_IMG convert -O qed -B $b.qed -F qed top.qed flat.qed
    qemu-img check -q flat.qed || fail "convert -B $b is not sound"
    qemu-img compare -q flat.qed top.qed || fail "convert -B $b"
    same "info --backing-chain" flat.qed "a chain"
    same "info --backing-chain --output=json" flat.qed "a chain"
    rm flat.qed
done
for i in mid top; do same check $i.qed "a chain's $i"; done
qemu-img create -q -f qed -b base.qed -F qed small.qed 1M
$VIV_IMG resize -q small.qed 30M
qemu-img check -q small.qed || fail "resize"
qemu-io -c 'read -P 0 1M 29M' small.qed | grep -q 'verification failed' && fail "the backing file came back"
expect 1 "Shrinking images is currently not supported" $VIV_IMG resize --shrink small.qed 1M

# The bit "need check": read as it is, checked and cleared by who writes; entries that point nowhere are cleared.
v=need-check
for who in qemu-img "$VIV_IMG"; do
    qemu-img convert -f raw -O qed r.raw n.qed
    printf '\002' | dd of=n.qed bs=1 seek=16 conv=notrunc status=none
    $VIV_IMG compare -q n.qed r.raw 2>/dev/null || qemu-img compare -q -F raw n.qed r.raw
    $who check -q -r all n.qed || fail "$who does not mend a sound image"
    [ "$(od -An -tx1 -j16 -N1 n.qed)" = " 00" ] || fail "$who leaves the bit"
    l2=$(od -An -tu8 -j65536 -N8 n.qed | tr -d ' ')
    printf '\001\001' | dd of=n.qed bs=1 seek=$((l2 + 16)) conv=notrunc status=none
    code=0; $who check -q -r all n.qed || code=$?
    [ $code = 3 ] || fail "$who gives $code for an entry that points nowhere"
    [ "$(od -An -tu8 -j$((l2 + 16)) -N8 n.qed | tr -d ' ')" = 0 ] || fail "$who leaves the entry"
    rm n.qed
done

# Parallels: the mark of a writer that is gone, and the older magic value.
v=parallels
for who in qemu-img "$VIV_IMG"; do
    qemu-img convert -f raw -O parallels r.raw n.hdd
    printf 'Ynot' | dd of=n.hdd bs=1 seek=44 conv=notrunc status=none
    same check n.hdd "an image in use"
    expect 2 "ERROR image was not closed correctly" "$VIV_IMG" check -r leaks n.hdd
    $who check -q -r all n.hdd || fail "$who does not mend it"
    [ "$(od -An -tx4 -j44 -N4 n.hdd)" = " 00000000" ] || fail "$who leaves the mark"
    rm n.hdd
done
qemu-img convert -f raw -O parallels r.raw n.hdd
printf 'Ynot' | dd of=n.hdd bs=1 seek=44 conv=notrunc status=none
python3 - <<'P'
import struct
f = open("n.hdd", "r+b")
h = bytearray(f.read(64))
h[0:16] = b"WithoutFreeSpace"
h[44:48] = bytes(4)
tracks, n = struct.unpack_from("<II", h, 28)
bat = struct.unpack("<%dI" % n, f.read(4 * n))
f.seek(0)
f.write(h + struct.pack("<%dI" % n, *(e * tracks for e in bat)))
P
qemu-img compare -q -F raw n.hdd r.raw || fail "the test's own image"
say n.hdd "the older magic value"
$VIV_IMG convert -O raw n.hdd o.raw
cmp o.raw r.raw || fail "reading the older magic value"
dd if=/dev/urandom of=r.raw bs=64k count=170 status=none conv=notrunc
$VIV_IMG convert -n -f raw -O parallels r.raw n.hdd
qemu-img check -q n.hdd || fail "writing the older magic value is not sound"
qemu-img compare -q -F raw n.hdd r.raw || fail "writing the older magic value"
echo ok
