#!/bin/sh
# NBD against the peers: Debian's qemu-nbd and nbdkit serve our client; qemu-img, qemu-io and libnbd's tools use our server; TLS
# both ways; connections that break, servers that come back; peers that lie. VIV_NBD is the path of viv-nbd.
. "$(dirname "$0")/nbd_functions.sh"
VIV_NBD=${VIV_NBD:?path of viv-nbd}
requires qemu-nbd qemu-img qemu-io nbdinfo nbdcopy nbdkit certtool psktool python3

truncate -s 40M r.raw
dd if=/dev/urandom of=r.raw bs=64k count=90 seek=7 conv=notrunc status=none
dd if=/dev/urandom of=r.raw bs=1k count=9 seek=23456 conv=notrunc status=none
qemu-img convert -f raw -O qcow2 r.raw r.qcow2
url="nbd+unix:///exp?socket=$here/s"

echo "# our client, qemu-nbd serves"
serve s qemu-nbd -t -e 8 -k "$here/s" -x exp -f qcow2 r.qcow2
[ "$($VIV_IMG info --output=json "$url" | python3 -c 'import json,sys; print(json.load(sys.stdin)["virtual-size"])')" = 41943040 ] ||
    fail "info of an export"
qemu-img info "$url" | grep -v '^Child\|^ ' >theirs
$VIV_IMG info "$url" >ours
diff theirs ours || fail "info prints something else"
qemu-img map --output=json "$url" >theirs
$VIV_IMG map --output=json "$url" >ours
diff theirs ours || fail "map prints something else"
$VIV_IMG convert -O raw "$url" o.raw
cmp r.raw o.raw || fail "convert from qemu-nbd"
$VIV_IMG compare "$url" r.raw >/dev/null || fail "compare with an export"
$VIV_IMG compare --image-opts "driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=$here/s,file.export=exp" \
    driver=raw,file.filename=r.raw >/dev/null || fail "an export by --image-opts"
$VIV_IMG compare "json:{\"driver\":\"nbd\",\"path\":\"$here/s\",\"export\":\"exp\"}" r.raw >/dev/null || fail "an export as json:"
$VIV_IMG compare "nbd:unix:$here/s:exportname=exp" r.raw >/dev/null || fail "nbd:unix:"
expect 1 "Requested export not available: 'other'" $VIV_IMG info "nbd+unix:///other?socket=$here/s"
expect 1 "Failed to connect" $VIV_IMG info "nbd+unix:///exp?socket=$here/none"
expect 1 "where is the server" $VIV_IMG info --image-opts driver=nbd,export=x
expect 1 "exclude each other" $VIV_IMG info --image-opts "driver=nbd,path=s,host=x"
$VIV_NBD -L -k "$here/s" >ours
qemu-nbd -L -k "$here/s" >theirs
diff theirs ours || fail "-L prints something else"
unserve

echo "# our client writes; theirs keeps it"
qemu-img create -q -f qcow2 w.qcow2 40M
serve s qemu-nbd -t -e 8 -k "$here/s" -x exp -f qcow2 --discard=unmap w.qcow2
$VIV_IMG convert -n -f raw -O raw r.raw "$url"
unserve
qemu-img compare -q -f raw -F qcow2 r.raw w.qcow2 || fail "convert to qemu-nbd"
serve s qemu-nbd -r -t -k "$here/s" -x exp -f qcow2 w.qcow2
expect 1 "read-only" $VIV_IMG convert -n -f raw -O raw r.raw "$url"
unserve

echo "# formats on an export, over what was there"
head -c 41943040 /dev/urandom >g.raw
serve s qemu-nbd -t -e 8 -k "$here/s" -x exp -f raw --discard=unmap g.raw
$VIV_IMG convert -f raw -O raw r.raw "$url" || fail "convert to an export without -n"
qemu-img compare -q -f raw -F raw r.raw "$url" || fail "what convert left in an export"
$VIV_IMG create -q -f qcow2 -o cluster_size=4k "$url" 40M || fail "create on an export"
qemu-img check -q "$url" || fail "the qcow2 image on an export"
$VIV_IMG convert -n -f raw -O qcow2 r.raw "$url" || fail "convert to qcow2 on an export"
qemu-img check -q "$url" || fail "the qcow2 image on an export"
qemu-img compare -q -f raw -F qcow2 r.raw "$url" || fail "data in qcow2 on an export"
expect 1 "cannot grow" $VIV_IMG convert -O raw --image-opts driver=null-co,size=50M "$url"
unserve

