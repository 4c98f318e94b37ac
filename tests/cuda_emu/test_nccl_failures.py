#!/usr/bin/env python3
"""GPUs that die, hang or fail under NCCL, and which ranks use it at all: test_nccl_failures.py NCCL_RANK MPIRUN..."""

import os
import subprocess
import sys
import time
import unittest

PROGRAM, MPIRUN = sys.argv[1], sys.argv[2:]
END = "; last good checkpoint: out/checkpoint-5; start again with auto_resume_from_checkpoints: true"
IN = r"in all_gather on axis dp_shard \(384 bytes\), step 7"
SLOW = "collectives of this device go through host memory and MPI: slow, for tests"


class Nccl(unittest.TestCase):
    def run_ranks(self, mode, expect, np=3, heartbeat=2, collective=2, **environment):
        environment = {**os.environ, "AXL_EMU_NCCL": "1", **environment}
        began = time.time()
        done = subprocess.run(MPIRUN + ["-np", str(np), PROGRAM, mode, str(heartbeat), str(collective)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, env=environment)
        said = [line for line in done.stderr.splitlines() if line.startswith("axl-dist: ")]
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        self.assertLess(time.time() - began, 20.0, said)
        return said, done

    def one_message(self, mode, expect, pattern, **kw):
        said, _ = self.run_ranks(mode, expect, **kw)
        self.assertEqual(len(said), 1, said)
        self.assertRegex(said[0], pattern)
        self.assertIn(END, said[0])

    def test_all_well(self):
        said, done = self.run_ranks("fine", 0)
        self.assertEqual((said, done.stdout), ([], "nccl over NCCL 2.28.9\n"))
        self.assertNotIn(SLOW, done.stderr)

    def test_a_killed_rank(self):
        self.one_message("die", 137, r"^axl-dist: rank 0: rank 1 .* died \(killed, or crashed\), .*; rank [02] waits for it " + IN,
                         heartbeat=30, collective=300)

    def test_a_rank_that_computes_for_ever(self):
        self.one_message("loop", 4, r"^axl-dist: rank 0: rank 1 \(host \S+, pid \d+\) keeps the others waiting: computing, step 7, "
                         r".*; rank [02] has waited for it [\d.]+ s \(ddp_timeout 2\) " + IN)

    def test_a_failure_that_the_library_finds(self):
        self.one_message("fine", 4, r"^axl-dist: rank 1: rank 1 \(host \S+, pid \d+\): NCCL failed on axis dp_shard: remote process "
                         r"exited or there was a network error: emulated: the link went down; it was " + IN,
                         collective=300, AXL_EMU_NCCL_FAIL="1:3")

    def test_a_failure_that_the_library_finds_where_nobody_watches(self):
        for mode, wait in (("fine", "waiting for the work on stream gather"), ("event", "waiting for an event on stream gather"),
                           ("read", "waiting for the work on stream compute")):
            said, _ = self.run_ranks(mode, 4, heartbeat=0, AXL_EMU_NCCL_FAIL="1:3")
            self.assertEqual(len(said), 1, said)
            self.assertIn("axl-dist: rank 1: " + wait + ": NCCL failed on axis dp_shard: remote process exited or there was a network "
                          "error: emulated: the link went down; the last that the device was given: all_gather on axis dp_shard "
                          "(384 bytes)", said[0])

    def test_ranks_that_do_not_fit_are_refused_by_the_emulation(self):
        _, done = self.run_ranks("mismatch", 134)
        self.assertRegex(done.stderr, r"NCCL: rank \d calls ncclAllGather of \d+ bytes, rank \d ncclAllGather of \d+ bytes")

    def test_a_shared_gpu_needs_a_library_that_allows_it(self):
        share = {"AXL_EMU_CARD": "one"}
        _, done = self.run_ranks("fine", 0, **share)
        why = "ranks 0 and 1 share a GPU, which needs NCCL 2.30 and NCCL_MULTI_RANK_GPU_ENABLE=1"
        self.assertEqual(done.stdout, "mpi over host memory and MPI, not NCCL: " + why + "\n")
        self.assertEqual(done.stderr.count(SLOW + "; NCCL is not used: " + why), 1, done.stderr)
        share["NCCL_MULTI_RANK_GPU_ENABLE"] = "1"
        self.assertIn(why, self.run_ranks("fine", 0, **share)[1].stdout)
        share["AXL_EMU_NCCL_VERSION"] = "23000"
        self.assertEqual(self.run_ranks("fine", 0, **share)[1].stdout, "nccl over NCCL 2.30.0\n")

    def test_without_the_library(self):
        _, done = self.run_ranks("fine", 0, AXL_EMU_NCCL="0")
        self.assertEqual(done.stdout, "mpi over host memory and MPI, not NCCL: libnccl.so.2 is not found, on rank 0\n")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
