import json
import shutil
from pathlib import Path

import pytest
import yaml
from tables import inside, orders

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.adoption.journal import HERE, Journal
from {{ cookiecutter.__package }}.adoption.plan import Wanted
from {{ cookiecutter.__package }}.commands import adopt
from {{ cookiecutter.__package }}.contract import Contract

FILES = ["params.yaml", "dvc.yaml", "pyproject.toml", "README.md", "requirements", "src", "tests"]
IN_USE = {
    name: name for name in ("models/versions/abc/card.md", "logs/predictions-1.jsonl", "data/production/a.parquet")
}
IN_USE["dvc.lock"] = "schema: '2.0'\nstages: {}\n"
CHAMPION = '{"version": "abc", "previous": null, "blocked": []}'


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Work in a copy of this project's files, with a champion and logs, and with `dvc add` written down."""
    here = Path.cwd()
    for name in FILES:
        ignored = shutil.ignore_patterns("__pycache__")
        target = tmp_path / name
        shutil.copytree(here / name, target, ignore=ignored) if Path(name).is_dir() else shutil.copy2(name, target)
    for name, text in IN_USE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "models/champion.json").write_text(CHAMPION)
    orders().to_csv(tmp_path / "My Orders.csv", index=False)
    given = []
    monkeypatch.setattr(adopt, "track", given.extend)
    with inside(tmp_path):
        yield given


def tree():
    left = ("data/raw/adopted.json", ".dvc/tmp/stage.lock", ".dvc/tmp/turn.lock")
    return {str(p): p.read_bytes() for p in sorted(Path().rglob("*")) if p.is_file() and str(p) not in left}


def turn(**flags):
    return adopt.adopt(
        Wanted.of({"DATA": "My Orders.csv", "TARGET": "left"} | flags),
        "DRY_RUN" in flags,
        "ACCEPT" in flags or turned(),
    )


def turned():
    """Return whether this project was turned to a table before this test: then its test has to accept."""
    return adopt.EXAMPLE not in Path(adopt.texts.HOME, "stages/ingest.py").read_text() and not adopt.STATE.exists()


def test_a_project_is_turned_and_what_was_in_use_is_kept_apart(project, capsys):
    told = turn()
    assert "400 rows of data/raw/my-orders.csv, binary of 'left' from 3 columns; what was in use is in retired/" in told
    assert project == [Path("data/raw/my-orders.csv")]
    assert Path("data/raw/my-orders.csv").read_bytes() == Path("My Orders.csv").read_bytes()
    stage = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]["ingest"]
    assert "data/raw/my-orders.csv" in stage["deps"]
    assert "requirements/train.lock" not in stage["deps"]
    assert adopt.EXAMPLE not in Path("pyproject.toml").read_text() + Path("requirements/train.lock").read_text()
    assert json.loads(Path("models/champion.json").read_text())["version"] is None
    (kept,) = Path("retired").iterdir()
    assert (kept / "models/champion.json").read_text() == CHAMPION
    for name, text in IN_USE.items():
        assert (kept / name).read_text() == text
        assert not Path(name).exists()
    assert "amount" in capsys.readouterr().out


def test_a_second_run_has_nothing_to_do_and_a_changed_file_shows_the_difference(project, capsys):
    turn()
    before = tree()
    assert "nothing is to be done" in turn()
    table = orders()
    table["visits"] += 100
    table.to_csv("My Orders.csv", index=False)
    before["My Orders.csv"] = Path("My Orders.csv").read_bytes()
    assert "nothing was changed; ACCEPT=1" in turn()
    assert tree() == before
    assert '+        Feature("visits", "integer", range=(92, ' in capsys.readouterr().out
    Path("models/champion.json").write_text(CHAMPION)
    assert "the champion stays" in turn(ACCEPT="1")
    assert Path("models/champion.json").read_text() == CHAMPION
    assert "range=(92, " in Path(adopt.texts.HOME, "schema.py").read_text()


