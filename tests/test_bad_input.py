"""Bad data and bad parameters: stopped with the thing, its value and the rule, and nothing earlier is touched."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tasks
import yaml
from projects import Project, turn

KEPT = ["data/valid/**/*", "data/split/**/*", "models/**/*", "reports/metrics.json", "reports/decision.json"]
BATCH = "data/labelled/came_back.parquet"

# A batch of 200 rows, new ids and later days, and what is done to it.
COME_BACK = """
import numpy as np, pandas as pd
from flight_delays import read_rows
rows = read_rows("data/valid/history.parquet").tail(200).reset_index(drop=True)
rows["parcel"] = pd.Series([f"N{{number:05}}" for number in range(len(rows))], dtype="str")
rows["sent"] += pd.Timedelta(days=1)
{change}
rows.to_parquet("data/labelled/came_back.parquet", index=False)
print("null")
"""

# change -> the column and the words of the rule that must be named
FAULTS = {
    "rows['weight'] = rows['weight'].round().astype('int64')": ("weight", "float64"),
    "rows['insured'] = rows['insured'].map({True: 'y', False: 'n'})": ("insured", "bool"),
    "rows.loc[3, 'visits'] = 41": ("visits", "0 to 40"),
    "rows.loc[3, 'weight'] = np.inf": ("weight", "0 to 60 kg"),
    "rows.loc[3, 'kind'] = 'crate'": ("kind", "box, letter, pallet"),
    "rows.loc[3, 'again'] = 'maybe'": ("again", "yes"),
    "rows = rows.drop(columns='kind')": ("kind", "missing column"),
    "rows = rows.rename(columns={'weight': 'mass'})": ("mass", "unexpected column"),
    "rows = rows.assign(colour='red')": ("colour", "unexpected column"),
    "rows['weight'] *= 1000": ("weight", "0 to 60 kg"),
    "rows.loc[10:150, 'weight'] = np.nan": ("weight", "missing value"),
    "rows.loc[10:150, 'visits'] = pd.NA": ("visits", "0.3 missing"),
    "rows.loc[3, 'sent'] = pd.NaT": ("sent", "missing value"),
    "rows.loc[3, 'ordered'] = pd.NaT": ("ordered", "missing value"),
    "rows.loc[3, 'parcel'] = 'P00007'": ("parcel", "duplicate"),
    "rows.loc[3, 'parcel'] = 'N00004'": ("parcel", "duplicate"),
    "rows = rows.head(0)": ("came_back", "at least one row"),
    "rows = rows[rows.columns[::-1]]": ("came_back", "order"),
}

# section -> lines that replace the section's first key or stand beside it, and what each must be answered with
MISTAKES = {
    "ingest": [("rows", "many", "rows is 'many'"), ("sede", "1", "did you mean seed")],
    "validate": [
        ("bad_rows", "ignore", "bad_rows is 'ignore'"),
        ("max_bad_share", "1.5", "max_bad_share is 1.5"),
        ("exampels", "3", "did you mean examples"),
    ],
    "split": [
        ("test_share", "1.5", "test_share is 1.5"),
        ("min_test_rows", "'many'", "min_test_rows is 'many'"),
        ("max_test_day", "30", "did you mean max_test_days"),
    ],
    "train": [("threshold", "best", "threshold is 'best'"), ("folds", "1", "folds is 1")],
    "export": [
        ("golden_rows", "0", "golden_rows is 0"),
        ("reference_rows", "1.5", "reference_rows is 1.5"),
        ("sed", "7", "did you mean seed"),
    ],
    "evaluate": [
        ("level", "95", "level is 95"),
        ("resamples", "'1000'", "resamples is '1000'"),
        ("slice_min_row", "500", "did you mean slice_min_rows"),
    ],
    "promote": [
        ("margin", "-0.01", "margin is -0.01"),
        ("max_latency_ms", ".nan", "max_latency_ms is nan"),
        ("replace", "5", "replace is 5"),
        ("min_efect", "0.002", "did you mean min_effect"),
    ],
    "monitor": [
        ("min_rows", "-1", "min_rows is -1"),
        ("windows_below", "4", "windows_below is 4; expected: at most monitor.windows, 3"),
        ("min_row", "200", "did you mean min_rows"),
    ],
}


@pytest.fixture(scope="module")
def patient(small_built: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of the small project that the tests of this module make ill, one after another."""
    return small_built.copy(tmp_path_factory.mktemp("patient"))


