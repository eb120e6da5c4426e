"""Stage `evaluate`: the challenger's bundle and the test rows -> metrics with intervals, baselines, slices and plots.

The bundle answers through onnxruntime: what is judged are the bytes that will be served.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import folder, read_json, read_rows, run, say, write_json
from ..bundle import Bundle
from ..bundle import load as load_bundle
from ..metrics import (
    Floats,
    baseline_scores,
    blocks,
    calibration_bins,
    content,
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

POINTS = 200  # of a curve; more are not seen


def evaluate(
    bundle: Bundle, test: pd.DataFrame, baselines: dict[str, list[float]], p: EvaluateParams
) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Return the metrics, and the tables behind the plots: calibration, curve, periods, slices."""
    contract, task = bundle.contract, bundle.contract["task"]
    y, scores = encode_target(test[contract["target"]], contract["classes"]), bundle.scores(test)
    times = test[contract["time"]] if contract["time"] else None
    block, kind = blocks(times, content(test, contract))
    weights = draws(block, p.resamples, p.seed)

    def loss(of: Floats, chosen: Any = None) -> dict[str, float | None]:
        count = len(np.unique(block if chosen is None else block[chosen]))
        return interval(mean_loss(task, y, of, block, weights, chosen), p.level, count)

    report: dict[str, Any] = {"version": bundle.version, kind: int(block.max()) + 1, "rows": len(y)}
    found = metrics(task, y, scores, contract["threshold"], block, weights, p.level)
    report |= {name: metric["value"] for name, metric in found.items()}
    floors = {name: loss(baseline_scores(answer, len(y), task))["value"] for name, answer in baselines.items()}
    report["baselines"] = {name: {loss_name(task): floor} for name, floor in floors.items()}
    report["intervals"] = {name: [metric["low"], metric["high"]] for name, metric in found.items()}
    by_slice = [
        {"slice": name, "rows": chosen.sum()} | loss(scores, chosen)
        for name, chosen in slices(test, contract["features"], p.slice_min_rows).items()
    ]
    root = 0.5 if task == "regression" else 1
    period = times.dt.strftime("%Y-%m-%d") if times is not None else pd.Series("all", index=test.index)
    by_period = pd.DataFrame({"period": period, "loss": losses(task, y, scores)}).groupby("period").mean() ** root
    bins = pd.DataFrame(dict(zip(("bin", "predicted", "observed"), calibration_bins(task, y, scores), strict=True)))
    tables = {
        "calibration": bins.groupby("bin", as_index=False).mean(),
        "curve": curve(task, y, scores),
        "periods": by_period.reset_index(),
        "slices": pd.DataFrame(by_slice, columns=["slice", "rows", "value", "low", "high"]),
    }
    return report, {name: table.round(6) for name, table in tables.items()}


def curve(task: str, y: NDArray[Any], scores: Floats) -> pd.DataFrame:
    """Return the ROC curve (of many classes: of the likeliest), or a regression's share of rows within an error.

    Source of the latter: Bi and Bennett (2003), ICML 20: regression error characteristic curves.
    """
    if task == "regression":
        x, y = np.sort(np.abs(y - scores)), np.arange(1, len(y) + 1) / len(y)
    else:
        _, score, hit = calibration_bins(task, y, scores)
        order = np.argsort(-score, kind="stable")
        last = np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])
        hits, misses = np.cumsum(hit[order]), np.cumsum(1 - hit[order])
        x, y = np.r_[0, misses[last] / max(misses[-1], 1)], np.r_[0, hits[last] / max(hits[-1], 1)]
    shown = np.unique(np.linspace(0, len(x) - 1, POINTS).astype(int))
    return pd.DataFrame({"x": x[shown], "y": y[shown]})


def draw(tables: dict[str, pd.DataFrame], task: str, path: Path) -> None:
    """Write the four tables as one picture."""
    from matplotlib.figure import Figure  # here, since it takes half a second

    bins, points, periods = tables["calibration"], tables["curve"], tables["periods"]
    worst = tables["slices"].sort_values("value").tail(15)
    figure = Figure(figsize=(9, 7))
    (a, b), (c, d) = figure.subplots(2, 2)
    figure.subplots_adjust(left=0.08, right=0.98, top=0.95, bottom=0.11, wspace=0.45, hspace=0.32)
    a.plot(bins["predicted"], bins["predicted"], color="0.8")
    a.plot(bins["predicted"], bins["observed"], "o-")
    a.set(title="Calibration", xlabel="mean predicted", ylabel="mean observed")
    b.plot(points["x"], points["y"])
    if task == "regression":
        b.set(title="Errors", xlabel="absolute error", ylabel="share of rows within it")
    else:
        b.set(title="ROC", xlabel="false positive rate", ylabel="true positive rate")
    c.plot(periods.index, periods["loss"], "o-")
    ticks = periods.index[:: max(1, len(periods) // 6)]
    c.set_xticks(ticks, periods["period"][ticks], rotation=20)
    c.set(title="Loss over time", ylabel=loss_name(task))
    d.hlines(range(len(worst)), worst["low"], worst["high"])
    d.plot(worst["value"], range(len(worst)), "o")
    d.set_yticks(range(len(worst)), [name if len(name) < 24 else f"{name[:22]}…" for name in worst["slice"]])
    d.set(title="Worst slices", xlabel=loss_name(task))
    figure.savefig(path, dpi=100, metadata={"Software": None})


def headline(report: dict[str, Any], task: str) -> str:
    """Return the metrics that a person asks for first, with their intervals."""
    shown = [*[name for name in ("auc", "r2", "accuracy") if name in report][:1], loss_name(task)]
    told = [f"{name} {report[name]} {report['intervals'][name]}" for name in shown]
    best = min(floor[loss_name(task)] for floor in report["baselines"].values())
    kind = "days" if "days" in report else "rows"
    return f"{', '.join(told)} by {kind}; the best baseline has {loss_name(task)} {best}"


def main(challenger_dir: Path, test_path: Path, metrics_path: Path, plots_dir: Path) -> str:
    """Write the metrics, and the plots' tables with one picture of them."""
    p, bundle, test = load(EvaluateParams), load_bundle(challenger_dir / "bundle"), read_rows(test_path)
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
