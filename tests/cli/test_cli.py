#!/usr/bin/env python3
"""The program from outside, at tiny size: test_cli.py AXL_DIST MPIRUN... [-- unittest arguments]"""

import gzip
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import tiny

CUT = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
PROGRAM, MPIRUN = sys.argv[1], sys.argv[2:CUT]
ENV = dict(os.environ, OMP_NUM_THREADS="1")
LENGTHS = [37, 5, 64, 12, 29, 51, 3, 44, 18, 60, 9, 33] * 3

BASE = """
base_model: {model}
datasets:
  - path: {data}
output_dir: {out}
dataset_prepared_path: {prepared}
sequence_len: 64
sample_packing: true
micro_batch_size: 1
gradient_accumulation_steps: 12
max_steps: 6
learning_rate: 1.0e-3
adam_epsilon: 1.0e-6
weight_decay: 0.1
lr_scheduler: cosine
warmup_steps: 2
bf16: false
logging_steps: 1
save_strategy: "no"
"""


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.top = tempfile.mkdtemp(prefix="axl_cli_")
        cls.model = os.path.join(cls.top, "model")
        cls.data = os.path.join(cls.top, "data.jsonl")
        tiny.make_model(cls.model)
        tiny.make_tokenized(cls.data, LENGTHS)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.top)

    def config(self, name, text="", **replace):
        values = dict(model=self.model, data=self.data, out=os.path.join(self.top, name),
                      prepared=os.path.join(self.top, "prepared"))
        values.update(replace)
        body = BASE.format(**values)
        for line in text.strip().splitlines():
            key = line.split(":")[0]
            if not line.startswith(" "):
                body = re.sub(rf"(?m)^{re.escape(key)}:.*\n( .*\n)*", "", body)
        path = os.path.join(self.top, name + ".yaml")
        with open(path, "w") as f:
            f.write(body + text)
        return path

    def out(self, name):
        return os.path.join(self.top, name)

    def run_program(self, *args, np=1, expect=0, **kw):
        command = ([] if np == 1 else MPIRUN + ["-np", str(np)]) + [PROGRAM] + list(args)
        done = subprocess.run(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=240, **kw)
        self.assertEqual(done.returncode, expect, f"{command}\n{done.stdout}\n{done.stderr}")
        return done

    def train(self, name, text="", np=1, expect=0, **kw):
        return self.run_program(self.config(name, text, **kw), np=np, expect=expect)

    def assert_same_losses(self, a, b, rel):
        a, b = tiny.read_metrics(self.out(a)), tiny.read_metrics(self.out(b))
        self.assertEqual(sorted(a), sorted(b))
        for step in a:
            self.assertLessEqual(abs(a[step] - b[step]), rel * abs(a[step]), (step, a[step], b[step]))

    def assert_same_weights(self, a, b, rel):
        a, b = tiny.read_weights(self.out(a)), tiny.read_weights(self.out(b))
        self.assertEqual(sorted(a), sorted(b))
        for name in a:
            diff = sum((x - y) ** 2 for x, y in zip(a[name], b[name])) ** 0.5
            norm = sum(x * x for x in a[name]) ** 0.5
            self.assertLessEqual(diff, rel * norm, name)


