"""Small bundles: one fitted by scikit-learn, one whose answers a test sets by hand."""

from pathlib import Path

import onnx
import onnx.helper as oh
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from {{ cookiecutter.__package }}.bundle import Bundle, load
from {{ cookiecutter.__package }}.contract import Contract
from {{ cookiecutter.__package }}.encoding import encoded_names
from {{ cookiecutter.__package }}.metrics import encode_target
from {{ cookiecutter.__package }}.model import Encode
from {{ cookiecutter.__package }}.stages import export


def fit(contract: Contract, rows: pd.DataFrame, *steps: tuple[str, object]) -> Pipeline:
    """Return a small pipeline fitted on the rows; `steps` come before its estimator."""
    plain = contract.to_json()
    count, texts = map(len, encoded_names(plain["features"]))
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    numbers = ("numbers", "passthrough", list(range(count)))
    columns = ColumnTransformer(
        [numbers, ("texts", ordinal, list(range(count, count + texts)))] if texts else [numbers]
    )
    boosting = HistGradientBoostingClassifier if contract.classes else HistGradientBoostingRegressor
    parts = [("encode", Encode(plain["features"])), ("columns", columns), *steps]
    model = Pipeline([*parts, ("estimator", boosting(max_iter=3, min_samples_leaf=2, random_state=0))])
    return model.fit(rows[[f.name for f in contract.features]], encode_target(rows[contract.target], plain["classes"]))


def fitted_bundle(path: Path, contract: Contract, rows: pd.DataFrame) -> Bundle:
    """Return the bundle of such a pipeline, written to `path`."""
    model = fit(contract, rows)
    export.snap_thresholds(model)
    plain = export.contract_json(contract, rows, 0.5 if contract.task == "binary" else None)
    scale = 0.0 if contract.classes else float(rows[contract.target].std())
    graph = export.convert(model, rows, plain["features"], scale)
    export.write_bundle(path, graph, plain, rows, rows)
    return load(path)


def linear_bundle(path: Path, contract: Contract, rows: pd.DataFrame, bias: float, weights: list[float]) -> Bundle:
    """Return a bundle that answers bias + weights x numbers: the positive class's probability, or a regression's."""
    matrix = [x for weight in weights for x in ([-weight, weight] if contract.classes else [weight])]
    offset = [1 - bias, bias] if contract.classes else [bias]
    width = len(offset)
    tensors = [
        oh.make_tensor("w", onnx.TensorProto.FLOAT, [len(weights), width], matrix),
        oh.make_tensor("b", onnx.TensorProto.FLOAT, [width], offset),
    ]
    numbers = oh.make_tensor_value_info("numbers", onnx.TensorProto.FLOAT, [None, len(weights)])
    scores = oh.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [None, width])
    node = oh.make_node("Gemm", ["numbers", "w", "b"], ["scores"])
    graph = oh.make_graph([node], "linear", [numbers], [scores], tensors)
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)
    plain = export.contract_json(contract, rows, 0.5 if contract.task == "binary" else None)
    export.write_bundle(path, model.SerializeToString(), plain, rows, rows)
    return load(path)