@pytest.fixture
def batch(patient: Project) -> Iterator[Project]:
    """Return that project; the batch that a test brings is taken away after it."""
    yield patient
    (patient.path / BATCH).unlink(missing_ok=True)


@pytest.fixture
def numbers(patient: Project) -> Iterator[Project]:
    """Return that project; params.yaml is put back after a test."""
    before = patient.read("params.yaml")
    yield patient
    patient.write("params.yaml", before)


@pytest.mark.parametrize(("change", "column", "rule"), [(c, *told) for c, told in FAULTS.items()], ids=list(FAULTS))
def test_bad_batch_is_stopped_with_column_and_rule_and_earlier_outputs_stay(
    batch: Project, change: str, column: str, rule: str
) -> None:
    before = batch.digests(*KEPT)
    batch.python(COME_BACK.format(change=change))
    done = batch.repro(code=None)
    assert done.ran[-1] == "validate"
    told = [line for line in done.output.splitlines() if f"'{column}'" in line and rule in line]
    assert told, done.output
    assert "Traceback" not in done.output
    assert batch.digests(*KEPT) == before
    failures = batch.json("reports/validation.json")["failures"]
    assert failures
    assert all(failure["rule"] for failure in failures)


def test_good_batch_joins_the_history(small: Project) -> None:
    small.python(COME_BACK.format(change=""))
    small.repro("split")
    assert small.json("reports/ingest.json")["returned"] == 200
    assert small.json("reports/validation.json")["rows"] == 2600


@pytest.mark.parametrize(
    ("name", "content"), [("rows.parquet", "a,b\n1,2\n"), ("rows.csv", "a,b\n"), ("history.parquet", "")]
)
def test_file_that_is_no_batch_is_refused_by_its_name(patient: Project, name: str, content: str) -> None:
    before, file = patient.digests(*KEPT), patient.path / "data/labelled" / name
    file.write_text(content)
    done = patient.repro(code=None)
    file.unlink()
    assert done.ran == ["ingest"]
    assert f"data/labelled/{name}" in done.output
    assert "Traceback" not in done.output
    assert patient.digests(*KEPT) == before


def test_one_class_only_is_stopped(numbers: Project) -> None:
    before = numbers.digests(*KEPT)
    numbers.set("ingest.only", '"no"')
    done = numbers.repro(code=None)
    assert done.ran == ["ingest", "validate"]
    assert done.lines("'again'")
    assert done.lines("more than one class")
    assert "Traceback" not in done.output
    assert numbers.digests(*KEPT) == before


def test_constant_target_of_a_regression_is_stopped(small: Project) -> None:
    turn(small, tasks.REGRESSION)
    small.set("ingest.constant", "true")
    before = small.digests(*KEPT)
    done = small.repro(code=None)
    assert done.ran == ["ingest", "validate"]
    assert [line for line in done.lines("'minutes'") if "more than one value" in line]
    assert "Traceback" not in done.output
    assert small.digests(*KEPT) == before


def test_one_bad_row_is_quarantined_and_the_pipeline_goes_on(small: Project) -> None:
    small.set("validate.bad_rows", "quarantine")
    small.set("validate.max_bad_share", "0.01")
    small.python(COME_BACK.format(change="rows.loc[3, 'weight'] = 61.0"))
    done = small.repro("evaluate")
    assert "evaluate" in done.ran
    quarantined = [line for file in sorted((small.path / "data/quarantine").iterdir()) for line in file.open()]
    assert len(quarantined) == 1
    assert '"N00003"' in quarantined[0]
    assert small.json("reports/validation.json")["bad_rows"] == 1
    assert small.json("reports/validation.json")["decision"] == "quarantined"


