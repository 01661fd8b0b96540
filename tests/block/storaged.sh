#!/bin/sh
# viv-storaged: its QMP beside that of Debian's qemu-storage-daemon, NBD exports under nbdcopy and qemu-img, exports that come and go,
# dirty bitmaps, what is refused, and images after kill -9. VIV_STORAGED is the path of viv-storaged.
. "$(dirname "$0")/functions.sh"
VIV_STORAGED=${VIV_STORAGED:?path of viv-storaged}
requires qemu-img qemu-io qemu-storage-daemon nbdinfo nbdcopy python3
here=$PWD
qmp="python3 $(dirname "$0")/qmp.py"
case $0 in /*) ;; *) fail "start it by its whole path" ;; esac

# daemon PROGRAM OPTION...: with a monitor at `q`; $daemon is its pid.
daemon()
{
    prog=$1
    shift
    rm -f q
    "$prog" --chardev socket,id=mon,path=q,server=on,wait=off --monitor mon "$@" >daemon.log 2>&1 &
    daemon=$!
    cleanup_pids="$cleanup_pids $daemon"
    $qmp "$here/q" >handshake || fail "'$prog $*' does not answer: $(cat daemon.log)"
}

end()
{
    kill "$daemon"
    code=0
    wait "$daemon" || code=$?
    [ "$code" = 0 ] || fail "the daemon ended with $code: $(cat daemon.log)"
    ! grep -q Sanitizer daemon.log || fail "$(cat daemon.log)"
}

truncate -s 24M r.raw
dd if=/dev/urandom of=r.raw bs=64k count=90 seek=7 conv=notrunc status=none
qemu-img convert -f raw -O qcow2 r.raw d.qcow2
qemu-img create -q -f qcow2 -b d.qcow2 -F qcow2 top.qcow2
url="nbd+unix:///%s?socket=$here/n"

echo "# QMP beside the peer's"
for p in "$VIV_STORAGED" qemu-storage-daemon; do
    name=$(basename "$p")
    cp top.qcow2 x.qcow2
    daemon "$p" --blockdev driver=file,filename=x.qcow2,node-name=f --blockdev driver=qcow2,file=f,node-name=d >"qmp.$name"
    nbd='{"type": "unix", "data": {"path": "n"}}'
    $qmp "$here/q" query-version query-block-exports query-named-block-nodes '{"flat": true}' query-named-block-nodes \
        block-export-add '{"type": "nbd", "id": "e", "node-name": "d"}' nbd-server-stop \
        nbd-server-start "{\"addr\": $nbd}" nbd-server-start "{\"addr\": $nbd}" \
        block-export-add '{"type": "nbd", "id": "e", "node-name": "d", "writable": true}' \
        block-export-add '{"type": "nbd", "id": "e", "node-name": "d", "name": "x"}' \
        block-export-add '{"type": "nbd", "id": "e1", "node-name": "d"}' \
        block-export-add '{"type": "nbd", "id": "e1", "node-name": "d", "name": "y", "writable": true}' \
        block-export-add '{"type": "nbd", "id": "1e", "node-name": "d", "name": "z"}' \
        block-export-add '{"type": "nbd", "id": "e2", "node-name": "none", "name": "z"}' \
        query-block-exports block-export-del '{"id": "e1"}' block-export-del '{"id": "e1"}' query-block-exports \
        nbd-server-add '{"device": "d", "name": "q"}' nbd-server-remove '{"name": "q"}' nbd-server-remove '{"name": "q"}' \
        blockdev-del '{"node-name": "none"}' \
        block-dirty-bitmap-add '{"node": "d", "name": "b"}' block-dirty-bitmap-add '{"node": "d", "name": "b"}' \
        block-dirty-bitmap-add '{"node": "d", "name": "p", "persistent": true, "granularity": 4096}' \
        block-dirty-bitmap-add '{"node": "d", "name": "c", "granularity": 1000}' \
        block-dirty-bitmap-clear '{"node": "d", "name": "none"}' block-dirty-bitmap-disable '{"node": "none", "name": "b"}' \
        block-dirty-bitmap-disable '{"node": "d", "name": "b"}' \
        block-export-add '{"type": "nbd", "id": "ro", "node-name": "d", "name": "ro", "bitmaps": ["p"]}' \
        block-export-add '{"type": "nbd", "id": "w", "node-name": "d", "name": "w", "writable": true, "bitmaps": ["p", "b"]}' \
        block-dirty-bitmap-remove '{"node": "d", "name": "p"}' >>"qmp.$name"
    qemu-io -f raw -c 'write -P 5 3M 70000' "$(printf "$url" w)" >/dev/null
    nbdinfo --map=qemu:dirty-bitmap:p "$(printf "$url" w)" | awk '{ print $1, $2, $3 }' >>"qmp.$name"
    nbdinfo --map=qemu:dirty-bitmap:b "$(printf "$url" w)" | awk '{ print $1, $2, $3 }' >>"qmp.$name"
    $qmp "$here/q" query-named-block-nodes block-export-del '{"id": "w"}' \
        block-dirty-bitmap-merge '{"node": "d", "target": "b", "bitmaps": ["p"]}' \
        block-dirty-bitmap-disable '{"node": "d", "name": "p"}' block-dirty-bitmap-clear '{"node": "d", "name": "p"}' \
        query-named-block-nodes block-dirty-bitmap-remove '{"node": "d", "name": "p"}' \
        object-add '{"qom-type": "secret", "id": "s", "data": "x"}' object-del '{"id": "s"}' object-del '{"id": "s"}' \
        nosuch nbd-server-stop query-block-exports blockdev-del '{"node-name": "d"}' blockdev-del '{"node-name": "f"}' \
        query-named-block-nodes blockdev-add '{"driver": "qcow2", "node-name": "again", "file": {"driver": "file", "filename": "x.qcow2"}}' \
        >>"qmp.$name"
    end
    qemu-img check -q x.qcow2 || fail "$name: qemu-img check"
done
python3 - qmp.viv-storaged qmp.qemu-storage-daemon <<'END' || fail "QMP answers something else"
import json, sys

def rows(path):
    for line in open(path):
        m = json.loads(line) if line.startswith("{") else line
        r = m.get("return") if isinstance(m, dict) else None
        if isinstance(r, list) and r and "node-name" in r[0] and "drv" in r[0]:
            for n in r: # one order, and bitmaps too; names that the peer gives to nodes without one are its own
                n.get("dirty-bitmaps", []).sort(key=lambda b: b["name"])
                # we write a new bitmap into the image at once, the peer when it closes it
                n["image"].get("format-specific", {"data": {}})["data"].pop("bitmaps", None)
                if n["drv"] == "file": # which clusters the two have taken
                    del n["image"]["virtual-size"]
            m["return"] = sorted((n for n in r if n["node-name"][0] != "#"), key=lambda n: n["node-name"])
        yield m

ours, theirs = list(rows(sys.argv[1])), list(rows(sys.argv[2]))
bad = len(ours) != len(theirs)
for a, b in zip(ours, theirs):
    if a != b:
        print(f"ours   {json.dumps(a)}\ntheirs {json.dumps(b)}")
        bad = True
sys.exit(bad)
END

echo "# jobs and throttle groups beside the peer's"
W=wait:JOB_STATUS_CHANGE
q2='"driver": "qcow2", "file": "f"'
for p in "$VIV_STORAGED" qemu-storage-daemon; do
    name=$(basename "$p")
    rm -f g.img
    : >f.img
    daemon "$p" --blockdev driver=file,filename=f.img,node-name=f
    $qmp "$here/q" query-jobs blockdev-create '{"job-id": "j", "options": {'"$q2"', "size": 1048576, "cluster-size": 4096, "version": "v3",
            "backing-file": "x", "backing-fmt": "raw", "lazy-refcounts": true}}' $W $W $W query-jobs \
        blockdev-create '{"job-id": "j", "options": {'"$q2"', "size": 512}}' job-dismiss '{"id": "j"}' query-jobs job-dismiss '{"id": "j"}' \
        blockdev-create '{"job-id": "k", "options": {'"$q2"', "size": 1048577}}' query-jobs job-dismiss '{"id": "k"}' \
        blockdev-create '{"job-id": "l", "options": {"driver": "qcow2", "file": "none", "size": 1048576}}' query-jobs job-dismiss '{"id": "l"}' \
        blockdev-create '{"job-id": "1", "options": {'"$q2"', "size": 1048576}}' \
        blockdev-create '{"job-id": "m", "options": {"driver": "file", "filename": "g.img", "size": 1048576}}' $W $W $W query-jobs \
        job-dismiss '{"id": "m"}' blockdev-create '{"job-id": "m", "options": {"driver": "null-co"}}' \
        blockdev-create '{"job-id": "n", "options": {'"$q2"', "size": 1048576, "cluster-siz": 1000}}' \
        blockdev-create '{"job-id": "n", "options": {'"$q2"', "size": 1048576, "cluster_size": 65536}}' \
        blockdev-create '{"job-id": "n", "options": {'"$q2"'}}' blockdev-create '{"options": {'"$q2"'}}' blockdev-create '{"job-id": "n"}' \
        blockdev-create '{"job-id": "n", "options": {"driver": "vdi", "file": {"driver": "file", "filename": "g.img"}, "size": 65536}}' \
        $W $W $W query-jobs job-dismiss '{"id": "n"}' \
        object-add '{"qom-type": "throttle-group", "id": "t", "limits": {"bps-total": 1000000, "iops-total": 400, "iops-size": 4096}}' \
        blockdev-add '{"driver": "throttle", "node-name": "tn", "throttle-group": "none", "file": "f"}' \
        blockdev-add '{"driver": "throttle", "node-name": "tn", "throttle-group": "t", "file": "f"}' object-del '{"id": "t"}' \
        blockdev-del '{"node-name": "tn"}' object-del '{"id": "t"}' object-del '{"id": "t"}' |
        sed "s/Throttle group 'none' does not exist.*/Throttle group 'none' does not exist\"}}/" >"jobs.$name"
    end
    qemu-img check -q f.img 2>/dev/null || qemu-img info f.img >/dev/null || fail "$name: no image"
    (qemu-img info f.img; qemu-img info g.img) | grep -v '^disk size' >"images.$name"
