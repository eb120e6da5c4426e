"""The model: edit this first. `build_model` returns what `train` fits and `export` turns into ONNX for the service.

Not everything in scikit-learn converts to ONNX and answers alike there; `export` refuses what does not, and names it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from .contract import Contract
from .encoding import encode, encoded_names


class Encode(TransformerMixin, BaseEstimator):
    """Columns of the contract -> float32 numbers, then texts. Stays the first step: the service does this itself."""

    def __init__(self, features: Sequence[Mapping[str, Any]]) -> None:
        self.features = features

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return one column for each name in `encoded_names`, in its order."""
        parts = zip(encode(self.features, X), encoded_names(self.features), strict=True)
        return pd.concat([pd.DataFrame(values, columns=names) for values, names in parts], axis=1)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def build_model(contract: Contract, estimator: Mapping[str, Any]) -> Pipeline:
    """Return the unfitted pipeline: `estimator` holds the keys of `params.yaml: train`, by scikit-learn's names.

    Gradient boosting takes missing numbers and needs no scaling. Categories become ordinals, one unseen in training -1.
    """
    features = contract.to_json()["features"]
    numbers, texts = map(len, encoded_names(features))
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    places = {"numbers": list(range(numbers)), "texts": list(range(numbers, numbers + texts))}
    parts = [("numbers", "passthrough", places["numbers"]), ("texts", ordinal, places["texts"])]
    columns = ColumnTransformer([part for part in parts if part[2]])
    boosting = HistGradientBoostingRegressor if contract.task == "regression" else HistGradientBoostingClassifier
    return Pipeline([("encode", Encode(features)), ("columns", columns), ("estimator", boosting(**estimator))])
