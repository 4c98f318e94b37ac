#!/usr/bin/env python3
"""Ranks of a training that are killed, stopped or unlike the others: test_failures.py AXL_DIST MPIRUN..."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

from test_cli import ENV, MPIRUN, PROGRAM, Case

LONG = """gradient_accumulation_steps: 4
max_steps: 100000
logging_steps: 1
save_strategy: steps
save_steps: 5
save_total_limit: 2
"""


def ranks_of(mpirun):
    """{rank: pid} of the ranks that this mpirun started."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
            with open(f"/proc/{pid}/environ", "rb") as f:
                rank = re.search(rb"OMPI_COMM_WORLD_RANK=(\d+)", f.read())
        except OSError:
            continue
        if parent == mpirun and rank:
            found[int(rank[1])] = int(pid)
    return found


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Failures(Case):
    def start(self, name, text, np=3):
        """A training that has saved (when it saves) or made its first step, and the pids of its ranks."""
        path = self.config(name, text)
        run = subprocess.Popen(MPIRUN + ["-np", str(np), PROGRAM, path], env=ENV, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
        sign = os.path.join(self.out(name), "checkpoint-5" if "save_steps" in text else "metrics.jsonl")
        end = time.time() + 60
        while time.time() < end and run.poll() is None and not (os.path.exists(sign) and os.path.getsize(sign) > 0):
            time.sleep(0.02)
        self.assertIsNone(run.poll(), "the run ended before its ranks could be disturbed")
        ranks = ranks_of(run.pid)
        self.assertEqual(sorted(ranks), list(range(np)))
        return run, ranks

    def finish(self, run, ranks, expect, seconds=120.0):
        began = time.time()
        try:
            stdout, stderr = run.communicate(timeout=120)
        finally:
            if run.poll() is None:
                run.kill()
                for pid in filter(is_running, ranks.values()):
                    os.kill(pid, signal.SIGKILL)
        took = time.time() - began
        self.assertEqual(run.returncode, expect, stdout + stderr)
        self.assertLess(took, seconds, stderr)
        end = time.time() + 5.0  # mpirun does not wait for the last of those that it ends
        while time.time() < end and any(map(is_running, ranks.values())):
            time.sleep(0.05)
        self.assertEqual([pid for pid in ranks.values() if is_running(pid)], [])
        return [line for line in stderr.splitlines() if line.startswith("axl-dist: ")], stdout + stderr

    def end_by(self, how, victim, judge, expect, pattern, text):
        shutil.rmtree(self.out("run"), ignore_errors=True)
        run, ranks = self.start("run", LONG + text)
        os.kill(ranks[victim], how)
        said, everything = self.finish(run, ranks, expect, seconds=20.0)  # far below the default timeouts
        self.assertEqual(len(said), 1, everything)
        self.assertRegex(said[0], rf"^axl-dist: rank {judge}: rank {victim} \(host {os.uname().nodename}, "
                         rf"pid {ranks[victim]}\) {pattern}")
        self.assertRegex(said[0], r"; rank \d waits for it in \w+ on axis \w+ \(\d+ bytes\), step \d+; last good "
                         rf"checkpoint: {self.out('run')}/checkpoint-\d+; start again with auto_resume")
        checkpoint = re.search(r"checkpoint: (\S+);", said[0])[1]
        self.assertTrue(os.path.exists(os.path.join(checkpoint, "index.h5")))

    def test_a_killed_rank(self):
        # nobody waits for a timeout: the message comes before mpirun ends the others
        for victim, judge in ((2, 0), (0, 1)):
            self.end_by(signal.SIGKILL, victim, judge, 137, r"died \(killed, or crashed\), [\d.]+ s before seen ", "")
        path = os.path.join(self.top, "run.yaml")
        self.run_program(path, "--max_steps", "300", "--auto_resume_from_checkpoints", "true", np=2)

    def test_a_stopped_rank(self):
        for victim, judge in ((1, 0), (0, 1)):
            self.end_by(signal.SIGSTOP, victim, judge, 4,
                        r"has been silent for \d+\.\d s \(heartbeat_timeout 3\): ", "heartbeat_timeout: 3\n")

    def test_a_pause_is_no_failure(self):
        # every rank in turn stands still for half the timeout, on a machine that has other work
        for victim in range(3):
            shutil.rmtree(self.out("pause"), ignore_errors=True)
            text = "gradient_accumulation_steps: 4\nmax_steps: 150\nheartbeat_timeout: 4\nddp_timeout: 4\n"
            run, ranks = self.start("pause", text)
            os.kill(ranks[victim], signal.SIGSTOP)
            load = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(2)]
            try:
                time.sleep(2.0)
                os.kill(ranks[victim], signal.SIGCONT)
                time.sleep(1.0)
            finally:
                for p in load:
                    p.kill()
                    p.wait()
            said, everything = self.finish(run, ranks, 0)
            self.assertEqual(said, [], everything)
            self.assertIn("wrote the model", everything)

    def test_a_signal_to_all_is_no_failure(self):
        # mpirun gives the ranks a second to save; who does not make it was not lost
        run, ranks = self.start("term", LONG)
        run.send_signal(signal.SIGTERM)
        said, everything = self.finish(run, ranks, run.wait(timeout=60))
        self.assertEqual(said, [], everything)
        self.assertNotEqual(run.returncode, 0)


