# For the scripts beside: a scratch folder, the program under test, skipping.
set -eu
VIV_IMG=${VIV_IMG:?path of viv-img}
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
