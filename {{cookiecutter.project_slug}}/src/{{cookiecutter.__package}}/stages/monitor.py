"""Stage `monitor`: snapshots of the traffic, the champion's reference and promise -> a drift report and a decision.

Covariates inform (`watch`), labels trigger (`retrain`): by `performance`, if the newest windows fall below what was
promised beyond chance and margin, or by `fresh_labels`, if enough came back to try a challenger. Labels that the gate
has had trigger nothing. Nothing is remembered: the same snapshots and champion give the same report.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import UserError, pulled, read_json, read_rows, run, say, write, write_json
from ..champion import home, read
from ..loop import page
from ..metrics import (
    Floats,
    Integers,
    blocks,
    calibration_bins,
    draws,
    encode_target,
    estimates,
    interval,
    number,
    student,
    total,
    unit,
)
from ..params import SHOWN, EvaluateParams, MonitorParams, load

Report = dict[str, Any]
METRICS = {"binary": "auc", "multiclass": "accuracy", "regression": "rmse"}
LOWER = ("log_loss", "rmse", "mae", "brier", "calibration_error")  # is better
PREDICTION = "(prediction)"


class Window(NamedTuple):
    """Rows `first` to before `end`, in order of time; `whole` unless it is what is left over at the end."""

    first: int
    end: int
    whole: bool


def windows(days: Integers | None, is_labelled: NDArray[np.bool_], p: MonitorParams) -> Iterator[Window]:
    """Yield windows of at least `window_rows` labelled rows and, where rows have days, `window_days` undivided ones.

    `days` numbers the days on which there are rows; a day without a label does not count. After the last label rows
    and days count whether labelled or not.
    """
    count, first = len(is_labelled), 0
    counts = is_labelled | (np.arange(count) > np.flatnonzero(is_labelled).max(initial=-1))
    so_far = np.cumsum(counts)
    days_so_far = so_far if days is None else np.cumsum(np.bincount(days, counts) > 0)
    while first < count:
        before = so_far[first - 1] if first else 0
        end = int(np.searchsorted(so_far, before + p.window_rows)) + 1
        whole = end <= count
        if days is not None:
            day = int(days[first])
            enough = np.searchsorted(days_so_far, (days_so_far[day - 1] if day else 0) + p.window_days)
            last_day = max(enough, days[min(end, count) - 1])
            whole, end = whole and bool(days[-1] >= last_day), int(np.searchsorted(days, last_day, "right"))
        yield Window(first, min(end, count), whole)
        first = end


def performance(
    contract: Report,
    metric: str,
    promise: Report,
    y: NDArray[Any],
    scores: Floats,
    block: Integers,
    p: MonitorParams,
    e: EvaluateParams,
) -> Report:
    """Return the metric of labelled rows, how far it is below the promise, and mean predicted against observed.

    The promise is an estimate too, with a spread of its own, as wide as its interval says.
    """
    task, weights, count = contract["task"], draws(block, e.resamples, e.seed), int(block.max()) + 1
    live = estimates(task, y, scores, contract["threshold"], block, weights)[metric]
    value, low, high = (math.nan if x is None else float(x) for x in (promise[metric], *promise["intervals"][metric]))
    spread = (high - low) / 2 / student(e.level, promise.get("days") or promise["rows"])
    drawn = live[1:][np.isfinite(live[1:])]
    own = float(np.std(drawn)) if len(drawn) else math.nan
    fall = float((live[0] - value) if metric in LOWER else (value - live[0]))
    wide = student(e.level, count) * math.hypot(own, spread)
    drop = {"value": number(fall), "low": number(fall - wide), "high": number(fall + wide)}
    _, predicted, observed = calibration_bins(task, y, scores)
    gap = total((predicted - observed) / unit(task, y), block, weights) / total(np.ones(len(y)), block, weights)
    return {
        "live": interval(live, e.level, count),
        "promised": {"value": number(value), "low": number(low), "high": number(high)},
        "drop": drop,
        "below": drop["low"] is not None and drop["low"] > p.margin * abs(value),
        "mean_predicted": round(float(np.mean(predicted)), 6),
        "mean_observed": round(float(np.mean(observed)), 6),
        "gap": interval(gap, e.level, count),
    }


def fallen(below: Sequence[bool], p: MonitorParams) -> bool:
    """Return whether the newest windows say that the promise is not kept."""
    return sum(below[-p.windows :]) >= p.windows_below


def moments(rows: pd.DataFrame, timed: bool) -> pd.Series:
    """Return when each row of a snapshot was: by the contract's time column if there is one, else when it was asked."""
    asked = pd.to_datetime(rows["time"], format="ISO8601").dt.tz_localize(None)
    return rows["row_time"].fillna(asked) if timed else asked


