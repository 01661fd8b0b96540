#!/bin/sh
# Programs that make a file or another server of our NBD server: libnbd's nbdfuse (unix socket, TCP, and TLS with keys by nbdkit in between) and
# nbdkit's nbd plugin as a proxy. What they write is compared byte by byte with a copy that had the same done to it. VIV_NBD is the path of
# viv-nbd.
. "$(dirname "$0")/nbd_functions.sh"
VIV_NBD=${VIV_NBD:?path of viv-nbd}
requires qemu-img nbdinfo nbdcopy nbdkit nbdfuse fusermount3 psktool python3 fallocate
url="nbd+unix:///exp?socket=$here/s"
seed=${SEED:-1}
echo "seed $seed"

# work.py FILE SEED: the same writes to any file, synced now and then, each read back.
cat >work.py <<'END'
import os, random, sys
path, r = sys.argv[1], random.Random(int(sys.argv[2]))
fd = os.open(path, os.O_RDWR)
size = os.lseek(fd, 0, os.SEEK_END)
for i in range(300):
    length = r.choice([1, 511, 512, 4096, 4097, 65536, 300000, 1 << 20])
    at = r.randrange(size - length)
    data = r.randbytes(length) if i % 5 else bytes(length)
    if i % 3 == 0:
        at &= ~4095
    assert os.pwrite(fd, data, at) == length, (at, length)
    assert os.pread(fd, length, at) == data, f"bytes {at}..{at + length} read back differently"
    if i % 40 == 0:
        os.fsync(fd)
os.fsync(fd)
END

mounted=
unmount()
{
    [ -z "$mounted" ] || fusermount3 -u "$mounted" 2>/dev/null || true
}
trap 'unmount; cleanup' EXIT

# mount_nbd ARGUMENT...: as the file m/disk; $fuse is nbdfuse's pid.
mount_nbd()
{
    mkdir -p m
    rm -f fuse.pid
    nbdfuse -P "$here/fuse.pid" "$@" >fuse.log 2>&1 &
    fuse=$!
    cleanup_pids="$cleanup_pids $fuse"
    mounted=$here/m
    for _ in $(seq 100); do
        [ -s fuse.pid ] && [ -e m/disk ] && return 0
        kill -0 "$fuse" 2>/dev/null || fail "nbdfuse $* ended: $(cat fuse.log)"
        sleep 0.05
    done
    fail "nbdfuse $* does not mount: $(cat fuse.log)"
}

umount_nbd()
{
    fusermount3 -u m || fail "nbdfuse: unmount"
    mounted=
    wait "$fuse" || fail "nbdfuse ended with $?: $(cat fuse.log)"
}

# fuse_work SERVER-OPTION...: the disk read, written, a hole punched, and compared, over the words in $how.
fuse_work()
{
    cp start.qcow2 e.qcow2
    cp r.raw want.raw
    "$VIV_NBD" --fork --pid-file="$here/pid" -t -e 8 -x exp -f qcow2 --discard=unmap "$@" e.qcow2 || fail "viv-nbd $*"
    behind=$(cat pid)
    cleanup_pids="$cleanup_pids $behind"
    # shellcheck disable=SC2086
    mount_nbd m/disk $how
    [ "$(stat -c %s m/disk)" = $size ] || fail "$how: nbdfuse's file has another size"
    cmp m/disk r.raw || fail "$how: read through nbdfuse"
    python3 work.py m/disk "$seed" || fail "$how: written through nbdfuse"
    python3 work.py want.raw "$seed"
    fallocate -p -o 5M -l 3M m/disk || fail "$how: a hole punched through nbdfuse"
    fallocate -p -o 5M -l 3M want.raw
    sync m/disk
    cmp m/disk want.raw || fail "$how: through nbdfuse it is not what was written"
    umount_nbd
    # shellcheck disable=SC2086
    mount_nbd -r m/disk $how
    cmp m/disk want.raw || fail "$how: after another mount it is not what was written"
    dd if=r.raw of=m/disk bs=4k count=1 conv=notrunc status=none 2>/dev/null && fail "$how: nbdfuse -r was written"
    umount_nbd
    kill "$behind"
    for _ in $(seq 100); do [ -e pid ] || break; sleep 0.05; done
    [ ! -e pid ] || fail "viv-nbd does not end"
    check_disk want.raw "$how"
    $VIV_IMG map -f qcow2 --output=json e.qcow2 >map.json
    python3 -c '
import json, sys
sys.exit(any(e["data"] and e["start"] < 8 << 20 and e["start"] + e["length"] > 5 << 20 for e in json.load(open("map.json"))))' ||
        fail "$how: the punched hole holds data"
}

