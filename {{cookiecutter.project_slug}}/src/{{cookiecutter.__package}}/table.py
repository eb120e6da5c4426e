"""A raw table -> rows in the contract's columns: a CSV or Parquet file, or a folder of such parts.

Everything of a CSV is read as text. What a text means is said in `params.yaml: ingest` (missing marks, decimals, dates)
and by the contract's types; a value that fits neither ends the run in one sentence with its line.
"""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from . import UserError
from .contract import WIDEST, Contract
from .metrics import drawn
from .params import TableParams

PLAIN = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
WHOLE = r"^[+-]?[0-9]+(\.0*)?$"
MONEY = r"^([+-]?)[€$£¥]\s*|\s*[€$£¥%]$"  # what may stand around a number, after its sign
GREATEST = str(2**63 - 1)  # of the integers
TRUTH = {"true": True, "false": False}
EPOCHS = {"epoch seconds": "s", "epoch milliseconds": "ms"}
MAGIC = b"PAR1"
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # as Spark and Arrow name such a folder
BLOCK_BYTES = 2**24  # longer than any line
FEW = 1000  # lines of a file that Python reads, where a sentence needs one


def parts(path: Path) -> list[Path]:
    """Return the file, or the files of the folder by name.

    Raises:
        UserError: there is none.
    """
    if not path.exists():
        kept = path.with_name(f"{path.name}.dvc").exists()
        raise UserError(
            f"{path} is kept by DVC and not here; run `.venv/bin/dvc pull`" if kept else f"{path} is no file"
        )
    if path.is_file():
        return [path]
    found = sorted(part for part in path.rglob("*") if part.is_file() and not part.name.startswith((".", "_")))
    if not found:
        raise UserError(f"{path} is a folder without files; give one that holds CSV or Parquet")
    return found


def is_parquet(path: Path) -> bool:
    """Return whether a file is Parquet, by its first bytes."""
    with path.open("rb") as file:
        return file.read(4) == MAGIC


def named(table: pa.Table, path: Path) -> pa.Table:
    """Return the table, its columns' names without spaces around them; one without a name is called by its place.

    Raises:
        UserError: two names are the same then.
    """
    raw = enumerate(table.column_names)
    names = [name.strip().removeprefix("\ufeff").strip() or f"column {k + 1}" for k, name in raw]
    if twice := next((name for name in names if names.count(name) > 1), None):
        places = " and ".join(str(k + 1) for k, name in enumerate(names) if name == twice)
        raise UserError(f"{path} line 1: columns {places} have the same name, {twice!r}; rename one of them")
    return table.rename_columns(names)


def read(path: Path, p: TableParams) -> pa.Table:
    """Return the table, parts one below the other: texts of a CSV and of folders such as year=2024, else as typed.

    Raises:
        UserError: a part cannot be read, or has other columns than the first.
    """
    tables: list[pa.Table] = []
    for part in parts(path):
        table = _parquet(part) if is_parquet(part) else _csv(part, p)
        for key, _, value in (name.partition("=") for name in part.relative_to(path).parts[:-1]):  # year=2024/1.parquet
            if value and key not in table.column_names:
                text = None if value == NO_VALUE else unquote(value)
                table = table.append_column(key, pa.array([text] * len(table), pa.string()))
        if tables and table.column_names != tables[0].column_names:
            other = {*table.column_names} ^ {*tables[0].column_names} or {"their order"}
            raise UserError(
                f"{part} differs from the other parts in {sorted(other)[0]!r}; give all parts the same columns"
            )
        tables.append(table)
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise UserError(f"{path}: its parts have columns of different types ({_first_line(error)})") from error


def _parquet(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path, partitioning=None)
        views = (pa.types.is_string_view(field.type) for field in table.schema)  # Arrow cannot take rows of them
        kinds = [f.with_type(pa.string()) if view else f for f, view in zip(table.schema, views, strict=True)]
        table = table.cast(pa.schema(kinds))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet ({_first_line(error)}); write it anew") from error
    return named(table, path)


def _csv(path: Path, p: TableParams) -> pa.Table:
    header = header_of(path, p)
    texts = pacsv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False)
    parse = pacsv.ParseOptions(delimiter=p.delimiter, newlines_in_values=True)
    options = pacsv.ReadOptions(encoding=p.encoding, block_size=BLOCK_BYTES)
    try:
        table = pacsv.read_csv(path, options, parse_options=parse, convert_options=texts)
    except (pa.ArrowException, UnicodeError, LookupError) as error:
        raise UserError(ragged(path, p) or f"{path} cannot be read as CSV: {_first_line(error)}") from error
    return named(table, path)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def lines(path: Path, p: TableParams) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, values) of a CSV; lines without anything are none."""
    csv.field_size_limit(BLOCK_BYTES)
    with path.open(encoding=p.encoding, errors="replace", newline="") as file:
        rows = csv.reader(file, delimiter=p.delimiter)
        begin = 1
        for row in rows:
            if row:
                yield begin, row
            begin = rows.line_num + 1


def header_of(path: Path, p: TableParams) -> list[str]:
    """Return the first line's values as they are."""
    try:
        return next(lines(path, p))[1]
    except (StopIteration, csv.Error) as error:
        raise UserError(f"{path} has no first line with the columns' names") from error


