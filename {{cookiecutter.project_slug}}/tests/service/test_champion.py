import asyncio
import json
import logging
import os
import re
import shutil

import pytest
from bundles import fitted_bundle
from rows import REGRESSION, valid_rows
from services import metric, number_bundle, point, promote, promote_numbers, settings_in

from {{ cookiecutter.__package }} import read_json, write, write_json
from {{ cookiecutter.__package }}.bundle import seal
from {{ cookiecutter.__package }}.service.champion import Champion, Model
from {{ cookiecutter.__package }}.service.counters import Counters


@pytest.fixture
def champion(tmp_path):
    settings = settings_in(tmp_path)
    return Champion(settings, Counters(), "demo")


def look(champion):
    """Look at the pointer as the service does, and return (version that answers, why no newer one)."""
    asyncio.run(champion.look())
    return champion.model and champion.model.version, champion.reason


def counted(champion):
    return [metric(champion.counters, f"model_{name}_total") for name in ("swaps", "load_failures")]


def test_what_the_pointer_names_is_taken_up_once(champion, tmp_path):
    version = promote_numbers(tmp_path / "models", 1.0)
    assert look(champion) == (version, "")
    shutil.rmtree(tmp_path / "models/versions")  # who loaded again would miss it,
    stat = champion.pointer.stat()  # and who read the pointer again would find no JSON
    champion.pointer.write_text("x" * stat.st_size)
    os.utime(champion.pointer, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    taken = champion.model
    assert look(champion) == (version, "")
    point(tmp_path / "models", version)  # as when another version is blocked
    assert look(champion) == (version, "")
    assert champion.model is taken
    assert counted(champion) == [1, 0]


def test_a_rollback_is_a_swap_like_any_other_and_one_version_is_told(champion, tmp_path):
    first = promote_numbers(tmp_path / "models", 1.0)
    assert look(champion) == (first, "")
    second = promote_numbers(tmp_path / "models", 2.0)
    assert look(champion) == (second, "")
    assert champion.model.bundle.scores({"label": [0], "output": [0]}) == 2
    point(tmp_path / "models", first)
    assert look(champion) == (first, "")
    assert counted(champion) == [3, 0]
    assert metric(champion.counters, "model_info", name="demo", version=first) == 1
    assert metric(champion.counters, "model_info", name="demo", version=second) == 0


def other_answers(path):
    golden = read_json(path / "golden.json")
    golden["scores"][0] += 0.1
    write_json(path / "golden.json", golden)


def refuses_its_example(path):
    contract = read_json(path / "contract.json")
    contract["features"][0]["range"] = [2, 3]
    write_json(path / "contract.json", contract)


def lacks_a_column(path):
    contract = read_json(path / "contract.json")
    write_json(path / "contract.json", contract | {"features": contract["features"][:1]})


def no_graph(path):
    write(path / "model.onnx", b"no graph")


SEALED = {  # sealed anew: what the manifest cannot see
    other_answers: "golden rows are not answered as on the day of export",
    refuses_its_example: r"Refusal: instances\[0\]\.label: a number from 2 to 3 is expected",
    lacks_a_column: "Got: 1 Expected: 2|InvalidArgument",
    no_graph: "InvalidProtobuf|InvalidGraph|Fail",
}


@pytest.mark.parametrize("spoil", SEALED)
def test_a_bundle_that_does_wrong_is_refused_and_the_old_one_answers_on(champion, tmp_path, spoil, caplog):
    old = promote_numbers(tmp_path / "models", 1.0)
    look(champion)
    bad = number_bundle(tmp_path / "models/draft", 2.0).path
    spoil(bad)
    promote(tmp_path / "models", bad, seal(bad))
    with caplog.at_level(logging.ERROR):
        found = {look(champion) for _ in range(3)}
    ((version, reason),) = found
    assert version == old
    assert re.search(SEALED[spoil], reason)
    assert counted(champion) == [1, 1]
    assert [record.getMessage() for record in caplog.records] == [f"no new model taken up: {reason}"]
    point(tmp_path / "models", old)
    assert look(champion) == (old, "")


def changed(path):
    write(path / "model.onnx", (path / "model.onnx").read_bytes() + b" ")


def another_in_its_place(path):
    shutil.rmtree(path)
    number_bundle(path, 3.0)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (changed, "model.onnx is not what the manifest says; restore the bundle with `dvc checkout`"),
        (shutil.rmtree, "the bundle cannot be read"),
        (another_in_its_place, "holds bundle [0-9a-f]{12}; restore it with `dvc checkout`"),
    ],
)
def test_a_first_bundle_that_is_not_itself_is_refused_until_it_is_restored(champion, tmp_path, spoil, sentence):
    version = promote_numbers(tmp_path / "models", 1.0)
    path = tmp_path / "models/versions" / version / "bundle"
    kept = shutil.copytree(path, tmp_path / "kept")
    spoil(path)
    found, reason = look(champion)
    assert found is None
    assert re.search(sentence, reason)
    shutil.rmtree(path, ignore_errors=True)
    kept.rename(path)
    assert look(champion) == (version, "")
    assert counted(champion) == [1, 1]


@pytest.mark.parametrize("text", [None, "", '{"vers', "[]", "{}", '{"version": 5}', '{"version": null}'])
def test_a_pointer_that_names_nothing_leaves_the_old_one_until_it_names_one(champion, tmp_path, text):
    version = promote_numbers(tmp_path / "models", 1.0)
    look(champion)
    pointer = tmp_path / "models/champion.json"
    pointer.unlink()
    if text is not None:
        pointer.write_text(text)
    found, reason = look(champion)
    assert found == version
    assert reason
    point(tmp_path / "models", version)
    assert look(champion) == (version, "")


def test_without_a_version_the_reason_says_what_to_do_and_nothing_has_failed(champion, tmp_path):
    point(tmp_path / "models", None)
    assert look(champion) == (None, f"{champion.pointer} names no version yet; run `make pipeline`")
    assert counted(champion) == [0, 0]


def test_the_reason_of_a_refused_first_version_is_told(champion, tmp_path):
    point(tmp_path / "models", None)
    decision = {"decision": "refused", "reasons": ["log loss 0.9 is above 0.5", "too few rows"]}
    write_json(tmp_path / "reports/decision.json", decision)
    assert look(champion)[1].endswith("the gate refused the last one: log loss 0.9 is above 0.5; too few rows")


@pytest.mark.parametrize("most", [1, 10])
def test_the_example_is_valid_whatever_the_limit_of_rows(tmp_path, most):
    model = Model(number_bundle(tmp_path / "bundle", 1.0), max_rows=most)
    assert model.protocol.read(model.example).rows <= most
    assert None not in json.loads(model.example)["instances"][0].values()


def test_values_beyond_what_training_saw_are_counted(tmp_path):
    bundle = fitted_bundle(tmp_path / "bundle", REGRESSION, valid_rows(REGRESSION, 40))
    for feature in bundle.contract["features"]:
        feature |= {"seen": [-5, 5]} if feature["type"] == "number" else {}
    model = Model(bundle, max_rows=10)
    columns = {
        "texts": ["one", "never", None, "never"],
        "built": ["2020-01-01", None, "1000-01-01", "2020-01-01"],
        "input: size": [5, 5.1, None, -1e30],
    }
    scores, encoded = model.scores(columns)
    _, within = model.scores({name: values[:1] for name, values in columns.items()})
    assert scores.shape == (4,)
    assert model.outside([within]) == {}
    assert model.outside([encoded, within, encoded]) == {"texts": 4, "input: size": 4}