echo "# an overlay on an export"
serve s qemu-nbd -r -t -e 8 -k "$here/s" -x exp -f qcow2 r.qcow2
$VIV_IMG create -q -f qcow2 -b "$url" -F raw top.qcow2
$VIV_IMG compare -q -f raw -F qcow2 r.raw top.qcow2 || fail "a backing file over NBD"
qemu-img compare -q -f raw -F qcow2 r.raw top.qcow2 || fail "our backing name to them"
unserve

echo "# nbdkit: old and odd servers"
for o in '' '--oldstyle' '--no-sr' '-o'; do
    # shellcheck disable=SC2086
    serve s nbdkit -f $o -U "$here/s" file r.raw
    $VIV_IMG convert -f raw -O raw "nbd+unix://?socket=$here/s" o.raw
    cmp r.raw o.raw || fail "convert from nbdkit $o"
    unserve
done
for block in 512 4096 65536; do
    cp r.raw k.raw
    serve s nbdkit -f -U "$here/s" --filter=blocksize-policy file k.raw blocksize-minimum=$block blocksize-preferred=65536 \
        blocksize-maximum=256k blocksize-error-policy=error
    qemu-img create -q -f qcow2 -b "nbd+unix://?socket=$here/s" -F raw odd.qcow2
    $VIV_IMG compare -f raw -F raw r.raw "nbd+unix://?socket=$here/s" >/dev/null || fail "reads of blocks of $block"
    $VIV_IMG dd -f raw -O raw if=r.raw of=cut.raw bs=1000 count=777 skip=3 >/dev/null
    $VIV_IMG convert -n -f raw -O raw cut.raw "nbd+unix://?socket=$here/s" 2>err || grep -q 'larger\|smaller\|size' err || fail "writes of blocks of $block: $(cat err)"
    unserve
done
serve s nbdkit -f -U "$here/s" --filter=error file r.raw error-pread-rate=100% error=EIO
expect 2 "Input/output error" $VIV_IMG compare "nbd+unix://?socket=$here/s" r.raw
unserve

echo "# our server, their clients"
cp --sparse=always r.raw e.raw
serve s "$VIV_NBD" -t -e 0 -k "$here/s" -x exp -D 'a disk' --discard=unmap -f raw e.raw
nbdinfo --json "$url" | python3 -c '
import json, sys
e = json.load(sys.stdin)["exports"][0]
assert e["export-size"] == 41943040 and e["description"] == "a disk" and e["can_multi_conn"] and e["can_fua"] and e["can_zero"], e
assert e["contexts"] == ["base:allocation"], e'
nbd_map "$url" >ours
nbdcopy "$url" o.raw
cmp r.raw o.raw || fail "nbdcopy from us"
qemu-img compare -q "$url" r.raw || fail "qemu-img compare with us"
qemu-io -f raw -c 'write -P 5 1M 3M' -c 'write -z -u 2M 64k' -c 'discard 3M 1M' -c flush -c 'write -f -P 9 20M 5k' \
    -c 'read -P 5 1M 1M' -c 'read -P 0 2M 64k' -c 'read -P 9 20M 5k' "$url" >io.out || fail "qemu-io: $(cat io.out)"
grep -q 'failed' io.out && fail "qemu-io: $(cat io.out)"
nbdcopy r.raw "$url"
nbdcopy --connections=4 --requests=64 "$url" o.raw
unserve
cmp r.raw e.raw || fail "nbdcopy to us"
cmp r.raw o.raw || fail "nbdcopy to us and back"
cp --sparse=always r.raw e.raw
serve s qemu-nbd -t -e 8 -k "$here/s" -x exp -f raw e.raw
nbd_map "$url" >theirs
unserve
diff theirs ours || fail "base:allocation is something else"