class Differences(Case):
    """Ranks that run or read something else are refused before anything starts."""

    def refuse(self, apps, words):
        command = MPIRUN + sum(([":", "-np", str(np)] + app for np, app in apps), [])[1:]
        done = subprocess.run(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        self.assertEqual(done.returncode, 2, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(done.stderr.count("error: "), 1, done.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.out("d"), "metrics.jsonl")))

    def test_configuration(self):
        path, host = self.config("d"), os.uname().nodename
        other = self.config("e", "learning_rate: 5.0e-4\n", out=self.out("d"))
        self.refuse([(1, [PROGRAM, path]), (2, [PROGRAM, other])],
                    [f"d.yaml: ranks 1, 2 (host {host}) read learning_rate 0.0005, rank 0 (host {host}) 0.001; give every"])
        self.refuse([(2, [PROGRAM, path]), (1, [PROGRAM, path, "--val_set_size", "0.25"])],
                    [f"rank 2 (host {host}) reads val_set_size 0.25, rank 0 (host {host}) 0;"])

    def test_the_same_file_elsewhere_is_the_same(self):
        path = self.config("d", "max_steps: 1\n")
        again = os.path.join(self.top, "again.yaml")
        with open(path) as f, open(again, "w") as g:
            g.write("# moved by a line\n" + f.read())
        done = subprocess.run(MPIRUN + ["-np", "1", PROGRAM, path, ":", "-np", "1", PROGRAM, again], env=ENV,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        shutil.rmtree(self.out("d"))

    def test_binary(self):
        path, other = self.config("d"), os.path.join(self.top, "axl-dist")
        shutil.copy(PROGRAM, other)
        with open(other, "ab") as f:
            f.write(b"another build")
        self.refuse([(1, [PROGRAM, path]), (1, [other, path])],
                    ["rank 1 (host", "runs with the axl-dist build ", ", rank 0 (host ", "; install the same on every host"])

    def test_library(self):
        if shutil.which("cc") is None:
            self.skipTest("no compiler for a library of another version")
        path, source = self.config("d"), os.path.join(self.top, "z.c")
        with open(source, "w") as f:
            f.write('const char *ZSTD_versionString(void) { return "0.0.1"; }\n')
        library = os.path.join(self.top, "z.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
        # the address sanitizer wants to be the first library
        other = ["env", "LD_PRELOAD=" + library, "ASAN_OPTIONS=verify_asan_link_order=0", PROGRAM, path]
        self.refuse([(2, [PROGRAM, path]), (1, other)],
                    ["rank 2 (host", "runs with zstd 0.0.1, rank 0 (host "])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[sys.argv.index("--") + 1:])
