"""An independent reading of a bundle's contract.json: may this body be answered, or must it be refused?

Strict where the contract speaks, silent (None) where it does not: 5.0 for an integer, an empty text, a date without a
time, and the like may be either.
"""

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?", re.ASCII)
ZONE = re.compile(r"[Zz]|[T ].*[+-]", re.ASCII)
DATATYPES = {"number": "FP64", "integer": "INT64", "boolean": "BOOL", "category": "BYTES", "datetime": "BYTES"}
Verdict = bool | None


def both(verdicts: Iterable[Verdict]) -> Verdict:
    """Return False if one is False, else None if one is None, else True."""
    found = list(verdicts)
    return False if False in found else None if None in found else True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def parsed(body: bytes) -> Any:
    """Return what strict JSON in UTF-8 says.

    Raises:
        ValueError: it is none, a key stands twice, or a text holds half a character.
    """
    found = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    json.dumps(found, ensure_ascii=False).encode("utf-8")
    return found


class Oracle:
    """What one contract allows."""

    def __init__(self, contract: dict[str, Any], outputs: Iterable[str], max_rows: int = 10_000) -> None:
        self.features = {feature["name"]: feature for feature in contract["features"]}
        self.time, self.id = contract["time"], contract["id"]
        self.optional = {name for name in (self.time, self.id) if name}
        self.outputs, self.max_rows = set(outputs), max_rows

    def value(self, name: str, value: Any) -> Verdict:
        """Return whether a column may hold this value."""
        feature = self.features.get(name, {"type": "datetime" if name == self.time else "text"})
        if value is None:
            return feature["missing"] > 0 if name in self.features else None
        if feature["type"] == "boolean":
            return isinstance(value, bool)
        if feature["type"] in ("number", "integer"):
            return self._number(feature, value)
        return self._text(feature, value) if isinstance(value, str) else False

    def _number(self, feature: dict[str, Any], value: Any) -> Verdict:
        low, high = feature["range"] or (-3.4e38, 3.4e38)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            return False
        if feature["type"] == "integer" and isinstance(value, float):
            return None if value.is_integer() else False
        return True

    def _text(self, feature: dict[str, Any], value: str) -> Verdict:
        if feature["type"] == "datetime":
            return self._moment(value)
        if feature["type"] == "category" and feature["unknown"] == "refuse":
            return value in feature["categories"]
        return True if 0 < len(value) <= 200 and value.isprintable() else None

    def _moment(self, value: str) -> Verdict:
        try:
            datetime.fromisoformat(value)
        except ValueError:
            return None if re.fullmatch(r"\d{4}-\d\d-\d\d[Tt _]24:00(:00(\.0+)?)?", value) else False
        return False if ZONE.search(value) else True if MOMENT.fullmatch(value) else None

    def predict(self, body: bytes) -> Verdict:
        """Return whether this is a body for `/predict`."""
        try:
            found = parsed(body)
        except (ValueError, RecursionError, OverflowError):
            return False
        if not isinstance(found, dict) or list(found) != ["instances"] or not isinstance(found["instances"], list):
            return False
        rows = found["instances"]
        if not 1 <= len(rows) <= self.max_rows:
            return False
        return both(self._row(row) for row in rows)

    def _row(self, row: Any) -> Verdict:
        if not isinstance(row, dict) or not set(self.features) <= set(row) <= set(self.features) | self.optional:
            return False
        return both(self.value(name, value) for name, value in row.items())

    def infer(self, body: bytes) -> Verdict:
        """Return whether this is an inference request."""
        try:
            found = parsed(body)
        except (ValueError, RecursionError, OverflowError):
            return False
        if not isinstance(found, dict) or not {"inputs"} <= set(found) <= {"inputs", "id", "parameters", "outputs"}:
            return False
        inputs, outputs = found["inputs"], found.get("outputs", [])
        whole = (
            isinstance(found.get("id", ""), str)
            and isinstance(found.get("parameters", {}), dict)
            and isinstance(inputs, list)
            and all(isinstance(tensor, dict) and isinstance(tensor.get("data"), list) for tensor in inputs)
            and isinstance(outputs, list)
            and all(isinstance(output, dict) and str(output.get("name")) in self.outputs for output in outputs)
        )
        return whole and self._complete(inputs) and both([*map(self._tensor, inputs), *map(_plain_output, outputs)])

    def _complete(self, inputs: list[dict[str, Any]]) -> bool:
        names = [tensor.get("name") for tensor in inputs]
        if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            return False
        rows = {len(tensor["data"]) for tensor in inputs}
        known = set(self.features) <= set(names) <= set(self.features) | self.optional
        return known and len(rows) == 1 and 1 <= min(rows) <= self.max_rows

    def _tensor(self, tensor: dict[str, Any]) -> Verdict:
        if (
            not {"name", "shape", "datatype", "data"}
            <= set(tensor)
            <= {"name", "shape", "datatype", "data", "parameters"}
        ):
            return False
        parameters = tensor.get("parameters", {})
        if not isinstance(parameters, dict) or "binary_data_size" in parameters:
            return False
        name, shape, data = tensor["name"], tensor["shape"], tensor["data"]
        kind = self.features[name]["type"] if name in self.features else "category"
        if tensor["datatype"] != DATATYPES[kind] or shape not in ([len(data)], [len(data), 1]):
            return False
        if not all(type(size) is int for size in shape):
            return None
        nested = len(shape) == 2 and all(isinstance(item, list) and len(item) == 1 for item in data)
        values = [item[0] for item in data] if nested else data
        return both([None if nested else True, *(self.value(name, value) for value in values)])


def _plain_output(output: dict[str, Any]) -> Verdict:
    return True if set(output) <= {"name"} else None if isinstance(output.get("parameters", {}), dict) else False