echo "# contexts"
qemu-img create -q -f qcow2 -b r.qcow2 -F qcow2 top.qcow2
qemu-io -c 'write -P 1 1M 1M' -c 'write -P 2 20M 64k' top.qcow2 >/dev/null
for p in qemu-nbd "$VIV_NBD"; do
    serve s "$p" -r -t -e 0 -A -k "$here/s" -f qcow2 top.qcow2
    nbd_map "nbd+unix://?socket=$here/s" qemu:allocation-depth >"depth.$(basename "$p")"
    unserve
done
diff depth.qemu-nbd "depth.$(basename "$VIV_NBD")" || fail "qemu:allocation-depth is something else"
qemu-img bitmap --add -g 64k top.qcow2 b0
qemu-io -c 'write 3M 100k' -c 'write 39M 1M' top.qcow2 >/dev/null
for p in qemu-nbd "$VIV_NBD"; do
    serve s "$p" -r -t -e 0 -B b0 -k "$here/s" -f qcow2 top.qcow2
    nbd_map "nbd+unix://?socket=$here/s" qemu:dirty-bitmap:b0 >"dirty.$(basename "$p")"
    if [ "$p" = "$VIV_NBD" ]; then
        for i in qemu-img "$VIV_IMG"; do
            $i map --output=json --image-opts "driver=nbd,path=$here/s,x-dirty-bitmap=qemu:dirty-bitmap:b0" |
                python3 -c 'import json,sys; print([(e["start"], e["length"], e["data"]) for e in json.load(sys.stdin)])' >"x.$(basename "$i")"
        done
    fi
    unserve
done
diff dirty.qemu-nbd "dirty.$(basename "$VIV_NBD")" || fail "qemu:dirty-bitmap is something else"
diff x.qemu-img "x.$(basename "$VIV_IMG")" || fail "x-dirty-bitmap is something else"
for p in qemu-nbd "$VIV_NBD"; do # one that goes on recording: answers are those of the moment
    cp top.qcow2 live.qcow2
    serve s "$p" -t -e 0 -B b0 -k "$here/s" -f qcow2 live.qcow2
    qemu-io -f raw -c 'write 11M 70000' -c 'write 38M 3k' -c 'write 39M 5k' "nbd+unix://?socket=$here/s" >/dev/null
    nbd_map "nbd+unix://?socket=$here/s" qemu:dirty-bitmap:b0 >"live.$(basename "$p")"
    unserve
done
diff live.qemu-nbd "live.$(basename "$VIV_NBD")" || fail "qemu:dirty-bitmap of a bitmap that records is something else"
[ "$(wc -l <live.qemu-nbd)" -gt "$(wc -l <dirty.qemu-nbd)" ] || fail "the bitmap did not record"
expect 1 "Bitmap 'nix' is not found" "$VIV_NBD" -r -B nix -k "$here/s" -f qcow2 top.qcow2

