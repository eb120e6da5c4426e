import json

from rows import valid_rows

from {{ cookiecutter.__package }}.contract import Contract
from {{ cookiecutter.__package }}.encoding import encode
from {{ cookiecutter.__package }}.params import ValidateParams
from {{ cookiecutter.__package }}.schema import CONTRACT
from {{ cookiecutter.__package }}.stages.validate import validate

REFUSE = ValidateParams(bad_rows="refuse", max_bad_share=0.0, examples=3)


def test_the_contract_is_one_and_survives_json():
    assert isinstance(CONTRACT, Contract)
    assert [feature["name"] for feature in json.loads(json.dumps(CONTRACT.to_json()))["features"]]


def test_rows_drawn_from_the_contract_are_valid():
    rows = valid_rows(CONTRACT, 100)
    report, _ = validate({"rows": rows}, CONTRACT, REFUSE)
    assert report["failures"] == []
    assert list(rows) == CONTRACT.columns


def test_a_column_that_the_contract_does_not_name_is_refused():
    rows = valid_rows(CONTRACT, 100).assign(stranger=1)
    report, _ = validate({"rows": rows}, CONTRACT, REFUSE)
    assert [(found["column"], found["rule"]) for found in report["failures"]] == [("stranger", "no unexpected column")]


def test_time_id_and_personal_columns_are_never_shown_to_the_model():
    features = CONTRACT.to_json()["features"]
    assert not {feature["name"] for feature in features} & {
        CONTRACT.time,
        CONTRACT.id,
        CONTRACT.target,
        *CONTRACT.personal,
    }
    numbers, texts = encode(features, valid_rows(CONTRACT, 5))
    assert len(numbers) == len(texts) == 5