class Traffic:
    """What one version answered, in order of time, and what it had promised."""

    def __init__(self, home: Path, snapshots: list[Path], p: MonitorParams, e: EvaluateParams) -> None:
        self.version, self.home, self.p, self.e = home.name, home, p, e
        self.contract, self.promise = read_json(home / "bundle/contract.json"), read_json(home / "promise.json")
        self.task, self.timed = self.contract["task"], self.contract["time"] is not None
        self.metric = p.metric if p.metric and p.metric in self.promise["intervals"] else METRICS[self.task]
        rows = pd.concat([read_rows(path) for path in snapshots], ignore_index=True)
        moment = moments(rows, self.timed)
        order = np.argsort(moment.to_numpy(), kind="stable")
        self.rows, self.moment = rows.iloc[order].reset_index(drop=True), moment.iloc[order].reset_index(drop=True)
        self.days = np.unique(self.moment.dt.floor("D"), return_inverse=True)[1] if self.timed else None
        self.is_labelled = self.rows["label"].notna().to_numpy()
        self.windows = [w for w in windows(self.days, self.is_labelled, p) if w.whole or w.end - w.first >= p.min_rows]

    def scores(self, rows: pd.DataFrame) -> Floats:
        """Return what the model said of the rows, in the shape of a bundle's scores."""
        found = rows[[name for name in rows if str(name).startswith("score")]].to_numpy(np.float64)
        if self.task == "binary":
            return np.column_stack([1 - found[:, 0], found[:, 0]])
        return found if self.task == "multiclass" else found[:, 0]

    def told(self, scores: Floats) -> pd.Series:
        """Return the scores as a column that can drift: of many classes the likeliest, else the number."""
        if self.task == "multiclass":
            return pd.Series([str(self.contract["classes"][k]) for k in scores.argmax(axis=1)], dtype="str")
        return pd.Series(scores[:, 1] if self.task == "binary" else scores)

    def judge(self, window: Window) -> Report:
        """Return what a window's labels say, nothing where they are too few."""
        chosen = np.flatnonzero(self.is_labelled[window.first : window.end]) + window.first
        days = self.p.window_days if self.days is None else len(np.unique(self.days[chosen]))
        if not window.whole or len(chosen) < self.p.window_rows or days < self.p.window_days:
            return dict.fromkeys(("live", "promised", "drop", "mean_predicted", "mean_observed", "gap")) | {
                "below": False
            }
        rows = self.rows.iloc[chosen]
        y = encode_target(rows["label"], self.contract["classes"])
        times = self.moment.iloc[chosen] if self.timed else None
        block, _ = blocks(times, np.arange(len(y), dtype=np.uint64))
        return performance(self.contract, self.metric, self.promise, y, self.scores(rows), block, self.p, self.e)

    def examine(self, window: Window, is_drawn: bool) -> tuple[list[Report], str]:
        """Return a finding for each column, the prediction last, with its sentence; and Evidently's page if asked."""
        from ..drift import draw, examine, sentence  # here, as above

        rows, reference = self.rows.iloc[window.first : window.end], self.home / "bundle/reference"
        columns, predicted = (read_rows(reference / f"{name}.parquet") for name in ("features", "predictions"))
        then = {str(name): values for name, values in columns.items()}
        then[PREDICTION] = self.told(np.array(predicted["score"].tolist(), dtype=np.float64))
        now = {n: rows[f"features.{n}"] for f in self.contract["features"] if f"features.{(n := f['name'])}" in rows}
        now[PREDICTION] = self.told(self.scores(rows))
        kind = "category" if self.task == "multiclass" else "number"
        features = [*self.contract["features"], {"name": PREDICTION, "type": kind, "categories": []}]
        kinds = {feature["name"]: feature["type"] for feature in features}
        found = examine(then, now, features, self.p)
        told = [finding | {"sentence": sentence(finding, kinds[finding["column"]])} for finding in found]
        return told, draw(then, now, features, found) if is_drawn else ""

    def report(self, window: Window, columns: list[Report]) -> Report:
        """Return one window as the report has it; without times its rows are numbered from 1."""
        ends = (window.first, window.end - 1)
        place = [f"{self.moment[at]:%Y-%m-%d}" if self.timed else f"{at + 1}" for at in ends]
        drifted = [finding["column"] for finding in columns if finding["status"] not in ("ok", "constant")]
        about = {"version": self.version, "from": place[0], "to": place[1], "rows": window.end - window.first}
        labelled = int(self.is_labelled[window.first : window.end].sum())
        return about | {"labelled": labelled, "drifted": drifted} | self.judge(window)


