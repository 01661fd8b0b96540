#!/bin/sh
# viv-io beside Debian's qemu-io: the same commands, the same words, exit code and image. Times are cut out.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io
VIV_IO=${VIV_IO:-$(dirname "$VIV_IMG")/viv-io}

cut_times()
{
    sed -E 's/[0-9:.]+( sec)? \([0-9.]+ [KMGT]?i?[Bb].*\)/T/; s/,[0-9]+:[0-9:.]+,.*/,T/; s/qemu-io/viv-io/g' "$@"
}

# same OPTIONS...: on a new image, ours and theirs.
same()
{
    qemu-img create -q -f qcow2 a.img 1M
    cp a.img b.img
    theirs=0 ours=0
    qemu-io "$@" "${name:-a.img}" >o1 2>e1 || theirs=$?
    mv a.img theirs.img
    mv b.img a.img
    "$VIV_IO" "$@" "${name:-a.img}" >o2 2>e2 || ours=$?
    [ $ours = $theirs ] || fail "'$*': exit code $ours, not $theirs: $(cat e2)"
    for s in o e; do
        cut_times ${s}1 >t
        cut_times ${s}2 | diff t - || fail "'$*' prints something else"
    done
    qemu-img compare -q theirs.img a.img || fail "'$*': another disk"
}

same -c 'write -P 0x5a 0 64k' -c 'read -P 0x5a 0 64k' -c 'read -P 1 0 1k' -c 'read -C 0 4k' -c 'read -q 0 1k' -c 'read -v 0 40'
same -c 'write -P 65 65520 64' -c 'read -v 65500 100' -c 'alloc 0 1M' -c 'alloc 0' -c 'alloc 512 512' -c map -c length \
    -c 'truncate 2M' -c length -c 'alloc 0 2M' -c map -c 'alloc 2M 1' -c 'alloc 0 3M'
same -c 'read 2M 1' -c 'write 2M 1' -c 'read 1023k 2k'
same -c 'read 0'
same -c 'read x 1' -c 'write 0 1z' -c 'read 0 3G' -c 'readv 0 2G 2G' -c 'writev 0'
same -c bogus
same -c 'read -P 1 -s 0 -l 10 0 512' -c 'read -P 1 -s 10 -l 600 0 512' -c 'read -P 1 -s 1000 0 512'
same -c 'writev -P 7 0 1k 2k' -c 'readv -v -P 7 0 8 8' -c 'readv -P 7 0 1k 2k' -c 'readv -C 0 1 2 3'
same -c 'discard 0 64k' -c 'write -z 64k 64k' -c 'write -zu 64k 64k' -c 'discard -C 0 64k' -c 'discard -q 0 64k'
same -c 'reopen -r' -c 'write 0 512'
same -r -c 'write 0 512' -c 'read 0 512'
same -c 'write -P 0x100 0 512' -c 'write -P -1 0 512' -c 'write -P x 0 512'
same -c 'write 0 3' -c 'write -n 0 512' -c 'write -z -P 1 0 512' -c 'sleep 10' -c flush -c sleep -c quit -c length
same -c 'write -s /nonexistent 0 1' -c 'write -s /dev/null 0 1' -c 'write -cf 0 64k' -c 'write -u 0 512'
printf 'abc' >source
same -c 'write -s source 5 1000' -c 'read -v 0 40'
same -c truncate -c 'length foo' -c 'reopen -w -r' -c 'truncate x' -c 'sigraise 0'
same -c 'aio_write -P 3 0 4k' -c aio_flush -c 'aio_read -P 3 0 4k' -c aio_flush -c 'aio_read -P 4 0 4k' -c aio_flush \
    -c 'aio_write -z 0 64k' -c aio_flush -c 'aio_write -u 0 1'
same -c 'sigraise 15' -c length
same -c 'r 0 512' -c 'w 0 512' -c 'd 0 64k' -c l -c f -c c -c 'o a.img' -c l -c q
same -c 'read  -P   0x0    0    512   ' -c '' -c '   '
same -c 'help bogus' -c 'help length' -c length
same -c close -c 'read 0 512' -c close -c 'open -r a.img' -c 'write 0 1' -c 'open b'
same -d unmap -c 'write 0 1M' -c 'discard 64k 128k' -c 'read -P 0 64k 128k' -c 'read -P 0xcd 192k 64k'
same -n -c 'write -P 9 1 3' -c 'read -P 9 1 3'
same -m -c 'write -P 9 1 3000' -c 'read -P 9 1 3000'
same -s -c 'write -P 9 0 64k' -c 'read -P 9 0 64k'
same -f raw -c length -c 'read -v 0 16'
same -c 'write -b -P 5 0 64k' -c 'read -b -P 5 0 64k' -c 'read -b 0 128k' -c 'write -b -P 9 4M 64k' -c 'read -b -P 0 3M 64k' -c 'read -b -P 9 4M 64k'
qemu-io -c 'read -b -P 5 0 64k' -c 'read -b -P 9 4M 64k' -c 'read -P 0 0 1M' a.img | grep -q failed && fail "the peer reads another VM state"
same -c 'read -b 10 100' -c 'write -b 0 100' -c 'write -bz 0 64k' -c 'write -bc 0 64k' -c 'write -bf 0 4k'
same -f raw -c 'read -b 0 4k'
same -r -c 'write -b 0 4k'

