"""Has a column drifted? When chance does not explain it *and* the shift is large enough to matter.

scipy computes, on any number of windows; Evidently draws one of them, from the same columns by the same methods.
"""

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, ks_2samp, wasserstein_distance

from .params import MonitorParams

Finding = dict[str, Any]
Columns = Mapping[str, pd.Series]
RARE = 0.01  # categories with a smaller share of the reference are pooled, and so are unseen ones
POOL = 0.05  # of the reference, by chance (a hash): many rare categories can drift among themselves
TYPES = {
    "number": lambda dtype: types.is_numeric_dtype(dtype) and not types.is_bool_dtype(dtype),
    "boolean": types.is_bool_dtype,
    "category": types.is_string_dtype,
    "datetime": types.is_datetime64_any_dtype,
}
TYPES["integer"] = TYPES["number"]
DRAWN = 20_000  # rows; more are not seen


def status(values: pd.Series, kind: str) -> str:
    """Return "ok" if a column of the contract's type `kind` can be judged, else why it cannot."""
    present = values.dropna()
    if present.empty:
        return "all missing" if len(values) else "empty"
    if not TYPES[kind](present.dtype if kind != "category" else present):
        return "wrong type"
    if types.is_float_dtype(present) and present.isin([float("inf"), float("-inf")]).any():
        return "infinite"
    return "constant" if present.nunique() == 1 else "ok"


def plain(values: pd.Series, shares: pd.Series | None) -> pd.Series:
    """Return the present values as they are compared: floats (dates too); texts, by their `shares` of the reference."""
    present = values.dropna().reset_index(drop=True)
    if shares is not None:
        pools = math.ceil(float(shares[shares < RARE].sum()) / POOL) or 1
        pool = pd.util.hash_array(present.to_numpy(dtype=object)) % np.uint64(pools)
        return present.where(present.isin(shares.index[shares >= RARE]), [f"(rare {k})" for k in pool])
    if types.is_datetime64_any_dtype(present):
        present = present.astype("datetime64[us]").astype("int64")
    return present.astype("float64")


def difference(then: pd.Series, now: pd.Series, is_category: bool) -> tuple[float, float]:
    """Return the p-value and the size of a difference between plain columns.

    Of numbers Kolmogorov-Smirnov, and the Wasserstein distance in standard deviations of `then`; of categories
    chi-squared, and the Jensen-Shannon distance (base 2).
    """
    if is_category:
        counts = pd.DataFrame({"then": then.value_counts(), "now": now.value_counts()}).fillna(0)
        chance = chi2_contingency(counts.T).pvalue
        return float(chance), float(jensenshannon(counts["then"], counts["now"], base=2))
    scale = float(np.std(then)) or float(np.std(now))
    return float(ks_2samp(then, now, method="asymp").pvalue), float(wasserstein_distance(then, now)) / scale


def missing(then: pd.Series, now: pd.Series, limit: float, least: float) -> Finding | None:
    """Return both missing shares if they differ by more than chance and by `least` or more.

    A two-proportion z-test, pooled. Source: Fleiss, Levin and Paik (2003), Statistical Methods for Rates, ch. 3.
    """
    shares = float(then.isna().mean()), float(now.isna().mean())
    pooled = float((then.isna().sum() + now.isna().sum()) / (len(then) + len(now)))
    spread = math.sqrt(pooled * (1 - pooled) * (1 / len(then) + 1 / len(now)))
    differ = abs(shares[1] - shares[0])
    beyond = spread > 0 and math.erfc(differ / spread / math.sqrt(2)) < limit and differ >= least
    return dict(zip(("then", "now"), (round(share, 6) for share in shares), strict=True)) if beyond else None


def examine(reference: Columns, current: Columns, features: list[Finding], p: MonitorParams) -> list[Finding]:
    """Return a finding for each column: its status, p-value and shift, missing shares, unseen categories.

    Bonferroni over the columns; missing values are a test of their own.
    """
    findings: list[Finding] = []
    limit = p.alpha / len(features)
    for feature in features:
        name, is_category = str(feature["name"]), feature["type"] == "category"
        then, now = reference[name], current.get(name)
        found: Finding = {"column": name, "status": "absent" if now is None else status(now, feature["type"])}
        findings.append(found)
        if then.isna().all():
            found["status"] = "no reference"
        if now is not None and len(now) and (lack := missing(then, now, limit, p.min_missing)):
            found["missing"] = lack
        if found["status"] != "ok" or now is None:
            continue
        shares = then.value_counts(normalize=True)
        if is_category and (new := int((~now.dropna().isin([*feature["categories"], *shares.index])).sum())):
            found["unseen"] = new
        before, after = (plain(values, shares if is_category else None) for values in (then, now))
        chance, shift = difference(before, after, is_category)
        found |= {"p_value": chance, "shift": round(shift, 6)}
        if chance < limit and shift >= (p.min_share_shift if is_category else p.min_shift):
            found["status"] = "drift"
        else:
            found["status"] = "missing" if "missing" in found else "new category" if "unseen" in found else "ok"
    return findings


def sentence(finding: Finding, kind: str) -> str:
    """Return what a finding says, in words; `kind` is the column's type."""
    found = finding["status"]
    told = [] if found in ("missing", "new category") else [found]
    if found == "drift":
        unit = "Jensen-Shannon distance" if kind == "category" else "standard deviations"
        told = [f"drift by {finding['shift']:.3f} ({unit})"]
    if lack := finding.get("missing"):
        told.append(f"missing in a share of {lack['now']:.3f} of the rows, {lack['then']:.3f} in training")
    if unseen := finding.get("unseen"):
        told.append(f"{unseen:,} rows with a category that training never saw")
    return f"{finding['column']}: {', '.join(told)}"


def draw(reference: Columns, current: Columns, features: list[Finding], findings: list[Finding]) -> str:
    """Return Evidently's page of the columns that could be judged, "" without any."""
    os.environ["DO_NOT_TRACK"] = "true"  # read when evidently is imported; here, since that takes seconds
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    kinds = {str(feature["name"]): feature["type"] for feature in features}
    judged = {found["column"]: kinds[found["column"]] == "category" for found in findings if "shift" in found}
    sides: tuple[dict[str, pd.Series], dict[str, pd.Series]] = ({}, {})
    metrics = []
    for name, is_category in judged.items():
        shares = reference[name].value_counts(normalize=True)
        for side, columns in zip(sides, (reference, current), strict=True):
            values = columns[name].sample(min(len(columns[name]), DRAWN), random_state=0)
            side[name] = plain(values, shares if is_category else None)
        metrics += [ValueDrift(column=name, method="jensenshannon" if is_category else "wasserstein")]
    if not metrics:
        return ""
    numbers, texts = ([name for name in judged if judged[name] == kind] for kind in (False, True))
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
    then, now = (Dataset.from_pandas(pd.DataFrame(side), data_definition=definition) for side in sides)
    page: str = Report(metrics).run(current_data=now, reference_data=then).get_html_str(as_iframe=False)
    return page
