import json

import pytest
from bundles import fitted_bundle
from rows import BINARY, valid_rows

from {{ cookiecutter.__package }}.files import write_json
from {{ cookiecutter.__package }}.params import MonitorParams
from {{ cookiecutter.__package }}.stages.monitor import decide, main, page

P = MonitorParams(min_rows=200, alpha=0.01, min_shift=0.1, min_share_shift=0.05)


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
