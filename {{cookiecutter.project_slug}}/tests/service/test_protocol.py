import json
import re
import tracemalloc
from datetime import datetime

import pytest
from rows import BINARY, MULTICLASS, REGRESSION
from services import MARKER, body_of, tensors_of

from {{ cookiecutter.__package }}.checks import MOMENT
from {{ cookiecutter.__package }}.contract import Contract, Feature
from {{ cookiecutter.__package }}.service import protocol
from {{ cookiecutter.__package }}.service.protocol import Protocol, Question, Refusal

ROW = {"petal length (cm)": 1.5, "probabilities": "a", "numbers": None, "scores": True}
COLUMNS = ", ".join([*ROW, "day", "row"])
KEPT = {"day": "2024-01-02", "row": "row 7"}
FLAGS = Contract(task="binary", target="y", classes=(False, True), positive=True, features=(Feature("size", "number"),))
SHARED = Contract(  # names that the protocols use for their own keys
    task="regression",
    target="y",
    id="id",
    features=tuple(Feature(name, "number") for name in ("instances", "labels", "label", "inputs", "data", "shape")),
)


@pytest.fixture
def binary():
    return Protocol(BINARY.to_json(), max_rows=3)


def refused(read, body):
    """Return the sentence with which a body is refused."""
    with pytest.raises(Refusal) as found:
        read(body if isinstance(body, bytes) else json.dumps(body).encode())
    assert found.value.status == 400
    assert MARKER not in found.value.sentence
    return found.value.sentence


def labels(*labels):
    return {"labels": [{"id": "a", "label": label} for label in labels]}


def test_rows_become_columns_and_time_and_id_are_kept_beside_them(binary):
    assert binary.read(body_of([ROW, ROW | KEPT, ROW | {"day": None}])) == Question(
        columns={name: [value] * 3 for name, value in ROW.items()},
        rows=3,
        kept=[{}, {"row_id": "row 7", "row_time": "2024-01-02T00:00:00"}, {"row_time": None}],
    )


def test_a_contract_without_time_and_id_keeps_nothing():
    question = Protocol(MULTICLASS.to_json(), 3).read(body_of([{"label": 0, "output": 1}]))
    assert question == Question({"label": [0.0], "output": [1]}, 1, [{}])


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "the body is no JSON in UTF-8: EOF while parsing a value at line 1 column 0"),
        (b"\xff", "the body is no JSON in UTF-8: expected value at line 1 column 1"),
        ([MARKER], "the body: input should be an object"),
        ({"instances": [ROW], MARKER: 1}, "the object has an unknown key"),
        ({"instances": [ROW | {MARKER: 1}]}, f"instances[0] has an unknown key; its keys are {COLUMNS}"),
        ({"instances": [ROW, {**ROW, "scores": MARKER}]}, "instances[1].scores: true or false is expected"),
    ],
)
def test_a_body_that_breaks_the_contract_is_refused_in_a_sentence(binary, body, sentence):
    assert refused(binary.read, body) == sentence


@pytest.mark.parametrize("count", [0, 4])
def test_rows_are_at_least_one_and_at_most_what_is_set(binary, count):
    assert refused(binary.read, body_of([ROW] * count)).startswith("instances: list should have at ")
    assert refused(binary.read_labels, labels(*["yes"] * count)).startswith("labels: list should have at ")
    assert "1 to 3 rows" in refused(binary.read_tensors, tensors_of(binary, [ROW] * count))


@pytest.mark.parametrize("twice", ['"scores": false, "scores": true', r'"scores": false, "\u0073cores": true'])
@pytest.mark.parametrize("row", [{}, KEPT, {"probabilities": None}], ids=["features", "all", "null"])
def test_a_key_that_stands_twice_is_refused(binary, twice, row):
    body = body_of([ROW | row])
    assert binary.read(body).columns["scores"] == [True]
    assert "twice" in refused(binary.read, body.replace(b'"scores": true', twice.encode()))
    assert "twice" in refused(binary.read, body[:-1] + b', "instances": [' + body[15:])
    tensors = tensors_of(binary, [ROW])
    assert "twice" in refused(binary.read_tensors, tensors.replace(b'"shape"', b'"shape": [9], "shape"', 1))


