#!/usr/bin/env python3
"""`axl-dist render` from outside, against the reference's renderings: test_render.py AXL_DIST [unittest arguments]

Built-in templates are compared by the hash of their text (tests/goldens/make_templates.py), small ones by the text.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

PROGRAM = sys.argv[1]
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")
NOW = "2025-03-09T14:05:00"


def load(*path):
    with open(os.path.join(DATA, *path), encoding="utf-8") as f:
        return json.load(f)


def fnv1a(text):
    h = 0xCBF29CE484222325
    for b in text.encode():
        h = (h ^ b) * 0x100000001B3 % 2**64
    return f"{h:016x}"


def run(what, lines, *options):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    return subprocess.run([PROGRAM, "render", what, *options], input=text, capture_output=True, text=True, timeout=60)


def answers(what, lines, *options):
    done = run(what, lines, *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class Render(unittest.TestCase):
    def test_built_in_templates_give_the_reference_s_texts_and_errors(self):
        root = load("chat", "renders.json")
        lines = []
        for name, kwargs in root["cases"]:
            lines.append({**root["special_tokens"], **root["conversations"][name], **kwargs})
        self.assertEqual(len(root["answers"]), 36)
        for template, wants in root["answers"].items():
            got = answers(template, lines, "--now", NOW)
            self.assertEqual(len(got), len(wants))
            for case, want, line in zip(root["cases"], wants, got):
                with self.subTest(template=template, case=case):
                    if want is None:
                        self.assertTrue(line.get("error"))
                    elif "raised" in want:
                        self.assertEqual(line, {"error": want["raised"]})
                    else:
                        self.assertEqual(fnv1a(line["text"]), want["hash"], line["text"])

    def test_small_templates_give_the_reference_s_texts_and_errors(self):
        root = load("jinja", "snippets.json")
        self.assertEqual(len(root["snippets"]), 128)
        for s in root["snippets"]:
            with self.subTest(source=s["source"]), tempfile.NamedTemporaryFile("w", suffix=".jinja") as f:
                f.write(s["source"])
                f.flush()
                done = run(f.name, [root["context"]], "--now", NOW)
                [line] = map(json.loads, done.stdout.splitlines())
                if "output" in s:
                    self.assertEqual(line, {"text": s["output"]})
                elif s["error"]["type"] == "TemplateError":
                    self.assertEqual(line, {"error": s["error"]["message"]})
                else:
                    self.assertTrue(line.get("error"))

    def test_an_error_names_template_line_and_source_line(self):
        with tempfile.NamedTemporaryFile("w", suffix=".jinja") as f:
            f.write("a\n\n  {{ x.y }}\n")
            f.flush()
            [line] = answers(f.name, [{}])
            self.assertEqual(line["error"], f"{f.name}:3: 'x' is undefined; in: {{{{ x.y }}}}")

    def test_a_bad_line_does_not_stop_the_next_one(self):
        done = subprocess.run([PROGRAM, "render", "chatml"], input='[]\n{\n{"messages": []}\n', capture_output=True, text=True)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([list(line) for line in lines], [["error"], ["error"], ["text"]])

    def test_an_unknown_name_and_a_bad_time_are_refused(self):
        for arguments, words in [(["chatm"], "did you mean chatml"), (["chatml", "--now", "noon"], "2025-03-09T")]:
            done = run(arguments[0], [], *arguments[1:])
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(words, done.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
