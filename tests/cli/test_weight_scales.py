#!/usr/bin/env python3
"""normalize_weight_scales from outside: test_weight_scales.py AXL_DIST MPIRUN... [-- unittest arguments]

What the program prints and saves against tests/goldens/weight_scales.py, to the bit, on every layout."""

import os
import random
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "goldens"))

import test_cli
import tiny
import weight_scales

# (keys of a rule) as Python and, by json, as YAML: outliers up and down, a dry run, too few, a tied matrix once, a rule
# that sees what the first has scaled, one without a pattern.
RULES = [
    {"name_pattern": r"mlp\.(up|gate)_proj"},
    {"name_pattern": "o_proj", "dry_run": True},
    {"name_pattern": "lm_head|embed_tokens"},
    {"name_pattern": r"_proj\.weight$", "threshold": 3.25},
    {"name_pattern": r"layers\.\d+\..*proj", "threshold": 1.05},
    {"name_pattern": "norm"},
    {"threshold": 2},
]
STILL = "learning_rate: 0.0\nweight_decay: 0.0\nmax_steps: 1\n"


def rules_text(rules):
    out = "normalize_weight_scales:\n"
    for rule in rules:
        items = [f"{key}: '{value}'" if isinstance(value, str) else f"{key}: {str(value).lower()}"
                 for key, value in rule.items()]
        out += "  - " + "\n    ".join(items) + "\n"
    return out


def spoil(path, seed=5):
    """Other scales for some tensors, and one of equal numbers."""
    rng, weights = random.Random(seed), tiny.read_weights(path)
    for name in sorted(weights):
        factor = rng.choice([1.0, 1.0, 1.0, 1.3, 1.9, 7.0, 0.4, 0.01])
        for i in range(len(weights[name]) if name.endswith("proj.weight") else 0):
            weights[name][i] *= factor
    name = "model.layers.1.post_attention_layernorm.weight"
    for i in range(len(weights[name])):
        weights[name][i] = 1.0
    tiny.write_weights(path, weights)


class WeightScales(test_cli.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        spoil(cls.model)
        cls.experts = os.path.join(cls.top, "experts")
        tiny.make_model(cls.experts, experts=4, seed=9)

    def reference(self, model, rules):
        weights = tiny.read_weights(model)
        lines = [line for rule in rules for line in weight_scales.apply_rule(weights, rule)]
        return weights, lines

    def check(self, name, model, rules, np=1, more=""):
        accumulation = "" if "accumulation" in more else "gradient_accumulation_steps: 2\n"
        done = self.train(name, STILL + accumulation + more + rules_text(rules), np=np, model=model)
        want, lines = self.reference(model, rules)
        said = (done.stdout + done.stderr).splitlines()
        printed = [line.split("warning: ")[-1] for line in said
                   if "normalize_weight_scales" in line or "x median)" in line]
        self.assertTrue(printed)
        self.assertEqual(sorted(printed), sorted(lines))
        got = tiny.read_weights(self.out(name))
        self.assertEqual(sorted(got), sorted(want))
        for key in want:
            self.assertEqual(got[key].tobytes(), want[key].tobytes(), (name, key))
        return lines

    def test_lines_and_weights_are_those_of_the_definition_on_every_layout(self):
        lines = self.check("one", self.model, RULES)
        text = "\n".join(lines)
        for part in ("[FIXED]", "[DRY RUN]", "skipped", "left: all its numbers are equal", "without name_pattern"):
            self.assertIn(part, text)
        for name, np, more in (("two", 2, ""), ("four", 4, ""), ("tp", 2, "tensor_parallel_size: 2\n"),
                               ("hsdp", 4, "dp_shard_size: 2\ndp_replicate_size: 2\n"),
                               ("both", 4, "tensor_parallel_size: 2\ncontext_parallel_size: 2\n")):
            self.check(name, self.model, RULES, np, more)

    def test_experts(self):
        rules = [{"name_pattern": r"experts\.\d+\.w1", "threshold": 1.01}, {"name_pattern": "gate", "threshold": 1.02}]
        self.check("e1", self.experts, rules)
        self.check("e4", self.experts, rules, 4, "expert_parallel_size: 2\n")

    def test_none_outside(self):
        self.check("wide", self.model, [{"name_pattern": "self_attn", "threshold": 1e6}])

    def test_a_resumed_run_does_not_scale_again(self):
        keys = ("gradient_accumulation_steps: 2\nsave_strategy: steps\nsave_steps: 1\nauto_resume_from_checkpoints: true\n" +
                rules_text([{"name_pattern": "up_proj", "threshold": 1.01}]))
        first = self.train("again", keys + "max_steps: 1\n")
        self.assertIn("[FIXED]", first.stdout)
        second = self.train("again", keys + "max_steps: 2\n", np=2)
        self.assertIn("going on from", second.stdout)
        self.assertNotIn("normalize_weight_scales", second.stdout)

    def test_a_broken_pattern_is_refused_before_anything_starts(self):
        text = rules_text([{"name_pattern": "mlp"}, {"name_pattern": "mlp.(up"}])
        for np in (1, 2):
            done = self.train("broken", text, np=np, expect=2)
            self.assertRegex(done.stderr, r"broken.yaml:\d+: normalize_weight_scales: name_pattern: "
                             r"'mlp\.\(up' is not a regular expression")
        self.assertFalse(os.path.exists(self.out("broken")))
        done = self.run_program("validate", self.config("broken", text), expect=2)
        self.assertRegex(done.stdout, r"broken.yaml:\d+:\d+: error: normalize_weight_scales: .*'mlp\.\(up'")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[test_cli.CUT + 1:])
