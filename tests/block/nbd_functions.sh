# NBD servers for the scripts beside, and what functions.sh has.
. "$(dirname "$0")/functions.sh"
here=$PWD

# serve SOCKET COMMAND...: in the background, until its socket is there; $server is its pid.
serve()
{
    sock=$1
    shift
    rm -f "$sock"
    "$@" >serve.log 2>&1 &
    server=$!
    cleanup_pids="$cleanup_pids $server"
    for _ in $(seq 100); do
        grep -q "00010000.*[ /]${sock##*/}\$" /proc/net/unix && [ -S "$sock" ] && return 0 # it listens
        kill -0 "$server" 2>/dev/null || fail "'$*' ended: $(cat serve.log)"
        sleep 0.05
    done
    fail "'$*' does not listen"
}

unserve()
{
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    ! grep -q Sanitizer serve.log || fail "$(cat serve.log)"
}

# What nbdinfo --map prints, without the names of the types.
nbd_map()
{
    nbdinfo --map="${2:-base:allocation}" "$1" | awk '{ print $1, $2, $3 }'
}