def ragged(path: Path, p: TableParams) -> str:
    """Return the sentence on the first line that has too few or too many values, or nothing."""
    width = len(header_of(path, p))
    try:
        for number, row in lines(path, p):
            if len(row) != width:
                return (
                    f"{path} line {number}: {len(row)} values where the first line names {width} columns; "
                    f"correct the line, or quote the values that hold {p.delimiter!r}"
                )
    except csv.Error as error:
        return f"{path} cannot be read as CSV: {error}"
    return ""


def place(path: Path, row: int, p: TableParams) -> str:
    """Return the part and the line of a CSV, or the row of Parquet, where a row of the table stands."""
    for part in parts(path):
        if is_parquet(part):
            count = pq.read_metadata(part).num_rows
            if row < count:
                return f"{part} row {row + 1}"
        else:
            count = 0
            for number, _ in islice(lines(part, p), 1, None):
                if count == row:
                    return f"{part} line {number}"
                count += 1
        row -= count
    return str(path)


def is_text(column: pa.ChunkedArray) -> bool:
    """Return whether a column holds texts, plainly or as a dictionary."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind))


def distinct(column: pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return the distinct texts, without spaces around them, and each row's place in them, -1 for none."""
    flat = column.cast(pa.string()).combine_chunks().dictionary_encode()
    places = flat.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return pc.utf8_trim_whitespace(flat.dictionary), places


def numbers(texts: pa.Array, decimal: str, thousands: str) -> pa.Array:
    """Return the numbers that texts stand for, null for what is none; a percent or currency sign does not count."""
    bare = _bare(texts, decimal, thousands)
    found = pc.cast(pc.if_else(pc.match_substring_regex(bare, PLAIN), bare, None), pa.float64())
    return pc.if_else(pc.less_equal(pc.abs(found), WIDEST), found, None)


def integers(texts: pa.Array, decimal: str, thousands: str) -> pa.Array:
    """Return the integers that texts stand for, null for what is none; 3.0 is one."""
    bare = _bare(texts, decimal, thousands)
    digits = pc.replace_substring_regex(bare, r"(\.0*$)|(^\+)", "")
    length = pc.utf8_length(digits)
    fits = pc.and_(pc.equal(length, len(GREATEST)), pc.less_equal(digits, GREATEST))
    fits = pc.or_(fits, pc.less(length, len(GREATEST)))
    known = pc.and_(pc.match_substring_regex(bare, WHOLE), fits)
    return pc.cast(pc.if_else(known, digits, None), pa.int64())


def _bare(texts: pa.Array, decimal: str, thousands: str) -> pa.Array:
    bare = pc.replace_substring_regex(pc.replace_substring(texts, "\u2212", "-"), MONEY, r"\1")
    if thousands:
        mark = thousands if thousands != " " else "[ \u00a0\u202f]"
        mark = "[.]" if mark == "." else mark
        point = "[.]" if decimal == "." else decimal
        grouped = pc.match_substring_regex(bare, rf"^[+-]?[0-9]{{1,3}}({mark}[0-9]{{3}})+({point}[0-9]+)?$")
        bare = pc.if_else(grouped, pc.replace_substring_regex(bare, mark, ""), bare)
    if decimal == ",":  # what still holds a point is no number in this file
        bare = pc.if_else(pc.match_substring(bare, "."), "", pc.replace_substring(bare, ",", "."))
    return bare


def moments(texts: Any, form: str) -> pd.Series:
    """Return the times without zone (UTC where one is given) that texts stand for, NaT for what is none."""
    if form in EPOCHS:
        counts = pd.Series(numbers(texts, ".", "").to_numpy(zero_copy_only=False))
        unit: Any = EPOCHS[form]
        return pd.Series(pd.to_datetime(counts, unit=unit, errors="coerce"), dtype="datetime64[us]")
    if form == "%Y%m%d":  # beside a missing value pandas writes 20240531.0
        texts = pc.replace_substring_regex(texts, r"\.0*$", "")
    found = pd.to_datetime(pd.Series(texts.to_pandas(), dtype="str"), format=form, errors="coerce", utc=True)
    return found.dt.tz_localize(None).astype("datetime64[us]")


def is_missing(texts: pa.Array, marks: list[str]) -> NDArray[np.bool_]:
    """Return which texts mean no value."""
    return np.asarray(pc.is_in(texts, value_set=pa.array(["", *marks], pa.string())).to_numpy(zero_copy_only=False))


