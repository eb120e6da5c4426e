import json

import numpy as np
import pandas as pd
import pytest
from bundles import fitted_bundle
from rows import BINARY, REGRESSION, valid_rows

from {{ cookiecutter.__package }}.files import write_json
from {{ cookiecutter.__package }}.params import MonitorParams
from {{ cookiecutter.__package }}.stages.monitor import decide, examine, main, page

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


def test_before_a_champion_nothing_can_drift():
    report = decide(None, 0, [], P)
    assert report["decision"] == "insufficient_data"
    assert "no champion yet" in report["reasons"][0]


def test_below_the_least_number_of_predictions_nothing_is_said():
    report = decide("abc", 199, [], P)
    assert report["decision"] == "insufficient_data"
    assert report["reasons"] == ["199 predictions are on record; monitor.min_rows asks for 200"]


def test_drift_of_the_inputs_alone_is_watched_and_no_more():
    findings = [{"column": "x", "status": "drift", "p_value": 0.0, "shift": 0.5}, {"column": "y", "status": "ok"}]
    report = decide("abc", 200, findings, P)
    assert (report["decision"], report["reasons"]) == ("watch", ["x: drift, shifted by 0.500"])
    assert decide("abc", 200, findings[1:], P)["decision"] == "ok"


def test_a_page_escapes_what_it_shows():
    assert "<b>" not in page({"decision": "insufficient_data", "reasons": ["<b>"]})


@pytest.mark.parametrize(("version", "rows", "decision"), [(None, 0, "insufficient_data"), ("abc", 300, "ok")])
def test_report_and_page_are_written_whatever_there_is(tmp_path, monkeypatch, version, rows, decision):
    if version:
        fitted_bundle(tmp_path / "versions" / version / "bundle", BINARY, valid_rows(BINARY, 500))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(json.dumps({"monitor": P.model_dump()}))
    write_json(tmp_path / "champion.json", {"version": version, "previous": None, "blocked": []})
    (tmp_path / "production").mkdir()
    valid_rows(BINARY, rows, seed=1).to_parquet(tmp_path / "production" / "a.parquet")
    paths = [tmp_path / name for name in ("champion.json", "versions", "production", "drift.json", "drift.html")]
    assert main(*paths).startswith(f"{decision}: ")
    assert json.loads(paths[3].read_text())["rows"] == rows
    assert "html" in paths[4].read_text()
