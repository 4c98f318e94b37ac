#!/usr/bin/env python3
"""Writes tests/data/families: tiny random models and what transformers computes with them.

    python make_families.py --out tests/data/families [--cases llama,qwen3]

Needs torch, transformers and safetensors; no test runs it. Each case is a Hugging Face
directory (config.json, model.safetensors) with config_v4.json (the same settings under the
older key names, where they differ), golden.json and golden.safetensors. The README in
tests/data/families describes the fields. One packed row holds several documents; the
reference runs each document alone, because packed documents must not see each other.
"""

import argparse
import copy
import json
import os
import pathlib
import sys
import zlib

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.core_model_loading import revert_weight_conversion

transformers.utils.logging.disable_progress_bar()
ADAMW = {"lr": 1e-3, "betas": [0.9, 0.95], "eps": 1e-6, "weight_decay": 0.1}
SAMPLES = 256
FULL = 256  # step tensors up to this many elements are stored whole
DOCS = (19, 6, 1, 14)


def rope(theta=10000.0, kind="default", **more):
    return {"rope_parameters": {"rope_theta": theta, "rope_type": kind, **more}}


LLAMA3 = rope(500.0, "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
YARN = rope(1000.0, "yarn", factor=4.0, original_max_position_embeddings=32, beta_fast=4.0,
            beta_slow=1.0)
WIDE = {"hidden_size": 64, "intermediate_size": 96, "vocab_size": 256}
# case: (model_type, changed settings, document lengths)
CASES = {
    "llama": ("llama", {**WIDE, **rope(), "rms_norm_eps": 1e-5}, DOCS),
    "llama_llama3": ("llama", {**LLAMA3, "tie_word_embeddings": True,
                               "max_position_embeddings": 256}, DOCS),
    "llama_bias_headdim": ("llama", {"attention_bias": True, "mlp_bias": True, "head_dim": 12},
                           DOCS),
    "llama_linear": ("llama", rope(10000.0, "linear", factor=4.0), DOCS),
    "llama_dynamic": ("llama", {**rope(10000.0, "dynamic", factor=2.0),
                                "max_position_embeddings": 8}, (19,)),
    "llama_yarn": ("llama", YARN, DOCS),
    "mistral": ("mistral", {"sliding_window": 8, "head_dim": 12}, DOCS),
    "qwen2": ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
              DOCS),
    "qwen2_tied": ("qwen2", {"tie_word_embeddings": True}, DOCS),
    "qwen3": ("qwen3", {"head_dim": 24}, DOCS),
    "qwen3_bias": ("qwen3", {"head_dim": 12, "attention_bias": True,
                             "tie_word_embeddings": True}, DOCS),
    "smollm3": ("smollm3", {"num_hidden_layers": 4, "no_rope_layer_interval": 2}, DOCS),
    "mixtral": ("mixtral", {"num_local_experts": 8, "num_experts_per_tok": 2}, DOCS),
    "qwen3_moe": ("qwen3_moe", {"head_dim": 12, "num_experts": 8, "num_experts_per_tok": 2,
                                "moe_intermediate_size": 24, "norm_topk_prob": True}, DOCS),
    "mixtral_aux": ("mixtral", {"num_local_experts": 6, "num_experts_per_tok": 2,
                                "output_router_logits": True, "router_aux_loss_coef": 0.5}, DOCS),
    "qwen3_moe_dense": ("qwen3_moe", {"head_dim": 12, "num_experts": 8, "num_experts_per_tok": 3,
                                      "moe_intermediate_size": 16, "norm_topk_prob": False,
                                      "num_hidden_layers": 3, "mlp_only_layers": [1],
                                      "output_router_logits": True,
                                      "router_aux_loss_coef": 0.25}, DOCS),
}
COMMON = {"vocab_size": 128, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
          "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
          "pad_token_id": None, "bos_token_id": 1, "eos_token_id": 2}


def noise(seed, name, shape):
    """Normal values that depend on the seed and the name only."""
    gen = torch.Generator().manual_seed(zlib.crc32(f"{seed}/{name}".encode()))
    return torch.randn(shape, generator=gen)


