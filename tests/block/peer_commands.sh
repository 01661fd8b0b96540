#!/bin/sh
# The commands that tutorials teach, and what else people type at create, info, resize, check, rebase and commit: run on both
# programs, outputs and exit codes compared, disks too.
. "$(dirname "$0")/functions.sh"
pairs

# The list of the issue.
pair create -f qcow2 disk1.qcow2 50G
pair create -f raw -o size=20G vol.raw
pair info disk1.qcow2
pair info vol.raw
pair create -q -f qcow2 small.qcow2 8M
pair_io -c 'write -P 1 0 3M' -c 'write -P 7 5M 64k' small.qcow2
pair convert -f qcow2 -O raw small.qcow2 small.raw
cmp ours/small.raw theirs/small.raw || fail "convert"
pair resize disk1.qcow2 +10G
pair info disk1.qcow2
pair check disk1.qcow2
pair create -f qcow2 base.qcow2 4M
pair_io -c 'write -P 1 0 1M' base.qcow2
# Without -F modern qemu-img refuses; a format that cannot be mistaken is taken here, and that is said.
apart 0/1 "backing format not given; 'base.qcow2' is qcow2 (as with -F qcow2)" 'Backing file specified without backing format' \
    create -f qcow2 -b base.qcow2 overlay.qcow2
pair create -f qcow2 -b base.qcow2 -F qcow2 overlay.qcow2
pair_io -c 'write -P 2 512k 1M' -c 'write -z 3M 64k' overlay.qcow2
pair info overlay.qcow2
pair info --backing-chain overlay.qcow2
cp ours/base.qcow2 ours/other.qcow2
cp theirs/base.qcow2 theirs/other.qcow2
pair rebase -b other.qcow2 -F qcow2 overlay.qcow2
pair_disk qcow2 overlay.qcow2
pair info overlay.qcow2
pair commit overlay.qcow2
pair_disk qcow2 overlay.qcow2
pair_disk qcow2 other.qcow2
# Zeroes go into the base as nothing at all (qemu-img: as a zero cluster): the maps differ, the disks do not.
(cd ours && qemu-img map --output=json overlay.qcow2 | grep -q '"depth": 0') && fail "commit did not empty the overlay"

# create
pair create
pair create x
pair create x 1z
pair create x 1G y
pair create -f qcow2 x -- -1
pair create -u -f qcow2 x
pair create -f qcow2 -u -b no.qcow2 -F qcow2 u.qcow2
pair create -f qcow2 -u -b no.qcow2 -F qcow2 u.qcow2 1G
pair create -u -f qcow2 u2.qcow2 1G
apart 1/1 "without backing format (-F)" "without backing format" create -f qcow2 -u -b no.qcow2 u3.qcow2 1G
pair create -f raw -b base.qcow2 x 1G
pair create -f qcow2 -o backing_file=base.qcow2,backing_fmt=qcow2 o2.qcow2
apart 1/1 "formats that work" "Unknown file format 'bla'" create -f bla x 1G
apart 1/1 "unknown option 'bla'" "Invalid parameter 'bla'" create -f raw -o bla=1 x 1G
apart 1/1 "Could not open backing image" "Could not open backing image" create -f qcow2 -b no.qcow2 -F qcow2 o3.qcow2 1G
apart 1/1 "size is given twice" "must be specified only once" create -f qcow2 -o size=1G x 2G
apart 1/0 "given twice" "Formatting 'o4.qcow2'" create -f qcow2 -b base.qcow2 -F qcow2 -o backing_file=a o4.qcow2 1M
apart 1/1 "a backing format without a backing file" "without backing file" create -F qcow2 -f qcow2 x 1G
pair create -f raw file:prefixed.raw 1M
[ -e ours/prefixed.raw ] || fail "file: is not part of the name"
apart 1/1 "in local files" "Unknown protocol 'json'" create -f raw 'json:{"driver":"file","filename":"y"}' 1M
[ ! -e ours/x ] || fail "a refused create left its file"

