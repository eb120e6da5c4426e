"""Small files of all kinds for the tests of what reads a table that nobody described."""

import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from {{ cookiecutter.__package }}.adoption.plan import Wanted, plan


def orders(n: int = 400) -> pd.DataFrame:
    """Return rows whose target `left` follows `amount` and `region`, strongly and honestly, and nothing else."""
    random = np.random.default_rng(0)
    amount, region = random.gamma(3, 40, n).round(2), random.choice(["north", "south", "east"], n)
    pull = (amount - 110) / 25 + (region == "east") * 2 + random.logistic(0, 1, n)
    return pd.DataFrame(
        {
            "amount": amount,
            "visits": random.integers(0, 30, n),
            "region": region,
            "left": np.where(pull > 0, "yes", "no"),
        }
    )


def planned(path: Path, target: str, **wanted: str):
    """Return the plan for a file."""
    return plan(Wanted.of({"DATA": str(path), "TARGET": target} | wanted))


def plan_of(table: pd.DataFrame | str | bytes, folder: Path, target: str = "left", **wanted: str):
    """Return the plan for a frame, a text or bytes, written to a CSV."""
    path = folder / "table.csv"
    if isinstance(table, pd.DataFrame):
        table.to_csv(path, index=False)
    else:
        path.write_bytes(table if isinstance(table, bytes) else table.encode())
    return planned(path, target, **wanted)


@contextmanager
def inside(folder: Path):
    """Work in a folder for the length of the block."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)
