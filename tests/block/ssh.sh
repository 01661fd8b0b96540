#!/bin/sh
# Images on an ssh server: OpenSSH's, run by whoever runs this, with keys of its own.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/functions.sh"
PATH=$PATH:/usr/sbin
requires sshd ssh-keygen ssh-agent ssh-add python3 qemu-img
VIV_IO=${VIV_IO:-$(dirname "$VIV_IMG")/viv-io}
if [ "$(id -u)" = 0 ]; then mkdir -p /run/sshd; fi # it wants that folder, which Debian makes when it starts the service
me=$(id -un)

mkdir -p home/.ssh files
chmod 700 "$work" home home/.ssh
HOME=$PWD/home
export HOME
unset SSH_AUTH_SOCK || true
for k in hostkey other userkey; do ssh-keygen -q -t ed25519 -N '' -f $k; done
cp userkey.pub authorized

# serve NAME SUBSYSTEM HOSTKEY: sets $port
serve()
{
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cat >"$1.conf" <<END
Port $port
ListenAddress 127.0.0.1
HostKey $PWD/$3
PidFile $PWD/$1.pid
AuthorizedKeysFile $PWD/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
Subsystem sftp $2
END
    "$(command -v sshd)" -D -e -f "$PWD/$1.conf" 2>"$1.log" &
    server=$!
    cleanup_pids="$cleanup_pids $server"
    for _ in $(seq 100); do [ -e "$1.pid" ] && return 0; sleep 0.1; done
    cat "$1.log"
    echo "skip: sshd does not start here"
    exit 77
}
serve plain internal-sftp hostkey
md5=$(awk '{print $2}' hostkey.pub | base64 -d | md5sum | cut -d' ' -f1)
sha1=$(awk '{print $2}' hostkey.pub | base64 -d | sha1sum | cut -d' ' -f1)
sha256=$(awk '{print $2}' hostkey.pub | base64 -d | sha256sum | cut -d' ' -f1)
wrong=$(awk '{print $2}' other.pub | base64 -d | sha256sum | cut -d' ' -f1)
url=ssh://$me@127.0.0.1:$port$PWD/files
key="?host_key_check=sha256:$sha256"

head -c 3000001 /dev/urandom >files/r.raw
truncate -s 5M files/r.raw
cp files/r.raw r.raw
$VIV_IMG convert -f raw -O qcow2 r.raw files/r.qcow2

# Who is the server? Nobody knows it yet; then somebody else; then it is right.
expect 1 "the server is unknown" $VIV_IMG info -f raw "$url/r.raw"
case $out in *"host_key_check=sha256:$sha256"*) ;; *) fail "'$out' does not show the key's hash" ;; esac
expect 1 "not the server that was meant" $VIV_IMG info -f raw "$url/r.raw?host_key_check=sha256:$wrong"
echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 other.pub)" >home/.ssh/known_hosts
expect 1 "has another key" $VIV_IMG info -f raw "$url/r.raw"
# Who are we? No keys at all, then those of an agent, then the one of the default name.
echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 hostkey.pub)" >home/.ssh/known_hosts
expect 1 "does not let '$me' in" $VIV_IMG info -f raw "$url/r.raw"
if grep "not allowed because" plain.log; then echo "skip: sshd lets nobody in as $me"; exit 77; fi
eval "$(ssh-agent -a "$PWD/agent")" >/dev/null
cleanup_pids="$cleanup_pids $SSH_AGENT_PID"
ssh-add -q userkey
expect 0 "virtual size: 5 MiB" $VIV_IMG info -f raw "$url/r.raw"
agent=$SSH_AUTH_SOCK
unset SSH_AUTH_SOCK
cp userkey home/.ssh/id_ed25519
expect 0 "virtual size: 5 MiB" $VIV_IMG info "$url/r.qcow2"

