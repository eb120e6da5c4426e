import numpy as np
import pytest
from rows import valid_rows

from {{ cookiecutter.__package }}.encoding import encoded_names
from {{ cookiecutter.__package }}.metrics import encode_target
from {{ cookiecutter.__package }}.model import Encode, build_model
from {{ cookiecutter.__package }}.params import TrainParams, load
from {{ cookiecutter.__package }}.schema import CONTRACT
from {{ cookiecutter.__package }}.stages.export import convert, snap_thresholds

FEATURES = CONTRACT.to_json()["features"]
NAMES = [feature["name"] for feature in FEATURES]


@pytest.fixture(scope="module")
def fitted():
    rows = valid_rows(CONTRACT, 600)
    model = build_model(CONTRACT, load(TrainParams).estimator)
    return model.fit(rows[NAMES], encode_target(rows[CONTRACT.target], CONTRACT.to_json()["classes"]))


def answers(model, rows):
    return model.predict_proba(rows[NAMES]) if CONTRACT.classes else model.predict(rows[NAMES])


def test_the_model_of_this_project_answers_every_row(fitted):
    found = answers(fitted, valid_rows(CONTRACT, 50, seed=1))
    assert np.isfinite(found).all()
    assert len(found) == 50


def test_it_survives_missing_values_and_unknown_categories(fitted):
    rows = valid_rows(CONTRACT, 20, seed=1)
    for feature in CONTRACT.features:
        if feature.type == "category" and feature.unknown == "accept":
            rows[feature.name] = "never seen"
        elif feature.missing:
            rows[feature.name] = rows[feature.name].where([False] * len(rows))
    assert np.isfinite(answers(fitted, rows)).all()


def test_it_converts_to_onnx_with_the_same_answers(fitted):
    rows = valid_rows(CONTRACT, 300, seed=1)
    snap_thresholds(fitted)
    scale = 0.0 if CONTRACT.classes else float(rows[CONTRACT.target].std())
    assert convert(fitted, rows, FEATURES, scale)


def test_its_first_step_encodes_as_the_service_does():
    model = build_model(CONTRACT, load(TrainParams).estimator)
    assert isinstance(model[0], Encode)
    encoded = model[0].transform(valid_rows(CONTRACT, 3))
    numbers, texts = encoded_names(FEATURES)
    assert list(encoded) == [*numbers, *texts]
