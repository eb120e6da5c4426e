"""Stage `split`: valid batches -> train and test, so that the test set is what the model will meet and never saw.

With a time column: the newest days of the newest batch. Without one: the rows whose features say so, for good. A target
has no say in it: where rows repeat, its classes would part, one for training and the other for testing.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from .. import UserError, folder, read_rows, run
from ..contract import Contract
from ..metrics import drawn
from ..params import SplitParams, load
from ..schema import CONTRACT


def split(batches: list[pd.DataFrame], contract: Contract, p: SplitParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (train, test): disjoint, together all rows.

    With a time column every test row is of a later day than every train row. Without one, rows of the same features
    fall on the same side, and a row stays on its side when the data grow.
    """
    rows = pd.concat(batches, ignore_index=True)
    if contract.time:
        is_test = (rows[contract.time] >= _first_day([batch[contract.time] for batch in batches], p)).to_numpy()
    else:
        is_test = drawn(rows, contract.to_json(), p.seed, p.test_share)
    if is_test.all() or not is_test.any():
        side = "training" if is_test.any() else "testing"
        raise UserError(f"{len(rows)} rows leave none for {side}; bring more of them, or days")
    return rows[~is_test].reset_index(drop=True), rows[is_test].reset_index(drop=True)


def _first_day(batches: list[pd.Series], p: SplitParams) -> pd.Timestamp:
    """Return where the test days start: a share of the newest batch's days, further back while rows are few.

    The newest batch is the one whose latest rows are, but for the last in a hundred: a wrong clock does not make one.
    """
    batch = max(batches, key=lambda times: times.quantile(0.99, interpolation="lower"))
    newest = np.sort(batch.dt.floor("D").unique())
    days = min(max(1, round(len(newest) * p.test_share)), p.max_test_days)  # a third of 21 is 7, by 0.3333 too
    per_day = pd.concat(batches).dt.floor("D").value_counts().sort_index()
    enough = per_day[::-1].cumsum() >= p.min_test_rows
    first, second = pd.Timestamp(newest[-days]), per_day.index[min(1, len(per_day) - 1)]
    # where all days together are too few, the gate refuses; and one day stays for training
    return pd.Timestamp(max(min(first, enough.idxmax() if enough.any() else first), second))


def main(valid_dir: Path, split_dir: Path) -> str:
    """Write train.parquet and test.parquet."""
    batches = [read_rows(path) for path in sorted(valid_dir.glob("*.parquet"))]
    train, test = split(batches, CONTRACT, load(SplitParams))
    with folder(split_dir) as scratch:
        train.to_parquet(scratch / "train.parquet", index=False)
        test.to_parquet(scratch / "test.parquet", index=False)
    times = test[CONTRACT.time] if CONTRACT.time else None
    when = f", {times.min():%Y-%m-%d} to {times.max():%Y-%m-%d}" if times is not None else ""
    return f"{len(train):,} rows for training, {len(test):,} for testing{when}"


if __name__ == "__main__":
    run(main)
