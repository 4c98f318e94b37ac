#!/bin/bash
# pack.sh and run.sh in the parts that need no GPU: test_scripts.sh AXL_DIST
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$(dirname "$1")/.." && pwd)
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
fail() {
    echo "$*" >&2
    exit 1
}

# a pack that is too large is refused, with its largest files
status=0
AXL_PACK_LIMIT_MB=1 "$here/pack.sh" --build "$build" "$top/small" 2>"$top/says" || status=$?
[ $status = 1 ] || fail "a pack beyond its limit is made"
grep -q "more than 1" "$top/says" || fail "$(cat "$top/says")"

# the packed program finds its libraries in the pack
AXL_PACK_LIMIT_MB=1000 "$here/pack.sh" --build "$build" "$top/pack" >/dev/null
tar -C "$top/pack" -xzf "$top/pack/lib.tgz"
[ -x "$top/pack/bin/axl-dist" ] && ls "$top"/pack/lib/libmpi.so* "$top"/pack/lib/libhdf5* >/dev/null
LD_LIBRARY_PATH=$top/pack/lib ldd "$top/pack/bin/axl-dist" >"$top/says" # not into a pipe that grep closes early
grep -q "$top/pack/lib/libmpi" "$top/says" || fail "libmpi is not the pack's: $(cat "$top/says")"
for library in "$top"/pack/lib/lib{c,cuda}.so*; do
    [ ! -e "$library" ] || fail "$library is packed"
done

# without a GPU all parts are skipped, and the JSON says why
status=0
"$top/pack/run.sh" "$top/result.json" >"$top/says" 2>&1 || status=$?
if [ ! -e /dev/nvidiactl ]; then
    [ $status = 77 ] || fail "status $status: $(cat "$top/says")"
    grep -q '"name": "cases", "outcome": "skipped"' "$top/result.json" || fail "$(cat "$top/result.json")"
fi
if command -v python3 >/dev/null; then
    python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); assert len(r["parts"]) == 4 and r["gpu"], r' \
        "$top/result.json"
fi
