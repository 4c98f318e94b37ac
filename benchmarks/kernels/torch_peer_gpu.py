#!/usr/bin/env python3
"""The peer of gpu_tool bench on the same card: PyTorch at the same shapes, in turn with ours.

    torch_peer_gpu.py GPU_TOOL [--rounds 3] [--device cuda] [--tokens 8192] [NAME...]

Each round asks `gpu_tool bench --serve`, which lives as long as this program, for one measurement of each way that we
have (axl-dist: what the backend chooses; _own, _mma, _cudnn: that alone), and then makes PyTorch's. Calls take several
sets of inputs in turn, so that no cache holds them, as ours do. Prints CSV lines name,variant,metric,value,unit: medians
of the times, and `speed`, the median over rounds of PyTorch's time by axl-dist's; what is not there is a JSON line with
the reason. A product is torch.matmul (cuBLAS), of 8-bit floats torch._scaled_mm with scales of rows; attention is
scaled_dot_product_attention by each backend that takes it, and varlen_attn for packed documents; what else there is, is
what torch.compile makes of the plain expression. Gradients of weights are bf16 there and f32 here: twice the bytes
written. The weight of an 8-bit input gradient lies turned there, and is turned within the call here.
"""
import argparse
import inspect
import json
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

        known = inspect.signature(varlen_attn).parameters  # they change from release to release
        causal = {"window_size": (-1, 0)} if "window_size" in known else {"is_causal": True}
        kv = 8 if "enable_gqa" in known else 32
        if kv == 8:
            causal["enable_gqa"] = True

        def inputs(grad):
            return tuple(rand(t, heads, 128, grad=grad) for heads in (32, kv, kv))

        def forward(q, k, v):
            return varlen_attn(q, k, v, cu, cu, most, most, **causal)

        def with_output():
            q, k, v = inputs(True)
            o = forward(q, k, v)
            return q, k, v, o, torch.randn_like(o)

        label = "varlen" if kv == 8 else "varlen_32_key_heads"
        out["attn_fwd/mixed"] = {label: Peer(lambda: inputs(False), forward)}
        out["attn_bwd/mixed"] = {label: Peer(with_output, lambda q, k, v, o, do: torch.autograd.grad(
            o, (q, k, v), do, retain_graph=True))}

    if device == "cuda":
        try:
            mixed()
        except ImportError:
            pass

    def eight(name, n, k):
        e4m3 = torch.float8_e4m3fn

        def inputs():
            return rand(t, k).to(e4m3), rand(n, k).to(e4m3), rand(t, 1, dtype=f32), rand(1, n, dtype=f32)

        out[f"gemm_fp8/{name}"] = {"scaled_mm": Peer(inputs, lambda x, w, sx, sw: torch._scaled_mm(
            x, w.t(), scale_a=sx, scale_b=sw, out_dtype=bf16, use_fast_accum=False))}

    if device == "cuda":
        eight("square", t, t)
        eight("q_fwd", 4096, 4096)
        eight("up_fwd", 14336, 4096)
        eight("up_dx", 4096, 14336)
        eight("down_fwd", 4096, 14336)

    linear = {"square": (t, t), "q": (4096, 4096), "kv": (1024, 4096), "up": (14336, 4096), "down": (4096, 14336),
              "s_q": (576, 576), "s_up": (1536, 576)}  # what ours does not measure of them is left out
    kinds = {"fwd": lambda o, i: (lambda: (rand(t, i), rand(o, i)), lambda x, w: x @ w.T),
             "dx": lambda o, i: (lambda: (rand(t, o), rand(o, i)), lambda dy, w: dy @ w),
             "dw": lambda o, i: (lambda: (rand(t, o), rand(t, i)), lambda dy, x: dy.T @ x)}
    for name, shape in linear.items():
        for kind, make in kinds.items():
            row = f"gemm/{name}" if name == "square" else f"gemm/{name}_{kind}"
            out.setdefault(row, {"matmul": Peer(*make(*shape))})

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


WAYS = {"attn_fwd": ("cudnn", "mma"), "attn_bwd": ("cudnn", "mma"), "gemm": ("own",), "gemm_fp8": ("own",)}


class Ours:
    """gpu_tool bench --serve. It ends when the GPU failed it, and begins anew with the next name."""

    def __init__(self, args):
        self.command = [args.tool, "bench", "--serve", "--backend", args.device, "--tokens", str(args.tokens),
                        "--window", str(args.window)]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self, name):
        """(seconds, ""), or (0, why it cannot be measured)."""
        for _ in range(2):
            answer = []
            try:
                self.process.stdin.write(name + "\n")
                self.process.stdin.flush()
                answer = self.process.stdout.readline().split(maxsplit=4)
            except BrokenPipeError:
                pass
            if len(answer) >= 4:
                return float(answer[1]), answer[4].strip() if len(answer) > 4 else ""
            self.start()
        return 0, "gpu_tool bench ended"


def ways_of(name):
    """{variant: name that gpu_tool bench knows, or not}"""
    group, _, shape = name.partition("/")
    return {"axl-dist": name} | {f"axl-dist_{way}": f"{group}_{way}/{shape}" for way in WAYS.get(group, ())}


def measure(name, variants, ours, args):
    """The times of each variant, a list of rounds."""
    times = {}

    def note(label, seconds, why):
        if seconds > 0:
            times.setdefault(label, []).append(seconds)
            return
        gone.add(label)
        if why:
            print(json.dumps({"name": name, "variant": label, "outcome": "skipped", "text": why}), flush=True)

    gone = set()
    for _ in range(args.rounds):
        for label, row in ways_of(name).items():
            if label not in gone:
                note(label, *ours.seconds(row))
        if "axl-dist" in gone:
            break
        for label, peer in variants.items():
            label = f"torch_{label}"
            if label in gone:
                continue
            try:
                note(label, seconds_of(peer, args.device, args.window), "")
            except Exception as e:  # noqa: BLE001 - a backend that refuses a shape is no reason to stop
                note(label, 0, f"{type(e).__name__}: {(str(e).splitlines() or [''])[0]}")
            if args.device == "cuda":
                torch.cuda.empty_cache()
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("tool")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--window", type=float, default=0.05)
    args = parser.parse_intermixed_args()
    ours = Ours(args)
    print("name,variant,metric,value,unit")
    for name, variants in peers(args.tokens, args.device).items():
        if args.names and not any(name.startswith(n) for n in args.names):
            continue
        times = measure(name, variants, ours, args)
        for label, found in times.items():
            print(f"{name},{label},time,{1e6 * statistics.median(found):.6g},us")
            if label.startswith("torch"):
                speed = statistics.median(theirs / mine for theirs, mine in zip(found, times["axl-dist"]))
                print(f"{name},{label},speed,{speed:.4g},axl-dist/torch", flush=True)
    ours.process.kill()
    ours.process.wait()


if __name__ == "__main__":
    main()
