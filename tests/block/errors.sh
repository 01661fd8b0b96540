#!/bin/sh
# Bad input: one line that says what, why and what works; no half files; qemu-img's exit codes.
. "$(dirname "$0")/functions.sh"

expect 1 "did you mean 'info'" $VIV_IMG inof x
expect 1 "No such file" $VIV_IMG snapshot -l x
expect 1 "No such file" $VIV_IMG info nothere
expect 1 "size parameter" $VIV_IMG create -f qcow2 a.qcow2
expect 1 "formats that work" $VIV_IMG create -f xyz a 1M
expect 1 "luster size" $VIV_IMG create -f qcow2 -o cluster_size=3k a 1M
expect 1 "nvalid image size" $VIV_IMG create -f qcow2 a 1X
expect 1 "cluster_size" $VIV_IMG create -f qcow2 -o cluster_sise=64k a 1M
expect 1 "No such file" $VIV_IMG create -f qcow2 -b nothere -F raw a
expect 1 "-F raw" sh -c "truncate -s 1M base; $VIV_IMG create -f qcow2 -b base a"
expect 1 "No such file" $VIV_IMG create -f qcow2 no/such/folder/a 1M
expect 1 "nfs images are not implemented" $VIV_IMG info nfs://localhost/x
expect 1 "is a directory" $VIV_IMG info .
for o in '' , ,size=1M backing_fmt=raw, backing_file=a,,,; do
    expect 1 "Invalid option list: $o" $VIV_IMG create -u -f qcow2 -o "$o" -o backing_fmt=raw a 1M
done
expect 0 "backing_file=a,,,," $VIV_IMG create -u -f qcow2 -o backing_file=a,,,, -o backing_fmt=raw a 1M
rm a
odd=$(printf 'l\351.raw')
truncate -s 1M "$odd"
expect 0 "$(printf '"filename": "l\357\277\275.raw"')" $VIV_IMG info --output=json -f raw "$odd"
rm "$odd"
# compare's 1 is for images that differ.
expect 2 "Invalid source cache option: bogus" $VIV_IMG compare -f raw -T bogus base base
expect 2 "invalid object type: bogus" $VIV_IMG compare -f raw --object bogus,id=x base base
expect 2 "mutually exclusive" $VIV_IMG compare --image-opts -f raw base base
expect 1 "unrecognized option" $VIV_IMG compare --bogus base base
for f in a o; do [ ! -e $f ] || fail "a refused command left '$f'"; done
[ -z "$(ls -A | grep -v '^base$' || true)" ] || fail "left behind: $(ls -A)"

# A longer file that was there before: nothing of it is left.
yes old | head -c 2M >old.raw
truncate -s 1M new.raw
expect 0 "" $VIV_IMG convert -f raw -O raw new.raw old.raw
cmp new.raw old.raw || fail "the old file shows through a new raw image"
rm old.raw new.raw

# An image is not made over its own backing or data file, however that is spelled, nor over what lies below.
mkdir keep
yes keep | head -c 1M >keep/base.raw
cp keep/base.raw kept
ln -s base.raw keep/link.raw
$VIV_IMG create -q -f qcow2 -b base.raw -F raw keep/over.qcow2
over_itself()
{
    expect 1 "$@"
    cmp keep/base.raw kept || fail "'$*' overwrote its own backing or data file"
}
for name in base.raw ./base.raw "$PWD/keep/base.raw" link.raw "file:$PWD/keep/base.raw"; do
    for f in qcow2 qed; do
        over_itself "same filename as the backing file" $VIV_IMG create -f $f -b "$name" -F raw keep/base.raw
        over_itself "same filename as the backing file" $VIV_IMG create -u -f $f -b "$name" -F raw keep/base.raw 1M
    done
    over_itself "same filename as the backing file" $VIV_IMG convert -f raw -O qcow2 -B "$name" -F raw kept keep/base.raw
    over_itself "image and data file at once" $VIV_IMG create -f qcow2 -o data_file="$name" keep/base.raw 1M
    over_itself "data file and backing file at once" $VIV_IMG create -f qcow2 -o data_file="$name" -b base.raw -F raw keep/new 1M
done
over_itself "same filename as the backing file" $VIV_IMG create -f qcow2 -b base.raw -F raw keep/link.raw
over_itself "a file of the backing image" $VIV_IMG create -f qcow2 -b over.qcow2 -F qcow2 keep/base.raw
over_itself "a file of the backing image" $VIV_IMG create -f qcow2 -F raw keep/base.raw \
    -b 'json:{"driver":"raw","file":{"driver":"file","filename":"keep/base.raw"}}'
rm -r keep kept

# A link that points nowhere: the file that it names is made.
mkdir links
ln -s ../target links/one
ln -s one links/two
expect 0 "" $VIV_IMG create -q -f qcow2 links/two 1M
[ -f target ] && [ ! -L target ] && [ -L links/two ] && [ -L links/one ] || fail "a link that points nowhere: $(ls -l links target)"
expect 0 "virtual size: 1 MiB" $VIV_IMG info links/two
ln -s "$PWD/links/three" links/abs
truncate -s 1M data.raw
expect 0 "" $VIV_IMG convert -f raw -O raw data.raw links/abs
cmp data.raw links/three || fail "convert over a link that points nowhere"
ln -s nowhere/x links/bad
expect 1 "No such file" $VIV_IMG create -f qcow2 links/bad 1M
ln -s loop links/loop
expect 1 "Too many levels" $VIV_IMG create -f qcow2 links/loop 1M
rm -r links target data.raw