# info and its way of being asked
pair info
pair info a b
pair info nothere
pair info -z
pair info --foo
pair info -f
pair info --output
pair info --output=x base.qcow2
pair info --out=json base.qcow2
pair info --output=json --backing-chain overlay.qcow2
pair info -U base.qcow2
pair info -f qcow2 --image-opts file.filename=base.qcow2
pair info --image-opts file.filename=base.qcow2
pair info --image-opts driver=qcow2,file.driver=file,file.filename=base.qcow2
pair info --image-opts filename=base.qcow2
pair info 'json:{"driver":"qcow2","file":{"driver":"file","filename":"base.qcow2"}}'
pair info 'json:{"driver":"qcow2","file.filename":"base.qcow2"}' --output=json
pair info 'json:{"file":{"driver":"file","filename":"base.qcow2"}}'
pair info 'json:{"filename":"base.qcow2"}'
pair info --object secret,id=s0,data=abc base.qcow2
apart 1/1 "not JSON" "JSON parse error" info 'json:{bad'
apart 1/1 "invalid object type: iothread" "invalid object type: iothread" info --object iothread,id=o base.qcow2
apart 1/1 "there is no node 'base.qcow2'" "Cannot find device" info --image-opts driver=qcow2,file=base.qcow2
# A bare protocol is shown as the raw image that a guest would see.
apart 0/0 "file format: raw" "file format: file" info --image-opts driver=file,filename=base.qcow2
pair map --image-opts driver=qcow2,file.filename=base.qcow2
pair check --image-opts driver=qcow2,file.filename=base.qcow2
pair create -f qcow2 -b 'json:{"driver":"qcow2","file":{"driver":"file","filename":"base.qcow2"}}' -F qcow2 j.qcow2
pair info --backing-chain j.qcow2
pair_disk qcow2 j.qcow2

# resize
pair resize
pair resize disk1.qcow2
pair resize nothere +1
pair resize -q disk1.qcow2 +1M
pair resize --shrink disk1.qcow2 -1G
pair resize -f raw vol.raw +511
pair resize -f raw --preallocation=off vol.raw +1M
pair resize disk1.qcow2 0
pair resize disk1.qcow2 -- -100T
pair resize --preallocation=bla disk1.qcow2 +1G
pair resize --preallocation=full --shrink disk1.qcow2 -1M
pair resize --preallocation=metadata -f raw vol.raw +1M
pair create -q -f raw p.raw 1M
pair resize -f raw --preallocation=falloc p.raw +1M
pair resize -f raw --preallocation=full p.raw +1M
[ "$(stat -c %b ours/p.raw)" -ge 4096 ] || fail "resize --preallocation=full leaves holes"
for how in metadata falloc full; do
    pair create -q -f qcow2 p.qcow2 1M
    pair resize --preallocation=$how p.qcow2 +5M
    pair info p.qcow2
    pair_disk qcow2 p.qcow2
    pair_map p.qcow2
    rm ours/p.qcow2 theirs/p.qcow2
done
apart 1/1 "Use the --shrink option to perform a shrink operation." "Use the --shrink option to perform a shrink operation." \
    resize disk1.qcow2 -- -10G
apart 1/1 "is not a size" "expects a non-negative number" resize disk1.qcow2 x