def test_more_bad_rows_than_the_share_are_refused(small: Project) -> None:
    small.set("validate.bad_rows", "quarantine")
    small.set("validate.max_bad_share", "0.01")
    before = small.digests(*KEPT)
    small.python(COME_BACK.format(change="rows.loc[3:100, 'weight'] = 61.0"))
    done = small.repro(code=None)
    assert done.ran == ["ingest", "validate"]
    assert done.lines("'weight'")
    assert "Traceback" not in done.output
    assert small.digests(*KEPT) == before


def others(project: Project, section: str) -> dict[str, str]:
    """Return the digests of what other stages made: DVC takes away what a stage is about to make anew."""
    stage = yaml.safe_load(project.read("dvc.yaml"))["stages"][section]
    named = [out if isinstance(out, dict) else {out: {}} for out in stage.get("outs", []) + stage.get("metrics", [])]
    own = tuple(path for out in named for path, options in out.items() if not options.get("persist"))
    return {name: digest for name, digest in project.digests(*KEPT).items() if not name.startswith(own)}


def edited(text: str, section: str, key: str, value: str) -> str:
    """Return params.yaml with `key: value` in a section: in the place of what it said, or as a new line."""
    found = re.search(rf"^{section}:\n(?:  .*\n)+", text, re.MULTILINE)
    assert found, section
    line = f"  {key}: {value}\n"
    block, count = re.subn(rf"^  {key}: .*\n", line, found[0], flags=re.MULTILINE)
    return text.replace(found[0], block if count else found[0] + line)


@pytest.mark.parametrize("section", MISTAKES)
def test_every_mistake_of_a_section_is_one_sentence_with_key_value_and_expectation(
    numbers: Project, section: str
) -> None:
    before, text = others(numbers, section), numbers.read("params.yaml")
    for key, value, _ in MISTAKES[section]:
        text = edited(text, section, key, value)
    yaml.safe_load(text)
    numbers.write("params.yaml", text)
    done = numbers.repro(code=None)
    assert done.ran[-1] == section
    for key, _, told in MISTAKES[section]:
        lines = done.lines(f"params.yaml: {section}.{key} ")
        assert len(lines) == 1, done.output
        assert told in lines[0].replace("did you mean '", "did you mean ")
        assert "expected" in lines[0] or "did you mean" in lines[0], lines[0]
    assert "Traceback" not in done.output
    assert before.items() <= others(numbers, section).items()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("max_itre", "100", "max_itre"),
        ("learning_rate", "-1", "learning_rate"),
        ("max_leaf_nodes", "'many'", "max_leaf_nodes"),
    ],
)
def test_estimator_parameter_that_scikit_learn_refuses_is_one_sentence(
    numbers: Project, key: str, value: str, told: str
) -> None:
    before = others(numbers, "train")
    numbers.write("params.yaml", edited(numbers.read("params.yaml"), "train", key, value))
    done = numbers.repro(code=None)
    assert done.ran == ["train"]
    lines = done.lines("params.yaml")
    assert [line for line in lines if told in line and "train" in line], done.output
    assert "Traceback" not in done.output
    assert before.items() <= others(numbers, "train").items()


def test_misspelt_section_is_one_sentence(numbers: Project) -> None:
    numbers.replace("params.yaml", "monitor:\n", "monitr:\n")
    done = numbers.repro(code=None)
    assert "Traceback" not in done.output
    assert "monitor" in done.output


def test_a_file_of_parameters_that_is_no_yaml_is_named(numbers: Project) -> None:
    numbers.write("params.yaml", "train: [\n")
    done = numbers.repro(code=None)
    assert "params.yaml" in done.output
    assert "Traceback" not in done.output


def test_missing_labelled_folder_names_itself(small_built: Project, tmp_path: Path) -> None:
    project = small_built.copy(tmp_path)
    for path in (project.path / "data/labelled").iterdir():
        path.unlink()
    (project.path / "data/labelled").rmdir()
    done = project.repro(code=None)
    assert "data/labelled" in done.output
    assert "Traceback" not in done.output
