#!/bin/sh
# snapshot, dd, bench and convert's options: on both programs, side by side.
. "$(dirname "$0")/functions.sh"
pairs

# --- snapshot: text of lists, what refers to what, the disk after going back ---
pair create -q -f qcow2 s.qcow2 4M
pair_io -c 'write -P 1 0 1M' s.qcow2
pair snapshot -l s.qcow2
pair snapshot -c one s.qcow2
pair_io -c 'write -P 2 512k 1M' s.qcow2
pair snapshot -c averyveryverylongsnapshotname s.qcow2
pair snapshot -c one s.qcow2
pair snapshot -c 7 s.qcow2
pair snapshot -l s.qcow2
pair snapshot -U -l s.qcow2
pair info s.qcow2
pair info --output=json s.qcow2
pair_io -c 'write -P 3 0 2M' s.qcow2
pair snapshot -a one s.qcow2
pair_disk qcow2 s.qcow2
pair_io -c 'write -P 4 0 2M' s.qcow2
pair snapshot -a 2 s.qcow2
pair_disk qcow2 s.qcow2
for s in 1 2 one 7; do
    pair convert -l $s -O raw s.qcow2 at.raw
    cmp ours/at.raw theirs/at.raw || fail "convert -l $s"
done
pair convert -l snapshot.name=one -O raw s.qcow2 at.raw
pair convert -l snapshot.id=2 -O raw s.qcow2 at.raw
pair convert -l nope s.qcow2 at.raw
pair measure -O qcow2 -l one s.qcow2
apart 1/1 "unknown option 'snapshot.bla'" "Invalid parameter 'snapshot.bla'" convert -l snapshot.bla=1 s.qcow2 at.raw
pair snapshot -d 2 s.qcow2 # a name, not a number
pair snapshot -d one s.qcow2
pair snapshot -d one s.qcow2
pair snapshot -d one s.qcow2
pair snapshot -d 7 s.qcow2
pair snapshot -l s.qcow2
pair check -q s.qcow2
pair_disk qcow2 s.qcow2
pair snapshot s.qcow2
pair snapshot
pair snapshot -l -c x s.qcow2
pair snapshot -l a b
pair snapshot -l nothere
pair snapshot -z
pair snapshot -c
pair snapshot -a nope -f raw s.qcow2
apart 1/1 "Could not apply snapshot 'nope'" "Could not apply snapshot 'nope'" snapshot -a nope s.qcow2
pair create -q -f raw r.raw 1M
pair snapshot -l r.raw
apart 1/1 "Operation not supported" "Operation not supported" snapshot -c x r.raw

# --- dd ---
pair create -q -f qcow2 in.qcow2 4M
pair_io -c 'write -P 5 0 1M' -c 'write -P 6 3000k 300k' in.qcow2
n=0
while read -r words; do
    n=$((n + 1))
    # shellcheck disable=SC2086
    pair dd $words if=in.qcow2 of=out$n.raw
    cmp ours/out$n.raw theirs/out$n.raw || fail "dd $words"
done <<'END'
bs=64k
bs=1M count=2
bs=1M skip=3
bs=1M skip=5
count=3
bs=512 skip=1000
-f qcow2 bs=1M
-U count=1k
count=0
bs=1M count=100
END
pair dd -O qcow2 if=in.qcow2 of=out.qcow2 bs=1M count=2
pair_disk qcow2 out.qcow2
pair info out.qcow2
pair dd --image-opts if=driver=qcow2,file.filename=in.qcow2 of=o.raw
# As dd does it. With both skip and count qemu-img counts from the start of the disk, and with blocks that are no sectors it loses
# the end of the last one.
qemu-img convert -O raw ours/in.qcow2 all.raw
for o in 'bs=512 skip=1000 count=6000' 'bs=513 skip=1 count=5000' 'bs=1 skip=3000001 count=70000'; do
    # shellcheck disable=SC2086
    (cd ours && $VIV_IMG dd $o if=in.qcow2 of=odd.raw)
    # shellcheck disable=SC2086
    dd $o if=all.raw of=want.raw status=none
    truncate -s %512 want.raw
    cmp want.raw ours/odd.raw || fail "dd $o"
done
pair dd
pair dd if=x
pair dd of=x
pair dd foo
pair dd foo=3 if=x of=y
pair dd if=nothere of=y
pair dd if=in.qcow2 of=y bs=0
pair dd if=in.qcow2 of=y bs=abc
pair dd if=in.qcow2 of=y bs=2G
pair dd if=in.qcow2 of=y count=abc
pair dd if=in.qcow2 of=y skip=-1
pair dd if=in.qcow2 of=y seek=1
pair dd if=in.qcow2 of=y osize=1
pair dd -n if=in.qcow2 of=y
apart 1/1 "formats that work" "Unknown file format" dd -O bla if=in.qcow2 of=y
[ ! -e ours/y ] || fail "a refused dd left its file"

# --- bench: all but the time ---
pair bench -c 10 in.qcow2
pair bench -c 100 -d 4 -s 512 -w --pattern 3 --flush-interval 5 in.qcow2
pair_disk qcow2 in.qcow2
pair bench -c 50 -d 4 -s 3k -S 5k -o 1k -w --pattern 9 --flush-interval 5 --no-drain in.qcow2
pair_disk qcow2 in.qcow2
pair bench -c 20 -t none -s 64k -w --pattern 8 in.qcow2
pair_disk qcow2 in.qcow2
pair bench -c 20 -t writethrough -U in.qcow2
pair bench -c 10 -q in.qcow2
pair bench -c 0 in.qcow2
pair bench -c 1 -s 0 in.qcow2
pair bench -c 4 -o 3M -s 1M -S 1M in.qcow2
pair bench -c 10 -i threads in.qcow2
pair bench
pair bench nothere
for o in '-c x' '-d x' '-s x' '-o x' '-S x' '-i x' '--flush-interval x' '--pattern 300' '--flush-interval 3' \
    '-w --flush-interval 3'; do
    # shellcheck disable=SC2086
    pair bench $o in.qcow2