def fresh(snapshots: list[Path], timed: bool) -> dict[str, int]:
    """Return how many labelled rows are in no batch yet, and on how many days."""
    if not snapshots:
        return {"rows": 0, "days": 0}
    columns = ["id", "time", "row_id", "row_time", "label", "batch"]
    rows = pd.concat(
        [read_rows(path, columns=columns).assign(label=lambda x: x["label"].notna()) for path in snapshots]
    )
    rows = rows[rows["label"] & rows["batch"].isna()]
    rows = rows[~rows["row_id"].fillna(rows["id"]).duplicated()]  # a row that was asked twice goes back once
    days = moments(rows, timed).dt.floor("D").nunique()
    return {"rows": len(rows), "days": int(days)}


def decide(report: Report, p: MonitorParams, timed: bool) -> Report:
    """Return the report with its decision and reasons, the labels' first."""
    if report["version"] is None:
        return report | {
            "decision": "insufficient_data",
            "reasons": ["there is no champion yet, and so nothing that could drift"],
        }
    told_of = [w for w in report["windows"] if w["version"] == report["version"] and w["live"]]
    judged = [w for w in told_of if w["drop"]["low"] is not None][-p.windows :]
    reasons: list[str] = []
    watched: list[str] = []
    back, metric = report["fresh"], report["metric"]
    if told_of and not judged:
        watched.append(f"performance: {metric} cannot be compared, as where all labels are of one class, then or now")
    if fallen([w["below"] for w in judged], p):
        below = [w for w in judged if w["below"]]
        said = ", ".join(f"{w['live']['value']} [{w['live']['low']}, {w['live']['high']}]" for w in below)
        low, value, high = (judged[-1]["promised"][key] for key in ("low", "value", "high"))
        told = (
            f"performance: {metric} was {said} in {len(below)} of the last {len(judged)} windows, worse than "
            f"the promised {value} [{low}, {high}] by more than monitor.margin {p.margin} of it"
        )
        if back["rows"] >= p.window_rows:
            reasons.append(told)
        else:  # the gate has had these labels; another retraining waits for a window of others
            watched.append(f"{told}; of the labelled rows {back['rows']:,} are in no batch yet, too few to try again")
    if back["rows"] >= p.fresh_labels and (not timed or back["days"] >= p.fresh_days):
        reasons.append(f"fresh_labels: {back['rows']:,} labelled rows of {back['days']} days are in no batch yet")
    triggers = [reason.split(":")[0] for reason in reasons]
    if report["rows"] < p.min_rows and not triggers:
        said = f"{report['rows']:,} predictions are on record; monitor.min_rows asks for {p.min_rows:,}"
        return report | {"decision": "insufficient_data", "reasons": [said], "triggers": []}
    watched += [finding["sentence"] for finding in report["columns"] if finding["status"] != "ok"]
    gap = judged[-1]["gap"] if judged else {"low": 0.0, "high": 0.0}
    if max(gap["low"], -gap["high"]) > p.min_calibration_gap:
        watched.append(
            f"calibration: {judged[-1]['mean_predicted']} was predicted on average and {judged[-1]['mean_observed']} "
            f"observed; the gap is {gap['value']} [{gap['low']}, {gap['high']}]"
        )
    decision = "retrain" if triggers else "watch" if watched else "ok"
    kept = ", and the promise is kept" if judged else "; no labels speak of the promise yet"
    return report | {
        "decision": decision,
        "reasons": reasons + watched or [f"no column has drifted{kept}"],
        "triggers": triggers,
    }


