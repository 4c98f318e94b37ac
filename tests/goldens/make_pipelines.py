#!/usr/bin/env python3
"""Random small tokenizer pipelines and what the `tokenizers` library answers for random texts.

    make_pipelines.py OUT [COUNT] [SEED]      one JSON object a line:
        {"json": a tokenizer.json, "cases": [[text, ids, ids_special, offsets, decoded, skipped], ...]}

tests/data/pipelines.jsonl is a small run; AXL_TEST_PIPELINES names a larger one for the test.
    pip install tokenizers==0.23.3
"""

import base64
import json
import random
import sys

from tokenizers import Tokenizer

SPACE = "\u2581"
CHARS = list("abcdeABC 12.,!'-_\n\t") + ["  ", " ", "\u00e9", "e\u0301", "\u00c9", "\u0130", "\u4e2d", "\u6587", "\u3042",
         "\u30a2", "\uac00", "\u0e44", "\u0431", "\U0001f600", "\u200d", "\u00a0", "\u3000", SPACE, "\ufb01", "\u2460", "\u00df", "\u0660",
         "\u00bd", "\u2028", "<s>", "[x]", "ab", "ing", "<0x41>", "\u0120", "'s", "don't", "\x00", "\x7f", "\u0149"]
WORDS = ["a", "b", "c", "ab", "bc", "abc", "ing", "in", "A", "B", " ", SPACE, SPACE + "a", "1", "12", ".", "\u00e9",
         "\u4e2d", "\u6587", "##a", "##b", "##c", "##ab", "a</w>", "b</w>", "ab</w>", "e", "d", "\u0120", "\u0120a", "\u010a", "\u00c3",
         "\u00a9", "\u00c3\u00a9", "\n", "'", "s", "'s", "\u30a2"]


def pick(rng, *items):
    return rng.choice(items)


def flag(rng):
    return rng.random() < 0.5


def pattern(rng):
    if rng.random() < 0.4:
        return {"String": pick(rng, " ", "a", "ab", ".", SPACE, "  ", "'")}
    return {"Regex": pick(rng, r"\s+", r"\p{L}+", r"\d", r"[^a-c]+", r"a|b", r" ?\w+| ?[^\w\s]+|\s+",
                          r"\s*", r"(?i)A+", r"[\r\n]", r"\b", r"(?=a)", r"^.", r".$", r"\p{Han}+",
                          r"a?", r"'s|'t| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
                          r"[\p{Lu}\p{Lt}\p{M}]+|\p{N}{1,3}")}


BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def normalizer(rng):
    kind = pick(rng, "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Strip", "Replace", "Prepend",
                "Nmt", "BertNormalizer", "Replace", "Lowercase")
    extra = {
        "Strip": {"strip_left": flag(rng), "strip_right": flag(rng)},
        "Prepend": {"prepend": pick(rng, SPACE, "ab", " ")},
        "BertNormalizer": {"clean_text": flag(rng), "handle_chinese_chars": flag(rng),
                           "strip_accents": pick(rng, None, True, False), "lowercase": flag(rng)},
    }.get(kind, {})
    if kind == "Replace":
        extra = {"pattern": pattern(rng), "content": pick(rng, "", " ", SPACE, "xy", "\u4e2d")}
    return {"type": kind, **extra}


def pretokenizer(rng):
    kind = pick(rng, "ByteLevel", "Split", "Split", "Digits", "Metaspace", "Punctuation", "Whitespace",
                "WhitespaceSplit", "CharDelimiterSplit", "BertPreTokenizer", "UnicodeScripts", "FixedLength")
    extra = {
        "ByteLevel": {"add_prefix_space": flag(rng), "trim_offsets": flag(rng), "use_regex": flag(rng)},
        "Digits": {"individual_digits": flag(rng)},
        "Metaspace": {"replacement": pick(rng, SPACE, "_"), "split": flag(rng),
                      "prepend_scheme": pick(rng, "always", "first", "never")},
        "Punctuation": {"behavior": pick(rng, *BEHAVIORS)},
        "CharDelimiterSplit": {"delimiter": pick(rng, "a", " ", "\u4e2d")},
        "FixedLength": {"length": rng.randrange(1, 5)},
    }.get(kind, {})
    if kind == "Split":
        extra = {"pattern": pattern(rng), "behavior": pick(rng, *BEHAVIORS), "invert": flag(rng)}
    return {"type": kind, **extra}


