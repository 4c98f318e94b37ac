#!/usr/bin/env python3
"""The committed JSON Schema is one, takes our example configurations, and agrees with the parser about every key.

check_schema.py SOURCE_DIR AXL_DIST; exit 77 (skipped) where jsonschema or yaml is not installed.

The parser lists all faults of a file at once, so one file that gives the same value to every key of every block tells
which keys take it. The schema must take the same ones, but for the leniency named below."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import jsonschema
    import yaml
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

top, program = pathlib.Path(sys.argv[1]), sys.argv[2]
schema = json.loads((top / "docs/config.schema.json").read_text(encoding="utf-8"))
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
BATCH = {"micro_batch_size": 1, "gradient_accumulation_steps": 1}
MODEL = {"base_model": "m", "learning_rate": "1e-5", "datasets": [{"path": "d"}], **BATCH}
good = [
    MODEL,
    {**MODEL, "datasets": [{"path": "d", "type": {"field_output": "x"}}]},
    {**MODEL, "deepspeed": "zero3.json"},
    {**MODEL, "deepspeed": {"zero_optimization": {"stage": 3, "reduce_bucket_size": "auto"}, "gradient_clipping": "auto"}},
    {**MODEL, "fsdp": ["full_shard"], "fsdp_config": {"fsdp_offload_params": True, "fsdp_state_dict_type": "FULL_STATE_DICT"}},
    {**MODEL, "selective_checkpointing": True, "bf16": "auto", "val_set_size": 0.05, "seed": None},
    {**MODEL, "pretraining_dataset": {"path": "d"}, "max_steps": 10},
    {**MODEL, "revision_of_model": "main", "evals_per_epoch": 0},
    {**MODEL, "save_strategy": "no", "eval_steps": 0.25, "optimizer": "adamw_torch"},
]
bad = [
    {"learning_rate": 1},  # no base_model
    {**MODEL, "micro_bach_size": 1},
    {**MODEL, "micro_batch_size": 0},
    {**MODEL, "save_strategy": False},
    {**MODEL, "datasets": [{"path": "d", "feild": "x"}]},
    {**MODEL, "num_epochs": "many"},
    {**MODEL, "fsdp_config": {"reshard_after_forward": 3}},
    {**MODEL, "deepspeed": {"zero_optimization": {"stage": 4}}},
    {**MODEL, "deepspeed": {"zero_optimisation": {"stage": 3}}},
    {**MODEL, "optimizer": "adam_w"},
    {**MODEL, "fsdp_config": {"fsdp_offload_parms": True}},
    {**MODEL, "fsdp_config": {"fsdp_offload_params": "often"}},
    {**MODEL, "revision_of_model": 3},
]
faults = [f"{entry}: {e.message}" for entry in good for e in validator.iter_errors(entry)]
faults += [f"taken: {entry}" for entry in bad if validator.is_valid(entry)]
for path in sorted([*(top / "configs").glob("*.yaml"), *(top / "configs/examples").rglob("*.yaml")]):
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    faults += [f"{path}: {'.'.join(map(str, e.path))}: {e.message}" for e in validator.iter_errors(loaded)]

# ---- every key against the parser ----

# What the parser says about a value that does not fit the key, as opposed to one that cannot be honoured.
UNFIT = ("was expected here", "is none of its values", "is too small", "is too large", "without quotes is")
VALUES = [True, 0, 1, 3, -2, 0.5, 4.0, 4.5, 1e9, "1e-5", "7", "word", "", [], ["a"], [1], [0.5], [[1]], {}, {"q": 1}]


def resolve(node):
    return schema["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node


def blocks_below(node, path, found):
    """Each map of keys once: its schema and where it stands, 'qat' or 'datasets.0'."""
    for name, entry in node.get("properties", {}).items():
        options = [entry] + [o for outer in entry.get("anyOf", []) for o in [outer] + outer.get("anyOf", [])]
        for option in options:
            for place, inner in ((path + [name], option), (path + [name, 0], option.get("items", {}))):
                if "$ref" in inner and inner["$ref"] not in [f[2] for f in found]:
                    found.append((place, resolve(inner), inner["$ref"]))
                    blocks_below(resolve(inner), place, found)
    return found


def nested(place, block):
    for part in reversed(place):
        block = [block] if part == 0 else {part: block}
    return block


def merge(into, block):
    for key, value in block.items():
        if isinstance(into.get(key), dict) and isinstance(value, dict):
            merge(into[key], value)
        elif isinstance(into.get(key), list) and isinstance(value, list):
            merge(into[key][0], value[0])
        else:
            into[key] = value


def parser_refuses(value, blocks):
    """Names of the keys, with their blocks, that the parser finds unfit for the value."""
    file = {}
    for place, node, _ in blocks:
        inner = [tuple(b[0][:len(place) + 1]) for b in blocks if len(b[0]) > len(place)]
        leaves = {k: value for k in node["properties"] if tuple(place + [k]) not in inner}
        merge(file, nested(place, leaves))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "run.yaml")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(file, f)
        done = subprocess.run([program, "validate", path, "--json"], capture_output=True, text=True, check=False)
    findings = json.loads(done.stdout)["findings"]
    named = {f["key"].split("[1]")[0] for f in findings if any(u in f["message"] for u in UNFIT)}
    return file, named


def is_beyond(name, value, node):
    """What a schema cannot say: the range of a number in quotes, words of a rule."""
    text = json.dumps(node)
    return (value in ("1e-5", "7") and ("inimum" in text or "aximum" in text)) or \
        name in ("eval_causal_lm_metrics", "selective_checkpointing.save")


def is_lenient(value, node):
    """Written so, the parser takes it; an editor should not offer it."""
    text = json.dumps(node)
    return (value in (0, 1) and '"boolean"' in text) or (value is True and '"integer"' in text) or \
        (value is True and '"number"' in text) or (isinstance(value, (bool, int)) and '"true"' in text) or \
        (value in (0, 1, 3, -2, 0.5, 4.0, 4.5, 1e9) and isinstance(value, (bool, int, float)) and '"array"' in text)


blocks = [([], schema, "")] + blocks_below(schema, [], [])
n = 0
for value in VALUES:
    file, refused = parser_refuses(value, blocks)
    for place, node, _ in blocks:
        at = file
        for part in place:
            at = at[part]
        for key, entry in node["properties"].items():
            if key not in at or at[key] is not value:
                continue
            name = ".".join(str(p) for p in place + [key]).replace(".0", "[0]")
            takes = jsonschema.Draft202012Validator({**entry, "$defs": schema["$defs"]}).is_valid(value)
            parsed = name not in refused and not any(r.startswith(name + "[") for r in refused)
            n += 1
            if value == {"q": 1} and "$ref" in json.dumps(entry):
                continue  # the key inside is unknown, which is said about that key
            if takes and not parsed and not is_beyond(name, value, entry):
                faults.append(f"{name}: {value!r}: the schema takes it, the parser does not")
            if parsed and not takes and not is_lenient(value, entry):
                faults.append(f"{name}: {value!r}: the parser takes it, the schema does not")
if n < 600 * len(VALUES):
    faults.append(f"only {n} values were compared")
print("\n".join(faults[:60]) or f"the schema agrees on {n} values")
sys.exit(bool(faults))
