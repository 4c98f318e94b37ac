#!/usr/bin/env python3
"""The peer of benchmarks/train_step: transformers + PyTorch, one process, all cores or one GPU.

    python torch_peer.py --model DIR [--tokens 1024] [--precision fp32] [--compile] [--steps 4]

Full fine-tuning with sdpa attention and fused AdamW on one packed row of --tokens tokens, in
documents of 128 that do not see each other. Precisions: fp32; autocast (bf16 compute, fp32
masters and moments); pure (weights, gradients and moments in bf16, no masters). Prints CSV lines
name,variant,metric,value,unit. The first step warms up and is not counted.
"""

import argparse
import os
import statistics
import time

# Some machines announce AMX and then refuse its instructions.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def seconds_since_exec():
    with open("/proc/self/stat") as stat:
        started = int(stat.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    with open("/proc/uptime") as uptime:
        return float(uptime.read().split()[0]) - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--document", type=int, default=128)
    parser.add_argument("--precision", choices=["fp32", "autocast", "pure"], default="fp32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cpu", help="cuda: layer by layer where compiled, so that it takes seconds")
    parser.add_argument("--steps", type=int, default=4, help="counted steps, after the first")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()

    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    dtype = torch.bfloat16 if args.precision == "pure" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype,
                                                 attn_implementation="sdpa").to(args.device)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.0, fused=True)
    on_cpu = args.device == "cpu"
    forward = torch.compile(model) if args.compile and on_cpu else model
    if args.compile and not on_cpu:
        for layer in model.model.layers:
            layer.compile()
    ids = torch.randint(3, model.config.vocab_size, (1, args.tokens)).to(args.device)
    positions = (torch.arange(args.tokens) % args.document)[None].to(args.device)
    labels = ids.clone()
    labels[positions == 0] = -100

    seconds = []
    first_forward = None
    for step in range(args.steps + 1):
        start = time.perf_counter()
        if first_forward is None:
            first_forward = seconds_since_exec()
        with torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "autocast"):
            loss = forward(input_ids=ids, position_ids=positions, labels=labels,
                           use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if not on_cpu:
            torch.cuda.synchronize()
        if step > 0:
            seconds.append(time.perf_counter() - start)
        else:
            first_step = seconds_since_exec()
    median = statistics.median(seconds)
    variant = f"{args.precision}{'_compiled' if args.compile else ''}_{args.tokens}"
    for metric, value, unit in (("throughput", args.tokens / median, "tokens/s"),
                                ("step", median, "s"), ("first_forward", first_forward, "s"),
                                ("first_step_done", first_step, "s"),
                                ("loss", loss.item(), "nats")):
        print(f"torch,{variant},{metric},{value:.6g},{unit}", flush=True)


if __name__ == "__main__":
    main()