def decoder(rng):
    kind = pick(rng, "ByteLevel", "Replace", "ByteFallback", "Fuse", "Strip", "Metaspace", "WordPiece", "BPEDecoder",
                "CTC")
    extra = {
        "ByteLevel": {"add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "Replace": {"pattern": pattern(rng), "content": pick(rng, "", " ", "xy")},
        "Strip": {"content": pick(rng, " ", "a", SPACE), "start": rng.randrange(3), "stop": rng.randrange(3)},
        "Metaspace": {"replacement": SPACE, "split": True, "prepend_scheme": pick(rng, "always", "first", "never")},
        "WordPiece": {"prefix": "##", "cleanup": flag(rng)},
        "BPEDecoder": {"suffix": "</w>"},
        "CTC": {"pad_token": pick(rng, "a", "<s>"), "word_delimiter_token": pick(rng, "b", "|"),
                "cleanup": flag(rng)},
    }.get(kind, {})
    return {"type": kind, **extra}


def several(rng, make, key, most):
    count = rng.randrange(most + 1)
    if count == 0:
        return None
    if count == 1 and flag(rng):
        return make(rng)
    return {"type": "Sequence", key: [make(rng) for _ in range(count)]}


def model(rng):
    words = ["<unk>"] + rng.sample(WORDS, rng.randrange(8, len(WORDS)))
    kind = pick(rng, "BPE", "BPE", "Unigram", "WordPiece", "WordLevel")
    if kind == "Unigram":
        vocab = [[w, round(-rng.random() * 8, 3)] for w in words]
        bytes_too = flag(rng)
        if bytes_too:
            vocab += [[f"<0x{b:02X}>", -9.0] for b in range(256)]
        return {"type": kind, "unk_id": 0, "vocab": vocab, "byte_fallback": bytes_too}
    vocab = {w: i for i, w in enumerate(words)}
    if kind == "WordPiece":
        return {"type": kind, "unk_token": "<unk>", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": pick(rng, 100, 3), "vocab": vocab}
    if kind == "WordLevel":
        return {"type": kind, "unk_token": "<unk>", "vocab": vocab}
    prefix, suffix = pick(rng, None, None, "##"), pick(rng, None, None, "</w>")
    merges = []
    for whole in words:
        for left in words:
            for right in words:
                tail = right[len(prefix):] if prefix and right.startswith(prefix) else right
                if prefix and not right.startswith(prefix):
                    continue
                if left + tail == whole and left and tail:
                    merges.append([left, right])
    rng.shuffle(merges)
    # The library gives the bytes of a suffix offsets behind the text's end; that is not copied.
    fallback = flag(rng) and not prefix and not suffix
    if fallback:
        for b in range(256):
            vocab.setdefault(f"<0x{b:02X}>", len(vocab))
    return {"type": kind, "dropout": None, "unk_token": pick(rng, "<unk>", None),
            "continuing_subword_prefix": prefix, "end_of_word_suffix": suffix, "fuse_unk": flag(rng),
            "byte_fallback": fallback, "ignore_merges": flag(rng), "vocab": vocab, "merges": merges}


def added(rng, size):
    out = []
    for content in rng.sample(["<s>", "[x]", "ing", "ab", " b", "\u4e2d", "A", "<pad>"], rng.randrange(5)):
        special = flag(rng)
        out.append({"content": content, "single_word": rng.random() < 0.3, "lstrip": rng.random() < 0.3,
                    "rstrip": rng.random() < 0.3, "normalized": flag(rng), "special": special})
    return out


def post(rng, ids):
    kind = pick(rng, None, "ByteLevel", "TemplateProcessing", "TemplateProcessing", "RobertaProcessing", "BertProcessing")
    if kind is None:
        return None
    token, number = pick(rng, *ids)
    if kind == "ByteLevel":
        return {"type": kind, "add_prefix_space": flag(rng), "trim_offsets": flag(rng), "use_regex": True}
    if kind == "TemplateProcessing":
        piece = {"SpecialToken": {"id": token, "type_id": 0}}
        body = {"Sequence": {"id": "A", "type_id": 0}}
        single = pick(rng, [piece, body], [body, piece], [piece, body, piece], [piece, piece, body])
        return {"type": kind, "single": single, "pair": single + [{"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {token: {"id": token, "ids": [number], "tokens": [token]}}}
    both = {"type": kind, "sep": [token, number], "cls": [token, number]}
    if kind == "RobertaProcessing":
        both.update(trim_offsets=flag(rng), add_prefix_space=flag(rng))
    return both


def pipeline(rng):
    m = model(rng)
    vocab = m["vocab"] if isinstance(m["vocab"], dict) else {w: i for i, (w, _) in enumerate(m["vocab"])}
    tokens, size = added(rng, len(vocab)), len(vocab)
    for token in tokens:
        token["id"] = vocab.get(token["content"], size)
        size += token["content"] not in vocab
    tokens.sort(key=lambda t: t["id"])
    ids = [(t["content"], t["id"]) for t in tokens] + list(vocab.items())[:4]
    doc = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens,
           "normalizer": several(rng, normalizer, "normalizers", 3),
           "pre_tokenizer": several(rng, pretokenizer, "pretokenizers", 3),
           "post_processor": post(rng, ids), "decoder": several(rng, decoder, "decoders", 3), "model": m}
    if m["type"] == "Unigram" and doc["post_processor"] and "trim_offsets" in doc["post_processor"]:
        doc["post_processor"]["trim_offsets"] = False  # the library trims an unknown piece by its own text
    if doc["pre_tokenizer"] is not None and m["type"] == "BPE" and flag(rng):
        m["unk_token"] = "<unk>"
    return doc


def cases(rng, tok, count):
    out = []
    for _ in range(count):
        text = "".join(rng.choice(CHARS) for _ in range(rng.randrange(0, 16)))
        try:
            plain, full = tok.encode(text, add_special_tokens=False), tok.encode(text)
            out.append([text, plain.ids, full.ids, [x for pair in plain.offsets for x in pair],
                        tok.decode(full.ids, skip_special_tokens=False), tok.decode(full.ids)])
        except BaseException:  # the library panics on some
            continue
    return out


def main():
    out, count, seed = sys.argv[1], int((sys.argv + ["", "40"])[2] or 40), int((sys.argv + ["", "", "1"])[3] or 1)
    rng = random.Random(seed)
    made = 0
    with open(out, "w", encoding="utf-8") as file:
        while made < count:
            doc = pipeline(rng)
            text = json.dumps(doc, ensure_ascii=False, separators=(",", ":"))
            try:
                tok = Tokenizer.from_str(text)
            except BaseException:
                continue
            forms = [tok.normalizer.normalize_str(t["content"]) if tok.normalizer and t["normalized"]
                     else t["content"] for t in doc["added_tokens"]]
            if len(set(forms)) < len(forms) or not all(form.strip() for form in forms):
                continue  # which of two is found is left to a hash table
            found = cases(rng, tok, 12)
            if found:
                file.write(json.dumps({"json": doc, "cases": found}, ensure_ascii=False, separators=(",", ":")) + "\n")
                made += 1


if __name__ == "__main__":
    main()