done
diff jobs.qemu-storage-daemon jobs.viv-storaged || fail "jobs: something else is said"
diff images.qemu-storage-daemon images.viv-storaged || fail "jobs: other images"
daemon "$VIV_STORAGED" --blockdev driver=file,filename=f.img,node-name=f
out=$($qmp "$here/q" blockdev-create '{"job-id": "n", "options": {'"$q2"', "size": 1048576, "cluster-size": 1000}}' $W $W query-jobs)
case $out in *'"status": "aborting"'*'"error": "Cluster size must be a power of two'*) ;; *) fail "a job that fails: $out" ;; esac
# The daemon ends when its jobs have; nobody else gets the file meanwhile.
out=$($qmp "$here/q" blockdev-create '{"job-id": "o", "options": {"driver": "file", "filename": "h.img", "size": 67108864, "preallocation": "full"}}' \
    blockdev-create '{"job-id": "p", "options": {'"$q2"', "size": 1048576}}' \
    blockdev-create '{"job-id": "q", "options": {'"$q2"', "size": 1048576}}')
end
[ "$(stat -c %s h.img)" = 67108864 ] || fail "a job was left when the daemon ended"
qemu-img check -q f.img || fail "the image of a job that the daemon waited for"

echo "# NBD exports"
daemon "$VIV_STORAGED" --blockdev '{"driver": "qcow2", "node-name": "d", "file": {"driver": "file", "filename": "d.qcow2"}}' \
    --nbd-server addr.type=unix,addr.path=n,max-connections=4 --export nbd,id=e,node-name=d,name=disk,writable=on \
    --blockdev driver=file,node-name=bare,filename=r.raw,read-only=on --export type=nbd,id=r,node-name=bare
