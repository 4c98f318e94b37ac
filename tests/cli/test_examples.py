#!/usr/bin/env python3
"""Every file of configs/examples as it is, but for paths, sizes and length: test_examples.py AXL_DIST MPIRUN... [-- ...]

A tiny model of the family takes two steps with it, on a mesh that has the axes of the file."""

import glob
import json
import math
import os
import re
import shutil
import sys
import unittest

import test_cli
import tiny

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, "..", "..")
FOLDER = os.path.join(TOP, "configs", "examples")

# file: (model of tests/data/families, ranks, keys that fit the file to that many ranks)
CASES = {
    "llama-chat": ("llama", 2, ""),
    "llama-70b-hsdp-tp": ("llama_llama3", 8, "--dp_shard_size 2"),
    "llama-long-context": ("llama_llama3", 4, ""),
    "llama-pretrain-stream": ("llama_yarn", 2, "--micro_batch_size 2"),
    "llama-repair-scales": ("llama_linear", 1, ""),
    "mistral-alpaca": ("mistral", 2, "--val_set_size 20"),
    "mistral-completion": ("mistral", 1, ""),
    "mixtral-experts": ("mixtral", 4, "--expert_parallel_size 2"),
    "pretokenized": ("qwen2", 2, ""),
    "qwen2-hsdp": ("qwen2_tied", 4, "--dp_shard_size 2"),
    "qwen3-moe": ("qwen3_moe", 4, "--expert_parallel_size 2"),
    "qwen3-thinking": ("qwen3", 2, ""),
    "smollm2-cpu": ("llama", 2, ""),
    "smollm3-full": ("smollm3", 2, ""),
}
# what the paths of the examples stand for
DATA = {"chats.jsonl": "chats", "chats-heldout.jsonl": "chats", "*.parquet": "text", "corpus": "text",
        "manuals": "body", "alpaca.jsonl": "alpaca", "more.csv": "questions", "tokenized": "tokens",
        "sharegpt.jsonl": "named", "thoughts.jsonl": "thoughts"}
TOKENS = ["<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|begin_of_text|>", "<|finetune_right_pad_id|>",
          "<think>", "</think>", "</s>"]


def text(name):
    return test_cli.read(os.path.join(FOLDER, name + ".yaml")).decode()


