"""The service's logs -> `data/production/`: a Parquet file for each day and version, every prediction once.

Columns: `id`, `time`, `row_id`, `row_time`, `score` (of many classes `score.0` and so on, in the contract's order),
`label` (the latest that came), `batch` (where the row went when it was returned), and `features.<name>`. Logs and
snapshots older than `params.yaml` says are removed.
"""

import fcntl
import io
import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.json as pj

from .. import UserError, pulled, read_json, read_rows, tell, write
from ..contract import NULLABLE
from ..params import MonitorParams, load

LOGS = Path(os.environ.get("SERVICE_LOG_DIR") or "logs")
PRODUCTION, VERSIONS = Path("data/production"), Path("models/versions")
ARROW = {"number": pa.float64(), "integer": pa.int64(), "boolean": pa.bool_()}
LABELS = {bool: "boolean", int: "Int64", str: "str"}
BLOCK_BYTES = 2**24  # longer than any line
DAY_S = 86_400
Contract = dict[str, Any]


def predictions(log: Path, known: dict[str, Contract]) -> tuple[dict[str, pd.DataFrame], int]:
    """Return version -> rows of one segment, and how many lines are of no known version.

    A last line without its end is still being written, or was never whole.

    Raises:
        UserError: a line is not what the service writes.
    """
    data = log.read_bytes()
    data = data[: data.rfind(b"\n") + 1]
    found, unknown = {}, data.count(b"\n")
    for version, contract in known.items():
        mine = re.compile(rb'^\{"time":"[^"]*","model_version":"%s".*\n' % version.encode(), re.MULTILINE)
        count = sum(1 for _ in mine.finditer(data))
        if count:
            unknown -= count
            lines = data if count == data.count(b"\n") else b"".join(mine.findall(data))
            try:
                found[version] = _rows(lines, contract)
            except (pa.ArrowException, ValueError) as error:
                raise UserError(f"{log} holds a line that no service wrote: {str(error).splitlines()[0]}") from error
    return found, unknown


def _rows(lines: bytes, contract: Contract) -> pd.DataFrame:
    classes, names = contract["classes"], ("id", "time", "row_id", "row_time")
    kind = pa.struct([(str(label), pa.float64()) for label in classes]) if len(classes) > 2 else pa.float64()
    score = "probability" if classes else "prediction"
    features = [(feature["name"], ARROW.get(feature["type"], pa.string())) for feature in contract["features"]]
    schema = pa.schema([*((name, pa.string()) for name in names), (score, kind), ("features", pa.struct(features))])
    options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    read = pj.ReadOptions(block_size=BLOCK_BYTES)
    table = pj.read_json(io.BytesIO(lines), read_options=read, parse_options=options).combine_chunks()
    scores = table[score].combine_chunks()
    columns = {name: table[name].to_pandas() for name in names}
    columns["row_time"] = pd.to_datetime(columns["row_time"], format="ISO8601").astype("datetime64[us]")
    parts = scores.flatten() if len(classes) > 2 else [scores]
    columns |= {name: part.to_pandas() for name, part in zip(score_columns(contract), parts, strict=True)}
    columns["label"] = pd.Series(None, range(len(table)), dtype=label_dtype(contract))
    columns["batch"] = pd.Series(None, range(len(table)), dtype="str")
    for (name, _), feature, part in zip(
        features, contract["features"], table["features"].combine_chunks().flatten(), strict=True
    ):
        if feature["type"] == "datetime":
            values = pd.to_datetime(part.to_pandas(), format="ISO8601").astype("datetime64[us]")
        elif feature["type"] in ("integer", "boolean") and part.null_count:
            values = pd.Series(part.to_pylist(), dtype=NULLABLE[feature["type"]])
        else:
            values = part.to_pandas()
        columns[f"features.{name}"] = values
    return pd.DataFrame(columns)


def score_columns(contract: Contract) -> list[str]:
    """Return the columns that hold what the model said: the number, the positive class's probability, or each one's."""
    count = len(contract["classes"])
    return [f"score.{number}" for number in range(count)] if count > 2 else ["score"]


def label_dtype(contract: Contract) -> str:
    """Return the pandas dtype of labels that may be missing."""
    return LABELS[type(contract["classes"][0])] if contract["classes"] else "float64"


def labels(logs: Path) -> dict[str, Any]:
    """Return prediction id -> the latest label that came.

    Raises:
        UserError: a line is not what the service writes.
    """
    latest: dict[str, tuple[str, Any]] = {}
    for log in sorted(logs.glob("labels-*.jsonl")):
        with log.open("rb") as lines:
            for line in filter(lambda line: line.endswith(b"\n"), lines):
                try:
                    said = json.loads(line)
                    id, when, label = said["id"], said["time"], said["label"]
                    if when >= latest.get(id, ("",))[0]:
                        latest[id] = (when, label)
                except (ValueError, TypeError, KeyError) as error:
                    raise UserError(f"{log} holds a line that no service wrote: {line[:60]!r}") from error
    return {id: label for id, (_, label) in latest.items()}