echo "# the command line"
expect 1 "mutually exclusive" "$VIV_NBD" --image-opts -f raw -k "$here/s" driver=raw,file.filename=r.raw
expect 1 "no such option any more" "$VIV_NBD" -P 1 r.raw
expect 1 "must name a tls-creds-x509 with verify-peer=on" "$VIV_NBD" --tls-authz=x r.raw
expect 1 "Could not open 'none.raw'" "$VIV_NBD" -k "$here/s" none.raw
expect 1 "offset" "$VIV_NBD" -k "$here/s" -f raw -o 100M r.raw
expect 1 "Failed to bind" "$VIV_NBD" -k "$here/no/s" -f raw r.raw
expect 1 "there is no '/dev/nbd99'" "$VIV_NBD" -d /dev/nbd99
expect 1 "unrecognized option" "$VIV_NBD" --what r.raw
serve s "$VIV_NBD" -k "$here/s" -o 1M -f raw r.raw # once, from 1 MiB on
[ "$(nbdinfo --size "nbd+unix://?socket=$here/s")" = $((39 << 20)) ] || fail "-o"
for _ in $(seq 100); do kill -0 "$server" 2>/dev/null || break; sleep 0.05; done
kill -0 "$server" 2>/dev/null && fail "it stays after its one client"
[ -e s ] && fail "the socket stays"
"$VIV_NBD" --fork --pid-file="$here/pid" -t -e 3 -k s -s -f raw r.raw || fail "--fork"
server=$(cat pid)
cleanup_pids="$cleanup_pids $server"
before=$(cksum <r.raw)
qemu-io -f raw -c 'write -P 77 0 1M' -c 'read -P 77 0 1M' "nbd+unix://?socket=$here/s" >/dev/null || fail "-s"
[ "$before" = "$(cksum <r.raw)" ] || fail "-s wrote the image"
kill "$server"
for _ in $(seq 100); do [ -e pid ] || break; sleep 0.05; done
[ -e pid ] && fail "the pid file stays"
[ -e s ] && fail "the socket of -k s stays after --fork: another file of that name was removed"
qemu-img snapshot -c one r.qcow2
qemu-io -c 'write -P 3 0 1M' r.qcow2 >/dev/null
serve s "$VIV_NBD" -t -k "$here/s" -l one -f qcow2 r.qcow2
qemu-img compare -q -f raw -F raw r.raw "nbd+unix://?socket=$here/s" || fail "-l"
unserve
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$VIV_NBD" --fork --pid-file="$here/pid" -t -r -e 0 -b 127.0.0.1 -p "$port" -f raw r.raw || fail "TCP"
cleanup_pids="$cleanup_pids $(cat pid)"
$VIV_IMG compare -q "nbd://127.0.0.1:$port" r.raw || fail "our client over TCP"
qemu-img compare -q "nbd://127.0.0.1:$port" r.raw || fail "their client over TCP"
$VIV_NBD -L -b 127.0.0.1 -p "$port" | grep -q 'exports available: 1' || fail "-L over TCP"
kill "$(cat pid)"

rm -f s
cat >activate.py <<'P'
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind("s")
s.listen(1)
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execvp(sys.argv[1], sys.argv[1:])
P
serve s python3 activate.py "$VIV_NBD" -r -t -f raw r.raw
$VIV_IMG compare -q "nbd+unix://?socket=$here/s" r.raw || fail "a socket that was handed over"
unserve
rm -f s
expect 1 "do not go with that" python3 activate.py "$VIV_NBD" -k "$here/t" -f raw r.raw

echo "# TLS"
mkdir pki psk
(
    cd pki
    certtool --generate-privkey --key-type ecdsa --outfile ca-key.pem
    printf 'cn = test CA\nca\ncert_signing_key\n' >ca.info
    certtool --generate-self-signed --load-privkey ca-key.pem --template ca.info --outfile ca-cert.pem
    for who in server client; do
        certtool --generate-privkey --key-type ecdsa --outfile $who-key.pem
        printf 'cn = %s\ndns_name = localhost\ntls_www_%s\nsigning_key\n' $who $who >$who.info
        certtool --generate-certificate --load-ca-certificate ca-cert.pem --load-ca-privkey ca-key.pem --load-privkey $who-key.pem \
            --template $who.info --outfile $who-cert.pem
    done
) 2>pki.log || fail "certtool: $(cat pki.log)"
psktool -u viv -p psk/keys.psk >/dev/null 2>&1
x509s="tls-creds-x509,id=t,endpoint=server,dir=$here/pki"
x509c="tls-creds-x509,id=t,endpoint=client,dir=$here/pki"
psks="tls-creds-psk,id=t,endpoint=server,dir=$here/psk"
pskc="tls-creds-psk,id=t,endpoint=client,dir=$here/psk,username=viv"
opts="driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=$here/s,file.export=exp,file.tls-creds=t"
for p in qemu-nbd "$VIV_NBD"; do
    serve s "$p" -t -e 8 -r --object "$x509s" --tls-creds t -k "$here/s" -x exp -f raw r.raw
    for i in "$VIV_IMG" qemu-img; do
        $i compare -q --object "$x509c" --image-opts "$opts,file.tls-hostname=localhost" driver=raw,file.filename=r.raw ||
            fail "$i of $p with certificates"
    done
    expect 1 "" $VIV_IMG info --object "$x509c" --image-opts "$opts,file.tls-hostname=elsewhere"
    case $out in *"not match"* | *"owner"* | *"hostname"*) ;; *) fail "a wrong host name: $out" ;; esac
    expect 1 "requires TLS" $VIV_IMG info "$url"
    expect 1 "" qemu-img info "$url"
    $VIV_NBD -L -k "$here/s" --object "$x509c" --tls-creds t --tls-hostname localhost | grep -q "export: 'exp'" || fail "-L with TLS of $p"
    unserve
    serve s "$p" -t -e 8 -r --object "$psks" --tls-creds t -k "$here/s" -x exp -f raw r.raw
    rm -f o.raw
    nbdcopy "nbds+unix://viv@/exp?socket=$here/s&tls-psk-file=$here/psk/keys.psk" o.raw || fail "nbdcopy of $p with keys"
    cmp r.raw o.raw
    for i in "$VIV_IMG" qemu-img; do
        $i compare -q --object "$pskc" --image-opts "$opts" driver=raw,file.filename=r.raw || fail "$i of $p with keys"
    done
    expect 1 "" $VIV_IMG info --object "${x509c},verify-peer=off" --image-opts "$opts"
    unserve
