#!/usr/bin/env python3
"""Write the small safetensors files that tests/src/io compares with, by the safetensors library.

Needs: pip install numpy safetensors
Example: python tests/goldens/make_safetensors.py tests/data/io
"""

import json
import pathlib
import sys

import numpy as np
from safetensors._safetensors_rust import TensorSpec, serialize

WIDTH = {"bool": 1, "uint8": 1, "int8": 1, "float8_e5m2": 1, "float8_e4m3fn": 1, "int16": 2,
         "float16": 2, "bfloat16": 2, "int32": 4, "float32": 4, "float64": 8, "int64": 8}


def pack(tensors, metadata, rng):
    """The bytes of a file with random contents; tensors: name -> (dtype, shape)."""
    keep, specs = [], {}
    for name, (dtype, shape) in tensors.items():
        data = rng.integers(0, 256, int(np.prod(shape, dtype=np.int64)) * WIDTH[dtype], np.uint8)
        keep.append(data)
        specs[name] = TensorSpec(dtype=dtype, shape=shape, data_ptr=data.ctypes.data,
                                 data_len=data.nbytes)
    return bytes(serialize(specs, metadata))


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    every = {f"t{i:02d}": (dtype, [3, 1 + i % 3]) for i, dtype in enumerate(WIDTH)}
    every |= {"zz": ("float32", [2]), 'a"\\é': ("float32", []), "empty": ("float32", [0, 3]),
              "Upper": ("bfloat16", [1, 2, 3, 4])}
    (out / "every_dtype.safetensors").write_bytes(pack(every, {"format": "pt"}, rng))

    model = {}
    for layer in (0, 1, 2, 10):
        for part, shape in (("self_attn.q_proj", [6, 4]), ("mlp.down_proj", [4, 5])):
            model[f"model.layers.{layer}.{part}.weight"] = ("bfloat16", shape)
    one, two = dict(list(model.items())[:5]), dict(list(model.items())[5:])
    folder = out / "sharded"
    folder.mkdir(exist_ok=True)
    weight_map, total = {}, 0
    for k, part in enumerate((one, two)):
        file = f"model-{k + 1:05d}-of-00002.safetensors"
        (folder / file).write_bytes(pack(part, {"format": "pt"}, rng))
        weight_map |= {name: file for name in part}
        total += sum(2 * int(np.prod(shape)) for _, shape in part.values())
    index = {"metadata": {"total_parameters": total // 2, "total_size": total},
             "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps(index, indent=2, sort_keys=True) + "\n")
    (folder / "config.json").write_text('{\n  "model_type": "llama"\n}\n')
    (folder / "generation_config.json").write_text('{\n  "eos_token_id": 2\n}\n')


if __name__ == "__main__":
    main()
