"""Which row is which: what decides the side of a split, and what proves that a model never saw a row."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]


def content(rows: pd.DataFrame, contract: Mapping[str, Any]) -> Hashes:
    """Return a 64-bit hash of each row's features and target: equal for identical rows."""
    return _hash(rows[[*(feature["name"] for feature in contract["features"]), contract["target"]]])


def identity(rows: pd.DataFrame, contract: Mapping[str, Any]) -> Hashes:
    """Return a 64-bit name of each row: its id; without one its content, time and ordinal among identical rows."""
    if contract["id"]:
        return _hash(rows[contract["id"]])
    same = pd.DataFrame({"content": content(rows, contract)})
    if contract["time"]:
        same["time"] = rows[contract["time"]].to_numpy()
    return _hash(same.assign(ordinal=same.groupby(list(same)).cumcount()))


def _hash(values: pd.DataFrame | pd.Series) -> Hashes:
    return pd.util.hash_pandas_object(values, index=False).to_numpy().astype(np.uint64)
