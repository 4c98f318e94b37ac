#!/usr/bin/env python3
"""Runs whose vocabulary grows, from outside: test_vocabulary.py AXL_DIST MPIRUN... [-- unittest arguments]"""

import json
import os
import shutil
import sys
import unittest

import test_cli
import tiny

KEYS = """
sequence_len: 96
gradient_accumulation_steps: 4
special_tokens:
  pad_token: <|pad|>
  eos_token: <|eot|>
  additional_special_tokens: ["<|tool|>"]
tokens: ["<think>", "</think>"]
added_tokens_overrides:
  {reserved}: <|call|>
eot_tokens: ["<|im_end|>"]
chat_template: jinja
chat_template_jinja: {template}
max_steps: 4
"""
TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


class Vocabulary(test_cli.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open(os.path.join(cls.model, "tokenizer.json")) as f:
            cls.added = {a["content"]: a["id"] for a in json.load(f)["added_tokens"]}
        cls.largest = max(cls.added.values())
        shutil.rmtree(cls.model)
        tiny.V = cls.largest + 1  # no room for new tokens
        tiny.make_model(cls.model)
        cls.data = os.path.join(cls.top, "chat.jsonl")
        with open(cls.data, "w") as f:
            for i in range(48):
                f.write(json.dumps({"messages": [
                    {"role": "user", "content": f"Call <|tool|> {i}"},
                    {"role": "assistant", "content": f"<think>{i} and <|call|>{i % 7}</think>Number {i + 1}"}]}) + "\n")
        cls.template = os.path.join(cls.top, "template.jinja")
        with open(cls.template, "w") as f:
            f.write(TEMPLATE)

    def keys(self, more=""):
        keys = KEYS.format(reserved=self.added["<|end|>"], template=self.template)
        return ((keys.replace("max_steps: 4\n", "") if "max_steps" in more else keys) + more +
                f"datasets:\n  - path: {self.data}\n    type: chat_template\n")

    def tokenize(self, directory, *texts):
        done = self.run_program("tokenize", directory, "--no-special",
                                input="".join(json.dumps(t) + "\n" for t in texts))
        return [json.loads(line)["ids"] for line in done.stdout.splitlines()]

    def rows(self, name):
        return len(tiny.read_weights(self.out(name))["model.embed_tokens.weight"]) // tiny.D

    def test_any_layout_trains_the_same_grown_model(self):
        self.train("one", self.keys())
        self.assertEqual(self.rows("one"), tiny.V + 5)
        for name, np, more in (("fsdp", 2, ""), ("tp", 2, "tensor_parallel_size: 2\n"),
                               ("both", 4, "tensor_parallel_size: 2\ndp_shard_size: 2\n")):
            split = f"gradient_accumulation_steps: {4 if name == 'tp' else 2}\n"
            self.train(name, self.keys().replace("gradient_accumulation_steps: 4\n", split) + more, np=np)
            self.assert_same_losses("one", name, 1e-5)
            self.assert_same_weights("one", name, 1e-4)
        losses = tiny.read_metrics(self.out("one"))
        self.assertLess(losses[4], losses[1])

    def test_experts_and_bf16(self):
        model = os.path.join(self.top, "experts")
        tiny.make_model(model, experts=4)
        self.train("e1", self.keys(), model=model)
        self.train("e2", self.keys("expert_parallel_size: 2\n").replace("steps: 4\nspecial", "steps: 2\nspecial"),
                   np=2, model=model)
        self.assertEqual(self.rows("e2"), tiny.V + 5)
        self.assert_same_losses("e1", "e2", 1e-5)
        self.train("b1", self.keys("bf16: true\nfix_untrained_tokens: true\n"))
        self.train("b2", self.keys("bf16: true\nfix_untrained_tokens: true\ntensor_parallel_size: 2\n"), np=2)
        self.assert_same_losses("b1", "b2", 1e-2)

    def test_random_weights_do_not_depend_on_the_layout(self):
        keys = self.keys("reinit_weights: true\nlearning_rate: 0.0\nweight_decay: 0.0\n")
        self.train("r1", keys)
        self.train("r2", keys + "tensor_parallel_size: 2\n", np=2)
        self.assert_same_weights("r1", "r2", 0.0)
        weights = tiny.read_weights(self.out("r1"))
        self.assertEqual(set(weights["model.norm.weight"]), {1.0})
        values = weights["model.layers.1.mlp.up_proj.weight"]
        self.assertLess(abs((sum(x * x for x in values) / len(values)) ** 0.5 - 0.02), 0.002)

    def test_the_result_says_what_was_trained(self):
        self.train("saved", self.keys("mean_resizing_embeddings: true\n"), np=2)
        first = tiny.V
        want = {"<|eot|>": first, "<|pad|>": first + 1, "<think>": first + 2, "</think>": first + 3,
                "<|tool|>": first + 4, "<|call|>": self.added["<|end|>"]}
        for directory in (self.out("saved"), os.path.join(self.out("saved"), "tokenizer")):
            self.assertEqual(self.tokenize(directory, *want), [[i] for i in want.values()])
        with open(os.path.join(self.out("saved"), "config.json")) as f:
            config = json.load(f)
        self.assertEqual([config[k] for k in ("vocab_size", "eos_token_id", "pad_token_id", "bos_token_id")],
                         [first + 5, first, first + 1, self.added["<s>"]])
        self.assertEqual(test_cli.read(os.path.join(self.out("saved"), "chat_template.jinja")).decode(), TEMPLATE)
        # the result is a model like any other: nothing is added again
        again = self.train("again", f"sequence_len: 96\ndatasets:\n  - path: {self.data}\n    type: chat_template\n"
                           "learning_rate: 0.0\nweight_decay: 0.0\nmax_steps: 1\ngradient_accumulation_steps: 2\n",
                           model=self.out("saved"))
        self.assertNotIn("enlarged", again.stdout)
        for name in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"):
            self.assertEqual(test_cli.read(os.path.join(self.out("again"), name)),
                             test_cli.read(os.path.join(self.out("saved"), name)), name)
        self.run_program("inference", self.out("saved"), "--prompt", "Hi", "--chat", "--max-new-tokens", "3")

    def test_resume_and_merge(self):
        self.train("straight", self.keys("save_steps: 2\nsave_strategy: steps\n"))
        self.run_program("merge", os.path.join(self.out("straight"), "checkpoint-4"), "-o", self.out("merged"))
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
                     "model.safetensors"):
            self.assertEqual(test_cli.read(os.path.join(self.out("merged"), name)),
                             test_cli.read(os.path.join(self.out("straight"), name)), name)
        go_on = "auto_resume_from_checkpoints: true\n"
        for name, np in (("same", 1), ("other", 2)):
            shutil.copytree(os.path.join(self.out("straight"), "checkpoint-2"),
                            os.path.join(self.out(name), "checkpoint-2"))
            split = f"gradient_accumulation_steps: {4 // np}\n"
            self.train(name, self.keys(go_on).replace("gradient_accumulation_steps: 4\n", split), np=np)
            want, got = tiny.read_metrics(self.out("straight")), tiny.read_metrics(self.out(name))
            self.assertEqual(sorted(got), [3, 4])
            for step in got:
                self.assertLessEqual(abs(want[step] - got[step]), 1e-5 * want[step])
            self.assert_same_weights("straight", name, 0.0 if np == 1 else 1e-4)

    def test_rows_are_rounded_and_cut(self):
        keys = self.keys("resize_token_embeddings_to_32x: true\nmax_steps: 1\n")
        self.train("round", keys.replace('"</think>"]', '"</think>", "<more>"]'))
        self.assertEqual(self.rows("round"), (tiny.V + 6 + 31) // 32 * 32)
        self.train("cut32", self.keys("shrink_embeddings: true\nmax_steps: 1\n").replace("  0: <|call|>\n", "")
                   .replace("added_tokens_overrides:\n", ""), model=self.out("round"))
        self.assertEqual(self.rows("cut32"), tiny.V + 6)

    def test_a_longer_context_is_recorded(self):
        done = self.train("long", self.keys("max_steps: 1\n").replace("sequence_len: 96", "sequence_len: 600"))
        self.assertIn("max_position_embeddings 512", done.stderr)
        with open(os.path.join(self.out("long"), "config.json")) as f:
            self.assertEqual(json.load(f)["max_position_embeddings"], 600)

    def test_the_template_can_stay_in_the_configuration(self):
        self.train("inside", self.keys("tokenizer_save_jinja_files: false\nmax_steps: 1\n"))
        self.assertFalse(os.path.exists(os.path.join(self.out("inside"), "chat_template.jinja")))
        with open(os.path.join(self.out("inside"), "tokenizer_config.json")) as f:
            self.assertEqual(json.load(f)["chat_template"], TEMPLATE)

    def test_the_system_text_goes_into_the_template(self):
        # whoever loads the result does not know the key; a template that reads the variable finds it set
        self.train("system", self.keys("default_system_message: Be \"brief\".\nmax_steps: 1\n")
                   .replace("chat_template: jinja\nchat_template_jinja: " + self.template, "chat_template: chatml"))
        done = self.run_program("render", self.out("system"), input='{"messages": [{"role": "user", "content": "a"}]}\n')
        text = json.loads(done.stdout)["text"]
        self.assertTrue(text.endswith("<|im_start|>user\na<|im_end|>\n"), text)
        source = test_cli.read(os.path.join(self.out("system"), "chat_template.jinja")).decode()
        self.assertEqual("Be \"brief\"." in text, "default_system_message" in source, text)

    def test_faults_are_named(self):
        done = self.train("bad1", self.keys().replace(f"  {self.added['<|end|>']}: <|call|>", "  5: <|call|>"), expect=2)
        self.assertIn("added_tokens_overrides: 5 is not the id of an added token", done.stderr)
        done = self.train("bad2", self.keys("fix_untrained_tokens: [3, 7000]\n"), expect=2)
        self.assertIn("fix_untrained_tokens: 7000 is no token of the model", done.stderr)
        done = self.train("bad3", self.keys().replace('eot_tokens: ["<|im_end|>"]', 'eot_tokens: ["{{ m"]'), expect=2)
        self.assertIn("tokens:", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[test_cli.CUT + 1:])
