import re

import pytest
from rows import BINARY, MULTICLASS, REGRESSION
from services import running, serving, settings_in

NAMED, VERSION = "{name}", "{version}"
ROUTES = {"/predict": {"post"}, "/feedback": {"post"}}  # infer is described by the Open Inference Protocol
ROUTES |= {path: {"get"} for path in ("/example", "/model", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models")}
for path in (f"/v2/models/{NAMED}", f"/v2/models/{NAMED}/versions/{VERSION}"):
    ROUTES |= {path: {"get"}, f"{path}/ready": {"get"}}


@pytest.fixture(scope="module", params=[BINARY, MULTICLASS, REGRESSION], ids=lambda contract: contract.task)
def served(request, tmp_path_factory):
    """Return a contract and the document of a service that serves it."""
    with serving(request.param, tmp_path_factory.mktemp(request.param.task)) as (_, ask):
        return request.param, ask("GET", "/openapi.json").json


def asked(document, path):
    """Return the schema of one item of a body, and whether the body allows another key."""
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    ((name, items),) = schema["properties"].items()
    assert schema["required"] == [name]
    item = items["items"].get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][item] if item else items["items"]


def test_every_route_stands_in_the_document(served):
    _, document = served
    assert {path: set(methods) for path, methods in document["paths"].items()} == ROUTES
    for path, methods in document["paths"].items():
        for method in methods.values():
            assert [told["name"] for told in method.get("parameters", [])] == re.findall(r"{(\w+)}", path)


def test_the_schema_of_a_row_is_the_contract(served):
    contract, document = served
    row = asked(document, "/predict")
    features = [feature.name for feature in contract.features]
    assert row["required"] == features
    assert set(row["properties"]) == {*features, *filter(None, (contract.time, contract.id))}
    assert row["additionalProperties"] is False
    for feature in contract.features:
        allowed = row["properties"][feature.name]
        kinds = [kind.get("type") for kind in allowed.get("anyOf", [allowed])]
        assert ("null" in kinds) == (feature.missing > 0)
        type_ = {"category": "string", "datetime": "string"}.get(feature.type, feature.type)
        assert type_ in kinds


def test_the_schema_of_a_label_is_a_class_or_a_number(served):
    contract, document = served
    label = asked(document, "/feedback")["properties"]["label"]
    assert label.get("enum", label.get("type")) == (contract.to_json()["classes"] or "number")


def test_every_reference_resolves_and_every_refusal_is_described(served):
    _, document = served
    named = set(re.findall("'#/components/schemas/([^']+)'", str(document)))
    assert named <= set(document["components"]["schemas"])
    for path in ("/predict", "/feedback"):
        assert {"200", "400", "408", "413", "415", "503"} <= set(document["paths"][path]["post"]["responses"])
    answers = document["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answers["required"] == ["model_version", "predictions"]
    assert "422" not in str(document["paths"])


def test_without_a_model_the_bodies_are_left_out(tmp_path):
    with running(settings_in(tmp_path)) as ask:
        answer = ask("GET", "/openapi.json")
    assert answer.status == 200
    assert "requestBody" not in str(answer.json["paths"].get("/predict"))
    assert {"/example", "/v2/health/ready"} <= set(answer.json["paths"])
