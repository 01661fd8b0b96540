#!/bin/sh
# What commit and rebase write, and when: the base is durable before the overlay forgets, data before the header names another backing
# file; and kill -9 at any moment leaves the same disk.
. "$(dirname "$0")/functions.sh"
requires strace python3 qemu-img

trace()
{
    # The leak checker cannot work under strace.
    ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 strace -f -y -o trace.out -e trace=pwrite64,pwritev,pwritev2,fdatasync,fsync,fallocate,ftruncate "$@" || fail "$*"
}

make_chain()
{
    rm -f base.qcow2 over.qcow2 other.qcow2
    $VIV_IMG create -q -f qcow2 base.qcow2 16M
    $VIV_IMG create -q -f qcow2 other.qcow2 16M
    head -c 3000000 /dev/urandom >noise
    truncate -s 16M noise
    $VIV_IMG convert -n -f raw -O qcow2 noise base.qcow2
    $VIV_IMG create -q -f qcow2 -b base.qcow2 -F qcow2 over.qcow2 20M
    head -c 2000000 /dev/urandom >more
    truncate -s 20M more
    dd if=noise of=more bs=1M skip=2 seek=2 conv=notrunc status=none
    $VIV_IMG convert -n -f raw -O qcow2 more over.qcow2
}

make_chain
trace $VIV_IMG commit over.qcow2
python3 - <<'END' || fail "commit: $(grep -n qcow2 trace.out | tail -40)"
events = []
for line in open("trace.out"):
    for name in ("base", "over"):
        if f"/{name}.qcow2>" in line and "resumed" not in line and "PUNCH_HOLE" not in line: # of clusters that are free
            events.append(("sync" if "sync(" in line else "write", name))
first = events.index(("write", "over"))
before, after = events[:first], events[first:]
assert ("write", "base") in before, events
last_write = max(i for i, e in enumerate(before) if e == ("write", "base"))
assert ("sync", "base") in before[last_write:], events
assert after.count(("write", "base")) <= 1, events # counts of clusters that became free: a leak until then
assert ("sync", "over") in after[max(i for i, e in enumerate(after) if e == ("write", "over")):], events
END
$VIV_IMG compare -q -f raw -F qcow2 more base.qcow2 || fail "commit"

make_chain
trace $VIV_IMG rebase -b other.qcow2 -F qcow2 over.qcow2
python3 - <<'END' || fail "rebase: $(grep -n qcow2 trace.out | tail -40)"
import re

events = []
for line in open("trace.out"):
    if "/over.qcow2>" not in line or "resumed" in line:
        continue
    if "sync(" in line:
        events.append("sync")
    else:
        at = re.search(r", (\d+)\) *(=|<)", line)
        events.append("header" if at and at.group(1) == "0" and "pwrite" in line else "write")
headers = [i for i, e in enumerate(events) if e == "header"]
assert headers and "write" in events[:headers[0]], events
for i in headers: # data is durable before any change of the header's cluster
    last_write = max(k for k, e in enumerate(events[:i]) if e == "write")
    assert "sync" in events[last_write:i], events
assert "write" not in events[headers[-1]:] and "sync" in events[headers[-1]:], events
END
$VIV_IMG compare -q -f raw -F qcow2 more over.qcow2 || fail "rebase"

# Killed anywhere.
for verb in "commit" "rebase -b other.qcow2 -F qcow2"; do
    for ms in 5 15 30 60 120; do
        make_chain
        # shellcheck disable=SC2086
        $VIV_IMG $verb over.qcow2 >/dev/null 2>&1 &
        pid=$!
        sleep "0.$(printf %03d $ms)"
        kill -9 $pid 2>/dev/null || true
        wait $pid 2>/dev/null || true
        for i in base over; do
            code=0
            $VIV_IMG check -q $i.qcow2 || code=$?
            case $code in 0 | 3) ;; *) fail "$verb killed after $ms ms: $i.qcow2: check says $code" ;; esac
        done
        $VIV_IMG compare -q -f raw -F qcow2 more over.qcow2 || fail "$verb killed after $ms ms: another disk"
    done
done
echo ok
