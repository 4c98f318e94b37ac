#!/usr/bin/env python3
"""Every attn_implementation trains a tiny model through the YAML: test_attention.py AXL_DIST MPIRUN..."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import tiny

CUT = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
PROGRAM, MPIRUN = sys.argv[1], sys.argv[2:CUT]
ENV = dict(os.environ, OMP_NUM_THREADS="1")
YAML = """
base_model: {top}/model
datasets: [{{path: {top}/data.jsonl, type: alpaca}}]
output_dir: {top}/out
dataset_prepared_path: {top}/prepared
sequence_len: 256
micro_batch_size: 2
gradient_accumulation_steps: 1
learning_rate: 3.0e-3
optimizer: adamw_torch
max_steps: 6
logging_steps: 1
save_strategy: "no"
bf16: {bf16}
sample_packing: {packing}
"""
# value, further keys, and how far its losses may be from sdpa's: 0 is the same digits, None another function
VALUES = [
    ("eager", "", 2e-4),
    ("flash_attention_2", "", 0.0),
    ("flash_attention_3", "", 0.0),
    ("kernels-community/flash-attn2", "", 0.0),
    ("flex_attention", "", 0.0),
    ("flex_attention", "flex_mask: prefix", None),
    ("flex_attention", "flex_mask: sliding\nflex_window: 9", None),
    ("xformers", "", 0.0),
    ("sage", "", 1e-3),
    ("s2", "", None),
    ("fp8", "", 2e-2),
]


class Attention(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.top = tempfile.mkdtemp(prefix="axl_attention_")
        tiny.make_model(os.path.join(cls.top, "model"))
        words = ["red", "blue", "cat", "dog", "tree"]
        with open(os.path.join(cls.top, "data.jsonl"), "w") as f:
            for i in range(40):
                say = " ".join(words[(i + k * k) % 5] for k in range(3 + i))
                f.write(json.dumps({"instruction": "say " + say, "output": say[::-1][: 40 + i]}) + "\n")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.top)

    def run_yaml(self, value, more="", bf16="false", packing="true", ranks=1, command="train"):
        shutil.rmtree(os.path.join(self.top, "out"), ignore_errors=True)
        path = os.path.join(self.top, "run.yaml")
        with open(path, "w") as f:
            f.write(YAML.format(top=self.top, bf16=bf16, packing=packing))
            f.write(f"attn_implementation: {value}\n{more}\n")
        start = [*MPIRUN, "-np", str(ranks)] if ranks > 1 else []
        return subprocess.run([*start, PROGRAM, command, path], capture_output=True, text=True, env=ENV)

    def losses(self, *args, **kwargs):
        p = self.run_yaml(*args, **kwargs)
        self.assertEqual(p.returncode, 0, p.stdout + p.stderr)
        with open(os.path.join(self.top, "out", "metrics.jsonl")) as f:
            return [row["loss"] for row in map(json.loads, f) if "loss" in row]

    def test_each_value_trains(self):
        for bf16 in ("false", "true"):
            same = self.losses("sdpa", bf16=bf16)
            for value, more, far in VALUES:
                with self.subTest(value=value, more=more, bf16=bf16):
                    packing = "false" if value == "s2" else "true"
                    got = self.losses(value, more, bf16=bf16, packing=packing)
                    self.assertEqual(len(got), 6)
                    self.assertLess(got[-1], got[0])
                    off = max(abs(a - b) for a, b in zip(got, same))
                    if far is None:
                        self.assertGreater(off, 1e-3)
                        continue
                    rounds = bf16 == "true" and (far > 0 or value == "xformers")
                    self.assertLessEqual(off, far + (5e-3 if rounds else 0))

    def test_context_parallelism_joins_what_can_be_joined(self):
        for value, more, far in [("flex_attention", "flex_mask: sliding\nflex_window: 40", 1e-4),
                                 ("xformers", "", 1e-4), ("sage", "", 2e-3), ("fp8", "", 2e-2)]:
            with self.subTest(value=value):
                one = self.losses(value, more)
                two = self.losses(value, more + "\ncontext_parallel_size: 2", ranks=2)
                self.assertLessEqual(max(abs(a - b) for a, b in zip(one, two)), far)
        for value in ("eager", "s2"):
            packing = "false" if value == "s2" else "true"
            p = self.run_yaml(value, "context_parallel_size: 2", packing=packing, ranks=2)
            self.assertEqual(p.returncode, 2)
            self.assertIn(f"{value} cannot join", p.stdout + p.stderr)

    def test_the_plan_counts_the_probabilities_of_eager(self):
        def saved(value):
            p = subprocess.run([PROGRAM, "plan", self.path(value), "--ranks", "1", "--json"],
                               capture_output=True, text=True, env=ENV)
            self.assertEqual(p.returncode, 0, p.stdout + p.stderr)
            return json.loads(p.stdout)["memory_bytes"]["saved"]

        tokens, longest = 2 * 256, 256
        self.assertEqual(saved("eager") - saved("sdpa"), tiny.L * tiny.H * tokens * longest * 4)

    def path(self, value):
        path = os.path.join(self.top, "plan.yaml")
        with open(path, "w") as f:
            f.write(YAML.format(top=self.top, bf16="false", packing="true") + f"attn_implementation: {value}\n")
        return path


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[CUT + 1:])