def test_a_text_may_hold_quotes_and_backslashes():
    row = {"texts": '"a": \\ "b"', "built": None, "input: size": None}
    assert Protocol(REGRESSION.to_json(), 3).read(body_of([row])).columns["texts"] == [row["texts"]]


@pytest.mark.parametrize(
    ("contract", "good", "bad"),
    [
        (BINARY, ["yes", "no"], [None, True, "YES", "", 1, MARKER]),
        (MULTICLASS, [1, 2, 3.0], [None, 0, "1", 1.5, True, [1]]),
        (FLAGS, [True, False], [None, 1, 0, "true"]),
        (REGRESSION, [0, -1.5, 1e300], [None, "1", True, float("nan"), float("inf")]),
    ],
    ids=["texts", "integers", "booleans", "regression"],
)
def test_a_label_is_a_class_or_of_a_regression_a_number(contract, good, bad):
    read = Protocol(contract.to_json(), 10).read_labels
    assert read(json.dumps(labels(*good)).encode()) == labels(*good)["labels"]
    for label in bad:
        assert refused(read, labels(label)).startswith("labels[0].label: ")


@pytest.mark.parametrize(
    ("label", "place"),
    [
        ({"id": 5, "label": "yes"}, "labels[0].id"),
        ({"id": "", "label": "yes"}, "labels[0].id"),
        ({"id": MARKER * 30, "label": "yes"}, "labels[0].id"),
        ({"id": "a"}, "labels[0].label is missing"),
        ({"id": "a", "label": "no", MARKER: 1}, "labels[0] has an unknown key; its keys are id, label"),
    ],
)
def test_a_label_names_one_prediction_and_holds_nothing_else(binary, label, place):
    assert refused(binary.read_labels, {"labels": [label]}).startswith(place)
    assert "twice" in refused(binary.read_labels, b'{"labels": [{"id": "a", "id": "b", "label": "no"}]}')


def test_a_feature_named_as_a_key_of_the_protocol_changes_no_sentence():
    protocol = Protocol(SHARED.to_json(), 3)
    tensor = {"name": "data", "shape": [1], "datatype": "FP64", "data": MARKER}
    for sentence in (
        refused(protocol.read, {"instances": 5}),
        refused(protocol.read_labels, {"labels": []}),
        refused(protocol.read_labels, {"labels": [{"id": None, "label": 1}]}),
        refused(protocol.read_tensors, {"inputs": [tensor]}),
        refused(protocol.read_tensors, {"inputs": []}),
    ):
        assert not re.search("a number is expected|or null", sentence)
    assert "from -1 to 1" not in refused(Protocol(MULTICLASS.to_json(), 3).read_labels, labels(9))


