import pytest

from {{ cookiecutter.__package }}.commands.turn import LOCK, LOCKS, mend

WHOLE = f"schema: '2.0'\nstages:\n  ingest:\n    cmd: ingest\n    deps:\n    - path: data\n      md5: {'a' * 32}\n"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LOCKS.parent.mkdir(parents=True)


@pytest.mark.parametrize(
    "text", ["", WHOLE[:7], WHOLE[:40], WHOLE[: WHOLE.index("path")], WHOLE[: WHOLE.index("md5") + 2]]
)
def test_a_lock_that_stops_in_the_middle_is_put_aside(text, capsys):
    LOCK.write_text(text)
    mend()
    assert not LOCK.exists()
    assert LOCK.with_name("dvc.lock.torn").read_text() == text
    assert "dvc.lock" in capsys.readouterr().out


@pytest.mark.parametrize("text", [WHOLE, f"<<<<<<< HEAD\n{WHOLE}"])
def test_a_whole_lock_and_a_merge_are_left_alone(text):
    LOCK.write_text(text)
    mend()
    assert LOCK.read_text() == text


def test_a_torn_table_of_locks_is_put_aside_and_a_whole_one_is_not():
    LOCKS.write_text('{"read": {"da')
    mend()
    assert not LOCKS.exists()
    LOCKS.write_text('{"read": {}, "write": {}}')
    mend()
    assert LOCKS.exists()
