import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from bundles import fitted_bundle
from rows import BINARY, MULTICLASS, REGRESSION, valid_rows
from services import point, promote
from traffic import EVALUATE, MONITOR, as_snapshot

from {{ cookiecutter.__package }} import UserError, read_json, write_json
from {{ cookiecutter.__package }}.commands.snapshot import save
from {{ cookiecutter.__package }}.metrics import encode_target, metrics
from {{ cookiecutter.__package }}.stages import monitor
from {{ cookiecutter.__package }}.stages.monitor import decide, fallen, performance

ALL = pytest.mark.parametrize("contract", [BINARY, MULTICLASS, REGRESSION], ids=lambda contract: contract.task)
PLAIN = {"task": "binary", "threshold": 0.5, "classes": ["no", "yes"]}
P = MONITOR.model_copy(update={"window_rows": 100, "window_days": 7, "fresh_labels": 400, "fresh_days": 21})
KEPT = {
    "below": False,
    "drop": {"value": 0.0, "low": -0.1, "high": 0.1},
    "live": {"value": 0.8, "low": 0.7, "high": 0.9},
    "promised": {"value": 0.8, "low": 0.7, "high": 0.9},
}
KEPT |= {"version": "abc", "gap": {"value": 0.0, "low": -0.1, "high": 0.1}, "mean_predicted": 0.3, "mean_observed": 0.3}
BELOW = KEPT | {"below": True, "live": {"value": 0.6, "low": 0.5, "high": 0.7}}


def state(rows=1000, windows=(), columns=(), fresh=(100, 7), version="abc"):
    """Return a report before its decision."""
    about = {
        "version": version,
        "rows": rows,
        "labelled": rows,
        "fresh": dict(zip(("rows", "days"), fresh, strict=True)),
    }
    return about | {"others": {}, "metric": "auc", "windows": list(windows), "columns": list(columns)}


def cut(days, is_labelled, p=P):
    """Return windows as plain tuples."""
    days = None if days is None else np.asarray(days)
    return [tuple(window) for window in monitor.windows(days, np.asarray(is_labelled, dtype=bool), p)]


def test_windows_without_days_hold_as_many_labelled_rows_as_asked():
    assert cut(None, [True] * 250) == [(0, 100, True), (100, 200, True), (200, 250, False)]
    assert cut(None, [True, False] * 150) == [(0, 199, True), (199, 300, False)]


def test_rows_after_the_last_label_count_without_one():
    assert cut(None, [True] * 100 + [False] * 100) == [(0, 100, True), (100, 200, True)]
    assert cut(None, [False] * 250) == [(0, 100, True), (100, 200, True), (200, 250, False)]
    assert cut(None, []) == []


def test_windows_keep_days_whole_and_span_as_many_as_asked():
    days = np.repeat(np.arange(16), 50)
    assert cut(days, [True] * 800) == [(0, 350, True), (350, 700, True), (700, 800, False)]
    few = np.repeat(np.arange(30), 5)  # 100 rows take 20 days
    assert cut(few, [True] * 150) == [(0, 100, True), (100, 150, False)]


def test_a_window_spans_as_many_days_with_a_label_as_asked():
    days = np.repeat(np.arange(19), 50)
    assert cut(days, days % 7 < 5) == [(0, 450, True), (450, 900, True), (900, 950, False)]  # none at weekends


def promise(y, scores, rows=10_000):
    """Return what `evaluate` promised of predictions like these."""
    block = np.arange(rows) % 2000
    weights = np.vstack([np.ones(2000), np.random.default_rng(0).multinomial(2000, np.full(2000, 1 / 2000), size=200)])
    found = metrics("binary", y, scores, 0.5, block, weights, 0.95)
    return {k: m["value"] for k, m in found.items()} | {
        "rows": rows,
        "intervals": {k: [m["low"], m["high"]] for k, m in found.items()},
    }


def right(share, n, seed=0):
    """Return labels, and scores whose class is right in this share of the rows."""
    random = np.random.default_rng(seed)
    y = random.integers(2, size=n)
    said = np.where(random.random(n) < share, y, 1 - y)
    p = np.where(said == 1, 0.8, 0.2)
    return y, np.column_stack([1 - p, p])


