#!/usr/bin/env python3
"""The peer of gpu_tool bench on the same card: PyTorch at the same shapes, in turn with ours.

    torch_peer_gpu.py GPU_TOOL [--rounds 3] [--device cuda] [--tokens 8192] [NAME...]

Each round asks `gpu_tool bench --serve`, which lives as long as this program, for one measurement, and then makes
PyTorch's. Calls take several sets of inputs in turn, so that no cache holds them, as ours do. Prints CSV lines
name,variant,metric,value,unit: medians of the times, and `speed`, the median over rounds of PyTorch's time by ours.
A product is torch.matmul (cuBLAS); attention is scaled_dot_product_attention by each backend that takes it, and
varlen_attn for packed documents; what else there is, is what torch.compile makes of the plain expression. Gradients of
weights are bf16 there and f32 here: twice the bytes written.
"""
import argparse
import statistics
import subprocess
import time

import torch
import torch.nn.functional as F

CACHES = 512 << 20


class Peer:
    """Inputs of one measurement: sets of tensors, and how one call is made from a set."""

    def __init__(self, make, call):
        self.make, self.call = make, call


def seconds_of(peer, device, window):
    """The median of five timings of many calls in a row, as gpu_tool does it."""
    first = peer.make()
    size = sum(t.numel() * t.element_size() for t in first if torch.is_tensor(t))
    sets = [first]
    if device == "cuda":
        sets += [peer.make() for _ in range(min(7, CACHES // max(size, 1)))]
        sync = torch.cuda.synchronize
    else:
        def sync():
            pass

    def run(n):
        sync()
        begin = time.perf_counter()
        for i in range(n):
            peer.call(*sets[i % len(sets)])
        sync()
        return (time.perf_counter() - begin) / n

    run(len(sets))
    once = run(len(sets))
    n = int(min(2000, max(1, window / once)))
    return statistics.median(run(n) for _ in range(5))


def peers(tokens, device):
    """{name of gpu_tool bench: {variant: Peer}}"""
    t, out = tokens, {}
    bf16, f32 = torch.bfloat16, torch.float32

    def rand(*shape, dtype=bf16, grad=False):
        return torch.empty(*shape, dtype=dtype, device=device).uniform_(-1.7, 1.7).requires_grad_(grad)

    def compiled(f):
        return torch.compile(f, dynamic=False) if device == "cuda" else f

    linear = {"square": (t, t), "q": (4096, 4096), "kv": (1024, 4096), "up": (14336, 4096), "down": (4096, 14336),
              "s_q": (576, 576), "s_up": (1536, 576)}  # what ours does not measure of them is left out
    kinds = {"fwd": lambda o, i: (lambda: (rand(t, i), rand(o, i)), lambda x, w: x @ w.T),
             "dx": lambda o, i: (lambda: (rand(t, o), rand(o, i)), lambda dy, w: dy @ w),
             "dw": lambda o, i: (lambda: (rand(t, o), rand(t, i)), lambda dy, x: dy.T @ x)}
    for name, shape in linear.items():
        for kind, make in kinds.items():
            row = f"gemm/{name}" if name == "square" else f"gemm/{name}_{kind}"
            out.setdefault(row, {"matmul": Peer(*make(*shape))})

    def attention(name, heads, kv, dim, docs):
        from torch.nn.attention import SDPBackend, sdpa_kernel
        b, n = docs, t // docs

        def inputs(grad):
            q, k, v = (rand(b, h, n, dim, grad=grad) for h in (heads, kv, kv))
            return q, k, v

        for backend in ("FLASH_ATTENTION", "CUDNN_ATTENTION") if device == "cuda" else ("MATH",):
            which = getattr(SDPBackend, backend)

            def forward(q, k, v, which=which):
                with sdpa_kernel(which):
                    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

            def with_output(forward=forward):
                q, k, v = inputs(True)
                o = forward(q, k, v)
                return q, k, v, o, torch.randn_like(o)

            def backward(q, k, v, o, do):
                torch.autograd.grad(o, (q, k, v), do, retain_graph=True)

            label = "sdpa_" + backend.split("_")[0].lower()
            out.setdefault(f"attn_fwd/{name}", {})[label] = Peer(lambda: inputs(False), forward)
            out.setdefault(f"attn_bwd/{name}", {})[label] = Peer(with_output, backward)

    attention("1x8192", 32, 8, 128, 1)
    attention("4x2048", 32, 8, 128, 4)
    attention("s_1x8192", 9, 3, 64, 1)

    def mixed():
        from torch.nn.attention.varlen import varlen_attn
        ends = torch.tensor([0, 366, 18, 85, 146, 8, 250, 4, 123, 24]).cumsum(0) * t // 1024
        cu = ends.to(device=device, dtype=torch.int32)
        most = int((ends[1:] - ends[:-1]).max())

        def inputs(grad):  # it takes as many key heads as query heads
            return tuple(rand(t, 32, 128, grad=grad) for _ in range(3))

        def forward(q, k, v):
            return varlen_attn(q, k, v, cu, cu, most, most, window_size=(-1, 0))  # causal

        def with_output():
            q, k, v = inputs(True)
            o = forward(q, k, v)
            return q, k, v, o, torch.randn_like(o)

        out["attn_fwd/mixed"] = {"varlen": Peer(lambda: inputs(False), forward)}
        out["attn_bwd/mixed"] = {"varlen": Peer(with_output, lambda q, k, v, o, do: torch.autograd.grad(
            o, (q, k, v), do, retain_graph=True))}

    if device == "cuda":
        try:
            mixed()
        except ImportError:
            pass

    norm = compiled(lambda x, w: F.rms_norm(x, (x.shape[-1],), w, 1e-5))
    glu = compiled(lambda g, u: F.silu(g) * u)

    def rotate(x, c, s):
        a, b = x.chunk(2, -1)
        return torch.cat((a * c - b * s, b * c + a * s), -1)

    rope = compiled(rotate)
    entropy = compiled(lambda x, y: F.cross_entropy(x, y, reduction="none"))
    out["norm_fwd"] = {"compiled": Peer(lambda: (rand(t, 4096), rand(4096)), norm)}
    out["glu_fwd"] = {"compiled": Peer(lambda: (rand(t, 14336), rand(t, 14336)), glu)}
    out["rope"] = {"compiled": Peer(lambda: (rand(t, 32, 128), rand(t, 1, 64), rand(t, 1, 64)), rope)}
    out["ce_fwd"] = {"compiled": Peer(lambda: (rand(t // 8, 128256, dtype=f32),
                                               torch.randint(0, 576, (t // 8,), device=device)), entropy)}
    out["embed_fwd"] = {"embedding": Peer(lambda: (torch.randint(0, 576, (t,), device=device), rand(128256, 4096)),
                                          F.embedding)}
    out["cast"] = {"to": Peer(lambda: (rand(t * 16384, dtype=f32),), lambda x: x.to(bf16))}
    out["add"] = {"add": Peer(lambda: (rand(t * 16384), rand(t * 16384)), torch.add)}
    out["copy"] = {"copy_": Peer(lambda: (rand(t * 16384, dtype=f32), rand(t * 16384, dtype=f32)),
                                 lambda x, y: x.copy_(y))}

    def adamw():
        p = rand(t * 16384, dtype=f32, grad=True)
        p.grad = torch.full_like(p, 1e-3)
        return p, torch.optim.AdamW([p], lr=1e-5, weight_decay=0.01, fused=True)

    out["adamw"] = {"fused": Peer(adamw, lambda p, o: o.step())}
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("tool")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--window", type=float, default=0.05)
    args = parser.parse_intermixed_args()
    ours = subprocess.Popen([args.tool, "bench", "--serve", "--backend", args.device, "--tokens", str(args.tokens),
                             "--window", str(args.window)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    print("name,variant,metric,value,unit")
    for name, variants in peers(args.tokens, args.device).items():
        if args.names and not any(name.startswith(n) for n in args.names):
            continue
        mine, times, ratios = [], {v: [] for v in variants}, {v: [] for v in variants}
        for _ in range(args.rounds):
            ours.stdin.write(name + "\n")
            ours.stdin.flush()
            answer = ours.stdout.readline().split()
            if len(answer) != 4:
                raise SystemExit(f"gpu_tool bench ended at {name}: {answer}")
            if float(answer[1]) == 0.0:
                break
            mine.append(float(answer[1]))
            for label, peer in variants.items():
                try:
                    times[label].append(seconds_of(peer, args.device, args.window))
                    ratios[label].append(times[label][-1] / mine[-1])
                except Exception as e:  # noqa: BLE001 - a backend that refuses a shape is no reason to stop
                    print(f"{name} {label}: {type(e).__name__}: {str(e).splitlines()[0]}")
                if args.device == "cuda":
                    torch.cuda.empty_cache()
        if not mine:
            continue
        print(f"{name},axl-dist,time,{1e6 * statistics.median(mine):.6g},us")
        for label, found in times.items():
            if found:
                print(f"{name},torch_{label},time,{1e6 * statistics.median(found):.6g},us")
                print(f"{name},torch_{label},speed,{statistics.median(ratios[label]):.4g},axl-dist/torch", flush=True)
    ours.stdin.close()
    ours.wait()


if __name__ == "__main__":
    main()
