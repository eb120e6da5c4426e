import json
import os
import subprocess
import sys

import numpy as np
import pytest
from bundles import fitted_bundle, linear_bundle
from rows import BINARY, MULTICLASS, REGRESSION, valid_rows

from {{ cookiecutter.__package }} import UserError, write_json
from {{ cookiecutter.__package }}.bundle import columns_of, load, replay, seal

NUMBERS = REGRESSION.__class__(task="regression", target="y", features=MULTICLASS.features)


@pytest.fixture
def bundle(tmp_path):
    return linear_bundle(tmp_path / "bundle", NUMBERS, valid_rows(NUMBERS, 20), 1.0, [2.0, -1.0])


@pytest.mark.parametrize(("begins", "tells"), [(load.__module__, False), ("onnxruntime", True)])
def test_a_bundle_tells_nobody_that_it_is_used(bundle, tmp_path, begins, tells):
    code = f"import sys, {begins}, onnxruntime; onnxruntime.InferenceSession(sys.argv[1])"
    quiet = ("CI", "PYTEST", "ORT_", "GITHUB", "GITLAB", "XDG_")  # where onnxruntime tells nothing by itself
    environment = {name: value for name, value in os.environ.items() if not name.startswith(quiet)}
    command = [sys.executable, "-c", code, str(bundle.path / "model.onnx")]
    subprocess.run(command, env=environment | {"HOME": str(tmp_path / "home")}, check=True, capture_output=True)
    assert any((tmp_path / "home").rglob("*")) == tells


def test_a_bundle_answers_what_its_graph_says(bundle):
    assert bundle.scores({"label": [0.5, None], "output": [1, 1]})[0] == 1.0
    assert len(bundle.version) == 12


@pytest.mark.parametrize("name", ["model.onnx", "contract.json", "golden.json", "reference/features.parquet"])
@pytest.mark.parametrize("change", ["changed", "missing"])
def test_a_file_that_is_not_as_sealed_is_refused(bundle, name, change):
    path = bundle.path / name
    if change == "changed":
        path.write_bytes(path.read_bytes() + b" ")
    else:
        path.unlink()
    with pytest.raises(UserError, match=f"{name} is not what the manifest says; restore the bundle"):
        load(bundle.path)


def test_an_added_file_is_refused(bundle):
    (bundle.path / "reference" / "extra").touch()
    with pytest.raises(UserError, match="reference/extra is not what the manifest says"):
        load(bundle.path)


@pytest.mark.parametrize("manifest", ["", "{"])
def test_a_broken_manifest_is_refused(bundle, manifest):
    (bundle.path / "manifest.json").write_text(manifest)
    with pytest.raises(UserError, match="the bundle cannot be read"):
        load(bundle.path)
    (bundle.path / "manifest.json").unlink()
    with pytest.raises(UserError, match="the bundle cannot be read"):
        load(bundle.path)


def test_another_content_is_another_version(bundle):
    before = load(bundle.path).version
    write_json(bundle.path / "contract.json", bundle.contract | {"target": "z"})
    assert seal(bundle.path) == load(bundle.path).version != before


def test_golden_rows_are_answered_as_on_the_day_of_export(bundle):
    replay(bundle)


def test_other_answers_to_the_golden_rows_are_refused(bundle):
    golden = json.loads((bundle.path / "golden.json").read_text())
    golden["scores"][3] += 0.01
    write_json(bundle.path / "golden.json", golden)
    with pytest.raises(UserError, match="golden rows are not answered as on the day of export"):
        replay(bundle)


def test_a_bundle_that_answers_nan_is_refused(tmp_path):
    broken = linear_bundle(tmp_path / "nan", NUMBERS, valid_rows(NUMBERS, 20), float("nan"), [1.0, 1.0])
    with pytest.raises(UserError, match="golden rows are not answered"):
        replay(broken)


@pytest.mark.parametrize("contract", [BINARY, MULTICLASS, REGRESSION])
def test_a_frame_and_its_json_rows_get_the_same_scores(contract, tmp_path):
    rows = valid_rows(contract, 60)
    bundle = fitted_bundle(tmp_path / "bundle", contract, rows)
    replay(bundle)
    golden = json.loads((bundle.path / "golden.json").read_text())
    np.testing.assert_array_equal(bundle.scores(columns_of(golden["rows"])), np.array(golden["scores"]))
    assert bundle.scores(rows).shape == ((60, len(contract.classes)) if contract.classes else (60,))


def test_a_binary_answer_is_a_class_and_the_positive_one_s_probability(tmp_path):
    bundle = fitted_bundle(tmp_path / "bundle", BINARY, valid_rows(BINARY, 40))
    answers = bundle.answers(np.array([[0.7, 0.3], [0.5, 0.5]]))
    assert answers == {"prediction": ["no", "yes"], "probability": [0.3, 0.5]}


def test_a_multiclass_answer_is_a_class_and_the_probability_of_each(tmp_path):
    bundle = fitted_bundle(tmp_path / "bundle", MULTICLASS, valid_rows(MULTICLASS, 40))
    answers = bundle.answers(np.array([[0.2, 0.5, 0.3]]))
    assert answers == {"prediction": [2], "probability": [{"1": 0.2, "2": 0.5, "3": 0.3}]}


def test_a_regression_s_answer_is_a_number(bundle):
    assert bundle.answers(np.array([1.5])) == {"prediction": [1.5]}


def test_the_first_golden_row_is_whole(tmp_path):
    bundle = fitted_bundle(tmp_path / "bundle", REGRESSION, valid_rows(REGRESSION, 40))
    golden = json.loads((bundle.path / "golden.json").read_text())
    assert None not in golden["rows"][0].values()
