# For the scripts beside: a scratch folder, the program under test, skipping. SEED=N takes other random patterns than those of every run.
set -eu
VIV_IMG=${VIV_IMG:?path of viv-img}
tests=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/viv-block-XXXXXX")
cleanup_pids=
cleanup()
{
    for p in $cleanup_pids; do kill "$p" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT INT TERM
cd "$work"

requires()
{
    for c in "$@"; do
        command -v "$c" >/dev/null || { echo "skip: $c is missing"; exit 77; }
    done
}

fail()
{
    echo "FAIL: $*" >&2
    exit 1
}

# patterns SEED SIZE [COUNT]: random writes, a command of qemu-io a line.
patterns()
{
    python3 "$tests/patterns.py" "$@"
}

# The command must fail with one code and say something.
expect()
{
    want=$1 text=$2
    shift 2
    code=0
    out=$("$@" 2>&1) || code=$?
    [ "$code" = "$want" ] || fail "'$*' gave $code, not $want: $out"
    case $out in
    *"$text"*) ;;
    *) fail "'$*' says '$out', without '$text'" ;;
    esac
}

# Two folders, in which our program and Debian's do the same things: `pair WORDS` runs both and wants the same output (names of the
# programs and dates apart) and the same exit code.
pairs()
{
    requires qemu-img qemu-io python3
    rm -rf ours theirs
    mkdir ours theirs
}

plain()
{
    sed -E -e 's/qemu-img/viv-img/g' -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}/DATE/' -e 's/("date-n?sec": )[0-9]+/\1N/' \
        -e 's/completed in [0-9.]+/completed in TIME/' -e 's/^disk size: .*/disk size: N/' -e 's/("actual-size": )[0-9]+/\1N/' |
        tr '\r' '\n' | grep -v '^    ([0-9.]*/100%)$' || true
}

run_both()
{
    code=0
    (cd ours && exec $VIV_IMG "$@") >ours.txt 2>&1 || code=$?
    peer=0
    (cd theirs && exec qemu-img "$@") >theirs.txt 2>&1 || peer=$?
    plain <ours.txt >ours.out
    plain <theirs.txt | grep -v -e '^WARNING: Image format was not' -e '^         Automatically detecting' \
        -e '^         Specify the .raw. format' >theirs.out || true
}

pair()
{
    run_both "$@"
    grep -v "^viv-img: warning: .*no format was given and it looks raw" ours.out >ours.cut || true
    [ "$code" = "$peer" ] || fail "'$*' ends with $code, qemu-img with $peer: $(cat ours.out theirs.out)"
    diff theirs.out ours.cut || fail "'$*' prints something else"
}

# A known difference: what each says (a part of it), with exit codes OURS/THEIRS.
apart()
{
    codes=$1 mine=$2 its=$3
    shift 3
    run_both "$@"
    [ "$code/$peer" = "$codes" ] || fail "'$*' ends with $code/$peer, not $codes: $(cat ours.out theirs.out)"
    grep -qF -e "$mine" ours.out || fail "'$*': we say '$(cat ours.out)', not '$mine'"
    grep -qF -e "$its" theirs.out || fail "'$*': qemu-img says '$(cat theirs.out)', not '$its'"
}

# The same requests for both images.
pair_io()
{
    (cd ours && qemu-io "$@" >/dev/null)
    (cd theirs && qemu-io "$@" >/dev/null)
}

# pair_disk FORMAT NAME: the same disk in both folders, and nothing wrong with ours.
pair_disk()
{
    (cd ours && qemu-img convert -t unsafe -f "$1" -O raw "$2" ../ours.raw)
    (cd theirs && qemu-img convert -t unsafe -f "$1" -O raw "$2" ../theirs.raw)
    cmp ours.raw theirs.raw || fail "$2: another disk than qemu-img's"
    [ "$1" = raw ] || (cd ours && qemu-img check -q -f "$1" "$2") || fail "$2: qemu-img check"
}

# same_map A B: two outputs of map --output=json, but for holes of the file within a cluster that holds data: we tell them of every
# image, qemu-img only where it thinks that clusters were preallocated.
same_map()
{
    python3 - "$@" <<'END'
import json, sys

def plain(path):
    out = []
    for p in json.load(open(path)):
        p["zero"] &= not p["data"]
        q = out[-1] if out else None
        if q and all(p[k] == q[k] for k in ("depth", "present", "zero", "data")) and \
           ("offset" in p) == ("offset" in q) and p.get("offset", 0) == q.get("offset", -q["length"]) + q["length"]:
            q["length"] += p["length"]
        else:
            out.append(p)
    return out

a, b = plain(sys.argv[1]), plain(sys.argv[2])
assert a == b, (a, b)
END
}

# pair_map NAME: of the same layers, the same clusters, wherever they lie.
pair_map()
{
    (cd ours && $VIV_IMG map --output=json "$1") | sed 's/, "offset": [0-9]*//' >ours.out
    (cd theirs && qemu-img map --output=json "$1") | sed 's/, "offset": [0-9]*//' >theirs.out
    same_map ours.out theirs.out || fail "map of $1"
}
