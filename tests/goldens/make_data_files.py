#!/usr/bin/env python3
"""Writes tests/data/data/files: the same records in every kind of file, written by the libraries users write with.

    make_data_files.py

rows.jsonl is what rows.* and the saved folders must read as; types.jsonl what types.* must read as, by the
rules of src/data/readers/arrow_json.h written out below. Needs pyarrow, datasets and pandas.
"""

import datetime
import decimal
import json
import math
import pathlib
import shutil

import datasets
import numpy
import pyarrow as pa
import pyarrow.parquet as pq

OUT = pathlib.Path(__file__).resolve().parents[1] / "data/data/files"
UTC = datetime.timezone.utc


def rows():
    """Chats with what hurts: nulls, empty lists, structs that lack members, quotes, other scripts, NULs apart."""
    texts = ["Hello", 'He said "no",\nthen left.', "héllo wörld", "中文，标点。", "tab\tand \\ back", "", "😀 end\r\n"]
    for i in range(41):
        turns = [{"role": "user", "content": texts[i % 7] + f" {i}"}]
        if i % 3:
            turns.append({"role": "assistant", "content": texts[(i + 2) % 7], "weight": i % 2})
        if i % 5 == 1:
            turns[0]["tags"] = [f"t{k}" for k in range(i % 4)]
        yield {"id": i, "messages": turns, "score": None if i % 4 == 0 else i / 8, "note": texts[i % 7] or None,
               "ok": i % 2 == 0}


def drop_nulls(v):
    if isinstance(v, dict):
        return {k: drop_nulls(x) for k, x in v.items() if x is not None}
    return [drop_nulls(x) for x in v] if isinstance(v, list) else v


def plain(v, t):
    """A value of an Arrow type as JSON."""
    if v is None:
        return None
    if pa.types.is_dictionary(t):
        return plain(v, t.value_type)
    if pa.types.is_struct(t):
        return {f.name: plain(v[f.name], f.type) for f in t}
    if pa.types.is_map(t):
        if pa.types.is_string(t.key_type):
            return {k: plain(x, t.item_type) for k, x in v}
        return [{"key": plain(k, t.key_type), "value": plain(x, t.item_type)} for k, x in v]
    if isinstance(v, list):
        return [plain(x, t.value_type) for x in v]
    if isinstance(v, datetime.datetime):
        if v.tzinfo:
            v = v.astimezone(UTC)
        return v.isoformat()
    if isinstance(v, (datetime.date, datetime.time)):
        return v.isoformat()
    if isinstance(v, datetime.timedelta):
        return v // datetime.timedelta(milliseconds=1)
    if isinstance(v, decimal.Decimal):
        return format(v, "f")
    if isinstance(v, bytes):
        try:
            return v.decode()
        except UnicodeDecodeError:
            return None
    if isinstance(v, float):
        return v if math.isfinite(v) else None
    if isinstance(v, numpy.floating):
        return float(v)
    return str(v) if isinstance(v, int) and v > 2**63 - 1 else v


