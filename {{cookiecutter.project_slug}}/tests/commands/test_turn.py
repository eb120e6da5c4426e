import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.commands.turn import CONTAINED, LOCK, LOCKS, mend, turn

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


def test_who_was_killed_in_a_container_loses_its_place_in_the_table_of_locks():
    here, gone = {"pid": 7, "cmd": "/project/.venv/bin/dvc repro"}, {"pid": 7, "cmd": f"{CONTAINED}bin/dvc repro"}
    held = {"write": {"a": gone, "b": here, "c": {}}, "read": {"d": [gone], "e": [gone, here]}}
    LOCKS.write_text(json.dumps(held))
    mend()
    assert json.loads(LOCKS.read_text()) == {"write": {"b": here}, "read": {"e": [here]}}


def test_a_command_holds_the_turn_to_its_end():
    command = [sys.executable, "-m", "{{ cookiecutter.__package }}.commands.turn"]
    wait = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen([*command, *wait], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        first.stdout.readline()
        with subprocess.Popen([*command, "touch", "mine"], stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout.readline() == "turn: waiting for another run to end\n"
            assert not Path("mine").exists()
            first.stdin.write("\n")
            first.stdin.flush()
            second.communicate(timeout=30)
            assert second.returncode == 0
    assert Path("mine").exists()


@pytest.mark.parametrize("name", ["dvc.lock", "models/champion.json", "data/labelled/a.parquet.dvc"])
def test_where_a_merge_waits_nobody_gets_a_turn(name):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("<<<<<<< HEAD\n")
    with pytest.raises(UserError, match=f"a merge waits in {name}; "), turn():
        raise AssertionError


@pytest.mark.parametrize(("older", "size", "refused"), [(True, 5, True), (True, 4, False), (False, 5, False)])
def test_data_that_are_older_than_git_has_them_are_no_edit(older, size, refused):
    data, known = Path("data/labelled/a.parquet"), Path("data/labelled/a.parquet.dvc")
    data.parent.mkdir(parents=True)
    data.write_bytes(b"rows")
    known.write_text(f"outs:\n- md5: a\n  size: {size}\n  path: a.parquet\n")
    os.utime(data, (0, 0 if older else 2**31))
    told = pytest.raises(UserError, match=r"older than .*run `.venv/bin/dvc pull`")
    with told if refused else nullcontext(), turn():
        pass


def test_a_turn_that_is_over_is_free():
    for _ in range(2):
        with turn():
            pass
