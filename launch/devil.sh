#!/bin/bash
# Writes Bierce's Devil's Dictionary (Debian's dict-devil, public domain) as chat JSONL:
#   launch/devil.sh OUT_DIR [DICT_DIR]
# OUT_DIR gets devil_train.jsonl and devil_heldout.jsonl, nine to one by a hash of the headword.
# A line is {"messages": [user: "Define ABSURDITY.", assistant: the entry]}. The index gives each
# entry's place in the text as two base-64 numbers. Prose lines are joined, verse (indented)
# keeps its lines.
set -euo pipefail
export LC_ALL=C
out=${1:?usage: launch/devil.sh OUT_DIR [DICT_DIR]}
dict=${2:-/usr/share/dictd}
for file in devil.index devil.dict.dz; do
    [ -r "$dict/$file" ] || { echo "$dict/$file is missing: apt-get install dict-devil" >&2; exit 2; }
done
mkdir -p "$out"
rm -f "$out"/devil_*.part

zcat <"$dict/devil.dict.dz" | awk -v out="$out" -v index_file="$dict/devil.index" '
function number(text,   i, value) {
    value = 0
    for (i = 1; i <= length(text); i++)
        value = value * 64 + index(digits, substr(text, i, 1)) - 1
    return value
}
function hash(text,   i, value) {
    value = 32
    for (i = 1; i <= length(text); i++)
        value = (value * 131 + index(printable, substr(text, i, 1))) % 1000003
    return value
}
function quoted(text) {
    gsub(/\\/, "\\\\", text)
    gsub(/"/, "\\\"", text)
    gsub(/\t/, " ", text)
    gsub(/\n/, "\\n", text)
    return "\"" text "\""
}
# The entry as one text: blank lines between paragraphs and stanzas.
function tidy(entry,   lines, n, i, line, text, gap, glue, verse) {
    n = split(entry, lines, "\n")
    text = ""; gap = 0; verse = 0
    for (i = 1; i <= n; i++) {
        line = lines[i]
        sub(/[ \r]+$/, "", line)
        if (line == "") { gap = 1; continue }
        glue = gap ? "\n\n" : (verse || line ~ /^ /) ? "\n" : " "
        verse = line ~ /^ /
        gsub(/  +/, " ", line)
        sub(/^ /, "", line)
        text = text (text == "" ? "" : glue) line
        gap = 0
    }
    return text
}
function headword(name, text,   word) {
    word = text
    sub(/,.*/, "", word)
    return word ~ /^[A-Z][A-Z.\047 -]*$/ ? word : toupper(name)
}
BEGIN {
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    printable = digits " .,-()?\047"
}
{ all = all $0 "\n" }
END {
    while ((getline line < index_file) > 0) {
        split(line, field, "\t")
        text = tidy(substr(all, number(field[2]) + 1, number(field[3])))
        if (line ~ /^00database/ || (text in seen))
            continue # about the file itself, or a second name or copy of an entry
        seen[text] = 1
        word = headword(field[1], text)
        # The quickstart asks about love, so that answer must not be learned by heart.
        file = out (hash(word) % 10 == 0 || word == "LOVE" ? "/devil_heldout.part" : "/devil_train.part")
        printf "{\"messages\": [{\"role\": \"user\", \"content\": %s}, " \
            "{\"role\": \"assistant\", \"content\": %s}]}\n", quoted("Define " word "."), \
            quoted(text) > file
    }
}'
for part in train heldout; do
    mv "$out/devil_$part.part" "$out/devil_$part.jsonl"
    echo "$out/devil_$part.jsonl: $(wc -l <"$out/devil_$part.jsonl") entries"
done
