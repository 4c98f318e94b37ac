#!/usr/bin/env python3
"""Writes tests/data/model/rope.json: rotation frequencies as transformers computes them.

    python make_rope.py --out tests/data/model/rope.json

Needs torch and transformers; no test runs it. Every case is the config.json of a tiny Llama with
the rope settings of a published model, a document length, every fourth frequency and the factor
on cos and sin.
"""

import argparse
import json

import torch
import transformers
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

CASES = [
    ("default", 64, 2048, 100, {"rope_type": "default", "rope_theta": 10000.0}),
    ("default, theta of Qwen 2.5", 128, 32768, 100,
     {"rope_type": "default", "rope_theta": 1000000.0}),
    ("linear", 64, 2048, 100, {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
    ("dynamic, short", 64, 2048, 2048,
     {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}),
    ("dynamic, long", 64, 2048, 5000,
     {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}),
    ("Llama 3.1", 128, 131072, 100,
     {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
      "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
    ("Llama 3.2", 64, 131072, 100,
     {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0,
      "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
    ("Qwen 2.5 with YaRN", 128, 131072, 100,
     {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0,
      "original_max_position_embeddings": 32768}),
    ("YaRN, not truncated", 64, 4096, 100,
     {"rope_type": "yarn", "rope_theta": 150000.0, "factor": 32.0, "beta_fast": 32.0,
      "beta_slow": 1.0, "truncate": False, "original_max_position_embeddings": 4096}),
    ("YaRN, mscale", 64, 163840, 100,
     {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 40.0, "beta_fast": 32,
      "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 0.8,
      "original_max_position_embeddings": 4096}),
    ("YaRN, given attention factor", 64, 65536, 100,
     {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 16.0, "attention_factor": 1.25,
      "original_max_position_embeddings": 4096}),
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    cases = []
    for name, head_dim, max_position, length, rope in CASES:
        sizes = {"vocab_size": 8, "hidden_size": head_dim, "intermediate_size": 8,
                 "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
                 "head_dim": head_dim, "max_position_embeddings": max_position}
        embedding = LlamaRotaryEmbedding(LlamaConfig(**sizes, rope_parameters=dict(rope)))
        embedding(torch.zeros(1, 1, 1), torch.arange(length)[None])  # dynamic: learns the length
        cases.append({
            "name": name, "length": length,
            "config": {"model_type": "llama", **sizes, "rope_parameters": rope},
            "inv_freq": [float(f) for f in embedding.inv_freq[::4]],
            "factor": float(embedding.attention_scaling)})
    text = ",\n".join("  " + json.dumps(c) for c in cases)
    with open(args.out, "w", encoding="utf-8") as out:
        out.write(f'{{"transformers": "{transformers.__version__}", "cases": [\n{text}\n]}}\n')


if __name__ == "__main__":
    main()
