from threading import Event, Thread

import pytest
from services import point

from {{ cookiecutter.__package }} import UserError
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


def test_without_a_champion_it_waits_and_is_well(tmp_path, capsys):
    point(tmp_path / "models", None)
    assert "no champion yet" in watched(lambda told: told.count("\n") > 2, capsys)
    assert monitor.CHECKED.exists()


def test_a_check_that_fails_is_said_and_tried_again_and_is_not_well(tmp_path, capsys, monkeypatch):
    def fail():
        raise UserError("a log that cannot be read")

    point(tmp_path / "models", "one")
    monkeypatch.setattr(monitor, "check", fail)
    assert "monitor: a log that cannot be read\n" * 3 in watched(lambda told: told.count("\n") > 2, capsys)
    monkeypatch.setattr(monitor, "check", lambda: 255)
    Thread(target=monitor.watch, args=(60, stop := Event())).start()
    stop.set()
    assert not monitor.CHECKED.exists()


def test_a_check_that_was_done_is_known_by_its_file(tmp_path, monkeypatch):
    point(tmp_path / "models", "one")
    monkeypatch.setattr(monitor, "check", lambda: 0)
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