nbdcopy "$(printf "$url" disk)" out.raw
cmp r.raw out.raw || fail "nbdcopy of an export"
nbdcopy "$(printf "$url" bare)" out.raw
cmp r.raw out.raw || fail "nbdcopy of a bare file's export"
nbdinfo --list --json "$(printf "$url" '')" | python3 -c 'import json,sys; e = json.load(sys.stdin)["exports"]
assert sorted((x["export-name"], x["is_read_only"], x["export-size"]) for x in e) == [("bare", True, 24 << 20), ("disk", False, 24 << 20)], e' ||
    fail "the list of exports"
dd if=/dev/urandom of=w.raw bs=1M count=24 status=none
nbdcopy w.raw "$(printf "$url" disk)"
qemu-img compare -q -f raw -F raw w.raw "$(printf "$url" disk)" || fail "what nbdcopy wrote"

echo "# an export in use"
python3 - "$here/n" "$here/q" <<'END' &
import socket, struct, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.settimeout(20)
s.recv(18)
s.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 7, 10) + struct.pack(">I", 4) + b"disk" + struct.pack(">H", 0))
s.recv(1000)
open("held", "w").close()
while s.recv(1000):
    pass
END
holder=$!
for _ in $(seq 200); do [ -e held ] && break; sleep 0.05; done
out=$($qmp "$here/q" block-export-del '{"id": "e"}' query-block-exports)
case $out in *"export 'e' still in use"*'"id": "e"'*) ;; *) fail "safe: $out" ;; esac
out=$($qmp "$here/q" blockdev-del '{"node-name": "d"}')
case $out in *"in use"*) ;; *) fail "blockdev-del of a node in use: $out" ;; esac
out=$($qmp "$here/q" block-export-del '{"id": "e", "mode": "hard"}' query-block-exports)
case $out in *BLOCK_EXPORT_DELETED*'"return": {}'*) ;; *) fail "hard: $out" ;; esac
wait "$holder" || fail "the client was not cut off"
nbdinfo "$(printf "$url" disk)" >/dev/null 2>&1 && fail "the export is still there"
out=$($qmp "$here/q" blockdev-del '{"node-name": "d"}')
case $out in *error*) fail "blockdev-del: $out" ;; esac
qemu-img compare -q -f raw -F qcow2 w.raw d.qcow2 || fail "the image after its node was closed"
end

