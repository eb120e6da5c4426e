"""Batch scoring: a CSV or Parquet file -> the champion's predictions, by the code that answers over HTTP.

Rows that break the contract go to a file beside the output, with their reasons. Both appear whole or not at all.
"""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .. import UserError, champion, say, tell
from ..bundle import Bundle, columns_of, finite, verified
from ..checks import Checks

CHUNK_ROWS = 20_000
SAID_EVERY = 250_000  # rows
BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
READERS: dict[str, tuple[Callable[[str], Any], ...]] = {
    "number": (float,),
    "integer": (int, float),
    "boolean": (lambda text: BOOLEANS[text.lower()],),
}
MODELS = Path("models")
Row = dict[str, Any]


def chunks(path: Path) -> Iterator[list[Row]]:
    """Yield the rows of a file; those of a CSV hold texts alone.

    Raises:
        UserError: it is neither, or is not what it is called.
    """
    try:
        if path.suffix == ".csv":
            rows = lines(path)
            while chunk := list(islice(rows, CHUNK_ROWS)):
                yield chunk
        elif path.suffix == ".parquet":
            for batch in pq.ParquetFile(path).iter_batches(CHUNK_ROWS):
                yield batch.to_pylist()
        else:
            raise UserError(f"{path}: a file to score ends in .csv or .parquet")
    except (ValueError, csv.Error, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def lines(path: Path) -> Iterator[Row]:
    """Yield the lines of a CSV file; pandas would fill up a short one."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        cells = csv.reader(file, strict=True)
        header = next(cells, [])
        if len({*header}) < max(len(header), 1):
            raise ValueError("it has no header, or one that names a column twice")
        for row in filter(None, cells):
            if len(row) != len(header):
                raise ValueError(f"line {cells.line_num} has {len(row)} cells, its header {len(header)}")
            yield dict(zip(header, row, strict=True))


def plain(value: Any, kind: str) -> Any:
    """Return a cell as a request would carry it; what cannot be read so stays as it is, and the check refuses it."""
    if value is None or value == "" or value != value:
        return None
    for read in READERS.get(kind, ()) if isinstance(value, str) and "_" not in value else ():  # 1_000 is Python's
        with suppress(KeyError, ValueError):
            return read(value)
    if isinstance(value, date):
        return value.isoformat()
    if kind == "id":  # integers beside a missing one come as floats
        return str(int(value) if isinstance(value, float) and value.is_integer() else value)
    return value


def refused(row: Row, number: int, reason: str) -> Row:
    """Return a bad row with its number and the reason, not those that it may have of an earlier time."""
    told = {"row_number": number, "reason": reason}
    return told | {name: value for name, value in row.items() if name not in told}


class Scorer:
    """Reads rows by one bundle's contract and answers them."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.checks = bundle, Checks(bundle.contract)
        self.kept = [name for name in (bundle.contract["id"], bundle.contract["time"]) if name]
        kinds = {name: feature["type"] for name, feature in self.checks.features.items()}
        self.kinds = {bundle.contract["id"]: "id", bundle.contract["time"]: "datetime"} | kinds

    def score(self, rows: list[Row], first: int) -> tuple[list[Row], list[Row]]:
        """Return the answers and the bad rows with their reasons; `first` is the number of the first row.

        Raises:
            UserError: a feature's column is missing.
        """
        if missing := [name for name in self.checks.features if name not in rows[0]]:
            raise UserError(f"column {missing[0]!r} is missing; the features are {', '.join(self.checks.features)}")
        good: list[tuple[Row, Row]] = []
        bad: list[Row] = []
        for number, row in enumerate(rows, first):
            read = {name: plain(value, self.kinds[name]) for name, value in row.items() if name in self.kinds}
            try:
                good.append(({"row_number": number}, self.checks.one(read)))
            except UserError as error:
                bad.append(refused(row, number, str(error)))
        if not good:
            return [], bad
        scores = self.bundle.scores(columns_of([row for _, row in good]))
        found = self.bundle.answers(scores)
        answers = zip(good, finite(scores), *found.values(), strict=True)
        scored = []
        for (number, row), fine, *answer in answers:
            if fine:
                kept = {name: row.get(name) for name in self.kept}
                scored.append(number | kept | dict(zip(found, answer, strict=True)))
            else:
                at = number["row_number"]
                bad.append(refused(rows[at - first], at, "the model has no finite answer"))
        return scored, bad


class Output:
    """A table that is written in parts."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0
        self._parquet: pq.ParquetWriter | None = None

    def add(self, rows: list[Row]) -> None:
        """Write some rows more."""
        if not rows:
            return
        if self.path.suffix == ".parquet":
            table = pa.Table.from_pylist(rows)
            if self._parquet is None:  # a column may be empty here and hold texts later
                fields = [pa.field(f.name, pa.string() if pa.types.is_null(f.type) else f.type) for f in table.schema]
                self._parquet = pq.ParquetWriter(self.path, pa.schema(fields))
            self._parquet.write_table(table.cast(self._parquet.schema))
        else:
            cells = [{k: json.dumps(v) if isinstance(v, dict) else v for k, v in row.items()} for row in rows]
            pd.DataFrame(cells).to_csv(self.path, mode="a", header=not self.rows, index=False)
        self.rows += len(rows)

    def close(self) -> None:
        """Finish the file."""
        if self._parquet:
            self._parquet.close()


def score(rows: Path, out: Path) -> str:
    """Write the answers to `out` and the bad rows to `<out>.bad.csv`; return what was done."""
    version = champion.read(MODELS / "champion.json")["version"]
    if version is None:
        raise UserError("there is no champion yet; run `make pipeline`")
    if out.suffix not in (".csv", ".parquet"):
        raise UserError(f"{out}: the output ends in .csv or .parquet")
    bad_path = out.with_suffix(".bad.csv")
    if rows.resolve() in (out.resolve(), bad_path.resolve()):
        raise UserError(f"{rows} would be written over; give the output another name than {out}")
    scorer, done = Scorer(verified(MODELS / "versions", version)), 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        good, bad = Output(Path(scratch, out.name)), Output(Path(scratch, bad_path.name))
        for chunk in filter(None, chunks(rows)):
            scored, refused = scorer.score(chunk, done)
            good.add(scored)
            bad.add(refused)
            if (done + len(chunk)) // SAID_EVERY > done // SAID_EVERY:
                say("score", f"{done + len(chunk):,} rows")
            done += len(chunk)
        if not done:
            raise UserError(f"{rows} holds no rows")
        bad_path.unlink(missing_ok=True)
        for part in (bad, good):
            part.close()
            if part.rows:
                part.path.chmod(0o644)
                part.path.replace(out.with_name(part.path.name))
    told = f"; bad rows: {bad.rows:,}, with reasons in {bad_path}" if bad.rows else ""
    if not good.rows:
        raise UserError(f"{rows} holds no row that the contract allows{told}")
    return f"{good.rows:,} rows of {rows} answered by {version} in {out}{told}"


if __name__ == "__main__":
    tell(score)
