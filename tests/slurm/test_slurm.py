#!/usr/bin/env python3
"""launch/slurm/ as it is, on a Slurm cluster of two hosts: test_slurm.py AXL_DIST [unittest arguments]

Runs on the login host of tests/slurm/cluster.sh. docs/slurm.md shows the same commands.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))
import tiny  # noqa: E402

PROGRAM = os.path.abspath(sys.argv[1])
CLUSTER = os.path.join(HERE, "cluster.sh")
SCRIPTS = os.path.join(HERE, "..", "..", "launch", "slurm")

CONFIG = """
base_model: {top}/model
datasets:
  - path: {top}/data.jsonl
output_dir: {top}/out
dataset_prepared_path: {top}/prepared
sequence_len: 64
sample_packing: true
micro_batch_size: 1
gradient_accumulation_steps: 12
max_steps: 6
learning_rate: 1.0e-3
adam_epsilon: 1.0e-6
lr_scheduler: cosine
warmup_steps: 2
bf16: false
logging_steps: 1
save_strategy: "no"
"""

# Stands in for axl-dist in PATH: notes where each rank runs, then is axl-dist.
NOTE = """#!/bin/bash
echo "$(hostname) $(awk '/^Cpus_allowed_list/ {{ print $2 }}' /proc/self/status) $OMP_NUM_THREADS" >>{top}/ranks.txt
exec {program} "$@"
"""


def lines_of(path):
    try:
        with open(path) as f:
            return f.read().splitlines()
    except FileNotFoundError:
        return []


def wait_for(what, seconds, ready, interval=0.1):
    """Returns the seconds that it took."""
    begin = time.time()
    while time.time() < begin + seconds:
        if ready():
            return time.time() - begin
        time.sleep(interval)
    raise AssertionError(f"after {seconds} s still waiting for {what}")


def ranks():
    """Processes of axl-dist on all hosts."""
    found = subprocess.run(["pgrep", "-r", "R,S,D,T", "-x", "axl-dist"], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def what_runs():
    """For a command that does not end: where each process waits, and whether it is the cluster that does not start it."""
    told = [["squeue", "--long"], ["sinfo", "--long"], ["tail", "-n", "25", "/run/axl-cluster/slurmctld.log"],
            ["ps", "-eo", "pid,ppid,stat,etime,wchan:24,args"], ["ss", "-tnp"]]
    told += [[CLUSTER, "on", host, "ss", "-tnp"] for host in ("n1", "n2")]
    if shutil.which("gdb"):
        told += [["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 16"] for pid in ranks()]
    text = ""
    for command in told:
        seen = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        text += f"--- {' '.join(command)}\n" + "\n".join(line[:200] for line in seen.stdout.splitlines()[-80:]) + "\n"
    return text


def is_pending(pid, number):
    """A signal that a stopped process has got and not seen yet."""
    return any(line.startswith("ShdPnd") and int(line.split()[1], 16) >> (number - 1) & 1
               for line in lines_of(f"/proc/{pid}/status"))


class Slurm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # not /tmp, which each host has for itself; gone with the cluster
        cls.top = top = tempfile.mkdtemp(dir="/run/axl-cluster")
        tiny.make_model(os.path.join(top, "model"))
        tiny.make_tokenized(os.path.join(top, "data.jsonl"), [37, 5, 64, 12, 29, 51, 3, 44, 18, 60, 9, 33] * 3)
        cls.write("run.yaml", CONFIG.format(top=top))
        tiny.make_tokenized(os.path.join(top, "many.jsonl"), [37, 5, 64, 12, 29, 51, 3, 44, 18, 60, 9, 33] * 30)
        cls.write("long.yaml", CONFIG.format(top=top).replace("data.jsonl", "many.jsonl"))
        os.mkdir(os.path.join(top, "bin"))
        cls.write("bin/axl-dist", NOTE.format(top=top, program=PROGRAM))
        os.chmod(os.path.join(top, "bin", "axl-dist"), 0o755)
        # two hosts share the cores: who waits must not spin
        os.environ.update(PATH=os.path.join(top, "bin") + ":" + os.environ["PATH"], OMP_WAIT_POLICY="passive",
                          OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        os.chdir(top)
        subprocess.run([PROGRAM, "run.yaml", "--output_dir", "alone"], env=dict(os.environ, OMP_NUM_THREADS="1"),
                       check=True, capture_output=True)

    @classmethod
    def write(cls, name, text):
        with open(os.path.join(cls.top, name), "w") as f:
            f.write(text)

    def run_ok(self, *command, expect=0, **variables):
        with subprocess.Popen(command, env=dict(os.environ, **variables), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True) as program:
            try:
                said = program.communicate(timeout=120)[0]
            except subprocess.TimeoutExpired:
                hung = what_runs()
                program.kill()
                self.fail(f"{command} hangs\n{program.communicate()[0]}{hung}{self.logs()}")
        self.assertEqual(program.returncode, expect, f"{command}\n{said}{self.logs()}")
        return said

    def logs(self):
        logs = [f for f in os.listdir(self.top) if f.endswith(".log")]
        return "".join(f"--- {f}\n" + "\n".join(lines_of(f)[-12:]) + "\n" for f in sorted(logs))

    def sbatch(self, script, *arguments, options=(), **variables):
        """The job's id; ranks of one host share its two cores."""
        ranks = 1 if not any("ntasks-per-node" in o for o in options) else 2
        more = [f"--ntasks-per-node={ranks}", f"--cpus-per-task={2 // ranks}", "--time=2", "--parsable", *options]
        out = self.run_ok("sbatch", *more, os.path.join(SCRIPTS, script), *arguments, **variables)
        return out.strip().splitlines()[-1]

    def assert_same_run(self, a, b):
        for folder in (a, b):
            self.assertTrue(os.path.exists(folder + "/model.safetensors"), self.logs())
        x, y = tiny.read_metrics(a), tiny.read_metrics(b)
        self.assertEqual(sorted(x), sorted(y))
        for step in x:
            self.assertLessEqual(abs(x[step] - y[step]), 1e-5 * x[step], (step, x[step], y[step]))

    def cable_bytes(self):
        return int(self.run_ok(CLUSTER, "bytes", "n1"))

    def state(self, job):
        return self.run_ok("scontrol", "show", "job", "-o", job)

    def finish(self, job):
        """Waits faster than sbatch --wait does."""
        wait_for(f"the end of job {job}", 90, lambda: not re.search("JobState=(PEND|RUNN|COMPLETING)", self.state(job)))
        self.assertNotRegex(self.state(job), "JobState=(?!COMPLETED)", self.logs())

    # ---- several hosts

    def train_on_nodes(self, name, *arguments, **variables):
        """Bytes that one host has sent meanwhile."""
        before = self.cable_bytes()
        self.finish(self.sbatch("nodes.sh", "run.yaml", "--output_dir", name, "--gradient_accumulation_steps", "3",
                                *arguments, options=("--nodes=2", "--ntasks-per-node=2", f"--output={name}.log"),
                                **variables))
        self.assert_same_run("alone", name)
        return self.cable_bytes() - before

    def check_nodes(self, launcher):
        if os.path.exists("ranks.txt"):
            os.remove("ranks.txt")
        name = "nodes-" + launcher
        sent = self.train_on_nodes(name, LAUNCHER=launcher)
        # each rank has one thread, on a core of its host that no other has
        ranks = [line.split() for line in sorted(lines_of("ranks.txt"))]
        self.assertEqual([(host, threads) for host, _, threads in ranks], [("n1", "1")] * 2 + [("n2", "1")] * 2)
        self.assertNotEqual(ranks[0][1], ranks[1][1], ranks)
        self.assertEqual(sorted(r[1] for r in ranks[:2]), sorted(r[1] for r in ranks[2:]))
        self.assertIn("4 ranks on 2 hosts", "\n".join(lines_of(name + ".log")))
        # the weights of six steps, as TCP: each host sends at least its half of them a step
        self.assertGreater(sent, os.path.getsize("model/model.safetensors") // 2 * 6)
        return sent

    def test_nodes_by_srun_and_replicas_that_send_less(self):
        # of three micro-batches a step each gathers the shards twice; replicas add up their gradients once
        shards = self.check_nodes("srun")
        replicas = self.train_on_nodes("replicas", "--dp_replicate_size", "2", "--dp_shard_size", "2")
        print(f"bytes over the cable, six steps: 4 shards {shards}, 2 replicas of 2 shards {replicas}")
        self.assertLess(replicas, shards / 2)

    def test_nodes_by_mpirun(self):
        self.check_nodes("mpirun")

    def test_one_node(self):
        job = self.sbatch("one_node.sh", "run.yaml", "--output_dir", "one", "--gradient_accumulation_steps", "6",
                    options=("--ntasks-per-node=2", "--output=one.log"))
        self.finish(job)
        self.assert_same_run("alone", "one")

    def test_hostfile_without_slurm(self):
        # an agent that reaches n1 and n2 stands in for ssh
        self.write("agent", f'#!/bin/bash\nhost=$1; shift\nexec {CLUSTER} on "$host" sh -c "$*"\n')
        os.chmod("agent", 0o755)
        self.write("hosts.txt", "n1 slots=1\nn2 slots=1\n")
        self.run_ok("mpirun", "--mca", "plm_rsh_agent", os.path.abspath("agent"), "--hostfile", "hosts.txt",
                    "--map-by", "ppr:1:node", "--bind-to", "none", "-x", "OMP_NUM_THREADS=1", PROGRAM,
                    os.path.abspath("run.yaml"), "--output_dir", os.path.abspath("hostfile"),
                    "--gradient_accumulation_steps", "6")
        self.assert_same_run("alone", "hostfile")

    # ---- what a user gets wrong

    def test_srun_without_pmix_is_refused(self):
        for how in ("none", "pmi2"):
            said = self.run_ok("srun", "--mpi=" + how, "--nodes=2", "axl-dist", "run.yaml", "--output_dir", "refused",
                               expect=2)
            self.assertEqual(said.count("start it with srun --mpi=pmix"), 1, said)
            self.assertFalse(os.path.exists("refused"))

    def test_folders_that_hosts_do_not_share_are_refused(self):
        said = self.run_ok("srun", "--mpi=pmix", "--nodes=2", "axl-dist", "run.yaml", "--output_dir", "/tmp/own",
                           "--gradient_accumulation_steps", "6", expect=2)
        self.assertIn("output_dir /tmp/own on host n2 is not the folder that rank 0 has", said)
        self.assertEqual(said.count("error: output_dir") + said.count("error: rank 1: output_dir"), 1, said)

    def test_programs_of_one_number_prepare_data_at_once(self):
        # both are process 1 of their host, as in containers, and write one folder
        row = {"input_ids": list(range(5, 65)), "labels": list(range(5, 65)), "attention_mask": [1] * 60}
        self.write("large.jsonl", (json.dumps(row) + "\n") * 15000)
        self.write("large.yaml", CONFIG.format(top=self.top).replace("data.jsonl", "large.jsonl"))
        for turn in range(3):
            both = [subprocess.Popen([CLUSTER, "on", host, "unshare", "--pid", "--fork", PROGRAM, "preprocess",
                                      os.path.abspath("large.yaml"), "--dataset_prepared_path", f"{self.top}/new{turn}"],
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                    for host in ("n1", "n2")]
            for one in both:
                said = one.communicate(timeout=60)[0]
                self.assertEqual(one.returncode, 0, said)

    # ---- a host that is lost

    def check_cut_off(self, launcher, timeout, ended_after, code, **variables):
        """Of two hosts with two ranks each, n2 loses its network in the middle of training."""
        name = "cut-" + launcher

        def log():
            return "\n".join(line for line in lines_of(name + ".log") if not line.startswith(("step", "saved")))

        job = self.sbatch("nodes.sh", "long.yaml", "--output_dir", name, "--max_steps", "100000",
                          "--gradient_accumulation_steps", "3", "--save_strategy", "steps", "--save_steps", "5",
                          "--heartbeat_timeout", str(timeout), LAUNCHER=launcher,
                          options=("--nodes=2", "--ntasks-per-node=2", f"--output={name}.log"), **variables)
        wait_for("a checkpoint", 60, lambda: os.path.exists(name + "/checkpoint-5"))
        self.check_sockets()
        self.run_ok(CLUSTER, "link", "n2", "down")
        try:
            said = wait_for("the ranks to notice", ended_after, lambda: "been silent" in log())
            gone = wait_for("the ranks to end", 10, lambda: not ranks())
            ended = wait_for("the end of the job", 20, lambda: "JobState=RUNNING" not in self.state(job))
        finally:
            self.run_ok(CLUSTER, "link", "n2", "up")
        print(f"{launcher}, heartbeat_timeout {timeout}: said after {said:.1f} s, all ranks gone {gone:.1f} s later, "
              f"the job {ended:.1f} s after that\n{log()}")
        self.assertIn(f" ExitCode={code}:0 ", self.state(job), log())
        self.assertRegex(log(), r"host n2 with rank 2 \(pid \d+\), rank 3 \(pid \d+\) has been silent for \d+\.\d s")
        self.assertRegex(log(), r"; rank [01] waits for it in \w+ on axis \w+ \(\d+ bytes\), step \d+; "
                                rf"last good checkpoint: \S*{name}/checkpoint-\d+;")
        self.assertEqual(log().count("been silent"), 1, log())
        wait_for("the host to be back", 60, lambda: self.run_ok("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == "2")

    def check_sockets(self):
        """Connections between hosts, of MPI and of the watch, go over the cable."""
        for host, other in (("n1", "10.77.0.12"), ("n2", "10.77.0.11")):
            seen = self.run_ok(CLUSTER, "on", host, "ss", "-tnpH").splitlines()
            seen = [line for line in seen if '"axl-dist"' in line]
            self.assertTrue(any(other in line for line in seen), seen)
            self.assertFalse([line for line in seen if "172.17." in line])

    def test_a_host_cut_off_ends_the_ranks_of_srun(self):
        self.check_cut_off("srun", timeout=4, ended_after=4 + 3, code=4)

    def test_a_host_cut_off_ends_the_ranks_of_mpirun(self):
        # mpirun looks sooner than the ranks: else it waits for its daemon on the lost host
        self.check_cut_off("mpirun", timeout=10, ended_after=10, code=205, OMPI_MCA_oob_tcp_keepalive_time="2",
                           OMPI_MCA_oob_tcp_keepalive_intvl="1", OMPI_MCA_oob_tcp_keepalive_probes="3")

    def test_requeue_after_a_lost_rank_but_not_from_the_start(self):
        os.makedirs("lost", exist_ok=True)
        self.write("lost/axl-dist", "#!/bin/bash\nexit 4\n")
        os.chmod("lost/axl-dist", 0o755)
        path = os.path.abspath("lost") + ":" + os.environ["PATH"]
        for seconds, expected in (("0", r"JobState=FAILED .*Restarts=0 .*ExitCode=4:0"),
                                  ("600", r"JobState=PENDING .*Restarts=1")):
            job = self.sbatch("requeue.sh", "run.yaml", options=("--nodes=1",), PATH=path, SECONDS=seconds)
            wait_for("the end of the job", 30,
                     lambda: re.search("JobState=(?!COMPLETING).* Restarts=1|JobState=FAILED", self.state(job)))
            self.assertRegex(self.state(job), expected, self.logs())
            self.run_ok("scancel", job)

    # ---- arrays and time limits

    def test_array(self):
        self.write("sweep.txt", "".join(f"run.yaml --seed {s} --output_dir sweep/{s} --dataset_prepared_path fresh\n"
                                        for s in (1, 2, 3)))
        self.finish(self.sbatch("array.sh", "sweep.txt", options=("--array=1-3",)))
        losses = {s: tiny.read_metrics(f"sweep/{s}")[1] for s in (1, 2, 3)}
        self.assertEqual(len(set(losses.values())), 3, losses)

    def long_run(self):
        """Arguments of a run of 40 steps: long enough to be stopped in the middle."""
        if not os.path.exists("long"):
            self.run_ok(PROGRAM, "long.yaml", "--output_dir", "long", "--max_steps", "40",
                        "--gradient_accumulation_steps", "24", OMP_NUM_THREADS="1")
        return ["long.yaml", "--max_steps", "40", "--gradient_accumulation_steps", "12"]

    def hold_until_signalled(self, output_dir, *stop):
        """Stops the ranks after some steps, until all have got the signal: the test need not be fast."""
        wait_for("the first steps", 30, lambda: len(lines_of(output_dir + "/metrics.jsonl")) > 3, 0.01)
        held = ranks()
        try:
            for pid in held:
                os.kill(pid, signal.SIGSTOP)
            self.assertEqual(len(held), 2, self.logs())
            if stop:
                self.run_ok(*stop)
            wait_for("the signal", 45, lambda: all(is_pending(pid, signal.SIGUSR1) for pid in held))
        finally:
            for pid in held:
                os.kill(pid, signal.SIGCONT)

    def requeue(self, launcher, *options, stop=()):
        name = "requeue-" + launcher
        job = self.sbatch("requeue.sh", *self.long_run(), "--output_dir", name, LAUNCHER=launcher,
                          options=("--nodes=2", "--output=" + name + ".log", *options))
        self.hold_until_signalled(name, *stop, *([job] if stop else []))
        wait_for("the job to go back into the queue", 90,
                 lambda: re.search("JobState=PENDING.* Restarts=1|JobState=[CFT].* Restarts=0", self.state(job)))
        self.assertIn("Restarts=1", self.state(job), self.logs())
        # Left alone it waits for two minutes. A job that starts in the second in which it was stopped is refused.
        self.run_ok("scontrol", "update", "JobId=" + job, "StartTime=now+3")
        self.finish(job)
        log = "\n".join(lines_of(name + ".log"))
        self.assertRegex(log, r"stopped by signal 10 after step \d+, which is saved")
        self.assert_same_run("long", name)

    def test_requeue_at_the_time_limit(self):
        # slurmctld looks at time limits every 30 s, and sends the signal up to a minute early
        self.requeue("srun", "--time=1", "--signal=B:USR1@30")

    def test_requeue_by_mpirun(self):
        self.requeue("mpirun", "--time=10", stop=("scancel", "--batch", "--signal=USR1"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