echo "# quit ends it"
daemon "$VIV_STORAGED" --pidfile pid --blockdev driver=qcow2,node-name=d,file.driver=file,file.filename=d.qcow2 \
    --nbd-server addr.type=unix,addr.path=n --export nbd,id=e,node-name=d
[ "$(cat pid)" = "$daemon" ] || fail "the pid file"
out=$($qmp "$here/q" quit)
case $out in *'"return": {}'*) ;; *) fail "quit: $out" ;; esac
wait "$daemon" || fail "it ends with an error after quit"
[ ! -e pid ] && [ ! -e n ] || fail "the pid file or the socket stays"

echo "# in the background"
"$VIV_STORAGED" --daemonize --pidfile pid --blockdev driver=qcow2,node-name=d,file.driver=file,file.filename=d.qcow2,read-only=on \
    --nbd-server addr.type=unix,addr.path=n --export nbd,id=e,node-name=d || fail "--daemonize"
cleanup_pids="$cleanup_pids $(cat pid)"
[ "$(nbdinfo --size "$(printf "$url" d)")" = $((24 << 20)) ] || fail "nothing is served in the background"
kill "$(cat pid)"
for _ in $(seq 100); do [ -e pid ] || break; sleep 0.05; done
[ ! -e pid ] && [ ! -e n ] || fail "the pid file or the socket stays"

echo "# killed in the middle of writes"
for round in 1 2 3; do
    qemu-img create -q -f qcow2 k.qcow2 64M
    daemon "$VIV_STORAGED" --blockdev driver=qcow2,node-name=d,file.driver=file,file.filename=k.qcow2 \
        --nbd-server addr.type=unix,addr.path=n --export nbd,id=e,node-name=d,writable=on
    qemu-io -f raw -c 'write -P 9 1M 1M' -c flush "$(printf "$url" d)" >/dev/null
    nbdcopy w.raw "$(printf "$url" d)" >/dev/null 2>&1 &
    copy=$!
    sleep "0.0$round"
    kill -9 "$daemon"
    wait "$daemon" "$copy" 2>/dev/null || true
    code=0
    qemu-img check k.qcow2 >check.txt 2>&1 || code=$?
    [ "$code" = 0 ] || [ "$code" = 3 ] || fail "after kill -9: $(cat check.txt)" # 3: leaks alone
