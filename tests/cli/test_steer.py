#!/usr/bin/env python3
"""When a run evaluates, saves and stops: test_steer.py AXL_DIST MPIRUN... [-- unittest arguments]"""

import json
import os
import random
import shutil
import sys
import time
import unittest

import test_cli
import tiny

SHORT = "lr_scheduler: constant\nwarmup_steps: 0\n"
ROWS = "sample_packing: false\nmax_steps: null\n"


def last_wins(text):
    """The text with one entry a key."""
    entries = {}
    for line in text.splitlines(True):
        if not line.startswith(" "):
            key = line.split(":")[0]
            entries.pop(key, None)
        entries[key] = entries.get(key, "") + line
    return "".join(entries.values())


def sample_lines(path):
    with open(os.path.join(path, "samples.jsonl")) as f:
        return f.read().splitlines()


def checkpoints(path):
    return sorted(int(name.split("-")[1]) for name in os.listdir(path) if name.startswith("checkpoint-"))


# of every step; expert_load_max_over_mean only where there are experts
STEP_KEYS = ["step", "epoch", "loss", "grad_norm", "learning_rate", "tokens", "trainable_tokens", "total_tokens",
             "tokens_per_second", "step_seconds", "mfu", "peak_memory_bytes", "comm_bytes", "comm_exposed_seconds"]


