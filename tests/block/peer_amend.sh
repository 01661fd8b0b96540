#!/bin/sh
# amend and bitmap: on both programs, side by side.
. "$(dirname "$0")/functions.sh"
pairs

pair create -q -f raw r.raw 1M
# --- amend ---
pair create -q -f qcow2 a.qcow2 4M
pair_io -c 'write -P 5 0 1M' a.qcow2
pair amend -o compat=0.10 a.qcow2
pair info a.qcow2
pair amend -p -o compat=1.1 a.qcow2
pair amend -o lazy_refcounts=on a.qcow2
pair amend -o refcount_bits=8 a.qcow2
pair amend -q --force -o refcount_bits=64 a.qcow2
pair info a.qcow2
pair amend -o size=8M a.qcow2
pair info --output=json a.qcow2
pair_disk qcow2 a.qcow2
pair amend a.qcow2
pair amend -o compat=1.1
pair amend -o compat=1.1 a b
pair amend -o compat=1.1 nothere
pair amend -t bla -o compat=1.1 a.qcow2
pair amend -f raw -o size=3 r.raw
pair amend -o help -f bla
pair amend -o help
pair amend -o cluster_size=4k a.qcow2
apart 1/1 "unknown option 'bla'" "Invalid parameter 'bla'" amend -o bla=1 a.qcow2
apart 1/1 "refcount_bits" "compat=0.10 requires refcount_bits=16" amend -o compat=0.10 a.qcow2
apart 1/1 "rebase" "rebase" amend -o backing_file=r.raw,backing_fmt=raw a.qcow2
apart 0/0 "Amend options for 'qcow2':" "Amend options for 'qcow2':" amend -o help -f qcow2

# --- bitmap ---
pair create -q -f qcow2 b.qcow2 4M
pair create -q -f qcow2 c.qcow2 4M
pair bitmap --add b.qcow2 b0
pair bitmap --add -g 4k --disable b.qcow2 b1
pair info b.qcow2
pair info --output=json b.qcow2
pair_io -c 'write -P 1 0 1M' -c 'write -P 2 3001k 1k' b.qcow2
# What qemu-io made dirty, seen by both: merged into another granularity and shown by an NBD server's context is peer_nbd's.
pair bitmap --merge b0 b.qcow2 b1
pair bitmap --add b.qcow2 b0
pair bitmap --enable b.qcow2 b1
pair bitmap --disable b.qcow2 b0
pair info b.qcow2
pair bitmap --clear --enable b.qcow2 b0
pair bitmap --add c.qcow2 d
pair bitmap --merge b1 -b b.qcow2 -F qcow2 c.qcow2 d
pair bitmap --add --merge b1 -b b.qcow2 c.qcow2 mm
pair bitmap --add -g 1k c.qcow2 g
pair info c.qcow2
pair check -q c.qcow2
for i in b c; do
    qemu-img bitmap --add -g 512 ours/$i.qcow2 by-peer # reads all of ours
    qemu-img check -q ours/$i.qcow2 || fail "bitmaps of $i.qcow2"
    qemu-img bitmap --remove ours/$i.qcow2 by-peer
done
pair convert -O qcow2 --bitmaps b.qcow2 copy.qcow2
pair info copy.qcow2
pair measure -O qcow2 b.qcow2
pair bitmap --remove c.qcow2 d
pair info --output=json c.qcow2
pair bitmap b.qcow2 b0
for what in remove clear enable disable; do
    pair bitmap --$what b.qcow2 nope
done
pair bitmap --merge nope b.qcow2 b1
pair bitmap --merge b0 -F qcow2 c.qcow2 mm
pair bitmap -b b.qcow2 --add c.qcow2 q
for g in 1000 256 4G x; do
    pair bitmap -g $g --add c.qcow2 g2
done
pair bitmap -g 1k --clear c.qcow2 g
pair bitmap --add b.qcow2
pair bitmap
pair bitmap --add c.qcow2 d e
pair bitmap --remove r.raw x
apart 1/1 "raw images have none" "Operation not supported" bitmap --add r.raw x
pair create -q -f qcow2 large.qcow2 8M
pair bitmap --add large.qcow2 z
pair bitmap --merge b1 -b b.qcow2 large.qcow2 z
pair convert --bitmaps b.qcow2 no.raw
pair convert --skip-broken-bitmaps b.qcow2 no.raw

# One that its writer left in use.
python3 - ours/b.qcow2 theirs/b.qcow2 <<'END'
import struct, sys

for path in sys.argv[1:]:
    d = bytearray(open(path, "rb").read())
    at = struct.unpack(">I", d[100:104])[0]
    while struct.unpack(">I", d[at:at + 4])[0] != 0x23852875: # bitmaps extension
        at += 8 + (struct.unpack(">I", d[at + 4:at + 8])[0] + 7) // 8 * 8
    directory = struct.unpack(">IIQQ", d[at + 8:at + 32])[3]
    d[directory + 15] |= 1
    open(path, "wb").write(d)
END
pair info b.qcow2
pair convert -O qcow2 --bitmaps b.qcow2 broken.qcow2
pair convert -O qcow2 --bitmaps --skip-broken-bitmaps b.qcow2 broken.qcow2
pair info broken.qcow2
for what in clear enable disable add; do
    pair bitmap --$what b.qcow2 b0
done
pair bitmap --merge b0 b.qcow2 b1
pair bitmap --remove b.qcow2 b0
pair info b.qcow2
pair check -q b.qcow2
echo ok
