"""Opens an index.h5 as any user would and checks the tensors that test_ckpt.c wrote. Exit 77: no h5py."""
import json
import sys

try:
    import h5py
    import hdf5plugin  # noqa: F401  (registers zstd)
    import numpy as np
except ImportError:
    sys.exit(77)


def values(tensor, count):
    x = (np.arange(count, dtype=np.uint64) + np.uint64(tensor * 1000003)) * np.uint64(2654435761)
    x = (x & np.uint64(0xFFFFFFFF)) >> np.uint64(8)
    return x.astype(np.float32) / np.float32(16777216.0) - np.float32(0.5)


with h5py.File(sys.argv[1], "r") as f:
    wanted = {0: "model/model.embed.weight", 1: "model/model.layers.0.norm.weight",
              2: "model/two.rows", 3: "model/experts", 4: "exp_avg/model.embed.weight"}
    for tensor, name in wanted.items():
        data = f[name]
        assert data.is_virtual and data.dtype == np.float32, name
        got = data[...]
        assert np.array_equal(got.ravel(), values(tensor, got.size)), name
        assert np.isnan(data.fillvalue), name
    half = f["state/half"][...].astype(np.float32)
    assert np.abs(half - values(5, half.size)).max() < 0.002, half
    assert f["state/empty"].shape == (0, 4)
    assert f["checkpoint"].attrs["step"] == 6
    manifest = json.loads(bytes(f["checkpoint/manifest"][...]))
    assert len(manifest["shards"]) == f["checkpoint"].attrs["world"]
    assert json.loads(bytes(f["checkpoint/meta"][...]))["global_step"] == 7
    assert json.loads(bytes(f["checkpoint/files/config.json"][...]))["model_type"] == "llama"
