"""Stage `evaluate`: the challenger's bundle and the test rows -> metrics with intervals, baselines, slices and plots.

The bundle answers through onnxruntime: what is judged are the bytes that will be served.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..bundle import Bundle, load as load_bundle
from ..files import folder, read_json, write_json
from ..identity import content
from ..metrics import (
    BINS,
    baseline_scores,
    block_sums,
    blocks,
    calibration_bins,
    draws,
    encode_target,
    interval,
    loss_name,
    losses,
    mean_loss,
    metrics,
    slices,
)
from ..params import EvaluateParams, load
from . import run, say

POINTS = 200  # of a curve; more are not seen


def evaluate(
    bundle: Bundle, test: pd.DataFrame, baselines: dict[str, list[float]], p: EvaluateParams
) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Return the metrics and the tables behind the plots: calibration, curve, periods, slices."""
    contract, task = bundle.contract, bundle.contract["task"]
    y = encode_target(test[contract["target"]], contract["classes"])
    scores = bundle.scores(test)
    times = test[contract["time"]] if contract["time"] else None
    block, kind = blocks(times, content(test, contract))
    weights = draws(int(block.max()) + 1, p.resamples, p.seed)
    rows = weights @ block_sums(np.ones(len(y)), block)

    def loss(of: NDArray[np.float64]) -> dict[str, float | None]:
        return interval(mean_loss(task, weights @ block_sums(losses(task, y, of), block), rows), p.level)

    report: dict[str, Any] = {"version": bundle.version, "rows": len(y), kind: int(block.max()) + 1}
    report |= metrics(task, y, scores, contract["threshold"], block, weights, p.level)
    report["baselines"] = {name: {loss_name(task): loss(baseline_scores(answer, len(y), task))} for name, answer in baselines.items()}

    per_row = losses(task, y, scores)
    table = []
    for name, chosen in slices(test, contract["features"], p.slice_min_rows).items():
        count = weights @ block_sums(chosen, block)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = interval(mean_loss(task, weights @ block_sums(per_row * chosen, block), count), p.level)
        table.append({"slice": name, "rows": int(chosen.sum()), "loss": found["value"], "low": found["low"], "high": found["high"]})
    period = times.dt.strftime("%Y-%m-%d") if times is not None else pd.Series("all", index=test.index)
    by_period = pd.DataFrame({"period": period, "loss": per_row}).groupby("period")["loss"].agg(["mean", "size"])
    tables = {
        "calibration": calibration(task, y, scores),
        "curve": curve(task, y, scores),
        "periods": pd.DataFrame({"period": by_period.index, "rows": by_period["size"].to_numpy(), "loss": mean_loss(task, by_period["mean"].to_numpy(), np.float64(1))}),
        "slices": pd.DataFrame(table, columns=["slice", "rows", "loss", "low", "high"]),
    }
    return report, {name: frame.round(6) for name, frame in tables.items()}


def calibration(task: str, y: NDArray[Any], scores: NDArray[np.float64]) -> pd.DataFrame:
    """Return mean predicted and mean observed of each bin that holds rows."""
    which, predicted, observed = calibration_bins(task, y, scores)
    bins = pd.DataFrame({"bin": which, "predicted": predicted, "observed": observed, "rows": 1})
    return bins.groupby("bin").agg({"predicted": "mean", "observed": "mean", "rows": "sum"}).reindex(range(BINS)).dropna().reset_index(drop=True)


def curve(task: str, y: NDArray[Any], scores: NDArray[np.float64]) -> pd.DataFrame:
    """Return the ROC curve (of many classes: of the likeliest being right), or a regression's share of rows within an error.

    Source of the latter: Bi and Bennett (2003), ICML 20: regression error characteristic curves.
    """
    if task == "regression":
        errors = np.sort(np.abs(y - scores))
        at = np.linspace(0, len(errors) - 1, min(POINTS, len(errors))).astype(int)
        return pd.DataFrame({"x": errors[at], "y": (at + 1) / len(errors)})
    _, score, hit = calibration_bins(task, y, scores)
    order = np.argsort(-score, kind="stable")
    hits, misses = np.cumsum(hit[order]), np.cumsum(1 - hit[order])
    last = np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])
    last = last[np.unique(np.linspace(0, len(last) - 1, min(POINTS, len(last))).astype(int))]
    with np.errstate(invalid="ignore"):
        return pd.DataFrame({"x": np.r_[0, misses[last] / misses[-1]], "y": np.r_[0, hits[last] / hits[-1]]})


def draw(tables: dict[str, pd.DataFrame], task: str, path: Path) -> None:
    """Write the four tables as one picture."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, ((a, b), (c, d)) = pyplot.subplots(2, 2, figsize=(11, 8), layout="constrained")
    ends = tables["calibration"][["predicted", "observed"]].stack()
    a.axline((ends.min(), ends.min()), slope=1, color="0.8")
    a.plot(tables["calibration"]["predicted"], tables["calibration"]["observed"], "o-")
    a.set(title="Calibration", xlabel="mean predicted", ylabel="mean observed")
    b.plot(tables["curve"]["x"], tables["curve"]["y"])
    axes = ("absolute error", "share of rows within it") if task == "regression" else ("false positive rate", "true positive rate")
    b.set(title="Errors" if task == "regression" else "ROC", xlabel=axes[0], ylabel=axes[1])
    periods = tables["periods"]
    c.plot(range(len(periods)), periods["loss"], "o-")
    shown = range(0, len(periods), max(1, len(periods) // 6))
    c.set_xticks(list(shown), [periods["period"][index] for index in shown], rotation=20)
    c.set(title="Loss over time", ylabel=loss_name(task))
    worst = tables["slices"].sort_values("loss").tail(15)
    d.errorbar(worst["loss"], worst["slice"], xerr=[worst["loss"] - worst["low"], worst["high"] - worst["loss"]], fmt="o")
    d.set(title="Worst slices", xlabel=loss_name(task))
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def headline(report: dict[str, Any], task: str) -> str:
    """Return the metrics that a person asks for first, with their intervals."""
    shown = [name for name in ("auc", "r2", "accuracy") if name in report][:1] + [loss_name(task)]
    kind = "days" if "days" in report else "rows"
    told = [f"{name} {report[name]['value']} [{report[name]['low']}, {report[name]['high']}]" for name in shown]
    best = min((b[loss_name(task)]["value"] for b in report["baselines"].values()), default=None)
    return f"{', '.join(told)} by {kind}; the best baseline's {loss_name(task)} is {best}"


def main(challenger_dir: Path, test_path: Path, metrics_path: Path, plots_dir: Path) -> str:
    """Write the metrics, and the plots' tables with one picture of them."""
    p = load(EvaluateParams)
    bundle, test = load_bundle(challenger_dir / "bundle"), pd.read_parquet(test_path)
    say("evaluate", f"{len(test):,} rows, {p.resamples:,} bootstrap draws")
    report, tables = evaluate(bundle, test, read_json(challenger_dir / "receipt.json")["result"]["baselines"], p)
    with folder(plots_dir) as scratch:
        for name, table in tables.items():
            table.to_csv(scratch / f"{name}.csv", index=False, lineterminator="\n")
        draw(tables, bundle.contract["task"], scratch / "evaluation.png")
    write_json(metrics_path, report)
    return headline(report, bundle.contract["task"])


if __name__ == "__main__":
    run(main)