# check_disk RAW WHAT: by our tools and theirs.
check_disk()
{
    $VIV_IMG compare -q -f raw -F qcow2 "$1" e.qcow2 || fail "$2: the image is not what was written"
    qemu-img compare -q -f raw -F qcow2 "$1" e.qcow2 || fail "$2: the image is not what was written, says qemu-img"
    $VIV_IMG check -q -f qcow2 e.qcow2 || fail "$2: check of the image"
}

size=$((40 << 20))
truncate -s $size r.raw
dd if=/dev/urandom of=r.raw bs=64k count=90 seek=7 conv=notrunc status=none
qemu-img convert -f raw -O qcow2 r.raw start.qcow2
mkdir psk
psktool -u viv -p psk/keys.psk >/dev/null 2>&1
psks="--object tls-creds-psk,id=t,endpoint=server,dir=$here/psk --tls-creds t"
keyed="tls=require tls-psk=$here/psk/keys.psk tls-username=viv"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

if (exec 3<>/dev/fuse) 2>/dev/null; then
    echo "# nbdfuse, unix socket"
    how=$url
    fuse_work -k "$here/s"
    echo "# nbdfuse, TCP"
    how="nbd://127.0.0.1:$port/exp"
    fuse_work -b 127.0.0.1 -p "$port"
    echo "# nbdfuse, TLS with keys" # it takes no tls-psk-file in its URI
    how="[ nbdkit nbd socket=$here/s export=exp $keyed ]"
    # shellcheck disable=SC2086
    fuse_work -k "$here/s" $psks
else
    echo "skip: nbdfuse: /dev/fuse cannot be opened"
fi

echo "# nbdkit's nbd plugin as a proxy"
through="nbd+unix:///?socket=$here/k"
python3 -c 'import random, sys; sys.stdout.buffer.write(random.Random(int(sys.argv[1]) + 9).randbytes(13 << 20))' "$seed" >full.raw
truncate -s $size full.raw
for tls in '' "$psks"; do
    cp start.qcow2 e.qcow2
    # shellcheck disable=SC2086
    serve s "$VIV_NBD" -t -e 8 -k "$here/s" -x exp -D 'a disk' --discard=unmap -f qcow2 $tls e.qcow2
    behind=$server
    if [ "$tls" ]; then
        # shellcheck disable=SC2086
        serve k nbdkit -f -U "$here/k" nbd socket="$here/s" export=exp $keyed
    else
        nbd_map "$url" >direct.map
        serve k nbdkit -f -U "$here/k" nbd "$url" shared=true
        nbdinfo --json "$through" | python3 -c '
import json, sys
e = json.load(sys.stdin)["exports"][0]
for k in ("can_multi_conn", "can_fua", "can_flush", "can_trim", "can_zero"):
    assert e[k], (k, e)
assert e["export-size"] == 40 << 20 and not e["is_read_only"] and "base:allocation" in e["contexts"], e' || fail "nbdinfo through nbdkit"
        nbd_map "$through" >proxy.map
        [ -s direct.map ] || fail "no base:allocation"
        diff direct.map proxy.map || fail "base:allocation through nbdkit is something else"
    fi
    rm -f o.raw
    nbdcopy "$through" o.raw || fail "nbdcopy through nbdkit $tls"
    cmp o.raw r.raw || fail "read through nbdkit $tls"
    nbdcopy --connections=4 --requests=64 full.raw "$through" || fail "nbdcopy to us through nbdkit $tls"
    unserve
    server=$behind
    unserve
    check_disk full.raw "nbdkit $tls"
done
# Without the key nobody comes in.
# shellcheck disable=SC2086
serve s "$VIV_NBD" -t -e 8 -k "$here/s" -x exp -f qcow2 $psks e.qcow2
# shellcheck disable=SC2016
expect 1 "server requires TLS" nbdkit -U "$here/k2" nbd socket="$here/s" export=exp tls=off --run 'nbdinfo "$uri"'
unserve