@torch.no_grad()
def build(model_type, settings, seed):
    """A float32 model where every weight matters: norms and biases are random as well."""
    config = AutoConfig.for_model(model_type, **copy.deepcopy({**COMMON, **settings}))
    config._experts_implementation = "eager"
    config.dtype = torch.float32
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    for name, param in model.named_parameters():
        value = noise(seed, name, param.shape)
        if "norm" in name:
            value = 1.0 + 0.25 * value
        elif name.endswith("bias"):
            value = 0.1 * value
        elif "embed_tokens" in name or "lm_head" in name:
            value = 0.08 * value
        else:
            value = value * (2.0 if ".gate." in name else 1.0) / param.shape[-1] ** 0.5
        param.copy_(value)
    return model


def make_row(vocab, docs, seed):
    """One packed row; about 15 % of the labels are masked, and each document's first one."""
    gen = torch.Generator().manual_seed(seed + 17)
    ids = torch.randint(3, vocab, (sum(docs),), generator=gen)
    labels = torch.where(torch.rand(len(ids), generator=gen) < 0.15, -100, ids)
    labels[:3] = -100
    starts = torch.tensor([0, *docs]).cumsum(0)
    labels[starts[:-1]] = -100
    positions = torch.cat([torch.arange(n) for n in docs])
    return {"input_ids": ids, "labels": labels, "position_ids": positions, "cu_seqlens": starts}


def auxiliary(model, outputs):
    """The router's loss over all documents of the row together, if the config asks for it."""
    if not getattr(model.config, "output_router_logits", False):
        return 0.0
    layers = tuple(torch.cat(parts) for parts in zip(*(o.router_logits for o in outputs)))
    function = sys.modules[type(model).__module__].load_balancing_loss_func
    return model.config.router_aux_loss_coef * function(layers, model.num_experts,
                                                        model.num_experts_per_tok)


def forward(model, row):
    """Logits [T, V] of the row, document by document, the token losses, their count, and what
    the router adds."""
    cu = row["cu_seqlens"].tolist()
    parts = [model(input_ids=row["input_ids"][None, a:b], use_cache=False,
                   position_ids=row["position_ids"][None, a:b])
             for a, b in zip(cu, cu[1:])]
    logits = torch.cat([part.logits[0] for part in parts])
    target = torch.cat([row["labels"][1:], torch.tensor([-100])])
    loss = F.cross_entropy(logits, target, ignore_index=-100, reduction="none")
    return logits, loss, int((target != -100).sum()), auxiliary(model, parts)


def gradients(model, row):
    model.zero_grad(set_to_none=False)
    logits, losses, count, aux = forward(model, row)
    mean = losses.sum() / count + aux
    mean.backward()
    return logits.detach(), losses.detach(), mean.item()


def on_disk(model, named):
    """In-memory names and layouts -> those of model.safetensors (experts apart)."""
    return {k: v.detach().contiguous() for k, v in revert_weight_conversion(model, named).items()}


def spared(name):
    """Norms and biases: the trainer applies no weight decay to them."""
    return "norm" in name or name.endswith("bias")


