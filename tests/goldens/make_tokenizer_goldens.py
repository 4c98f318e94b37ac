#!/usr/bin/env python3
"""Record what the `tokenizers` library answers, for the tests of src/text.

    pip install tokenizers==0.23.3
    make_tokenizer_goldens.py                      the committed data, tests/data/tokenizers
    make_tokenizer_goldens.py --dir DIR            any directory of tokenizers, DIR/NAME/tokenizer.json

Writes DIR/tokenizer_goldens.jsonl: one record a tokenizer and text of tests/data/tokenizers/texts.json:
    tokenizer, id, text
    ids, ids_special             without and with the post-processor's special tokens
    offsets                      of ids: start, end, start, end ... in code points, end exclusive
    decoded, decoded_skip_special    of ids_special
To keep the file small a key is left out when its value can be told: text (by id), ids_special that
equals ids, decoded that equals the text, decoded_skip_special that equals decoded.

The tiny tokenizers in tests/data/tokenizers were trained once with the library's trainers, a few
hundred tokens each, so that every part of tokenizer.json occurs; some trainers give another
vocabulary on every run, so the results are data. A directory of real tokenizers (of Llama, Qwen,
SmolLM2 ...) recorded with --dir is found by the tests as build/tokenizers or AXL_TEST_TOKENIZERS.
"""

import argparse
import json
import pathlib

from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE.parent / "data" / "tokenizers"


def record(tok, name, number, text):
    plain = tok.encode(text, add_special_tokens=False)
    special = tok.encode(text, add_special_tokens=True).ids
    decoded = tok.decode(special, skip_special_tokens=False)
    skipped = tok.decode(special, skip_special_tokens=True)
    full = {
        "tokenizer": name, "id": number, "ids": plain.ids,
        "offsets": [x for pair in plain.offsets for x in pair],
        "ids_special": special if special != plain.ids else None,
        "decoded": decoded if decoded != text else None,
        "decoded_skip_special": skipped if skipped != decoded else None,
    }
    return {key: value for key, value in full.items() if value is not None}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=pathlib.Path, default=DATA)
    where = parser.parse_args().dir
    texts = json.loads((DATA / "texts.json").read_text(encoding="utf-8"))
    with open(where / "tokenizer_goldens.jsonl", "w", encoding="utf-8") as out:
        for file in sorted(where.glob("*/tokenizer.json")):
            tok = Tokenizer.from_file(str(file))
            for number, text in enumerate(texts):
                answer = record(tok, file.parent.name, number, text)
                out.write(json.dumps(answer, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
