# Sourced by the tests of a guest that reboots for ever.
# reboots LINE COMMAND...: runs COMMAND until LINE (a pattern) has come three times in $tmp/out, then ends it by SIGTERM; its exit status in $st.
# The caller's fail() is called when it ends by itself or does not come so far in LIMIT (300) seconds.
reboots() {
    line=$1
    shift
    : >"$tmp/out" # the loop below may look before the guest's process has begun
    "$@" </dev/null >"$tmp/out" 2>"$tmp/err" &
    pid=$!
    left=${LIMIT:-300}
    while [ "$(grep -c "$line" "$tmp/out")" -lt 3 ]; do
        kill -0 $pid 2>/dev/null || fail "ended by itself"
        left=$((left - 1))
        [ $left -gt 0 ] || { kill -9 $pid; fail "did not reboot twice in time"; }
        sleep 1
    done
    kill -TERM $pid
    wait $pid && st=0 || st=$?
}
