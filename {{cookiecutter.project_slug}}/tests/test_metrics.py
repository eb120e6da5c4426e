import numpy as np
import pandas as pd
import pytest
from rows import BINARY, MULTICLASS, valid_rows
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, log_loss, r2_score, roc_auc_score

from {{ cookiecutter.__package }}.metrics import (
    auc,
    baseline_scores,
    blocks,
    calibration_gaps,
    content,
    draws,
    encode_target,
    identity,
    interval,
    mean_loss,
    metrics,
    slices,
)

RANDOM = np.random.default_rng(0)
Y = RANDOM.integers(2, size=300)
P = np.round(np.clip(Y * 0.2 + RANDOM.random(300) * 0.8, 0.01, 0.99), 2)  # rounded: many ties
SHARES = np.column_stack([1 - P, P])
ONE_BY_ONE = np.arange(300)
ONCE = draws(ONE_BY_ONE, 1, seed=0)


def values(task, y, scores, threshold=0.5):
    block = np.arange(len(y))
    return {
        name: found["value"]
        for name, found in metrics(task, y, scores, threshold, block, draws(block, 100, 0), 0.95).items()
    }


def test_binary_metrics_are_those_of_scikit_learn_ties_included():
    found = values("binary", Y, SHARES)
    assert found["auc"] == pytest.approx(roc_auc_score(Y, P), rel=1e-5)
    assert found["log_loss"] == pytest.approx(log_loss(Y, P), rel=1e-5)
    assert found["brier"] == pytest.approx(brier_score_loss(Y, P), rel=1e-5)
    assert next(iter(found)) == "log_loss"


def test_multiclass_metrics_are_those_of_scikit_learn():
    y, scores = RANDOM.integers(3, size=200), RANDOM.dirichlet([1, 1, 1], size=200)
    found = values("multiclass", y, scores)
    assert found["log_loss"] == pytest.approx(log_loss(y, scores), rel=1e-5)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, scores.argmax(axis=1)), rel=1e-5)


def test_regression_metrics_are_those_of_scikit_learn():
    y, scores = RANDOM.normal(5, 2, 200), RANDOM.normal(5, 2, 200)
    found = values("regression", y, scores)
    assert found["r2"] == pytest.approx(r2_score(y, scores), rel=1e-5)
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean((y - scores) ** 2)), rel=1e-5)
    assert found["mae"] == pytest.approx(np.mean(np.abs(y - scores)), rel=1e-5)


def test_precision_and_recall_follow_the_threshold():
    y, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.4, 0.9])
    found = values("binary", y, np.column_stack([1 - p, p]), threshold=0.4)
    assert (found["precision"], found["recall"], found["accuracy"]) == (0.666667, 1.0, 0.75)


def test_auc_of_every_draw_is_that_of_its_rows():
    weights = draws(ONE_BY_ONE, 5, seed=3)
    drawn = [np.repeat(np.arange(300), weight.astype(int)) for weight in weights]
    expected = [roc_auc_score(Y[rows], P[rows]) for rows in drawn]
    np.testing.assert_allclose(auc(Y == 1, P, ONE_BY_ONE, weights), expected)


def test_calibration_error_by_hand():
    # 0.1 to 0.2: four rows, predicted 0.15, one in four hits; 0.8 to 0.9: two rows, predicted 0.85, both hit
    y, p = np.array([1, 0, 0, 0, 1, 1]), np.array([0.15] * 4 + [0.85] * 2)
    block = np.arange(6)
    found = np.abs(calibration_gaps("binary", y, np.column_stack([1 - p, p]), block, draws(block, 100, 0))[:, 0]).sum()
    assert found == pytest.approx((4 * 0.1 + 2 * 0.15) / 6)


def test_a_regression_that_is_off_by_one_standard_deviation_has_a_calibration_error_of_one():
    y, block = RANDOM.normal(0, 3, 100), np.arange(100)
    found = np.abs(calibration_gaps("regression", y, y + y.std(), block, draws(block, 100, 0))[:, 0]).sum()
    assert found == pytest.approx(1)