def parsed(texts: pa.Array, dtype: str, form: str | None, p: TableParams) -> pd.Series:
    """Return the values that distinct texts stand for, missing for what is none."""
    if dtype.startswith("datetime"):
        return moments(texts, form or "ISO8601")
    if dtype in ("int64", "Int64"):
        return pd.Series(integers(texts, p.decimal, p.thousands).to_pandas(integer_object_nulls=True), dtype="Int64")
    if dtype == "float64":
        return pd.Series(numbers(texts, p.decimal, p.thousands).to_numpy(zero_copy_only=False), dtype="float64")
    plain = pd.Series(texts.to_pandas(), dtype="str")
    return plain.str.lower().map(TRUTH).astype("boolean") if dtype in ("bool", "boolean") else plain


def column(table: pa.Table, name: str, dtype: str, p: TableParams, where: Path) -> pd.Series:
    """Return a column in a pandas dtype, or in its nullable twin where a value is missing.

    Raises:
        UserError: it is not there, or a value is of another kind.
    """
    if name not in table.column_names:
        raise UserError(f"{where} has no column {name!r}; bring it back, or take it out of schema.py")
    raw = table[name]
    if name in p.dates and pa.types.is_integer(raw.type):  # days or seconds, as in 20240531
        raw = pc.cast(raw, pa.string())
    if not is_text(raw):
        return _typed(raw, name, dtype, where)
    texts, places = distinct(raw)
    gone = is_missing(texts, [*p.missing, *p.missing_in.get(name, ())])
    found = parsed(texts, dtype, p.dates.get(name), p)
    if bad := np.flatnonzero(found.isna().to_numpy() & ~gone).tolist():
        first = int(np.flatnonzero(np.isin(places, bad))[0])
        raise UserError(
            f"{place(where, first, p)}, column {name!r}: {texts[int(places[first])].as_py()!r} is no {dtype}; "
            f"correct it, or list it under ingest.missing_in in params.yaml"
        )
    rows = found.mask(gone).take(np.where(places < 0, 0, places)) if len(found) else found.reindex(range(len(places)))
    rows = rows.mask(places < 0).reset_index(drop=True)
    return _plain(rows, dtype)


def _typed(raw: pa.ChunkedArray, name: str, dtype: str, where: Path) -> pd.Series:
    """Return a column that has a type of its own."""
    nullable = {"int64": "Int64", "bool": "boolean"}.get(dtype, dtype)
    try:
        if dtype.startswith("datetime"):
            return pd.Series(pc.cast(raw, pa.timestamp("us"), safe=False).to_pandas(), dtype="datetime64[us]")
        if dtype == "float64":
            values = pd.Series(pc.cast(raw, pa.float64(), safe=False).to_numpy())
            return values.mask(values.abs() > WIDEST)
        if dtype in ("int64", "Int64") and pa.types.is_floating(raw.type):  # 3.0 is one, NaN is none
            raw = pc.if_else(pc.is_nan(raw), None, raw)
        kinds = {"Int64": pa.int64(), "boolean": pa.bool_(), "str": pa.string()}
        values = pd.Series(pc.cast(raw, kinds[nullable]).to_pandas(integer_object_nulls=True), dtype=nullable)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise UserError(f"{where}, column {name!r}: not {dtype}, as schema.py has it ({_first_line(error)})") from error
    return _plain(values, dtype)


def _plain(values: pd.Series, dtype: str) -> pd.Series:
    """Return the values without room for missing ones, where the contract has none and none are."""
    kinds: dict[str, Any] = {"int64": "int64", "bool": "bool"}
    return values.astype(kinds[dtype]) if dtype in kinds and not values.isna().any() else values


def shaped(table: pa.Table, contract: Contract, p: TableParams, where: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the rows in the contract's columns, in order of time, and how many were read and left out.

    Left out are rows without a label, without a time where the contract has one, and of classes that it does not name.
    """
    rows = pd.DataFrame({name: column(table, name, dtype, p, where) for name, dtype in contract.dtypes.items()})
    counts, known = {"read": len(rows)}, rows[contract.target].notna()
    counts["without a label"] = int((~known).sum())
    if contract.classes:
        counts["of other classes"] = int(known.sum())
        known &= rows[contract.target].isin(contract.classes)
        counts["of other classes"] -= int(known.sum())
    if contract.time:
        counts["without a time"] = int(rows.loc[known, contract.time].isna().sum())
        known &= rows[contract.time].notna()
    rows = rows[known.to_numpy(dtype=bool)]
    rows = rows.sort_values(contract.time, kind="stable") if contract.time else rows
    counts["labelled"] = len(rows)
    return rows.astype({contract.target: contract.dtypes[contract.target]}).reset_index(drop=True), counts


def is_stream(rows: pd.DataFrame, contract: Contract, p: TableParams) -> "pd.Series[bool]":
    """Return which rows the service will meet: the newest ones, or without times those whose features say so."""
    if contract.time and p.stream_from:
        return rows[contract.time] >= pd.Timestamp(p.stream_from)
    return pd.Series(drawn(rows, contract.to_json(), p.stream_seed, p.stream_share), index=rows.index)