def test_a_file_that_is_gone_is_written_anew(project):
    turn()
    Path("models/champion.json").write_text(CHAMPION)
    test = Path("tests/stages/test_ingest.py")
    test.unlink()
    assert "the champion stays" in turn(ACCEPT="1")
    assert test.exists()


def test_what_the_user_wrote_is_not_overwritten_unasked(project):
    turn()
    schema = Path(adopt.texts.HOME, "schema.py")
    schema.write_text(schema.read_text().replace("range=(0, 37)", "range=(0, 50)"))
    assert "nothing was changed; ACCEPT=1" in turn()
    assert "range=(0, 50)" in schema.read_text()


@pytest.mark.parametrize("data", ["data", "data/raw"])
def test_the_folder_of_raw_tables_is_no_table(project, data):
    Path("data/raw").mkdir(parents=True)
    shutil.copy2("My Orders.csv", "data/raw")
    before = tree()
    with pytest.raises(UserError, match=rf"DATA is '{data}', which holds data/raw, where tables are kept"):
        turn(DATA=data)
    assert tree() == before


def test_the_split_finds_every_class_rows_to_learn_from(project):
    table = orders(60).assign(left=lambda t: ["rare" if k < 5 else "ab"[k % 2] for k in t.index])
    for k in range(20):  # of some orders the project's own seed takes all rare rows for the test
        table["visits"] = table["visits"] + k
        table.to_csv("My Orders.csv", index=False)
        made = adopt.divided(adopt.plan(Wanted.of({"DATA": "My Orders.csv", "TARGET": "left"})))
        p = adopt.load(adopt.SplitParams).model_dump() | {
            name.split(".")[1]: value for name, (value, _) in made.numbers.items() if name.startswith("split.")
        }
        history = made.rows[~adopt.is_stream(made.rows, made.contract, made.params)]
        train, _ = adopt.split([history], made.contract, adopt.SplitParams(**p))
        assert set(train["left"]) == {"rare", "a", "b"}


def test_a_class_that_is_met_too_late_is_refused_by_name(project):
    table = orders().assign(left=lambda t: ["new" if k > 310 else "ab"[k % 2] for k in t.index])
    table.assign(when=lambda t: 1_700_000_000 + t.index * 20_000).to_csv("My Orders.csv", index=False)
    with pytest.raises(UserError, match="'new' has no row to learn from before the newest rows, which test"):
        turn(TIME="when")


def test_a_dry_run_changes_nothing(project):
    before = tree()
    assert "nothing was changed" in turn(DRY_RUN="1")
    assert tree() == before


def test_a_failure_leaves_everything_as_it_was(project, monkeypatch):
    def fail(paths):
        raise UserError("dvc add failed")

    before = tree()
    monkeypatch.setattr(adopt, "track", fail)
    with pytest.raises(UserError, match="dvc add failed"):
        turn()
    assert tree() == before
    assert not Path("retired").exists()
    assert not Path("data/raw").exists()
    assert not HERE.exists()


def test_what_a_killed_run_left_is_undone_first(project, capsys):
    before = tree()
    j = Journal()
    j.write(Path("params.yaml"), "half")
    turn(DRY_RUN="1")
    assert tree() == before
    assert "an earlier run was cut short; what it had changed is as it was" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["My Orders.csv", "Zürich (1).CSV", "a b"])
def test_the_raw_table_has_a_name_that_a_command_line_takes(tmp_path, name):
    with inside(tmp_path):
        (tmp_path / name).touch()
        assert adopt.raw_path(tmp_path / name).name in ("my-orders.csv", "z-rich-1.csv", "a-b")
        Path("data/raw").mkdir(parents=True)
        assert adopt.raw_path(Path("data/raw/mine.csv")) == Path("data/raw/mine.csv")
        assert adopt.raw_path(Path("data/raw/not mine.csv")) == Path("data/raw/not-mine.csv")


def test_what_is_written_is_a_contract(project):
    turn()
    space: dict[str, object] = {"__package__": "{{ cookiecutter.__package }}"}
    exec(Path(adopt.texts.HOME, "schema.py").read_text(), space)
    assert isinstance(space["CONTRACT"], Contract)