def test_a_certain_and_wrong_answer_costs_much_and_not_infinitely_much():
    scores = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert 8 < mean_loss("binary", np.array([0, 1]), scores, np.arange(2), draws(np.arange(2), 100, 0))[0] < 9


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_nan_predictions_give_none_and_no_crash(task):
    y, shape = np.array([0, 1, 0, 1]), {"binary": (4, 2), "multiclass": (4, 3), "regression": (4,)}[task]
    found = values(task, y, np.full(shape, np.nan))
    assert next(iter(found.values())) is None


def test_one_class_alone_has_no_auc_and_still_a_loss():
    found = values("binary", np.zeros(5, int), np.tile([0.8, 0.2], (5, 1)))
    assert found["auc"] is None
    assert found["recall"] is None
    assert found["log_loss"] == pytest.approx(-np.log(0.8), rel=1e-5)


def test_an_interval_covers_the_truth_as_often_as_it_says():
    block, weights = np.arange(150), draws(np.arange(150), 300, seed=0)
    truth, covered = -0.3 * np.log(0.3) - 0.7 * np.log(0.7), 0
    for seed in range(200):
        y = (np.random.default_rng(seed).random(150) < 0.3).astype(int)
        found = interval(mean_loss("binary", y, np.tile([0.7, 0.3], (150, 1)), block, weights), 0.9, 150)
        covered += found["low"] <= truth <= found["high"]
    assert 0.84 <= covered / 200 <= 0.95


@pytest.mark.parametrize("days", [3, 7])
def test_an_interval_over_few_days_covers_the_truth_as_often_too(days):
    block, weights, covered = np.arange(days), draws(np.arange(days), 1000, seed=0), 0
    for seed in range(300):
        level = np.random.default_rng(seed).normal(size=days)
        found = interval(weights @ level / weights.sum(axis=1), 0.9, days)
        covered += found["low"] <= 0 <= found["high"]
    assert (len(block), covered / 300 >= {3: 0.72, 7: 0.85}[days]) == (days, True), covered / 300


def test_one_block_alone_has_no_interval():
    assert interval(np.ones(9), 0.95, 1) == {"value": 1.0, "low": None, "high": None}


def test_the_calibration_error_of_what_is_calibrated_may_be_none_and_an_interval_holds_its_estimate():
    zero = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        p = random.random(1000)
        y, block = (random.random(1000) < p).astype(int), np.arange(1000)
        scores = np.column_stack([1 - p, p])
        found = metrics("binary", y, scores, 0.5, block, draws(block, 200, seed), 0.95)["calibration_error"]
        assert found["low"] <= found["value"] <= found["high"]
        zero += found["low"] == 0
    assert zero >= 38


def test_a_constant_target_has_a_calibration_error_in_its_own_unit():
    block = np.arange(100)
    found = calibration_gaps("regression", np.full(100, 0.1), np.full(100, 0.3), block, draws(block, 100, 0))
    assert np.abs(found[:, 0]).sum() == pytest.approx(0.2)


def test_an_interval_by_days_is_wider_where_days_differ():
    days = pd.Series(pd.date_range("2024-01-01", periods=20).repeat(30))
    level = np.random.default_rng(1).choice([0.1, 0.9], 20).repeat(30)
    y = (np.random.default_rng(2).random(600) < level).astype(int)
    scores = np.tile([0.6, 0.4], (600, 1))
    width = {}
    for times in (days, None):
        block, kind = blocks(times, np.arange(600, dtype=np.uint64))
        found = interval(mean_loss("binary", y, scores, block, draws(block, 300, 0)), 0.95, int(block.max()) + 1)
        width[kind] = found["high"] - found["low"]
    assert width["days"] > 2 * width["rows"]


