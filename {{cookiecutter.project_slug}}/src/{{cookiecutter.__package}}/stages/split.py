"""Stage `split`: valid batches -> train and test, so that the test set is what the model will meet and never saw.

With a time column the newest days of the newest batch; without one, the rows whose content says so, and says so for good.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from ..contract import Contract
from ..errors import UserError
from ..files import folder
from ..identity import content
from ..params import SplitParams, load
from ..schema import CONTRACT
from . import run


def split(batches: list[pd.DataFrame], contract: Contract, p: SplitParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (train, test): disjoint, together all rows.

    With a time column every test row is of a later day than every train row. Without one, identical rows fall on the same
    side, and a row stays on its side when the data grow.
    """
    rows = pd.concat(batches, ignore_index=True)
    is_test = _newest(rows, batches, contract.time, p) if contract.time else _chosen(rows, contract, p)
    if is_test.all() or not is_test.any():
        raise UserError(f"{len(rows)} rows leave none for {'training' if is_test.any() else 'testing'}; bring more rows or days")
    return rows[~is_test].reset_index(drop=True), rows[is_test].reset_index(drop=True)


def _newest(rows: pd.DataFrame, batches: list[pd.DataFrame], time: str, p: SplitParams) -> np.ndarray:
    """Return the rows of the newest days: a share of the newest batch's days, further back while they are too few."""
    newest = max(batches, key=lambda batch: batch[time].max())
    days_of_batch = np.sort(newest[time].dt.floor("D").unique())
    count = min(max(1, math.floor(len(days_of_batch) * p.test_share)), p.max_test_days)
    days = rows[time].dt.floor("D")
    per_day = days.value_counts().sort_index()
    # Going back, one day stays for training; the gate refuses what is then still too small.
    enough = [day for day in per_day.index[1:] if per_day[day:].sum() >= p.min_test_rows] or [per_day.index[-1]]
    return (days >= min(days_of_batch[-count], enough[-1])).to_numpy()


def _chosen(rows: pd.DataFrame, contract: Contract, p: SplitParams) -> np.ndarray:
    """Return the rows whose content and seed hash into the first `test_share` of all hashes."""
    seeded = pd.DataFrame({"content": content(rows, contract.to_json()), "seed": np.uint64(p.seed)})
    return pd.util.hash_pandas_object(seeded, index=False).to_numpy() < np.uint64(p.test_share * 2**64)


def main(valid_dir: Path, split_dir: Path) -> str:
    """Write train.parquet and test.parquet."""
    train, test = split([pd.read_parquet(path) for path in sorted(valid_dir.glob("*.parquet"))], CONTRACT, load(SplitParams))
    with folder(split_dir) as scratch:
        train.to_parquet(scratch / "train.parquet", index=False)
        test.to_parquet(scratch / "test.parquet", index=False)
    when = f", from {test[CONTRACT.time].min():%Y-%m-%d} to {test[CONTRACT.time].max():%Y-%m-%d}" if CONTRACT.time else ""
    return f"{len(train):,} rows for training, {len(test):,} for testing{when}"


if __name__ == "__main__":
    run(main)
