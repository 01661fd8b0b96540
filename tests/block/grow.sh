#!/bin/sh
# viv-img grow: partition tables as util-linux makes and checks them, file systems that still are where they were.
. "$(dirname "$0")/functions.sh"
PATH=$PATH:/usr/sbin:/sbin
requires sfdisk mkfs.ext4 e2fsck python3

# table IMAGE: what sfdisk reads, its complaints too.
table()
{
    sfdisk --verify "$1" >verify 2>&1 || fail "$1: $(cat verify)"
    sfdisk -J "$1" 2>complaints
    [ ! -s complaints ] || fail "$1: $(cat complaints)"
}

# last_end IMAGE: where the last partition ends, in bytes.
last_end()
{
    table "$1" | python3 -c 'import json,sys; p=json.load(sys.stdin)["partitiontable"]["partitions"]; print(max(q["start"]+q["size"] for q in p)*512)'
}

# A GPT with a file system in its second partition.
truncate -s 100M gpt.raw
printf 'label: gpt\nsize=10MiB,type=uefi\ntype=linux\n' | sfdisk -q gpt.raw
start=$(sfdisk -J gpt.raw | python3 -c 'import json,sys; print(json.load(sys.stdin)["partitiontable"]["partitions"][1]["start"])')
truncate -s 20M fs.raw
mkfs.ext4 -q fs.raw
dd if=fs.raw of=gpt.raw bs=512 seek="$start" conv=notrunc,sparse status=none
table gpt.raw >before
for f in raw qcow2; do
    rm -f g.$f
    $VIV_IMG convert -f raw -O $f gpt.raw g.$f
    $VIV_IMG grow -f $f g.$f +150M >out || fail "grow: $(cat out)"
    grep -q 'Partition 2 of the GPT: 88 MiB before, 238 MiB now\.' out || fail "says $(cat out)"
    grep -q 'resize2fs /dev/vda2' out || fail "says $(cat out)"
    rm -f after.raw
    $VIV_IMG convert -f $f -O raw g.$f after.raw
    [ "$(stat -c %s after.raw)" = $((250 * 1048576)) ] || fail "size"
    end=$(last_end after.raw)
    [ "$end" = $((249 * 1048576)) ] || fail "the last partition ends at $end"
    # All else is as it was: ids, first partition, file system.
    table after.raw >after
    python3 - <<'END'
import json

a, b = (json.load(open(p))["partitiontable"] for p in ("before", "after"))
assert a["id"] == b["id"] and len(a["partitions"]) == len(b["partitions"])
for p, q in zip(a["partitions"], b["partitions"]):
    assert (p["start"], p["type"], p["uuid"]) == (q["start"], q["type"], q["uuid"]), (p, q)
assert a["partitions"][0]["size"] == b["partitions"][0]["size"]
assert b["lastlba"] == 250 * 2048 - 34, b["lastlba"]
END
    dd if=after.raw of=fs2.raw bs=512 skip="$start" count=$((20 * 2048)) status=none
    cmp fs.raw fs2.raw || fail "the file system was touched"
    # The backup alone is enough.
    dd if=/dev/zero of=after.raw bs=512 seek=1 count=1 conv=notrunc status=none
    sfdisk -J after.raw 2>/dev/null | grep -q "\"size\": $((end / 512 - start))" || fail "the backup table is not as the first"
    # No old backup header is left.
    [ "$(dd if=after.raw bs=512 skip=$((100 * 2048 - 1)) count=1 status=none | tr -d '\0' | wc -c)" = 0 ] || fail "old backup is left"
done
expect 1 "only makes larger" $VIV_IMG grow -f raw g.raw 100M
expect 0 "Partition 2" $VIV_IMG grow -f raw g.raw 300M

# By less than a table: new and old backup overlap.
cp gpt.raw little.raw
$VIV_IMG grow -q -f raw little.raw +4k
table little.raw | grep -q "\"lastlba\": $((100 * 2048 + 8 - 34))" || fail "the table did not move by 4k"

# MBR.
truncate -s 50M mbr.raw
printf 'label: dos\nsize=10MiB,type=83\nsize=20MiB,type=83\n' | sfdisk -q mbr.raw
expect 0 "Partition 2 of the MBR: 20 MiB before, 89 MiB now." $VIV_IMG grow -f raw mbr.raw +50M
[ "$(last_end mbr.raw)" = $((100 * 1048576)) ] || fail "MBR: ends at $(last_end mbr.raw)"
truncate -s 50M ext.raw
printf 'label: dos\nsize=10MiB,type=83\ntype=5\nsize=8MiB,type=83\n' | sfdisk -q ext.raw
expect 0 "extended partition" $VIV_IMG grow -f raw ext.raw +50M
table ext.raw >/dev/null

# A file system on the bare disk, nothing at all, a damaged table.
expect 0 "resize2fs /dev/vda" $VIV_IMG grow -f raw fs.raw +10M
e2fsck -fn fs.raw >/dev/null 2>&1 || fail "the file system"
truncate -s 1M none.raw
expect 0 "no partition table" $VIV_IMG grow -f raw none.raw +1M
cp gpt.raw bad.raw
printf x | dd of=bad.raw bs=1 seek=1100 conv=notrunc status=none
expect 1 "damaged" $VIV_IMG grow -f raw bad.raw +10M
[ "$(stat -c %s bad.raw)" = $((100 * 1048576)) ] || fail "a refused grow made the disk larger"
# Windows' recovery partition stays; the table still moves.
truncate -s 50M win.raw
printf 'label: gpt\nsize=10MiB\ntype=DE94BBA4-06D1-4D40-A16A-BFD50179D6AC\n' | sfdisk -q win.raw
expect 0 "recovery" $VIV_IMG grow -f raw win.raw +50M
table win.raw | grep -q "\"lastlba\": $((100 * 2048 - 34))" || fail "the table did not move"
echo ok