class SameRun(Case):
    """The same losses and weights whatever the ranks, the cut of the batch, packing and recomputation."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.train(cls(), "straight")

    def test_any_rank_count(self):
        for np in (2, 3, 4):
            done = self.train(f"np{np}", f"gradient_accumulation_steps: {12 // np}\n", np=np)
            self.assertIn("step 6/6  loss", done.stdout)
            self.assertNotIn("\033", done.stdout)  # plain lines where nobody watches
            self.assert_same_losses("straight", f"np{np}", 1e-5)
            self.assert_same_weights("straight", f"np{np}", 1e-4)

    def test_weights_kept_gathered(self):
        self.train("kept", "gradient_accumulation_steps: 6\nfsdp_version: 2\nfsdp_config:\n"
                           "  reshard_after_forward: false\n", np=2)
        self.assert_same_losses("straight", "kept", 1e-5)

    def test_recomputation_is_bit_equal(self):
        self.train("full", "gradient_checkpointing: true\n")
        self.train("selective", "gradient_checkpointing: true\nselective_checkpointing: true\n")
        for name in ("full", "selective"):
            self.assert_same_losses("straight", name, 0.0)
            self.assert_same_weights("straight", name, 0.0)

    def test_what_an_accelerator_repeats_or_moves_is_bit_equal(self):
        # graphs are on by themselves at this size, where the device has them
        self.train("called", "cuda_graphs: false\n")
        self.train("moved", "cuda_graphs: true\ngradient_checkpointing: true\nactivation_offloading: true\n")
        self.train("host", "fsdp_version: 2\nfsdp_config:\n  offload_params: true\n")
        for name in ("called", "moved", "host"):
            self.assert_same_losses("straight", name, 0.0)
            self.assert_same_weights("straight", name, 0.0)

    def test_accumulation_equals_a_big_batch(self):
        self.train("whole", "sample_packing: false\nmicro_batch_size: 36\ngradient_accumulation_steps: 1\n")
        self.train("parts", "sample_packing: false\nmicro_batch_size: 3\ngradient_accumulation_steps: 12\n")
        self.assert_same_losses("whole", "parts", 1e-5)
        self.assert_same_weights("whole", "parts", 1e-4)

    def test_packed_equals_separate(self):
        # every sample once a step, in rows or one by one
        self.train("rows", "gradient_accumulation_steps: 40\n")
        self.train("single", "sample_packing: false\ngradient_accumulation_steps: 36\n")
        self.assert_same_losses("rows", "single", 1e-5)
        self.assert_same_weights("rows", "single", 1e-4)

    def test_bf16_trains(self):
        self.train("bf16", "bf16: true\n")
        losses = tiny.read_metrics(self.out("bf16"))
        straight = tiny.read_metrics(self.out("straight"))
        self.assertLess(losses[6], losses[1])
        for step in losses:
            self.assertLess(abs(losses[step] - straight[step]), 0.02 * straight[step])


MESH_KEYS = ("dp_replicate_size", "dp_shard_size", "expert_parallel_size", "context_parallel_size",
             "tensor_parallel_size")


def on_mesh(*sizes, rows=12):
    """Keys of a mesh (dp_replicate, dp_shard, ep, cp, tp) whose steps take as many rows as one rank's."""
    text = "".join(f"{key}: {n}\n" for key, n in zip(MESH_KEYS, sizes))
    return text + f"gradient_accumulation_steps: {rows // (sizes[0] * sizes[1] * sizes[2])}\n"