def test_a_drop_beyond_chance_and_margin_is_below_the_promise_and_none_is_not():
    promised = promise(*right(0.85, 10_000))
    p, block = MONITOR.model_copy(update={"margin": 0.0}), np.arange(1000)
    found = [
        performance(PLAIN, "accuracy", promised, *right(share, 1000, 1), block, p, EVALUATE) for share in (0.85, 0.78)
    ]
    assert [one["below"] for one in found] == [False, True]
    assert found[1]["drop"]["low"] < found[1]["drop"]["value"] < found[1]["drop"]["high"]
    wide = MONITOR.model_copy(update={"margin": 0.2})
    assert not performance(PLAIN, "accuracy", promised, *right(0.78, 1000, 1), block, wide, EVALUATE)["below"]


def test_a_loss_that_grew_is_below_the_promise_too():
    promised = promise(*right(0.85, 10_000))
    found = performance(PLAIN, "log_loss", promised, *right(0.75, 1000, 1), np.arange(1000), MONITOR, EVALUATE)
    assert found["below"]


def test_predictions_that_are_too_high_on_average_are_measured():
    y, scores = right(0.85, 1000)
    found = performance(
        PLAIN, "auc", promise(*right(0.85, 10_000)), np.zeros_like(y), scores, np.arange(1000), MONITOR, EVALUATE
    )
    assert found["mean_observed"] == 0
    assert found["gap"]["low"] > 0.4
    assert found["live"]["value"] is None
    assert not found["below"]


@pytest.mark.parametrize(
    ("below", "expected"),
    [
        ([], False),
        ([True], False),
        ([True, True], True),
        ([True, False, True], True),
        ([True, True, False, False], False),
    ],
)
def test_two_of_the_last_three_windows_make_an_alarm(below, expected):
    assert fallen(below, MONITOR) is expected


def test_before_a_champion_nothing_can_drift():
    report = decide(state(version=None, rows=0), P, True)
    assert report["decision"] == "insufficient_data"
    assert "no champion yet" in report["reasons"][0]


def test_below_the_least_number_of_predictions_nothing_is_said():
    report = decide(state(rows=199), P, True)
    assert report["decision"] == "insufficient_data"
    assert report["reasons"] == ["199 predictions are on record; monitor.min_rows asks for 200"]


def test_covariates_inform_and_no_more():
    columns = [
        {"column": "x", "status": "drift", "sentence": "x: drift"},
        {"column": "y", "status": "ok", "sentence": ""},
    ]
    report = decide(state(columns=columns), P, True)
    assert (report["decision"], report["reasons"], report["triggers"]) == ("watch", ["x: drift"], [])
    assert decide(state(columns=columns[1:]), P, True)["decision"] == "ok"


def test_labels_trigger_by_performance():
    report = decide(state(windows=[KEPT, BELOW, BELOW]), P, True)
    assert (report["decision"], report["triggers"]) == ("retrain", ["performance"])
    assert "0.6 [0.5, 0.7], 0.6 [0.5, 0.7] in 2 of the last 3 windows" in report["reasons"][0]
    assert decide(state(windows=[KEPT, BELOW, KEPT]), P, True)["decision"] == "ok"
    assert decide(state(windows=[KEPT | {"live": None}] * 3), P, True)["decision"] == "ok"


def test_a_broken_promise_asks_again_only_once_a_window_of_other_labels_is_back():
    report = decide(state(windows=[KEPT, BELOW, BELOW], fresh=(99, 7)), P, True)
    assert (report["decision"], report["triggers"]) == ("watch", [])
    assert report["reasons"][0].startswith("performance: auc was 0.6")
    assert report["reasons"][0].endswith("99 are in no batch yet, too few to try again")
    assert decide(state(windows=[KEPT, BELOW, BELOW], fresh=(100, 7)), P, True)["decision"] == "retrain"


def test_windows_of_other_versions_trigger_nothing():
    assert decide(state(windows=[BELOW | {"version": "old"}] * 3), P, True)["decision"] == "ok"


@pytest.mark.parametrize(
    ("fresh", "timed", "decision"),
    [((400, 21), True, "retrain"), ((399, 99), True, "ok"), ((400, 20), True, "ok"), ((400, 1), False, "retrain")],
)
def test_labels_trigger_once_enough_of_them_are_fresh(fresh, timed, decision):
    assert decide(state(fresh=fresh), P, timed)["decision"] == decision


def test_enough_fresh_labels_ask_for_a_retraining_even_before_the_new_champion_has_traffic():
    assert decide(state(rows=0, fresh=(400, 21)), P, True)["triggers"] == ["fresh_labels"]


