#!/usr/bin/env python3
"""Small tokenizer.model and tekken.json files and the ids that other libraries give for them.

    make_spm.py OUT            writes OUT/<name>/tokenizer.model, tokenizer_config.json, and
                               OUT/goldens.jsonl
    make_spm.py --big OUT      the same with the standard character maps (240 KB a model), not for the
                               repository

Needs: pip install transformers sentencepiece protobuf mistral-common. A record of goldens.jsonl is
    {"model": ..., "text": ..., "ids": ..., "ids_special": ..., "decoded": ...}
by transformers; for byte-* by tiktoken and mistral-common (no ids_special, texts without special tokens).
How many texts sentencepiece itself cuts in another way is printed: transformers reads white space and
U+2581 at the edges of a text in its own way.
"""

import base64
import collections
import json
import os
import pathlib
import random
import sys
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
warnings.simplefilter("ignore")

import sentencepiece

CORPUS = """The quick brown fox jumps over the lazy dog. A penny saved is a penny earned!
In the beginning there was nothing, which exploded; later 1234567890 things happened in 2024.
def main(argc, argv):\n    return argc + 1  # comment
Le coeur a ses raisons que la raison ne connait point. C'est la vie, n'est-ce pas?
\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u041a\u0430\u043a \u0434\u0435\u043b\u0430? \u4f60\u597d\uff0c\u4e16\u754c\u3002\u65e5\u672c\u8a9e\u306e\u6587\u7ae0\u3067\u3059\u3002
\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4 \u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645 caf\u00e9 na\u00efve fa\u00e7ade \u00fcber
reading writing running singing walking talking thinking being going seeing making
"""
TSV = "FF21\t41\nFF22\t42\n2460\t31\nFB01\t66 69\n3000\t20\n65 301\tE9\n201C\t22\nA0\t20\n9\t20\n"

BASE = {"vocab_size": 220, "character_coverage": 0.98, "hard_vocab_limit": False}
LLAMA = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "bos_token": "<s>",
         "eos_token": "</s>", "unk_token": "<unk>"}
DECODER = {"0": {"content": "<unk>", "special": True, "normalized": False},
           "1": {"content": "<s>", "special": True, "normalized": False},
           "2": {"content": "</s>", "special": True, "normalized": False}}
MODELS = {
    "bpe-llama": ({"model_type": "bpe", "byte_fallback": True, "vocab_size": 480,
                   "normalization_rule_name": "identity", "remove_extra_whitespaces": False},
                  {**LLAMA, "legacy": False}),
    "bpe-llama-legacy": ({"model_type": "bpe", "byte_fallback": True, "vocab_size": 480,
                          "normalization_rule_name": "identity", "split_digits": True,
                          "remove_extra_whitespaces": False,
                          "control_symbols": ["[INST]", "[/INST]"],
                          "user_defined_symbols": ["<tool>"]},
                         {**LLAMA, "legacy": True, "add_eos_token": True,
                          "added_tokens_decoder": {**DECODER, "480": {
                              "content": "<|new|>", "lstrip": True, "normalized": False,
                              "special": False}}}),
    "bpe-gemma": ({"model_type": "bpe", "byte_fallback": True, "vocab_size": 480,
                   "normalization_rule_name": "identity", "add_dummy_prefix": False,
                   "remove_extra_whitespaces": False, "pad_id": 0, "eos_id": 1, "bos_id": 2,
                   "unk_id": 3, "bos_piece": "<bos>", "eos_piece": "<eos>"},
                  {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True,
                   "mask_token": None}),
    "bpe-own": ({"model_type": "bpe", "user_defined_symbols": ["<sep>", "ing", "a+b"],
                 "control_symbols": ["[CTL]"]}, None),
    "bpe-own-plain": ({"model_type": "bpe", "add_dummy_prefix": False}, {"legacy": False}),
    "unigram-own": ({"model_type": "unigram"}, None),
    "unigram-bytes": ({"model_type": "unigram", "byte_fallback": True, "vocab_size": 480,
                       "remove_extra_whitespaces": False,
                       "user_defined_symbols": ["<sep>"]}, {"legacy": False}),
    "unigram-renamed": ({"model_type": "unigram", "control_symbols": ["<place>"]},
                        {"added_tokens_decoder": {"3": {"content": "<|used|>", "special": True,
                                                        "normalized": False}}}),
    "unigram-t5": ({"model_type": "unigram", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
                   {"tokenizer_class": "T5Tokenizer", "extra_ids": 4}),
    "char-own": ({"model_type": "char", "vocab_size": 100}, None),
}


def texts(count):
    fixed = ["", " ", "  ", "a", " a", "a ", "  a  b  ", "\t", "\n", "\n\n a", "\u2581", "\u2581a",
             "a\u2581b", "The quick brown fox.", "<s>", "<s> a", "a <s>b</s>", "<unk>", "[INST] x [/INST]",
             "<tool>ing", "<|new|>x <|new|>", "<sep>", "x<sep>y", "singing a+b", "[CTL]a", "<|used|>b",
             "<place>", "<0x41>", "<0x0A>", "\uff21\uff22 \u2460 \ufb01", "e\u0301", "cafe\u0301",
             "\u201cx\u00a0y\u3000z", "1234567890", "\u4f60\u597d\u4e16\u754c", "\U0001f600\U0001f468\u200d\U0001f469",
             "\u0e44\u0e17\u0e22", "\uc548\ub155", "<extra_id_0> x<extra_id_3>", "<pad>", "<bos>a<eos>",
             "a\r\nb", "\u0000x", "def f(x):\n    return x  # y"]
    rng = random.Random(11)
    alphabet = list("abcdeginrstT  \n.,'<>1\u00e9\u4e16\u2581\U0001f600\u0301\u3000\uff21") + [
        "ing", " the", "<sep>", "<s>", "  ", "[INST]", "tion", "<|new|>", "a+b"]
    for _ in range(count - len(fixed)):
        fixed.append("".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 24))))
    return fixed


