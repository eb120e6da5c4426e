import subprocess
import sys

import pytest

from {{ cookiecutter.__package }} import UserError, run


def fail(error):
    def main(path):
        raise error

    return main


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stages/split.py", "some/path"])


@pytest.mark.usefixtures("stage")
def test_a_stage_gets_paths_and_ends_in_one_line(capsys):
    run(lambda path: f"read {path.name} of {path.parent}")
    assert capsys.readouterr().out == "split: read path of some\n"


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize("error", [UserError("no rows"), FileNotFoundError("no rows")])
def test_a_mistake_of_a_user_ends_in_one_sentence(error):
    with pytest.raises(SystemExit, match="split: no rows"):
        run(fail(error))


def test_a_mistake_in_a_module_that_a_stage_imports_is_one_sentence_too(tmp_path):
    stage = tmp_path / "split.py"
    stage.write_text(f"from {run.__module__}.contract import Feature\nFeature('x', 'numbr')\n")
    done = subprocess.run([sys.executable, stage], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("split: schema.py: 'x' has type 'numbr'; use one of number")


@pytest.mark.usefixtures("stage")
def test_a_mistake_of_ours_keeps_its_traceback_and_frees_the_lock():
    with pytest.raises(ZeroDivisionError):
        run(fail(ZeroDivisionError()))
    run(lambda path: "done")