def types_table():
    day = datetime.date(1969, 12, 31)
    moment = datetime.datetime(2024, 2, 29, 23, 59, 58, 123000)
    early = datetime.datetime(1900, 3, 1, 0, 0, 0)
    shop = pa.struct([("a", pa.int8()), ("b", pa.list_(pa.string()))])
    columns = {
        "i8": (pa.int8(), [-128, 127, None, 0]), "u8": (pa.uint8(), [255, 0, 1, None]),
        "i16": (pa.int16(), [-32768, 5, None, 1]), "u16": (pa.uint16(), [65535, 0, 1, None]),
        "i32": (pa.int32(), [-(2**31), 2**31 - 1, None, 0]), "u32": (pa.uint32(), [2**32 - 1, 0, 1, None]),
        "i64": (pa.int64(), [-(2**63), 2**63 - 1, None, 0]), "u64": (pa.uint64(), [2**64 - 1, 2**63 - 1, None, 7]),
        "f32": (pa.float32(), [0.1, -1e30, None, float("nan")]),
        "f64": (pa.float64(), [0.1, 5.0, 1e300, float("inf")]),
        "bool": (pa.bool_(), [True, False, None, True]),
        "text": (pa.string(), ["a", "", None, "é\"\\\n\t\x01"]), "large": (pa.large_string(), ["x" * 40, "", None, "y"]),
        "bytes": (pa.binary(), [b"ok", b"\xff\xfe", None, b""]), "fixed": (pa.binary(3), [b"abc", b"\xff\xff\xff", None, b"xyz"]),
        "null": (pa.null(), [None] * 4),
        "dict": (pa.dictionary(pa.int32(), pa.string()), ["red", "blue", None, "red"]),
        "date": (pa.date32(), [day, datetime.date(2000, 2, 29), None, datetime.date(1, 1, 1)]),
        "date64": (pa.date64(), [day, datetime.date(2100, 3, 1), None, day]),
        "ms": (pa.timestamp("ms"), [moment, early, None, moment.replace(microsecond=0)]),
        "us_tz": (pa.timestamp("us", "Europe/Berlin"), [moment.replace(tzinfo=UTC), early.replace(tzinfo=UTC), None,
                                                      moment.replace(microsecond=0, tzinfo=UTC)]),
        "time": (pa.time32("ms"), [datetime.time(1, 2, 3), datetime.time(23, 59, 59, 250000), None, datetime.time(0)]),
        "time64": (pa.time64("us"), [datetime.time(1, 2, 3), datetime.time(23, 59, 59, 7), None, datetime.time(0)]),
        "span": (pa.duration("ms"), [datetime.timedelta(seconds=-2), datetime.timedelta(1), None, datetime.timedelta(0)]),
        "dec": (pa.decimal128(10, 3), [decimal.Decimal("-0.005"), decimal.Decimal("1234567.890"), None, decimal.Decimal("0.000")]),
        "dec256": (pa.decimal256(60, 2), [decimal.Decimal("-" + "9" * 58 + ".99"), decimal.Decimal("1.00"), None, decimal.Decimal("-1.00")]),
        "list": (pa.list_(pa.int16()), [[1, None, 3], [], None, [7]]),
        "large_list": (pa.large_list(pa.string()), [["a"], [], None, ["b", None]]),
        "two": (pa.list_(pa.int32(), 2), [[1, 2], [3, 4], None, [5, None]]),
        "struct": (shop, [{"a": 1, "b": ["x"]}, {"a": None, "b": []}, None, {"a": 3, "b": None}]),
        "shops": (pa.list_(shop), [[{"a": 1, "b": ["x"]}, None], [], None, [{"a": None, "b": [None, "z"]}]]),
        "map": (pa.map_(pa.string(), pa.int32()), [[("k", 1), ("l", None)], [], None, [("m", 3)]]),
        "int_map": (pa.map_(pa.int32(), pa.string()), [[(1, "one")], [], None, [(2, None)]]),
    }  # fmt: skip
    arrays = {name: pa.array(values, type=t) for name, (t, values) in columns.items()}
    return pa.table(arrays)


def write_jsonl(path, records):
    path.write_text("".join(json.dumps(drop_nulls(r), ensure_ascii=False) + "\n" for r in records))


def write_ipc(table, name, stream, **options):
    open_it = pa.ipc.new_stream if stream else pa.ipc.new_file
    with open_it(str(OUT / name), table.schema, options=pa.ipc.IpcWriteOptions(**options)) as sink:
        sink.write_table(table, max_chunksize=9)


def write_types():
    table = types_table()
    write_jsonl(OUT / "types.jsonl", ({f.name: plain(row[f.name], f.type) for f in table.schema}
                                      for row in table.to_pylist()))
    write_ipc(table, "types.arrow", True)
    pq.write_table(table, OUT / "types.parquet", store_decimal_as_integer=True)
    views = pa.table({"list": pa.array([[1, 2], [], None], pa.list_view(pa.int64())),
                      "half": pa.array(numpy.array([0.5, -2.25, 65504.0], numpy.float16)),
                      "view": pa.array(["", "short", "longer than twelve bytes"], pa.string_view())})
    write_ipc(views.slice(1), "views.arrow", False)
    write_jsonl(OUT / "views.jsonl", [{"list": [], "half": -2.25, "view": "short"},
                                      {"half": 65504.0, "view": "longer than twelve bytes"}])


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    records = list(rows())
    table = pa.Table.from_pylist(records)
    write_jsonl(OUT / "rows.jsonl", records)
    pq.write_table(table, OUT / "rows.parquet", row_group_size=12)
    pq.write_table(table, OUT / "rows-zstd.parquet", compression="zstd", row_group_size=15, data_page_version="2.0",
                   use_dictionary=False)
    write_ipc(table, "rows.arrow", True)
    write_ipc(table, "rows-file.arrow", False, compression="zstd")
    frame = table.select(["id", "note"]).to_pandas()
    frame.to_csv(OUT / "notes.csv", index=False)
    write_jsonl(OUT / "notes.jsonl", ({"id": str(r["id"]), "note": r["note"]} for r in records))
    write_types()
    data = datasets.Dataset.from_list(records)
    data.save_to_disk(str(OUT / "saved"), num_shards=2)
    parts = {"train": data.select(range(30)), "test": data.select(range(30, 41))}
    datasets.DatasetDict(parts).save_to_disk(str(OUT / "saved-splits"))
    for path in OUT.rglob("dataset_info.json"):
        path.unlink()  # not needed, and it names this machine


if __name__ == "__main__":
    main()
