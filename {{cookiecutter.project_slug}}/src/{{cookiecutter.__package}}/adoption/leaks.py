"""Columns and target -> those columns that would make a model lie, each with one sentence on why.

A column is suspected if it alone settles the target, if the target is what is left of it once other columns are taken
off, if its dates lie after the row's own, or if it has values with one outcome only.
"""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from .columns import Column

Floats = NDArray[np.float64]
SAMPLE = 50_000  # rows; more say the same
ROUNDING, COPY, FEE = 0.005, 0.05, 0.1  # of the target's standard deviation: what a sum, or a copy, may differ by
STEP_FEE = 0.3  # where the target is a class: its steps show through more
UNIT = 0.1  # by which the weights of a sum may differ from 1
ALONE_R2, ALONE_AUC, ALONE_SKILL = 0.995, 0.995, 0.98  # of one column, and beyond what an honest one reaches
LEAST = 30  # rows of an outcome, below which a perfect column may be chance
GROUPS = 50  # into which numbers are cut at least; more where each still has 20 rows
LATER = 0.01  # of the rows may hold a date after their own


def leaks(columns: list[Column], target: Column, labels: pd.Series, time: Column | None) -> Iterator[tuple[str, str]]:
    """Yield (column, why); `labels` holds the target as classes or numbers of the rows that have one."""
    labels = labels.sample(min(len(labels), SAMPLE), random_state=0).sort_index()
    y, kinds = _codes(labels, target)
    taken: set[str] = set()
    for column in columns:
        values = column.values.loc[labels.index].reset_index(drop=True)
        if why := _alone(column, values, y, kinds, labels) or _after(column, values, time, labels.index):
            taken.add(column.name)
            yield column.name, why
    rest = [c for c in columns if c.name not in taken and c.kind in ("number", "integer", "boolean")]
    yield from _sums(rest, labels, y, bool(kinds))


def _codes(labels: pd.Series, target: Column) -> tuple[Floats, list[object]]:
    """Return the target as numbers, and its classes (none for a number)."""
    if target.kind == "number":
        return labels.to_numpy(np.float64), []
    codes, kinds = pd.factorize(labels, sort=True)
    numeric = target.kind == "integer"
    return (labels.to_numpy(np.float64) if numeric else codes.astype(np.float64)), list(kinds)


def _alone(column: Column, values: pd.Series, y: Floats, kinds: list[object], labels: pd.Series) -> str:
    """Return why a column alone settles the target, or nothing."""
    present = values.notna().to_numpy()
    if kinds and (only := _outcome(present, labels)) is not None:
        return f"has values only where the target is {str(only)!r}: it is known after the fact"
    if column.kind == "datetime":
        return ""
    if kinds:
        codes = pd.factorize(values)[0]
        pairs = pd.DataFrame({"x": codes, "y": y})[present].drop_duplicates()
        several = present.sum() >= 2 * len(pairs)  # each value often enough that it is no name of a row
        one_to_one = len(pairs) == pairs["x"].nunique() == pairs["y"].nunique() == len(kinds)
        if several and one_to_one and present.mean() > 0.5:
            return "is a copy of the target under other names"
    if present.sum() < 2 * LEAST:
        return ""
    x = _numbers(values, column, y)[present]
    if not kinds:
        ranks = float(np.corrcoef(pd.Series(x).rank(), pd.Series(y[present]).rank())[0, 1])
        r2 = _grouped_r2(values[present], y[present])
        if column.kind != "category" and column.distinct > GROUPS and abs(ranks) > 0.9995:
            return f"orders the rows as the target does (rank correlation {abs(ranks):.4f}): a copy in another unit"
        return f"alone explains {r2:.1%} of the target's variance" if r2 > ALONE_R2 else ""
    smallest = np.unique(y[present], return_counts=True)[1].min()
    if len(kinds) == 2 and smallest >= LEAST and column.kind != "category":
        area = float(roc_auc_score(y[present] == y.max(), x))
        if max(area, 1 - area) > ALONE_AUC:
            return f"alone tells the classes apart (AUC {max(area, 1 - area):.4f})"
    skill = _skill(values[present], y[present]) if smallest >= LEAST else 0.0
    return f"alone settles the class ({skill:.1%} of what there is to know)" if skill > ALONE_SKILL else ""


