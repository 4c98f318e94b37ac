#!/usr/bin/env python3
"""Ranks of a training that are unlike the others: test_failures.py AXL_DIST MPIRUN..."""

import os
import shutil
import subprocess
import sys
import unittest

from test_cli import ENV, MPIRUN, PROGRAM, Case


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
        self.refuse([(2, [PROGRAM, path]), (1, ["env", "LD_PRELOAD=" + library, PROGRAM, path])],
                    ["rank 2 (host", "runs with zstd 0.0.1, rank 0 (host "])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[sys.argv.index("--") + 1:])
