#!/bin/sh
# Images on web servers: read as they are, through what may pass, and refused with the server's words where it may not.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/functions.sh"
requires python3 openssl
VIV_IO=${VIV_IO:-$(dirname "$VIV_IMG")/viv-io}

mkdir www
head -c 3000000 /dev/urandom >www/r.raw
truncate -s 5M www/r.raw
$VIV_IMG convert -f raw -O qcow2 www/r.raw www/r.qcow2
: >www/empty

serve() # portfile [cert key]; sets $port
{
    program=$1
    shift
    "$here/$program" "$PWD/www" "$@" 2>server.log &
    cleanup_pids="$cleanup_pids $!"
    for _ in $(seq 100); do [ -e "$1" ] && break; sleep 0.1; done
    port=$(cat "$1")
}
serve http_server.py port
http=http://127.0.0.1:$port
counted() { python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1] + "/count").read().decode())' "$http"; }

same() # FORMAT URL
{
    $VIV_IMG convert -f "$1" -O raw "$2" o.raw || fail "$2"
    cmp www/r.raw o.raw || fail "$2 is another disk"
    rm o.raw
}

same raw "$http/plain/r.raw"
same qcow2 "$http/plain/r.qcow2"
expect 0 "virtual size: 5 MiB" $VIV_IMG info "$http/plain/r.qcow2"
expect 0 "virtual size: 0 B" $VIV_IMG info -f raw "$http/plain/empty"
$VIV_IMG compare -f raw -F qcow2 "$http/plain/r.raw" "$http/plain/r.qcow2" || fail "compare"
same raw "$http/redirect/r.raw"
# Below other images, by name and by options.
$VIV_IMG create -q -f qcow2 -b "$http/plain/r.qcow2" -F qcow2 over.qcow2
same qcow2 over.qcow2
same raw "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"http\",\"url\":\"$http/plain/r.raw\",\"readahead\":65536}}"
same raw "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"http\",\"url\":\"$http/cookie/r.raw\",\"cookie\":\"a=b; c=d\"}}"
auth="json:{\"driver\":\"raw\",\"file\":{\"driver\":\"http\",\"url\":\"$http/auth/r.raw\",\"username\":\"me\",\"password-secret\":\"pw\"}}"
$VIV_IMG compare -q --object "secret,id=pw,data=open sesame" "$auth" www/r.raw || fail "a password"
expect 2 "401" $VIV_IMG compare -q --object secret,id=pw,data=wrong "$auth" www/r.raw
expect 2 "secret" $VIV_IMG compare -q "$auth" www/r.raw

# Small reads share requests; large ones are fetched once and no more than that.
counted >/dev/null
python3 -c 'for i in range(0, 400): print("read %d 4096" % (i * 4096))' | $VIV_IO -r -f raw "$http/plain/r.raw" >out 2>&1
grep -q "read 4096/4096" out || fail "viv-io: $(cat out)"
# shellcheck disable=SC2046
set -- $(counted)
[ "$1" -le 12 ] || fail "400 reads of 4 KiB in a row made $1 requests"
[ "$2" -le 2200000 ] || fail "they fetched $2 bytes"
same raw "$http/plain/r.raw"
# shellcheck disable=SC2046
set -- $(counted)
[ "$2" -le 5600000 ] || fail "reading 5242880 bytes fetched $2"

# What passes.
same raw "$http/drop/r.raw"
same raw "$http/flaky/r.raw"
# What does not: the url, and what the server says.
bad()
{
    expect 1 "$1" $VIV_IMG convert -f raw -O raw "$2" o.raw
    case $out in *"$2"*) ;; *) fail "'$out' does not name $2" ;; esac
}
bad "404" "$http/plain/nothere"
bad "does not support 'range'" "$http/norange/r.raw"
bad "does not support 'range'" "$http/later/r.raw"
bad "HTTP status 401" "$http/auth/r.raw"
bad "HTTP status 403" "$http/cookie/r.raw"
bad "HTTP status 500" "$http/broken/r.raw"
bad "file" "$http/away/r.raw"
bad "redirects" "$http/circle/r.raw"
bad "another length" "$http/grown/r.raw"
bad "another one" "$http/other/r.raw"
bad "another range" "$http/shift/r.raw"
bad "does not tell" "$http/nolength/r.raw"
bad "" "$http/dead/r.raw"
bad "" "http://127.0.0.1:1/x"
expect 1 "more than it was asked for" $VIV_IMG convert -f raw -O raw "$http/more/r.raw" o.raw
expect 1 "can only be read" $VIV_IMG resize -f raw "$http/plain/r.raw" 6M
expect 1 "not a URL" $VIV_IMG info "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"http\",\"url\":\"x y\"}}"
expect 1 "not a https:// URL" $VIV_IMG info "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"https\",\"url\":\"$http/plain/r.raw\"}}"
expect 1 "multiple of 512" $VIV_IMG info "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"http\",\"url\":\"$http/plain/r.raw\",\"readahead\":1000}}"
expect 1 "file (file): unknown option 'readahead'" $VIV_IMG info "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"over.qcow2\",\"readahead\":1024}}"
case $($VIV_IMG info "http://me:hidden@127.0.0.1:$port/plain/nothere" 2>&1 | tail -n 1) in
*404*) ;;
*) fail "a url with a password" ;;
esac
# A server that stops sending: given up after `timeout` seconds, each time.
start=$(date +%s)
expect 1 "" $VIV_IMG convert -O raw "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"http\",\"url\":\"$http/stall/r.raw\",\"timeout\":1}}" o.raw
[ $(($(date +%s) - start)) -lt 30 ] || fail "timeout=1 waits $(($(date +%s) - start)) s"

# TLS: a certificate that nobody signed.
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost \
    -addext "subjectAltName=DNS:localhost" 2>/dev/null
serve http_server.py tlsport "$PWD/cert.pem" "$PWD/key.pem"
bad "ertificate" "https://localhost:$port/plain/r.raw"
same raw "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"https\",\"url\":\"https://localhost:$port/plain/r.raw\",\"sslverify\":false}}"

# ftp
if /usr/bin/python3 -c 'import pyftpdlib' 2>/dev/null; then
    serve ftp_server.py ftpport
    same raw "ftp://127.0.0.1:$port/r.raw"
    same qcow2 "ftp://me:open%20sesame@127.0.0.1:$port/r.qcow2"
    bad "does not exist" "ftp://127.0.0.1:$port/nothere"
    expect 1 "ccess denied" $VIV_IMG info "ftp://me:wrong@127.0.0.1:$port/r.raw"
else
    echo "no ftp: pyftpdlib is missing"
fi
echo ok
