#!/usr/bin/env python3
"""Write the starting corpora of the fuzz entries for JSON, safetensors and GGUF.

Needs: pip install numpy gguf
Example: python tests/goldens/make_corpus.py tests/fuzz/corpus
"""

import json
import pathlib
import struct
import sys

import gguf
import numpy as np

from make_gguf import write_spm


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def write_safetensors(out):
    files = {
        "two": safetensors({"__metadata__": {"format": "pt"}, "a": entry("F32", [2], 0, 8),
                            "b": entry("BF16", [1, 3], 8, 14)}, bytes(range(14))),
        "empty": safetensors({}),
        "scalar": safetensors({"s": entry("F64", [], 0, 8), "z": entry("I8", [0, 9], 8, 8)}, b"8" * 8),
        "overlap": safetensors({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}, b"6" * 6),
        "gap": safetensors({"a": entry("U8", [1], 2, 3)}, b"333"),
        "huge": safetensors({"a": entry("U8", [2 ** 62, 4], 0, 0)}),
        "twice": safetensors(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
                             b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"1"),
        "long": struct.pack("<Q", 2 ** 63) + b"{}",
        "deep": safetensors(b"[" * 3000),
    }
    for name, data in files.items():
        (out / name).write_bytes(data)


def write_json(out):
    files = {
        "config": b'{"model_type": "llama", "rope_scaling": {"factor": 8.0}, "x": [1, -2.5e-3, null]}',
        "bare": b'{"a": NaN, "b": [Infinity, -Infinity], "c": "NaN"}',
        "text": '"\\ud83d\\ude00 é \\u0000 \\n"'.encode(),
        "twice": b'{"a": 1, "a": {"a": 2}}',
        "numbers": b"[9223372036854775807, -9223372036854775808, 9223372036854775808, 1e999, 0.1, -0]",
        "deep": b"[" * 2100 + b"]" * 2100,
        "bytes": b'"\xff\xc0\x80\xed\xa0\x80"',
        "bom": b"\xef\xbb\xbf{}",
    }
    for name, data in files.items():
        (out / name).write_bytes(data)


def write_gguf(out):
    def string(text):
        return struct.pack("<Q", len(text)) + text

    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string(b"k")
    (out / "array_of_arrays").write_bytes(
        head + struct.pack("<IIQ", 9, 9, 2) + struct.pack("<IQBB", 0, 2, 7, 8) +
        struct.pack("<IQ", 8, 1) + string(b"x"))
    (out / "count").write_bytes(head + struct.pack("<IIQ", 9, 10, 2 ** 61))
    (out / "none").write_bytes(b"GGUF" + struct.pack("<IQQ", 2, 0, 0))

    write_spm(out / "pieces")
    # the smallest model that imports: one layer, one head
    w = gguf.GGUFWriter(out / "model", "llama")
    w.add_block_count(1)
    w.add_context_length(8)
    w.add_embedding_length(32)
    w.add_feed_forward_length(32)
    w.add_head_count(2)
    w.add_head_count_kv(1)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(["<s>", "a", "b", "ab"])
    w.add_token_types([3, 1, 1, 1])
    w.add_token_merges(["a b"])
    w.add_bos_token_id(0)
    w.add_add_bos_token(True)
    w.add_chat_template("{{ x }}")
    zero = np.zeros
    w.add_tensor("token_embd.weight", gguf.quants.quantize(zero((4, 32), np.float32),
                                                           gguf.GGMLQuantizationType.Q4_0),
                 raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    w.add_tensor("output_norm.weight", zero(32, np.float32))
    for part, rows in (("q", 32), ("k", 16)):
        w.add_tensor(f"blk.0.attn_{part}.weight",
                     gguf.quants.quantize(zero((rows, 32), np.float32),
                                          gguf.GGMLQuantizationType.Q8_0),
                     raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    w.add_tensor("rope_freqs.weight", np.ones(8, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    out = pathlib.Path(sys.argv[1])
    for name, write in (("json", write_json), ("safetensors", write_safetensors),
                        ("gguf", write_gguf)):
        (out / name).mkdir(parents=True, exist_ok=True)
        write(out / name)


if __name__ == "__main__":
    main()