def write_rows(path, rows):
    test_cli.write(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


class Examples(test_cli.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data = {name: os.path.join(cls.top, name + ".jsonl") for name in DATA.values()}
        cls.data["questions"] = os.path.join(cls.top, "questions.csv")
        turns = [("Say the number %d.", "It is %d, the one after %d."), ("And %d?", "%d too.")]

        def talk(i, role, content, names, thought=""):
            out = []
            for ask, answer in turns:
                out.append({role: names[0], content: ask % i})
                out.append({role: names[1], content: thought + answer % ((i, i - 1) if answer.count("%") > 1 else i)})
            return out

        usual = ("role", "content", ("user", "assistant"))
        write_rows(cls.data["chats"], [{"messages": talk(i, *usual)} for i in range(64)])
        write_rows(cls.data["thoughts"],
                   [{"messages": talk(i, *usual, "<think>One more than %d.</think>" % (i - 1))} for i in range(64)])
        write_rows(cls.data["named"],
                   [{"conversations": talk(i, "from", "value", ("human", "gpt"))} for i in range(64)])
        write_rows(cls.data["text"], [{"text": f"The number {i} follows {i - 1}. " * (1 + i % 5)} for i in range(64)])
        write_rows(cls.data["body"], [{"body": f"Turn screw {i}, then screw {i + 1}."} for i in range(64)])
        write_rows(cls.data["alpaca"], [{"instruction": f"Add one to {i}.", "input": "" if i % 2 else "Be short.",
                                         "output": f"{i + 1}"} for i in range(64)])
        test_cli.write(cls.data["questions"], b"question,answer\n" +
                       b"".join(b"What is %d?,A number\n" % i for i in range(32)))
        tiny.make_tokenized(cls.data["tokens"], [20, 31, 44, 12] * 16, largest_id=100)
        hub = os.path.join(cls.top, "hub", "datasets", "HuggingFaceTB", "smoltalk", "everyday-conversations")
        os.makedirs(hub)
        shutil.copy(cls.data["chats"], os.path.join(hub, "train.jsonl"))
        cls.make_tokenizer(os.path.join(cls.top, "tokenizer"))

    @classmethod
    def make_tokenizer(cls, path):
        """The tiny tokenizer with tokens that the families' own have."""
        shutil.copytree(tiny.TOKENIZER, path)
        with open(os.path.join(path, "tokenizer.json")) as f:
            tokenizer = json.load(f)
        last = max(a["id"] for a in tokenizer["added_tokens"])
        tokenizer["added_tokens"] += [dict(tokenizer["added_tokens"][-1], id=last + 1 + i, content=token)
                                      for i, token in enumerate(TOKENS)]
        with open(os.path.join(path, "tokenizer.json"), "w") as f:
            json.dump(tokenizer, f)
        shutil.copy(os.path.join(TOP, "src", "text", "templates", "chatml.jinja"),
                    os.path.join(path, "chat_template.jinja"))

    def make_family(self, family):
        path = os.path.join(self.top, family)
        if not os.path.exists(path):
            shutil.copytree(os.path.join(TOP, "tests", "data", "families", family), path,
                            ignore=shutil.ignore_patterns("golden*", "config_v4.json"))
            shutil.copytree(os.path.join(self.top, "tokenizer"), path, dirs_exist_ok=True)
        return path

    def place(self, match):
        path = match.group(2)
        if path == "HuggingFaceTB/smoltalk":
            return match.group(0)
        base = os.path.basename(path)
        return match.group(1) + self.data["tokens" if "tokenized" in path else DATA[base]]

    def run_example(self, name):
        family, np, more = CASES[name]
        path = os.path.join(self.top, name + ".yaml")
        body = re.sub(r"(?m)^( *(?:- )?path: )(\S+)", self.place, text(name))
        test_cli.write(path, body.encode())
        more = more.split()
        if "HuggingFaceTB" in body:
            more += ["--hub_folder", os.path.join(self.top, "hub")]
        done = self.run_program(path, "--base_model", self.make_family(family), "--output_dir", self.out(name),
                                "--dataset_prepared_path", self.out(name + "-prepared"), "--max_steps", "2",
                                "--sequence_len", "192", "--gradient_accumulation_steps", "1", "--logging_steps", "1", *more, np=np)
        losses = tiny.read_metrics(self.out(name))
        self.assertEqual(sorted(losses), [1, 2], name)
        self.assertTrue(all(math.isfinite(v) and v > 0 for v in losses.values()), (name, losses))
        for file in ("config.json", "model.safetensors", "resolved_config.json"):
            self.assertTrue(os.path.exists(os.path.join(self.out(name), file)), (name, file))
        return done.stdout

    def test_each_runs(self):
        said = {}
        for name in CASES:
            with self.subTest(name):
                said[name] = self.run_example(name)
        self.assertIn("normalize_weight_scales", said["llama-repair-scales"])

    def test_every_file_has_a_case_and_every_family_a_file(self):
        files = {os.path.splitext(os.path.basename(p))[0] for p in glob.glob(os.path.join(FOLDER, "*"))}
        self.assertEqual(files, set(CASES))
        with open(os.path.join(TOP, "src", "model", "families", "families.def")) as f:
            families = set(re.findall(r"AXL_FAMILY\((\w+)\)", f.read()))
        used = set()
        for family, _, _ in CASES.values():
            with open(os.path.join(TOP, "tests", "data", "families", family, "config.json")) as f:
                used.add(json.load(f)["model_type"])
        self.assertEqual(used, families)
        with open(os.path.join(TOP, "docs", "start.md")) as f:
            page = f.read()
        for name in files:
            self.assertIn(f"`{name}.yaml`", page)

    def test_the_command_in_each_fits_its_mesh(self):
        for name in CASES:
            head = text(name).split("base_model")[0]
            np = re.search(r"-np (\d+)", head)
            nodes = re.search(r"--nodes=(\d+) --ntasks-per-node=(\d+)", head)
            ranks = int(np.group(1)) if np else int(nodes.group(1)) * int(nodes.group(2)) if nodes else 8
            self.assertIn(name + ".yaml", head)
            done = self.run_program("validate", os.path.join(FOLDER, name + ".yaml"), "--ranks", str(ranks))
            self.assertTrue(done.stdout.endswith(".yaml: can be run\n"), done.stdout)
            self.assertNotIn(" warning: ", done.stdout)


class Fetch(test_cli.Case):
    def test_the_files_come_as_they_are(self):
        target = os.path.join(self.top, "new", "folder")
        done = self.run_program("fetch", "examples", target)
        self.assertIn(f"{len(CASES)} examples, {len(CASES)} written", done.stdout)
        self.assertEqual(sorted(os.listdir(target)), sorted(name + ".yaml" for name in CASES))
        for name in CASES:
            self.assertEqual(test_cli.read(os.path.join(target, name + ".yaml")).decode(), text(name))
        self.assertIn(" 0 written", self.run_program("fetch", "examples", target).stdout)

    def test_what_was_edited_is_kept(self):
        target = os.path.join(self.top, "edited")
        os.makedirs(target)
        path = os.path.join(target, "qwen3-moe.yaml")
        test_cli.write(path, b"base_model: mine\n")
        done = self.run_program("fetch", "examples", target, expect=2)
        self.assertIn("qwen3-moe.yaml is there and differs, so nothing was written", done.stderr)
        self.assertEqual(os.listdir(target), ["qwen3-moe.yaml"])
        self.assertEqual(test_cli.read(path), b"base_model: mine\n")
        self.run_program("fetch", "examples", target, "--force")
        self.assertEqual(test_cli.read(path).decode(), text("qwen3-moe"))

    def test_usage(self):
        self.assertIn("usage: axl-dist fetch examples", self.run_program("fetch", "--help").stdout)
        listed = self.run_program("fetch", "examples", "--list").stdout.splitlines()
        self.assertEqual([line.split(".yaml: ")[0] for line in listed], sorted(CASES))
        for line in listed:
            self.assertTrue(line.endswith("."), line)
        for args, part in ((("fetch",), "say what"), (("fetch", "models"), "models cannot be fetched"),
                           (("fetch", "examples", "--forse"), "--forse is not an argument")):
            self.assertIn(part, self.run_program(*args, expect=2).stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[test_cli.CUT + 1:])
