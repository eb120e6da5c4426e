"""How many rows there are -> the numbers of `params.yaml` that depend on it, each with its reason."""

import math
from typing import Any

Numbers = dict[str, tuple[Any, str]]
BOOTSTRAP_ROWS = 30  # below which a percentile interval means little; Efron and Tibshirani (1993), ch. 13


def clamp(low: int, value: float, high: int) -> int:
    """Return the value as an integer of at most two digits before its noughts, within both bounds."""
    step = 10 ** max(0, math.floor(math.log10(max(value, 1))) - 1)
    return int(min(max(low, round(value / step) * step), high))


def half_width(rows: int) -> str:
    """Return the half width of a share's 95 % interval at worst."""
    return f"{0.98 / math.sqrt(rows):.2g}"


def sizes(history: int, days: int, events: float | None, rare: bool) -> Numbers:
    """Return `section.key` -> (value, comment).

    `days` is what the history spans, 0 without times; `events` is the positive class's share of a binary target;
    `rare` says that a threshold of 0.5 would hardly ever be reached.
    """
    test = history / 3
    floor = clamp(BOOTSTRAP_ROWS, 0.2 * history, 1000)
    why_floor = f"a fifth of the history, {BOOTSTRAP_ROWS} at least: an interval drawn from fewer says little"
    if events and math.ceil(10 / events) > floor:
        floor, why_floor = math.ceil(10 / events), "so that some 10 of them are of the rarer class"
    leaf = clamp(5, math.sqrt(2 * test) / 2, 200)
    window = clamp(BOOTSTRAP_ROWS, 0.04 * history, 1000)
    found: Numbers = {
        "split.min_test_rows": (floor, f"{why_floor}; below it the window reaches back, then the gate refuses"),
        "train.threshold": (
            ("f1", "the probability with the best F1 on training folds, since the positive class is rare")
            if rare
            else (
                0.5,
                "probability from which the positive class is predicted; or f1, balanced_accuracy: chosen on folds",
            )
        ),
        "train.max_iter": (200 if history >= 10_000 else 100, "this and below: the estimator's own parameters"),
        "train.learning_rate": (0.05, "share of each tree's answer that is added"),
        "train.max_leaf_nodes": (31 if history >= 5_000 else 15, "leaves of one tree; few rows carry few"),
        "train.min_samples_leaf": (leaf, f"rows; a leaf's mean has a standard error of {1 / math.sqrt(leaf):.2g} sd"),
        "train.l2_regularization": (
            5.0 if history < 200 else 1.0 if history < 5_000 else 0.0,
            "pulls leaves to nothing: few rows cannot speak for probabilities near 0 and 1",
        ),
        "evaluate.slice_min_rows": (
            clamp(BOOTSTRAP_ROWS, test / 8, 500),
            "smaller slices are not judged: an eighth of the test",
        ),
        "monitor.min_rows": (clamp(BOOTSTRAP_ROWS, window, 200), "predictions below which nothing is said"),
        "monitor.window_rows": (
            window,
            f"labelled rows of a window at least; a share is then known to {half_width(window)} either way",
        ),
        "monitor.fresh_labels": (
            clamp(window, 0.05 * history, 10_000),
            "labelled rows since the newest batch that make a challenger worth trying: a twentieth of the history",
        ),
    }
    if days:
        most = max(30, math.ceil(days / 5))
        found["split.max_test_days"] = (most, f"the test set covers at most these many of the {days} days")
    return found
