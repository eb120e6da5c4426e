"""Bodies -> checked columns, and scores -> answers: the native protocol and the Open Inference Protocol, version 2.

Source: https://github.com/kserve/open-inference-protocol
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, NotRequired
from zlib import crc32

from pydantic import AfterValidator, Field, StrictBool, StrictStr, TypeAdapter, ValidationError
from pydantic_core import from_json

from .. import UserError
from ..checks import EVERY, INTEGERS, Checks, Number, list_of, record, sentence, whole

SPARE_KEYS = 50  # unknown ones in an object, beyond which it is not looked at
PARTS = 100_000  # values, lists and objects that any body may hold, whatever the contract
DATATYPES = {"number": "FP64", "integer": "INT64", "boolean": "BOOL", "category": "BYTES", "datetime": "BYTES"}


class Refusal(Exception):  # noqa: N818  it is no error of ours
    """A request that is not answered: status, one sentence that repeats nothing of it, and further headers."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers or {}


@dataclass(frozen=True)
class Question:
    """The rows of a request: as columns for the model, and what of each row is no feature (its time and id)."""

    columns: dict[str, list[Any]]
    rows: int
    kept: list[dict[str, Any]]
    tensors: bool = False
    id: str | None = None
    outputs: Sequence[str] = ()


PARAMETERS = NotRequired[dict[str, Any]]  # of no use to this service, but clients send them
SHAPE = Annotated[list[int], Field(min_length=1, max_length=2)]
TENSOR = {"name": "the name of a feature", "shape": "a list of one or two integers", "datatype": "a text"}
TENSOR |= {"data": "a list of values", "parameters": "an object"}
Tensor: Any = record("Tensor", dict(zip(TENSOR, (str, SHAPE, str, list[Any], PARAMETERS), strict=True)))
Output: Any = record("Output", {"name": str, "parameters": PARAMETERS})
INFERENCE_KEYS = {
    "id": NotRequired[str],
    "model_name": NotRequired[str],  # KServe's client says again what the path says
    "model_version": NotRequired[str | None],
    "inputs": list_of(Tensor),
    "outputs": NotRequired[list_of(Output)],
    "parameters": PARAMETERS,
}
INFERENCE: TypeAdapter[dict[str, Any]] = TypeAdapter(record("Inference", INFERENCE_KEYS))


def parsed(body: bytes, keys: int, most_parts: int, allow_inf_nan: bool = True) -> Any:
    """Return what a body holds, in time and memory that grow with what it may hold and not with what it does.

    Objects have little more than `keys` keys, since each unknown one is a mistake with words of its own; and values are
    counted before they are made. NaN is no JSON, but where each value is checked, its sentence says more.
    """
    if len(body) > PARTS and sum(map(body.count, (b",", b"[", b"{"))) > max(most_parts, PARTS):
        raise Refusal(400, "the body has more values than the rows of a request can have")
    try:
        found = from_json(body, allow_inf_nan=allow_inf_nan)
    except ValueError as error:
        raise Refusal(400, f"the body is no JSON in UTF-8: {error}") from error
    lists = [value for value in found.values() if isinstance(value, list)] if isinstance(found, dict) else []
    if any(isinstance(part, dict) and len(part) > keys + SPARE_KEYS for part in chain([found], *lists)):
        raise Refusal(400, f"an object has more than {keys + SPARE_KEYS} keys")
    return found


def new_ids(count: int) -> list[str]:
    """Return prediction ids: 96 random bits and a check of them, by which `is_ours` knows an id without keeping it."""
    drawn = os.urandom(12 * count).hex()
    parts = [f"p{drawn[at : at + 24]}" for at in range(0, 24 * count, 24)]
    return [f"{part}{crc32(part.encode()):08x}" for part in parts]


def is_ours(id: str) -> bool:
    """Return whether a service of this kind gave this id."""
    return len(id) == 33 and f"{crc32(id[:-8].encode()):08x}" == id[-8:]


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Refusal(400, "a key stands twice in one object; give each key once")
    return found


