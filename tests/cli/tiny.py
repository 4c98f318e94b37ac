"""A tiny random Llama model with a real tokenizer, made without any package, and readers of what runs write."""

import array
import json
import os
import random
import shutil
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
TOKENIZER = os.path.join(HERE, "..", "data", "data", "tokenizer")
D, F, V, L, H, HK = 32, 64, 640, 3, 4, 2  # hidden, ffn, vocab, layers, heads, key/value heads


def mlp(at, experts):
    """A dense mlp, or the router and the experts of Mixtral."""
    if experts == 0:
        yield at + "mlp.gate_proj.weight", (F, D)
        yield at + "mlp.up_proj.weight", (F, D)
        yield at + "mlp.down_proj.weight", (D, F)
        return
    yield at + "block_sparse_moe.gate.weight", (experts, D)
    for e in range(experts):
        yield at + f"block_sparse_moe.experts.{e}.w1.weight", (F, D)
        yield at + f"block_sparse_moe.experts.{e}.w2.weight", (D, F)
        yield at + f"block_sparse_moe.experts.{e}.w3.weight", (F, D)


def tensors(tied=True, experts=0):
    head = D // H
    yield "model.embed_tokens.weight", (V, D)
    for n in range(L):
        at = f"model.layers.{n}."
        yield at + "input_layernorm.weight", (D,)
        yield at + "self_attn.q_proj.weight", (H * head, D)
        yield at + "self_attn.k_proj.weight", (HK * head, D)
        yield at + "self_attn.v_proj.weight", (HK * head, D)
        yield at + "self_attn.o_proj.weight", (D, H * head)
        yield at + "post_attention_layernorm.weight", (D,)
        yield from mlp(at, experts)
    yield "model.norm.weight", (D,)
    if not tied:
        yield "lm_head.weight", (V, D)


def make_model(path, tokenizer=True, seed=1, experts=0):
    rng = random.Random(seed)
    os.makedirs(path, exist_ok=True)
    header, blob = {"__metadata__": {"format": "pt"}}, b""
    for name, shape in sorted(tensors(experts=experts)):
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        scale, shift = (0.1, 1.0) if len(shape) == 1 else (0.08, 0.0)
        data = array.array("f", (shift + rng.gauss(0.0, scale) for _ in range(count))).tobytes()
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(blob), len(blob) + len(data)]}
        blob += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(path, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + blob)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": V, "hidden_size": D,
              "intermediate_size": F, "num_hidden_layers": L, "num_attention_heads": H,
              "num_key_value_heads": HK, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
              "rope_theta": 10000.0, "tie_word_embeddings": True, "torch_dtype": "float32",
              "bos_token_id": 601, "eos_token_id": 603}
    if experts > 0:
        config |= {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "num_local_experts": experts,
                   "num_experts_per_tok": 2, "output_router_logits": True, "router_aux_loss_coef": 0.1}
    with open(os.path.join(path, "config.json"), "w") as f:
        json.dump(config, f, indent=2)
    if tokenizer:
        for name in os.listdir(TOKENIZER):
            shutil.copy(os.path.join(TOKENIZER, name), path)


def crc32c(data):
    """Bit by bit, by the definition."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def proto(data):
    """{field: [values]} of one protobuf message; messages in it stay bytes."""
    fields, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte, at = data[at], at + 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            value = varint()
        else:
            n = {1: 8, 5: 4}.get(key & 7) or varint()
            value, at = data[at:at + n], at + n
        fields.setdefault(key >> 3, []).append(value)
    return fields


def read_events(path):
    """[(step, {tag: value})] of the TensorBoard event files in a folder, oldest first, checksums checked."""
    events = []
    for name in sorted(n for n in os.listdir(path) if n.startswith("events.out.tfevents.")):
        with open(os.path.join(path, name), "rb") as f:
            data = f.read()
        at = 0
        while at < len(data):
            (n, crc), body = struct.unpack_from("<QI", data, at), data[at + 12:at + 12 + struct.unpack_from("<Q", data, at)[0]]
            assert crc == crc32c(data[at:at + 8])
            assert struct.unpack_from("<I", data, at + 12 + n)[0] == crc32c(body)
            at += 16 + n
            event = proto(body)
            for summary in event.get(5, []):
                values = [proto(v) for v in proto(summary)[1]]
                events.append((event.get(2, [0])[0],
                               {v[1][0].decode(): struct.unpack("<f", v[2][0])[0] for v in values}))
    return events


def read_weights(path):
    """{name: list of floats} of a model directory with F32 weights."""
    with open(os.path.join(path, "model.safetensors"), "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(n))
        blob = f.read()
    out = {}
    for name, e in header.items():
        if name != "__metadata__":
            a, b = e["data_offsets"]
            out[name] = array.array("f", blob[a:b])
    return out


def write_weights(path, weights):
    """Other numbers for the tensors of a model directory."""
    path = os.path.join(path, "model.safetensors")
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        text = f.read(n)
        blob = bytearray(f.read())
    for name, e in json.loads(text).items():
        if name in weights:
            blob[e["data_offsets"][0]:e["data_offsets"][1]] = weights[name].tobytes()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", n) + text + blob)


def read_metrics(out_dir, key="loss"):
    """{step: value} of the last line of each step that has the key."""
    values = {}
    with open(os.path.join(out_dir, "metrics.jsonl")) as f:
        for line in f:
            record = json.loads(line)
            if key in record:
                values[record["step"]] = record[key]
    return values


def make_tokenized(path, lengths, seed=2, largest_id=600):
    """Pre-tokenized rows; the first third of each is not trained."""
    rng = random.Random(seed)
    with open(path, "w") as f:
        for n in lengths:
            ids = [rng.randrange(5, largest_id) for _ in range(n)]
            labels = [-100 if i < n // 3 else t for i, t in enumerate(ids)]
            f.write(json.dumps({"input_ids": ids, "attention_mask": [1] * n, "labels": labels}) + "\n")
