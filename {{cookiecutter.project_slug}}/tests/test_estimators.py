"""Holds docs/estimators.md to what each estimator and encoder does: fitted on three contracts, exported, compared.

`python tests/test_estimators.py` writes the table anew.
"""

import re
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from rows import BINARY, MULTICLASS, REGRESSION, valid_rows
from sklearn import discriminant_analysis, ensemble, linear_model, naive_bayes, neighbors, neural_network, svm, tree
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.contract import Feature
from {{ cookiecutter.__package }}.encoding import encoded_names
from {{ cookiecutter.__package }}.metrics import encode_target
from {{ cookiecutter.__package }}.model import Encode
from {{ cookiecutter.__package }}.stages.export import convert, snap_thresholds

DOCUMENT = Path("docs/estimators.md")
FEATURES = (
    Feature("size", "number", range=(0, 10), missing=0.2),
    Feature("kind", "category", categories=("a", "b", "c")),
)
CONTRACTS = {
    contract.task: replace(contract, features=FEATURES, personal=()) for contract in (BINARY, MULTICLASS, REGRESSION)
}
SEED = {"random_state": 0}
ESTIMATORS = {  # of classes, of numbers
    "HistGradientBoosting": (
        lambda: ensemble.HistGradientBoostingClassifier(max_iter=10, **SEED),
        lambda: ensemble.HistGradientBoostingRegressor(max_iter=10, **SEED),
    ),
    "HistGradientBoosting, poisson loss": (
        None,
        lambda: ensemble.HistGradientBoostingRegressor(max_iter=10, loss="poisson", **SEED),
    ),
    "GradientBoosting": (
        lambda: ensemble.GradientBoostingClassifier(n_estimators=10, **SEED),
        lambda: ensemble.GradientBoostingRegressor(n_estimators=10, **SEED),
    ),
    "RandomForest": (
        lambda: ensemble.RandomForestClassifier(10, **SEED),
        lambda: ensemble.RandomForestRegressor(10, **SEED),
    ),
    "ExtraTrees": (lambda: ensemble.ExtraTreesClassifier(10, **SEED), lambda: ensemble.ExtraTreesRegressor(10, **SEED)),
    "DecisionTree": (lambda: tree.DecisionTreeClassifier(**SEED), lambda: tree.DecisionTreeRegressor(**SEED)),
    "LogisticRegression, Ridge": (lambda: linear_model.LogisticRegression(max_iter=1000), lambda: linear_model.Ridge()),
    "LinearDiscriminantAnalysis, LinearRegression": (
        lambda: discriminant_analysis.LinearDiscriminantAnalysis(),
        lambda: linear_model.LinearRegression(),
    ),
    "MLP": (
        lambda: neural_network.MLPClassifier(hidden_layer_sizes=(8,), max_iter=30, **SEED),
        lambda: neural_network.MLPRegressor(hidden_layer_sizes=(8,), max_iter=30, **SEED),
    ),
    "KNeighbors": (lambda: neighbors.KNeighborsClassifier(), lambda: neighbors.KNeighborsRegressor()),
    "GaussianNB": (lambda: naive_bayes.GaussianNB(), None),
    "SVR": (None, lambda: svm.SVR()),
}
ENCODERS = {
    "OrdinalEncoder": lambda task: OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "OneHotEncoder": lambda task: OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    "OneHotEncoder, min_frequency": lambda task: OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=0.4, sparse_output=False
    ),
    "TargetEncoder": lambda task: TargetEncoder(**SEED),
    "a function of one's own": lambda task: FunctionTransformer(lambda X: (X == "a").astype(float)),
}


def exported(contract, estimator, encoder=ENCODERS["OrdinalEncoder"]) -> str:
    """Return "yes", or why a pipeline is refused, after a fit on rows of the contract."""
    plain, rows = contract.to_json(), valid_rows(contract, 400)
    numbers, texts = map(len, encoded_names(plain["features"]))
    parts = [
        ("numbers", SimpleImputer(strategy="median"), list(range(numbers))),
        ("texts", encoder(contract.task), list(range(numbers, numbers + texts))),
    ]
    scaled = not isinstance(estimator, ensemble.HistGradientBoostingClassifier | ensemble.HistGradientBoostingRegressor)
    steps = [("scale", StandardScaler())] if scaled and not hasattr(estimator, "max_leaf_nodes") else []
    model = Pipeline([("encode", Encode(plain["features"])), ("columns", ColumnTransformer(parts)), *steps])
    model.steps.append(("estimator", estimator))
    y = encode_target(rows[contract.target], plain["classes"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(rows[[feature.name for feature in contract.features]], y)
        snap_thresholds(model)
        try:
            convert(model, rows, plain["features"], 0.0 if plain["classes"] else float(y.std()))
        except UserError as error:
            return re.sub(r"[0-9.]+%", "some", str(error)).split(";")[0]
    return "yes"


@cache
def document() -> str:
    """Return the document as this environment sees it."""
    lines = [
        "# What converts to ONNX\n",
        "Each is fitted on a number with missing values (median) and a category, exported, and has to answer alike on",
        "99.9 % of the rows; all but trees after StandardScaler. `tests/test_estimators.py` holds this table to what",
        "it sees, and writes it anew. What is not here: try it, `make pipeline` names the step and the reason.\n",
        "| estimator | binary | multiclass | regression |\n|---|---|---|---|",
    ]
    reasons = []

    def cell(name: str, task: str, *made: object) -> str:
        found = exported(CONTRACTS[task], *made)
        if found != "yes":
            reasons.append(f"- {name}, {task}: {found}")
        return "yes" if found == "yes" else "no"

    for name, (of_classes, of_numbers) in ESTIMATORS.items():
        made = {task: of_numbers if task == "regression" else of_classes for task in CONTRACTS}
        lines.append(f"| {name} | {' | '.join(cell(name, t, m()) if m else '' for t, m in made.items())} |")
    lines.append("\n| encoder of categories | binary | multiclass | regression |\n|---|---|---|---|")
    for name, encoder in ENCODERS.items():
        of_classes, of_numbers = ESTIMATORS["DecisionTree"]
        made = {task: of_numbers if task == "regression" else of_classes for task in CONTRACTS}
        lines.append(f"| {name} | {' | '.join(cell(name, t, m(), encoder) for t, m in made.items())} |")
    return "\n".join([*lines, "\nThe refusals, as `export` says them:\n", *reasons]) + "\n"


def test_the_document_says_what_each_of_them_does():
    assert DOCUMENT.read_text("utf-8") == document()


def test_what_the_project_uses_converts_and_some_of_the_list_does_not():
    found = document()
    assert "| HistGradientBoosting | yes | yes | yes |" in found
    assert "| OrdinalEncoder | yes | yes | yes |" in found
    assert "| no |" in found


@pytest.mark.parametrize("task", CONTRACTS)
def test_an_estimator_of_ones_own_that_does_not_convert_is_named_with_the_reason(task):
    class Mine(tree.DecisionTreeRegressor if task == "regression" else tree.DecisionTreeClassifier):
        """A tree under another name, for which there is no converter."""

    told = exported(CONTRACTS[task], Mine())
    assert told.startswith("step 'estimator' (Mine) does not convert to ONNX: ")
    assert len(told) > len("step 'estimator' (Mine) does not convert to ONNX: ")


if __name__ == "__main__":
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(document(), "utf-8")
