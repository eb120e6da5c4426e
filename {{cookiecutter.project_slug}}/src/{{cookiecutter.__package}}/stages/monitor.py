"""Stage `monitor`: the champion's reference and the snapshots of its traffic -> a drift report and a decision.

A column has drifted when chance does not explain it *and* the shift is large enough to matter. Evidently computes and
draws; each column is checked before it sees it. Drift of the inputs alone says `watch`, never more.
"""

import html
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from .. import run, say
from ..champion import read
from ..files import read_json, write, write_json
from ..params import MonitorParams, load

Finding = dict[str, Any]
RARE = 0.01  # categories with a smaller share of the reference are pooled, and so are unseen ones
TESTS = {True: ("chisquare", "jensenshannon"), False: ("ks", "wasserstein")}  # of categories, of numbers


def status(values: pd.Series, is_category: bool) -> str:
    """Return "ok" if a column can be judged, else why it cannot."""
    present = values.dropna()
    if present.empty:
        return "all missing"
    if types.is_string_dtype(present) != is_category:
        return "wrong type"
    if types.is_float_dtype(present) and present.isin([float("inf"), float("-inf")]).any():
        return "infinite"
    return "constant" if present.nunique() == 1 else "ok"


def plain(values: pd.Series, common: pd.Index | None) -> pd.Series:
    """Return the present values as Evidently takes them: floats (dates too), or texts, all but `common` ones pooled."""
    present = values.dropna().reset_index(drop=True)
    if common is not None:
        return present.where(present.isin(common), "(rare)")
    if types.is_datetime64_any_dtype(present):
        present = present.astype("datetime64[us]").astype("int64")
    return present.astype("float64")


def examine(
    reference: pd.DataFrame, current: pd.DataFrame, features: list[Finding], p: MonitorParams
) -> tuple[list[Finding], str]:
    """Return a finding for each column (status, p-value, shift) and Evidently's page.

    Kolmogorov-Smirnov and Wasserstein distance in standard deviations for numbers; chi-squared and Jensen-Shannon
    distance (base 2) for categories; Bonferroni over the columns.
    """
    os.environ["DO_NOT_TRACK"] = "true"  # read when evidently is imported; here, since that takes seconds
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    findings: list[Finding] = []
    sides: tuple[dict[str, pd.Series], dict[str, pd.Series]] = ({}, {})
    metrics, limit = [], p.alpha / len(features)
    for feature in features:
        name, is_category = str(feature["name"]), feature["type"] == "category"
        found = status(current[name], is_category) if name in current else "absent"
        findings.append({"column": name, "status": found})
        if found != "ok":
            continue
        shares = reference[name].value_counts(normalize=True)
        common = shares.index[shares >= RARE] if is_category else None
        for side, frame in zip(sides, (reference, current), strict=True):
            side[name] = plain(frame[name], common)
        shift = p.min_share_shift if is_category else p.min_shift
        for method, threshold in zip(TESTS[is_category], (limit, shift), strict=True):
            metrics.append(ValueDrift(column=name, method=method, threshold=threshold))
    texts = [feature["name"] for feature in features if feature["type"] == "category" and feature["name"] in sides[0]]
    definition = DataDefinition(
        numerical_columns=[name for name in sides[0] if name not in texts], categorical_columns=texts
    )
    then, now = (Dataset.from_pandas(pd.DataFrame(side), data_definition=definition) for side in sides)
    with np.errstate(divide="ignore"):  # chi-squared of a category that the reference lacks: p is 0
        snapshot = Report(metrics).run(current_data=now, reference_data=then)
    found_values = iter([float(metric["value"]) for metric in snapshot.dict()["metrics"]])
    for finding in findings:
        if finding["status"] == "ok":
            chance, shift = next(found_values), next(found_values)
            enough = p.min_share_shift if finding["column"] in texts else p.min_shift
            finding |= {"p_value": chance, "shift": shift}
            finding["status"] = "drift" if chance < limit and shift >= enough else "ok"
    return findings, snapshot.get_html_str(as_iframe=False)


def decide(version: str | None, rows: int, findings: list[Finding], p: MonitorParams) -> dict[str, Any]:
    """Return the decision with its reasons, one sentence a finding."""
    report = {"decision": "watch", "version": version, "rows": rows, "columns": findings}
    if version is None or rows < p.min_rows:
        missing = f"{rows:,} predictions are on record; monitor.min_rows asks for {p.min_rows:,}"
        reasons = ["there is no champion yet, and so nothing that could drift" if version is None else missing]
        return report | {"decision": "insufficient_data", "reasons": reasons}
    reasons = [
        f"{f['column']}: {f['status']}" + (f", shifted by {f['shift']:.3f}" if "shift" in f else "")
        for f in findings
        if f["status"] != "ok"
    ]
    return (
        report | {"reasons": reasons} if reasons else report | {"decision": "ok", "reasons": ["no column has drifted"]}
    )


def page(report: dict[str, Any]) -> str:
    """Return the decision as a page, for as long as there is nothing to draw."""
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in report["reasons"])
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Drift</title>'
    return f"{head}<h1>{report['decision']}</h1><ul>{reasons}</ul></html>\n"


def main(champion_path: Path, versions: Path, production_dir: Path, report_path: Path, page_path: Path) -> str:
    """Write drift.json and drift.html."""
    p, version = load(MonitorParams), read(champion_path)["version"]
    snapshots = [pd.read_parquet(path) for path in sorted(production_dir.glob("*.parquet"))]
    current = pd.concat(snapshots, ignore_index=True) if snapshots else pd.DataFrame()
    findings: list[Finding] = []
    drawn = ""
    if version and len(current) >= p.min_rows:
        say("monitor", f"comparing {len(current):,} predictions with the reference of {version}")
        bundle = versions / version / "bundle"
        features, reference = read_json(bundle / "contract.json")["features"], bundle / "reference/features.parquet"
        findings, drawn = examine(pd.read_parquet(reference), current, features, p)
    report = decide(version, len(current), findings, p)
    write_json(report_path, report)
    write(page_path, drawn or page(report))
    return f"{report['decision']}: {'; '.join(report['reasons'])}"


if __name__ == "__main__":
    run(main)