done
echo "# TLS, and who may"
may() { # server, status, what --tls-authz looks at
    serve s "$1" -t -e 8 -r --object "$x509s" --object "$3,id=z" --tls-creds t --tls-authz z -k "$here/s" -x exp -f raw r.raw
    rc=0
    "$VIV_IMG" info --object "$x509c" --image-opts "$opts,file.tls-hostname=localhost" >out 2>&1 </dev/null || rc=$?
    [ $rc = "$2" ] || fail "$1 with $3: $(cat out)"
    unserve
}
rules() {
    printf '{"policy": "%s", "rules": [%s]}' "$1" "$2" >rules.new
    mv rules.new rules.json
}
one='{"match": "CN=client", "policy": "deny"}' glob='{"match": "CN=cli*", "policy": "allow", "format": "glob"}'
for p in qemu-nbd "$VIV_NBD"; do
    may "$p" 0 authz-simple,identity=CN=client
    may "$p" 1 authz-simple,identity=CN=clien
    [ "$p" = "$VIV_NBD" ] || continue # qemu-nbd knows no lists in files
    rules deny "$glob"
    may "$p" 0 "authz-list-file,refresh=off,filename=$here/rules.json"
    rules allow "$one, $glob"
    may "$p" 1 "authz-list-file,refresh=off,filename=$here/rules.json"
    rules allow ''
    may "$p" 0 "authz-list-file,refresh=off,filename=$here/rules.json"
    rules deny '{"match": "CN=cli*", "policy": "allow"}'
    may "$p" 1 "authz-list-file,refresh=off,filename=$here/rules.json"
done
serve s "$VIV_NBD" -t -e 8 -r --object "$x509s" --object "authz-list-file,filename=$here/rules.json,id=z" --tls-creds t --tls-authz z -k "$here/s" -x exp \
    -f raw r.raw
