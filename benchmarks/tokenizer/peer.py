#!/usr/bin/env python3
"""The peer of bench_tokenizer: the `tokenizers` library on one thread, same output.

    peer.py NAME DIR CORPUS [ROUNDS]
    peer.py --corpus OUT FILE...        joins text files into documents of about 4 KB
    peer.py --cjk OUT DIR MEGABYTES     CJK text drawn from the vocabulary of the tokenizer in DIR
"""

import json
import os
import random
import sys
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

DOCUMENT = 4096  # characters


def documents(text):
    at = 0
    while at < len(text):
        end = text.find("\n", at + DOCUMENT)
        end = len(text) if end < 0 else end + 1
        yield text[at:end]
        at = end


def write_corpus(path, text):
    with open(path, "wb") as out:
        for document in documents(text.replace("\0", "")):
            out.write(document.encode("utf-8", "ignore") + b"\0")


def cjk(folder, megabytes):
    """Sentences of words whose frequencies fall as 1 / rank; distinct, but no language."""
    from tokenizers import Tokenizer

    tok = Tokenizer.from_file(folder + "/tokenizer.json")
    words = [tok.decode([i]).strip() for i in range(tok.get_vocab_size())]
    words = [w for w in words if w and all(0x3040 <= ord(c) < 0xD7A4 for c in w)]
    rng = random.Random(1)
    rng.shuffle(words)
    weights = [1.0 / (rank + 10) for rank in range(len(words))]
    parts, size = [], 0
    while size < megabytes * 1000000:
        sentence = "".join(rng.choices(words, weights, k=rng.randrange(5, 30)))
        sentence += rng.choice("。。。，！？\n")
        parts.append(sentence)
        size += 3 * len(sentence)
    return "".join(parts)


def bench(name, folder, corpus, rounds):
    from tokenizers import Tokenizer

    with open(corpus, "rb") as file:
        data = file.read()
    texts = [part.decode("utf-8") for part in data.split(b"\0")[:-1]]
    start = time.process_time()
    tok = Tokenizer.from_file(folder + "/tokenizer.json")
    print(f"tokenizer,{name}.tokenizers,load,{time.process_time() - start:.6g},s")
    for _ in range(rounds):
        start = time.process_time()
        encoded = tok.encode_batch_fast(texts, add_special_tokens=False)
        rate = len(data) / 1e6 / (time.process_time() - start)
        print(f"tokenizer,{name}.tokenizers,encode,{rate:.6g},MB/s")
    tokens = check = 0
    for one in encoded:
        for token in one.ids:
            tokens += 1
            check += token * tokens
    print(f"tokenizer,{name}.tokenizers,tokens,{tokens},count")
    print(f"tokenizer,{name}.tokenizers,check,{check % 2**64},sum")


if __name__ == "__main__":
    if sys.argv[1] == "--corpus":
        write_corpus(sys.argv[2], "\n".join(open(f, encoding="utf-8", errors="ignore").read()
                                            for f in sys.argv[3:]))
    elif sys.argv[1] == "--cjk":
        write_corpus(sys.argv[2], cjk(sys.argv[3], float(sys.argv[4])))
    else:
        bench(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 1)
