"""axl-dist plan beside the run it speaks of: memory by class, bytes by operation, and the memory of the process.

    test_plan.py AXL_DIST MPIRUN... -- [unittest arguments]
"""

import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from array import array

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tiny

D, F, V, L, H, HK, LEN = 512, 1536, 8192, 6, 8, 4, 256
KEYS = {"weights": "weights", "gradients": "gradients", "moments": "moments", "gathered weights": "gathered_weights",
        "gradients in flight": "gradients_in_flight", "scratch": "scratch", "head": "head"}


def tensors():
    yield "model.embed_tokens.weight", (V, D)
    for n in range(L):
        at = f"model.layers.{n}."
        for name, rows in ("q", D), ("k", D * HK // H), ("v", D * HK // H), ("o", D):
            yield at + f"self_attn.{name}_proj.weight", (rows, D)
        for name in "input_layernorm", "post_attention_layernorm":
            yield at + name + ".weight", (D,)
        for name, shape in (("gate", (F, D)), ("up", (F, D)), ("down", (D, F))):
            yield at + f"mlp.{name}_proj.weight", shape
    yield "model.norm.weight", (D,)


def make_model(path):
    """Weights of a size that a process is measured by; their values repeat."""
    os.makedirs(path)
    rng = random.Random(1)
    block = array("f", (rng.gauss(0.0, 0.03) for _ in range(1 << 14))).tobytes()
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, shape in sorted(tensors()):
        n = 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + n]}
        blobs.append((block * (n // len(block) + 1))[:n])
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(path, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for blob in blobs:
            f.write(blob)
    config = {"model_type": "llama", "vocab_size": V, "hidden_size": D, "intermediate_size": F, "num_hidden_layers": L,
              "num_attention_heads": H, "num_key_value_heads": HK, "max_position_embeddings": 4096,
              "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True, "torch_dtype": "float32"}
    with open(os.path.join(path, "config.json"), "w") as f:
        json.dump(config, f)


def make_data(path, rows=48):
    """Tokenized documents that fill their rows."""
    rng = random.Random(2)
    with open(path, "w") as f:
        for _ in range(rows):
            ids = [rng.randrange(3, V) for _ in range(LEN)]
            f.write(json.dumps({"input_ids": ids, "labels": ids, "attention_mask": [1] * LEN}) + "\n")


def is_sanitized(program):
    """The address sanitizer keeps memory of its own beside that of the process."""
    with open(program, "rb") as f:
        return b"__asan_init" in f.read()


class PlanIsRun(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="axl-plan-")
        make_model(os.path.join(cls.dir, "model"))
        make_data(os.path.join(cls.dir, "rows.jsonl"))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def config(self, **keys):
        keys = {"base_model": self.path("model"), "output_dir": self.path("out"), "sequence_len": LEN,
                "datasets": [{"path": self.path("rows.jsonl")}], "dataset_prepared_path": self.path("prepared"),
                "sample_packing": True, "sample_packing_bin_size": 16, "micro_batch_size": 1,
                "gradient_accumulation_steps": 1, "max_steps": 2, "learning_rate": 1e-5, "bf16": False,
                "logging_steps": 1, "save_strategy": "no"} | keys
        with open(self.path("run.yaml"), "w") as f:
            json.dump(keys, f)
        shutil.rmtree(self.path("out"), ignore_errors=True)
        return self.path("run.yaml")

    def run_and_plan(self, ranks, **keys):
        config = self.config(**keys)
        plan = subprocess.run([AXL, "plan", config, "--ranks", str(ranks), "--cluster", "cpu", "--json"],
                              check=True, capture_output=True, text=True)
        run = subprocess.run([*MPIRUN, "-np", str(ranks), AXL, config], check=True, capture_output=True, text=True)
        with open(self.path("out/metrics.jsonl")) as f:
            metrics = [json.loads(line) for line in f]
        return json.loads(plan.stdout), run.stdout + run.stderr, metrics

    def check(self, ranks, **keys):
        plan, log, metrics = self.run_and_plan(ranks, **keys)
        line = re.search(r"plan, MiB a rank: (.*)", log)[1]
        for name, value in re.findall(r"([a-z ]+?) ([0-9.]+)(?:,|$)", line):
            name = name.strip()
            if name in KEYS:
                self.assertAlmostEqual(plan["memory_bytes"][KEYS[name]] / 2**20, float(value), delta=0.051, msg=name)
            elif name == "sum":
                total = float(value)
            elif name == "workspace of kernels": # untouched pages of it cost a host nothing: it is not in the plan
                workspace = float(value)
        self.assertAlmostEqual(plan["memory_bytes"]["tensors"] / 2**20, total - workspace, delta=0.11)
        planned, taken = re.search(r"memory, MiB a rank: planned (\S+), taken (\S+),", log).groups()
        self.assertEqual([planned, float(planned)], [taken, total])
        self.assertEqual(plan["comm_bytes"], metrics[0]["comm_bytes"])
        self.assertEqual(plan["tokens"], metrics[0]["tokens"])
        # the model's operations are the plan's; what they are counted against, in four digits
        peak = float(re.search(r"mfu counts against (\S+) TFLOP/s a rank: products measured", log)[1]) * 1e12 * ranks
        for row in metrics:
            self.assertAlmostEqual(row["mfu"] * row["step_seconds"] * peak / (plan["flops_per_token"] * row["tokens"]),
                                   1.0, delta=1e-3)
        measured = max(m["peak_memory_bytes"] for m in metrics)
        off = plan["memory_bytes"]["sum"] / measured - 1
        print(f"{ranks} ranks {keys}: planned {plan['memory_bytes']['sum'] / 2**20:.1f} MiB, "
              f"process {measured / 2**20:.1f}, {100 * off:+.1f} %")
        if not is_sanitized(AXL):
            self.assertLess(abs(off), 0.05)

    def test_one_rank(self):
        self.check(1)

    def test_shards_and_accumulation(self):
        self.check(2, micro_batch_size=2, gradient_accumulation_steps=2, gradient_checkpointing=True)

    def test_replicas(self):
        self.check(2, dp_replicate_size=2, dp_shard_size=1, fsdp_config={"reshard_after_forward": False})

    def test_tensor_parallel(self):
        self.check(2, tensor_parallel_size=2)

    def test_context_parallel(self):
        self.check(4, context_parallel_size=2, gradient_checkpointing=True, selective_checkpointing=True)

    def test_linear_layers_in_8_bits(self):
        plan, _, in_8_bits = self.run_and_plan(2, fp8=True, bf16=True, gradient_checkpointing=True)
        _, _, in_16_bits = self.run_and_plan(2, bf16=True)
        self.assertEqual(plan["comm_bytes"], in_8_bits[0]["comm_bytes"])
        for got, want in zip(in_8_bits, in_16_bits):
            self.assertNotEqual(got["loss"], want["loss"])
            self.assertLess(abs(got["loss"] / want["loss"] - 1), 0.01)

    def check_weights(self, model, **keys):
        """The plan's weights are those of a run of this model."""
        plan, log, _ = self.run_and_plan(1, base_model=model, **keys)
        line = re.search(r"plan, MiB a rank: (.*)", log)[1]
        weights = float(re.search(r"weights ([0-9.]+)", line)[1])
        self.assertAlmostEqual(plan["memory_bytes"]["weights"] / 2**20, weights, delta=0.051)
        return plan["memory_bytes"]["weights"]

    def test_new_tokens_make_the_model_larger(self):
        model = self.path("tiny")
        tiny.make_model(model)
        with open(self.path("texts.jsonl"), "w") as f:
            f.writelines(json.dumps({"text": "one two three four five six seven eight " * 20}) + "\n" for _ in range(64))
        data = {"datasets": [{"path": self.path("texts.jsonl"), "type": "completion"}]}
        few = self.check_weights(model, **data)
        many = self.check_weights(model, **data, tokens=[f"<t{i}>" for i in range(20000)],
                                  resize_token_embeddings_to_32x=True)
        rows = (many - few) / (4 * tiny.D)
        self.assertGreater(rows, 19000)
        with open(os.path.join(model, "tokenizer.json")) as f:
            tokens = 20000 + 1 + max(t["id"] for t in json.load(f)["added_tokens"])
        self.assertGreaterEqual(rows + tiny.V, tokens - 1)
        self.assertEqual((rows + tiny.V) % 32, 0)
        # without a tokenizer the rows of config.json stand, and a note says so
        for name in os.listdir(model):
            if name.startswith("token"):
                os.remove(os.path.join(model, name))
        config = self.config(base_model=model, tokens=["<t>"])
        plan = subprocess.run([AXL, "plan", config, "--ranks", "1", "--json"], check=True, capture_output=True, text=True)
        self.assertIn("no tokenizer in", plan.stderr)
        self.assertEqual(json.loads(plan.stdout)["memory_bytes"]["weights"], few)

    def test_a_gguf_file_needs_no_import(self):
        gguf = os.path.join(tiny.HERE, "..", "data", "io", "tiny_llama.gguf")
        config = self.config(base_model=gguf, sequence_len=64)
        plan = subprocess.run([AXL, "plan", config, "--ranks", "1", "--json"], check=True, capture_output=True,
                              text=True, env=os.environ | {"TMPDIR": self.dir})
        self.assertFalse(os.path.exists(self.path("prepared/models")))
        self.assertEqual([n for n in os.listdir(self.dir) if n.startswith("axl-plan")], [])
        folder = self.path("imported")
        subprocess.run([AXL, "import", gguf, "-o", folder], check=True, capture_output=True)
        config = self.config(base_model=folder, sequence_len=64)
        same = subprocess.run([AXL, "plan", config, "--ranks", "1", "--json"], check=True, capture_output=True, text=True)
        self.assertEqual(json.loads(plan.stdout)["memory_bytes"], json.loads(same.stdout)["memory_bytes"])


if __name__ == "__main__":
    split = sys.argv.index("--")
    AXL, MPIRUN = sys.argv[1], sys.argv[2:split]
    unittest.main(argv=[sys.argv[0], *sys.argv[split + 1:]])