def train(model, row, spare):
    """Five AdamW steps on the same row: the losses, and the parameters after steps 1 and 5."""
    params = dict(model.named_parameters())
    groups = [{"params": [p for n, p in params.items() if not (spare and spared(n))]},
              {"params": [p for n, p in params.items() if spare and spared(n)],
               "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]],
                                  **{**ADAMW, "betas": tuple(ADAMW["betas"])})
    losses, shots = [], {}
    for step in range(1, 6):
        losses.append(gradients(model, row)[2])
        optimizer.step()
        if step in (1, 5):
            shots[step] = on_disk(model, {n: p.detach().clone() for n, p in params.items()})
    return losses, shots


@torch.no_grad()
def router_margin(model, row):
    """Smallest gap between the last chosen and the first refused expert (1 without experts)."""
    if not hasattr(model.config, "num_experts_per_tok"):
        return 1.0
    k = model.config.num_experts_per_tok
    cu, gap = row["cu_seqlens"].tolist(), 1.0
    for a, b in zip(cu, cu[1:]):
        out = model(input_ids=row["input_ids"][None, a:b], output_router_logits=True)
        for logits in out.router_logits:
            top = logits.topk(k + 1, -1).values
            gap = min(gap, float((top[:, k - 1] - top[:, k]).min()))
    return gap


def thin(tensor):
    """The whole tensor when small, else SAMPLES elements: j-th is flat[(j * numel) // SAMPLES]."""
    flat = tensor.reshape(-1)
    if flat.numel() <= FULL:
        return tensor.clone()
    return flat[torch.arange(SAMPLES) * flat.numel() // SAMPLES].clone()


def old_config(config):
    """config.json under the key names of transformers 4: rope_theta, rope_scaling, torch_dtype."""
    old = copy.deepcopy(config)
    params = old.pop("rope_parameters")
    old["rope_theta"] = params.pop("rope_theta")
    if params.get("rope_type", "default") != "default":
        old["rope_scaling"] = params
    old["torch_dtype"] = old.pop("dtype")
    if old["model_type"] == "qwen3_moe" and "num_local_experts" in old:
        old["num_experts"] = old.pop("num_local_experts")
    return old


def float64_noise(model, row, logits):
    """How far the float32 run is from a float64 one: what a tolerance must allow at least."""
    twin = copy.deepcopy(model).double()
    exact, _, _ = gradients(twin, row)
    rel = [float((p.grad.double() - q.grad).norm() / q.grad.norm())
           for p, q in zip(model.parameters(), twin.parameters()) if float(q.grad.norm()) > 1e-7]
    return {"logits_max_abs": float((logits.double() - exact).abs().max()),
            "grad_max_rel_norm": max(rel)}


def write_case(out, name, seed):
    model_type, settings, docs = CASES[name]
    model = build(model_type, settings, seed)
    row = make_row(model.config.vocab_size, docs, seed)
    pristine = copy.deepcopy(model)
    logits, token_loss, loss = gradients(model, row)
    grads = on_disk(model, {n: p.grad.clone() for n, p in model.named_parameters()})
    noise_figures = float64_noise(model, row, logits)
    trained = copy.deepcopy(pristine)
    losses, steps = train(trained, row, False)
    spared_losses, spared_steps = train(copy.deepcopy(pristine), row, True)
    if min(router_margin(pristine, row), router_margin(trained, row)) < 2e-3:
        return False  # a choice of experts that hangs on rounding is no reference
    case = out / name
    case.mkdir(parents=True, exist_ok=True)
    pristine.save_pretrained(case)
    (case / "generation_config.json").unlink(missing_ok=True)
    config = json.loads((case / "config.json").read_text())
    old = old_config(config)
    same = type(pristine.config).from_dict(copy.deepcopy(old))
    assert same.rope_parameters == pristine.config.rope_parameters, name
    (case / "config_v4.json").write_text(json.dumps(old, indent=2) + "\n")
    stored = load_file(case / "model.safetensors")
    arrays = {k: v.to(torch.int32).contiguous() for k, v in row.items()}
    arrays |= {"logits": logits.contiguous(), "token_loss": token_loss}
    table = {}
    for tensor, value in sorted(stored.items()):
        assert grads[tensor].shape == value.shape, tensor
        arrays[f"grad/{tensor}"] = grads[tensor]
        table[tensor] = {"shape": list(value.shape), "norm": float(value.double().norm()),
                         "grad_norm": float(grads[tensor].double().norm()),
                         "sampled": value.numel() > FULL, "no_decay": spared(tensor)}
        for prefix, shots in (("step", steps), ("spared_step", spared_steps)):
            for step, shot in shots.items():
                arrays[f"{prefix}{step}/{tensor}"] = thin(shot[tensor])
                table[tensor][f"{prefix}{step}_norm"] = float(shot[tensor].double().norm())
    save_file(arrays, case / "golden.safetensors")
    total = sum(float(g.double().norm()) ** 2 for g in grads.values()) ** 0.5
    golden = {"case": name, "model_type": model_type, "transformers": transformers.__version__,
              "torch": torch.__version__, "doc_lengths": list(docs), "n_tokens": sum(docs),
              "n_trained": int((token_loss != 0).sum()), "loss": loss,
              "loss_sum": float(token_loss.double().sum()), "grad_norm": total, "adamw": ADAMW,
              "step_losses": losses, "spared_step_losses": spared_losses,
              "float64_noise": noise_figures, "tensors": table}
    for file in case.iterdir():
        file.chmod(0o644)
    (case / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(f"{name:20} loss {loss:.5f} -> {losses[-1]:.4f}  grad norm {total:.4f}  "
          f"float64 {noise_figures['logits_max_abs']:.1e}"
          f"/{noise_figures['grad_max_rel_norm']:.1e}", flush=True)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--cases", default=",".join(CASES))
    args = parser.parse_args()
    torch.set_num_threads(1)  # one order of summation
    for name in args.cases.split(","):
        if not any(write_case(args.out, name, seed) for seed in range(7, 60)):
            raise SystemExit(f"{name}: no seed gives stable expert choices")


if __name__ == "__main__":
    main()
