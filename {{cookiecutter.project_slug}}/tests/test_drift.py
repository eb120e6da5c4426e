import numpy as np
import pandas as pd
import pytest
from rows import BINARY, REGRESSION, valid_rows

from {{ cookiecutter.__package }}.drift import examine
from {{ cookiecutter.__package }}.params import MonitorParams

P = MonitorParams(min_rows=200, alpha=0.01, min_shift=0.1, min_share_shift=0.05)
FEATURES, OTHERS = BINARY.to_json()["features"], REGRESSION.to_json()["features"]
LENGTH, ORIGIN = "petal length (cm)", "probabilities"


def statuses(current, reference=None, features=FEATURES):
    """Return column -> status, against other rows of the same contract."""
    reference = valid_rows(BINARY, 1000) if reference is None else reference
    return {finding["column"]: finding["status"] for finding in examine(reference, current, features, P)[0]}


def test_rows_of_the_same_contract_have_not_drifted():
    assert set(statuses(valid_rows(BINARY, 500, seed=1)).values()) == {"ok"}


def test_a_number_that_moved_has_drifted_and_the_others_have_not():
    rows = valid_rows(BINARY, 500, seed=1)
    rows[LENGTH] += 2
    assert statuses(rows) == {LENGTH: "drift", ORIGIN: "ok", "numbers": "ok", "scores": "ok"}


def test_a_shift_too_small_to_matter_is_no_drift_however_certain():
    reference, rows = valid_rows(BINARY, 20_000), valid_rows(BINARY, 20_000, seed=1)
    rows[LENGTH] += 0.15
    found = {finding["column"]: finding for finding in examine(reference, rows, FEATURES, P)[0]}[LENGTH]
    assert found["status"] == "ok"
    assert found["p_value"] < P.alpha / len(FEATURES)


def test_categories_whose_shares_moved_have_drifted():
    rows = valid_rows(BINARY, 500, seed=1)
    rows.loc[:150, ORIGIN] = "a"
    assert statuses(rows)[ORIGIN] == "drift"


def test_a_category_never_seen_before_counts_as_rare():
    rows = valid_rows(BINARY, 500, seed=1)
    rows.loc[:150, ORIGIN] = "z"
    assert statuses(rows)[ORIGIN] == "drift"


def test_dates_that_moved_have_drifted():
    reference, rows = valid_rows(REGRESSION, 500), valid_rows(REGRESSION, 500, seed=1)
    assert statuses(rows, reference, OTHERS)["built"] == "ok"
    rows["built"] += pd.Timedelta(days=700)
    assert statuses(rows, reference, OTHERS)["built"] == "drift"


@pytest.mark.parametrize(
    ("values", "status"), [(np.nan, "all missing"), ("wide", "wrong type"), (np.inf, "infinite"), (3.0, "constant")]
)
def test_a_column_that_cannot_be_judged_says_why_and_the_others_are(values, status):
    found = statuses(valid_rows(BINARY, 300, seed=1).assign(**{LENGTH: values}))
    assert found == {LENGTH: status, ORIGIN: "ok", "numbers": "ok", "scores": "ok"}


def test_a_column_that_is_absent_is_told():
    assert statuses(valid_rows(BINARY, 300, seed=1).drop(columns=LENGTH))[LENGTH] == "absent"


def test_columns_of_which_none_can_be_judged_say_so_and_nothing_is_drawn():
    reference, rows = valid_rows(BINARY, 300), valid_rows(BINARY, 300, seed=1)
    assert statuses(rows, reference.assign(**{LENGTH: np.nan}))[LENGTH] == "no reference"
    findings, page = examine(reference, pd.DataFrame(index=range(300)), FEATURES, P)
    assert {finding["status"] for finding in findings} == {"absent"}
    assert page == ""