def test_calibration_in_the_large_is_a_finding_of_its_own():
    report = decide(
        state(windows=[KEPT | {"gap": {"value": 0.1, "low": 0.05, "high": 0.15}, "mean_predicted": 0.4}]), P, True
    )
    assert report["decision"] == "watch"
    assert report["reasons"] == [
        "calibration: 0.4 was predicted on average and 0.3 observed; the gap is 0.1 [0.05, 0.15]"
    ]
    assert (
        decide(state(windows=[KEPT | {"gap": {"value": 0.01, "low": 0.005, "high": 0.015}}]), P, True)["decision"]
        == "ok"
    )


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return `champion(contract)`, which promotes a small bundle in an empty project and returns its version."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["monitor"] |= {"window_rows": 100, "fresh_labels": 400, "fresh_days": 21}
    params["evaluate"]["resamples"] = 100
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    (tmp_path / "data/production").mkdir(parents=True)
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    point(tmp_path / "models", None)

    def champion(contract):
        bundle = fitted_bundle(tmp_path / "models/draft", contract, valid_rows(contract, 600))
        version = promote(tmp_path / "models", bundle.path, bundle.version)
        metric = {"binary": "auc", "multiclass": "accuracy", "regression": "rmse"}[contract.task]
        value = 20.0 if metric == "rmse" else 0.9
        intervals = {metric: [value * 0.98, value * 1.02], "mean_observed": [0.0, 1.0]}
        promised = {metric: value, "rows": 10_000, "intervals": intervals}
        write_json(tmp_path / "models/versions" / version / "promise.json", promised)
        return version

    return champion


def traffic(contract, version, seed=1, count=300, wrong=False, day="2026-01-01", **more):
    """Write a snapshot of what the version answered, rightly or at random."""
    rows = valid_rows(contract, count, seed=seed)
    if contract.task == "regression":
        scores = rows[contract.target] + (200 if wrong else 1)
    else:
        codes = encode_target(rows[contract.target], contract.to_json()["classes"])
        codes = np.random.default_rng(0).permutation(codes) if wrong else codes
        scores = 0.1 + 0.8 * codes if contract.task == "binary" else np.eye(3)[codes] * 0.7 + 0.1
    save(Path(f"data/production/{day}-{version}.parquet"), as_snapshot(contract, rows, scores, **more))


def examined():
    """Run the stage and return its report and both pages."""
    paths = ["models/champion.json", "models/versions", "data/production", "drift.json", "drift.html", "loop.html"]
    said = monitor.main(*map(Path, paths))
    report = read_json(Path("drift.json"))
    assert said.startswith(f"{report['decision']}: ")
    return report, Path("drift.html").read_text(), Path("loop.html").read_text()


def test_without_champion_or_traffic_every_report_is_there_all_the_same(project):
    report, drift, loop = examined()
    assert report["decision"] == "insufficient_data"
    assert "no champion yet" in drift
    version = project(BINARY)
    report, drift, loop = examined()
    assert (report["decision"], report["version"], report["rows"]) == ("insufficient_data", version, 0)
    assert "monitor.min_rows" in loop


@ALL
def test_traffic_without_labels_is_compared_with_the_reference_column_by_column(contract, project):
    traffic(contract, project(contract), is_labelled=False)
    report, drift, loop = examined()
    assert report["decision"] in ("ok", "watch")
    features = [feature.name for feature in contract.features]
    assert [found["column"] for found in report["columns"]] == [*features, monitor.PREDICTION]
    assert len(report["windows"]) == 3
    assert {window["live"] for window in report["windows"]} == {None}
    assert "plotly" in drift.lower()
    assert contract.features[0].name in loop


@ALL
def test_labels_that_keep_the_promise_do_not_trigger(contract, project):
    traffic(contract, project(contract))
    report, _, _ = examined()
    judged = [window for window in report["windows"] if window["live"]]
    assert len(judged) >= 2
    assert not any(window["below"] for window in judged)
    assert report["triggers"] == []
    assert report["fresh"]["rows"] == report["labelled"] == 300


@ALL
def test_labels_that_break_the_promise_ask_for_a_retraining(contract, project):
    traffic(contract, project(contract), wrong=True)
    report, _, _ = examined()
    assert (report["decision"], report["triggers"]) == ("retrain", ["performance"])


@pytest.mark.parametrize("name", ["f1", "mean_observed"])
def test_a_metric_that_was_not_promised_is_refused_by_name_before_there_is_traffic(project, name):
    project(BINARY)
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("metric: null", f"metric: {name}"))
    with pytest.raises(UserError, match=f"monitor.metric is '{name}'; .* promised auc$"):
        examined()


