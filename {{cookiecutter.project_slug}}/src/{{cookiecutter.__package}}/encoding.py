"""A checked row -> the numbers and texts that the model sees: numpy alone, the same in training and in the service.

Driven by the features of a `contract.json`, never by `schema.py`: an old champion goes on answering after the schema
has changed. So what a type does here is fixed for good; a changed behaviour gets a new type name.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

EPOCH = np.datetime64("2000-01-01", "us")
DAY = np.timedelta64(86_400_000_000, "us")


class Columns(Protocol):
    """Values by column name: a dictionary of lists, or a frame."""

    def __getitem__(self, name: str, /) -> Any: ...


def encoded_names(features: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """Return the names of the numbers and of the texts that `encode` makes, in its order."""
    numbers: list[str] = []
    for feature in features:
        if feature["type"] == "datetime":
            numbers += [f"{feature['name']}: {part}" for part in ("days", "month", "weekday", "hour")]
        elif feature["type"] != "category":
            numbers.append(feature["name"])
    return numbers, [feature["name"] for feature in features if feature["type"] == "category"]


def encode(features: Sequence[Mapping[str, Any]], columns: Columns) -> tuple[NDArray[np.float32], NDArray[np.object_]]:
    """Return (numbers, texts): shapes (rows, numbers) and (rows, texts), a missing number NaN, a missing text "".

    Numbers are cast to float32 here, before any estimator is fitted: trees in ONNX compare in float32, and a threshold
    that was learned on float64 would send rows near it the other way.
    """
    numbers: list[Any] = []
    texts: list[Any] = []
    for feature in features:
        values = columns[feature["name"]]
        if feature["type"] == "category":
            texts.append(_texts(values))
        elif feature["type"] == "datetime":
            numbers += _parts(values)
        else:
            numbers.append(values if isinstance(values, list) else np.asarray(values, dtype=np.float64))
    rows = len((numbers or texts)[0])
    with np.errstate(over="ignore"):
        if all(isinstance(column, list) for column in numbers + texts):  # a request, where each call of NumPy counts
            return _matrix(numbers, rows, np.float32), _matrix(texts, rows, object)
        words = np.array(texts, dtype=object).reshape(-1, rows).T
        return np.array(numbers, dtype=np.float64).reshape(-1, rows).T.astype(np.float32, order="C"), words


def _matrix(columns: list[list[Any]], rows: int, dtype: Any) -> NDArray[Any]:
    return np.array([*zip(*columns, strict=True)] if columns else [()] * rows, dtype=dtype)


def _texts(values: Any) -> Any:
    """Return the texts, None and NaN as ""."""
    if isinstance(values, list):
        return ["" if text is None or text != text else text for text in values]
    texts = np.array(values, dtype=object)
    texts[(texts == None) | (texts != texts)] = ""  # noqa: E711  element by element
    return texts


def _parts(values: Any) -> list[NDArray[np.float64]]:
    """Return days since 2000, month 1 to 12, weekday 0 (Monday) to 6, hour with fraction; raw epochs exceed float32."""
    moments = np.asarray(values, dtype="datetime64[us]")
    days = (moments - EPOCH) / DAY
    months = moments.astype("datetime64[M]").astype(np.float64) % 12 + 1
    months[np.isnat(moments)] = np.nan
    whole = np.floor(days)
    return [days, months, (whole + 5) % 7, (days - whole) * 24]  # 2000-01-01 was a Saturday