def train(folder, options, big):
    folder.mkdir(parents=True, exist_ok=True)
    corpus, rules = folder / "corpus.txt", folder / "rules.tsv"
    corpus.write_text(CORPUS * 3, "utf-8")
    rules.write_text(TSV)
    chosen = {**BASE, **options}
    if chosen["model_type"] == "bpe":
        chosen.pop("hard_vocab_limit")
    if "normalization_rule_name" not in chosen:
        if big:
            chosen["normalization_rule_name"] = "nmt_nfkc"
        else:
            chosen["normalization_rule_tsv"] = str(rules)
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / "tokenizer"), minloglevel=2, num_threads=1,
        **chosen)
    for name in ("corpus.txt", "rules.tsv", "tokenizer.vocab"):
        (folder / name).unlink()


def merge_ranks(n):
    """Byte-pair ranks of the corpus: the most frequent pair again and again."""
    words = [[bytes([b]) for b in w.encode()] for w in CORPUS.replace(" ", "\0 ").split("\0")]
    ranks = {bytes([b]): b for b in range(256)}
    while len(ranks) < n:
        counts = collections.Counter(p for w in words for p in zip(w, w[1:]))
        (a, b), _ = max(counts.items(), key=lambda x: (x[1], x[0]))
        ranks[a + b] = len(ranks)
        for w in words:
            i = 0
            while i + 1 < len(w):
                if w[i] == a and w[i + 1] == b:
                    w[i:i + 2] = [a + b]
                i += 1
    return ranks


PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
           r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def byte_models(out, records):
    import tiktoken
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    ranks = merge_ranks(400)
    spelled = {token: base64.b64encode(token).decode() for token in ranks}
    folder = out / "byte-tiktoken"
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.model").write_text("".join(f"{spelled[t]} {r}\n" for t, r in ranks.items()))
    encoding = tiktoken.Encoding("tiny", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    readers = {"byte-tiktoken": (encoding.encode_ordinary, encoding.decode)}
    specials = [{"rank": i, "token_str": t, "is_control": True}
                for i, t in enumerate(["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[THINK]"])]
    for name, version, listed in (("byte-tekken-v3", "v3", None), ("byte-tekken-v11", "v11", specials)):
        count = 24 if listed is None else 8
        body = {"config": {"pattern": PATTERN, "num_vocab_tokens": len(ranks),
                           "default_vocab_size": 380 + count, "default_num_special_tokens": count,
                           "version": version},
                "vocab": [{"rank": r, "token_bytes": spelled[t], "token_str": None}
                          for t, r in ranks.items()]}
        if listed is not None:
            body["special_tokens"] = listed
        folder = out / name
        folder.mkdir(exist_ok=True)
        (folder / "tekken.json").write_text(json.dumps(body, separators=(",", ":")) + "\n")
        tek = Tekkenizer.from_file(folder / "tekken.json")
        readers[name] = (lambda text, t=tek: t.encode(text, bos=False, eos=False), None)
    for name, (encode, decode) in readers.items():
        for text in texts(90):
            if any(s in text for s in ("<s>", "<unk>", "INST]", "</s>", "<pad>")):
                continue
            record = {"model": name, "text": text, "ids": encode(text), "decoded": text}
            records.append(json.dumps(record, ensure_ascii=False, separators=(",", ":")))


def main():
    big = "--big" in sys.argv
    out = pathlib.Path(sys.argv[-1])
    from transformers import AutoTokenizer

    with_records = []
    for name, (options, config) in MODELS.items():
        folder = out / name
        train(folder, options, big)
        if config is not None:
            (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n")
        tok = AutoTokenizer.from_pretrained(str(folder))
        own = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        specials = set(tok.get_added_vocab())
        other = 0
        for text in texts(2000 if big else 90):
            record = {"model": name, "text": text,
                      "ids": tok(text, add_special_tokens=False)["input_ids"],
                      "ids_special": tok(text)["input_ids"]}
            record["decoded"] = tok.decode(record["ids"], clean_up_tokenization_spaces=False)
            if not any(s in text for s in specials):
                other += own.encode(text) != record["ids"]
            with_records.append(json.dumps(record, ensure_ascii=False, separators=(",", ":")))
        print(f"{name}: sentencepiece differs on {other}")
    byte_models(out, with_records)
    (out / "goldens.jsonl").write_text("\n".join(with_records) + "\n", "utf-8")


if __name__ == "__main__":
    main()