expect 1 "" "$VIV_IMG" info --object "$x509c" --image-opts "$opts,file.tls-hostname=localhost"
rules deny "$glob"
expect 0 "" "$VIV_IMG" info --object "$x509c" --image-opts "$opts,file.tls-hostname=localhost"
echo '{"policy": "none"}' >rules.json # what cannot be read changes nothing
expect 0 "" "$VIV_IMG" info --object "$x509c" --image-opts "$opts,file.tls-hostname=localhost"
rules allow "$one"
expect 1 "" "$VIV_IMG" info --object "$x509c" --image-opts "$opts,file.tls-hostname=localhost"
unserve
bad() { # why, the file
    printf '%s' "$2" >rules.json
    expect 1 "$1" "$VIV_NBD" --object "authz-list-file,id=z,filename=$here/rules.json" -k "$here/s" -f raw r.raw
}
bad "'policy' is \"allow\" or \"deny\"" '{"policy": 1}'
bad "'rules' is an array" '{"rules": {}}'
bad "rule 1: a rule is" '{"rules": [{"match": "x"}]}'
bad "rule 1: 'format' is" '{"rules": [{"match": "x", "policy": "deny", "format": "re"}]}'
bad "there is no 'polcy'" '{"polcy": 1}'
bad "no JSON object" '[]'
bad "line 1:" '{'
expect 1 "no authz object 'u'" "$VIV_NBD" --object "$x509s" --tls-creds t --tls-authz u -k "$here/s" -f raw r.raw
expect 1 "must name a tls-creds-x509 with verify-peer=on" "$VIV_NBD" --object "$psks" --tls-creds t --object authz-simple,id=z,identity=x --tls-authz z -k "$here/s" -f raw r.raw
serve s "$VIV_NBD" -t -e 8 -k "$here/s" -x exp -r -f raw r.raw
expect 1 "does not offer TLS" $VIV_IMG info --object "$pskc" --image-opts "$opts"
unserve
serve s nbdkit -f --tls=require --tls-psk="$here/psk/keys.psk" -U "$here/s" -e exp file r.raw
$VIV_IMG compare -q --object "$pskc" --image-opts "$opts" driver=raw,file.filename=r.raw || fail "nbdkit with keys"
unserve
expect 1 "/nowhere/ca-cert.pem' to check" $VIV_IMG info --object tls-creds-x509,id=t,dir=nowhere r.raw
expect 1 "is a client's" "$VIV_NBD" --object "$pskc" --tls-creds t -k "$here/s" -f raw r.raw
expect 1 "no tls-creds object 'u'" "$VIV_NBD" --tls-creds u -k "$here/s" -f raw r.raw

echo "# connections that break"
cat >proxy.py <<'P'
"""Between client and server: cuts each connection after some bytes, CUTS times; listens on `cut`, goes on to `s`."""
import os, random, socket, sys, threading
cuts = int(sys.argv[1])
random.seed(int(sys.argv[2]))
l = socket.socket(socket.AF_UNIX)
l.bind("cut")
l.listen(16)

def pump(a, b, limit):
    try:
        while limit[0] > 0:
            d = a.recv(65536)
            if not d:
                break
            room = limit[0]
            limit[0] -= len(d)
            b.sendall(d[: max(room, 0)])
    except OSError:
        pass
    for s in (a, b):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

while True:
    c, _ = l.accept()
    s = socket.socket(socket.AF_UNIX)
    s.connect("s")
    limit = [random.randrange(1000, 3 << 20)] if cuts else [1 << 60]
    cuts -= cuts > 0
    for a, b in ((c, s), (s, c)):
        threading.Thread(target=pump, args=(a, b, limit), daemon=True).start()
P
seed=${SEED:-1}
echo "seed $seed"
truncate -s 40M e.raw
serve s "$VIV_NBD" -t -e 0 -k "$here/s" -x exp --discard=unmap -f raw e.raw
keep=$server
serve cut python3 proxy.py 12 "$seed"
cut="driver=nbd,path=$here/cut,export=exp"
timeout 60 $VIV_IMG convert -n --target-image-opts -f raw r.raw "$cut,reconnect-delay=20" 2>cut.err || fail "writing through cuts: $(cat cut.err)"
grep -q 'connected to .* again' cut.err || fail "no connection was cut"
unserve
serve cut python3 proxy.py 8 "$seed"
timeout 60 $VIV_IMG compare -q --image-opts "driver=raw,file.driver=nbd,file.path=$here/cut,file.export=exp,file.reconnect-delay=20" \
    driver=raw,file.filename=r.raw 2>cut.err || fail "reading through cuts: $(cat cut.err)"
grep -q 'connected to .* again' cut.err || fail "no connection was cut"
unserve
rm -f cut
serve cut python3 proxy.py 1000 "$seed"
code=0
timeout 60 $VIV_IMG compare -q --image-opts "driver=raw,file.driver=nbd,file.path=$here/cut,file.export=exp" driver=raw,file.filename=r.raw \
    2>cut.err || code=$?
[ $code != 0 ] && [ $code != 124 ] || fail "without reconnect-delay a cut gave $code"
unserve
kill "$keep"
wait "$keep" 2>/dev/null || true
cmp r.raw e.raw || fail "the image after cuts"
# A daemon has left the folder that its server's socket was named in.
serve up "$VIV_NBD" -r -t -e 0 -k "$here/up" -x exp -f raw r.raw
"$VIV_NBD" --fork --pid-file="$here/pid" -t -r -k front --image-opts driver=raw,file.driver=nbd,file.path=up,file.export=exp,file.reconnect-delay=20 ||
    fail "--fork with a relative server"