done
apart 1/1 "Invalid cache mode: x" "Invalid cache mode" bench -t x in.qcow2
apart 1/1 "aio=io_uring works with any cache" "requires cache.direct=on" bench -n -c 1 in.qcow2
apart 1/1 "Failed request: Input/output error" "Failed request: Input/output error" bench -c 2 -o 4M in.qcow2
apart 1/1 "images that are only read" "can only be used with read-only images" bench -w -U in.qcow2

# --- convert ---
pair create -q -f raw one.raw 1M
pair_io -f raw -c 'write -P 1 0 1M' one.raw
pair convert in.qcow2 one.raw both.raw
cmp ours/both.raw theirs/both.raw || fail "two sources"
pair convert -O qcow2 in.qcow2 one.raw both.qcow2
pair_disk qcow2 both.qcow2
pair create -q -f qcow2 -b in.qcow2 -F qcow2 over.qcow2
pair_io -c 'write -P 77 1M 64k' over.qcow2
pair convert -O qcow2 -B in.qcow2 -F qcow2 over.qcow2 thin.qcow2
pair_map thin.qcow2
pair_disk qcow2 thin.qcow2
pair convert -O qcow2 -n -B in.qcow2 -F qcow2 over.qcow2 thin.qcow2
pair convert -n --target-is-zero -O qcow2 in.qcow2 both.qcow2
for o in '-S 3k' '-S 0' '-r 100M' '-t writethrough' '-t none' '-T none' '-W -m 3 -q' '-U' '--salvage' '-m 1' '-p'; do
    rm -f ours/c.raw theirs/c.raw
    # shellcheck disable=SC2086
    pair convert $o over.qcow2 c.raw
    cmp ours/c.raw theirs/c.raw || fail "convert $o"
done
# A compressed cluster that cannot be read.
yes abcdefg | head -c 1M >text.raw
qemu-img convert -c -f raw -O qcow2 text.raw bad.qcow2
python3 - <<'END'
import struct

d = bytearray(open("bad.qcow2", "rb").read())
l1, = struct.unpack(">Q", d[40:48])
l2 = struct.unpack(">Q", d[l1:l1 + 8])[0] & 0xfffffffffffe00
at = struct.unpack(">Q", d[l2 + 24:l2 + 32])[0] & (1 << 54) - 1
for i in range(at + 10, at + 60):
    d[i] ^= 0xff
open("bad.qcow2", "wb").write(d)
END
cp bad.qcow2 ours
cp bad.qcow2 theirs
pair convert --salvage bad.qcow2 c.raw
cmp ours/c.raw theirs/c.raw || fail "convert --salvage"
qemu-img convert -f raw -O qcow2 -o cluster_size=4k text.raw map.qcow2
python3 - <<'END'
import struct

f = open("map.qcow2", "r+b")
f.seek(40)
l1, = struct.unpack(">Q", f.read(8))
f.seek(l1)
f.write(struct.pack(">Q", 0x8000000000040200))
END
cp map.qcow2 ours
cp map.qcow2 theirs
run_both convert --salvage map.qcow2 c.raw
[ "$code/$peer" = 0/0 ] || fail "convert --salvage over a broken map gives $code, qemu-img $peer"
cmp ours/c.raw theirs/c.raw || fail "convert --salvage over a broken map"
grep -q "error while reading block status at offset 0:" ours.out || fail "no word of a broken map"
for image in bad map; do
    $VIV_IMG convert -q --salvage $image.qcow2 c.raw 2>said || fail "convert -q --salvage"
    ! grep warning said || fail "-q does not silence the warnings of --salvage"
done
apart 1/1 "error while reading at byte" "error while reading at byte" convert bad.qcow2 c.raw
pair convert --image-opts driver=qcow2,file.filename=over.qcow2 c.raw
pair convert -n --target-image-opts over.qcow2 driver=raw,file.filename=c.raw
pair convert --target-image-opts over.qcow2 driver=raw,file.filename=c.raw
pair convert --target-image-opts -O raw -n over.qcow2 driver=raw,file.filename=c.raw
pair convert --image-opts -f qcow2 file.filename=over.qcow2 c.raw
pair convert
pair convert a
pair convert nothere c.raw
pair convert -s x over.qcow2 c.raw
for o in '-m 0' '-m 17' '-m x' '-S x' '-S 3' '-S 100M' '-r x' '-t x' '-T x' '--target-is-zero' '--skip-broken-bitmaps' \
    '-n -o size=3' '-C -S 4k' '-C --salvage'; do
    # shellcheck disable=SC2086
    pair convert $o over.qcow2 c.raw
done
pair convert -l one over.qcow2 one.raw c2.raw
pair convert -O qcow2 -B in.qcow2 -F qcow2 over.qcow2 one.raw c2.raw
apart 1/1 "output file is smaller than input file" "output file is smaller than input file" convert -n -O raw over.qcow2 one.raw
apart 1/1 "formats that work" "Unknown file format 'bla'" convert -O bla over.qcow2 c2.raw
apart 1/1 "lock" "lock" convert over.qcow2 over.qcow2
[ ! -e ours/c2.raw ] || fail "a refused convert left its file"
echo ok