def test_tensors_are_read_as_the_same_rows(binary):
    body = json.loads(tensors_of(binary, [ROW, ROW], id="request 5", outputs=[{"name": "id"}]))
    body["inputs"].append({"name": "row", "datatype": "BYTES", "shape": [2], "data": ["r1", None]})
    body["inputs"][0] |= {"shape": [2, 1], "data": [[1.5], [1.5]], "parameters": {"content_type": "np"}}
    body |= {"parameters": {"binary_data_output": True}, "model_name": "demo", "model_version": None}  # as KServe sends
    native = binary.read(body_of([ROW, ROW]))
    assert binary.read_tensors(json.dumps(body).encode()) == Question(
        native.columns, 2, [{"row_id": "r1"}, {"row_id": None}], tensors=True, id="request 5", outputs=["id"]
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"datatype": "FP32"}, r"inputs\[0\] \(petal length \(cm\)\): datatype FP64 is expected"),
        ({"name": MARKER}, r"input 'petal length \(cm\)' is missing"),
        ({"name": "scores"}, "an input stands twice"),
        ({"shape": [2]}, r"inputs\[0\] .*: shape \[rows\] with as many values in data is expected"),
        ({"shape": [1, 2], "data": [[1, 2]]}, r"shape \[rows\]"),
        ({"shape": [1, 1], "data": [[1, 2]]}, r"shape \[rows\]|a number"),
        ({"shape": []}, r"inputs\[0\]\.shape: "),
        ({"shape": ["1"]}, r"inputs\[0\]\.shape: "),
        ({"shape": [-1]}, r"shape \[rows\]"),
        ({"shape": [2], "data": [1, 1]}, "the inputs have different numbers of rows"),
        ({"data": [MARKER]}, r"inputs\[0\] \(petal length \(cm\)\)\[0\]: a number from 0 to 10 \(cm\), or null"),
        ({"data": MARKER}, r"inputs\[0\]\.data: "),
        ({MARKER: 1}, r"inputs\[0\] has an unknown key; its keys are name, shape, datatype, data, parameters$"),
        ({"parameters": {"binary_data_size": 8}}, "binary_data=False"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused_in_a_sentence(binary, change, sentence):
    body = json.loads(tensors_of(binary, [ROW]))
    body["inputs"][0] |= change
    assert re.search(sentence, refused(binary.read_tensors, body))


def test_a_request_that_is_none_is_refused_in_a_sentence(binary):
    body = json.loads(tensors_of(binary, [ROW]))
    assert "no JSON" in refused(binary.read_tensors, b"{")
    assert "no JSON" in refused(binary.read_tensors, tensors_of(binary, [ROW]).replace(b"1.5", b"NaN"))
    assert refused(binary.read_tensors, [])
    assert refused(binary.read_tensors, {"inputs": 5})
    assert refused(binary.read_tensors, {}).startswith("inputs is missing")
    missing = refused(binary.read_tensors, body | {"inputs": body["inputs"][1:]})
    assert missing.startswith("input 'petal length (cm)' is missing")
    assert refused(binary.read_tensors, body | {"id": 5}).startswith("id")
    outputs = refused(binary.read_tensors, body | {"outputs": [{"name": MARKER}]})
    assert outputs == "no such output; there are prediction, probability, id"
    assert refused(binary.read_tensors, body | {MARKER: 1}) == "the object has an unknown key"
    another = body | {"inputs": [*body["inputs"], body["inputs"][0] | {"name": MARKER}]}
    assert refused(binary.read_tensors, another).startswith(
        "inputs[4]: no such input; the inputs are petal length (cm)"
    )


@pytest.mark.parametrize(
    ("contract", "inputs", "outputs"),
    [
        (BINARY, "FP64 BYTES INT64 BOOL", [("prediction", "BYTES", [-1]), ("probability", "FP64", [-1])]),
        (MULTICLASS, "FP64 INT64", [("prediction", "INT64", [-1]), ("probability", "FP64", [-1, 3])]),
        (FLAGS, "FP64", [("prediction", "BOOL", [-1]), ("probability", "FP64", [-1])]),
        (REGRESSION, "BYTES BYTES FP64", [("prediction", "FP64", [-1])]),
    ],
    ids=["binary", "multiclass", "booleans", "regression"],
)
def test_the_metadata_tell_one_tensor_a_feature_and_what_comes_back(contract, inputs, outputs):
    protocol = Protocol(contract.to_json(), 3)
    names = [feature.name for feature in contract.features]
    assert protocol.inputs() == [
        {"name": name, "datatype": kind, "shape": [-1]} for name, kind in zip(names, inputs.split(), strict=True)
    ]
    assert [tuple(meta.values()) for meta in protocol.outputs()] == [*outputs, ("id", "BYTES", [-1])]


@pytest.mark.parametrize(
    ("contract", "prediction", "probability", "data", "shape"),
    [
        (BINARY, ["no", "yes"], [0.1, 0.9], [0.1, 0.9], [2]),
        (MULTICLASS, [1, 3], [{"1": 0.5, "2": 0.2, "3": 0.3}] * 2, [0.5, 0.2, 0.3] * 2, [2, 3]),
        (REGRESSION, [1.5, 2.5], None, None, None),
    ],
    ids=["binary", "multiclass", "regression"],
)
def test_an_answer_in_tensors_has_the_shapes_of_the_metadata(contract, prediction, probability, data, shape):
    protocol = Protocol(contract.to_json(), 3)
    found = {"id": ["a", "b"], "prediction": prediction, "probability": probability}
    answer = protocol.write_tensors(Question({}, 2, [], True, "request 5"), found, "demo", "v1")
    outputs = {output.pop("name"): output for output in answer.pop("outputs")}
    assert answer == {"model_name": "demo", "model_version": "v1", "id": "request 5"}
    assert outputs.pop("id") == {"datatype": "BYTES", "shape": [2], "data": ["a", "b"]}
    assert outputs.pop("prediction")["data"] == prediction
    assert outputs == ({"probability": {"datatype": "FP64", "shape": shape, "data": data}} if data else {})


def test_only_the_outputs_that_are_asked_for_come_back(binary):
    found = {"id": ["a"], "prediction": ["no"], "probability": [0.1]}
    answer = binary.write_tensors(Question({}, 1, [], True, None, ["id"]), found, "demo", "v1")
    assert [output["name"] for output in answer["outputs"]] == ["id"]
    assert "id" not in answer


def test_ids_are_all_different_and_known_as_ours():
    ids = protocol.new_ids(1000)
    assert len(set(ids)) == 1000
    assert all(map(protocol.is_ours, ids))
    others = ["", "p", MARKER, ids[0][:-1], ids[0] + "0", ids[0].upper(), "q" + ids[0][1:]]
    assert not any(map(protocol.is_ours, others))


MANY = b"[]," * 12_000
WIDE = b",".join(b'"k%d":1' % k for k in range(12_000))


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances":[{"probabilities":[' + MANY + b"1]}]}",
        b'{"instances":[{' + WIDE + b"}]}",
        b"{" + WIDE + b"}",
        b'{"labels":[{' + WIDE + b"}]}",
        b'{"inputs":[{' + WIDE + b"}]}",
        b'{"instances":[' + b"[" * 100 + b"]" * 100 + b"," + MANY * 30 + b"1]}",
    ],
    ids=["values", "keys of a row", "keys", "keys of a label", "keys of a tensor", "parts"],
)
@pytest.mark.parametrize("name", ["read", "read_labels", "read_tensors"])
def test_what_is_refused_costs_no_more_memory_than_what_is_answered(binary, name, body):
    read = getattr(binary, name)
    refused(read, body)  # what is made once
    tracemalloc.start()
    try:
        refused(read, body)
        assert tracemalloc.get_traced_memory()[1] < 12 * len(body) + 10**6
    finally:
        tracemalloc.stop()


def test_a_body_of_more_values_than_rows_can_have_is_refused_unread(binary, monkeypatch):
    monkeypatch.setattr(protocol, "from_json", None)
    assert "more values" in refused(binary.read, b'{"instances":[' + MANY * 30 + b"1]}")


@pytest.mark.parametrize("day", ["2012-02-29", "2000-02-29T23:59", "1996-02-29T00:00:00.5", "2013-12-31"])
def test_what_the_pattern_of_a_time_allows_is_a_time_leap_days_too(day):
    assert re.fullmatch(MOMENT, day)
    assert datetime.fromisoformat(day)


@pytest.mark.parametrize("day", ["2013-02-29", "1900-02-29", "2013-13-01", "2013-04-31"])
def test_what_is_no_day_does_not_fit_the_pattern(day):
    assert not re.fullmatch(MOMENT, day)