done

echo "# as a file"
touch m m2
fuse=y
daemon "$VIV_STORAGED" --blockdev driver=qcow2,node-name=d,file.driver=file,file.filename=d.qcow2,discard=unmap
out=$($qmp "$here/q" block-export-add "{\"type\": \"fuse\", \"id\": \"ro\", \"node-name\": \"d\", \"mountpoint\": \"$here/m\"}")
case $out in
*"cannot be mounted on"* | *"cannot be loaded"*)
    echo "skip: FUSE does not work here: $out"
    fuse=
    ;;
*error*) fail "fuse: $out" ;;
esac
if [ "$fuse" ]; then
    cmp w.raw m || fail "the file does not show the disk"
    [ "$(stat -c %F,%s,%a m)" = "regular file,$((24 << 20)),400" ] || fail "the file's attributes: $(stat m)"
    ! dd if=/dev/zero of=m bs=1k count=1 conv=notrunc 2>/dev/null || [ "$(id -u)" = 0 ] || fail "a read-only export was written"
    out=$($qmp "$here/q" \
        block-export-add "{\"type\": \"fuse\", \"id\": \"a\", \"node-name\": \"d\", \"mountpoint\": \"$here/m\"}" \
        block-export-add '{"type": "fuse", "id": "a", "node-name": "d", "mountpoint": "none"}' \
        block-export-add '{"type": "fuse", "id": "a", "node-name": "d", "mountpoint": "."}' \
        block-export-add '{"type": "fuse", "id": "a", "node-name": "d", "mountpoint": "m2", "growable": true}')
    for text in "There already is a FUSE export on" "Failed to stat" "is not a regular file" "growable=on needs writable=on"; do
        case $out in *"$text"*) ;; *) fail "fuse: '$text' is not said: $out" ;; esac
    done
    exec 5<m
    out=$($qmp "$here/q" block-export-del '{"id": "ro"}')
    case $out in *"still in use"*) ;; *) fail "fuse, safe: $out" ;; esac
    exec 5<&-
    out=$($qmp "$here/q" block-export-del '{"id": "ro"}' \
        block-export-add '{"type": "fuse", "id": "rw", "node-name": "d", "mountpoint": "m2", "writable": true, "growable": true}')
    case $out in *error*) fail "fuse, writable: $out" ;; esac
    [ -s m ] && fail "the file still shows the disk"
    cp r.raw m2 # opened with O_TRUNC, and the holes of r.raw are left out
    cmp r.raw m2 || fail "what cp wrote"
    fallocate -p -o 1M -l 1M m2 && dd if=/dev/zero of=r2.raw bs=1M count=1 status=none && cp r.raw want.raw
    dd if=r2.raw of=want.raw bs=1M seek=1 conv=notrunc status=none
    cmp want.raw m2 || fail "a hole"
    qemu-img map --output=json -f raw m2 | python3 -c 'import json,sys
assert any(e["zero"] and e["start"] <= 1 << 20 and e["start"] + e["length"] >= 2 << 20 for e in json.load(sys.stdin))' || fail "SEEK_HOLE"
    dd if=w.raw of=m2 bs=100k count=1 seek=25165824 oflag=seek_bytes conv=notrunc,fsync status=none || fail "growing"
    [ "$(stat -c %s m2)" = $((24 * 1048576 + 102400)) ] || fail "it did not grow: $(stat -c %s m2)"
    truncate -s 25165824 m2 || fail "truncate"
    kill -9 "$daemon"
    wait "$daemon" 2>/dev/null || true
    umount m2 2>/dev/null || fusermount3 -u m2
    code=0
    qemu-img check -q d.qcow2 || code=$?
    [ "$code" = 0 ] || [ "$code" = 3 ] || fail "after kill -9 of a file's export"
    qemu-img compare -q -f raw -F qcow2 want.raw d.qcow2 || fail "the image behind the file"
    daemon "$VIV_STORAGED" --blockdev driver=qcow2,node-name=d,file.driver=file,file.filename=d.qcow2 \
        --export fuse,id=f,node-name=d,mountpoint=m
    umount m
    for _ in $(seq 100); do
        out=$($qmp "$here/q" query-block-exports)
        case $out in *'"id": "f"'*) sleep 0.05 ;; *) break ;; esac
    done
    case $out in *'"return": []'*) ;; *) fail "unmounted by others: $out" ;; esac
