"""Stage `train`: training rows -> the fitted scikit-learn pipeline, and a receipt of what went in and what came out.

The receipt holds content only: no clock, no path, no run id. The fitted pipeline is saved by skops, which runs no code when
it is read; its bytes differ from run to run, so nothing takes their digest.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline

from ..contract import Contract
from ..errors import UserError
from ..files import digest, digest_json, folder, write_json
from ..identity import content
from ..metrics import blocks, encode_target, number
from ..model import build_model
from ..params import TrainParams, load, raw
from ..schema import CONTRACT
from . import run, say

RECENT_DAYS = 30  # of the second baseline


def choose_threshold(
    model: Pipeline, rows: pd.DataFrame, y: NDArray[Any], groups: NDArray[Any], p: TrainParams
) -> float:
    """Return the probability from which the positive class is predicted: given, or the best of a grid on folds of the training rows."""
    if not isinstance(p.threshold, str):
        return p.threshold
    probability = np.empty(len(y))
    for fitted, held_out in GroupKFold(p.folds).split(rows, y, groups):
        probability[held_out] = clone(model).fit(rows.iloc[fitted], y[fitted]).predict_proba(rows.iloc[held_out])[:, 1]
    score = {"f1": f1_score, "balanced_accuracy": balanced_accuracy_score}[p.threshold]
    return float(max(np.round(np.arange(0.01, 1, 0.01), 2), key=lambda threshold: score(y, probability >= threshold)))


def baselines(rows: pd.DataFrame, y: NDArray[Any], contract: Contract) -> dict[str, list[float]]:
    """Return what needs no model: the shares of the classes (or the mean) in training, and in its newest days."""

    def answer(chosen: NDArray[Any]) -> list[float]:
        if not contract.classes:
            return [float(chosen.mean())]
        return (np.bincount(chosen, minlength=len(contract.classes)) / len(chosen)).tolist()

    found = {"prior": answer(y)}
    if contract.time:
        newest = rows[contract.time] > rows[contract.time].max() - pd.Timedelta(days=RECENT_DAYS)
        found["recent"] = answer(y[newest.to_numpy()])
    return found


def train(rows: pd.DataFrame, contract: Contract, p: TrainParams) -> tuple[Pipeline, dict[str, Any]]:
    """Return the fitted pipeline and what came out, in numbers: threshold, baselines, rows.

    Raises:
        UserError: the estimator refuses its parameters.
    """
    y = encode_target(rows[contract.target], list(contract.labels))
    try:
        model = build_model(contract, p.estimator)
        say("train", f"fitting {type(model[-1]).__name__} on {len(rows):,} rows x {len(contract.features)} features")
        features = rows[[feature.name for feature in contract.features]]
        fitted = clone(model).fit(features, y)
    except (TypeError, ValueError) as error:
        raise UserError(f"the estimator cannot be fitted with params.yaml: train ({error})") from error
    result: dict[str, Any] = {"rows": len(rows), "estimator": type(model[-1]).__name__, "baselines": baselines(rows, y, contract)}
    if contract.task == "binary":
        groups, _ = blocks(rows[contract.time] if contract.time else None, content(rows, contract.to_json()))
        result["threshold"] = choose_threshold(model, features, y, groups, p)
    if contract.task == "regression":
        result["target_sd"] = number(y.std())
    return fitted, result


def main(train_path: Path, fitted_dir: Path) -> str:
    """Write model.skops and receipt.json."""
    p = load(TrainParams)
    fitted, result = train(pd.read_parquet(train_path), CONTRACT, p)
    receipt = {"train_rows": digest(train_path), "contract": digest_json(CONTRACT.to_json()), "params": raw("train"), "result": result}
    with folder(fitted_dir) as scratch:
        skops.io.dump(fitted, scratch / "model.skops")
        write_json(scratch / "receipt.json", receipt)
    return f"{result['estimator']} fitted on {result['rows']:,} rows"


if __name__ == "__main__":
    run(main)
