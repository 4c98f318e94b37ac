#!/usr/bin/env python3
"""Ranks that die, hang, leave or come late, and what the others do: test_watch.py WATCH_RANK MPIRUN..."""

import os
import subprocess
import sys
import time
import unittest

PROGRAM, MPIRUN = sys.argv[1], sys.argv[2:]
END = "; last good checkpoint: out/checkpoint-5; start again with auto_resume_from_checkpoints: true"
IN = r"in all_reduce on axis world \(128 bytes\), step 7"


class Watch(unittest.TestCase):
    def run_ranks(self, mode, expect, np=3, heartbeat=2, collective=2, slowest=60.0):
        began = time.time()
        done = subprocess.run(MPIRUN + ["-np", str(np), PROGRAM, mode, str(heartbeat), str(collective)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        seconds = time.time() - began
        said = [line for line in done.stderr.splitlines() if line.startswith("axl-dist: ")]
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        self.assertLess(seconds, slowest, said)
        self.assertNotIn("Traceback", done.stderr)
        return said, done.stderr

    def one_message(self, mode, expect, pattern, **kw):
        said, _ = self.run_ranks(mode, expect, slowest=12.0, **kw)
        self.assertEqual(len(said), 1, said)
        self.assertRegex(said[0], pattern)
        self.assertIn(END, said[0])
        self.assertIn("host " + os.uname().nodename, said[0])

    def test_all_well(self):
        for np in (1, 2, 4):
            self.assertEqual(self.run_ranks("fine", 0, np=np)[0], [])

    def test_a_rank_that_computes_for_ever(self):
        self.one_message("loop", 4, r"^axl-dist: rank 0: rank 1 \(host \S+, pid \d+\) keeps the others waiting: "
                         r"computing, step 7, .*; rank [02] has waited for it [\d.]+ s \(ddp_timeout 2\) " + IN)
        self.one_message("loop0", 4, r"^axl-dist: rank 0: rank 0 .* keeps the others waiting: computing, step 7, .*" + IN)

    def test_a_queued_collective_is_named_too(self):
        self.one_message("queued", 4, r"rank 1 .* keeps the others waiting: computing, step 7, .*; rank [02] has waited "
                         r"for it [\d.]+ s .* in all_gather on axis dp_shard \(384 bytes\), step 7")

    def test_a_killed_rank(self):
        died = r" \(host \S+, pid \d+\) died \(killed, or crashed\), .*; rank \d waits for it " + IN
        self.one_message("die", 137, r"^axl-dist: rank 0: rank 1" + died, heartbeat=30, collective=300)
        self.one_message("die0", 137, r"^axl-dist: rank 1: rank 0" + died, heartbeat=30, collective=300)
        self.one_message("die01", 137, r"^axl-dist: rank [23]: rank 0 .*, rank 1" + died, np=4, heartbeat=30, collective=300)

    def test_a_stopped_rank(self):
        silent = r" \(host \S+, pid \d+\) ha(s|ve) been silent for [23]\.\d s .*; rank \d waits for it " + IN
        self.one_message("stop", 4, r"^axl-dist: rank 0: rank 1" + silent, collective=300)
        self.one_message("stop01", 4, r"^axl-dist: rank [23]: rank 0 .*, rank 1" + silent, np=4, collective=300)

    def test_ranks_in_different_collectives(self):
        barrier = r"rank 1 .* in barrier on axis world \(0 bytes\), step 7"
        reduce = r"rank [02] .* " + IN
        self.one_message("crossed", 4, r"all ranks have waited for each other for [\d.]+ s .*: "
                         rf"({barrier}; {reduce}|{reduce}; {barrier})")

    def test_a_rank_that_left(self):
        self.one_message("leave", 4, r"rank 1 .* keeps the others waiting: it has left the run, .*" + IN)

    def test_a_rank_that_says_why_it_ends(self):
        said, _ = self.run_ranks("abort", 3)
        self.assertEqual(said, ["axl-dist: rank 1: numbers ran away"])

    def test_an_error_of_mpi_waits_for_the_cause(self):
        self.one_message("reset", 137, r"^axl-dist: rank 0: rank 1 .* died .*; rank 0 waits for it " + IN)
        said, _ = self.run_ranks("error", 4, collective=300)
        self.assertIn("all_reduce on axis world (128 bytes): MPI_Test: connection reset", said[0])

    def test_being_late_is_no_failure(self):
        # saving takes longer than collective_timeout: a note, no end. Computing for longer than
        # heartbeat_timeout is none either.
        said, stderr = self.run_ranks("saving", 0)
        self.assertEqual(said, [])
        self.assertRegex(stderr, r"warning: rank 1 .* has been saving for \d+ s while rank [02] waits " + IN)
        said, stderr = self.run_ranks("late", 0, heartbeat=1, collective=0)
        self.assertEqual(said, [])
        self.assertNotIn("warning", stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
