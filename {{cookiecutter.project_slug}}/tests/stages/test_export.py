import json

import numpy as np
import pandas as pd
import pytest
from bundles import fit, fitted_bundle
from rows import BINARY, MULTICLASS, REGRESSION, valid_rows
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.tree import DecisionTreeRegressor

from {{ cookiecutter.__package }} import UserError, read_json
from {{ cookiecutter.__package }}.bundle import load
from {{ cookiecutter.__package }}.contract import Contract, Feature
from {{ cookiecutter.__package }}.encoding import encoded_names
from {{ cookiecutter.__package }}.model import Encode
from {{ cookiecutter.__package }}.stages import export

CONTRACTS = pytest.mark.parametrize("contract", [BINARY, MULTICLASS, REGRESSION], ids=lambda contract: contract.task)
NUMBER = Contract(task="regression", target="y", features=(Feature("x", "number"),))


class Shuffle(TransformerMixin, BaseEstimator):
    """Answers another number each time, as no graph can."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X + 1


@CONTRACTS
def test_the_bundle_answers_as_scikit_learn_does(contract, tmp_path):
    rows = valid_rows(contract, 200)
    bundle, model = fitted_bundle(tmp_path / "bundle", contract, rows), fit(contract, rows)
    others = valid_rows(contract, 100, seed=1)[[feature.name for feature in contract.features]]
    theirs = model.predict_proba(others) if contract.classes else model.predict(others)
    np.testing.assert_allclose(bundle.scores(others), theirs, rtol=1e-5, atol=1e-5)


@CONTRACTS
def test_the_same_model_makes_the_same_bytes(contract, tmp_path):
    rows = valid_rows(contract, 60)
    one, two = (fitted_bundle(tmp_path / name, contract, rows) for name in ("one", "two"))
    assert one.version == two.version


def test_a_step_that_does_not_convert_is_refused_by_name():
    rows = valid_rows(MULTICLASS, 60)
    model = fit(MULTICLASS, rows, ("square", FunctionTransformer(np.square)))
    with pytest.raises(UserError, match=r"step 'square' \(FunctionTransformer\) does not convert to ONNX: ") as refusal:
        export.convert(model, rows, MULTICLASS.to_json()["features"], 0.0)
    assert "\n" not in str(refusal.value)


def test_a_step_with_a_sparse_answer_is_not_blamed_for_the_next():
    rows, features = valid_rows(BINARY, 60), BINARY.to_json()["features"]
    numbers, texts = map(len, encoded_names(features))
    one_hot = ("texts", OneHotEncoder(handle_unknown="ignore"), list(range(numbers, numbers + texts)))
    columns = ColumnTransformer([one_hot], sparse_threshold=1.0)
    size = FunctionTransformer(abs, accept_sparse=True)
    model = Pipeline([("encode", Encode(features)), ("columns", columns), ("size", size)]).fit(rows)
    assert issparse(model[:-1].transform(rows))
    with pytest.raises(UserError, match=r"step 'size' \(FunctionTransformer\) does not convert to ONNX: "):
        export.convert(model, rows, features, 0.0)


def test_a_step_without_a_converter_is_refused_by_name():
    rows = valid_rows(MULTICLASS, 60)
    with pytest.raises(UserError, match=r"step 'plus one' \(Shuffle\) does not convert to ONNX: "):
        export.convert(fit(MULTICLASS, rows, ("plus one", Shuffle())), rows, MULTICLASS.to_json()["features"], 0.0)


def test_a_step_that_answers_otherwise_in_onnx_is_refused_by_name():
    rows = pd.DataFrame({"x": np.linspace(0, 1, 500), "y": np.linspace(0, 1, 500)})
    model = Pipeline([("encode", Encode(NUMBER.to_json()["features"])), ("tree", DecisionTreeRegressor(max_depth=3))])
    model.fit(rows[["x"]], rows["y"])
    model.named_steps["tree"].predict = lambda X: np.zeros(len(X))
    with pytest.raises(UserError, match=r"step 'tree' \(DecisionTreeRegressor\) answers otherwise in ONNX: .* agree"):
        export.convert(model, rows, NUMBER.to_json()["features"], 0.3)


def test_a_model_that_does_not_start_with_encode_is_refused():
    rows = valid_rows(NUMBER, 20)
    model = Pipeline([("tree", DecisionTreeRegressor())]).fit(rows[["x"]], rows["y"])
    with pytest.raises(UserError, match="the model starts with DecisionTreeRegressor; the first step must be Encode"):
        export.convert(model, rows, NUMBER.to_json()["features"], 1.0)


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeRegressor(random_state=0),
        RandomForestRegressor(3, random_state=0),
        HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=1, random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_values_next_to_a_threshold_in_float32_go_the_same_way(estimator):
    near = [np.float32(0.1)]
    for _ in range(60):
        near.append(np.nextafter(near[-1], np.float32(np.inf)))
    rows = pd.DataFrame({"x": np.array(near, dtype=np.float64)})
    rows["y"] = np.arange(len(rows)) % 7.0
    model = Pipeline([("encode", Encode(NUMBER.to_json()["features"])), ("estimator", estimator)])
    model.fit(rows[["x"]], rows["y"])
    before = model.predict(rows[["x"]])
    export.snap_thresholds(model)
    np.testing.assert_array_equal(model.predict(rows[["x"]]), before)
    graph = export.convert(model, rows, NUMBER.to_json()["features"], 1.0)
    assert graph == export.to_onnx(Pipeline(model.steps[1:]), 1, 0)


def test_agreement_counts_rows_and_takes_nan_for_nan():
    ours = np.array([[1.0, 0.0], [0.5, 0.5], [np.nan, 1.0], [0.2, 0.8]])
    theirs = np.array([[1.0, 0.0], [0.5, 0.501], [np.nan, 1.0], [np.nan, 0.8]])
    assert export.agreeing_share(ours, theirs, 0.0) == 0.5
    assert export.agreeing_share(np.array([100.0005]), np.array([100.0]), 50.0) == 1.0


def test_golden_rows_are_nobody_s_and_the_first_has_no_null():
    train = valid_rows(REGRESSION, 200)[["texts", "built", "input: size"]]
    golden = json.loads(json.dumps(export.golden_rows(train, 30, seed=7)))
    assert len(golden) == 30
    assert None not in golden[0].values()
    theirs = {(str(built.isoformat()), size) for _, built, size in train.itertuples(index=False)}
    assert not theirs & {(row["built"], row["input: size"]) for row in golden}
    assert golden == json.loads(json.dumps(export.golden_rows(train, 30, seed=7)))


def test_a_bundle_s_contract_tells_what_training_saw_and_nobody_s_name(tmp_path):
    rows = valid_rows(BINARY, 60)
    bundle = fitted_bundle(tmp_path / "bundle", BINARY, rows)
    plain = read_json(bundle.path / "contract.json")
    seen = {feature["name"]: feature.get("seen") for feature in plain["features"]}
    assert seen["numbers"] == [rows["numbers"].min(), rows["numbers"].max()]
    assert plain["threshold"] == 0.5
    assert not [path for path in bundle.path.rglob("*.*") if b"passenger" in path.read_bytes()]


def test_an_open_category_lists_what_training_saw():
    plain = export.contract_json(REGRESSION, valid_rows(REGRESSION, 60), None)
    assert plain["features"][0]["categories"] == ["one", "three", "two"]


def test_a_feature_that_was_always_missing_has_seen_nothing():
    rows = valid_rows(REGRESSION, 5).assign(**{"input: size": np.nan})
    assert export.contract_json(REGRESSION, rows, None)["features"][2]["seen"] is None


def test_the_reference_holds_columns_shuffled_each_on_its_own_and_pairs_of_target_and_score(tmp_path):
    rows = valid_rows(BINARY, 200)
    bundle = fitted_bundle(tmp_path / "bundle", BINARY, rows)
    reference = pd.read_parquet(bundle.path / "reference/features.parquet")
    names = [feature.name for feature in BINARY.features]
    assert list(reference) == names
    assert sorted(reference["petal length (cm)"].dropna()) == sorted(rows["petal length (cm)"].dropna())
    assert len(reference.merge(rows[names])) < 50
    pairs = pd.read_parquet(bundle.path / "reference/predictions.parquet")
    assert list(pairs) == ["target", "score"]


def test_a_model_with_a_type_from_elsewhere_is_not_read(tmp_path):
    import skops.io

    skops.io.dump(Pipeline([("strange", Shuffle())]), tmp_path / "model.skops")
    with pytest.raises(UserError, match="which is not scikit-learn's nor this project's; train it again"):
        export.read_model(tmp_path / "model.skops")


def test_a_bundle_can_be_loaded_from_another_folder(tmp_path):
    bundle = fitted_bundle(tmp_path / "bundle", MULTICLASS, valid_rows(MULTICLASS, 30))
    (tmp_path / "bundle").rename(tmp_path / "moved")
    assert load(tmp_path / "moved").version == bundle.version
