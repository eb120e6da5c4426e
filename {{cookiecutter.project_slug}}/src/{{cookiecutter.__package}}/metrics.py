"""How good predictions are, and how sure that is: proper losses, metrics, and a bootstrap over blocks of rows.

Which row is which (`inputs`, `content`, `identity`) decides the side of a split, and proves that a model never saw one.

Rows of one day share their weather and are not independent draws, so whole days are drawn where there is a time column,
and single contents (identical rows together) where there is none. Source: Kunsch (1989), Ann. Statist. 17:1217-1241.
Every metric but AUC is a function of sums over blocks, so that a draw costs a matrix product and no pass over the rows.
"""

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Metric = dict[str, float | None]

TINY = 1e-7  # float32 probabilities come no nearer to 0 and 1
BINS = 10  # of predicted probability; of a regression, tenths of its predictions
MAX_BLOCKS = 2000  # independent rows are pooled into these many blocks: the same interval, bounded memory


def encode_target(target: pd.Series, labels: list[Any]) -> NDArray[Any]:
    """Return the target as the model sees it: the index of its class in `labels`, or without labels the number."""
    if not labels:
        return target.to_numpy(np.float64)
    return target.map({label: index for index, label in enumerate(labels)}).to_numpy(np.int64)


def inputs(rows: pd.DataFrame, contract: Mapping[str, Any]) -> Hashes:
    """Return a 64-bit hash of each row's features: equal for rows that a model cannot tell apart."""
    return _hash(rows[[feature["name"] for feature in contract["features"]]])


def content(rows: pd.DataFrame, contract: Mapping[str, Any]) -> Hashes:
    """Return a 64-bit hash of each row's features and target: equal for identical rows."""
    return _hash(rows[[*(feature["name"] for feature in contract["features"]), contract["target"]]])


def drawn(rows: pd.DataFrame, contract: Mapping[str, Any], seed: int, share: float) -> NDArray[np.bool_]:
    """Return which rows hash, by their features and the seed, into the first `share` of all hashes: for good."""
    seeded = pd.DataFrame({"inputs": inputs(rows, contract), "seed": np.uint64(seed)})
    return np.asarray(_hash(seeded) < np.uint64(share * 2**64))


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


def blocks(times: pd.Series | None, contents: Hashes) -> tuple[Integers, str]:
    """Return the block of each row, numbered from 0, and what a block is: "days", or "rows" without times."""
    if times is not None:
        return np.unique(times.dt.floor("D"), return_inverse=True)[1], "days"
    pooled = contents if len(np.unique(contents)) <= MAX_BLOCKS else contents % MAX_BLOCKS
    return np.unique(pooled, return_inverse=True)[1], "rows"


