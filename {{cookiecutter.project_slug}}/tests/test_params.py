import re
from datetime import date
from pathlib import Path

import pytest
import yaml

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.params import SECTIONS, PromoteParams, load, raw

WHOLE = yaml.safe_load(Path("params.yaml").read_text("utf-8"))


def refusal(tmp_path, section, content):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError) as told:
        load(SECTIONS[section], path)
    assert "\n" not in str(told.value)
    return str(told.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("section", SECTIONS)
def test_params_yaml_is_valid_and_frozen(section):
    params = load(SECTIONS[section])
    assert list(raw(section)) == [section]
    with pytest.raises(ValueError, match="frozen"):
        params.seed = 1


def test_every_key_of_params_yaml_carries_a_comment():
    lines = [line for line in Path("params.yaml").read_text("utf-8").splitlines() if line.startswith(" ")]
    assert [line for line in lines if "#" not in line] == []


@pytest.mark.parametrize(
    ("section", "key", "value", "told"),
    [
        ("split", "test_sahre", 0.3, "split.test_sahre is unknown; did you mean test_share?"),
        ("monitor", "zzz", 1, "monitor.zzz is unknown; known are min_rows"),
        ("split", "test_share", 1.5, "split.test_share is 1.5; expected: less than 1"),
        ("split", "test_share", "a third", "split.test_share is 'a third'; expected: a valid number"),
        ("split", "seed", True, "split.seed is True; expected: a valid integer"),
        ("export", "seed", 2**32, "export.seed is 4294967296; expected: less than 4294967296"),
        ("promote", "replace", "x", "promote.replace is 'x'; expected: a version, as the folders of models/versions/"),
        ("split", 1, 3, "the key 1 in split is no text; take it out, or quote it"),
        ("split", None, 3, "the key None in split is no text; take it out, or quote it"),
        ("split", "seed", 7.5, "split.seed is 7.5; expected: a valid integer"),
        ("validate", "bad_rows", "drop", "validate.bad_rows is 'drop'; expected: 'refuse' or 'quarantine'"),
        ("promote", "max_skill", float("inf"), "promote.max_skill is inf; expected: a finite number"),
        ("train", "threshold", "f2", "train.threshold is 'f2'; expected: a valid number or 'f1' or 'balanced"),
        ("ingest", "stream_from", "2013-13-45", "ingest.stream_from is '2013-13-45'; expected: a day, as in"),
        ("train", "folds", 1, "train.folds is 1; expected: greater than or equal to 2"),
        ("evaluate", "level", None, "evaluate.level is None; expected: a valid number"),
        ("monitor", "windows", 13, "monitor.windows is 13; expected: less than or equal to 12"),
        ("monitor", "windows_below", 4, "monitor.windows_below is 4; expected: at most monitor.windows, 3"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(tmp_path, section, key, value, told):
    assert refusal(tmp_path, section, WHOLE | {section: WHOLE[section] | {key: value}}).startswith(told)


def test_a_day_without_quotes_is_told_to_have_some(tmp_path):
    day = {"stream_from": date(2013, 10, 1)}
    told = refusal(tmp_path, "ingest", WHOLE | {"ingest": WHOLE["ingest"] | day})
    assert told == "ingest.stream_from is the day 2013-10-01; put it in quotes"


@pytest.mark.parametrize(("text", "value"), [("1e-3", 0.001), ("1E-3", 0.001), ("0.001", 0.001), ("1.0e-3", 0.001)])
def test_a_number_may_have_an_exponent(tmp_path, text, value):
    path = tmp_path / "params.yaml"
    path.write_text(re.sub("min_effect: [0-9.]+", f"min_effect: {text}", Path("params.yaml").read_text("utf-8")))
    assert load(PromoteParams, path).min_effect == value


def test_a_missing_key_is_refused(tmp_path):
    without = {key: value for key, value in WHOLE["split"].items() if key != "seed"}
    assert refusal(tmp_path, "split", WHOLE | {"split": without}) == "split.seed is missing; add it"


def test_a_misspelt_key_of_train_is_suspected(tmp_path):
    misspelt = {"treshold" if key == "threshold" else key: value for key, value in WHOLE["train"].items()}
    told = "train.threshold is missing; is it meant by treshold?"
    assert refusal(tmp_path, "train", WHOLE | {"train": misspelt}) == told


@pytest.mark.parametrize("value", [1.5, 0, -1])
def test_a_threshold_is_a_probability(tmp_path, value):
    assert f"train.threshold is {value}; expected: " in refusal(
        tmp_path, "train", WHOLE | {"train": {"threshold": value, "folds": 2}}
    )


def test_what_is_no_section_is_refused(tmp_path):
    assert refusal(tmp_path, "split", WHOLE | {"split": 5}) == "split is 5; expected: keys with values"
    assert refusal(tmp_path, "split", [1]).endswith("params.yaml is [1]; expected: sections with keys and values")


def test_what_is_no_yaml_is_refused(tmp_path):
    (tmp_path / "params.yaml").write_text("split: {a")
    with pytest.raises(UserError, match="is not YAML in UTF-8: while parsing"):
        load(SECTIONS["split"], tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_bytes("split: {a: £}".encode("latin-1"))
    with pytest.raises(UserError, match="is not YAML in UTF-8: 'utf-8' codec"):
        load(SECTIONS["split"], tmp_path / "params.yaml")


def test_an_unknown_section_is_refused_by_every_stage(tmp_path):
    for section in SECTIONS:
        told = refusal(tmp_path, section, WHOLE | {"spilt": {}})
        assert told == "section spilt is unknown; did you mean split?"


def test_all_mistakes_are_told_at_once(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("split: {test_share: 2, max_test_days: 0, min_test_rows: 1}\nspilt: {}")
    with pytest.raises(UserError) as told:
        load(SECTIONS["split"], path)
    assert len(str(told.value).splitlines()) == 4


def test_what_train_does_not_know_goes_to_the_estimator(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("train: {threshold: f1, folds: 2, max_depth: 3, C: 1.5}")
    assert load(SECTIONS["train"], path).estimator == {"max_depth": 3, "C": 1.5}