def attach(rows: pd.DataFrame, found: dict[str, Any], contract: Contract) -> tuple[int, int, int]:
    """Write labels into the rows; return how many match, are new, and correct an earlier one."""
    given = rows["id"].map(found)
    matching = int(given.notna().sum())
    given = given[given.isin(contract["classes"]) if contract["classes"] else given.notna()]
    given = pd.Series(given.tolist(), given.index, dtype=label_dtype(contract))
    before = rows.loc[given.index, "label"]
    new, other = before.isna(), (before.notna() & (before != given)).fillna(False).astype(bool)
    changed = given[new | other]
    rows.loc[changed.index, "label"] = changed
    return matching, int(new.sum()), int(other.sum())


def save(path: Path, rows: pd.DataFrame) -> None:
    """Write a Parquet file whole or leave what was there."""
    content = io.BytesIO()
    rows.to_parquet(content, index=False)
    write(path, content.getvalue())


def track(paths: list[Path]) -> None:
    """Give files to DVC."""
    if paths:
        done = subprocess.run([sys.executable, "-m", "dvc", "add", "--quiet", *map(str, paths)], check=False)
        if done.returncode:
            raise UserError(f"dvc add {' '.join(map(str, paths))} failed; mend what it says and run this again")


def untracked(production: Path) -> list[Path]:
    """Return the snapshots that DVC has not been given as they are now."""
    given = [(path, path.with_name(f"{path.name}.dvc")) for path in sorted(production.glob("*.parquet"))]
    return [path for path, to in given if not to.exists() or to.stat().st_mtime < path.stat().st_mtime]


def snapshot(logs: Path = LOGS, production: Path = PRODUCTION, versions: Path = VERSIONS, tracked: bool = True) -> str:
    """Take up what the logs hold, give it to DVC if it is to be `tracked`, and return what was done."""
    p = load(MonitorParams)
    known = {path.parts[-3]: read_json(path) for path in sorted(versions.glob("*/bundle/contract.json"))}
    fresh: defaultdict[str, list[pd.DataFrame]] = defaultdict(list)
    unknown, kept = 0, set()
    segments = sorted(logs.glob("predictions-*.jsonl"))
    for log in segments:
        found, left = predictions(log, known)
        unknown += left
        kept |= {log} if left else set()
        for version, rows in found.items():
            for day, part in rows.groupby(rows["time"].str[:10], sort=True):
                fresh[f"{day}-{version}"].append(part)
    said, counts = labels(logs), dict.fromkeys(("rows", "new", "matching", "labelled", "corrected"), 0)
    for name in sorted({*fresh, *(path.stem for path in pulled(production).glob("*.parquet"))}):
        if name[11:] not in known:
            continue
        path, contract = production / f"{name}.parquet", known[name[11:]]
        old = [read_rows(path)] if path.exists() else []
        rows = pd.concat([*old, *fresh.pop(name, [])], ignore_index=True).drop_duplicates("id", ignore_index=True)
        new = len(rows) - sum(map(len, old))
        matching, labelled, corrected = attach(rows, said, contract)
        if new or labelled or corrected:
            save(path, rows)
        for key, count in zip(counts, (len(rows), new, matching, labelled, corrected), strict=True):
            counts[key] += count
    if tracked:
        track(untracked(production))
    removed = _remove(logs, p.keep_logs_days, kept) + _forget(production, max(p.keep_snapshots_days, p.keep_logs_days))
    told = [f"{counts['new']:,} new predictions and {counts['labelled']:,} new labels; {counts['rows']:,} on record"]
    told += [f"{counts['corrected']:,} labels corrected"] if counts["corrected"] else []
    told += [f"{len(said) - counts['matching']:,} labels match no prediction"] if len(said) > counts["matching"] else []
    told += [f"{unknown:,} lines are no predictions, or of versions that models/versions lacks"] if unknown else []
    return "; ".join(told + ([f"{removed} old files removed"] if removed else []))


def _remove(logs: Path, days: int, kept: set[Path]) -> int:
    count = 0
    predicted = {*logs.glob("predictions-*.jsonl")} - kept
    for path in predicted | (set() if kept else {*logs.glob("labels-*.jsonl")}):  # the labels of what is kept too
        if time.time() - path.stat().st_mtime > days * DAY_S:
            with path.open("rb") as segment:
                try:
                    fcntl.flock(segment, fcntl.LOCK_SH | fcntl.LOCK_NB)  # fails where its process lives
                except OSError:
                    continue
                path.unlink()
                count += 1
    return count


def _forget(production: Path, days: int) -> int:
    first = f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%d}"
    old = [path for path in production.glob("*.parquet") if path.stem[:10] < first]
    for path in old:
        path.with_name(f"{path.name}.dvc").unlink(missing_ok=True)
        path.unlink()
    return len(old)


if __name__ == "__main__":
    tell(snapshot)