# Nor is a file that is there touched before what was asked is known to be possible.
yes keep | head -c 1M >keep
cp keep kept
$VIV_IMG create -q -f qcow2 with.qcow2 1M
$VIV_IMG bitmap --add with.qcow2 b
untouched()
{
    expect 1 "$@"
    cmp keep kept || fail "'$*' is refused when the old file is gone"
}
untouched "'raw' does not support bitmaps" $VIV_IMG convert --bitmaps -f raw -O qcow2 kept keep
untouched "'raw' does not support bitmaps" $VIV_IMG convert --bitmaps -f qcow2 -O raw with.qcow2 keep
untouched "No secret with id 'nope'" $VIV_IMG create -f luks -o key-secret=nope keep 1M
untouched "No secret with id 'nope'" $VIV_IMG create -f qcow2 -o encrypt.format=luks,encrypt.key-secret=nope keep 1M
untouched "No secret with id 'nope'" $VIV_IMG convert -f raw -O qcow2 -o encrypt.format=luks,encrypt.key-secret=nope kept keep
rm keep kept with.qcow2

# Backing format told safely: done, and said.
$VIV_IMG create -q -f qcow2 base.qcow2 1M
expect 0 "-F qcow2" $VIV_IMG create -f qcow2 -b base.qcow2 over.qcow2
expect 63 "does not support checks" $VIV_IMG check -f raw base

# Cut off, marked corrupt, unknown features, self as backing file.
head -c 100000 base.qcow2 >cut.qcow2
expect 1 "truncated" $VIV_IMG info cut.qcow2
printf '\0\0\0\0\0\0\2\0' | dd of=base.qcow2 bs=1 seek=72 conv=notrunc status=none
expect 1 "'bit 9'" $VIV_IMG info base.qcow2
printf '\0\0\0\0\0\0\0\2' | dd of=base.qcow2 bs=1 seek=72 conv=notrunc status=none
expect 1 "marked corrupt" $VIV_IMG resize base.qcow2 2M
expect 0 "corrupt: true" $VIV_IMG info base.qcow2
expect 0 "No errors" $VIV_IMG check -r all base.qcow2
expect 0 "resized" $VIV_IMG resize base.qcow2 2M
$VIV_IMG create -q -f qcow2 loop.qcow2 1M
$VIV_IMG rebase -u -b loop.qcow2 -F qcow2 loop.qcow2
expect 1 "a loop?" $VIV_IMG convert -O raw loop.qcow2 o
[ ! -e o ] || fail "left o"

# Repair: a leak, a missing count.
$VIV_IMG create -q -f qcow2 r.qcow2 1M
printf '\0\1' | dd of=r.qcow2 bs=1 seek=$((0x20000 + 2 * 9)) conv=notrunc status=none
expect 3 "1 leaked clusters were found" $VIV_IMG check r.qcow2
expect 0 "1 leaked clusters" $VIV_IMG check -r leaks r.qcow2
printf '\0\0' | dd of=r.qcow2 bs=1 seek=$((0x20000)) conv=notrunc status=none
expect 2 "1 errors were found" $VIV_IMG check r.qcow2
expect 2 "ERROR cluster 0 refcount=0 reference=1" $VIV_IMG check -r leaks r.qcow2
expect 0 "1 corruptions" $VIV_IMG check -r all r.qcow2
expect 0 "No errors" $VIV_IMG check r.qcow2

# A conversion that is killed leaves nothing under the target's name (nor beside it, with O_TMPFILE).
truncate -s 8G sparse.raw
dd if=/dev/urandom of=sparse.raw bs=1M count=200 conv=notrunc status=none
$VIV_IMG convert -S 0 -f raw -O qcow2 sparse.raw killed.qcow2 &
pid=$!
sleep 0.3
kill -9 $pid 2>/dev/null || fail "the conversion was too fast for this test"
wait $pid 2>/dev/null || true
[ ! -e killed.qcow2 ] || fail "a killed conversion left its target"

# Interrupted in the middle: nothing is left, a hidden part neither, the signal is what it died of; base and overlay of a commit are sound.
truncate -s 100M slow.raw
yes | head -c 20M | dd of=slow.raw conv=notrunc status=none
$VIV_IMG convert -r 1M -f raw -O qcow2 slow.raw slow.qcow2 2>said &
pid=$!
sleep 0.5
kill -TERM $pid
code=0
wait $pid || code=$?
[ $code = 143 ] || fail "an interrupted conversion ends with $code"
grep -q Interrupted said || fail "says $(cat said)"
[ -z "$(ls -A | grep slow.qcow2 || true)" ] || fail "an interrupted conversion left $(ls -A)"
$VIV_IMG create -q -f qcow2 cbase.qcow2 100M
$VIV_IMG create -q -f qcow2 -b cbase.qcow2 -F qcow2 cover.qcow2
$VIV_IMG convert -n -f raw -O qcow2 slow.raw cover.qcow2
$VIV_IMG commit -q -r 1M cover.qcow2 2>/dev/null &
pid=$!
sleep 0.5
kill -TERM $pid
wait $pid 2>/dev/null && fail "an interrupted commit says that all is well"
for i in cbase cover; do
    $VIV_IMG check -q $i.qcow2 || fail "an interrupted commit left $i.qcow2 unsound"
done
$VIV_IMG compare -q -f raw -F qcow2 slow.raw cover.qcow2 || fail "an interrupted commit changed the disk"
expect 0 "Image committed." $VIV_IMG commit cover.qcow2
$VIV_IMG compare -q -f raw -F qcow2 slow.raw cbase.qcow2 || fail "commit"
echo ok