def draws(block: Integers, resamples: int, seed: int) -> Floats:
    """Return how often each draw holds each block: (1 + resamples, blocks), the first row all ones: the estimate."""
    count = int(block.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.vstack([np.ones(count), drawn])


def total(values: NDArray[Any], block: Integers, weights: Floats) -> Floats:
    """Return the sum of each row's value over each draw: (draws,)."""
    return np.asarray(weights @ np.bincount(block, values, weights.shape[1]), dtype=np.float64)


def student(level: float, count: int) -> float:
    """Return how many standard deviations an interval reaches that was drawn from `count` blocks; one says nothing.

    Student's, and the spread of a bootstrap is too small by the root of (count - 1) / count.
    """
    from scipy.special import stdtrit  # here, since its import takes a third of a second, and splitting needs none

    return float(stdtrit(count - 1, (1 + level) / 2)) * (count / (count - 1)) ** 0.5 if count > 1 else np.nan


def interval(values: Floats, level: float, count: int) -> Metric:
    """Return the estimate (the first of `values`) and the ends of its interval over draws of `count` blocks.

    Percentiles, taken further out where blocks are few. Source: Hesterberg (2015), Am. Stat. 69:371-386, section 5.3.
    """
    drawn = values[1:][np.isfinite(values[1:])]
    if count < 2 or not len(drawn):
        return {"value": number(values[0]), "low": None, "high": None}
    beyond = NormalDist().cdf(-student(level, count))
    low, high = np.quantile(drawn, [beyond, 1 - beyond])
    return {"value": number(values[0]), "low": number(min(low, values[0])), "high": number(max(high, values[0]))}


def number(x: Any) -> float | None:
    """Return x to 6 digits, None if it is not finite: threads and BLAS change what comes after."""
    return float(f"{x:.6g}") if np.isfinite(x) else None


def losses(task: str, y: NDArray[Any], scores: Floats) -> Floats:
    """Return each row's proper loss: log loss of (rows, classes) probabilities, squared error of a regression."""
    if task == "regression":
        return np.asarray(np.square(y - scores))
    return np.asarray(-np.log(np.clip(scores[np.arange(len(y)), y], TINY, 1)))


def loss_name(task: str) -> str:
    """Return the name of the loss that the gate decides by."""
    return "rmse" if task == "regression" else "log_loss"


def mean_loss(
    task: str, y: NDArray[Any], scores: Floats, block: Integers, weights: Floats, chosen: Any = None
) -> Floats:
    """Return the mean loss of each draw, or its root for a regression, on the chosen rows (None: all)."""
    chosen = np.ones(len(y), dtype=bool) if chosen is None else chosen
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total(np.where(chosen, losses(task, y, scores), 0), block, weights) / total(chosen, block, weights)
        return np.asarray(np.sqrt(mean) if task == "regression" else mean)


def calibration_bins(task: str, y: NDArray[Any], scores: Floats) -> tuple[Integers, Floats, Floats]:
    """Return (bin, predicted, observed) of each row: the positive class, the likeliest, or the number."""
    if task == "regression":
        finite = np.nan_to_num(scores)
        return np.searchsorted(np.quantile(finite, np.arange(1, BINS) / BINS), finite).astype(np.int64), scores, y
    predicted = scores[:, 1] if task == "binary" else scores.max(axis=1)
    observed = (y == 1) if task == "binary" else scores.argmax(axis=1) == y
    return np.minimum(np.nan_to_num(predicted) * BINS, BINS - 1).astype(np.int64), predicted, observed.astype(float)


def unit(task: str, y: NDArray[Any]) -> float:
    """Return what a gap of predicted and observed is told in: a regression's standard deviation, if there is one."""
    deviation = float(np.std(y)) if task == "regression" else 1.0
    return deviation if deviation > 1e-12 * float(np.abs(y).max()) else 1.0  # below it, rounding alone


def calibration_gaps(task: str, y: NDArray[Any], scores: Floats, block: Integers, weights: Floats) -> Floats:
    """Return, for each bin and draw, predicted less observed as a share of all rows; of a number in the target's sd.

    The calibration error is their sum without sign. Source: Naeini, Cooper and Hauskrecht (2015), AAAI 29.
    """
    which, predicted, observed = calibration_bins(task, y, scores)
    gaps = [total(np.where(which == k, predicted - observed, 0), block, weights) for k in range(BINS)]
    return np.array(gaps) / total(np.ones(len(y)), block, weights) / unit(task, y)


def auc(y: NDArray[np.bool_], score: Floats, block: Integers, weights: Floats) -> Floats:
    """Return, for each draw, the area under the ROC curve: the share of (positive, negative) pairs in order, ties half.

    Source: Hanley and McNeil (1982), Radiology 143:29-36. Pairs are counted once for each pair of blocks.
    """
    order = np.argsort(score, kind="stable")
    hit, block = y[order], block[order]
    ties = np.cumsum(np.r_[False, np.diff(score[order]) > 0])
    count = weights.shape[1]
    pairs = np.empty((count, count))
    for other in range(count):
        negative = np.bincount(ties, ~hit & (block == other))
        below = (np.cumsum(negative) - negative / 2)[ties]
        pairs[:, other] = np.bincount(block[hit], below[hit], count)
    positives, negatives = total(hit, block, weights), total(~hit, block, weights)
    return np.asarray(((weights @ pairs) * weights).sum(axis=1) / (positives * negatives))


def estimates(
    task: str, y: NDArray[Any], scores: Floats, threshold: float, block: Integers, weights: Floats
) -> dict[str, Floats]:
    """Return metric -> its value in each draw, the estimate first. The loss that the gate decides by comes first."""

    def mean(values: NDArray[Any], of: NDArray[Any] | None = None) -> Floats:
        return total(values, block, weights) / total(np.ones(len(y)) if of is None else of, block, weights)

    found = {loss_name(task): mean_loss(task, y, scores, block, weights)}
    with np.errstate(invalid="ignore", divide="ignore"):
        if task == "regression":
            found["mae"] = mean(np.abs(y - scores))
            centred = y - y.mean()
            found["r2"] = 1 - mean(np.square(y - scores)) / (mean(np.square(centred)) - mean(centred) ** 2)
            found["mean_predicted"], found["mean_observed"] = mean(scores), mean(y)
        elif task == "binary":
            positive, predicted = y == 1, scores[:, 1] >= threshold
            found["auc"] = auc(positive, scores[:, 1], block, weights)
            found["brier"] = mean(np.square(scores[:, 1] - y))
            found["accuracy"] = mean(predicted == positive)
            found["precision"] = mean(predicted & positive, predicted)
            found["recall"] = mean(predicted & positive, positive)
            found["mean_predicted"], found["mean_observed"] = mean(scores[:, 1]), mean(positive)
        else:
            right, truth = scores.argmax(axis=1) == y, np.eye(scores.shape[1], dtype=bool)[y]
            found["accuracy"] = mean(right)
            found["balanced_accuracy"] = np.nanmean([mean(right & of, of) for of in truth.T], axis=0)
            found["brier"] = mean(np.square(scores - truth).sum(axis=1))
        # chance adds to gaps without sign; how far they are off is no more than the gaps of a draw less the estimated
        gaps = calibration_gaps(task, y, scores, block, weights)
        error, off = np.abs(gaps[:, 0]).sum(), np.abs(gaps[:, 1:] - gaps[:, :1]).sum(axis=0)
        found["calibration_error"] = np.r_[error, np.maximum(error - off, 0), error + off]
    return found


def metrics(
    task: str, y: NDArray[Any], scores: Floats, threshold: float, block: Integers, weights: Floats, level: float
) -> dict[str, Metric]:
    """Return metric -> value, low, high."""
    found = estimates(task, y, scores, threshold, block, weights)
    return {name: interval(values, level, weights.shape[1]) for name, values in found.items()}


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
