#!/bin/sh
# Formats that are only read (cloop, bochs, dmg): images by make_image.py, read by us and by Debian's qemu-img, are the same disk.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io python3
make=$(dirname "$0")/make_image.py
case $make in /*) ;; *) make=$OLDPWD/$make ;; esac

seed=${SEED:-1}
echo "seed $seed"
python3 - "$seed" <<'P'
import random, sys
random.seed(int(sys.argv[1]))
for name, size in ("small.raw", 1 << 16), ("r.raw", 5 << 20):
    disk = bytearray(size)
    for i in range(60):
        at, n = random.randrange(size), random.randrange(1, size // 40)
        disk[at:at + n] = (random.randbytes(n) if i % 2 else bytes([i]) * n)[:size - at]
    open(name, "wb").write(disk)
P

while read -r format args; do
    for src in small r; do
        # shellcheck disable=SC2086
        python3 "$make" $format $src.raw i.img $args
        $VIV_IMG convert -f "$format" -O raw i.img o.raw || fail "$format $args: reading"
        cmp -n "$(stat -c %s $src.raw)" $src.raw o.raw || fail "$format $args: $src is another disk"
        case $args in
        *lzma* | *bzip2*) ;; # Debian's cannot
        *)
            qemu-img convert -f "$format" -O raw i.img t.raw 2>err || { cat err; fail "$format $args: qemu-img cannot read it"; }
            cmp t.raw o.raw || fail "$format $args: $src is another disk to qemu-img"
            qemu-img info -f "$format" i.img >theirs 2>err
            $VIV_IMG info -f "$format" i.img >ours
            diff theirs ours || fail "$format $args: info prints something else"
            ;;
        esac
        expect 63 "does not support checks" $VIV_IMG check -f "$format" i.img
        expect 1 "can only be read" $VIV_IMG resize -f "$format" i.img 8M
    done
    echo "ok $format $args"
done <<'L'
cloop
cloop block=512
cloop block=1536
cloop block=1048576
bochs
bochs version=1 extent=4096
bochs extent=512
bochs extent=1048576
dmg
dmg table=rsrc seed=3
dmg types=raw parts=1
dmg types=zlib chunk=1000
dmg types=bzip2,zlib,raw chunk=200 seed=2
dmg types=lzma,zlib chunk=333 seed=4
L
for f in cloop bochs dmg; do
    expect 1 "Format driver '$f' does not support image creation" $VIV_IMG create -f $f x.img 1M
    expect 1 "Format driver '$f' does not support image creation" $VIV_IMG convert -f raw -O $f r.raw x.img
done
# Found without being named: by the first bytes, dmg by its name.
for f in cloop bochs dmg; do
    python3 "$make" $f r.raw x.$f
    expect 0 "file format: $f" $VIV_IMG info x.$f
done
# What create_compressed_fs itself writes.
if command -v create_compressed_fs >/dev/null; then
    create_compressed_fs -q -B 65536 r.raw x.cloop >/dev/null 2>&1 || fail "create_compressed_fs"
    head -c 128 x.cloop | grep -q 'V2.0' && {
        $VIV_IMG convert -O raw x.cloop o.raw
        cmp r.raw o.raw || fail "what create_compressed_fs wrote"
        echo "ok create_compressed_fs"
    }
fi
# Broken in the middle: the rest can be read, the piece is an error.
python3 "$make" cloop r.raw x.img block=65536
printf 'xxxxxxxxxxxxxxxx' | dd of=x.img bs=1 seek=$(($(stat -c %s x.img) / 2)) conv=notrunc status=none
expect 1 "nput/output error" $VIV_IMG convert -f cloop -O raw x.img o.raw
truncate -s 100000 x.img
expect 1 "" $VIV_IMG convert -f cloop -O raw x.img o.raw
echo ok
