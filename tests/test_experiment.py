"""`make experiment`: tried and compared, and nothing else."""

import pytest
from projects import Project

KEPT = ["models/**/*", "data/**/*", "reports/**/*", "params.yaml", "dvc.lock", "dvc.yaml", "src/**/*.py"]


@pytest.fixture(scope="module")
def committed(small_built: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of the small project with everything committed, in a folder as people name them."""
    project = small_built.copy(tmp_path_factory.mktemp("My projects"))
    project.commit()
    return project


def test_experiment_leaves_champion_versions_and_workspace_as_they_were(committed: Project) -> None:
    before, champion = committed.digests(*KEPT), committed.champion
    done = committed.run("make", "experiment", "SET=train.max_iter=20")
    assert committed.champion == champion
    assert committed.digests(*KEPT) == before
    assert committed.git("status", "--porcelain") == ""
    assert committed.repro().ran == []
    table = done.output[done.output.rindex("Experiment") :]
    assert any("20" in line and "log_loss" not in line for line in table.splitlines()), table
    assert "train.max_iter" in table


def test_several_changes_make_one_experiment(committed: Project) -> None:
    done = committed.run("make", "experiment", "SET=train.max_iter=10 train.learning_rate=0.3")
    table = done.output[done.output.rindex("Experiment") :]
    assert any("10" in line and "0.3" in line for line in table.splitlines()), table
    assert committed.git("status", "--porcelain") == ""


def test_experiment_without_a_commit_is_one_sentence(small: Project) -> None:
    done = small.run("make", "experiment", "SET=train.max_iter=20", code=None)
    assert len(done.lines("experiment: commit first")) == 1
    assert "Traceback" not in done.output


def test_experiment_without_a_change_is_one_sentence(committed: Project) -> None:
    done = committed.run("make", "experiment", code=None)
    assert len(done.lines("experiment: say what to change")) == 1
    assert "Traceback" not in done.output


def test_experiment_with_an_unknown_parameter_is_refused_and_changes_nothing(committed: Project) -> None:
    before = committed.digests(*KEPT)
    done = committed.run("make", "experiment", "SET=train.max_itre=20", code=None)
    assert "max_itre" in done.output
    assert committed.digests(*KEPT) == before
    assert committed.git("status", "--porcelain") == ""
