"""Which row is which: what decides the side of a split, and what proves that a model never saw a row."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def content(rows: pd.DataFrame, contract: Mapping[str, Any]) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each row's features and target: equal for identical rows."""
    names = [feature["name"] for feature in contract["features"]] + [contract["target"]]
    return pd.util.hash_pandas_object(rows[names], index=False).to_numpy()


def identity(rows: pd.DataFrame, contract: Mapping[str, Any]) -> NDArray[np.uint64]:
    """Return a 64-bit name of each row: its id; without an id column its content and its ordinal among identical rows."""
    if contract["id"]:
        return pd.util.hash_pandas_object(rows[contract["id"]], index=False).to_numpy()
    same = pd.DataFrame({"content": content(rows, contract)})
    same["ordinal"] = same.groupby("content").cumcount()
    return pd.util.hash_pandas_object(same, index=False).to_numpy()
