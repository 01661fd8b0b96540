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
echo ok
