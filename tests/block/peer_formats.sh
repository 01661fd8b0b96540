#!/bin/sh
# Formats against Debian's qemu-img, one after the other: what we make is the same disk to them, what they make is the same
# disk to us, written by turns. A line of `formats` is a format, what `check` says of it (check; none where there is no check; leaks
# where qemu-io leaves some that qemu-img does not look for), and variants of create options, each a word ("-": none).
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io python3

formats=${1:-'
vdi check - static=on
vpc none - subformat=fixed force_size=on subformat=fixed,force_size=on
vhdx check - block_size=1M block_size=2M,block_state_zero=off,log_size=2M subformat=fixed
vmdk check - adapter_type=lsilogic,hwversion=7 subformat=monolithicFlat subformat=twoGbMaxExtentSparse,toolsversion=9
vmdk check subformat=twoGbMaxExtentFlat,compat6=on
vmdk leaks zeroed_grain=on
'}
seed=${SEED:-1}
echo "seed $seed"

virtual_size()
{
    qemu-img info --output=json -f "$1" "$2" | python3 -c 'import json,sys; print(json.load(sys.stdin)["virtual-size"])'
}

# sound FORMAT CHECK IMAGE WHAT: both programs find nothing wrong, in the same words.
sound()
{
    if [ "$2" = none ]; then
        expect 63 "does not support checks" $VIV_IMG check -f "$1" "$3"
        return
    fi
    qemu-img check -q -f "$1" "$3" || fail "$4: qemu-img check"
    if [ "$2" = leaks ]; then
        code=0
        $VIV_IMG check -q -f "$1" "$3" || code=$?
        [ $code = 0 ] || [ $code = 3 ] || fail "$4: check says $code"
        return
    fi
    qemu-img check -f "$1" "$3" >theirs
    $VIV_IMG check -f "$1" "$3" >ours || fail "$4: check"
    diff theirs ours || fail "$4: check prints something else"
    qemu-img check --output=json -f "$1" "$3" >theirs
    $VIV_IMG check --output=json -f "$1" "$3" >ours
    python3 -c 'import json; a = json.load(open("ours")); b = json.load(open("theirs")); assert a == b, (a, b)' ||
        fail "$4: check --output=json"
}

# The same disk to both, the same facts about it.
same_disk()
{
    qemu-img convert -t unsafe -f "$1" -O raw "$2" theirs.raw
    $VIV_IMG convert -t unsafe -f "$1" -O raw "$2" ours.raw
    cmp theirs.raw ours.raw || fail "$3: read differently"
    qemu-img info -f "$1" "$2" >theirs
    $VIV_IMG info -f "$1" "$2" >ours || fail "$3: info"
    diff theirs ours || fail "$3: info prints something else"
    qemu-img info --output=json -f "$1" "$2" >theirs
    $VIV_IMG info --output=json -f "$1" "$2" >ours
    python3 -c 'import json; a = json.load(open("ours")); b = json.load(open("theirs")); assert a == b, (a, b)' ||
        fail "$3: info --output=json"
}

# by_turns FORMAT CHECK IMAGE WHAT: qemu-io writes, then we write over some of it, then qemu-io again.
by_turns()
{
    size=$(virtual_size "$1" "$3")
    patterns "$seed" "$size" 25 >p1
    patterns $((seed + 1)) "$size" 25 >p2
    qemu-img convert -t unsafe -f "$1" -O raw "$3" model.raw
    qemu-io -t unsafe -f "$1" "$3" <p1 >/dev/null
    qemu-io -t unsafe -f raw model.raw <p1 >/dev/null
    qemu-img compare -q -f "$1" -F raw "$3" model.raw || fail "$4: qemu-io's own writes"
    same_disk "$1" "$3" "$4 after qemu-io"
    # Ours: the whole disk as another one has it, holes and all.
    python3 - "$seed" "$size" <<'P'
import random, sys
random.seed(int(sys.argv[1]) * 7)
size = int(sys.argv[2])
with open("patch.raw", "wb") as f:
    f.truncate(size)
    for _ in range(30):
        off = random.randrange(size // 512) * 512
        f.seek(off)
        f.write(random.randbytes(min(random.randrange(1, 300) * 512, size - off)))
P
    $VIV_IMG convert -t unsafe -n -f raw -O "$1" patch.raw "$3" || fail "$4: writing it"
    sound "$1" "$2" "$3" "$4 after our writes"
    qemu-img compare -q -f raw -F "$1" patch.raw "$3" || fail "$4: what we wrote"
    qemu-io -t unsafe -f "$1" "$3" <p2 >/dev/null
    qemu-io -t unsafe -f raw patch.raw <p2 >/dev/null
    qemu-img compare -q -f raw -F "$1" patch.raw "$3" || fail "$4: qemu-io after us"
    sound "$1" "$2" "$3" "$4 after all"
    same_disk "$1" "$3" "$4 after all"
}

dd if=/dev/urandom of=r.raw bs=64k count=40 status=none
truncate -s 11M r.raw
dd if=/dev/urandom of=r.raw bs=4k count=9 seek=2345 conv=notrunc status=none

# Of a vmdk's text without its random number, which qemu-img writes without leading zeroes.
file_size()
{
    if head -c 21 "$1" | grep -q "# Disk DescriptorFile"; then
        grep -v ^CID= "$1" | wc -c
    else
        stat -c %s "$1"
    fi
}

one_variant()
{
    format=$1 check=$2 what="$1 $3" o=
    [ "$3" = - ] || o="-o $3"
    for size in 0 512 11000k 700M 5G; do
        case $size$3 in *G*static* | *G*fixed* | 0*fixed*) continue ;; esac # large; qemu-img cannot open it
        case $format$size in vhdx0 | vmdk0) continue ;; esac # qemu-img makes a table of 64 MiB for no block at all; cannot open it
        # shellcheck disable=SC2086
        $VIV_IMG create -f "$format" $o a.img $size >ours || fail "$what $size: create"
        # shellcheck disable=SC2086
        qemu-img create -f "$format" $o b.img $size | sed s/b.img/a.img/ >theirs
        diff theirs ours || fail "$what $size: create prints something else"
        [ "$(virtual_size "$format" a.img)" = "$(virtual_size "$format" b.img)" ] || fail "$what $size: another size"
        [ "$format" = qcow2 ] || [ "$(file_size a.img)" = "$(file_size b.img)" ] || fail "$what $size: a file of another size"
        sound "$format" "$check" a.img "$what $size"
        rm -f a.img b.img
    done
    # shellcheck disable=SC2086
    $VIV_IMG create -q -f "$format" $o a.img 11000k
    by_turns "$format" "$check" a.img "ours: $what"
    # shellcheck disable=SC2086
    qemu-img create -q -f "$format" $o b.img 11000k
    by_turns "$format" "$check" b.img "theirs: $what"
    rm -f a.img b.img
    # shellcheck disable=SC2086
    $VIV_IMG convert -t unsafe -f raw -O "$format" $o r.raw a.img || fail "$what: convert"
    sound "$format" "$check" a.img "$what: convert"
    qemu-img compare -q -f raw -F "$format" r.raw a.img || fail "$what: converted by us"
    # shellcheck disable=SC2086
    qemu-img convert -t unsafe -f raw -O "$format" $o r.raw b.img
    same_disk "$format" b.img "$what: converted by qemu-img"
    rm -f a.img b.img
    echo "ok $what"
}

printf '%s\n' "$formats" >list
while read -r format check variants; do
    for v in $variants; do
        one_variant "$format" "$check" "$v" </dev/null
    done
done <list
