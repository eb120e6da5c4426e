"""How good predictions are, and how sure that is: proper losses, metrics, and a bootstrap over blocks of rows.

Rows of one day share their weather and are not independent draws, so whole days are drawn where there is a time column,
and single contents (identical rows together) where there is none. Source: Kunsch (1989), Ann. Statist. 17:1217-1241.
Every metric is a function of sums over blocks, so that a draw costs a matrix product and no pass over the rows.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

TINY = 1e-7  # float32 probabilities come no nearer to 0 and 1
BINS = 10  # of predicted probability, or tenths of the predictions of a regression
MAX_BLOCKS = 2000  # independent rows are pooled into these many blocks at random: the same interval, bounded memory


def encode_target(target: pd.Series, labels: list[Any]) -> NDArray[Any]:
    """Return the target as the model sees it: the index of its class in `labels`, or the number itself without labels."""
    if not labels:
        return target.to_numpy(np.float64)
    return target.map({label: index for index, label in enumerate(labels)}).to_numpy(np.int64)


def blocks(times: pd.Series | None, contents: NDArray[np.uint64]) -> tuple[Integers, str]:
    """Return the block of each row, numbered from 0, and what a block is: "days" or "rows"."""
    if times is not None:
        return pd.factorize(times.dt.floor("D"), sort=True)[0].astype(np.int64), "days"
    if len(np.unique(contents)) <= MAX_BLOCKS:
        return pd.factorize(contents, sort=True)[0].astype(np.int64), "rows"
    return pd.factorize(contents % MAX_BLOCKS, sort=True)[0].astype(np.int64), "rows"


def draws(count: int, resamples: int, seed: int) -> Floats:
    """Return how often each of `count` blocks is drawn: (1 + resamples, count), the first row all ones: the estimate."""
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.vstack([np.ones(count), drawn])


def block_sums(values: NDArray[Any], block: Integers) -> Floats:
    """Return the sums of `values` (rows, or rows x columns) over each block: (blocks,) or (blocks, columns)."""
    count = int(block.max()) + 1
    if values.ndim == 1:
        return np.bincount(block, weights=values, minlength=count)
    return np.column_stack([np.bincount(block, weights=column, minlength=count) for column in values.T])


def interval(values: Floats, level: float) -> dict[str, float | None]:
    """Return the estimate (the first of `values`) and the ends of its percentile interval, to 6 digits; None if not finite."""
    drawn = values[1:][np.isfinite(values[1:])]
    ends = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) if len(drawn) else [np.nan, np.nan]
    return {name: number(x) for name, x in zip(("value", "low", "high"), (values[0], *ends), strict=True)}


def number(x: Any) -> float | None:
    """Return x to 6 significant digits, or None if it is not finite: threads and BLAS change what comes after."""
    return float(f"{x:.6g}") if np.isfinite(x) else None


def losses(task: str, y: NDArray[Any], scores: Floats) -> Floats:
    """Return each row's proper loss: log loss of (rows, classes) probabilities, squared error of a regression."""
    if task == "regression":
        return (y - scores) ** 2
    return -np.log(np.clip(scores[np.arange(len(y)), y], TINY, 1))


def loss_name(task: str) -> str:
    """Return the name of the loss that the gate decides by."""
    return "rmse" if task == "regression" else "log_loss"


def mean_loss(task: str, losses_sum: Floats, rows: Floats) -> Floats:
    """Return the loss of sums of `losses` over rows: their mean, or its root for a regression."""
    mean = losses_sum / rows
    return np.sqrt(mean) if task == "regression" else mean


def calibration_bins(task: str, y: NDArray[Any], scores: Floats) -> tuple[Integers, Floats, Floats]:
    """Return (bin, predicted, observed) of each row: the positive class, the likeliest of many, or the number itself."""
    if task == "regression":
        finite = np.nan_to_num(scores)
        edges = np.quantile(finite, np.linspace(0, 1, BINS + 1)[1:-1])
        return np.searchsorted(edges, finite).astype(np.int64), scores, y
    if task == "binary":
        predicted, observed = scores[:, 1], (y == 1).astype(np.float64)
    else:
        predicted, observed = scores.max(axis=1), (scores.argmax(axis=1) == y).astype(np.float64)
    return np.minimum(np.nan_to_num(predicted) * BINS, BINS - 1).astype(np.int64), predicted, observed


