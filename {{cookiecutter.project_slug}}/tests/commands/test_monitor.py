import os
from threading import Event, Thread
from types import SimpleNamespace

import pytest
from services import point

from {{ cookiecutter.__package }} import UserError, read_rows, write_json
from {{ cookiecutter.__package }}.commands import monitor


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(monitor, "CHECKED", tmp_path / "checked")
    (tmp_path / "models").mkdir()


def watched(until, capsys):
    """Return what is said by a watch that ends when `until` of it holds."""
    stop, told = Event(), ""
    thread = Thread(target=monitor.watch, args=(0.01, stop))
    thread.start()
    while not until(told):
        told += capsys.readouterr().out
    stop.set()
    thread.join(10)
    return told


def test_a_check_in_which_nothing_has_changed_says_what_was_said_last(capsys, monkeypatch):
    write_json(monitor.REPORT, {"decision": "insufficient_data", "reasons": ["there is no champion yet"]})
    monkeypatch.setattr(monitor, "snapshot", lambda: "0 new predictions")
    monkeypatch.setattr(monitor.subprocess, "run", lambda command, check: SimpleNamespace(returncode=0))
    assert monitor.check() == 0
    assert "monitor: insufficient_data: there is no champion yet" in capsys.readouterr().out


def test_without_a_champion_it_waits_and_is_well(tmp_path, capsys):
    point(tmp_path / "models", None)
    assert "no champion yet" in watched(lambda told: told.count("\n") > 2, capsys)
    assert monitor.CHECKED.exists()


def test_a_check_that_fails_is_said_and_tried_again_and_is_not_well(tmp_path, capsys, monkeypatch):
    def fail():
        raise UserError("a log that cannot be read")

    point(tmp_path / "models", "one")
    monkeypatch.setattr(monitor, "glance", fail)
    assert "monitor: a log that cannot be read\n" * 3 in watched(lambda told: told.count("\n") > 2, capsys)
    monkeypatch.setattr(monitor, "glance", lambda: 255)
    Thread(target=monitor.watch, args=(60, stop := Event())).start()
    stop.set()
    assert not monitor.CHECKED.exists()


def test_a_check_that_was_done_is_known_by_its_file(tmp_path, monkeypatch):
    point(tmp_path / "models", "one")
    monkeypatch.setattr(monitor, "glance", lambda: 0)
    stop = Event()
    thread = Thread(target=monitor.watch, args=(60, stop))
    thread.start()
    while not monitor.CHECKED.exists():
        pass
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_what_is_no_number_of_seconds_is_refused():
    with pytest.raises(SystemExit, match="monitor: 'often' is no number of seconds"):
        monitor.main(["often"])


def test_the_stage_runs_when_something_that_it_reads_is_newer_than_its_report(tmp_path, monkeypatch):
    monkeypatch.setattr(monitor, "snapshot", lambda tracked: "")
    cmd = "echo \\${NOTHING:-ran} >> ran; touch report"
    pipeline = {
        "stages": {"monitor": {"cmd": cmd, "deps": ["folder", "file"], "outs": [{"report": {"persist": True}}]}}
    }
    write_json(tmp_path / "dvc.yaml", pipeline)
    (tmp_path / "folder").mkdir()
    read = [tmp_path / name for name in ("folder/in", "file", "params.yaml")]
    for path in read:
        path.touch()
    runs = []
    for at, changed in enumerate((None, None, *read, None)):
        if changed:
            os.utime(changed, (4e9 + at, 4e9 + at))
        assert monitor.glance() == 0
        os.utime("report", (4e9 + at, 4e9 + at))
        runs.append((tmp_path / "ran").read_text().count("ran"))
    assert runs == [1, 1, 2, 3, 4, 4]


def test_a_snapshot_that_is_none_is_one_sentence(tmp_path, monkeypatch):
    spoilt = tmp_path / "2026-01-01-abc.parquet"
    spoilt.write_bytes(b"none")
    monkeypatch.setattr(monitor, "snapshot", lambda: read_rows(spoilt))
    with pytest.raises(SystemExit, match=r"monitor: .*2026-01-01-abc\.parquet cannot be read as Parquet"):
        monitor.main([])
