#!/usr/bin/env python3
"""Compare an imported directory with the GGUF file it came from.

Weights must equal the dequantisation of the PyPI package gguf bit for bit; with --tokenizer, ids must
equal those of a tokenizer directory that is known to be right; with --logits (needs torch and
transformers), logits must equal those of transformers' own way of loading the GGUF file.

Example: python tests/goldens/check_import.py MODEL.gguf DIR --tokenizer RIGHT_DIR --logits
"""

import argparse
import json
import pathlib
import random
import struct
import sys

import numpy as np

PARTS = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
         "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
         "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_q_norm": "self_attn.q_norm",
         "attn_k_norm": "self_attn.k_norm"}
TOPS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def key_of(name):
    stem, ending = name.rsplit(".", 1)
    if stem in TOPS:
        return f"{TOPS[stem]}.{ending}"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{PARTS[part]}.{ending}"


def read_safetensors(path):
    data = np.memmap(path, mode="r")
    n = struct.unpack("<Q", bytes(data[:8]))[0]
    header = json.loads(bytes(data[8:8 + n]))
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"],
                   data[8 + n + entry["data_offsets"][0]:8 + n + entry["data_offsets"][1]])
            for name, entry in header.items()}


def check_weights(path, folder):
    import gguf
    config = json.loads((folder / "config.json").read_text())
    reader = gguf.GGUFReader(path)
    permuted = reader.get_field("general.architecture").contents() == "llama"
    tensors = read_safetensors(folder / "model.safetensors")
    for t in reader.tensors:
        want = gguf.quants.dequantize(t.data, t.tensor_type).reshape(t.shape[::-1])
        key = key_of(t.name)
        heads = {"q": config["num_attention_heads"], "k": config["num_key_value_heads"]}
        for part, n in heads.items():
            if permuted and f".attn_{part}." in t.name:
                rest = want.shape[1:]
                half = want.shape[0] // n // 2
                want = want.reshape(n, half, 2, *rest).swapaxes(1, 2).reshape(-1, *rest)
        dtype, shape, data = tensors.pop(key)
        assert shape == list(want.shape), (key, shape, want.shape)
        kind = {"F32": np.float32, "F16": np.float16}.get(dtype)
        have = data.view(kind).astype(np.float32) if kind else \
            (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        assert have.tobytes() == np.ascontiguousarray(want).tobytes(), key
    assert not tensors, list(tensors)
    print(f"weights: {len(reader.tensors)} tensors bit-equal")


def texts():
    rng = random.Random(5)
    out = ["", " ", "Hello, world!", "Call 555-0199 at 3:45, 1,234,567.89; 2024-11-21.",
           "  two  spaces\n\n\tand tabs\r\n", "don't I'll WE'VE", "naïve café 今天天气很好 Привет ①²½",
           "<|im_start|>user\nhi 42<|im_end|>\n", "x=3;y[12]<<=0xff", "٣٤٥ १२३", "👍🏽👨‍👩‍👧‍👦"]
    alphabet = "ab cd 0123456789 \n\té中文ж.,!?'\"-_()[]{}<|>im_startend"
    for _ in range(3000):
        out.append("".join(rng.choice(alphabet) for _ in range(rng.randrange(60))))
    for _ in range(500):
        out.append("".join(chr(rng.choice([rng.randrange(32, 0x2000), rng.randrange(0x3000, 0xa000)]))
                           for _ in range(20)))
    return out


def check_tokenizer(folder, right):
    from tokenizers import Tokenizer
    a = Tokenizer.from_file(str(folder / "tokenizer.json"))
    b = Tokenizer.from_file(str(right / "tokenizer.json"))
    n = 0
    for text in texts():
        x, y = a.encode(text), b.encode(text)
        assert x.ids == y.ids, (text, x.tokens, y.tokens)
        assert a.decode(x.ids) == b.decode(y.ids), text
        assert a.decode(x.ids, skip_special_tokens=False) == \
            b.decode(y.ids, skip_special_tokens=False), text
        n += len(x.ids)
    assert a.get_vocab() == b.get_vocab()
    mine = folder / "chat_template.jinja"
    if (right / "chat_template.jinja").exists():
        assert mine.read_text() == (right / "chat_template.jinja").read_text()
    print(f"tokenizer: {n} ids equal")


def check_logits(path, folder):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(folder)
    kind = {"dtype": torch.float32, "attn_implementation": "eager"}
    ids = tokenizer("In 1842, Bierce was born; his dictionary defines love as follows:",
                    return_tensors="pt")["input_ids"]
    with torch.no_grad():
        mine = AutoModelForCausalLM.from_pretrained(folder, **kind)(ids).logits
        theirs = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, **kind)(ids).logits
    print(f"logits: largest difference {(mine - theirs).abs().max().item():.3g} of "
          f"{theirs.abs().max().item():.3g}; ids {ids.tolist()[0][:8]}")
    if tokenizer.chat_template:
        print(repr(tokenizer.apply_chat_template([{"role": "user", "content": "Define love."}],
                                                 tokenize=False, add_generation_prompt=True)))
    assert torch.equal(mine, theirs)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("gguf", type=pathlib.Path)
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--tokenizer", type=pathlib.Path)
    p.add_argument("--logits", action="store_true")
    a = p.parse_args()
    check_weights(a.gguf, a.folder)
    if a.tokenizer:
        check_tokenizer(a.folder, a.tokenizer)
    if a.logits:
        check_logits(a.gguf.resolve(), a.folder)


if __name__ == "__main__":
    sys.exit(main())