class Layouts(Case):
    """The same run on any mesh, from the shell: losses, weights, checkpoints, evaluation."""

    MESHES = ((2, 1, 1, 1, 1), (1, 1, 1, 2, 1), (1, 1, 1, 1, 2), (2, 2, 1, 1, 1), (1, 2, 1, 2, 1), (1, 1, 1, 2, 2),
              (1, 1, 1, 1, 4), (1, 2, 1, 2, 2))
    EVAL = "val_set_size: 0.15\neval_steps: 3\n"

    @staticmethod
    def ranks(mesh):
        n = 1
        for size in mesh:
            n *= size
        return n

    def test_any_mesh(self):
        self.train("straight", self.EVAL)
        for mesh in self.MESHES:
            name = "x".join(map(str, mesh))
            self.train(name, self.EVAL + on_mesh(*mesh), np=self.ranks(mesh))
            self.assert_same_losses("straight", name, 1e-5)
            self.assert_same_weights("straight", name, 1e-4)
            evals = [tiny.read_metrics(self.out(run), "eval_loss") for run in ("straight", name)]
            self.assertEqual(sorted(evals[0]), sorted(evals[1]))
            for step in evals[0]:
                self.assertLess(abs(evals[0][step] - evals[1][step]), 1e-5 * evals[0][step], name)

    def test_resume_on_another_mesh(self):
        self.train("from", "save_strategy: steps\nsave_steps: 3\n" + on_mesh(1, 2, 1, 1, 2), np=4)
        where = os.path.join(self.out("from"), "checkpoint-3")
        for mesh in ((1, 1, 1, 1, 1), (2, 1, 1, 2, 1), (1, 1, 1, 1, 4)):
            name = "to" + "x".join(map(str, mesh))
            self.train(name, on_mesh(*mesh) + f"resume_from_checkpoint: {where}\n", np=self.ranks(mesh))
            self.assert_same_weights("from", name, 1e-4)
        self.run_program("merge", os.path.join(self.out("from"), "checkpoint-6"), "-o", self.out("merged"), np=2)
        self.assertTrue(read(os.path.join(self.out("from"), "model.safetensors")) ==
                        read(os.path.join(self.out("merged"), "model.safetensors")))

    def test_world_invariant_is_bit_equal(self):
        text = "world_invariant: true\nmax_steps: 4\n"
        self.train("one", text + on_mesh(1, 1, 1, 1, 1, rows=16))
        for mesh in ((1, 2, 1, 1, 1), (1, 4, 1, 1, 1), (2, 2, 1, 1, 1), (1, 8, 1, 1, 1), (1, 16, 1, 1, 1),
                     (4, 1, 1, 1, 1)):
            name = "inv" + "x".join(map(str, mesh))
            self.train(name, text + on_mesh(*mesh, rows=16), np=self.ranks(mesh))
            self.assert_same_losses("one", name, 0.0)
            self.assert_same_weights("one", name, 0.0)

    def test_deterministic_repeats_are_bit_equal(self):
        for name in ("first", "second"):
            self.train(name, "deterministic: true\n" + on_mesh(1, 2, 1, 2, 1), np=4)
        self.assert_same_losses("first", "second", 0.0)
        self.assert_same_weights("first", "second", 0.0)

    def test_bf16_on_any_mesh_is_near_one_rank(self):
        self.train("near1", "bf16: true\n" + on_mesh(1, 1, 1, 1, 1))
        one = tiny.read_metrics(self.out("near1"))
        for mesh in ((2, 1, 1, 1, 1), (1, 1, 1, 2, 1), (1, 1, 1, 1, 2), (1, 2, 1, 2, 2)):
            name = "near" + "x".join(map(str, mesh))
            self.train(name, "bf16: true\n" + on_mesh(*mesh), np=self.ranks(mesh))
            losses = tiny.read_metrics(self.out(name))
            for step in one:
                self.assertLess(abs(losses[step] - one[step]), 4e-3 * one[step], (name, step))  # one rounding to bf16

    def test_what_does_not_fit_is_refused(self):
        for mesh, words in (((1, 1, 2, 1, 1), "has no experts"), ((1, 1, 1, 1, 3), "these do: 1, 2, 4"),
                            ((1, 1, 1, 1, 2), "does not divide 3 ranks")):
            np = 3 if "3 ranks" in words else self.ranks(mesh)
            done = self.train("no", on_mesh(*mesh), np=np, expect=2)
            self.assertIn(words, done.stdout + done.stderr)
        done = self.train("no", on_mesh(1, 1, 1, 2, 1) + "ring_attn_func: varlen_llama3\nheads_k_stride: 3\n", np=2,
                          expect=2)
        self.assertIn("use 1 or 2", done.stderr)

    def test_gradients_in_bf16_are_near(self):
        self.train("fp32", on_mesh(1, 2, 1, 1, 1), np=2)
        self.train("bf16", on_mesh(1, 2, 1, 1, 1) + "reduce_dtype: bf16\n", np=2)
        sent = [tiny.read_metrics(self.out(run), "comm_bytes")[1]["dense.reduce_scatter"] for run in ("fp32", "bf16")]
        self.assertEqual(sent[0], 2 * sent[1])
        losses = [tiny.read_metrics(self.out(run)) for run in ("fp32", "bf16")]
        for step in losses[0]:
            self.assertLess(abs(losses[0][step] - losses[1][step]), 2e-3 * losses[0][step])


