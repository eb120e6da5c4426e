"""Labelled rows of production -> a batch in `data/labelled/`, then `dvc repro`: the gate decides, the service swaps.

Which batch a row went to is written in its snapshot first, and a batch is written from there: cut short before DVC
keeps it, the next run completes it. A row goes back once, also if its batch is removed: `.delivered` names them all.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from .. import read_json, read_rows, say, tell, write
from ..contract import Contract
from ..schema import CONTRACT
from ..stages.monitor import moments
from .snapshot import PRODUCTION, save, snapshot, track
from .turn import turn

LABELLED, BATCHES = Path("data/labelled"), Path("data/batches")
DELIVERED = ".delivered"  # in the folder of the batches
UNFIT, KNOWN = "(unfit)", "(known)"  # not names of batches: why a row goes into none


def labelled(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame | None:
    """Return the labelled rows of a snapshot that fit the contract, in its columns, None if none can.

    A row without an id takes its prediction's, one without a time the request's.
    """
    columns: dict[str, Any] = {}
    if contract.id:
        columns[contract.id] = rows["row_id"].fillna(rows["id"])
    if contract.time:
        columns[contract.time] = moments(rows, timed=True)
    try:
        columns |= {feature.name: rows[f"features.{feature.name}"] for feature in contract.features}
        columns[contract.target] = rows["label"]
        needed = [feature.name for feature in contract.features if not feature.missing]
        return pd.DataFrame(columns).dropna(subset=needed).astype(contract.dtypes)
    except (KeyError, TypeError, ValueError):
        return None


def mark(production: Path, labelled_dir: Path, batches: Path, contract: Contract) -> list[Path]:
    """Write into the snapshots which batch each labelled row goes to; return the snapshots that changed.

    Of two labelled predictions of one row the later one goes back. Rows that do not fit `schema.py` wait for one.
    """
    fresh: dict[Path, pd.DataFrame] = {}
    marks: dict[Path, pd.Series] = {}
    asked: list[pd.Series] = []
    gone: list[pd.Series] = []
    for path in sorted(production.glob("*.parquet")):
        rows = read_rows(path)
        gone.append(rows["row_id"].fillna(rows["id"])[rows["batch"].notna() & ~rows["batch"].isin([UNFIT, KNOWN])])
        rows = rows[rows["label"].notna() & (rows["batch"].isna() | (rows["batch"] == UNFIT))]
        if len(rows):
            found = labelled(rows, contract)
            marks[path] = pd.Series(UNFIT, rows.index, dtype="str")
            if found is not None and len(found):
                fresh[path] = found
                asked.append(rows["time"].loc[found.index])
    if fresh:
        together = pd.concat(list(fresh.values()), ignore_index=True)
        known = pd.Series(False, together.index)
        if contract.id:
            ids = together[contract.id]
            for path in sorted([*batches.glob("*.parquet"), *labelled_dir.glob("*.parquet")]):
                if contract.id in pq.read_schema(path).names:  # what is no batch of this contract `validate` names
                    gone.append(read_rows(path, columns=[contract.id])[contract.id].astype("str"))
            in_time = ids.iloc[np.argsort(pd.concat(asked).to_numpy(), kind="stable")]
            known = in_time.duplicated(keep="last").sort_index() | ids.isin(pd.concat(gone))
        name = _name(together.loc[~known, contract.time] if contract.time else None, labelled_dir)
        where, end = known.map({True: KNOWN, False: name}), 0
        for path, found in fresh.items():
            begin, end = end, end + len(found)
            marks[path].loc[found.index] = where[begin:end].to_numpy()
    if unfit := sum(int((mine == UNFIT).sum()) for mine in marks.values()):
        say("retrain", f"{unfit:,} labelled rows do not fit schema.py and stay where they are")
    changed = []
    for path, mine in marks.items():
        rows = read_rows(path)
        if not rows.loc[mine.index, "batch"].equals(mine):
            rows.loc[mine.index, "batch"] = mine
            save(path, rows)
            changed.append(path)
    return changed


def _name(times: pd.Series | None, labelled_dir: Path) -> str:
    name = "returned" if times is None or times.empty else f"returned-{times.min():%Y%m%d}-{times.max():%Y%m%d}"
    taken = {path.name.split(".")[0] for path in labelled_dir.iterdir()} | delivered(labelled_dir)
    return next(free for free in [name, *(f"{name}-{number}" for number in range(2, 10_000))] if free not in taken)


def deliver(production: Path, labelled_dir: Path, contract: Contract) -> dict[Path, int]:
    """Write every batch that the snapshots speak of and that DVC was never given; return them with their rows."""
    parts: dict[str, list[pd.DataFrame]] = {}
    done = {UNFIT, KNOWN, *delivered(labelled_dir)}
    for path in sorted(production.glob("*.parquet")):
        rows = read_rows(path)
        for name, mine in rows.groupby("batch"):
            if name not in done:
                found = labelled(mine, contract)
                if found is None:
                    say("retrain", f"{path} has rows of batch {name} that do not fit schema.py any more")
                else:
                    parts.setdefault(str(name), []).append(found)
    written = {}
    for name, frames in parts.items():
        rows, path = pd.concat(frames, ignore_index=True), labelled_dir / f"{name}.parquet"
        save(path, rows)
        written[path] = len(rows)
    return written


def delivered(labelled_dir: Path) -> set[str]:
    """Return the names of the batches that DVC keeps or kept: one that was bad may have been removed."""
    past = labelled_dir / DELIVERED
    names = past.read_text("utf-8").splitlines() if past.exists() else []
    return {*names, *(path.name.removesuffix(".parquet.dvc") for path in labelled_dir.glob("*.parquet.dvc"))}


def retrain() -> str:
    """Return the gate's verdict on what came back."""
    with turn():
        say("retrain", snapshot())
        changed = mark(PRODUCTION, LABELLED, BATCHES, CONTRACT)
        batches = deliver(PRODUCTION, LABELLED, CONTRACT)
        track([*changed, *batches])
        if batches:
            write(LABELLED / DELIVERED, "".join(f"{name}\n" for name in sorted(delivered(LABELLED))))
        for path, rows in batches.items():
            say("retrain", f"{rows:,} labelled rows are now {path}")
        if not batches:
            say("retrain", "nothing new is labelled")
        done = subprocess.run([sys.executable, "-m", "dvc", "repro"], check=False)
    if done.returncode:
        sys.exit(done.returncode)
    decision = read_json(Path("reports/decision.json"))
    told = "" if batches else "the gate's last word: "
    return f"{told}{decision['version']} {decision['decision']}: {'; '.join(decision['reasons'])}"


if __name__ == "__main__":
    tell(retrain)