def main(champion_path: Path, versions: Path, production_dir: Path, *outs: Path) -> str:
    """Write drift.json, drift.html and loop.html."""
    p, e, champion = load(MonitorParams), load(EvaluateParams), read(champion_path)["version"]
    by_version: dict[str, list[Path]] = {}
    for path in sorted(pulled(production_dir).glob("*.parquet")):  # <day>-<version>
        by_version.setdefault(path.stem[11:], []).append(path)
    traffic = [
        Traffic(versions / v, found, p, e)
        for v, found in by_version.items()
        if (versions / v / "promise.json").exists()
    ]
    traffic.sort(key=lambda one: one.rows["time"].min())
    mine = next((one for one in traffic if one.version == champion), None)
    timed = False
    if champion:
        kept = home(versions, champion)
        promised = [name for name in read_json(kept / "promise.json")["intervals"] if "mean" not in name]
        timed = read_json(kept / "bundle/contract.json")["time"] is not None
        if p.metric and p.metric not in promised:
            raise UserError(f"params.yaml: monitor.metric is {p.metric!r}; {champion} promised {', '.join(promised)}")
    metric = next((one.metric for one in [mine, *traffic] if one), None)
    report: Report = {"version": champion, "rows": len(mine.rows) if mine else 0}
    report["labelled"] = int(mine.is_labelled.sum()) if mine else 0
    report["fresh"] = fresh([path for found in by_version.values() for path in found], timed)
    report["others"] = {one.version: len(one.rows) for one in traffic if one is not mine}
    report |= {"metric": metric, "metric_falls": metric in LOWER}
    report |= {"columns": [], "windows": []}
    drawn = ""
    others = [(one, w) for one in traffic if one is not mine for w in one.windows][-SHOWN:]
    shown = sorted(
        others + [(mine, w) for w in mine.windows[-SHOWN:]] if mine else others, key=lambda x: traffic.index(x[0])
    )
    whole = [window for window in mine.windows if window.whole] if mine else []
    newest = (whole or mine.windows)[-1] if mine and mine.windows else None
    if shown:
        say("monitor", f"comparing {sum(w.end - w.first for _, w in shown):,} predictions in {len(shown)} windows")
    for one, window in shown:
        is_newest = one is mine and window == newest
        columns, html = one.examine(window, is_newest)
        report["windows"].append(one.report(window, columns))
        if is_newest:
            report["columns"], drawn = columns, html
    report = decide(report, p, timed)
    drift_path, drift_page, loop_page = outs
    write_json(drift_path, report)
    write(loop_page, page(report))
    write(drift_page, drawn or page(report))
    return f"{report['decision']}: {'; '.join(report['reasons'])}"


if __name__ == "__main__":
    run(main)
