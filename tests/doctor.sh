#!/bin/sh
# viv doctor: lines of the stated shape, JSON that agrees with them, refusals.
set -eu
viv=$1
fail() { echo "FAIL: $*"; exit 1; }
out=$("$viv" doctor) || fail "viv doctor exits $?"
echo "$out" | grep -q '^Virtual machines run here ' || fail "no verdict"
echo "$out" | grep -v '^ ' | grep -v '^$' | grep -v '^Virtual' | grep -vE '^(OK|warn|missing) +[a-z/]' && fail "a line of another shape"
if [ -e /dev/kvm ]; then echo "$out" | grep -qE '^[A-Za-z]+ +/dev/kvm ' || fail "/dev/kvm is not mentioned"; fi
"$viv" doctor --json | python3 -c '
import json, sys
r = json.load(sys.stdin)
assert r["accelerator"] in ("kvm", "xlate", "interp"), r
assert len(r["checks"]) > 10
assert all(c["status"] in ("OK", "warn", "missing") and c["detail"] for c in r["checks"])
assert r["accelerator"] == "kvm" or r["why-not-kvm"]
' || fail "--json"
"$viv" doctor --nonsense 2>/dev/null && fail "unknown option accepted"
"$viv" doctr 2>&1 | grep -q "did you mean 'doctor'" || fail "no suggestion"
echo "PASS"