same() # FORMAT URL
{
    $VIV_IMG convert -f "$1" -O raw "$2" o.raw || fail "$2"
    cmp r.raw o.raw || fail "$2 is another disk"
    rm o.raw
}
same raw "$url/r.raw"
same qcow2 "$url/r.qcow2"
for c in no yes "md5:$md5" "sha1:$sha1" "sha256:$(echo "$sha256" | sed 's/../&:/g; s/:$//')"; do same raw "$url/r.raw?host_key_check=$c"; done
server="\"driver\":\"ssh\",\"user\":\"$me\",\"server\":{\"host\":\"127.0.0.1\",\"port\":\"$port\"}"
same raw "json:{\"driver\":\"raw\",\"file\":{$server,\"path\":\"$PWD/files/r.raw\"}}"
same raw "json:{\"driver\":\"raw\",\"file\":{$server,\"path\":\"$PWD/files/r.raw\",\"host-key-check\":{\"mode\":\"none\"}}}"
by_hash="\"host-key-check\":{\"mode\":\"hash\",\"type\":\"sha256\",\"hash\":\"$sha256\"}"
same qcow2 "json:{\"driver\":\"qcow2\",\"file\":{$server,\"path\":\"$PWD/files/r.qcow2\",$by_hash}}"
$VIV_IMG compare -f raw -F qcow2 "$url/r.raw" "$url/r.qcow2" >/dev/null || fail "compare"
$VIV_IMG create -q -f qcow2 -b "$url/r.qcow2" -F qcow2 over.qcow2
same qcow2 over.qcow2

# Writing, past the end too; the same to a file here.
writes="write -P 1 5 100000
write -P 2 1000000 2097153
write -z 4000000 70000
flush
read -P 2 1000000 4096"
echo "$writes" | $VIV_IO -f raw r.raw >here.out 2>&1
echo "$writes" | $VIV_IO -f raw "$url/r.raw" >there.out 2>&1
grep -q "failed\|error" there.out && fail "viv-io: $(cat there.out)"
cmp r.raw files/r.raw || fail "what viv-io wrote"
same raw "$url/r.raw"
for i in 0 1 2 3 4 5 6 7; do echo "aio_write -P 2$i ${i}00k 90k"; done >many
echo aio_flush >>many
$VIV_IO -f raw r.raw <many >here.out 2>&1
$VIV_IO -f raw "$url/r.raw" <many >there.out 2>&1
cmp r.raw files/r.raw || fail "eight writes at once"
$VIV_IMG resize -q -f raw "$url/r.raw" 7M
$VIV_IMG resize -q -f raw r.raw 7M
cmp r.raw files/r.raw || fail "resize"
expect 1 "can grow, not shrink" $VIV_IMG resize --shrink -f raw "$url/r.raw" 1M

# New images, over longer ones as well.
for f in raw qcow2 vdi vpc vhdx qed parallels vmdk; do
    head -c 9000000 /dev/zero | tr '\0' x >files/new
    $VIV_IMG convert -f raw -O $f r.raw "$url/new" || fail "convert to $f"
    $VIV_IMG compare -q -f raw -F $f r.raw files/new || fail "$f is another disk"
    [ $f = raw ] || [ $f = vpc ] || [ $f = vmdk ] || $VIV_IMG check -q -f $f "$url/new" || fail "check of $f"
    rm files/new
done
$VIV_IMG create -q -f qcow2 "$url/empty" 1G
qemu-img check -q files/empty || fail "create"
expect 1 "o such file" $VIV_IMG create -f qcow2 "$url/no/folder" 1G

# The peer, if it has the driver: what we read and wrote it reads, and it refuses what we refuse.
SSH_AUTH_SOCK=$agent
export SSH_AUTH_SOCK
if qemu-img convert -f raw -O raw "$url/r.raw$key" p.raw 2>peer.log; then
    cmp r.raw p.raw || fail "qemu-img reads another disk"
    qemu-img info -f raw "$url/r.raw?host_key_check=sha256:$wrong" >peer.log 2>&1 && fail "qemu-img takes a wrong key"
    qemu-img convert -f raw -O qcow2 p.raw "$url/theirs$key"
    same qcow2 "$url/theirs"
    qemu-img resize -f raw --shrink "$url/r.raw$key" 1M >peer.log 2>&1 && fail "qemu-img shrinks now"
