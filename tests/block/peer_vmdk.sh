#!/bin/sh
# VMDK beside what all formats have in common (peer_formats.sh): compressed images, chains, extents of other products, descriptors
# made by strangers. Against Debian's qemu-img where it knows the kind.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io python3

seed=${SEED:-1}
echo "seed $seed"
cat >data.py <<'P'
import random, sys
random.seed(int(sys.argv[1]))
size = int(sys.argv[3])
with open(sys.argv[2], "wb") as f:
    f.truncate(size)
    for _ in range(40):
        off = random.randrange(size // 512) * 512
        n = min(random.randrange(1, 500) * 512, size - off)
        f.seek(off)
        f.write(random.choice([random.randbytes(n), b"abc\n" * (n // 4), bytes([random.randrange(256)]) * n]))
P
same()
{
    qemu-img compare -q -f "$1" -F "$3" "$2" "$4" || fail "$5: qemu-img"
    $VIV_IMG compare -q -f "$1" -F "$3" "$2" "$4" || fail "$5: viv-img"
}
same_info()
{
    qemu-img info "$1" >theirs
    $VIV_IMG info "$1" >ours || fail "$2: info"
    diff theirs ours || fail "$2: info prints something else"
}
map_of()
{
    python3 -c 'import json,sys
m = []
for e in json.load(sys.stdin):
    e = {k: e[k] for k in ("start", "length", "depth", "zero", "data", "offset") if k in e}
    if m and all(m[-1].get(k) == e.get(k) for k in ("depth", "zero", "data")) and "offset" not in e and "offset" not in m[-1]:
        m[-1]["length"] += e["length"]
    else:
        m.append(e)
print(m)'
}

# --- compressed: made by either from the same data; ours also takes writes of less than a grain, and over what is there ---
python3 data.py "$seed" a.raw 9000448
python3 data.py $((seed + 1)) b.raw 9000448
so="-o subformat=streamOptimized"
# shellcheck disable=SC2086
{
    qemu-img convert -f raw -O vmdk $so a.raw t.vmdk
    $VIV_IMG convert -f raw -O vmdk $so a.raw o.vmdk || fail "convert to streamOptimized"
    $VIV_IMG convert -W -m 8 -f raw -O vmdk $so a.raw w.vmdk || fail "convert to streamOptimized in any order"
}
for i in t o w; do
    same vmdk $i.vmdk raw a.raw "compressed: $i"
    same_info $i.vmdk "compressed: $i"
    qemu-img check -q $i.vmdk || fail "compressed: qemu-img check of $i"
    $VIV_IMG check -q $i.vmdk || fail "compressed: check of $i"
    $VIV_IMG map --output=json $i.vmdk | map_of >ours
    qemu-img map --output=json $i.vmdk | map_of >theirs
    diff theirs ours || fail "compressed: map of $i"
done
[ "$(stat -c %s o.vmdk)" -lt $(($(stat -c %s t.vmdk) * 11 / 10)) ] || fail "compressed: ours is larger than theirs"
for i in t o; do
    $VIV_IMG convert -n -f raw -O vmdk b.raw $i.vmdk || fail "compressed: writing over $i"
    same vmdk $i.vmdk raw b.raw "compressed: written over $i"
    $VIV_IMG check -q $i.vmdk || fail "compressed: check of $i after writing over it"
done
rm t.vmdk o.vmdk w.vmdk

# --- a stream as VMware makes it: directory at the end, found by a footer. qemu-img's, its tables moved ---
# shellcheck disable=SC2086
qemu-img convert -f raw -O vmdk $so a.raw t.vmdk
python3 - <<'P'
import struct
b = bytearray(open("t.vmdk", "rb").read())
gd, = struct.unpack_from("<Q", b, 56)
cap, grain = struct.unpack_from("<QQ", b, 12)
n = -(-cap // (grain * 512))
gts = struct.unpack_from("<%dI" % n, b, gd * 512)
out = bytearray(b)
marker = lambda v, size, t: struct.pack("<QII", v, size, t).ljust(512, b"\0")
new = []
for g in gts:
    out += marker(4, 0, 1)
    new.append(len(out) // 512)
    out += b[g * 512:g * 512 + 2048]
out += marker(1, 0, 2)
at = len(out) // 512
out += struct.pack("<%dI" % n, *new).ljust(512, b"\0")
h = bytearray(b[:512])
struct.pack_into("<I", h, 8, 0x30001)
struct.pack_into("<QQ", h, 48, 0, at)
out += marker(1, 0, 3) + h + bytes(512)
struct.pack_into("<QQ", h, 48, 0, 2**64 - 1)
out[:512] = h
out[10752:15872] = b"\xff" * 5120 # the tables that were there
open("s.vmdk", "wb").write(out)
open("cut.vmdk", "wb").write(out[:-512])
P
same vmdk s.vmdk raw a.raw "stream"
$VIV_IMG check -q s.vmdk || fail "stream: check"
expect 1 "footer" $VIV_IMG info cut.vmdk
expect 1 "streaming" $VIV_IMG convert -n -f raw -O vmdk b.raw s.vmdk
same vmdk s.vmdk raw a.raw "stream, after somebody wanted to write it"
rm ./*.vmdk

# --- chains: by turns theirs and ours, each kind that can have a parent ---
mkdir below
qemu-img convert -f raw -O vmdk -o subformat=twoGbMaxExtentFlat a.raw below/base.vmdk
cp a.raw model.raw
prev=below/base.vmdk
n=1
for make in "$VIV_IMG create -q" "qemu-img create -q" "$VIV_IMG create -q" "$VIV_IMG create -q"; do
    case $n in
    1) o="-o zeroed_grain=on" ;;
    2) o="-o subformat=twoGbMaxExtentSparse" ;;
    3) o="" ;;
    4) o="-o subformat=streamOptimized" ;;
    esac
    # shellcheck disable=SC2086
    $make -f vmdk $o -F vmdk -b $prev l$n.vmdk || fail "create l$n"
    python3 - "$seed$n" <<'P' >p
import random, sys
random.seed(int(sys.argv[1]))
for _ in range(25):
    off = random.randrange(9000448 // 512) * 512
    n = min(random.randrange(1, 400) * 512, 9000448 - off)
    print("write %s %d %d" % (random.choice(["-P %d" % random.randrange(1, 256)] * 3 + ["-z", "-z -u"]), off, n))
P
    if [ $n = 4 ]; then # qemu-io cannot write there twice, nor less than a grain
        python3 data.py $((seed + 9)) model.raw 9000448
        $VIV_IMG convert -n -f raw -O vmdk model.raw l4.vmdk || fail "writing l4"
    else
        qemu-io -t unsafe -f vmdk l$n.vmdk <p >/dev/null
        qemu-io -t unsafe -f raw model.raw <p >/dev/null
    fi
    same vmdk l$n.vmdk raw model.raw "chain $n"
    same_info l$n.vmdk "chain $n"
    $VIV_IMG check -q l$n.vmdk || [ $? = 3 ] || fail "chain $n: check"
    prev=l$n.vmdk
    n=$((n + 1))
done
$VIV_IMG info --backing-chain --output=json l4.vmdk >ours
qemu-img info --backing-chain --output=json l4.vmdk >theirs
python3 -c 'import json; a = json.load(open("ours")); b = json.load(open("theirs")); assert a == b, (a, b)' || fail "info of a chain"
for b in below/base l2; do
    $VIV_IMG convert -O vmdk -B $b.vmdk -F vmdk l3.vmdk flat.vmdk || fail "convert -B $b"
    same vmdk flat.vmdk vmdk l3.vmdk "convert -B $b"
    rm flat.vmdk
done

# A parent that was written since is not the parent any more: for us, and for qemu-img after our write.
cp l1.vmdk keep.vmdk
cid=$(strings l1.vmdk | grep '^CID=')
$VIV_IMG convert -n -f raw -O vmdk a.raw l1.vmdk
[ "$(strings l1.vmdk | grep '^CID=')" != "$cid" ] || fail "a written image keeps its CID"
expect 1 "is not what it was" $VIV_IMG convert -O raw l2.vmdk x.raw
qemu-img convert -O raw l2.vmdk x.raw 2>/dev/null && fail "qemu-img does not see that the parent was written"
cp keep.vmdk l1.vmdk
$VIV_IMG convert -O raw l2.vmdk x.raw || fail "the old parent is back"
# A commit changes the parent, and the child goes on to fit: also for qemu-img.
for tool in "$VIV_IMG" qemu-img; do
    qemu-img convert -O vmdk l1.vmdk pa.vmdk
    $VIV_IMG create -q -f vmdk -b pa.vmdk -F vmdk ch.vmdk
    qemu-io -t unsafe -c 'write -P 77 1M 300k' -c 'write -P 78 7M 4k' ch.vmdk >/dev/null
    qemu-img convert -O raw ch.vmdk x.raw
    $tool commit -q ch.vmdk || fail "$tool commit"
    qemu-img compare -q pa.vmdk x.raw || fail "$tool commit: the parent"
    [ "$tool" = qemu-img ] || same vmdk ch.vmdk raw x.raw "commit: the child"
    rm pa.vmdk ch.vmdk
done
# -c: the peer's silence for sparse images, its refusal of flat ones; streamOptimized needs none.
$VIV_IMG convert -c -O vmdk l1.vmdk x.vmdk || fail "convert -c"
same vmdk x.vmdk vmdk l1.vmdk "convert -c"
expect 1 "cannot hold compressed" $VIV_IMG convert -c -O vmdk -o subformat=monolithicFlat l1.vmdk y.vmdk
$VIV_IMG convert -c -O vmdk -o subformat=streamOptimized l1.vmdk y.vmdk || fail "convert -c to streamOptimized"
same vmdk y.vmdk vmdk l1.vmdk "convert -c to streamOptimized"
qemu-img create -q -f qcow2 base.qcow2 9000448
expect 1 "must be a vmdk image" $VIV_IMG create -f vmdk -b base.qcow2 -F qcow2 x.vmdk
expect 1 "can't have backing" $VIV_IMG create -f vmdk -o subformat=monolithicFlat -b l1.vmdk -F vmdk x.vmdk
expect 1 "zeroed grain" $VIV_IMG create -f vmdk -o subformat=monolithicFlat,zeroed_grain=on x.vmdk 1M
expect 1 "compat6" $VIV_IMG create -f vmdk -o compat6=on,hwversion=7 x.vmdk 1M
expect 1 "no way to write" $VIV_IMG create -f vmdk 'x"y.vmdk' 1M
rm -rf ./*.vmdk below

# --- ESX's extents ---
python3 data.py "$seed" d.raw 3145728
cat >cowd.py <<'P'
import random, struct, sys
# NAME GRAIN: the data of d.raw, some grains missing
name, grain = sys.argv[1], int(sys.argv[2])
d = open("d.raw", "rb").read()
secs = len(d) // 512
n = -(-secs // (4096 * grain))
gts = [5 + 32 * i for i in range(n)]
at, gt, grains = 5 + 32 * n, [0] * 4096 * n, []
for i in random.sample(range(secs // grain), secs // grain):
    g = d[i * grain * 512:(i + 1) * grain * 512]
    if any(g):
        gt[i] = at
        at += grain
        grains.append(g)
h = b"COWD" + struct.pack("<7I", 1, 3, secs, grain, 4, n, at)
with open(name, "wb") as f:
    f.write(h.ljust(2048, b"\0"))
    f.write(struct.pack("<%dI" % n, *gts).ljust(512, b"\0"))
    f.write(struct.pack("<%dI" % len(gt), *gt))
    f.write(b"".join(grains))
P
desc()
{
    printf '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="%s"\n%b\n' "$1" "$2" >"$3"
}
for g in 1 16; do
    python3 cowd.py esx-delta.vmdk $g
    desc vmfsSparse 'RW 6144 VMFSSPARSE "esx-delta.vmdk"' esx.vmdk
    same vmdk esx.vmdk raw d.raw "COWD, grain $g"
    same_info esx.vmdk "COWD, grain $g"
    $VIV_IMG check -q esx.vmdk || fail "COWD: check"
done
expect 1 "holds no descriptor" $VIV_IMG info esx-delta.vmdk
expect 1 "can only be read" $VIV_IMG convert -n -f raw -O vmdk d.raw esx.vmdk
desc vmfs 'RW 6144 VMFS "d.raw"' v.vmdk
same vmdk v.vmdk raw d.raw "VMFS"
same_info v.vmdk "VMFS"

# --- extents of all kinds in one disk, of sizes that are no multiple of anything ---
python3 data.py $((seed + 2)) e.raw 3145728
for n in 2048 2051; do # qemu-img 7.2 reads the end of the last grain, 2051, in place of the next extent
    head -c 700416 d.raw >p1
    tail -c +700417 d.raw | head -c $((n * 512)) >p2.raw
    tail -c +$((700417 + n * 512)) d.raw >p3
    qemu-img convert -q -f raw -O vmdk p2.raw p2.vmdk
    printf 'RW 1368 FLAT "p1" 0\nRW %s SPARSE "p2.vmdk"\nRW %s FLAT "p3" 0' $n $((4776 - n)) >lines
    desc twoGbMaxExtentSparse "$(cat lines)" mix.vmdk
    $VIV_IMG compare -q mix.vmdk -F raw d.raw || fail "mixed, $n"
    same_info mix.vmdk "mixed, $n"
    $VIV_IMG convert -n -f raw -O vmdk e.raw mix.vmdk || fail "writing mixed extents, $n"
    $VIV_IMG compare -q mix.vmdk -F raw e.raw || fail "mixed, $n, written"
    [ $n = 2051 ] || same vmdk mix.vmdk raw e.raw "mixed, $n, written"
    $VIV_IMG check -q mix.vmdk || fail "mixed, $n: check"
done
# What qemu-img 7.2 leaves out in silence: parts that are zero, and parts that are read only.
desc monolithicFlat "$(printf 'RW 100 FLAT "p1" 0\nRW 50 ZERO\nRDONLY 30 FLAT "p3" 2')" z.vmdk
{ head -c 51200 p1; head -c 25600 /dev/zero; tail -c +1025 p3 | head -c 15360; } >z.raw
$VIV_IMG compare -q -f vmdk -F raw z.vmdk z.raw || fail "zero and read-only extents"
expect 1 "Read-only" $VIV_IMG convert -n -f raw -O vmdk z.raw z.vmdk

# --- descriptors of strangers ---
says()
{
    desc monolithicFlat "$1" h.vmdk
    expect 1 "$2" $VIV_IMG info h.vmdk
}
says 'RW 1 FLAT "/etc/passwd" 0' "outside of the image's folder"
says 'RW 1 FLAT "../x" 0' "outside of the image's folder"
says 'RW 1 FLAT "sub/../../x" 0' "outside of the image's folder"
says 'RW 1 FLAT "nbd:localhost:1" 0' "No such file"
says 'RW 1 FLAT "json:{}" 0' "No such file"
says 'RW 1 FLAT "nope" 0' "'nope'"
says 'RW 1 FLAT "h.vmdk" 0' "in use by this image already"
says 'RW 9999999 FLAT "p1" 0' "too short"
says 'RW 1 FLAT "p1" 99999' "too short"
says 'RW 36028797018963968 FLAT "p1" 0' "larger than a disk"
says 'RW 99999999999999999999999999 FLAT "p1" 0' "number of sectors"
says 'RW 9007199254740992 ZERO\nRW 9007199254740992 ZERO' "larger than a disk"
says 'RW 8 FLAT "p1" 0\nRW 8 FLAT "p1" 7' "overlap"
says 'RW 8 FLAT "p1" 0\nRW 8 SPARSE "p1"' "share a file"
says 'RW 8 SPARSE "p1"' "no sparse extent"
says 'RW 8 SESPARSE "p1"' "not implemented"
says 'RW 8 VMFSRDM "p1"' "device of the ESX host"
says 'NOACCESS 8 ZERO' "without access"
says 'RW 8 FOO "p1"' "not known"
says 'RW 8 FLAT p1 0' "names no file"
ln p1 p1-too
says 'RW 8 FLAT "p1" 0\nRW 8 FLAT "p1-too" 8' "in use by this image already"
mkfifo fifo
says 'RW 8 FLAT "fifo" 0' "special file"
desc monolithicFlat 'RW 8 FLAT "p1" 0\nRW 8 FLAT "p1" 8' h.vmdk # parts of one file are fine
$VIV_IMG info h.vmdk >/dev/null || fail "two parts of a file"

# --- several files, all or none ---
mkdir ro
$VIV_IMG create -q -f vmdk -o subformat=twoGbMaxExtentSparse ro/x.vmdk 5G
[ "$(ls ro)" = "$(printf 'x-s001.vmdk\nx-s002.vmdk\nx-s003.vmdk\nx.vmdk')" ] || fail "names of extents: $(ls ro)"
rm ro/*
mkdir ro/y-f003.vmdk # in the way of the third
expect 1 "y-f003.vmdk" $VIV_IMG create -f vmdk -o subformat=twoGbMaxExtentFlat ro/y.vmdk 5G
[ "$(ls ro)" = y-f003.vmdk ] || fail "a create that failed leaves $(ls ro)"
truncate -s 1M bad.raw
qemu-img create -q -f qcow2 -b bad.raw -F raw bad.qcow2 3M
rm bad.raw
$VIV_IMG convert -O vmdk -o subformat=monolithicFlat bad.qcow2 ro/z.vmdk 2>/dev/null && fail "convert of a broken chain"
[ "$(ls ro)" = y-f003.vmdk ] || fail "a convert that failed leaves $(ls ro)"
# Over an older image of the same name.
$VIV_IMG create -q -f vmdk -o subformat=monolithicFlat v.vmdk 3M
$VIV_IMG convert -f raw -O vmdk -o subformat=monolithicFlat e.raw v.vmdk || fail "over an old image"
same vmdk v.vmdk raw e.raw "over an old image"
echo ok
