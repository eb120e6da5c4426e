import numpy as np
import pandas as pd
import pytest
from bundles import fitted_bundle, linear_bundle
from rows import BINARY, MULTICLASS, REGRESSION, valid_rows

from {{ cookiecutter.__package }}.contract import Contract, Feature
from {{ cookiecutter.__package }}.params import EvaluateParams
from {{ cookiecutter.__package }}.stages.evaluate import curve, draw, evaluate, headline

P = EvaluateParams(resamples=200, level=0.95, slice_min_rows=30, seed=0)
SLICED = ("probabilities", "scores")
PRIOR = {"binary": [0.5, 0.5], "multiclass": [0.3, 0.3, 0.4], "regression": [50.0]}


@pytest.mark.parametrize("contract", [BINARY, MULTICLASS, REGRESSION], ids=lambda contract: contract.task)
def test_each_task_gets_metrics_with_intervals_baselines_and_a_picture(contract, tmp_path):
    bundle = fitted_bundle(tmp_path / "bundle", contract, valid_rows(contract, 300))
    report, tables = evaluate(bundle, valid_rows(contract, 200, seed=1), {"prior": PRIOR[contract.task]}, P)
    name = "rmse" if contract.task == "regression" else "log_loss"
    low, high = report["intervals"][name]
    assert low < report[name] < high
    assert report[name] < report["baselines"]["prior"][name]
    assert (report["version"], report["rows"]) == (bundle.version, 200)
    assert ("days" in report, "rows" in report) == (contract.time is not None, True)
    assert headline(report, contract.task).endswith(f"has {name} {report['baselines']['prior'][name]}")
    draw(tables, contract.task, tmp_path / "evaluation.png")
    assert (tmp_path / "evaluation.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_is_the_same_twice(tmp_path):
    bundle, test = fitted_bundle(tmp_path / "bundle", BINARY, valid_rows(BINARY, 100)), valid_rows(BINARY, 80, seed=1)
    reports = [evaluate(bundle, test, {"prior": [0.5, 0.5]}, P) for _ in range(2)]
    assert reports[0][0] == reports[1][0]
    for name, table in reports[0][1].items():
        pd.testing.assert_frame_equal(table, reports[1][1][name])


def test_slices_with_enough_rows_and_days_have_a_loss_of_their_own(tmp_path):
    bundle, test = fitted_bundle(tmp_path / "bundle", BINARY, valid_rows(BINARY, 100)), valid_rows(BINARY, 120, seed=1)
    _, tables = evaluate(bundle, test, {"prior": [0.5, 0.5]}, P)
    counts = {f"{name} = {value}": n for name in SLICED for value, n in test[name].value_counts().items()}
    assert dict(tables["slices"][["slice", "rows"]].to_numpy()) == {name: n for name, n in counts.items() if n >= 30}
    assert len(tables["periods"]) == 30


def test_a_bundle_that_answers_nan_is_told_as_none_and_not_as_a_crash(tmp_path):
    contract = Contract(task="regression", target="y", features=(Feature("x", "number"), Feature("z", "number")))
    rows = valid_rows(contract, 50)
    bundle = linear_bundle(tmp_path / "bundle", contract, rows, float("nan"), [1.0, 1.0])
    report, tables = evaluate(bundle, rows, {"prior": [1.0]}, P)
    assert (report["rmse"], report["intervals"]["rmse"]) == (None, [None, None])
    draw(tables, "regression", tmp_path / "evaluation.png")


def test_a_roc_curve_goes_from_corner_to_corner_and_up():
    y, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
    points = curve("binary", y, np.column_stack([1 - p, p]))
    assert points.to_numpy().tolist() == [[0, 0], [0, 0.5], [0.5, 0.5], [0.5, 1], [1, 1]]


def test_a_regression_s_curve_is_the_share_of_rows_within_an_error():
    points = curve("regression", np.array([1.0, 2.0]), np.array([1.5, 2.1]))
    np.testing.assert_allclose(points, [[0.1, 0.5], [0.5, 1.0]])