def refuse_duplicates(body: bytes) -> None:
    """Refuse a JSON body in which a key stands twice: parsers differ in which of the two they take."""
    try:
        json.loads(body.decode(), object_pairs_hook=_pairs)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the body holds what no number or list of this contract can be") from error


class Protocol:
    """Reads the requests that one contract allows, and words the answers to them."""

    def __init__(self, contract: dict[str, Any], max_rows: int) -> None:
        self.checks, self.max_rows = Checks(contract), max_rows
        self.time, self.id, self.classes = contract["time"], contract["id"], contract["classes"]
        self.kept = {
            column: name for column, name in ((self.id, "row_id"), (self.time, "row_time")) if column is not None
        }
        self.texts = [f["name"] for f in contract["features"] if f["type"] in ("category", "datetime")]
        kinds = {bool: StrictBool, int: whole(*INTEGERS), str: StrictStr}
        kind: Any = kinds[type(self.classes[0])] if self.classes else Number
        self.label = f"one of {', '.join(map(json.dumps, self.classes))}" if self.classes else "a number"
        if self.classes:
            kind = Annotated[kind, AfterValidator(self._class), Field(json_schema_extra={"enum": self.classes})]
        label = record("Label", {"id": Annotated[str, Field(min_length=1, max_length=200)], "label": kind})
        self.most_parts = 2 * max_rows * (len(self.checks.expected) + 2)  # as many commas in texts as between values
        self.instances = self._list("instances", self.checks.row)
        self.labels = self._list("labels", label)

    def _class(self, label: Any) -> Any:
        if label not in self.classes:
            raise ValueError
        return label

    def _list(self, name: str, kind: Any) -> TypeAdapter[dict[str, Any]]:
        """Return the type of a body with one key: a list that is not empty and not too long."""
        return TypeAdapter(record(name.capitalize(), {name: list_of(kind, self.max_rows)}))

    def read(self, body: bytes) -> Question:
        """Return the rows of a `/predict` body."""
        try:
            found = parsed(body, len(self.checks.expected), self.most_parts)
            rows = self.instances.validate_python(found)["instances"]
        except ValidationError as error:
            raise Refusal(400, sentence(error, self.checks.expected, 2, EVERY)) from error
        columns = {name: [row[name] for row in rows] for name in self.checks.features}
        kept = [{name: row[column] for column, name in self.kept.items() if column in row} for row in rows]
        texts = sum(len(rows) - columns[name].count(None) for name in self.texts)
        texts += sum(1 for row in kept for value in row.values() if value is not None)
        if body.count(b'"') != 2 * (1 + sum(map(len, rows)) + texts):  # each text has two quotes
            refuse_duplicates(body)
        return Question(columns, len(rows), kept)

    def read_labels(self, body: bytes) -> list[dict[str, Any]]:
        """Return the labels of a `/feedback` body, each a class of the contract or, of a regression, a number."""
        try:
            labels: list[dict[str, Any]] = self.labels.validate_python(parsed(body, 2, self.most_parts))["labels"]
        except ValidationError as error:
            raise Refusal(400, sentence(error, {"id": "the id of a prediction", "label": self.label}, 2)) from error
        refuse_duplicates(body)
        return labels

    def inputs(self) -> list[dict[str, Any]]:
        """Return the metadata of the inputs: one tensor a feature; time and id may be sent along."""
        features = self.checks.features.values()
        return [{"name": f["name"], "datatype": DATATYPES[f["type"]], "shape": [-1]} for f in features]

    def outputs(self) -> list[dict[str, Any]]:
        """Return the metadata of the outputs."""
        kinds = {bool: "BOOL", int: "INT64", str: "BYTES"}
        labels = kinds[type(self.classes[0])] if self.classes else "FP64"
        shape = [-1] if len(self.classes) == 2 else [-1, len(self.classes)]
        found = [{"name": "prediction", "datatype": labels, "shape": [-1]}]
        found += [{"name": "probability", "datatype": "FP64", "shape": shape}] if self.classes else []
        return [*found, {"name": "id", "datatype": "BYTES", "shape": [-1]}]

    def read_tensors(self, body: bytes) -> Question:
        """Return the rows of an inference request."""
        try:
            found = parsed(body, len(INFERENCE_KEYS), self.most_parts, allow_inf_nan=False)
            self._refuse_binary(found)
            request = INFERENCE.validate_python(found)
        except ValidationError as error:
            raise Refusal(400, sentence(error, TENSOR, 2)) from error
        refuse_duplicates(body)
        known = {meta["name"]: meta["datatype"] for meta in self.inputs()} | dict.fromkeys(self.kept, "BYTES")
        names = [tensor["name"] for tensor in request["inputs"]]
        if len(set(names)) < len(names):
            raise Refusal(400, "an input stands twice; give each feature once")
        if missing := [name for name in self.checks.features if name not in names]:
            raise Refusal(400, f"input {missing[0]!r} is missing; each feature is an input, a missing value is null")
        columns = {t["name"]: self._column(k, t, known) for k, t in enumerate(request["inputs"])}
        rows = len(columns[names[0]])
        if any(len(column) != rows for column in columns.values()):
            raise Refusal(400, "the inputs have different numbers of rows; give each the same shape")
        asked = [output["name"] for output in request.get("outputs", [])]
        if not {*asked} <= {meta["name"] for meta in self.outputs()}:
            raise Refusal(400, f"no such output; there are {', '.join(meta['name'] for meta in self.outputs())}")
        kept = [
            {name: columns[column][k] for column, name in self.kept.items() if column in columns} for k in range(rows)
        ]
        return Question(
            {name: columns[name] for name in self.checks.features}, rows, kept, True, request.get("id"), asked
        )

    def write_tensors(self, question: Question, found: dict[str, list[Any]], name: str, version: str) -> dict[str, Any]:
        """Return the answer to an inference request: `found` as tensors, all of them or those that were asked for."""
        tensors = []
        for meta in self.outputs():
            data, shape = found[meta["name"]], [question.rows, *meta["shape"][1:]]
            if shape[1:]:
                data = [p for row in data for p in row.values()]
            if meta["name"] in (question.outputs or [meta["name"]]):
                tensors.append(meta | {"shape": shape, "data": data})
        answer: dict[str, Any] = {"model_name": name, "model_version": version, "outputs": tensors}
        return answer if question.id is None else answer | {"id": question.id}

    def _refuse_binary(self, found: Any) -> None:
        inputs = found.get("inputs") if isinstance(found, dict) else None
        for tensor in inputs if isinstance(inputs, list) else []:
            parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
            if isinstance(parameters, dict) and "binary_data_size" in parameters:
                raise Refusal(400, BINARY)

    def _column(self, k: int, tensor: dict[str, Any], known: dict[str, str]) -> list[Any]:
        name, shape, data = tensor["name"], tensor["shape"], tensor["data"]
        if name not in known:
            raise Refusal(400, f"inputs[{k}]: no such input; the inputs are {', '.join(known)}")
        if tensor["datatype"] != known[name]:
            raise Refusal(400, f"inputs[{k}] ({name}): datatype {known[name]} is expected")
        if shape[1:] == [1] and all(isinstance(item, list) and len(item) == 1 for item in data):
            data = [item[0] for item in data]
        if shape[1:] not in ([], [1]) or shape[0] != len(data):
            raise Refusal(400, f"inputs[{k}] ({name}): shape [rows] with as many values in data is expected")
        if not 1 <= len(data) <= self.max_rows:
            raise Refusal(400, f"inputs[{k}] ({name}): 1 to {self.max_rows} rows are expected")
        try:
            return self.checks.column(name, data, f"inputs[{k}] ({name})")
        except UserError as error:
            raise Refusal(400, str(error)) from error


BINARY = "binary tensors are not read; send JSON, with tritonclient set_data_from_numpy(..., binary_data=False)"
