#!/usr/bin/env python3
"""Write the small GGUF files that tests/src/io reads, by the PyPI package gguf.

quants.gguf holds, for every storage type T that is supported, a tensor "T" of random blocks and a
tensor "expect.T" with what gguf.quants.dequantize makes of it, and metadata of every kind.
tiny_llama.gguf and tiny_qwen2.gguf are whole models of two layers with a byte-level tokenizer;
their quantised weights are made by the package too. tiny_spm.gguf has a sentencepiece vocabulary
and no layer.

Needs: pip install numpy gguf
Example: python tests/goldens/make_gguf.py tests/data/io
"""

import pathlib
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Q
from gguf.quants import dequantize, quantize

# Where the half-precision scales stand in a block.
SCALES = {Q.Q8_0: [0], Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q4_K: [0, 2],
          Q.Q5_K: [0, 2], Q.Q6_K: [208]}
ROWS, COLS = 2, 512


def random_scales(rng, n):
    """Halves of both signs, some of them subnormal, none infinite."""
    scales = (rng.standard_normal(n) * 10.0 ** rng.integers(-6, 1, n)).astype(np.float16)
    return scales.view(np.uint8).reshape(n, 2)


def random_blocks(rng, quant):
    block, size = gguf.GGML_QUANT_SIZES[quant]
    n = ROWS * COLS // block
    data = rng.integers(0, 256, (n, size), np.uint8)
    for at in SCALES[quant]:
        data[:, at:at + 2] = random_scales(rng, n)
    return data.reshape(ROWS, -1)


def write_quants(path, rng):
    w = gguf.GGUFWriter(path, "test")
    w.add_uint8("kind.u8", 200)
    w.add_int8("kind.i8", -100)
    w.add_uint16("kind.u16", 60000)
    w.add_int16("kind.i16", -30000)
    w.add_uint32("kind.u32", 4000000000)
    w.add_int32("kind.i32", -2000000000)
    w.add_float32("kind.f32", 0.1)
    w.add_bool("kind.bool", True)
    w.add_string("kind.string", "täxt")
    w.add_uint64("kind.u64", 2 ** 63 - 1)
    w.add_int64("kind.i64", -2 ** 62)
    w.add_float64("kind.f64", 0.1)
    w.add_array("kind.array.i32", [1, -2, 3])
    w.add_array("kind.array.f32", [0.5, -1.5])
    w.add_array("kind.array.string", ["a", "", "ccc"])
    w.add_custom_alignment(64)
    for quant in SCALES:
        data = random_blocks(rng, quant)
        w.add_tensor(quant.name, data, raw_dtype=quant)
        w.add_tensor("expect." + quant.name, dequantize(data, quant))
    halves = np.arange(65536, dtype=np.uint16)
    halves = halves[np.isfinite(halves.view(np.float16))][::61][:COLS].copy()
    halves = halves.view(np.float16).reshape(1, -1)
    w.add_tensor("F16", halves)
    w.add_tensor("expect.F16", halves.astype(np.float32))
    values = rng.standard_normal((ROWS, COLS)).astype(np.float32)
    w.add_tensor("F32", values)
    w.add_tensor("BF16", quantize(values, Q.BF16), raw_dtype=Q.BF16)
    w.add_tensor("expect.BF16", dequantize(quantize(values, Q.BF16), Q.BF16))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def byte_alphabet():
    keep = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table, extra = {}, 0
    for byte in range(256):
        table[byte] = chr(byte) if byte in keep else chr(256 + extra)
        extra += byte not in keep
    return [table[byte] for byte in range(256)]


def write_model(path, arch, rng, tied):
    width, heads, kv_heads, hidden, layers = 64, 4, 2, 96, 2
    head = width // heads
    w = gguf.GGUFWriter(path, arch)
    w.add_block_count(layers)
    w.add_context_length(128)
    w.add_embedding_length(width)
    w.add_feed_forward_length(hidden)
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_rope_freq_base(50000.0)
    if arch == "llama":
        w.add_rope_dimension_count(head)
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(2.0)

    alphabet = byte_alphabet()
    merges = ["t h", "th e", "Ġ the", "i n", "Ġ a"]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *alphabet,
              *(merge.replace(" ", "") for merge in merges), "<think>"]
    kinds = [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (256 + len(merges))
    kinds.append(gguf.TokenType.USER_DEFINED)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm" if arch == "llama" else "qwen2")
    w.add_token_list(tokens)
    w.add_token_types(kinds)
    w.add_token_merges(merges)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_pad_token_id(0)
    w.add_add_bos_token(arch == "llama")
    w.add_chat_template("{% for m in messages %}{{ m['content'] }}{% endfor %}")

    def add(name, shape, quant=None):
        values = (rng.standard_normal(shape) * 0.1).astype(np.float32)
        if quant is None:
            w.add_tensor(name, values)
        else:
            w.add_tensor(name, quantize(values, quant), raw_dtype=quant)

    add("token_embd.weight", (len(tokens), width), Q.Q8_0)
    if not tied:
        add("output.weight", (len(tokens), width), Q.F16)
    add("output_norm.weight", (width,))
    for i in range(layers):
        at = f"blk.{i}."
        add(at + "attn_norm.weight", (width,))
        add(at + "ffn_norm.weight", (width,))
        add(at + "attn_q.weight", (heads * head, width), Q.Q4_1)
        add(at + "attn_k.weight", (kv_heads * head, width), Q.Q5_0)
        add(at + "attn_v.weight", (kv_heads * head, width), Q.Q5_1)
        add(at + "attn_output.weight", (width, heads * head), Q.Q4_0)
        if arch == "qwen2":
            for part, n in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
                add(at + f"attn_{part}.bias", (n * head,))
        add(at + "ffn_gate.weight", (hidden, width), Q.BF16)
        add(at + "ffn_up.weight", (hidden, width), Q.Q4_1)
        add(at + "ffn_down.weight", (width, hidden), Q.Q8_0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_spm(path):
    pieces = [("<unk>", 0, 2), ("<s>", 0, 3), ("</s>", 0, 3), ("<0x41>", 0, 6), ("\u2581", -9, 1),
              ("a", -9, 1), ("b", -9, 1), ("c", -9, 1), ("bc", -1, 1), ("ab", -1, 1),
              ("abc", -2, 1), ("\u2581a", -1, 1), ("\u2581ab", -3, 1), ("<user>", 0, 4)]
    w = gguf.GGUFWriter(path, "llama")
    w.add_block_count(1)
    w.add_context_length(8)
    w.add_embedding_length(4)
    w.add_feed_forward_length(4)
    w.add_head_count(2)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_tokenizer_model("llama")
    w.add_token_list([text for text, _, _ in pieces])
    w.add_token_scores([float(score) for _, score, _ in pieces])
    w.add_token_types([kind for _, _, kind in pieces])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_tensor("token_embd.weight", np.ones((len(pieces), 4), np.float16))
    w.add_tensor("output_norm.weight", np.ones(4, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    write_quants(out / "quants.gguf", np.random.default_rng(2))
    write_model(out / "tiny_llama.gguf", "llama", np.random.default_rng(3), True)
    write_model(out / "tiny_qwen2.gguf", "qwen2", np.random.default_rng(4), False)
    write_spm(out / "tiny_spm.gguf")


if __name__ == "__main__":
    main()