else
    echo "qemu-img has no ssh: $(cat peer.log)"
fi

# What is refused, and how.
bad() # TEXT URL
{
    expect 1 "$1" $VIV_IMG info -f raw "$2"
}
bad "o such file" "$url/nothere"
bad "not a regular file" "$url?host_key_check=no"
bad "path of a file" "ssh://127.0.0.1:$port"
bad "path of a file" "ssh://127.0.0.1:$port/"
bad "hexadecimal digits" "$url/r.raw?host_key_check=sha256:abc"
bad "md5, sha1, sha256" "$url/r.raw?host_key_check=crc:abc"
bad "yes, no" "$url/r.raw?host_key_check=maybe"
bad "unknown 'hostkey='" "$url/r.raw?hostkey=no"
bad "passwords are not taken" "ssh://me:hidden@127.0.0.1:$port/x"
bad "not a name of the form" "ssh://127.0.0.1:99999/x"
bad "cannot connect" "ssh://127.0.0.1:1/x"
bad "which server" "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"ssh\",\"path\":\"/x\"}}"
bad "needs host-key-check.type" "json:{\"driver\":\"raw\",\"file\":{$server,\"path\":\"/x\",\"host-key-check\":{\"mode\":\"hash\"}}}"
bad "need host-key-check.mode=hash" "json:{\"driver\":\"raw\",\"file\":{$server,\"path\":\"/x\",\"host-key-check\":{\"type\":\"md5\"}}}"
bad "exclude each other" "json:{\"driver\":\"raw\",\"file\":{$server,\"host\":\"a\",\"path\":\"/x\"}}"
bad "unknown option 'password'" "json:{\"driver\":\"raw\",\"file\":{$server,\"password\":\"a\",\"path\":\"/x\"}}"
chmod 400 files/r.qcow2
if [ "$(id -u)" != 0 ]; then expect 1 "ermission denied" $VIV_IMG resize "$url/r.qcow2" 6M; fi

# A server that writes nothing through; one that goes away in the middle.
unset SSH_AUTH_SOCK
serve nosync "internal-sftp -P fsync" hostkey
url2=ssh://$me@127.0.0.1:$port$PWD/files
expect 0 "has no fsync" $VIV_IMG resize -q -f raw "$url2/r.raw?host_key_check=sha256:$sha256" 8M
echo "read 0 4096" >quiet
$VIV_IO -r -f raw "$url2/r.raw?host_key_check=no" <quiet 2>&1 | grep -q "no fsync" && fail "a warning for who only reads"
mkfifo commands
$VIV_IO -f raw "$url2/r.raw?host_key_check=no" <commands >lost.out 2>&1 &
io=$!
exec 3>commands
echo "write -P 7 0 4096" >&3
for _ in $(seq 100); do grep -q "wrote 4096" lost.out && break; sleep 0.1; done
grep -q "wrote 4096" lost.out || fail "no write: $(cat lost.out)"
for s in $(ps -o pid= --ppid "$server"); do
    for c in $(ps -o pid= --ppid "$s"); do kill -9 "$c" 2>/dev/null || true; done
    kill -9 "$s" 2>/dev/null || true
done
echo "write -P 8 0 4096" >&3
echo "flush" >&3
echo "read 0 4096" >&3
exec 3>&-
wait $io || true
[ "$(grep -c "nput/output error" lost.out)" -ge 2 ] || fail "a lost connection: $(cat lost.out)"
[ "$(grep -c "connection is lost" lost.out)" = 1 ] || fail "told how often? $(cat lost.out)"
echo ok
