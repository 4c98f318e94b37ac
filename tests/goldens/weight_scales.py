#!/usr/bin/env python3
"""normalize_weight_scales by its definition (docs/keys.md), in plain Python: the reference of test_scales.c and of
test_weight_scales.py.

weight_scales.py SOURCE_DIR writes tests/data/model/scales.json: deviations of tensors of tests/data/families."""

import array
import json
import os
import re
import statistics
import struct
import sys


def single(x):
    """x rounded to a float of 32 bits."""
    return struct.unpack("<f", struct.pack("<f", x))[0]


def apply_rule(weights, rule):
    """weights: {name: array of floats}, changed in place. Returns the lines that are printed."""
    pattern, threshold = rule.get("name_pattern"), rule.get("threshold", 1.5)
    dry = rule.get("dry_run", False)
    if pattern is None:
        return ["normalize_weight_scales: a rule without name_pattern is skipped"]
    names = [name for name in weights if re.search(pattern, name)]
    if len(names) < 3:
        plural = "" if len(names) == 1 else "s"
        return [f"normalize_weight_scales: pattern '{pattern}': {len(names)} tensor{plural}, skipped: a median needs 3"]
    std = {name: statistics.stdev(weights[name]) for name in names}  # exact sums, unbiased
    median = sorted(std.values())[len(names) // 2]
    if median < 1e-10:
        return []
    outliers = [n for n in names if std[n] / median > threshold or std[n] / median < 1 / threshold]
    if not outliers:
        return [f"normalize_weight_scales: pattern '{pattern}': {len(names)} tensors, all within {threshold:.1f}x "
                "threshold"]
    lines = [f"normalize_weight_scales [{'DRY RUN' if dry else 'FIXED'}]: pattern '{pattern}', "
             f"{len(outliers)}/{len(names)} tensors outside {threshold:.1f}x threshold (median std={median:.6f})"]
    for name in outliers:
        left = ", left: all its numbers are equal" if std[name] == 0 and not dry else ""
        lines.append(f"  {name}: std={std[name]:.6f} ({std[name] / median:.2f}x median){left}")
        if not dry and std[name] > 0:
            factor = single(median / std[name])
            weights[name] = array.array("f", (single(x * factor) for x in weights[name]))
    return lines


def read_model(path):
    """{name: array of floats} of F32 safetensors."""
    with open(os.path.join(path, "model.safetensors"), "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        header, blob = json.loads(f.read(n)), f.read()
    return {name: array.array("f", blob[e["data_offsets"][0]:e["data_offsets"][1]])
            for name, e in header.items() if name != "__metadata__" and e["dtype"] == "F32"}


def main(top):
    out = {}
    for name in ("llama", "qwen2", "qwen3_moe", "mixtral"):
        weights = read_model(os.path.join(top, "tests/data/families", name))
        out[name] = {key: statistics.stdev(values) for key, values in sorted(weights.items())}
    with open(os.path.join(top, "tests/data/model/scales.json"), "w", encoding="utf-8") as f:
        json.dump(out, f, indent=0)
        f.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
