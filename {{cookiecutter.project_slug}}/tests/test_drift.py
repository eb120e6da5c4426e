import numpy as np
import pandas as pd
import pytest
from rows import BINARY, REGRESSION, valid_rows
from traffic import MONITOR as P

from {{ cookiecutter.__package }}.drift import difference, draw, examine, plain, sentence

FEATURES, OTHERS = BINARY.to_json()["features"], REGRESSION.to_json()["features"]
LENGTH, ORIGIN = "petal length (cm)", "probabilities"
MIXED = pd.Series([1.0] * 299 + ["seven"])


def findings(current, reference=None, features=FEATURES):
    """Return column -> finding, against other rows of the same contract."""
    reference = valid_rows(BINARY, 1000) if reference is None else reference
    return {found["column"]: found for found in examine(dict(reference), dict(current), features, P)}


def statuses(*args):
    """Return column -> status."""
    return {column: found["status"] for column, found in findings(*args).items()}


def test_rows_of_the_same_contract_have_not_drifted():
    assert set(statuses(valid_rows(BINARY, 500, seed=1)).values()) == {"ok"}


def test_a_number_that_moved_has_drifted_and_the_others_have_not():
    rows = valid_rows(BINARY, 500, seed=1)
    rows[LENGTH] += 2
    assert statuses(rows) == {LENGTH: "drift", ORIGIN: "ok", "numbers": "ok", "scores": "ok"}


def test_a_shift_too_small_to_matter_is_no_drift_however_certain():
    reference, rows = valid_rows(BINARY, 20_000), valid_rows(BINARY, 20_000, seed=1)
    rows[LENGTH] += 0.15
    found = findings(rows, reference)[LENGTH]
    assert found["status"] == "ok"
    assert found["p_value"] < P.alpha / len(FEATURES)


def test_categories_whose_shares_moved_have_drifted():
    rows = valid_rows(BINARY, 500, seed=1)
    rows.loc[:150, ORIGIN] = "a"
    assert statuses(rows)[ORIGIN] == "drift"


@pytest.mark.parametrize(("rows", "status"), [(151, "drift"), (3, "new category")])
def test_a_category_never_seen_before_is_counted_and_pooled_with_the_rare_ones(rows, status):
    now = valid_rows(BINARY, 500, seed=1)
    now.loc[: rows - 1, ORIGIN] = "z"
    found = findings(now)[ORIGIN]
    assert (found["status"], found["unseen"]) == (status, rows)
    assert f"{rows} rows with a category that training never saw" in sentence(found, "category")


def test_many_rare_categories_drift_among_themselves_and_not_by_chance():
    names = np.array([f"shop {k}" for k in range(200)])
    random, reference, now = np.random.default_rng(0), valid_rows(BINARY, 5000), valid_rows(BINARY, 2000, seed=1)
    reference[ORIGIN] = pd.Series(random.choice(names, 5000), dtype="str")
    now[ORIGIN] = pd.Series(random.choice(names, 2000), dtype="str")
    assert statuses(now, reference)[ORIGIN] == "ok"
    now[ORIGIN] = pd.Series(random.choice(names[:20], 2000), dtype="str")
    assert statuses(now, reference)[ORIGIN] == "drift"


def test_a_missing_share_that_grew_is_a_finding_of_its_own():
    now = valid_rows(BINARY, 1000, seed=1)
    now.loc[::8, LENGTH] = np.nan
    found = findings(now)[LENGTH]
    assert found["status"] == "missing"
    assert found["missing"]["now"] > 0.12 > found["missing"]["then"]
    assert sentence(found, "number").startswith(f"{LENGTH}: missing in a share of 0.1")
    assert "missing" not in findings(now.head(30))[LENGTH], "chance explains it in 30 rows"


def test_dates_that_moved_have_drifted():
    reference, rows = valid_rows(REGRESSION, 500), valid_rows(REGRESSION, 500, seed=1)
    assert statuses(rows, reference, OTHERS)["built"] == "ok"
    rows["built"] += pd.Timedelta(days=700)
    assert statuses(rows, reference, OTHERS)["built"] == "drift"


@pytest.mark.parametrize(
    ("values", "status"),
    [
        (np.nan, "all missing"),
        ("wide", "wrong type"),
        (True, "wrong type"),
        (MIXED, "wrong type"),
        (np.inf, "infinite"),
        (3.0, "constant"),
    ],
)
def test_a_column_that_cannot_be_judged_says_why_and_the_others_are(values, status):
    found = statuses(valid_rows(BINARY, 300, seed=1).assign(**{LENGTH: values}))
    assert found == {LENGTH: status, ORIGIN: "ok", "numbers": "ok", "scores": "ok"}


def test_a_column_that_is_absent_is_told():
    assert statuses(valid_rows(BINARY, 300, seed=1).drop(columns=LENGTH))[LENGTH] == "absent"


def test_a_column_without_rows_is_empty_and_one_without_reference_says_so():
    rows = valid_rows(BINARY, 300, seed=1)
    assert statuses(rows.head(0))[LENGTH] == "empty"
    assert statuses(rows, valid_rows(BINARY, 300).assign(**{LENGTH: np.nan}))[LENGTH] == "no reference"


def test_a_constant_reference_is_no_division_by_zero():
    rows = valid_rows(BINARY, 300, seed=1)
    assert statuses(rows, valid_rows(BINARY, 300).assign(**{LENGTH: 5.0}))[LENGTH] == "drift"


def test_the_page_shows_the_columns_that_could_be_judged_by_the_numbers_of_the_report():
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    then, now = valid_rows(BINARY, 400), valid_rows(BINARY, 400, seed=1).drop(columns="scores")
    found = examine(dict(then), dict(now), FEATURES, P)
    html = draw(dict(then), dict(now), FEATURES, found)
    assert LENGTH in html
    assert draw(dict(then), {}, FEATURES, examine(dict(then), {}, FEATURES, P)) == ""
    definition = DataDefinition(numerical_columns=[LENGTH], categorical_columns=[ORIGIN])
    sides = [pd.DataFrame({LENGTH: side[LENGTH], ORIGIN: side[ORIGIN]}).dropna() for side in (then, now)]
    metrics = [ValueDrift(column=LENGTH, method="wasserstein"), ValueDrift(column=ORIGIN, method="jensenshannon")]
    data = [Dataset.from_pandas(side, data_definition=definition) for side in sides]
    theirs = [float(one["value"]) for one in Report(metrics).run(data[1], data[0]).dict()["metrics"]]
    ours = [
        difference(plain(sides[0][name], common), plain(sides[1][name], common), common is not None)[1]
        for name, common in ((LENGTH, None), (ORIGIN, pd.Series(0.3, ["a", "b", "c"])))
    ]
    assert theirs[0] == pytest.approx(ours[0], abs=1e-6)
    assert theirs[1] == pytest.approx(ours[1] * np.log(2) ** 0.5, abs=1e-6)  # its distance has base e
