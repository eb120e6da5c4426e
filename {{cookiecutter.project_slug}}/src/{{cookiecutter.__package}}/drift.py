"""Has a column drifted? When chance does not explain it *and* the shift is large enough to matter.

Evidently computes and draws; each column is checked before it sees it. Importing it takes seconds.
"""

from typing import Any

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.metrics import ValueDrift
from pandas.api import types

from .params import MonitorParams

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
    findings: list[Finding] = []
    sides: tuple[dict[str, pd.Series], dict[str, pd.Series]] = ({}, {})
    metrics, limit = [], p.alpha / len(features)
    least: dict[str, float] = {}  # the shift that matters, of each column that can be judged
    for feature in features:
        name, is_category = str(feature["name"]), feature["type"] == "category"
        found = status(current[name], is_category) if name in current else "absent"
        if reference[name].isna().all():
            found = "no reference"
        findings.append({"column": name, "status": found})
        if found != "ok":
            continue
        shares = reference[name].value_counts(normalize=True)
        common = shares.index[shares >= RARE] if is_category else None
        for side, frame in zip(sides, (reference, current), strict=True):
            side[name] = plain(frame[name], common)
        least[name] = p.min_share_shift if is_category else p.min_shift
        for method, threshold in zip(TESTS[is_category], (limit, least[name]), strict=True):
            metrics.append(ValueDrift(column=name, method=method, threshold=threshold))
    if not metrics:
        return findings, ""
    texts = [feature["name"] for feature in features if feature["type"] == "category" and feature["name"] in least]
    definition = DataDefinition(
        numerical_columns=[name for name in least if name not in texts], categorical_columns=texts
    )
    then, now = (Dataset.from_pandas(pd.DataFrame(side), data_definition=definition) for side in sides)
    with np.errstate(divide="ignore"):  # chi-squared of a category that the reference lacks: p is 0
        snapshot = Report(metrics).run(current_data=now, reference_data=then)
    found_values = iter([float(metric["value"]) for metric in snapshot.dict()["metrics"]])
    for finding in findings:
        if finding["status"] == "ok":
            chance, shift = next(found_values), next(found_values)
            finding |= {"p_value": chance, "shift": shift}
            finding["status"] = "drift" if chance < limit and shift >= least[finding["column"]] else "ok"
    return findings, snapshot.get_html_str(as_iframe=False)