fi
end

echo "# what is refused"
s=$VIV_STORAGED
expect 1 "unrecognized option '--nosuch'" "$s" --nosuch
expect 1 "Unexpected argument: d.qcow2" "$s" d.qcow2
expect 1 "needs an argument" "$s" --export
expect 1 "not implemented" "$s" -T enable=x
expect 1 "NBD server not running" "$s" --blockdev driver=file,node-name=f,filename=r.raw --export nbd,id=e,node-name=f
expect 1 "Cannot find device='' nor node-name='d'" "$s" --nbd-server addr.type=unix,addr.path=n --export nbd,id=e,node-name=d
expect 1 "needs addr.path" "$s" --nbd-server addr.type=unix
expect 1 "does not go with" "$s" --nbd-server addr.type=unix,addr.path=n,addr.port=5
expect 1 "is unknown here" "$s" --nbd-server addr.type=vsock
expect 1 "not a listening socket" "$s" --nbd-server addr.type=fd,addr.str=0
expect 1 "no tls-creds object" "$s" --nbd-server addr.type=unix,addr.path=n,tls-creds=t
expect 1 "invalid object type: nosuch" "$s" --object nosuch,id=o
expect 1 "there is no --chardev with id 'c'" "$s" --monitor c
expect 1 "only mode=control" "$s" --chardev null,id=c --monitor c,mode=readline
expect 1 "does not accept value 'nosuch'" "$s" --export nosuch,id=e,node-name=d
expect 1 "has threads of its own" "$s" --nbd-server addr.type=unix,addr.path=n --export nbd,id=e,node-name=d,iothread=i
expect 1 "Cannot export read-only node as writable" "$s" --blockdev driver=file,node-name=f,filename=r.raw,read-only=on \
    --nbd-server addr.type=unix,addr.path=n --export nbd,id=e,node-name=f,writable=on
v="--blockdev driver=file,node-name=f,filename=r.raw --export vhost-user-blk,id=v,node-name=f,addr.type"
expect 1 "num-queues must be greater than 0" "$s" $v=unix,addr.path=v,num-queues=0
expect 1 "logical-block-size doesn't take value 100" "$s" $v=unix,addr.path=v,logical-block-size=100
expect 1 "a socket of this host" "$s" $v=inet,addr.host=localhost,addr.port=1
expect 1 "Failed to bind socket" "$s" $v=unix,addr.path=none/v
expect 1 "in the background" "$s" --daemonize --chardev stdio,id=c --monitor c
expect 0 "--export" "$s" --help
expect 0 "viv-storaged version" "$s" --version
expect 0 "node-name" "$s" --export nbd,help
expect 0 "tls-creds-x509" "$s" --object help
python3 - "$VIV_STORAGED" <<'END' || fail "hostile QMP input"
import os, socket, subprocess, sys, time
p = subprocess.Popen([sys.argv[1], "--chardev", "socket,id=m,path=h,server=on,wait=off", "--monitor", "m"])
def connect():
    for _ in range(400):
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect("h")
            s.settimeout(20)
            return s
        except OSError:
            time.sleep(0.02)
for bad in (b'{"execute":', b"[" * 100000, b"\xff\xfe\x00" * 999, b'{"execute": "qmp_capabilities", "arguments": 5}\n',
            b'{"execute": "qmp_capabilities"}{"execute": "block-export-add", "arguments": {"type": {"a": [1]}}}\n',
            b'{"execute": "qmp_capabilities"}{"execute": "blockdev-add", "arguments": ' + b'{"a": ' * 60 + b"1" + b"}" * 61 + b"\n",
            b'{"execute": "qmp_capabilities"}{"execute": "object-add", "arguments": {"qom-type": "secret"}}\n'):
    s = connect()
    s.sendall(bad)
    s.close()
s = connect()
f = s.makefile("rw")
f.readline()
f.write('{"execute": "qmp_capabilities"}\n{"execute": "quit"}\n')
f.flush()
assert p.wait(20) == 0
END
echo ok
