import json

import numpy as np
import pandas as pd
import pytest
from rows import BINARY, MULTICLASS, REGRESSION, valid_rows
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.model import Encode
from {{ cookiecutter.__package }}.params import TrainParams, load
from {{ cookiecutter.__package }}.schema import CONTRACT
from {{ cookiecutter.__package }}.stages import train as stage
from {{ cookiecutter.__package }}.stages.train import baselines, main, threshold, train

ENCODE = Encode(BINARY.to_json()["features"])


def p(**changes):
    return TrainParams(**({"threshold": 0.5, "folds": 3} | load(TrainParams).estimator | changes))


class Witness(ClassifierMixin, BaseEstimator):
    """Answers from the column "p", and only for days that it was not fitted on."""

    def fit(self, X, y):
        self.classes_, self.days_ = np.unique(y), set(X["day"].dt.date)
        return self

    def predict_proba(self, X):
        assert not self.days_ & set(X["day"].dt.date)
        return np.column_stack([1 - X["p"], X["p"]])

    def predict(self, X):
        return X["p"] >= 0.5


def test_a_given_threshold_is_kept():
    assert threshold(Pipeline([]), pd.DataFrame(), np.array([]), BINARY, p(threshold=0.3)) == 0.3


@pytest.mark.parametrize("score", ["f1", "balanced_accuracy"])
def test_a_threshold_is_chosen_on_folds_with_days_whole(score):
    rows = valid_rows(BINARY, 60).assign(p=np.random.default_rng(0).permutation(60) / 100)
    y = (rows["p"] >= 0.3).to_numpy().astype(int)
    assert threshold(Pipeline([("witness", Witness())]), rows, y, BINARY, p(threshold=score)) == 0.3


@pytest.mark.parametrize("contract", [BINARY, MULTICLASS, REGRESSION])
def test_each_task_is_fitted_and_told_in_numbers(contract):
    rows = valid_rows(contract, 200)
    fitted, result = train(rows, contract, p())
    features = rows[[feature.name for feature in contract.features]]
    answers = fitted.predict_proba(features) if contract.classes else fitted.predict(features)
    assert np.isfinite(answers).all()
    assert result["rows"] == 200
    assert result.get("threshold") == (0.5 if contract.task == "binary" else None)
    assert (result["target_sd"] is not None) == (contract.task == "regression")


def test_the_positive_class_is_the_second_that_the_model_knows():
    rows = valid_rows(BINARY, 400)
    fitted, _ = train(rows, BINARY, p())
    probability = fitted.predict_proba(rows[[feature.name for feature in BINARY.features]])[:, 1]
    assert probability[rows["label"] == "yes"].mean() > probability[rows["label"] == "no"].mean()


def test_a_parameter_that_the_estimator_does_not_have_is_one_sentence():
    with pytest.raises(UserError, match="train does not fit the estimator") as refusal:
        train(valid_rows(BINARY, 50), BINARY, p(no_such=1))
    assert "no_such" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_switch_where_the_estimator_asks_for_a_number_is_one_sentence():
    with pytest.raises(UserError, match="train does not fit the estimator: max_iter is True, a number is expected"):
        train(valid_rows(BINARY, 50), BINARY, p(max_iter=True))


@pytest.mark.parametrize("heavy", ["no", "yes"])
def test_a_weight_is_of_the_class_that_it_names(heavy):
    rows, light = valid_rows(BINARY, 400), ({"no", "yes"} - {heavy}).pop()
    weights = {heavy: 50, light: 1}, {heavy: 1, light: 50}
    fitted = [train(rows, BINARY, p(class_weight=each))[0] for each in weights]
    said = [one.predict_proba(rows)[:, BINARY.to_json()["classes"].index(heavy)].mean() for one in fitted]
    assert said[0] > said[1]


def test_a_weight_of_no_class_is_refused_by_name():
    with pytest.raises(UserError, match=r"train\.class_weight names 0; the classes are 'no', 'yes'"):
        train(valid_rows(BINARY, 50), BINARY, p(class_weight={0: 1}))


@pytest.mark.parametrize(
    ("contract", "steps", "told"),
    [
        (BINARY, [("estimator", LogisticRegression())], "no Pipeline that begins with Encode"),
        (BINARY, [("encode", ENCODE), ("svm", LinearSVC())], "LinearSVC gives no probabilities"),
        (BINARY, [("encode", ENCODE), ("ridge", Ridge())], "Ridge gives no probabilities"),
        (REGRESSION, [("encode", ENCODE), ("tree", DecisionTreeClassifier())], "DecisionTreeClassifier is a cl"),
        (BINARY, [("encode", ENCODE), ("logit", LogisticRegression())], "the pipeline cannot be fitted: "),
    ],
)
def test_a_pipeline_that_cannot_be_what_the_task_asks_for_is_one_sentence(monkeypatch, contract, steps, told):
    monkeypatch.setattr(stage, "build_model", lambda *_: Pipeline(steps))
    with pytest.raises(UserError, match=f"^model.py: .*{told}") as refusal:
        train(valid_rows(contract, 50), contract, p())
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("label", [1, 2, 3])
def test_a_class_without_a_training_row_is_refused_by_name(label):
    rows = valid_rows(MULTICLASS, 60)
    with pytest.raises(UserError, match=f"no training row has {label}; bring rows that do") as refusal:
        train(rows[rows["species"] != label], MULTICLASS, p())
    assert "\n" not in str(refusal.value)


def test_a_column_without_a_value_in_training_is_refused_by_name():
    with pytest.raises(UserError, match="no training row has 'input: size'"):
        train(valid_rows(REGRESSION, 40).assign(**{"input: size": np.nan}), REGRESSION, p())


def test_too_few_days_for_the_folds_are_one_sentence():
    with pytest.raises(UserError, match="train does not fit the estimator: Cannot have number of splits") as refusal:
        train(valid_rows(BINARY, 8), BINARY, p(threshold="f1"))
    assert "\n" not in str(refusal.value)


def test_baselines_are_the_shares_of_all_rows_and_of_the_newest_thirty_days():
    times = pd.to_datetime(["2024-01-01", "2024-03-01", "2024-03-02", "2024-03-03"])
    rows = valid_rows(BINARY, 4).assign(day=times)
    found = baselines(rows, np.array([1, 0, 0, 1]), BINARY)
    assert found["prior"] == [0.5, 0.5]
    assert found["recent"] == pytest.approx([2 / 3, 1 / 3])


def test_without_times_there_is_one_baseline_and_of_a_regression_it_is_the_mean():
    assert baselines(valid_rows(MULTICLASS, 4), np.array([0, 2, 2, 2]), MULTICLASS) == {"prior": [0.25, 0.0, 0.75]}
    assert baselines(valid_rows(REGRESSION, 2), np.array([1.0, 2.0]), REGRESSION) == {"prior": [1.5]}


def test_a_receipt_is_the_same_in_another_folder_and_names_neither_clock_nor_path(tmp_path):
    receipts = []
    for home in (tmp_path / "one", tmp_path / "two"):
        home.mkdir()
        valid_rows(CONTRACT, 300).to_parquet(home / "train.parquet", index=False)
        main(home / "train.parquet", home / "fitted")
        receipts.append((home / "fitted" / "receipt.json").read_text())
    assert receipts[0] == receipts[1]
    assert str(tmp_path) not in receipts[0]
    assert set(json.loads(receipts[0])) == {"train_rows", "contract", "result"}