cleanup_pids="$cleanup_pids $(cat pid)"
$VIV_IMG compare -q -f raw "nbd+unix:///?socket=front" r.raw || fail "through two servers"
unserve
serve up "$VIV_NBD" -r -t -e 0 -k "$here/up" -x exp -f raw r.raw
timeout 40 $VIV_IMG compare -q -f raw "nbd+unix:///?socket=front" r.raw || fail "a daemon does not find its server again"
kill "$(cat pid)"
unserve
# Nobody there yet.
(sleep 1; exec "$VIV_NBD" -r -t -k "$here/late" -f raw r.raw) &
cleanup_pids="$cleanup_pids $!"
late=$!
timeout 30 $VIV_IMG compare -q --image-opts "driver=raw,file.driver=nbd,file.path=$here/late,file.open-timeout=10" driver=raw,file.filename=r.raw ||
    fail "open-timeout"
kill "$late"

echo "# peers that lie"
serve s "$VIV_NBD" -r -t -e 0 -k "$here/s" -x exp -f raw e.raw
python3 - <<'P'
import os, random, socket
random.seed(os.getpid())
for i in range(60):
    s = socket.socket(socket.AF_UNIX)
    s.connect("s")
    s.settimeout(5)
    s.recv(18)
    b = bytes(4) if i % 2 else b"\0\0\0\3"
    if i % 3:
        b += b"IHAVEOPT" + b"\0\0\0" + bytes([random.randrange(12)]) + bytes([0, 0, 0, random.randrange(40)])
    b += bytes(random.randrange(256) for _ in range(random.randrange(300)))
    try:
        s.sendall(b)
        if i % 4 == 0:
            s.shutdown(socket.SHUT_WR)
            while s.recv(4096):
                pass
    except OSError:
        pass
    s.close()
P
$VIV_IMG compare -q "$url" e.raw || fail "the server is not well after nonsense"
unserve
cat >liar.py <<'P'
"""A server that greets well and then sends nonsense."""
import random, socket, struct, sys
random.seed(int(sys.argv[1]))
l = socket.socket(socket.AF_UNIX)
l.bind("liar")
l.listen(16)
REP = 0x3E889045565A9
def reply(o, t, d=b""):
    return struct.pack(">QIII", REP, o, t, len(d)) + d
while True:
    c, _ = l.accept()
    try:
        c.settimeout(2)
        c.sendall(struct.pack(">QQH", 0x4E42444D41474943, 0x49484156454F5054, 3))
        c.recv(4)
        for _ in range(random.randrange(5)):
            h = c.recv(16)
            o, n = struct.unpack(">II", h[8:])
            if n:
                c.recv(n)
            if o == 7:
                c.sendall(reply(7, 3, struct.pack(">HQH", 0, 1 << 30, 0xED)))
            if o == 10:
                c.sendall(reply(10, 4, struct.pack(">I", 1) + b"base:allocation"))
            c.sendall(reply(o, 1))
        c.recv(28)
        magic = random.choice([b"\x67\x44\x66\x98", b"\x66\x8e\x33\xef", b"abcd"])
        c.sendall(magic + bytes(random.randrange(3) for _ in range(8)) + struct.pack(">QI", 1, random.choice([0, 12, 8 + 2048, 1 << 31])))
        c.sendall(bytes(random.randrange(256) for _ in range(random.randrange(4000))))
    except (OSError, struct.error):
        pass
    c.close()
P
serve liar python3 liar.py "$seed"
for _ in $(seq 25); do
    code=0
    timeout 20 $VIV_IMG convert -f raw -O raw "nbd+unix://?socket=$here/liar" liar.out 2>liar.err || code=$?
    [ $code = 1 ] || fail "a lying server gave $code: $(cat liar.err)"
    [ -e liar.out ] && fail "a lying server left a file"
done
unserve
echo ok