def test_without_times_identical_rows_are_drawn_together_and_blocks_are_bounded():
    block, kind = blocks(None, np.array([7, 9, 7], dtype=np.uint64))
    assert (block.tolist(), kind) == ([0, 1, 0], "rows")
    many, _ = blocks(None, np.arange(10_000, dtype=np.uint64))
    assert many.max() < 2000


def test_draws_depend_on_the_seed_alone_and_start_with_the_estimate():
    assert (draws(np.arange(4), 10, 1) == draws(np.arange(4), 10, 1)).all()
    assert (draws(np.arange(4), 10, 1) != draws(np.arange(4), 10, 2)).any()
    assert draws(np.arange(4), 10, 1)[0].tolist() == [1, 1, 1, 1]
    assert (draws(np.arange(4), 10, 1).sum(axis=1) == 4).all()


def test_a_target_is_encoded_by_the_order_of_its_labels():
    assert encode_target(pd.Series(["b", "a"]), ["b", "a"]).tolist() == [0, 1]
    assert encode_target(pd.Series([True, False]), [True, False]).tolist() == [0, 1]
    assert encode_target(pd.Series([1.5]), []).tolist() == [1.5]


def test_slices_are_categories_and_booleans_with_enough_rows():
    features = [{"name": name, "type": kind} for name, kind in (("c", "category"), ("b", "boolean"), ("n", "number"))]
    rows = pd.DataFrame(
        {
            "c": pd.Series(["x", "x", "y", None], dtype="str"),
            "b": pd.Series([True, None, True, False], dtype="boolean"),
            "n": [1.0, 1.0, 1.0, 1.0],
        }
    )
    found = {name: chosen.tolist() for name, chosen in slices(rows, features, 2).items()}
    assert found == {"c = x": [True, True, False, False], "b = True": [True, False, True, False]}


def test_a_baseline_answers_every_row_alike():
    assert baseline_scores([0.2, 0.8], 2, "binary").tolist() == [[0.2, 0.8], [0.2, 0.8]]
    assert baseline_scores([1.5], 2, "regression").tolist() == [1.5, 1.5]


def test_identical_rows_have_one_content_and_names_of_their_own():
    contract = MULTICLASS.to_json()
    row = valid_rows(MULTICLASS, 1)
    rows = pd.concat([row, row, row], ignore_index=True)
    assert len(set(content(rows, contract))) == 1
    assert len(set(identity(rows, contract))) == 3
    assert identity(row, contract)[0] == identity(rows, contract)[0]


def test_without_an_id_the_target_is_part_of_a_row():
    row = valid_rows(MULTICLASS, 1)
    other = row.assign(species=3)
    assert content(row, MULTICLASS.to_json())[0] != content(other, MULTICLASS.to_json())[0]


def test_without_an_id_a_row_of_another_time_is_another_row():
    contract, row = BINARY.to_json() | {"id": None}, valid_rows(BINARY, 1)
    later = row.assign(day=row["day"] + pd.Timedelta(hours=1))
    assert identity(row, contract)[0] != identity(later, contract)[0]
    assert identity(pd.concat([later, row]), contract).tolist() == [identity(r, contract)[0] for r in (later, row)]


def test_with_an_id_a_row_is_its_id_whatever_it_holds():
    rows, others = valid_rows(BINARY, 3, seed=1), valid_rows(BINARY, 3, seed=2)
    contract = BINARY.to_json()
    assert (identity(rows, contract) == identity(others.assign(row=rows["row"]), contract)).all()
    assert not np.isin(identity(rows, contract), identity(others, contract)).any()


def test_neither_order_nor_index_nor_time_changes_a_content():
    rows, contract = valid_rows(BINARY, 4), BINARY.to_json()
    turned = rows.iloc[::-1].set_index(pd.Index(list("abcd"))).assign(day=pd.Timestamp("2000-01-01"))
    assert (content(turned, contract)[::-1] == content(rows, contract)).all()