def test_a_promise_that_could_not_be_measured_is_not_held_against_anything(project):
    version = project(BINARY)
    traffic(BINARY, version, wrong=True)
    promised = {"auc": None, "rows": 600, "intervals": {"auc": [None, None]}}
    write_json(Path(f"models/versions/{version}/promise.json"), promised)
    report, _, _ = examined()
    assert {window["promised"]["value"] for window in report["windows"] if window["live"]} == {None}
    assert report["triggers"] == []
    assert report["reasons"][0].startswith("performance: auc cannot be compared")
    assert "is kept" not in " ".join(report["reasons"])


def test_windows_of_one_class_alone_do_not_dilute_those_that_could_be_judged():
    alone = KEPT | {"live": {"value": None, "low": None, "high": None}, "drop": {"value": None, "low": None}}
    report = decide(state(windows=[BELOW, BELOW, alone, alone]), P, True)
    assert (report["decision"], report["triggers"]) == ("retrain", ["performance"])


def test_fresh_labels_span_days_of_the_rows_though_the_new_champion_has_no_traffic(project):
    old = project(BINARY)
    traffic(BINARY, old, count=600)
    path = Path(f"data/production/2026-01-01-{old}.parquet")
    rows = pd.read_parquet(path)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rows.index % 20, unit="D")
    save(path, rows.assign(row_time=days.astype("datetime64[us]")))
    shutil.copytree(f"models/versions/{old}", "models/versions/another")
    point(Path("models"), "another")
    report, _, _ = examined()
    assert report["fresh"] == {"rows": 600, "days": 20}
    assert "fresh_labels" not in report["triggers"], "monitor.fresh_days asks for 21"


def test_the_same_traffic_gives_the_same_report(project):
    traffic(BINARY, project(BINARY))
    assert examined()[0] == examined()[0]


def test_rows_that_another_version_answered_are_told_apart(project):
    old = project(BINARY)
    traffic(BINARY, old, wrong=True)
    shutil.rmtree("models/draft", ignore_errors=True)
    new = project(REGRESSION)
    report, _, _ = examined()
    assert (report["version"], report["rows"], report["others"]) == (new, 0, {old: 300})
    assert report["decision"] == "insufficient_data"
    assert {window["version"] for window in report["windows"]} == {old}


def test_labels_of_too_few_rows_or_days_say_nothing(project):
    version = project(BINARY)
    traffic(BINARY, version, wrong=True)
    path = Path(f"data/production/2026-01-01-{version}.parquet")
    rows = pd.read_parquet(path)
    three_days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rows.index % 3, unit="D")
    late = (
        pd.Series(three_days, rows.index).where(rows.index < 299, pd.Timestamp("2030-01-01")).astype("datetime64[us]")
    )
    save(path, rows.assign(row_time=late))
    assert {window["live"] for window in examined()[0]["windows"]} == {None}
    save(path, rows.assign(label=rows["label"].where(rows.index % 4 == 0)))
    report = examined()[0]
    assert {window["live"] for window in report["windows"]} == {None}
    assert report["triggers"] == []


def test_rows_that_went_back_are_fresh_no_more(project):
    version = project(BINARY)
    traffic(BINARY, version, count=500)
    assert examined()[0]["triggers"] == ["fresh_labels"]
    path = Path(f"data/production/2026-01-01-{version}.parquet")
    save(path, pd.read_parquet(path).assign(batch="returned"))
    report, _, _ = examined()
    assert report["fresh"] == {"rows": 0, "days": 0}
    assert report["triggers"] == []


def test_a_column_that_vanished_or_broke_is_told_and_stops_nothing(project):
    version = project(BINARY)
    traffic(BINARY, version)
    path = Path(f"data/production/2026-01-01-{version}.parquet")
    rows = pd.read_parquet(path).drop(columns="features.scores")
    rows["features.petal length (cm)"] = np.inf
    rows["features.probabilities"] = pd.Series(None, rows.index, dtype="str")
    rows["features.numbers"] = "text"
    save(path, rows)
    found = {column["column"]: column["status"] for column in examined()[0]["columns"]}
    expected = {
        "petal length (cm)": "infinite",
        "probabilities": "all missing",
        "numbers": "wrong type",
        "scores": "absent",
    }
    assert found.items() >= expected.items()