class Mixture(Case):
    """A mixture of experts with its auxiliary loss, from the shell: the same run on any mesh."""

    MESHES = ((1, 2, 1, 1, 1), (1, 1, 2, 1, 1), (1, 1, 4, 1, 1), (1, 2, 2, 1, 1), (1, 1, 2, 2, 1), (1, 1, 2, 1, 2))
    EVAL = "val_set_size: 0.15\neval_steps: 3\n"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        tiny.make_model(cls.model, experts=4)
        cls.train(cls(), "straight", cls.EVAL)

    def test_any_mesh(self):
        for mesh in self.MESHES:
            name = "x".join(map(str, mesh))
            self.train(name, self.EVAL + on_mesh(*mesh), np=Layouts.ranks(mesh))
            self.assert_same_losses("straight", name, 1e-5)
            self.assert_same_weights("straight", name, 1e-4)
            evals = [tiny.read_metrics(self.out(run), "eval_loss") for run in ("straight", name)]
            self.assertEqual(sorted(evals[0]), sorted(evals[1]))
            for step in evals[0]:
                self.assertLess(abs(evals[0][step] - evals[1][step]), 1e-5 * evals[0][step], name)

    def test_recomputation_is_bit_equal(self):
        self.train("plain", on_mesh(1, 1, 2, 1, 1), np=2)
        self.train("full", "gradient_checkpointing: true\n" + on_mesh(1, 1, 2, 1, 1), np=2)
        self.assert_same_losses("plain", "full", 0.0)
        self.assert_same_weights("plain", "full", 0.0)

    def test_resume_on_another_mesh(self):
        self.train("from", "save_strategy: steps\nsave_steps: 3\n" + on_mesh(1, 1, 2, 1, 2), np=4)
        where = os.path.join(self.out("from"), "checkpoint-3")
        for mesh in ((1, 1, 1, 1, 1), (1, 1, 4, 1, 1), (1, 2, 1, 1, 2)):
            name = "to" + "x".join(map(str, mesh))
            self.train(name, on_mesh(*mesh) + f"resume_from_checkpoint: {where}\n", np=Layouts.ranks(mesh))
            self.assert_same_weights("from", name, 1e-4)
        self.run_program("merge", os.path.join(self.out("from"), "checkpoint-6"), "-o", self.out("merged"), np=2)
        self.assertTrue(read(os.path.join(self.out("from"), "model.safetensors")) ==
                        read(os.path.join(self.out("merged"), "model.safetensors")))

    def test_untrained_weights_come_out_byte_equal(self):
        self.train("still", "learning_rate: 0.0\nmax_steps: 1\n" + on_mesh(1, 1, 2, 1, 2), np=4)
        self.assertTrue(read(os.path.join(self.model, "model.safetensors")) ==
                        read(os.path.join(self.out("still"), "model.safetensors")))

    def test_bf16_trains(self):
        self.train("bf16", "bf16: true\n" + self.EVAL + on_mesh(1, 1, 2, 1, 1), np=2)
        losses, straight = [tiny.read_metrics(self.out(run)) for run in ("bf16", "straight")]
        self.assertLess(losses[6], losses[1])
        for step in losses:
            self.assertLess(abs(losses[step] - straight[step]), 0.02 * straight[step])

    def test_world_invariant_is_bit_equal(self):
        text = "world_invariant: true\nmax_steps: 3\n"
        self.train("one", text + on_mesh(1, 1, 1, 1, 1, rows=16))
        for mesh in ((1, 4, 1, 1, 1), (2, 2, 1, 1, 1)):
            name = "inv" + "x".join(map(str, mesh))
            self.train(name, text + on_mesh(*mesh, rows=16), np=Layouts.ranks(mesh))
            self.assert_same_losses("one", name, 0.0)
            self.assert_same_weights("one", name, 0.0)

    def test_deterministic_repeats_are_bit_equal(self):
        for name in ("first", "second"):
            self.train(name, "deterministic: true\n" + on_mesh(1, 2, 2, 1, 1), np=4)
        self.assert_same_losses("first", "second", 0.0)
        self.assert_same_weights("first", "second", 0.0)

    def test_experts_must_divide(self):
        done = self.train("three", on_mesh(1, 1, 3, 1, 1), np=3, expect=2)
        self.assertIn("does not divide 4 experts", done.stderr)