def _outcome(present: NDArray[np.bool_], labels: pd.Series) -> object:
    """Return the class with which alone a column has values, if chance does not explain it, else None."""
    if present.all() or present.sum() < LEAST:
        return None
    with_value = labels[present].unique()
    if len(with_value) != 1 or (~present).sum() < LEAST:
        return None
    share = float((labels == with_value[0]).mean())
    return with_value[0] if share ** present.sum() < 1e-9 else None


def _numbers(values: pd.Series, column: Column, y: Floats) -> Floats:
    """Return a column as numbers; a category by its place in the alphabet."""
    if column.kind == "category":
        return np.array(pd.factorize(values, sort=True)[0], dtype=np.float64)
    return np.array(values.astype("float64").to_numpy(na_value=np.nan), dtype=np.float64)


def _grouped(values: pd.Series) -> NDArray[np.int64]:
    """Return the group of each value: its own if values are few, else one of as many quantiles."""
    groups = max(GROUPS, len(values) // 20)
    if values.nunique() <= groups:
        return pd.factorize(values)[0].astype(np.int64)
    if pd.api.types.is_numeric_dtype(values):
        return pd.qcut(values.astype("float64"), groups, labels=False, duplicates="drop").to_numpy(np.int64)
    return np.zeros(len(values), dtype=np.int64)


def _grouped_r2(values: pd.Series, y: Floats) -> float:
    """Return the share of the variance that the means of groups explain, groups counted against it."""
    group = _grouped(values)
    means = pd.Series(y).groupby(group).transform("mean").to_numpy()
    within = float(np.square(y - means).sum()) / max(len(y) - int(group.max()) - 1, 1)
    return 1 - within / (float(np.var(y, ddof=1)) or 1.0)


def _skill(values: pd.Series, y: Floats) -> float:
    """Return how much of the target's entropy a column takes away on rows that its shares were not made from."""
    group, codes = _grouped(values), np.unique(y, return_inverse=True)[1]
    counted = _half(len(y))
    counts = np.zeros((int(group.max()) + 1, int(codes.max()) + 1))
    np.add.at(counts, (group[counted], codes[counted]), 1)
    prior = counts.sum(axis=0) / counts.sum()
    shares = (counts + 0.01 * prior) / (counts.sum(axis=1, keepdims=True) + 0.01)
    left = -np.log(np.maximum(shares[group[~counted], codes[~counted]], 1e-9)).mean()
    entropy = float(-(prior[prior > 0] * np.log(prior[prior > 0])).sum())
    return float(1 - left / entropy) if entropy else 0.0


def _half(rows: int) -> NDArray[np.bool_]:
    """Return which rows a fit may see: half of them, drawn, since any order may follow the target."""
    return np.asarray(np.random.default_rng(0).random(rows) < 0.5)


def _after(column: Column, values: pd.Series, time: Column | None, rows: pd.Index) -> str:
    """Return why the dates of a column are known only after the row's own time, or nothing."""
    if time is None or column.kind != "datetime":
        return ""
    own = time.values.loc[rows].reset_index(drop=True)
    whole_days = bool((values.dropna() == values.dropna().dt.floor("D")).all())
    if (own.dropna() == own.dropna().dt.floor("D")).all():  # then so is the comparison
        values = values.dt.floor("D")
    later = float((values > (own.dt.ceil("D") if whole_days else own)).mean())
    return f"holds dates after {time.name} in {later:.0%} of the rows: known only later" if later > LATER else ""


def _sums(columns: list[Column], labels: pd.Series, y: Floats, is_class: bool) -> Iterator[tuple[str, str]]:
    """Yield columns that are the target and others added up, or that add up to the target.

    The target is fitted on all numbers; if next to nothing is left on rows that the fit did not see, columns are
    dropped one by one while that stays so, and what remains is read as an equation.
    """
    found = {c.name: _numbers(c.values.loc[labels.index], c, y) for c in columns}
    while found and float(np.std(y)):
        names = list(found)
        present = np.isfinite(np.column_stack([y, *found.values()])).all(axis=1)
        if present.sum() < max(LEAST, 3 * len(names)):  # where values are missing, use the columns that have most
            if len(names) < 2:
                return
            del found[min(reversed(names), key=lambda name: np.isfinite(found[name]).sum())]
            continue
        whole = {name: x[present] for name, x in found.items()}
        told: list[tuple[str, str]] = []
        for remainder in (ROUNDING, COPY, FEE, *([STEP_FEE] if is_class else [])):
            equation = _equation(whole, y[present], remainder)
            follows = {name: abs(float(np.corrcoef(whole[name], y[present])[0, 1])) for name in equation}
            told = told or _read(equation, follows, remainder < FEE, is_class)
        for name, why in told:
            del found[name]
            yield name, why
        if not told:
            return


def _equation(found: dict[str, Floats], y: Floats, remainder: float) -> dict[str, float]:
    """Return the fewest columns, with their weights, that give the target but for a remainder; nothing if none do."""
    names, scale = list(found), float(np.std(y))
    X = np.column_stack([(x - x.mean()) / (x.std() or 1.0) for x in found.values()])
    deviations = np.array([x.std() or 1.0 for x in found.values()])
    centred, fitted = y - y.mean(), _half(len(y))

    def fit(chosen: list[int]) -> tuple[Floats, float]:
        seen, unseen = X[fitted][:, chosen], X[~fitted][:, chosen]
        weights = np.linalg.lstsq(seen.T @ seen, seen.T @ centred[fitted], rcond=1e-14)[0]
        return weights, float(np.sqrt(np.square(centred[~fitted] - unseen @ weights).mean()))

    chosen = list(range(len(names)))
    weights, left = fit(chosen)
    if left > remainder * scale:
        return {}
    for k in np.argsort(np.abs(weights)).tolist():
        fewer = [other for other in chosen if other != k]
        if fewer and fit(fewer)[1] <= remainder * scale:
            chosen = fewer
    weights, _ = fit(chosen)
    return {names[k]: float(w / deviations[k]) for k, w in zip(chosen, weights, strict=True)}


def _read(
    equation: dict[str, float], follows: dict[str, float], is_close: bool, is_class: bool
) -> list[tuple[str, str]]:
    """Return the columns of an equation that hold the target, with the sentence; none if it is honest arithmetic.

    Of two columns that are each the other and a class added up, the one that follows the target more is the sum: which
    class counts as 1 is nobody's word.
    """
    if len(equation) == 1:
        return [(name, "is the target in another unit, but for a small remainder") for name in equation if is_close]
    sums = {}
    for name, weight in equation.items():  # name = (1 / weight) target + others
        others = {other: -w / weight for other, w in equation.items() if other != name}
        if (weight > 0 or is_class) and all(math.isclose(w, 1, abs_tol=UNIT) for w in others.values()):
            sums[name] = f"is the target and {' and '.join(others)} added up, but for a small remainder"
    if sums:
        name = max(sums, key=lambda name: follows[name])
        return [(name, sums[name])]
    if all(math.isclose(abs(w), 1, abs_tol=UNIT) for w in equation.values()):
        parts = [name for name, w in equation.items() if w > 0] or list(equation)
        told = f"is part of the target: {' + '.join(parts)} give it, but for a small remainder"
        return [(name, told) for name in parts]
    return []
