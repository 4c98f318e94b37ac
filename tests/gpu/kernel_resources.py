#!/usr/bin/env python3
"""Registers, shared memory and spills of the CUDA kernels, as ptxas gives them. Needs nvcc, no GPU; launches nothing.

    tests/gpu/kernel_resources.py [-a ARCH] [-l] [FILE.cu ...]

Prints a Markdown table, a row for each kernel with the range over its forms (dtypes, vectors or not, ...); -l: a row for
each form. ARCH is 90a if not given. Exits with 1 when a kernel of attention or cross entropy spills.
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MUST_NOT_SPILL = ("attn", "attention", "ce_")


def compile_one(path, arch, folder):
    """The forms in one file: (mangled name, registers, shared bytes, stack bytes, spilled bytes)."""
    out = os.path.join(folder, os.path.basename(path) + ".o")
    command = ["nvcc", "-std=c++17", "-O3", f"-gencode=arch=compute_{arch},code=sm_{arch}",
               "-Xptxas", "-v", "-I", ROOT, "-c", path, "-o", out]
    if arch == "90a":
        command.append("-DAXL_CUDA_SM90A=1")  # as kernels/CMakeLists.txt does
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"{path}: nvcc fails\n{run.stderr}")
    forms, name, stack, spilled = [], None, 0, 0
    for line in (run.stderr + run.stdout).splitlines():
        if match := re.search(r"Compiling entry function '(\S+)'", line):
            name = match[1]
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+)", line):
            stack, spilled = int(match[1]), int(match[2]) + int(match[3])
        elif (match := re.search(r"Used (\d+) registers", line)) and name:
            shared = re.search(r"(\d+) bytes smem", line)
            forms.append((name, int(match[1]), int(shared[1]) if shared else 0, stack, spilled))
            name = None
    return forms


def readable(names):
    """Names without namespaces, return types and parameters."""
    run = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    out = []
    for name in run.stdout.splitlines():
        name = name.replace("(anonymous namespace)::", "").replace("__nv_bfloat16", "bf16")
        name = re.sub(r"\((axl_\w+)\)(?=\d)", r"\1 ", name).split("(")[0]
        out.append(re.sub(r"^void ", "", name).strip())
    return out


def span(values):
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} - {high}"


def main():
    options = argparse.ArgumentParser()
    options.add_argument("-a", "--arch", default="90a")
    options.add_argument("-l", "--long", action="store_true")
    options.add_argument("files", nargs="*")
    args = options.parse_args()
    folder = os.path.join(ROOT, "kernels", "cuda")
    files = args.files or sorted(os.path.join(folder, f) for f in os.listdir(folder) if f.endswith(".cu"))
    with tempfile.TemporaryDirectory() as work, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        forms = [(os.path.basename(path), form) for path, found in
                 zip(files, pool.map(lambda f: compile_one(f, args.arch, work), files)) for form in found]
    rows = {}
    for (path, form), name in zip(forms, readable([form[0] for _, form in forms])):
        key = (path, name if args.long else name.split("<")[0])
        rows.setdefault(key, []).append(form[1:])
    print("| file | kernel | forms | registers | shared memory, bytes | stack, bytes | spills, bytes |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    failed = False
    for (path, name), found in sorted(rows.items()):
        columns = [span(values) for values in zip(*found)]
        print(f"| {path} | {name} | {len(found)} | " + " | ".join(columns) + " |")
        failed |= name.startswith(MUST_NOT_SPILL) and any(form[3] > 0 for form in found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
