#!/usr/bin/env python3
"""Distinct multi-turn conversations for the preprocess benchmark, the same for the same seed.

    make_data.py OUT.jsonl ROWS [FILE...]

Each turn is a random walk over the text of the files: runs of 3 to 9 words as they stand there, joined. So
the words, their frequencies and most of their neighbours are those of real text, and no two turns are alike.
Without files, the English of the Python standard library (docstrings and comments) is the text.
"""

import json
import os
import random
import re
import sys


def words_of(paths):
    if not paths:
        root = os.path.dirname(os.__file__)
        paths = sorted(os.path.join(root, f) for f in os.listdir(root) if f.endswith(".py"))
    words = []
    for path in paths:
        with open(path, encoding="utf-8", errors="ignore") as file:
            text = file.read()
        if path.endswith(".py"):
            text = " ".join(" ".join(p) for p in re.findall(r'"""(.*?)"""|#([^\n]*)', text, re.S))
        words += text.split()
    return words


def text(rng, words, n):
    out = []
    while len(out) < n:
        at = rng.randrange(len(words) - 10)
        out += words[at:at + rng.randrange(3, 10)]
    end = rng.choice((".", ".", "?", ":", "!"))
    for at in range(rng.randrange(20, 80), len(out), 80):  # paragraphs
        out[at] += "\n\n" if at % 3 else ".\n"
    return " ".join(out) + end


def main():
    path, rows = sys.argv[1], int(sys.argv[2])
    words = words_of(sys.argv[3:])
    rng = random.Random(5)
    with open(path, "w", encoding="utf-8") as out:
        for _ in range(rows):
            messages = [{"role": "system", "content": text(rng, words, rng.randrange(8, 30))}]
            for _ in range(rng.randrange(1, 4)):  # 2 to 6 turns
                messages.append({"role": "user", "content": text(rng, words, rng.randrange(8, 60))})
                messages.append({"role": "assistant", "content": text(rng, words, rng.randrange(15, 115))})
            out.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


main()
