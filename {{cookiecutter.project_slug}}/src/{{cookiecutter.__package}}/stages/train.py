"""Stage `train`: training rows -> the fitted scikit-learn pipeline, and a receipt of what went in and what came out.

The receipt holds content only: no clock, no path, no run id. The pipeline is saved by skops, which runs no code when it
is read; its bytes differ from run to run, so nothing takes their digest.
"""

import os
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import skops.io
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from .. import UserError, digest, digest_json, folder, read_rows, run, say, write_json
from ..contract import Contract
from ..metrics import blocks, content, encode_target, number
from ..model import Encode, build_model
from ..params import TrainParams, load
from ..schema import CONTRACT

RECENT_DAYS = 30  # behind the second baseline
LOOK_S = 0.3  # how long the cores are watched


def threshold(model: Pipeline, rows: pd.DataFrame, y: NDArray[Any], contract: Contract, p: TrainParams) -> float:
    """Return the probability from which the positive class is predicted: given, or chosen on folds of whole days."""
    if not isinstance(p.threshold, str):
        return p.threshold
    groups, _ = blocks(rows[contract.time] if contract.time else None, content(rows, contract.to_json()))
    probability = cross_val_predict(model, rows, y, groups=groups, cv=GroupKFold(p.folds), method="predict_proba")[:, 1]
    score = {"f1": f1_score, "balanced_accuracy": balanced_accuracy_score}[p.threshold]
    return max((round(percent / 100, 2) for percent in range(1, 100)), key=lambda at: score(y, probability >= at))


def baselines(rows: pd.DataFrame, y: NDArray[Any], contract: Contract) -> dict[str, list[float]]:
    """Return what needs no model: the classes' shares (or the mean) in training, and in its newest days."""
    chosen = {"prior": np.ones(len(y), dtype=bool)}
    if contract.time:
        newest = rows[contract.time].max() - pd.Timedelta(days=RECENT_DAYS)
        chosen["recent"] = (rows[contract.time] > newest).to_numpy()
    if not contract.classes:
        return {name: [float(y[of].mean())] for name, of in chosen.items()}
    count = len(contract.classes)
    return {name: (np.bincount(y[of], minlength=count) / of.sum()).tolist() for name, of in chosen.items()}


def by_place(estimator: dict[str, Any], classes: list[Any]) -> dict[str, Any]:
    """Return the estimator's parameters with `class_weight` by the places of the classes: what it is fitted on.

    Raises:
        UserError: a weight is of no class.
    """
    weights = estimator.get("class_weight")
    if not isinstance(weights, dict):
        return estimator
    if odd := [label for label in weights if label not in classes]:
        known = ", ".join(map(repr, classes)) or "none"
        raise UserError(f"params.yaml: train.class_weight names {odd[0]!r}; the classes are {known}")
    return estimator | {"class_weight": {classes.index(label): weight for label, weight in weights.items()}}


def kind(model: object, contract: Contract) -> None:
    """Look that the pipeline of model.py can be what the rest takes it for.

    Raises:
        UserError: it begins without Encode, or its estimator is not of the contract's task.
    """
    if not (isinstance(model, Pipeline) and isinstance(model[0], Encode)):
        raise UserError("model.py: build_model returns no Pipeline that begins with Encode; the first one did")
    last, task = type(model[-1]).__name__, contract.task
    if contract.classes and not hasattr(model, "predict_proba"):
        raise UserError(f"model.py: {last} gives no probabilities, and the task is {task}; take a classifier that does")
    if not contract.classes and is_classifier(model):
        raise UserError(f"model.py: {last} is a classifier, and the task is {task}; take a regressor")


def fit(model: Pipeline, rows: pd.DataFrame, y: NDArray[Any]) -> Pipeline:
    """Return the fitted pipeline.

    Raises:
        UserError: it cannot be fitted to the rows; of parameters scikit-learn has an error of their own.
    """
    try:
        return clone(model).fit(rows, y)
    except ValueError as error:
        if type(error) is not ValueError:
            raise
        raise UserError(f"model.py: the pipeline cannot be fitted: {error}") from error


def threads() -> int | None:
    """Return as many as others leave cores, None where OMP_NUM_THREADS says it: one without a core keeps all waiting.

    What comes out is the same with any number.
    """
    if os.environ.get("OMP_NUM_THREADS"):
        return None
    used: float = psutil.cpu_percent(LOOK_S)
    return max(1, round((os.cpu_count() or 1) * (1 - used / 100)))


def train(rows: pd.DataFrame, contract: Contract, p: TrainParams) -> tuple[Pipeline, dict[str, Any]]:
    """Return the fitted pipeline and what came out, in numbers.

    Raises:
        UserError: a class or a column has no row, or the estimator refuses its parameters.
    """
    y = encode_target(rows[contract.target], contract.to_json()["classes"])
    absent = [label for k, label in enumerate(contract.to_json()["classes"]) if not (y == k).any()]
    absent += [feature.name for feature in contract.features if rows[feature.name].isna().all()]
    if absent:
        raise UserError(f"no training row has {absent[0]!r}; bring rows that do, or take it out of schema.py")
    result: dict[str, Any] = {"rows": len(rows), "baselines": baselines(rows, y, contract)}
    try:
        model = build_model(contract, by_place(p.estimator, contract.to_json()["classes"]))
        kind(model, contract)
        usual = signature(type(model[-1])).parameters
        for key, value in p.estimator.items():
            if isinstance(value, bool) and key in usual and type(usual[key].default) in (int, float):
                raise ValueError(f"{key} is {value}, a number is expected")  # scikit-learn takes it for 0 or 1
        result["estimator"] = type(model[-1]).__name__
        say("train", f"fitting {result['estimator']} on {len(rows):,} rows x {len(contract.features)} features")
        with threadpool_limits(threads(), user_api="openmp"):
            fitted = fit(model, rows, y)
            if contract.task == "binary":
                result["threshold"] = threshold(model, rows, y, contract, p)
    except (TypeError, ValueError) as error:
        raise UserError(f"params.yaml: train does not fit the estimator: {error}") from error
    result["target_sd"] = number(y.std()) if contract.task == "regression" else None
    return fitted, result


def main(train_path: Path, fitted_dir: Path) -> str:
    """Write model.skops and receipt.json."""
    fitted, result = train(read_rows(train_path), CONTRACT, load(TrainParams))
    receipt = {"train_rows": digest(train_path), "contract": digest_json(CONTRACT.to_json()), "result": result}
    with folder(fitted_dir) as scratch:
        skops.io.dump(fitted, scratch / "model.skops")
        write_json(scratch / "receipt.json", receipt)
    return f"{result['estimator']} fitted on {result['rows']:,} rows"


if __name__ == "__main__":
    run(main)