def calibration_error(task: str, y: NDArray[Any], scores: Floats, block: Integers, weights: Floats) -> Floats:
    """Return, for each draw, the mean gap between predicted and observed over bins (of a regression, in its target's sd).

    Source: Naeini, Cooper and Hauskrecht (2015), AAAI 29: expected calibration error.
    """
    which, predicted, observed = calibration_bins(task, y, scores)
    gaps = np.zeros((len(y), BINS))
    gaps[np.arange(len(y)), which] = predicted - observed
    scale = (float(np.std(y)) or 1.0) if task == "regression" else 1.0
    rows = weights @ block_sums(np.ones(len(y)), block)
    return np.abs(weights @ block_sums(gaps, block)).sum(axis=1) / rows / scale


def auc(y: NDArray[np.bool_], score: Floats, block: Integers, weights: Floats) -> Floats:
    """Return, for each draw, the area under the ROC curve; ties count half. Source: Hanley and McNeil (1982), Radiology 143."""
    order = np.argsort(score, kind="stable")
    hit, block = y[order], block[order]
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    areas = np.empty(len(weights))
    for draw, weight in enumerate(weights):
        row = weight[block]
        positive = np.add.reduceat(row * hit, starts)
        negative = np.add.reduceat(row * ~hit, starts)
        below = np.cumsum(negative) - negative
        with np.errstate(invalid="ignore"):
            areas[draw] = (positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum())
    return areas


def metrics(
    task: str, y: NDArray[Any], scores: Floats, threshold: float, block: Integers, weights: Floats, level: float
) -> dict[str, dict[str, float | None]]:
    """Return metric -> value, low, high. The loss that the gate decides by comes first."""

    def total(values: NDArray[Any]) -> Floats:
        return weights @ block_sums(np.asarray(values, np.float64), block)

    rows = total(np.ones(len(y)))
    found = {loss_name(task): mean_loss(task, total(losses(task, y, scores)), rows)}
    with np.errstate(invalid="ignore", divide="ignore"):
        if task == "regression":
            squares = total((y - y.mean()) ** 2) - total(y - y.mean()) ** 2 / rows
            found["mae"] = total(np.abs(y - scores)) / rows
            found["r2"] = 1 - total((y - scores) ** 2) / squares
            found["mean_predicted"], found["mean_observed"] = total(scores) / rows, total(y) / rows
        elif task == "binary":
            positive, predicted = y == 1, scores[:, 1] >= threshold
            found["auc"] = auc(positive, scores[:, 1], block, weights)
            found["brier"] = total((scores[:, 1] - y) ** 2) / rows
            found["accuracy"] = total(predicted == positive) / rows
            found["precision"] = total(predicted & positive) / total(predicted)
            found["recall"] = total(predicted & positive) / total(positive)
            found["mean_predicted"], found["mean_observed"] = total(scores[:, 1]) / rows, total(positive) / rows
        else:
            right, classes = scores.argmax(axis=1) == y, range(scores.shape[1])
            found["accuracy"] = total(right) / rows
            found["balanced_accuracy"] = np.nanmean([total(right & (y == k)) / total(y == k) for k in classes], axis=0)
            found["brier"] = total(((scores - np.eye(scores.shape[1])[y]) ** 2).sum(axis=1)) / rows
        found["calibration_error"] = calibration_error(task, y, scores, block, weights)
    return {name: interval(values, level) for name, values in found.items()}


def slices(rows: pd.DataFrame, features: list[dict[str, Any]], min_rows: int) -> dict[str, NDArray[np.bool_]]:
    """Return "feature = value" -> its rows, for every category and boolean with at least `min_rows` of them."""
    found = {}
    for name in [feature["name"] for feature in features if feature["type"] in ("category", "boolean")]:
        counts = rows[name].value_counts()
        for value in sorted(counts.index[counts >= min_rows]):
            found[f"{name} = {value}"] = (rows[name] == value).fillna(False).to_numpy(dtype=bool)
    return found


def baseline_scores(answer: list[float], rows: int, task: str) -> Floats:
    """Return a baseline's one answer for every row, in the shape of a model's scores."""
    return np.full(rows, answer[0]) if task == "regression" else np.tile(answer, (rows, 1))
