"""Writes tests/data/chat: rows of type chat_template with the ids and labels they must give.

    python tests/goldens/make_chat.py STRATEGIES.jsonl TOKENIZERS_DIR [--full OUT.jsonl]

STRATEGIES.jsonl holds rows and answers of the reference (records with id, tokenizer, cfg, dataset, row and
output, error or spec_*). The tokenizers are cut down to the merges that can take part in these rows: a merge
whose result occurs nowhere in any of the texts changes nothing. Ids stay as they are. --full writes the
records of all tokenizers to one file and cuts nothing.
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
OUT = HERE.parent / "data" / "chat"
KEPT = {"smollm2"}


def available(record):
    """Whether the record's template is one that the program has, or none of the built-in ones."""
    name = record["dataset"].get("chat_template") or record["cfg"].get("chat_template") or "jinja"
    known = {t.stem for t in (HERE.parents[1] / "src" / "text" / "templates").glob("*.jinja")}
    return name in known or name.startswith(("jinja", "tokenizer_default")) or "error" in record


def expected(record):
    if "error" in record:
        return {"error": record["error"]["message"]}
    compare = record.get("compare", ["input_ids", "labels"])
    out = {}
    row = record["output"][0]
    if "input_ids" in compare:
        out["ids"] = record.get("spec_input_ids", [row["input_ids"]])[0]
    if "labels" in compare:
        out["labels"] = record.get("spec_labels", [row["labels"]])[0]
    return out


def byte_letters():
    """The letters that byte-level BPE writes for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in plain}
    n = 0
    for b in range(256):
        if b not in letters:
            letters[b] = chr(256 + n)
            n += 1
    return letters


def cut(tokenizer, text, id_lists):
    letters = byte_letters()
    model = tokenizer["model"]
    names = {v: k for k, v in model["vocab"].items()}
    whole = "".join(letters[b] for b in text.encode())
    for ids in id_lists:  # the rendered texts
        whole += " " + "".join(names.get(i, " ") for i in ids)
    pairs = [m if isinstance(m, list) else m.split(" ") for m in model["merges"]]
    pairs = [(a, b) for a, b in pairs if a + b in whole]
    tokens = set(letters.values()) | {a + b for a, b in pairs}
    tokens |= {t["content"] for t in tokenizer["added_tokens"]}
    model["merges"] = [f"{a} {b}" for a, b in pairs]
    model["vocab"] = {k: v for k, v in model["vocab"].items() if k in tokens}
    return tokenizer


def main():
    strategies, tokenizers = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    full = pathlib.Path(sys.argv[4]) if len(sys.argv) > 4 else None
    records = []
    for line in strategies.read_text().splitlines():
        r = json.loads(line)
        if r["kind"] != "sft" or r["dataset"].get("type") != "chat_template" or "tokens" in r["cfg"]:
            continue  # tokens: added by another part
        if full or (r["tokenizer"] in KEPT and available(r)):
            record = {k: r[k] for k in ("id", "tokenizer", "cfg", "dataset", "row")} | expected(r)
            records.append(record)
    if full:
        full.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records))
        return
    OUT.mkdir(parents=True, exist_ok=True)
    # A very long row tests nothing here and makes up half of the data.
    records = [r for r in records if len(json.dumps(r)) < 8000]
    (OUT / "records.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records))
    templates = (HERE.parents[1] / "src" / "text" / "templates").glob("*.jinja")
    text = json.dumps(records, ensure_ascii=False) + "\n".join(s for r in records for s in strings(r))
    text += "".join(t.read_text() for t in templates)
    for name in KEPT:
        (OUT / name).mkdir(exist_ok=True)
        source = tokenizers / name
        tokenizer = json.loads((source / "tokenizer.json").read_text())
        text += "\n\n  \t [[dummy_message]] [[dummy_reasoning]]"
        tokenizer = cut(tokenizer, text, [r.get("ids", []) for r in records])
        (OUT / name / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, indent=0))
        for other in ("tokenizer_config.json", "chat_template.jinja"):
            if (source / other).exists():
                (OUT / name / other).write_text((source / other).read_text())


def strings(v):
    if isinstance(v, str):
        yield v
    elif isinstance(v, dict):
        for x in v.values():
            yield from strings(x)
    elif isinstance(v, list):
        for x in v:
            yield from strings(x)


main()