class Resume(Case):
    """Stopped, killed, moved to another rank count: the run goes on as if nothing had happened."""

    SAVES = 'save_strategy: steps\nsave_steps: 3\n'

    def test_resume_is_bit_equal(self):
        self.train("straight", self.SAVES)
        shutil.copytree(self.out("straight"), self.out("again"))
        for name in ("checkpoint-6", "model.safetensors"):
            path = os.path.join(self.out("again"), name)
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        self.train("again", self.SAVES + "auto_resume_from_checkpoints: true\n")
        self.assert_same_losses("straight", "again", 0.0)
        self.assert_same_weights("straight", "again", 0.0)

    def test_resume_on_another_rank_count(self):
        self.train("four", self.SAVES + "gradient_accumulation_steps: 3\n", np=4)
        where = os.path.join(self.out("four"), "checkpoint-3")
        for np in (1, 2, 3):
            self.train(f"on{np}", f"gradient_accumulation_steps: {12 // np}\nresume_from_checkpoint: {where}\n",
                       np=np)
            self.assert_same_weights("four", f"on{np}", 1e-4)

    def test_merge_equals_the_final_model(self):
        self.train("merged", self.SAVES + "gradient_accumulation_steps: 6\n", np=2)
        self.run_program("merge", os.path.join(self.out("merged"), "checkpoint-6"), "-o", self.out("m"))
        for name in ("model.safetensors", "config.json", "tokenizer.json"):
            self.assertTrue(read(os.path.join(self.out("merged"), name)) == read(os.path.join(self.out("m"), name)), name)

    def test_old_checkpoints_are_not_trained_over(self):
        self.train("old", self.SAVES)
        done = self.train("old", self.SAVES, expect=2)
        self.assertIn("auto_resume_from_checkpoints", done.stderr)

    def test_a_signal_saves_and_the_run_goes_on(self):
        text = self.SAVES.replace("3", "50") + "max_steps: 60\nauto_resume_from_checkpoints: true\n"
        self.train("whole", text)
        path = self.config("cut", text)
        for np, how in ((1, signal.SIGTERM), (2, signal.SIGUSR1)):
            shutil.rmtree(self.out("cut"), ignore_errors=True)
            command = ([] if np == 1 else MPIRUN + ["-np", str(np)]) + [PROGRAM, path]
            command += [] if np == 1 else ["--gradient_accumulation_steps", "6"]
            run = subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            metrics = os.path.join(self.out("cut"), "metrics.jsonl")
            end = time.time() + 60
            while time.time() < end and not (os.path.exists(metrics) and os.path.getsize(metrics) > 1000):
                time.sleep(0.02)
            run.send_signal(how)
            stdout, stderr = run.communicate(timeout=120)
            self.assertEqual(run.returncode, 75, stdout + stderr)
            self.run_program(*command[len(command) - (1 if np == 1 else 3):], np=np)
            self.assert_same_losses("whole", "cut", 0.0 if np == 1 else 1e-5)

    def test_kill_in_the_middle_of_a_save(self):
        text = "save_strategy: steps\nsave_steps: 1\nmax_steps: 40\nauto_resume_from_checkpoints: true\n"
        self.train("calm", text)
        path = self.config("killed", text)
        for delay in (0.1, 0.23, 0.37):
            run = subprocess.Popen([PROGRAM, path], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(delay)
            run.kill()
            run.wait()
        self.train("killed", text)
        self.assert_same_weights("calm", "killed", 0.0)

    def test_a_torn_metrics_line_is_dropped(self):
        self.train("torn", self.SAVES)
        with open(os.path.join(self.out("torn"), "metrics.jsonl"), "a") as f:
            f.write('{"step": 7, "lo')
        shutil.rmtree(os.path.join(self.out("torn"), "checkpoint-6"))
        self.train("torn", self.SAVES + "auto_resume_from_checkpoints: true\n")
        self.assertEqual(sorted(tiny.read_metrics(self.out("torn"))), [1, 2, 3, 4, 5, 6])

    def test_full_disk_leaves_the_old_checkpoint(self):
        # a limit on the size of files stands for the disk: the first save fits, the next model does not
        self.train("full", self.SAVES + "max_steps: 3\n")
        before = os.path.join(self.out("full"), "checkpoint-3", "index.h5")
        kept = read(before)

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))

        path = self.config("full", self.SAVES + "auto_resume_from_checkpoints: true\n")
        done = self.run_program(path, expect=1, preexec_fn=limit)
        self.assertIn("checkpoint-6", done.stderr)
        self.assertEqual(kept, read(before))
        self.train("full", self.SAVES + "auto_resume_from_checkpoints: true\n")