# rebase
pair rebase
pair rebase base.qcow2
pair rebase -c -b '' overlay.qcow2
pair rebase -t x -b '' overlay.qcow2
pair rebase -T x -b '' overlay.qcow2
pair rebase -b base.qcow2 overlay.qcow2
pair rebase -u -b gone.qcow2 -F bla overlay.qcow2
pair rebase -u -b gone.qcow2 overlay.qcow2
pair rebase -b gone.qcow2 -F qcow2 overlay.qcow2
pair rebase -u -b gone.qcow2 -F qcow2 overlay.qcow2
pair info overlay.qcow2
pair rebase -b base.qcow2 -F qcow2 overlay.qcow2
pair rebase -u -b other.qcow2 -F qcow2 -U overlay.qcow2
pair create -q -f qcow2 short.qcow2 1M
pair_io -c 'write -P 9 100k 800k' short.qcow2
pair rebase -p -b short.qcow2 -F qcow2 overlay.qcow2
pair_disk qcow2 overlay.qcow2
pair rebase -t unsafe -T none -b other.qcow2 -F qcow2 overlay.qcow2
pair_disk qcow2 overlay.qcow2
pair rebase -b '' overlay.qcow2
pair_disk qcow2 overlay.qcow2
pair info overlay.qcow2
pair rebase -u overlay.qcow2
# From no backing file to one that has data where the disk has zeroes.
pair rebase -b short.qcow2 -F qcow2 overlay.qcow2
pair_disk qcow2 overlay.qcow2
pair create -q -f qcow2 -o compat=0.10 -b base.qcow2 -F qcow2 v2.qcow2 5M
pair_io -c 'write -P 3 1500k 100k' v2.qcow2
pair rebase -b short.qcow2 -F qcow2 v2.qcow2
pair_disk qcow2 v2.qcow2
pair create -q -f qed -b base.qcow2 -F qcow2 r.qed 5M
pair_io -c 'write -P 3 1500k 100k' r.qed
for b in short.qcow2 other.qcow2 '' base.qcow2; do
    pair rebase -b "$b" -F qcow2 r.qed
    pair_disk qed r.qed
    pair info r.qed
done
# Down the chain, past a layer that is shorter than both.
pair create -q -f qcow2 deep.qcow2 6M
pair_io -c 'write -P 20 0 6M' deep.qcow2
pair create -q -f qcow2 -b deep.qcow2 -F qcow2 mid1.qcow2 4M
pair_io -c 'write -P 21 1M 1M' -c 'write -z 2M 64k' mid1.qcow2
pair create -q -f qcow2 -b mid1.qcow2 -F qcow2 mid2.qcow2 5M
pair_io -c 'write -P 22 1500k 1M' mid2.qcow2
pair create -q -f qcow2 -b mid2.qcow2 -F qcow2 leaf.qcow2 6M
pair_io -c 'write -P 23 100k 10k' leaf.qcow2
pair rebase -b deep.qcow2 -F qcow2 leaf.qcow2
pair_disk qcow2 leaf.qcow2
pair rebase -u -b p.raw -F raw r.qed
pair info r.qed
apart 1/1 "Operation not supported" "Operation not supported" rebase -b base.qcow2 -F qcow2 -f raw vol.raw

# commit
pair commit
pair commit base.qcow2
pair commit -f raw vol.raw
pair commit -t foo base.qcow2
pair commit -r x overlay.qcow2
pair create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 5M
pair create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 6M
pair_io -c 'write -P 3 2500k 400k' -c 'write -z 64k 128k' mid.qcow2
pair_io -c 'write -P 4 5500k 4k' -c 'write -P 5 4200k 10k' -c 'write -z 128k 128k' top.qcow2
for i in base mid top; do
    cp ours/$i.qcow2 ours/$i.save
    cp theirs/$i.qcow2 theirs/$i.save
done
pair commit -b x.qcow2 top.qcow2
pair commit -b top.qcow2 top.qcow2
for how in '-b base.qcow2' '-b ./base.qcow2' '-d' '' '-q' '-p -r 100M'; do
    for i in base mid top; do
        cp ours/$i.save ours/$i.qcow2
        cp theirs/$i.save theirs/$i.qcow2
    done
    # shellcheck disable=SC2086
    pair commit $how top.qcow2
    for i in base mid top; do
        case $how$i in -b*mid) continue ;; esac # what lies between is void
        pair_disk qcow2 $i.qcow2
    done
    pair_map top.qcow2
done
# A format that cannot give back clusters keeps what it has.
pair create -q -f qed -b base.qcow2 -F qcow2 q.qed
pair_io -c 'write -P 6 1M 64k' q.qed
pair commit q.qed
pair_disk qed q.qed
pair_disk qcow2 base.qcow2
echo ok
