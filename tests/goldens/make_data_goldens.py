#!/usr/bin/env python3
"""Writes tests/data/data/formats.jsonl and its tokenizer: data set rows and the ids and labels they must give.

    make_data_goldens.py --strategies strategies.jsonl --tokenizers DIR

strategies.jsonl holds Axolotl's own output for the SmolLM2 tokenizer (DIR/smollm2), which is too large to
commit. Its prompts and responses are decoded to text, and that text is encoded again with a tiny byte-level
tokenizer that puts a BOS before every text, by the `tokenizers` library and the rules of tokenization
written out below. So the prompt texts come from Axolotl and the ids from the Rust library.
"""

import argparse
import json
import pathlib

from tokenizers import Tokenizer

TESTS = pathlib.Path(__file__).resolve().parents[1] / "data"
OUT = TESTS / "data"
SPECIAL = ["<s>", "<|im_start|>", "<|im_end|>"]
TEXT_TYPES = ("alpaca", "gpteacher", "oasst", "jeopardy", "explainchoice", "concisechoice",
              "summarizetldr", "context_qa", "orcamini", "metharme")  # fmt: skip


def make_tokenizer():
    """The tiny GPT-2 one with BOS and chat tokens; EOS is <|im_end|>."""
    spec = json.loads((TESTS / "tokenizers/tiny-bpe-gpt2/tokenizer.json").read_text())
    first = 1 + max(spec["model"]["vocab"].values())
    for i, content in enumerate(SPECIAL):
        spec["added_tokens"].append(dict(spec["added_tokens"][0], id=first + i, content=content))
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    spec["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [bos, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [first], "tokens": ["<s>"]}},
    }
    folder = OUT / "tokenizer"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(spec, ensure_ascii=False, separators=(",", ":")))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "<|im_end|>"}))
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


class Rules:
    def __init__(self, tokenizer, cfg):
        self.t = tokenizer
        self.len = cfg.get("sequence_len", 2048)
        self.inputs = cfg.get("train_on_inputs", False)
        self.bos, self.eos = tokenizer.token_to_id("<s>"), tokenizer.token_to_id("<|im_end|>")

    def ids(self, text, special=True):
        return self.t.encode(text, add_special_tokens=special).ids

    def text(self, text, eos, strip):
        ids = self.ids(text)[: self.len] if text else []
        if ids and eos and ids[-1] != self.eos and len(ids) < self.len:
            ids.append(self.eos)
        return ids[1:] if strip and ids[:1] == [self.bos] else ids

    def instruct(self, prompt, response, more_eos):
        p, r = self.text(prompt, False, False), self.text(response, True, True)
        for _ in range(more_eos):
            if r and len(r) < self.len:
                r.append(self.eos)
        return [{"input_ids": p + r, "labels": (p if self.inputs else [-100] * len(p)) + r}]

    def completion(self, text):
        limit = 64 * self.len
        ids = self.ids(text)[:limit] if text else []
        if ids and len(ids) < limit and ids[-1] != self.eos:
            ids.append(self.eos)
        parts = [ids[i : i + self.len] for i in range(0, len(ids), self.len)]
        return [{"input_ids": p, "labels": p} for p in parts]

    def segments(self, segments):
        ids, labels = [], []
        for s in segments:
            part = self.ids(s["text"], False)
            ids += part
            labels += part if s["label"] or self.inputs else [-100] * len(part)
        return [{"input_ids": ids, "labels": labels}]


def split_text(real, record):
    """Prompt and response of a record, without the EOS that the rules append."""
    (row,) = record["output"]
    ids, eos = row["input_ids"], real.token_to_id("<|im_end|>")
    n = sum(x == -100 for x in row["labels"])
    response = ids[n:]
    while response and response[-1] == eos:
        response.pop()
    return (real.decode(ids[:n], skip_special_tokens=False),
            real.decode(response, skip_special_tokens=False))  # fmt: skip


def reference(real, tiny, record):
    rules, row, kind = Rules(tiny, record["cfg"]), record["row"], record["dataset"].get("type")
    if kind == "completion":
        return rules.completion(row[record["dataset"].get("field", "text")])
    if kind == "input_output":
        return rules.segments(row["segments"])
    prompt, response = split_text(real, record)
    return rules.instruct(prompt, response, 2 if kind == "metharme" else 0)


def wanted(record):
    kind = record["dataset"].get("type")
    if record["kind"] != "sft" or record["tokenizer"] != "smollm2" or "output" not in record:
        return False
    if set(record["cfg"]) - {"sequence_len", "train_on_inputs"}:
        return False
    if kind in ("completion", "input_output"):
        return True
    # where Axolotl cut the text to sequence_len, or trained it all, it cannot be read back
    whole = not record["cfg"] and all("<|im_" not in str(v) for v in record["row"].values())
    return whole and (isinstance(kind, dict) or (kind or "").startswith(TEXT_TYPES))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strategies", type=pathlib.Path, required=True)
    parser.add_argument("--tokenizers", type=pathlib.Path, required=True)
    args = parser.parse_args()
    tiny = make_tokenizer()
    real = Tokenizer.from_file(str(args.tokenizers / "smollm2/tokenizer.json"))
    with open(OUT / "formats.jsonl", "w", encoding="utf-8") as out:
        for line in args.strategies.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if wanted(record):
                keep = {k: record[k] for k in ("id", "kind", "cfg", "dataset", "row")}
                keep["output"] = reference(real, tiny, record)
                out.write(json.dumps(keep, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
