#!/usr/bin/env python3
"""axl-dist doctor from outside: test_doctor.py AXL_DIST MPIRUN..."""

import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM, MPIRUN = sys.argv[1], sys.argv[2:]
ENV = dict(os.environ, OMP_NUM_THREADS="1")


class Doctor(unittest.TestCase):
    def run_doctor(self, *args, np=1, expect=0, limit=("--seconds", "2")):
        command = ([] if np == 1 else MPIRUN + ["-np", str(np)]) + [PROGRAM, "doctor", *args, *limit]
        start = time.monotonic()
        done = subprocess.run(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=120)
        self.seconds = time.monotonic() - start
        self.assertEqual(done.returncode, expect, f"{command}\n{done.stdout}\n{done.stderr}")
        return done

    def config(self, folder, **keys):
        values = dict(base_model=folder, output_dir=os.path.join(folder, "runs", "first"), micro_batch_size=1,
                      gradient_accumulation_steps=1, learning_rate="1.0e-4", **keys)
        path = os.path.join(folder, "run.yaml")
        with open(path, "w") as f:
            f.write("".join(f"{k}: {v}\n" for k, v in values.items()))
            f.write("datasets:\n  - path: data.jsonl\n")
        return path

    def test_alone(self):
        done = self.run_doctor()
        for word in ("1 rank over self", "dp_shard 1", "processor ", "memory ", "fp32", "bf16", "ready after"):
            self.assertIn(word, done.stdout)
        self.assertNotIn("operation", done.stdout)  # nobody to talk to

    def test_axes_of_a_mesh(self):
        done = self.run_doctor("--mesh", "1x2x1x2x1", "--json", np=4, limit=())  # as long as it takes by itself
        self.assertLess(self.seconds, 10.0)
        report = json.loads(done.stdout)
        self.assertIn("HDF5", report["libraries"])
        self.assertTrue(report["ok"])
        self.assertEqual(report["mesh"], dict(dp_replicate=1, dp_shard=2, ep=1, cp=2, tp=1))
        found = {(a["axis"], a["operation"]): a for a in report["axes"]}
        self.assertEqual(set(found), {
            ("dp_shard", "all_gather"), ("dp_shard", "reduce_scatter"), ("cp", "send_recv"),
            ("dense", "all_gather"), ("dense", "reduce_scatter"), ("loss", "all_reduce"),
            ("batch", "all_reduce")})
        self.assertEqual(found["cp", "send_recv"]["groups"], 2)
        self.assertEqual(found["dense", "all_gather"]["also"], "expert")
        for axis in report["axes"]:
            for key in ("latency_us", "large_bytes", "busbw_gb_per_s"):
                self.assertGreater(axis[key], 0, axis)
            self.assertGreaterEqual(axis["busbw_fastest_gb_per_s"], axis["busbw_gb_per_s"])
        self.assertEqual(len(report["ranks"]), 4)
        for rank in report["ranks"]:
            for key in ("threads", "cores", "cores_of_host", "memory_bytes", "memory_available_bytes",
                        "fp32_gflops", "bf16_gflops", "memory_gb_per_s"):
                self.assertGreater(rank[key], 0, key)
            self.assertEqual(rank["ranks_on_host"], 4)
            self.assertEqual(rank["clock_offset_us"], 0.0)

    def test_sizes_by_key_in_tables(self):
        done = self.run_doctor("--tensor_parallel_size", "2", np=4, limit=())
        self.assertRegex(done.stdout, r"dp_replicate 1, dp_shard 2, ep 1, cp 1, tp 2\n")
        self.assertRegex(done.stdout, r"(?m)^tp +2 +2 +all_reduce ")

    def test_every_axis_at_once(self):
        report = json.loads(self.run_doctor("--mesh=2x1x2x1x2", "--json", np=8, limit=()).stdout)
        self.assertLessEqual({("dp_replicate", "all_reduce"), ("ep", "all_to_all"), ("tp", "all_reduce")},
                             {(a["axis"], a["operation"]) for a in report["axes"]})

    def test_wrong_mesh(self):
        for args, words in ((["--tensor_parallel_size", "3"], "does not divide 2 ranks"),
                            (["--mesh", "1x3x1x1x1"], "needs 3 ranks, there are 2"),
                            (["--mesh", "1x2x1"], "has not five sizes"),
                            (["--mesh", "1x2x1x1xb"], "b is no size of an axis"),
                            (["--seconds", "0"], "from 1 to 600"),
                            (["--tensor_paralel_size", "2"], "did you mean --tensor_parallel_size?")):
            done = self.run_doctor(*args, np=2, expect=2)
            self.assertIn(words, done.stderr)
            self.assertEqual(done.stdout, "")
            self.assertEqual(done.stderr.count("error: "), 1, done.stderr)

    def test_output_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            path = self.config(folder)
            report = json.loads(self.run_doctor(path, "--json", np=2).stdout)
            self.assertEqual(os.listdir(folder), ["run.yaml"])  # nothing is left, nothing made
            self.assertEqual(report["output_dir"], folder)
            self.assertGreater(report["output_dir_mb_per_s"], 0)
            self.assertEqual(len({r["output_dir_inode"] for r in report["ranks"]}), 1)
            for rank in report["ranks"]:
                self.assertTrue(rank["output_dir_seen"] and rank["base_model_seen"])
            done = self.run_doctor(path, "--base_model", os.path.join(folder, "none"), expect=1)
            self.assertIn("error: base_model: rank 0", done.stdout)
            done = self.run_doctor(path, "--output_dir", "/proc/nowhere", "--json", expect=1)
            report = json.loads(done.stdout)
            self.assertFalse(report["ok"])
            self.assertEqual([f["key"] for f in report["findings"] if f["severity"] == "error"], ["output_dir"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
