#!/usr/bin/env python3
"""Which device a run takes, and that it changes nothing: test_device.py AXL_DIST MPIRUN... -- WithGpu|WithoutGpu

WithGpu is for a program that has one, as tests/cuda_emu/axl-dist-late: its GPU runs the CPU's kernels, so losses must be
equal to the last digit. WithoutGpu is for one on a machine that has none.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import tiny

CUT = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
PROGRAM = sys.argv[1]
ENV = dict(os.environ, OMP_NUM_THREADS="1")
YAML = """
base_model: {top}/model
datasets: [{{path: {top}/data.jsonl}}]
output_dir: {top}/out
dataset_prepared_path: {top}/prepared
sequence_len: 128
micro_batch_size: 2
gradient_accumulation_steps: 1
learning_rate: 3.0e-3
max_steps: 3
logging_steps: 1
save_strategy: "no"
bf16: true
sample_packing: {packing}
"""
LENGTHS = [20, 33, 7, 61, 90, 5, 44, 18] * 4
VALUES = ["eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention", "xformers", "sage", "s2", "fp8"]


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.top = tempfile.mkdtemp(prefix="axl_device_")
        tiny.make_model(os.path.join(cls.top, "model"))
        tiny.make_tokenized(os.path.join(cls.top, "data.jsonl"), LENGTHS)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.top)

    def run_program(self, command, more="", packing="true", args=(), env=()):
        path = os.path.join(self.top, "run.yaml")
        shutil.rmtree(os.path.join(self.top, "out"), ignore_errors=True)
        with open(path, "w") as f:
            f.write(YAML.format(top=self.top, packing=packing) + more)
        return subprocess.run([PROGRAM, command, path, *args], capture_output=True, text=True, env=ENV | dict(env),
                              timeout=120)

    def metrics(self, *args, **kwargs):
        p = self.run_program("train", *args, **kwargs)
        self.assertEqual(p.returncode, 0, p.stdout + p.stderr)
        with open(os.path.join(self.top, "out", "metrics.jsonl")) as f:
            return [row for row in map(json.loads, f) if "loss" in row]

    def losses(self, *args, **kwargs):
        return [row["loss"] for row in self.metrics(*args, **kwargs)]

    def device(self, more=""):
        """The doctor's line about the device."""
        p = self.run_program("doctor", more, args=("--seconds", "1"))
        self.assertEqual(p.returncode, 0, p.stdout + p.stderr)
        return re.search(r"(?m)^device +(.*)$", p.stdout)[1]


class WithGpu(Case):
    def test_auto_takes_the_gpu(self):
        self.assertEqual(self.device(), "the GPU: device: auto takes one where there is one")
        self.assertEqual(self.device("device: cuda\n"), "the GPU: device: cuda asks for it")
        self.assertEqual(self.device("device: cpu\n"), "the processor: device: cpu asks for it")

    def test_doctor_knows_the_data_sheet(self):
        for name, line in (("NVIDIA H200", "of H200: 989.4 TFLOP/s in bf16, 66.9 in fp32, memory 4800 GB/s"),
                           ("NVIDIA L4", "of NVIDIA L4 is not known: runs say no mfu")):
            p = self.run_program("doctor", args=("--seconds", "1"), env={"AXL_EMU_CHIP": name})
            self.assertIn("data sheet  " + line, p.stdout)

    def test_a_plan_is_for_what_the_run_would_take(self):
        for chip, more, args, cluster, why in (
                ("NVIDIA H200", "", (), "h200", "the GPUs of this machine"),
                ("NVIDIA A100-SXM4-40GB", "", (), "h100", "assumed, no cluster is ready-made"),
                ("NVIDIA H200", "device: cpu\n", (), "cpu", "device: cpu asks for processors"),
                ("NVIDIA H200", "", ("--cluster", "a100"), "a100", "--cluster")):
            p = self.run_program("plan", more, args=("--ranks", "1", "--json", *args), env={"AXL_EMU_CHIP": chip})
            plan = json.loads(p.stdout)
            self.assertEqual(plan["cluster"], cluster)
            self.assertTrue(plan["cluster_from"].startswith(why), plan["cluster_from"])

    def test_mfu_counts_against_the_data_sheet(self):
        epoch = {"packing": "false", "args": ("--max_steps", str(len(LENGTHS) // 2))}
        rows = self.metrics(env={"AXL_EMU_CHIP": "NVIDIA H100 80GB HBM3"}, **epoch)
        p = self.run_program("plan", packing="false", args=("--ranks", "1", "--document-tokens", "100", "--json"))
        plan = json.loads(p.stdout)
        self.assertEqual(sum(row["tokens"] for row in rows), sum(LENGTHS))
        of_pair = plan["flops_per_token_attention"] / 100
        flops = (plan["flops_per_token"] - plan["flops_per_token_attention"]) * sum(LENGTHS)
        flops += of_pair * sum(n * n for n in LENGTHS) # every token with every one of its document
        self.assertAlmostEqual(sum(row["mfu"] * row["step_seconds"] for row in rows) * 989.4e12 / flops, 1.0, delta=1e-6)
        # of a chip without a data sheet nothing is claimed
        self.assertFalse(any("mfu" in row for row in self.metrics()))

    def test_what_is_planned_is_what_is_taken(self):
        for more in ("", "gradient_checkpointing: true\nactivation_offloading: true\n",
                     "fsdp_config: {offload_params: true}\nfsdp_version: 2\n"):
            p = self.run_program("train", more)
            self.assertEqual(p.returncode, 0, p.stdout + p.stderr)
            planned, taken = re.search(r"memory, MiB a rank: planned (\S+), taken (\S+),", p.stdout + p.stderr).groups()
            self.assertEqual(planned, taken)
            p = self.run_program("plan", more, args=("--ranks", "1", "--json"))
            memory = json.loads(p.stdout)["memory_bytes"]
            self.assertEqual(memory["sums_over_ranks"], 0) # one rank alone has none
            self.assertAlmostEqual((memory["sum"] - memory["estimated"]) / 2**20, float(taken), delta=0.051)

    def test_each_attention_gives_the_same_losses(self):
        for value in VALUES:
            with self.subTest(value=value):
                packing = "false" if value == "s2" else "true"
                more = f"attn_implementation: {value}\n"
                gpu = self.losses(more, packing=packing)
                self.assertEqual(len(gpu), 3)
                self.assertEqual(gpu, self.losses(more + "device: cpu\n", packing=packing))


class WithoutGpu(Case):
    def setUp(self):
        p = self.run_program("doctor", args=("--seconds", "1"))
        self.assertEqual(p.returncode, 0, p.stdout + p.stderr)
        if not re.search(r"(?m)^gpu +none", p.stdout):
            self.skipTest("there is a GPU")

    def test_auto_takes_the_processor(self):
        self.assertEqual(self.device(), "the processor: device: auto found no GPU that it could take")

    def test_cuda_is_refused(self):
        p = self.run_program("train", "device: cuda\n")
        self.assertNotEqual(p.returncode, 0)
        self.assertRegex(p.stdout + p.stderr, "no CUDA backend|no NVIDIA driver|device: cpu")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[CUT + 1:])
