#!/bin/sh
# VHDX logs against Debian's qemu-img: an entry that one program wrote is replayed by the other; logs made by a script (several entries,
# zeroes over data and data over zeroes, a torn end) come to the same disk in both, and read-only in ours.
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io python3

seed=${SEED:-1}
echo "seed $seed"

cat >vhdx.py <<'P'
import random, struct, sys

table = []
for i in range(256):
    c = i
    for _ in range(8):
        c = (c >> 1) ^ (0x82F63B78 if c & 1 else 0)
    table.append(c)

def crc32c(data):
    c = 0xFFFFFFFF
    for x in data:
        c = table[(c ^ x) & 255] ^ (c >> 8)
    return c ^ 0xFFFFFFFF

def seal(b):
    b[4:8] = bytes(4)
    b[4:8] = struct.pack("<I", crc32c(b))

def name_log(f, guid):
    for at in (0x10000, 0x20000):
        f.seek(at)
        h = bytearray(f.read(4096))
        h[48:64] = guid
        seal(h)
        f.seek(at)
        f.write(h)

LOG, LEN, BAT = 1 << 20, 1 << 20, 2 << 20

def undo(f):
    """The log's newest entry counts again, and what it changed in the table is lost."""
    f.seek(LOG)
    log = f.read(LEN)
    name_log(f, log[32:48])
    f.seek(BAT)
    old = f.read(8 * 8)
    f.seek(BAT)
    f.write(struct.pack("<Q", 2) * 8)
    assert old != struct.pack("<Q", 2) * 8

def entry(number, tail, guid, size, changes):
    desc, data = b"", b""
    for at, s in changes:
        if not any(s):
            desc += struct.pack("<4sIQQQ", b"zero", 0, len(s), at, number)
            continue
        desc += struct.pack("<4s4s8sQQ", b"desc", s[-4:], s[:8], at, number)
        data += b"data" + struct.pack("<I", number >> 32) + s[8:-4] + struct.pack("<I", number & 0xFFFFFFFF)
    head = -(-(64 + len(desc)) // 4096) * 4096
    e = bytearray(struct.pack("<4sIIIQII16sQQ", b"loge", 0, head + len(data), tail, number, len(changes), 0, guid, size, size) + desc)
    e += bytes(head - len(e)) + data
    seal(e)
    return e

def random_log(f, seed):
    r = random.Random(seed)
    f.seek(0, 2)
    size = f.tell() >> 20 << 20
    guid = r.randbytes(16)
    # qemu-img takes entries for a sequence whose tail is none of theirs: what follows a torn one, or the part of one that wrapped.
    at = r.randrange(64) * 4096
    first = number = r.choice([1, 7, (1 << 32) - 2])
    tail = at
    name_log(f, guid)
    f.seek(LOG)
    f.write(bytes(LEN))
    so_far = []
    count = r.randrange(1, 7)
    for i in range(count):
        changes = []
        for _ in range(r.choice([0, 1, 3, 9, 30])):
            where = (8 << 20) + r.randrange(60) * 4096
            changes.append((where, r.choice([r.randbytes(4096), bytes(4096 * r.randrange(1, 9))])))
        e = entry(number, tail, guid, size, changes)
        so_far += changes
        # Torn. (Not one before the last: see below.)
        if i and i == count - 1 and r.randrange(3) == 0:
            e[r.randrange(len(e))] ^= 4
        for k in range(0, len(e), 4096):
            f.seek(LOG + (at + k) % LEN)
            f.write(e[k:k + 4096])
        at = (at + len(e)) % LEN
        number += 1
        if r.randrange(4) == 0 and i < count - 2:
            # What is before the tail is in its place; whether it is written there again is up to who replays.
            tail = at
            for where, s in so_far:
                f.seek(where)
                f.write(s)

with open(sys.argv[2], "r+b") as f:
    undo(f) if sys.argv[1] == "undo" else random_log(f, int(sys.argv[3]))
P

dd if=/dev/urandom of=r.raw bs=64k count=200 status=none
truncate -s 40M r.raw

# Our entry: their replay and ours. Then theirs.
$VIV_IMG create -q -f vhdx a.vhdx 40M
$VIV_IMG convert -n -f raw -O vhdx r.raw a.vhdx
python3 vhdx.py undo a.vhdx
expect 1 "log that needs to be replayed" qemu-img info a.vhdx
$VIV_IMG compare -q -f raw -F vhdx r.raw a.vhdx || fail "our entry, read-only"
$VIV_IMG info a.vhdx >/dev/null || fail "info of an image with a log"
$VIV_IMG check -q a.vhdx || fail "check of an image with a log"
cp a.vhdx b.vhdx
qemu-img check -r all a.vhdx >theirs || fail "our entry, their replay"
$VIV_IMG check -r all b.vhdx >ours || fail "our entry, our replay"
diff theirs ours || fail "check -r all prints something else"
qemu-img compare -q -f raw -F vhdx r.raw a.vhdx || fail "our entry, their replay: another disk"
qemu-img compare -q -f raw -F vhdx r.raw b.vhdx || fail "our entry, our replay: another disk"
rm a.vhdx b.vhdx
qemu-img create -q -f vhdx a.vhdx 40M
qemu-io -f vhdx -c 'write -P 3 9M 64k' a.vhdx >/dev/null
qemu-img convert -f vhdx -O raw a.vhdx want.raw
python3 vhdx.py undo a.vhdx
$VIV_IMG compare -q -f raw -F vhdx want.raw a.vhdx || fail "their entry, read-only"
$VIV_IMG check -q -r all a.vhdx || fail "their entry, our replay"
qemu-img check -q a.vhdx || fail "their entry, our replay: not sound"
qemu-img compare -q -f raw -F vhdx want.raw a.vhdx || fail "their entry, our replay: another disk"

# Logs made here, that change blocks of the disk.
qemu-img convert -f raw -O vhdx r.raw base.vhdx
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    cp base.vhdx a.vhdx
    python3 vhdx.py random a.vhdx $((seed * 100 + i))
    cp a.vhdx b.vhdx
    $VIV_IMG convert -f vhdx -O raw a.vhdx ro.raw || fail "log $i, read-only"
    cmp a.vhdx b.vhdx || fail "log $i: reading it changed it"
    qemu-img check -q -r all a.vhdx || fail "log $i, their replay"
    $VIV_IMG check -q -r all b.vhdx || fail "log $i, our replay"
    qemu-img compare -q -f vhdx -F vhdx a.vhdx b.vhdx || fail "log $i: another disk"
    qemu-img compare -q -f raw -F vhdx ro.raw a.vhdx || fail "log $i: another disk read-only"
done
echo ok