class Streaming(Case):
    """A corpus that is read while the run trains: the same losses on any rank count, and after a stop or a kill."""

    SAVES = "save_strategy: steps\nsave_steps: 3\n"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.corpus = os.path.join(cls.top, "corpus")
        os.makedirs(cls.corpus)
        words = "the model reads a stream of text and goes on where it was when the run ends".split()
        for part in range(2):
            rows = [" ".join(words[(7 * i + k * k + part) % len(words)] for k in range(3 + i * 11 % 90))
                    for i in range(40)]
            name = os.path.join(cls.corpus, f"part{part}.jsonl" + (".gz" if part == 1 else ""))
            text = "".join(json.dumps({"body": r}) + "\n" for r in rows).encode()
            write(name, gzip.compress(text) if part == 1 else text)

    def stream(self, more="", steps=9, buffer=13):
        return (f"pretraining_dataset:\n  - path: {self.corpus}\n    text_column: body\n    skip: 2\n"
                f"datasets:\nstreaming: true\nstreaming_multipack_buffer_size: {buffer}\nmax_steps: {steps}\n" + more)

    def test_any_rank_count_and_any_stop(self):
        self.train("straight", self.stream(self.SAVES))
        steps = tiny.read_metrics(self.out("straight"))
        self.assertEqual(sorted(steps), list(range(1, 10)))
        self.assertLess(steps[9], steps[1])
        for np in (2, 3):
            self.train(f"np{np}", self.stream(f"gradient_accumulation_steps: {12 // np}\n"), np=np)
            self.assert_same_losses("straight", f"np{np}", 1e-5)
        for step in (3, 6):
            where = os.path.join(self.out("straight"), f"checkpoint-{step}")
            self.train(f"from{step}", self.stream(f"resume_from_checkpoint: {where}\n"))
            self.train(f"two{step}", self.stream(f"resume_from_checkpoint: {where}\n"
                                                 "gradient_accumulation_steps: 6\n"), np=2)
            self.assert_same_weights("straight", f"from{step}", 0.0)
            self.assert_same_weights("straight", f"two{step}", 1e-4)
        done = self.train("other", self.stream(f"resume_from_checkpoint: {where}\n", buffer=14), expect=2)
        self.assertIn("the checkpoint was made with other data", done.stderr)

    def test_a_killed_run_goes_on(self):
        text = self.stream("save_strategy: steps\nsave_steps: 1\nauto_resume_from_checkpoints: true\n", steps=40)
        self.train("calm", text)
        path = self.config("killed", text)
        for delay in (0.15, 0.31):
            run = subprocess.Popen([PROGRAM, path], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(delay)
            run.kill()
            run.wait()
        self.train("killed", text)
        self.assert_same_losses("calm", "killed", 0.0)
        self.assert_same_weights("calm", "killed", 0.0)

    def test_rows_of_other_kinds(self):
        for name, more in (("plain", "sample_packing: false\nmicro_batch_size: 4\n"),
                           ("rows", "sample_packing: false\npretraining_sample_concatenation: true\n"),
                           ("joined", "pretrain_multipack_attn: false\n"),
                           ("best", "sample_packing_algorithm: best_fit\n")):
            self.train(name, self.stream(more))
            steps = tiny.read_metrics(self.out(name))
            self.assertLess(steps[9], steps[1], name)

    def test_any_data_set_may_be_streamed(self):
        self.train("sft", "streaming: true\nstreaming_multipack_buffer_size: 10\nval_set_size: 0\n"
                          f"test_datasets:\n  - path: {self.data}\neval_steps: 3\n")
        self.assertEqual(sorted(tiny.read_metrics(self.out("sft"), "eval_loss")), [0, 3, 6])
        self.assertEqual(sorted(tiny.read_metrics(self.out("sft"))), [1, 2, 3, 4, 5, 6])

    def test_commands(self):
        path = self.config("look", self.stream())
        done = self.run_program("preprocess", path)
        self.assertIn("nothing is prepared", done.stdout + done.stderr)
        dump = self.run_program("preprocess", path, "--dump", "-").stdout.strip().split("\n")
        self.assertGreaterEqual(len(dump), 13)
        row = json.loads(self.run_program("explain", path, "--row", "3", "--json").stdout)
        self.assertEqual([t["id"] for t in row["tokens"]], json.loads(dump[3])["input_ids"])
        self.assertGreaterEqual(row["bin"], 0)
        done = self.run_program("explain", path, "--row", "100000", expect=2)
        self.assertIn("row 100000", done.stderr)
        done = self.train("endless", self.stream("val_set_size: 0.1\n"), expect=2)
        self.assertIn("nothing can be held out of a stream", done.stderr)


class Text(Case):
    """Data with a tokenizer: evaluation, generation, validation parts."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.text = os.path.join(cls.top, "text.jsonl")
        with open(cls.text, "w") as f:
            for i in range(40):
                f.write(json.dumps({"text": f"The number {i} follows {i - 1}. " * (1 + i % 3)}) + "\n")

    def settings(self):
        return ("datasets:\n  - path: " + self.text + "\n    type: completion\nval_set_size: 0.2\n"
                "eval_steps: 3\ngradient_accumulation_steps: 2\n")

    def test_evaluation_does_not_depend_on_ranks(self):
        self.train("eval", self.settings())
        want = tiny.read_metrics(self.out("eval"), "eval_loss")
        self.assertEqual(sorted(want), [0, 3, 6])
        for np in (1, 2, 3):
            path = self.config(f"e{np}", self.settings(), model=self.out("eval"))
            done = self.run_program("evaluate", path, np=np)
            got = json.loads([l for l in done.stdout.splitlines() if l.startswith("{")][-1])
            self.assertLessEqual(abs(got["eval_loss"] - want[6]), 1e-5 * want[6])

    def test_generation_repeats_itself(self):
        ask = ["inference", self.model, "--prompt", "The number", "--max-new-tokens", "12"]
        greedy = self.run_program(*ask).stdout
        self.assertEqual(greedy, self.run_program(*ask).stdout)
        drawn = self.run_program(*ask, "--temperature", "1.5", "--seed", "3").stdout
        self.assertEqual(drawn, self.run_program(*ask, "--temperature", "1.5", "--seed", "3").stdout)
        self.assertNotEqual(drawn, self.run_program(*ask, "--temperature", "1.5", "--seed", "4").stdout)
        self.assertEqual(greedy, self.run_program(*ask, "--temperature", "1", "--top-k", "1").stdout)

    def test_one_process_reads_the_configuration_of_many_ranks(self):
        many = self.config("many", "dp_shard_size: 4\ncontext_parallel_size: 2\ntensor_parallel_size: 3\n")
        self.run_program("inference", many, "--prompt", "The number", "--max-new-tokens", "2")
        self.assertIn("steps on 6 ranks", self.run_program("preprocess", many).stdout)

    def test_a_gguf_file_is_a_base_model(self):
        # imported once into the prepared folder, then trained by two ranks
        data = os.path.join(self.top, "small.jsonl")
        tiny.make_tokenized(data, LENGTHS, largest_id=200)
        gguf = os.path.join(tiny.HERE, "..", "data", "io", "tiny_llama.gguf")
        self.train("gguf", "gradient_accumulation_steps: 6\n", np=2, model=gguf, data=data)
        losses = tiny.read_metrics(self.out("gguf"))
        self.assertLess(losses[6], losses[1])
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            self.assertTrue(os.path.exists(os.path.join(self.out("gguf"), name)))

    def test_untrained_weights_come_out_byte_equal(self):
        self.train("untouched", "learning_rate: 0.0\nweight_decay: 0.0\n", np=2)
        self.assertTrue(read(os.path.join(self.model, "model.safetensors")) ==
                        read(os.path.join(self.out("untouched"), "model.safetensors")))


class BadInput(Case):
    """Each fault: exit code 2, a message with the place, nothing written over."""

    def refuse(self, words, text="", np=1, **kw):
        out = self.out("refused")
        shutil.rmtree(out, ignore_errors=True)
        done = self.train("refused", text, np=np, expect=2, **kw)
        said = done.stderr + done.stdout
        for word in words:
            self.assertIn(word, said)
        self.assertFalse(os.path.exists(os.path.join(out, "metrics.jsonl")), "something was started")
        if np == 1:
            self.assertEqual(said.count("error: "), 1, said)

    def broken_model(self, change):
        path = os.path.join(self.top, "broken")
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.model, path)
        change(path)
        return path

    def weights(self, change):
        def edit(path):
            name = os.path.join(path, "model.safetensors")
            write(name, change(bytearray(read(name))))
        return self.broken_model(edit)

    def test_configuration(self):
        self.refuse(["refused.yaml:", "learning_rate"], "learning_rte: 1.0e-4\n")
        self.refuse(["refused.yaml:", "optimizer"], "optimizer: adamm\n")
        self.refuse(["refused.yaml:"], "datasets: [\n")
        self.refuse(["base_model"], "base_model: /nowhere/at/all\n")
        self.refuse(["output_dir"], "output_dir: /proc/nothing\n")

    def test_weights(self):
        self.refuse(["model.safetensors"], model=self.weights(lambda d: d[:-100]))
        self.refuse(["model.safetensors"], model=self.weights(lambda d: b"\xff" * 8 + d[8:]))
        self.refuse(["model.norm.weight"], model=self.weights(lambda d: d.replace(b"model.norm.weight", b"model.norn.weight")))
        self.refuse(["mlp.gate_proj.weight", "config.json"], model=self.shape_broken())
        self.refuse(["pickle"], model=self.broken_model(
            lambda p: os.rename(os.path.join(p, "model.safetensors"), os.path.join(p, "pytorch_model.bin"))))

    def shape_broken(self):
        def edit(path):
            name = os.path.join(path, "config.json")
            config = json.loads(read(name))
            config["intermediate_size"] = 48
            write(name, json.dumps(config).encode())
        return self.broken_model(edit)

    def test_data(self):
        good = '{"input_ids": [7, 8, 9], "labels": [7, 8, 9], "attention_mask": [1, 1, 1]}\n'
        rows = {"empty": ("", "empty"), "array": ("[1, 2]\n", ":1:"), "text": (good + "x\n", ":2:"),
                "bytes": ('{"input_ids": [1], "labels": [1], "attention_mask": [1], "a": "\udcff"}\n', ":1:")}
        for name, (text, words) in rows.items():
            path = os.path.join(self.top, name + ".jsonl")
            with open(path, "w", errors="surrogateescape") as f:
                f.write(text)
            self.refuse([name + ".jsonl", words], data=path)
        self.refuse(["nowhere.jsonl"], data=os.path.join(self.top, "nowhere.jsonl"))

    def test_deep_json(self):
        def edit(path):
            write(os.path.join(path, "config.json"), b"[" * 10000 + b"]" * 10000)
        self.refuse(["config.json"], model=self.broken_model(edit))

    def test_tokenizer_without_merges(self):
        def edit(path):
            name = os.path.join(path, "tokenizer.json")
            tokenizer = json.loads(read(name))
            del tokenizer["model"]["merges"]
            write(name, json.dumps(tokenizer).encode())
        text = os.path.join(self.top, "t.jsonl")
        with open(text, "w") as f:
            f.write('{"text": "a"}\n')
        self.refuse(["tokenizer.json", "merges"], model=self.broken_model(edit),
                    text="datasets:\n  - path: " + text + "\n    type: completion\n")

    def test_all_ranks_leave_together(self):
        self.refuse(["nowhere.jsonl"], data=os.path.join(self.top, "nowhere.jsonl"), np=3)

    def test_broken_checkpoints(self):
        saves = "save_strategy: steps\nsave_steps: 3\n"
        self.train("ck", saves + "gradient_accumulation_steps: 6\n", np=2)
        where = os.path.join(self.out("ck"), "checkpoint-3")
        for change, words in (("flip", "shard-00001"), ("lose", "shard-00000")):
            broken = os.path.join(self.top, "bad-" + change)
            shutil.copytree(where, broken)
            shard = os.path.join(broken, words + "-of-00002.h5")
            if change == "lose":
                os.remove(shard)
            else:
                data = bytearray(read(shard))
                data[len(data) // 2] ^= 4
                write(shard, data)
            self.refuse([words], f"resume_from_checkpoint: {broken}\n")

    def test_srun_without_pmix(self):
        path = self.config("alone")
        for variables, says in (({}, 1), ({"PMI_RANK": "0"}, 1), ({"SLURM_PROCID": "1"}, 0)):
            env = dict(ENV, SLURM_PROCID="0", SLURM_STEP_NUM_TASKS="4")
            done = subprocess.run([PROGRAM, path], env=dict(env, **variables), capture_output=True, text=True)
            self.assertEqual(done.returncode, 2)
            self.assertEqual(done.stderr.count("srun --mpi=pmix"), says, done.stderr)
        env = dict(ENV, SLURM_PROCID="0", SLURM_NTASKS="4")  # a batch script without srun
        done = subprocess.run([PROGRAM, path], env=env, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0)
        self.assertIn("the Slurm job has 4 tasks", done.stderr + done.stdout)

    def test_numbers_that_run_away(self):
        for np in (1, 2):
            done = self.train("away", f"learning_rate: 1.0e+30\ngradient_accumulation_steps: {12 // np}\n",
                              np=np, expect=3)
            self.assertIn("the loss is", done.stderr)
            self.assertEqual(done.stderr.count("error: "), 1, done.stderr)
            shutil.rmtree(self.out("away"))
        done = self.train("watched", "loss_watchdog_threshold: 0.1\nloss_watchdog_patience: 2\n", expect=3)
        self.assertIn("step 2", done.stderr)

    def test_commands(self):
        self.run_program(expect=2)
        self.assertIn("train", self.run_program("tarin", expect=2).stderr)
        self.run_program("--help")
        for name in ("train", "evaluate", "inference", "doctor", "validate", "import", "inspect", "merge",
                     "tokenize", "render", "preprocess", "explain", "config-schema"):
            self.assertIn("axl-dist " + name.replace("train", ""), self.run_program(name, "--help").stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[CUT + 1:])
