#!/usr/bin/env python3
"""The peer of `axl-dist preprocess`: datasets.map over two processes, apply_chat_template, tokenizers, save_to_disk.

    peer.py VARIANT NAME TOKENIZER_DIR TEMPLATE.jinja DATA.jsonl OUT_DIR SEQUENCE_LEN

VARIANT is how the trained tokens are found:
    spans   by rendering and tokenizing each trained turn twice more, once with a dummy, and comparing, which is
            how Axolotl finds them; the labels equal ours
    none    not at all: every conversation is rendered and tokenized once, labels are the ids

Prints preprocess,NAME.VARIANT,metric,value,unit. The check is over all ids and labels in their order.
"""

import os
import shutil
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"

import numpy as np  # noqa: E402
from datasets import load_dataset  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402

IGNORE = -100
PROCESSES = 2


class Encoder:
    def __init__(self, folder, template, variant):
        import json

        with open(os.path.join(folder, "tokenizer_config.json"), encoding="utf-8") as file:
            eos = json.load(file)["eos_token"]
        self.tok = PreTrainedTokenizerFast(tokenizer_file=os.path.join(folder, "tokenizer.json"),
                                           eos_token=eos if isinstance(eos, str) else eos["content"])
        with open(template, encoding="utf-8") as file:
            self.tok.chat_template = file.read()
        self.spans = variant == "spans"

    def render(self, turns, **more):
        ids = self.tok.apply_chat_template(turns, tokenize=True, return_dict=False, **more)
        return ids if isinstance(ids, list) else ids["input_ids"]

    def find_turn(self, turns, i):
        """[a, b) of the tokens that depend on the content of turn i."""
        dummy = {"role": turns[i]["role"], "content": "[[dummy_message]]"}
        more = {"real_last_index": len(turns) - 1}
        full = self.render(turns[:i + 1], **more)
        other = self.render(turns[:i] + [dummy], **more)
        least = min(len(full), len(other))
        a = next((k for k in range(least) if full[k] != other[k]), -1)
        k = next((k for k in range(least) if full[-1 - k] != other[-1 - k]), -1)
        if a < 0 or k < 0 or len(full) - k <= a:
            return -1, -1
        return a, len(full) - k

    def one(self, turns):
        ids = self.render(turns)
        if not self.spans:
            return ids, list(ids)
        labels = [IGNORE] * len(ids)
        eos = self.tok.eos_token_id
        for i, turn in enumerate(turns):
            if turn["role"] != "assistant":
                continue
            a, b = self.find_turn(turns, i)
            if a < 0:
                continue
            labels[a:b] = ids[a:b]
            try:
                end = ids.index(eos, b)
            except ValueError:
                continue
            if end - b <= 3:
                labels[end] = eos
        return ids, labels

    def batch(self, rows):
        out = [self.one(turns) for turns in rows["messages"]]
        return {"input_ids": [ids for ids, _ in out], "labels": [labels for _, labels in out],
                "length": [len(ids) for ids, _ in out]}


def pack(lengths, sequence_len):
    """Next fit: the cheapest there is."""
    bins, room = 0, 0
    for n in lengths:
        if n > room:
            bins, room = bins + 1, sequence_len
        room -= n
    return bins


def check(column):
    """The sum of all values times their place from 1, modulo 2 ** 64."""
    total, at = 0, 1
    for chunk in column.chunks:
        values = chunk.flatten().to_numpy(zero_copy_only=False).astype(np.int64).astype(np.uint64)
        places = np.arange(at, at + len(values), dtype=np.uint64)
        total = (total + int((values * places).sum())) % 2**64
        at += len(values)
    return total


def main():
    variant, name, folder, template, data, out, sequence_len = sys.argv[1:8]
    sequence_len = int(sequence_len)
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    encoder = Encoder(folder, template, variant)
    start, cpu = time.perf_counter(), os.times()
    rows = load_dataset("json", data_files=data, split="train", cache_dir=os.path.join(out, "cache"))
    rows = rows.map(encoder.batch, batched=True, num_proc=PROCESSES, remove_columns=rows.column_names)
    rows = rows.filter(lambda n: [x <= sequence_len for x in n], input_columns="length", batched=True,
                       num_proc=PROCESSES)
    bins = pack(rows["length"], sequence_len)
    rows.save_to_disk(os.path.join(out, "set"))
    seconds, now = time.perf_counter() - start, os.times()
    used = sum(now[:4]) - sum(cpu[:4])
    table = rows.with_format("arrow")[:]
    head = f"preprocess,{name}.{variant}"
    print(f"{head},seconds,{seconds:.6g},s")
    print(f"{head},cpu,{used:.6g},s")
    print(f"{head},samples,{len(rows)},count")
    print(f"{head},bins,{bins},count")
    print(f"{head},ids,{check(table['input_ids'])},sum")
    print(f"{head},labels,{check(table['labels'])},sum")
    shutil.rmtree(out)


main()
