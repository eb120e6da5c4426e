from pathlib import Path

import pytest
from tables import inside

from {{ cookiecutter.__package }}.adoption.journal import HERE, Journal, journal, undo


def tree():
    return {str(path): path.read_text() for path in sorted(Path().rglob("*")) if path.is_file()}


def change(j):
    """Make one change of each kind."""
    j.write(Path("a.txt"), "changed")
    j.write(Path("new/b.txt"), "new")
    j.move(Path("folder"), Path("elsewhere/folder"))
    j.keep(Path("made"))
    Path("made").mkdir()
    Path("made/c.txt").write_text("c")


@pytest.fixture(autouse=True)
def project(tmp_path):
    with inside(tmp_path):
        Path("folder").mkdir()
        Path("folder/x.txt").write_text("x")
        Path("a.txt").write_text("as it was")
        yield tree()


def test_changes_stand_after_a_block_that_ends_well():
    with journal() as j:
        change(j)
    assert tree() == {"a.txt": "changed", "elsewhere/folder/x.txt": "x", "made/c.txt": "c", "new/b.txt": "new"}
    assert not undo()


def test_a_failure_leaves_everything_as_it_was(project):
    def fail():
        with journal() as j:
            change(j)
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert tree() == project


def test_what_a_killed_run_left_is_undone_by_the_next(project):
    change(Journal())
    assert tree() != project
    assert undo()
    assert tree() == project
    assert not HERE.exists()
