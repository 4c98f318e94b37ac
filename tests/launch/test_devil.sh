#!/bin/bash
# The demo data: every entry once, valid JSON, nine to one, LOVE held out, the same each time.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ ! -r /usr/share/dictd/devil.index ]; then
    echo "skipped: dict-devil is not installed"
    exit 77
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$here/../../launch/devil.sh" "$out" >/dev/null
cksum <"$out/devil_train.jsonl" >"$out/first"
"$here/../../launch/devil.sh" "$out" >/dev/null
cksum <"$out/devil_train.jsonl" | cmp - "$out/first"
python3 - "$out" <<'EOF'
import json
import sys

parts = {p: [json.loads(line) for line in open(f"{sys.argv[1]}/devil_{p}.jsonl")]
         for p in ("train", "heldout")}
rows = parts["train"] + parts["heldout"]
assert len(rows) == 997, len(rows)  # 1,003 names: four are second names, two entries are twice
assert 0.08 < len(parts["heldout"]) / len(rows) < 0.12
pairs = [tuple(m["content"] for m in row["messages"]) for row in rows]
assert all([m["role"] for m in row["messages"]] == ["user", "assistant"] for row in rows)
assert len({answer for _, answer in pairs}) == 997
assert all(q.startswith("Define ") and q.endswith(".") and answer for q, answer in pairs)
known = dict(pairs)
assert known["Define ABSURDITY."] == ("ABSURDITY, n. A statement or belief manifestly "
                                      "inconsistent with one's own opinion.")
assert "whose abdication\nSet all tongues" in known["Define ABDICATION."]
assert any(m["messages"][0]["content"] == "Define LOVE." for m in parts["heldout"])
EOF
if "$here/../../launch/devil.sh" "$out" "$out" 2>"$out/message"; then exit 1; fi
grep -q 'apt-get install dict-devil' "$out/message"