# Faults and breakpoints of blkdebug, by name and by configuration file.
same -c info
name=blkdebug::a.img
same -c 'break write_aio A' -c 'aio_write -P 1 0 64k' -c 'wait_break A' -c 'resume A' -c aio_flush -c 'break foo B' -c 'resume X' -c 'remove_break Y' \
    -c info
same -c 'help break' -c 'help resume' -c 'help wait_break' -c 'help remove_break'
cat >conf <<EOF
[inject-error]
event = "l2_load"
errno = "28"
once = "on"

[set-state]
event = "write_aio"
new_state = "2"

# only after that
[inject-error]
event = "read_aio"
state = "2"
once = "on"
EOF
name=blkdebug:conf:a.img
same -c 'read 0 64k' -c 'read 0 64k' -c 'write -P 3 0 64k' -c 'read 0 64k' -c 'read -P 3 0 4k'
name=
# Two disks that are to be the same.
qemu-img create -q -f qcow2 v.img 1M
truncate -s 1M v.raw
"$VIV_IO" -f raw -c 'write -P 5 3k 9k' -c 'read -P 5 3k 9k' -c 'write -z 5k 1k' -c 'read 0 1M' blkverify:v.raw:v.img >/dev/null || fail "blkverify"
qemu-img compare -q -f raw -F qcow2 v.raw v.img || fail "blkverify: not both were written"
qemu-io -f raw -c 'write -P 6 4k 1k' v.raw >/dev/null
expect 1 "contents mismatch at offset 4096" "$VIV_IO" -f raw -c 'read 0 8k' blkverify:v.raw:v.img

# Standard input, and what is refused.
qemu-img create -q -f qcow2 a.img 1M
printf 'length\nwrite -P 1 0 4k\nquit\nlength\n' | "$VIV_IO" a.img >o2 || fail "commands from standard input"
[ "$(grep -c '> 1 MiB' o2)" = 1 ] && grep -q '^viv-io> 1 MiB$' o2 || fail "standard input: $(cat o2)"
"$VIV_IO" -r -c 'read -P 1 0 4k' a.img >/dev/null || fail "what standard input wrote"
expect 1 "No such file" "$VIV_IO" -c length nothing
expect 1 "one file at most" "$VIV_IO" -c length a.img b.img
expect 1 "Operation not supported" "$VIV_IO" -c 'break write_aio x' a.img
expect 1 "possible: none, l1_update" "$VIV_IO" -c length --image-opts driver=raw,file.driver=blkdebug,file.image.filename=a.img,file.inject-error.0.event=x
expect 1 "Operation not supported" "$VIV_IO" -c 'write -zn 1 3' -c 'write 0 64k' -c 'write -zn 1 3' a.img
"$VIV_IO" --image-opts -c 'read -P 0xcd 0 4k' driver=qcow2,file.filename=a.img,read-only=on >/dev/null || fail "--image-opts"
qemu-img check -q a.img || fail "the image is not clean"

# Copy on read: what was read needs the backing file no longer; what was not stays there.
qemu-img create -q -f qcow2 base.img 4M
qemu-io -c 'write -P 1 0 1M' -c 'write -P 2 2M 64k' base.img >/dev/null
qemu-img create -q -f qcow2 -b base.img -F qcow2 top.img
qemu-io -c 'write -P 9 128k 64k' top.img >/dev/null
"$VIV_IO" -C -c 'read -P 1 0 3k' -c 'read -P 1 190k 2k' top.img >/dev/null && fail "a wrong pattern was found right"
"$VIV_IO" -C -c 'read -P 1 0 3k' -c 'read -P 9 190k 2k' -c 'read -P 1 192k 200k' -c 'read -P 2 2M 64k' -c 'read -P 0 3M 1M' top.img >/dev/null ||
    fail "copy on read"
qemu-img compare -q top.img base.img && fail "the overlay lost what is its own"
qemu-img rebase -u -b '' top.img
qemu-io -r -c 'read -P 1 0 64k' -c 'read -P 0 64k 64k' -c 'read -P 9 128k 64k' -c 'read -P 1 192k 200k' -c 'read -P 0 512k 512k' \
    -c 'read -P 2 2M 64k' top.img >o1 || fail "after copy on read: $(grep -i fail o1)"
qemu-img check -q top.img || fail "copy on read left a broken image"
expect 1 "read-only" "$VIV_IO" -r -C -c length top.img
# The same as a node.
qemu-img create -q -f qcow2 -b base.img -F qcow2 top.img
"$VIV_IO" -c 'read -P 1 0 3k' -c 'read -P 2 2M 64k' --image-opts driver=copy-on-read,file.driver=qcow2,file.file.filename=top.img >/dev/null || fail copy-on-read
qemu-img rebase -u -b '' top.img
qemu-io -r -c 'read -P 1 0 64k' -c 'read -P 0 64k 64k' -c 'read -P 2 2M 64k' top.img >o1 || fail "after the copy-on-read node: $(grep -i fail o1)"
echo ok
