#!/usr/bin/env python3
"""The committed JSON Schema is one, takes our example configurations and refuses what it must.

check_schema.py SOURCE_DIR; exit 77 (skipped) where jsonschema or yaml is not installed."""
import json
import pathlib
import sys

try:
    import jsonschema
    import yaml
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

top = pathlib.Path(sys.argv[1])
schema = json.loads((top / "docs/config.schema.json").read_text(encoding="utf-8"))
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
good = {"base_model": "m", "learning_rate": "1e-5", "datasets": [{"path": "d", "type": {"field_output": "x"}}]}
bad = [
    {"learning_rate": 1},  # no base_model
    {**good, "datasets": None, "micro_bach_size": 1},
    {**good, "micro_batch_size": 0},
    {**good, "save_strategy": False},
    {**good, "datasets": [{"path": "d", "feild": "x"}]},
    {**good, "num_epochs": "many"},
    {**good, "fsdp_config": {"reshard_after_forward": 3}},
]
faults = [f"a good configuration: {e.message}" for e in validator.iter_errors(good)]
faults += [f"taken: {entry}" for entry in bad if validator.is_valid(entry)]
for path in sorted([*(top / "configs").glob("*.yaml"), *(top / "configs/examples").rglob("*.yaml")]):
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    faults += [f"{path}: {'.'.join(map(str, e.path))}: {e.message}" for e in validator.iter_errors(loaded)]
print("\n".join(faults) or "the schema agrees")
sys.exit(bool(faults))
