"""Goldens of changed vocabularies: what transformers makes of special_tokens, tokens and added_tokens_overrides.

usage: make_vocabulary.py [FOLDER] > tests/data/tokenizers/vocabulary.jsonl   (needs transformers; no torch)

FOLDER holds directories of tokenizers; without it they are those of tests/data/tokenizers. tests/data/spm/vocabulary.jsonl
is made of unigram-own and bpe-own of tests/data/spm (needs sentencepiece and protobuf).

Each record is a change of one of the tokenizers of tests/data/tokenizers, done in the order of the reference: the
files are edited for the overrides, then AutoTokenizer loads them, then special tokens, tokens and additional special
tokens are added. Recorded are length, ids and the encoding of texts that mention the tokens.
"""

import json
import os
import shutil
import sys
import tempfile

from transformers import AddedToken, AutoTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "..", "data", "tokenizers")

CASES = [
    {"special_tokens": {"pad_token": "<pad>"}},
    {"special_tokens": {"bos_token": "<|begin|>", "eos_token": "<|turn end|>", "pad_token": "<|pad|>", "unk_token": "<unk>"}},
    {"tokens": ["<|im_start|>", "<|im_end|>", "quick", " the", "<|im_start|>"]},
    {"special_tokens": {"eos_token": "<|im_end|>"}, "tokens": ["<|im_start|>", "<|im_end|>", "e"]},
    {"special_tokens": {"pad_token": "e", "additional_special_tokens": ["<tool>", "</tool>", "the", "N\u00e9w"]},
     "tokens": ["N\u00e9w", "<tool>"]},
    {"overrides": [0], "special_tokens": {"pad_token": "<extra>"}},
    {"overrides": [-1], "tokens": ["after"]},
]
TEXTS = ["the quick brown fox<|im_end|>", "<|begin|>the <pad>  quick<|turn end|>\n<|pad|>", "e<tool>the e</tool> thee N\u00e9w",
         " <|im_start|>user\nquick<|im_end|> \n", "<over 0><over -1>after <extra> x", "<unk> after\u00e9"]


def override(path, ids):
    """As the reference edits the files: added_tokens, and the key of the vocabulary."""
    names = {}
    file = os.path.join(path, "tokenizer.json")
    with open(file) as f:
        data = json.load(f)
    for nth in ids:
        entry = data["added_tokens"][nth]
        new, old = f"<over {nth}>", entry["content"]
        names[str(entry["id"])] = new
        entry["content"] = new
        vocab = data["model"]["vocab"]
        if isinstance(vocab, dict):
            data["model"]["vocab"] = {(new if v == entry["id"] else k): v for k, v in vocab.items()}
        elif entry["id"] < len(vocab):
            vocab[entry["id"]][0] = new
        if data["model"].get("unk_token") == old:
            data["model"]["unk_token"] = new
        config = os.path.join(path, "tokenizer_config.json")
        with open(config) as f:
            settings = json.load(f)
        for key, value in settings.items():
            if key.endswith("_token") and (value.get("content") if isinstance(value, dict) else value) == old:
                settings[key] = new  # a name goes with its token
        with open(config, "w") as f:
            json.dump(settings, f)
    with open(file, "w") as f:
        json.dump(data, f)
    return names


def change(tokenizer, case):
    special = dict(case.get("special_tokens", {}))
    additional = special.pop("additional_special_tokens", None)
    for key, value in special.items():
        tokenizer.add_special_tokens({key: AddedToken(value, rstrip=False, lstrip=False, normalized=False)})
    tokenizer.add_tokens([AddedToken(t, rstrip=False, lstrip=False, normalized=False) for t in case.get("tokens", [])])
    if additional is not None:
        tokenizer.add_special_tokens({"additional_special_tokens": additional})
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token


def main():
    out = sys.stdout
    for name in sorted(os.listdir(ROOT)):
        if not os.path.isdir(os.path.join(ROOT, name)):
            continue
        for number, case in enumerate(CASES):
            with tempfile.TemporaryDirectory() as scratch:
                path = os.path.join(scratch, name)
                shutil.copytree(os.path.join(ROOT, name), path)
                added = []
                if os.path.exists(os.path.join(path, "tokenizer.json")):
                    with open(os.path.join(path, "tokenizer.json")) as f:
                        added = json.load(f).get("added_tokens", [])
                if case.get("overrides") and not added:
                    continue
                renamed = override(path, case.get("overrides", []))
                tokenizer = AutoTokenizer.from_pretrained(path)
                change(tokenizer, case)
                record = {"tokenizer": name, "case": number, "special_tokens": case.get("special_tokens", {}),
                          "tokens": case.get("tokens", []), "overrides": renamed, "length": len(tokenizer),
                          "named": {k: [v, tokenizer.convert_tokens_to_ids(v)]
                                    for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)},
                          "texts": [[t, tokenizer(t)["input_ids"]] for t in TEXTS]}
                out.write(json.dumps(record, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
