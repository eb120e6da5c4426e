"""Traffic for the tests of the loop: through a real service onto disk, or made in the shape of a snapshot."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from services import body_of, serving

from {{ cookiecutter.__package }}.bundle import Bundle
from {{ cookiecutter.__package }}.commands.snapshot import label_dtype, score_columns
from {{ cookiecutter.__package }}.contract import Contract
from {{ cookiecutter.__package }}.params import EvaluateParams, MonitorParams

MONITOR = MonitorParams(
    min_rows=200,
    alpha=0.01,
    min_shift=0.1,
    min_share_shift=0.05,
    min_missing=0.02,
    min_calibration_gap=0.02,
    metric=None,
    margin=0.02,
    window_rows=1000,
    window_days=7,
    windows=3,
    windows_below=2,
    fresh_labels=10_000,
    fresh_days=21,
    keep_logs_days=30,
    keep_snapshots_days=365,
)
EVALUATE = EvaluateParams(resamples=200, level=0.95, slice_min_rows=50, seed=7)


def plain(rows: pd.DataFrame, contract: Contract) -> list[dict[str, Any]]:
    """Return rows as a request carries them, the target left out."""
    cells = rows.drop(columns=contract.target).astype(object)
    found = cells.where(cells.notna(), None).to_dict("records")
    return [{str(k): v.isoformat() if isinstance(v, pd.Timestamp) else v for k, v in row.items()} for row in found]


def replay(
    contract: Contract, folder: Path, rows: pd.DataFrame, labels: Sequence[tuple[int, Any]] = ()
) -> tuple[Bundle, list[str]]:
    """Send rows to a service whose models and logs lie in `folder`, then labels (row number, label); return the ids."""
    with serving(contract, folder) as (bundle, ask):
        found = ask("POST", "/predict", body_of(plain(rows, contract)))
        assert found.status == 200, found.body
        ids = [answer["id"] for answer in found.json["predictions"]]
        for number, label in labels:
            said = [{"id": ids[number] if number < len(ids) else f"other{number}", "label": label}]
            assert ask("POST", "/feedback", json.dumps({"labels": said}).encode()).status == 200
    return bundle, ids


def as_snapshot(contract: Contract, rows: pd.DataFrame, scores: Any, is_labelled: bool = True) -> pd.DataFrame:
    """Return rows as a snapshot has them, a second apart; `scores` are (rows,), or of many classes (rows, classes)."""
    count, about = len(rows), contract.to_json()
    times = pd.date_range("2026-01-01", periods=count, freq="s", tz="UTC").map(lambda time: time.isoformat())
    found = {"id": [f"p{k}" for k in range(count)], "time": list(times)}
    found["row_id"] = rows[contract.id].to_numpy() if contract.id else pd.Series(None, rows.index, dtype="str")
    empty = pd.Series(None, rows.index, dtype="datetime64[us]")
    found["row_time"] = rows[contract.time].to_numpy() if contract.time else empty.to_numpy()
    parts = np.asarray(scores, dtype=float).reshape(count, -1)
    found |= {name: parts[:, k] for k, name in enumerate(score_columns(about))}
    found["label"] = rows[contract.target].astype(label_dtype(about)).array
    if not is_labelled:
        found["label"] = pd.Series(None, rows.index, dtype=label_dtype(about)).array
    found["batch"] = pd.Series(None, rows.index, dtype="str").array
    return pd.DataFrame(found | {f"features.{f.name}": rows[f.name].array for f in contract.features})
