#!/usr/bin/env python3
"""Checks of the source tree that a compiler does not make; each finding is file:line: what.

    lint.py CHECK [--root DIR] [--build DIR]

docs/internals/levels.md explains the levels; the tables below are their definition.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys

# A directory includes itself and directories of lower levels.
LEVELS = {
    "src/base": 0,
    "kernels": 1, "src/io": 1,
    "comm": 2, "src/text": 2, "src/config": 2,
    "sharding": 3, "src/data": 3,
    "src/model": 4, "src/methods": 4, "src/optim": 4,
    "src/generate": 5, "src/plan": 5,
    "src/train": 6,
    "launch": 7,
}  # fmt: skip
# Settings are read from src/config here only and travel down as plain structs.
CONFIG_READERS = ("src/config", "src/train", "launch")
# Third-party and special headers: where they may stand (tests of those folders may, too).
CONFINED = {
    "mpi.h": ("comm", "benchmarks/collectives"), "nccl.h": ("comm",),
    "hdf5.h": ("sharding",), "H5PLextern.h": ("sharding",), "H5Zpublic.h": ("sharding",),
    "yaml.h": ("src/io",), "jansson.h": ("src/io",),
    "zstd.h": ("src/io", "sharding"), "zlib.h": ("src/io", "tests/src/data"),
    "bzlib.h": ("src/io",), "lzma.h": ("src/io",), "lz4frame.h": ("src/io",),
    "pcre2.h": ("src/text",), "utf8proc.h": ("src/text",),
    "omp.h": ("kernels/cpu",), "immintrin.h": ("kernels/cpu",), "cpuid.h": ("kernels/cpu",),
    "mkl.h": ("kernels/cpu",), "mkl_cblas.h": ("kernels/cpu",), "mkl_service.h": ("kernels/cpu",),
    "dnnl.h": ("kernels/cpu",), "hwloc.h": ("launch", "comm"),
    "cuda_runtime.h": ("kernels/cuda", "tests/gpu"), "cublasLt.h": ("kernels/cuda",),
    "cudnn_graph.h": ("kernels/cuda",), "cmocka.h": ("tests",),
}  # fmt: skip
# The one C++ file and what else it may include.
CPP_FILE = "src/data/arrow.cpp"
CPP_HEADERS = re.compile(r"(arrow|parquet)/|c?[a-z_]+$")
PLAIN = set(
    "assert.h complex.h ctype.h dirent.h dlfcn.h endian.h errno.h fcntl.h fenv.h float.h glob.h "
    "ifaddrs.h inttypes.h limits.h locale.h malloc.h math.h poll.h pthread.h sched.h semaphore.h setjmp.h "
    "signal.h stdalign.h stdarg.h stdatomic.h stdbool.h stddef.h stdint.h stdio.h stdlib.h "
    "stdnoreturn.h string.h strings.h termios.h time.h unistd.h wchar.h ftw.h libgen.h netdb.h "
    "execinfo.h getopt.h langinfo.h pwd.h spawn.h".split()
)
ROOTS = ("src", "kernels", "comm", "sharding", "launch", "tests", "benchmarks")
FUNCTION_LINES, FILE_LINES, HEADER_LINES = 80, 1000, 300
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


def sources(root, *suffixes):
    """Files below the source folders; data, fixtures and build folders apart."""
    for top in ROOTS:
        for path in sorted((root / top).rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.suffix in suffixes and path.is_file() and "/fixture/" not in name and \
                    not name.startswith("tests/data/"):
                yield path, name


def lines_of(path):
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def home(name):
    """The directory of LEVELS that a file lies in, or None."""
    return next((d for d in LEVELS if name.startswith(d + "/")), None)


def allowed(name, places):
    inner = name[len("tests/"):] if name.startswith("tests/") else name
    return any(name.startswith(p + "/") or inner.startswith(p + "/") for p in places)


def check_levels(root, _build):
    for path, name in sources(root, ".c", ".h", ".cu", ".cpp", ".def"):
        here = home(name)
        for number, line in enumerate(lines_of(path), 1):
            match = INCLUDE.match(line)
            if not match or match[1] != '"' or here is None:
                continue
            there = home(match[2])
            if there is None or there == here:
                continue
            if there == "src/config" and not allowed(name, CONFIG_READERS):
                yield f"{name}:{number}: only {', '.join(CONFIG_READERS)} may include src/config"
            elif LEVELS[there] >= LEVELS[here]:
                yield (f"{name}:{number}: {here} (level {LEVELS[here]}) includes {match[2]} "
                       f"of level {LEVELS[there]}; pass data down or a function pointer")


def check_headers(root, _build):
    for path, name in sources(root, ".c", ".h", ".cu", ".cpp"):
        for number, line in enumerate(lines_of(path), 1):
            match = INCLUDE.match(line)
            if match and match[1] == '"' and "/" not in match[2]:
                yield f"{name}:{number}: write {match[2]} with its path from the top of the tree"
            if not match or match[1] == '"':
                continue
            header = match[2]
            if name.startswith("tests/cuda_emu/"):  # stands in for CUDA's headers, in C++
                continue
            if name == CPP_FILE and CPP_HEADERS.match(header):
                continue
            if header in CONFINED and not allowed(name, CONFINED[header]):
                if header != "cmocka.h" or name != "tests/check.h":
                    yield f"{name}:{number}: {header} stays inside {' and '.join(CONFINED[header])}"
            elif header not in CONFINED and header not in PLAIN and \
                    not header.startswith(("sys/", "linux/", "arpa/", "netinet/", "net/")):
                yield (f"{name}:{number}: {header} is not known; say in {pathlib.Path(__file__).name} "
                       "where it may stand")


def check_places(root, _build):
    """Words that belong to one place: the environment, the CUDA switch, open TODOs."""
    for path, name in sources(root, ".c", ".h", ".cu", ".cpp", ".def"):
        for number, line in enumerate(lines_of(path), 1):
            # comm/ must know the launcher's variables before MPI_Init.
            if re.search(r"\b(secure_)?getenv\s*\(", line) and \
                    not allowed(name, ("launch", "comm")) and \
                    not name.startswith(("tests/", "benchmarks/")):
                yield f"{name}:{number}: the environment is read in launch/ only"
            if re.search(r"#\s*(el)?if.*\bAXL_CUDA\b", line) and not allowed(
                    name, ("launch",)) and name not in ("kernels/table.c", "comm/table.c"):
                yield f"{name}:{number}: AXL_CUDA may stand in kernels/table.c, comm/table.c, launch/"
    for path, name in sources(root, ".c", ".h", ".cu", ".cpp", ".def", ".py", ".sh", ".txt"):
        for number, line in enumerate(lines_of(path), 1):
            if re.search(r"(//|#|/\*).*\b(TO" + r"DO|FIX" + r"ME)\b(?!\(#\d+\))", line):
                yield f"{name}:{number}: an open point without its issue number, as TO" + "DO(#12)"


def check_sizes(root, _build):
    for path, name in sources(root, ".c", ".h", ".cu", ".cpp"):
        lines = lines_of(path)
        limit = HEADER_LINES if path.suffix == ".h" else FILE_LINES
        if len(lines) > limit:
            yield f"{name}:{len(lines)}: {len(lines)} lines, the limit is {limit}"
        start = None  # the format puts a function's braces, and no others, in column 1
        for number, line in enumerate(lines, 1):
            if line.startswith("{"):
                start = number
            elif line.startswith("}") and start is not None:
                if number - start - 1 > FUNCTION_LINES:
                    yield f"{name}:{start}: a function of {number - start - 1} lines, " \
                          f"the limit is {FUNCTION_LINES}"
                start = None


def check_symbols(_root, build):
    """Every symbol that a static library exports starts with axl_."""
    if build is None:
        sys.exit("lint.py symbols needs --build DIR")
    for library in sorted(build.rglob("libaxl_*.a")):
        table = subprocess.run(["nm", "-g", "--defined-only", "-A", library], text=True,
                               capture_output=True, check=True).stdout
        for line in table.splitlines():
            place, _, symbol = line.rpartition(" ")
            symbol = re.sub(r"^_Z\d+(?=axl_)", "", symbol)  # C++ writes the length before the name
            if not symbol.startswith(("axl_", "__odr_asan", "__asan", "__sanitizer", "__gcov",
                                      "_ZN", "__sancov", "__start_", "__stop_")) \
                    and "__device_stub__" not in symbol:  # nvcc's, of a kernel in a namespace without name
                yield f"{library.name}:{place.split(':')[-2]}: exports {symbol} without axl_"


def check_format(root, _build):
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    version = subprocess.run([tool, "--version"], text=True, capture_output=True).stdout if tool else ""
    if "version 14." not in version:
        print("skipped: clang-format 14 is not installed")
        sys.exit(77)
    files = [str(path) for path, _ in sources(root, ".c", ".h", ".cu", ".cpp")]
    for i in range(0, len(files), 100):
        result = subprocess.run([tool, "--dry-run", "-Werror", *files[i:i + 100]], text=True,
                                capture_output=True)
        for line in result.stderr.splitlines():
            if ": error: " in line:
                yield line.removeprefix(f"{root}/")


def check_shell(root, _build):
    tool = shutil.which("shellcheck")
    if not tool:
        print("skipped: shellcheck is not installed")
        sys.exit(77)
    files = [".ci/run", "tests/lint/run"] + [n for _, n in sources(root, ".sh")]
    result = subprocess.run([tool, "-x", "-f", "gcc", *files], cwd=root, text=True,
                            capture_output=True)
    yield from result.stdout.splitlines()


CHECKS = {"levels": check_levels, "headers": check_headers, "places": check_places,
          "sizes": check_sizes, "symbols": check_symbols, "format": check_format, "shell": check_shell}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("check", choices=[*CHECKS, "all"])
    parser.add_argument("--root", type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument("--build", type=pathlib.Path)
    args = parser.parse_args()
    names = [n for n in CHECKS if args.check in (n, "all") and (n != "symbols" or args.build
                                                                or args.check == n)]
    findings = [f for n in names for f in CHECKS[n](args.root.resolve(), args.build)]
    print("\n".join(findings) if findings else "nothing found")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