class Steer(test_cli.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        rng = random.Random(5)
        cls.test = os.path.join(cls.top, "test.jsonl")  # of tokens that training makes ever less likely
        with open(cls.test, "w") as f:
            for _ in range(5):
                ids = [rng.randrange(601, 640) for _ in range(20)]
                f.write(json.dumps({"input_ids": ids, "attention_mask": [1] * 20, "labels": ids}) + "\n")
        cls.narrow = os.path.join(cls.top, "narrow.jsonl")
        tiny.make_tokenized(cls.narrow, test_cli.LENGTHS, largest_id=60)
        cls.one = os.path.join(cls.top, "one.jsonl")
        with open(cls.one, "w") as f:
            f.write(json.dumps({"input_ids": [7, 8, 9], "attention_mask": [1] * 3, "labels": [-100, 8, 9]}) + "\n")

    def held_out(self, path=None):
        return f"test_datasets:\n  - path: {path or self.test}\n"

    def go(self, name, text, np=1, expect=0, acc=2, mesh=""):
        short = SHORT + f"gradient_accumulation_steps: {acc // np}\n"
        return self.train(name, last_wins(short + text + mesh), np=np, expect=expect)

    def state(self, name, step):
        with open(os.path.join(self.out(name), f"checkpoint-{step}", "trainer_state.json")) as f:
            return json.load(f)

    def evals(self, name):
        return tiny.read_metrics(self.out(name), "eval_loss")

    def assert_weights_of(self, name, checkpoint):
        """The model of the run is bit for bit that of the checkpoint."""
        merged = self.out("merged")
        shutil.rmtree(merged, ignore_errors=True)
        self.run_program("merge", checkpoint, "-o", merged)
        self.assertTrue(test_cli.read(os.path.join(merged, "model.safetensors")) ==
                        test_cli.read(os.path.join(self.out(name), "model.safetensors")), checkpoint)

    def check_steps(self, rows, base, acc, last):
        for i, (keys, evals, saves) in enumerate(rows):
            for np in (1, 2):
                name = f"when{acc}-{i}-{np}"
                self.go(name, base + self.held_out() + keys, np=np, acc=acc)
                self.assertEqual(sorted(self.evals(name)), evals, (keys, np))
                self.assertEqual(checkpoints(self.out(name)), saves, (keys, np))
                self.assertEqual(max(tiny.read_metrics(self.out(name))), last(keys), keys)

    def test_steps(self):
        self.check_steps((("eval_steps: 3\n", [0, 3, 6, 7], []),
                          ("eval_steps: 0.3\nsave_strategy: steps\nsave_steps: 4\n", [0, 3, 6, 7], [4, 7]),
                          ("eval_strategy: steps\nsave_steps: 0.5\nsave_strategy: steps\n", [0, 7], [4, 7]),
                          ('eval_strategy: "no"\nsave_first_step: true\n', [], [1])),
                         "max_steps: 7\n", 2, lambda keys: 7)

    def test_epochs(self):
        def last(keys):
            return 5 if "max_steps: 5" in keys else 6 if "num_epochs: 2\n" in keys else 8
        # two and a half epochs of 3, 3 and 2 steps; two epochs without their incomplete step; a limit within the second
        self.check_steps((("num_epochs: 2.5\neval_strategy: epoch\nsave_strategy: epoch\n", [0, 3, 6, 8], [3, 6, 8]),
                          ("num_epochs: 2\nevals_per_epoch: 1\nsaves_per_epoch: 2\n", [0, 3, 6], [2, 4, 6]),
                          ("num_epochs: 2.5\nmax_steps: 5\neval_strategy: epoch\nsave_strategy: epoch\n", [0, 3, 5],
                           [3, 5])), ROWS, 12, last)
        self.check_steps((("num_epochs: 2\ndataloader_drop_last: true\neval_strategy: epoch\nsave_strategy: epoch\n",
                           [0, 3, 6], [3, 6]),), ROWS, 10, last)

    def test_logging_steps_may_be_a_fraction(self):
        for keys, lines in (("logging_steps: 3\n", [1, 3, 6, 7]), ("logging_steps: 0.25\n", [1, 2, 4, 6, 7])):
            self.go("log" + str(len(lines)), "max_steps: 7\n" + keys)
            self.assertEqual(sorted(tiny.read_metrics(self.out("log" + str(len(lines))))), lines)

    def test_save_only_model(self):
        self.go("whole", "max_steps: 2\nsave_strategy: epoch\n")
        self.go("only", "max_steps: 2\nsave_strategy: epoch\nsave_only_model: true\n")
        size = [os.path.getsize(os.path.join(self.out(run), "checkpoint-2", "shard-00000-of-00001.h5"))
                for run in ("whole", "only")]
        self.assertLess(size[1], 0.5 * size[0])
        self.assert_weights_of("only", os.path.join(self.out("only"), "checkpoint-2"))
        done = self.go("only", "max_steps: 3\nauto_resume_from_checkpoints: true\n", expect=2)
        self.assertIn("save_only_model", done.stderr)

    # A run whose evaluation has a valley: held-out rows of the same kind, a high rate.
    VALLEY = "val_set_size: 0.3\nmax_steps: 12\neval_steps: 1\nlearning_rate: 2.0e-2\n"

    def valley(self, name):
        evals = {step: loss for step, loss in self.evals(name).items() if step > 0}
        best = min(evals, key=evals.get)
        self.assertTrue(1 < best < 10, evals)  # else the test would prove little
        return best

    def test_the_best_is_kept_and_loaded(self):
        for np in (1, 2):
            name = f"best{np}"
            done = self.go(name, self.VALLEY + "save_strategy: steps\nsave_steps: 1\nsave_total_limit: 2\n"
                           "load_best_model_at_end: true\n", np=np)
            best = self.valley(name)
            self.assertEqual(checkpoints(self.out(name)), [best, 12])
            self.assertIn(f"at step {best}\n", done.stdout)
            self.assertIn(f"wrote the model of step {best}", done.stdout)
            self.assertEqual(tiny.read_metrics(self.out(name), "best_step")[12], best)
            self.assert_weights_of(name, os.path.join(self.out(name), f"checkpoint-{best}"))
            state = self.state(name, 12)
            self.assertEqual((state["best_global_step"], state["best_model_checkpoint"]), (best, f"checkpoint-{best}"))
            self.assertEqual(state["evaluations_without_improvement"], 12 - best)

    def test_the_last_is_saved_when_the_best_is_not_asked_for(self):
        self.go("last", self.VALLEY + "save_strategy: steps\nsave_steps: 1\nsave_total_limit: 1\n")
        self.assertEqual(checkpoints(self.out("last")), [self.valley("last"), 12])
        self.assert_weights_of("last", os.path.join(self.out("last"), "checkpoint-12"))

    def test_only_saved_evaluations_can_be_loaded(self):
        self.go("some", self.VALLEY + "save_strategy: steps\nsave_steps: 4\nload_best_model_at_end: true\n")
        evals = self.evals("some")
        best = min((4, 8, 12), key=evals.get)
        self.assertEqual(self.state("some", 12)["best_saved_step"], best)
        self.assert_weights_of("some", os.path.join(self.out("some"), f"checkpoint-{best}"))

    def test_save_strategy_best(self):
        for np, metric in ((1, "loss"), (2, "eval_ppl")):
            name = f"strategy{np}"
            self.go(name, self.VALLEY + f"save_strategy: best\nmetric_for_best_model: {metric}\nsave_total_limit: 9\n"
                    "load_best_model_at_end: true\n", np=np)
            evals, low, improved = self.evals(name), float("inf"), []
            for step in range(1, 13):
                if evals[step] < low:
                    low = evals[step]
                    improved.append(step)
            self.assertEqual(checkpoints(self.out(name)), improved)
            self.assertEqual(improved[-1], self.valley(name))
            self.assert_weights_of(name, os.path.join(self.out(name), f"checkpoint-{improved[-1]}"))

    def test_greater_is_better_turns_it_round(self):
        self.go("greater", self.VALLEY + "metric_for_best_model: perplexity\ngreater_is_better: true\n")
        evals = {step: loss for step, loss in self.evals("greater").items() if step > 0}
        self.assertEqual(tiny.read_metrics(self.out("greater"), "best_step")[12], max(evals, key=evals.get))

    # No evaluation is better than that of step 2.
    PATIENCE = "eval_steps: 2\nsave_strategy: steps\nsave_steps: 2\nearly_stopping_patience: 4\nlearning_rate: 1.0e-2\n"

    def worse(self):
        return f"datasets:\n  - path: {self.narrow}\n" + self.held_out() + self.PATIENCE

    def test_early_stopping(self):
        for np in (1, 2):
            done = self.go(f"early{np}", "max_steps: 40\n" + self.worse(), np=np)
            self.assertIn("stopped after step 10 of 40: 4 evaluations without improvement", done.stdout)
            self.assertEqual(sorted(self.evals(f"early{np}")), [0, 2, 4, 6, 8, 10])
            self.assertEqual(checkpoints(self.out(f"early{np}")), [2, 6, 8, 10])
            self.assert_weights_of(f"early{np}", os.path.join(self.out(f"early{np}"), "checkpoint-2"))
        # started again it is at its end; with more patience it goes on
        again = "max_steps: 40\nauto_resume_from_checkpoints: true\n" + self.worse()
        self.go("early1", again)
        self.assertEqual(max(self.evals("early1")), 10)
        self.assert_weights_of("early1", os.path.join(self.out("early1"), "checkpoint-2"))
        self.go("early1", again + "early_stopping_patience: 5\n")
        self.assertEqual(max(self.evals("early1")), 12)

    def test_patience_survives_a_resume_on_another_layout(self):
        self.go("cut", "max_steps: 6\n" + self.worse(), np=2)
        self.assertEqual(self.state("cut", 6)["evaluations_without_improvement"], 2)
        where = os.path.join(self.out("cut"), "checkpoint-6")
        for mesh, np in (((1, 1, 1, 1, 1), 1), ((1, 2, 1, 1, 2), 4), ((1, 1, 1, 2, 1), 2)):
            name = "on" + "x".join(map(str, mesh))
            self.go(name, f"max_steps: 40\nresume_from_checkpoint: {where}\n" + self.worse(), np=np,
                    mesh=test_cli.on_mesh(*mesh, rows=2))
            self.assertEqual(sorted(self.evals(name)), [8, 10])
            self.assertEqual(checkpoints(self.out(name)), [8, 10])
            self.assert_weights_of(name, os.path.join(self.out("cut"), "checkpoint-2"))  # in the other folder
            self.assertEqual(self.state(name, 10)["best_model_checkpoint"],
                             os.path.join(self.out("cut"), "checkpoint-2"))
        done = self.go("other", f"max_steps: 40\nresume_from_checkpoint: {where}\nmetric_for_best_model: ppl\n" +
                       self.worse())
        self.assertIn("by another metric", done.stdout)
        evals = self.evals("other")
        self.assertGreater(max(evals), 10)
        self.assertEqual(max(evals), min(evals, key=evals.get) + 8)  # four evaluations after its own best
        shutil.rmtree(os.path.join(self.out("cut"), "checkpoint-2"))
        done = self.go("gone", f"max_steps: 40\nresume_from_checkpoint: {where}\n" + self.worse())
        self.assertIn("checkpoint-2, the best checkpoint so far, is gone", done.stderr)
        evals = self.evals("gone")
        self.assertEqual(sorted(evals), [8, 10])
        self.assert_weights_of("gone", os.path.join(self.out("gone"), f"checkpoint-{min(evals, key=evals.get)}"))

    def test_tiny_evaluation_sets(self):
        losses = []
        for np in (1, 4):
            self.go(f"tiny{np}", "max_steps: 1\neval_steps: 1\n" + self.held_out(self.one), np=np, acc=4)
            losses.append(self.evals(f"tiny{np}")[0])
        self.assertGreater(losses[0], 1.0)
        self.assertLess(abs(losses[0] - losses[1]), 1e-5 * losses[0])
        self.go("part", "max_steps: 1\neval_steps: 1\nval_set_size: 0.001\n", np=4, acc=4)
        self.assertGreater(self.evals("part")[0], 1.0)
        done = self.go("long", "max_steps: 1\neval_steps: 1\neval_sequence_len: 2\n" + self.held_out(self.one), expect=2)
        self.assertIn("no sample", done.stderr)

    def test_tensorboard_is_told_what_metrics_jsonl_holds(self):
        names = {"loss": "train/loss", "grad_norm": "train/grad_norm", "learning_rate": "train/learning_rate",
                 "eval_loss": "eval/loss", "eval_perplexity": "eval/perplexity"}

        def check():
            with open(os.path.join(self.out("board"), "metrics.jsonl")) as f:
                lines = [json.loads(line) for line in f]
            events = tiny.read_events(self.out("board"))
            self.assertEqual([e[0] for e in events], [line["step"] for line in lines])
            for line, (_, values) in zip(lines, events):
                for key in line.keys() - {"step", "comm_bytes", "best_step", "evaluations_without_improvement"}:
                    self.assertAlmostEqual(values[names.get(key, f"train/{key}")], line[key], delta=2e-7 * abs(line[key]))
                self.assertEqual("loss" in line, all(key in line for key in STEP_KEYS))
                if "loss" in line: # what several of them say together
                    self.assertAlmostEqual(line["tokens"] / line["step_seconds"], line["tokens_per_second"],
                                           delta=1e-6 * line["tokens_per_second"])
                    self.assertTrue(0 < line["trainable_tokens"] <= line["tokens"])
                    self.assertTrue(0.0 < line["mfu"] < 1.0)
                    self.assertTrue(0.0 <= line["comm_exposed_seconds"] <= line["step_seconds"])
            steps = [line for line in lines if "loss" in line]
            self.assertEqual([line["total_tokens"] for line in steps],
                             [sum(line["tokens"] for line in steps[:i + 1]) for i in range(len(steps))])
            return len(events)

        text = self.held_out() + "eval_steps: 2\nsave_strategy: steps\nsave_steps: 2\nuse_tensorboard: true\n"
        self.go("board", text + "max_steps: 4\n", np=2)
        self.assertEqual(check(), 3 + 4)
        time.sleep(1.1)  # names of event files begin with the second
        self.go("board", text + "max_steps: 6\nauto_resume_from_checkpoints: true\n")
        self.assertEqual(check(), 3 + 4 + 1 + 2)

    def test_a_trace_of_some_steps(self):
        for np, text, steps in ((1, "profiler_steps_start: 1\nprofiler_steps: 2\n", [2, 3]),
                                (2, "profiler_steps: 99\n", [1, 2, 3, 4])):
            self.go(f"trace{np}", "max_steps: 4\n" + text, np=np)
            with open(os.path.join(self.out(f"trace{np}"), "profiler_trace.json")) as f:
                trace = json.load(f)
            spans = [e for e in trace["traceEvents"] if e["ph"] == "X"]
            self.assertEqual(trace["dropped"], 0)
            self.assertEqual([e["args"]["number"] for e in spans if e["name"] == "step"], steps)
            for name, cat in ("mlp.gate_proj", "forward"), ("self_attn.q_proj", "backward"), ("optimizer", "train"):
                self.assertGreaterEqual(len([e for e in spans if e["name"] == name and e["cat"] == cat]), len(steps), name)
            within = [(e["ts"], e["ts"] + e["dur"]) for e in spans if e["name"] == "step"]
            for e in spans:
                if e["cat"] in ("forward", "backward", "recomputed"):
                    self.assertGreater(e["dur"], 0.0)
                    self.assertTrue(any(a - 1 <= e["ts"] and e["ts"] + e["dur"] <= b + 1 for a, b in within), e)
        self.go("plain", "max_steps: 4\n")
        self.assertEqual(tiny.read_metrics(self.out("plain")), tiny.read_metrics(self.out("trace1")))
        self.assertFalse(os.path.exists(os.path.join(self.out("plain"), "profiler_trace.json")))

    def test_samples_are_gone_on_with(self):
        text = self.held_out(self.narrow) + ("max_steps: 4\neval_steps: 2\ngeneration_max_new_tokens: 9\nnum_generation_samples: 2\n"
                                  "generation_do_sample: false\ngeneration_prompt_ratio: 0.25\n")
        said, plain = {}, self.go("plain", text)
        for np in (1, 2):
            done = self.go(f"samples{np}", text + "generate_samples: true\n", np=np)
            with open(os.path.join(self.out(f"samples{np}"), "samples.jsonl")) as f:
                said[np] = [json.loads(line) for line in f]
            self.assertEqual([(s["step"], s["sample"]) for s in said[np]], [(k, n) for k in (0, 2, 4) for n in (1, 2)])
            self.assertIn("sample 2 after step 4: ", done.stdout + done.stderr)
        self.assertEqual(said[1], said[2])
        self.assertTrue(any(s["generated"] for s in said[1]))
        self.assertGreater(len({s["prompt"] for s in said[1]}), 1)
        self.assertEqual(tiny.read_metrics(self.out("plain")), tiny.read_metrics(self.out("samples1")))  # nothing else changes
        self.assertFalse(os.path.exists(os.path.join(self.out("plain"), "samples.jsonl")))
        for name in "once", "again":
            self.go(name, text.replace("do_sample: false", "do_sample: true") + "eval_table_size: 1\n"
                    "eval_sample_packing: false\nnum_generation_samples: null\n")
        one, two = (sample_lines(self.out(n)) for n in ("once", "again"))
        self.assertEqual(one, two)
        self.assertEqual(len(one), 3)

    def test_a_file_asks_for_a_checkpoint(self):
        text = "max_steps: 5\ndynamic_checkpoint: {enabled: true, check_interval: 2, trigger_file_path: now}\n"
        os.makedirs(self.out("asked"))
        open(os.path.join(self.out("asked"), "now"), "w").close()
        for np in (1, 2):
            self.go("asked", text, np=np)
            self.assertEqual(checkpoints(self.out("asked")), [2])
            self.assertFalse(os.path.exists(os.path.join(self.out("asked"), "now")))
            shutil.rmtree(self.out("asked"))
            os.makedirs(self.out("asked"))
            open(os.path.join(self.out("asked"), "now"), "w").close()
        self.go("asked", text.replace("enabled: true", "enabled: false"))
        self.assertEqual(checkpoints(self.out("asked")), [])

    def test_what_does_not_match_is_refused_before_the_start(self):
        done = self.go("no", self.held_out() + "max_steps: 10\neval_steps: 0.3\nsave_strategy: steps\nsave_steps: 4\n"
                       "load_best_model_at_end: true\n", expect=2)
        self.assertIn("in a run of 10 steps there is a checkpoint every 4 steps and an evaluation every 3", done.stderr)
        done = self.go("no", self.held_out() + "eval_steps: 1\nmetric_for_best_model: accuracy\n", expect=2)
        self.assertIn("use loss, eval_loss, perplexity", done.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.out("no"), "metrics.jsonl")))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[test_cli.CUT + 1:])
