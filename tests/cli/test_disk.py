#!/usr/bin/env python3
"""Disks that fill up under a run and under commands: test_disk.py AXL_DIST MPIRUN... -- CLASS

FullDisk fills small file systems of its own. They are mounted in a name space that ends with the test, which needs the
right to make one; where it is lacking the test is skipped."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import unittest

import tiny
from test_cli import ENV, MPIRUN, PROGRAM, Case, read

INSIDE = "AXL_TEST_DISK_INSIDE"
SAVES = "save_strategy: steps\nsave_steps: 2\n"
SIDES = """val_set_size: 0.1
use_tensorboard: true
generate_samples: true
generation_max_new_tokens: 4
num_generation_samples: 1
eval_steps: 2
profiler_steps: 1
"""
FULL = "No space left on device"


class FullDisk(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.disk = os.path.join(cls.top, "disk")
        os.mkdir(cls.disk)

    def setUp(self):
        self.mounted = []

    def tearDown(self):
        while self.mounted:
            self.unmount()

    def mount(self, room):
        """A new file system with so many bytes left; the others are taken by a file."""
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", self.disk], check=True)
        self.mounted.append(self.disk)
        self.leave(room)

    def leave(self, room):
        with open(os.path.join(self.disk, "taken"), "wb") as f:
            system = os.statvfs(self.disk)
            os.posix_fallocate(f.fileno(), 0, system.f_bavail * system.f_frsize - room)

    def make_room(self):
        os.remove(os.path.join(self.disk, "taken"))

    def unmount(self):
        subprocess.run(["umount", "-l", self.mounted.pop()], check=True)

    def on_disk(self, name, text, saves=True):
        return self.config(name, (SAVES if saves else "") + text, out=os.path.join(self.disk, "out"))

    def run_full(self, *args, np=1, expect=1):
        """Its one error."""
        done = self.run_program(*args, np=np, expect=expect)
        errors = re.findall(r"(?m)^(?:error|axl-dist \w+): (.*)", done.stderr)
        self.assertEqual(len(errors), 1, done.stderr)
        return errors[0]

    def test_a_save_that_fails_loses_nothing(self):
        for np in (1, 2):
            calm = f"calm{np}"
            more = f"gradient_accumulation_steps: {12 // np}\n"
            self.train(calm, SAVES + more, np=np)
            size = sum(os.path.getsize(os.path.join(self.out(calm), "checkpoint-2", f))
                       for f in os.listdir(os.path.join(self.out(calm), "checkpoint-2")))
            self.mount(2 * size)
            path = self.on_disk("full", more + "auto_resume_from_checkpoints: true\n")
            out = os.path.join(self.disk, "out")
            error = self.run_full(path, np=np)
            self.assertRegex(error, rf"checkpoint-4.tmp/.*: {FULL}; free space there, or choose another folder; "
                             r".*/out/checkpoint-2 is whole: auto_resume_from_checkpoints: true goes on from it$")
            self.assertEqual([f for f in os.listdir(out) if f.startswith("checkpoint")], ["checkpoint-2"])
            self.make_room()
            done = self.run_program(path, np=np)
            self.assertIn("/checkpoint-2: step 2", done.stdout)
            self.assertEqual(read(os.path.join(self.out(calm), "model.safetensors")),
                             read(os.path.join(out, "model.safetensors")))
            self.assertEqual(tiny.read_metrics(self.out(calm)), tiny.read_metrics(out))
            self.unmount()

    def test_no_room_is_said_at_the_start(self):
        self.mount(64 << 10)
        path = self.on_disk("start", "", saves=False)
        done = self.run_program(path, expect=1)
        self.assertRegex(done.stderr, r"warning: \S+/out has [\d.e-]+ GiB left, but a checkpoint takes up to 0 GiB and the model "
                         r"[\d.e-]+ GiB; free space there")
        self.assertRegex(done.stderr, rf"error: \S+/model.safetensors: cannot be written \(\d+ bytes\): {FULL}; free space "
                         "there, or choose another folder; no checkpoint is there to go on from\n")
        self.assertFalse(os.path.exists(os.path.join(self.disk, "out", "model.safetensors.tmp")))
        shutil.rmtree(os.path.join(self.disk, "out"))
        self.make_room()
        self.leave(4096)
        self.assertRegex(self.run_full(path), rf"/resolved_config.json: cannot be written: {FULL}; free space there")
        self.make_room()
        self.run_program(path)

    def test_side_files_do_not_end_a_run(self):
        self.mount(0)
        out = self.out("sides")
        os.mkdir(out)
        names = ["debug.log", "samples.jsonl", "profiler_trace.json"]
        for name in names:
            os.symlink(os.path.join(self.disk, name), os.path.join(out, name))
        path = self.config("sides", SAVES + SIDES)
        done = self.run_program(path)
        for name in names:
            said = [line for line in done.stderr.splitlines() if name + ": cannot be written: " + FULL in line]
            self.assertEqual(len(said), 1, done.stderr)
        self.assertRegex(done.stderr, r"samples.jsonl: \d+ bytes could not be written: " + FULL)
        self.assertNotIn("error", done.stderr)
        self.assertEqual(sorted(tiny.read_metrics(out)), [1, 2, 3, 4, 5, 6])
        self.assertTrue(os.path.exists(os.path.join(out, "model.safetensors")))

    def test_metrics_that_are_missing_are_an_error_after_the_model(self):
        self.mount(0)
        out = self.out("metrics")
        os.mkdir(out)
        os.symlink(os.path.join(self.disk, "metrics.jsonl"), os.path.join(out, "metrics.jsonl"))
        error = self.run_full(self.config("metrics", SAVES))
        self.assertRegex(error, r"the model is whole, but not the record of its making: \S+/metrics.jsonl: \d+ bytes could "
                         rf"not be written: {FULL}; free space there")
        self.assertTrue(os.path.exists(os.path.join(out, "model.safetensors")))

    def test_a_run_goes_on_until_there_is_room(self):
        self.mount(20 << 10)  # for resolved_config.json and the first lines
        path = self.on_disk("room", "use_tensorboard: true\ngradient_accumulation_steps: 1\nmax_steps: 600\n", saves=False)
        run = subprocess.Popen([PROGRAM, path], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        said = ""
        with run.stderr as stderr:
            for line in stderr:
                said += line
                if "metrics.jsonl: cannot be written" in line:
                    break
            self.assertIsNone(run.poll(), said)
            self.make_room()
            said += stderr.read()
        self.assertEqual(run.wait(timeout=120), 0, said)
        out = os.path.join(self.disk, "out")
        self.assertEqual(sorted(tiny.read_metrics(out)), list(range(1, 601)))
        self.assertEqual([step for step, _ in tiny.read_events(out)], sorted(tiny.read_metrics(out)))

    def test_prepared_sets(self):
        self.mount(8 << 10)
        path = self.config("sets", prepared=os.path.join(self.disk, "sets"))
        self.assertRegex(self.run_full("preprocess", path), rf"/sets/\w+.axl: cannot be written: {FULL}; the set and its .* set "
                         "dataset_prepared_path to another folder$")
        self.assertEqual(os.listdir(os.path.join(self.disk, "sets")), [])
        self.assertIn("dataset_prepared_path", self.run_full(path))  # a training says the same
        dump = self.config("dump", SAVES)
        to = os.path.join(self.disk, "samples.jsonl")
        self.assertRegex(self.run_full("preprocess", dump, "--dump", to), rf"samples.jsonl: cannot be written: {FULL}; free")
        self.make_room()
        self.run_program("preprocess", path)
        self.run_program("preprocess", dump, "--dump", to)

    def test_a_merge_can_be_tried_again(self):
        self.train("source", SAVES + "max_steps: 2\n")
        names = ("model.safetensors", "tokenizer.json", "tokenizer_config.json")
        need = sum(-(-os.path.getsize(os.path.join(self.out("source"), name)) // 4096) * 4096 for name in names)
        to = os.path.join(self.disk, "merged")
        # the weights find no room; the tokenizer; config.json, which comes last
        for np, size, what in ((1, 65536, "model.safetensors"), (2, need - 8192, "tokenizer.json"), (1, need, "config.json")):
            self.mount(size)
            error = self.run_full("merge", self.out("source"), "-o", to, np=np)
            self.assertRegex(error, rf"/merged/{what}: cannot be written.*: {FULL}; free space there, or choose another folder$")
            self.make_room()
            self.run_program("merge", self.out("source"), "-o", to, np=np)
            self.assertEqual(read(os.path.join(to, "model.safetensors")),
                             read(os.path.join(self.out("source"), "model.safetensors")))
            self.unmount()


class FullOutput(Case):
    """Standard output on a full disk, and files that may not grow; these need no rights."""

    def to_full(self, *args, expect=1):
        with open("/dev/full", "w") as full:
            done = subprocess.run([PROGRAM, *args], env=ENV, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE,
                                  text=True, timeout=120)
        self.assertEqual(done.returncode, expect, f"{args}: {done.stderr}")
        return done.stderr

    def test_a_command_whose_result_is_lost_fails(self):
        path = self.config("full")
        self.run_program("preprocess", path)
        for args in (["config-schema"], ["validate", path, "--json"], ["plan", path, "--ranks", "2"], ["inspect", self.model],
                     ["explain", path, "--row", "1"], ["preprocess", path, "--dump", "-"], ["fetch", "examples", "--list"],
                     ["--help"], ["train", "--help"]):
            with self.subTest(args=args):
                # how to train is no result
                said = self.to_full(*args, expect=0 if args[0] == "train" else 1)
                self.assertEqual(said.count("standard output"), args[0] != "train", said)

    def test_a_training_whose_output_is_lost_goes_on(self):
        self.assertNotIn("error", self.to_full(self.config("deaf"), expect=0))
        self.assertEqual(len(tiny.read_metrics(self.out("deaf"))), 6)

    def test_a_limit_on_files_is_an_error_with_a_message(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))

        path = self.config("limit", "save_strategy: steps\nsave_steps: 3\n")
        done = self.run_program(path, expect=1, preexec_fn=limit)
        self.assertRegex(done.stderr, r"error: \S+/checkpoint-3.tmp/\S+: H5Dwrite_chunk: File too large; the limit on the size of "
                         r"files \(ulimit -f\) is too low; no checkpoint is there to go on from")


def enter(name):
    """Runs this test again in a mount name space of its own."""
    for ways in (["-m"], ["-r", "-m"]):
        command = ["unshare", *ways, "--propagation", "private"]
        try:
            if subprocess.run(command + ["mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0:
                os.environ[INSIDE] = "1"
                os.execvp("unshare", command + [sys.executable] + sys.argv)
        except FileNotFoundError:
            break
    print(f"{name} is skipped: no right to mount a small file system, or no unshare")
    sys.exit(77)


if __name__ == "__main__":
    rest = sys.argv[sys.argv.index("--") + 1:]
    if "FullDisk" in rest[0] and INSIDE not in os.environ:
        enter(rest[0])
    unittest.main(argv=sys.argv[:1] + rest)
