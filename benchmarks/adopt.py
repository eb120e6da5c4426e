"""What adopting a million rows of 30 columns costs: `make adopt` on a CSV of all kinds of columns, seconds and memory.

The table has numbers, integers, dates, categories, missing values, an id, an e-mail address and a sum with the target.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from million import measured
from repro import HERE, bake, run

RESULTS = HERE / "results" / "adopt.json"
ROWS, COLUMNS = 1_000_000, 30
MUST_S, MUST_MB = 30, 2000
MAKE = """
import os, numpy as np, pandas as pd, pyarrow as pa, pyarrow.csv as pc
n, r = int(os.environ["ROWS"]), np.random.default_rng(0)
left, when = r.random(n) < 0.2, np.datetime64("2023-01-01") + np.sort(r.integers(0, 365 * 86400, n)).astype("m8[s]")
columns = {"id": np.char.add("O", np.arange(n).astype(str)), "when": when.astype(str)}
columns |= {f"number {k}": (r.normal(0, 1, n) + (k < 3) * 0.5 * left).round(4) for k in range(11)}
columns |= {f"integer {k}": r.integers(0, 10 ** (k % 4 + 1), n) for k in range(6)}
columns |= {f"kind {k}": np.char.add("k", r.integers(0, 3 ** (k + 1), n).astype(str)) for k in range(5)}
columns |= {"shop": np.char.add("shop ", r.integers(0, 5000, n).astype(str)), "flag": r.random(n) < 0.5}
columns["email"] = np.char.add(r.integers(0, 10**6, n).astype(str), "@example.org")
columns["gap"] = pd.Series(r.normal(0, 1, n).round(3)).mask(r.random(n) < 0.4)
columns["sum"] = columns["number 0"] + columns["number 1"] + left
columns["left"] = np.where(left, "yes", "no")
table = pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False)
assert table.num_columns == 30, table.num_columns
pc.write_csv(table, "orders.csv")
"""


def main() -> None:
    """Measure, print a table and write it down; exit 1 if it takes too much."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    os.environ |= {"ROWS": str(ROWS), "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "true"}
    with tempfile.TemporaryDirectory() as folder:
        project = bake(Path(folder))
        run(project, "make", "setup")
        run(project, str(project / ".venv/bin/python"), "-c", MAKE)
        size = (project / "orders.csv").stat().st_size
        os.environ |= {"DATA": "orders.csv", "TARGET": "left", "TIME": "when", "ID": "id"}
        found = measured(project, "-m", "flight_delays.commands.adopt")
        adopted = json.loads((project / "data/raw/adopted.json").read_text())
        assert adopted["target"] == "left", adopted
    result = {"rows": ROWS, "columns": COLUMNS, "csv_mb": round(size / 2**20), **found}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{ROWS:,} rows x {COLUMNS} columns, {result['csv_mb']} MB: {found['seconds']} s, {found['resident_mb']} MB")
    if found["seconds"] > MUST_S or found["resident_mb"] > MUST_MB:
        sys.exit(f"missed: at most {MUST_S} s and {MUST_MB} MB")


if __name__ == "__main__":
    main()
