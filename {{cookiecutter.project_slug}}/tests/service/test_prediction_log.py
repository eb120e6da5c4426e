import os
import subprocess
import sys

import pytest

from {{ cookiecutter.__package }}.service import prediction_log
from {{ cookiecutter.__package }}.service.prediction_log import Segments

FULL_DISK = """
import resource, sys
from pathlib import Path
from {{ cookiecutter.__package }}.service.prediction_log import Segments
resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
log = Segments(Path(sys.argv[1]), "predictions", 1000)
print([log.append(line) for line in (b"0123456789\\n", b"0123456789\\n", b"1234567\\n")])
"""
KILLED = """
import os, sys, time
from pathlib import Path
from {{ cookiecutter.__package }}.service.prediction_log import Segments
log = Segments(Path(sys.argv[1]), "predictions", 1000)
log.append(b"whole\\n")
os.write(log.descriptor, b"to")
print("written", flush=True)
time.sleep(60)
"""


@pytest.fixture
def log(tmp_path):
    segments = Segments(tmp_path / "logs", "predictions", 20)
    yield segments
    segments.close()


def contents(log):
    return sorted(path.read_bytes() for path in log.folder.iterdir())


def test_lines_are_appended_to_one_readable_segment_of_that_kind(log):
    assert log.append(b"1\n2\n")
    assert log.append(b"3\n")
    (path,) = log.folder.iterdir()
    assert path.read_bytes() == b"1\n2\n3\n"
    assert path.match("predictions-*.jsonl")
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_full_segment_is_followed_by_another_and_lines_are_never_split(log):
    for line in (b"a" * 11 + b"\n", b"b" * 7 + b"\n", b"c\n", b"d" * 50 + b"\n"):
        assert log.append(line)
    assert contents(log) == [b"a" * 11 + b"\nbbbbbbb\n", b"c\n", b"d" * 50 + b"\n"]


def half(write):
    return lambda descriptor, lines: write(descriptor, lines[: len(lines) // 2])


def test_half_a_line_is_taken_back(log, monkeypatch):
    log.append(b"one\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half(os.write))
        assert not log.append(b"torn torn\n")
    assert log.append(b"two\n")
    assert contents(log) == [b"one\ntwo\n"]


def test_half_a_line_that_cannot_be_taken_back_is_cut_by_the_next_start(log, monkeypatch):
    log.append(b"one\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half(os.write))
        patch.setattr(os, "ftruncate", lambda *_: os.close(-1))  # an OSError
        assert not log.append(b"torn torn\n")
    assert log.append(b"two\n")
    assert contents(log) == [b"one\ntorn ", b"two\n"]
    log.repair()
    assert contents(log) == [b"one\n", b"two\n"]


def test_on_a_full_disk_lines_are_written_whole_or_not_at_all(tmp_path):
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told == "[True, False, True]\n"
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"0123456789\n1234567\n"]


def test_a_folder_that_cannot_be_written_costs_lines_until_it_can(log):
    log.folder.touch()
    assert not log.append(b"lost\n")
    log.folder.unlink()
    assert log.append(b"kept\n")
    assert contents(log) == [b"kept\n"]


@pytest.mark.parametrize(
    ("found", "left"), [(b"1\n2", b"1\n"), (b"1\n2\n", b"1\n2\n"), (b"12", b""), (b"", b""), (b"1234\n67", b"1234\n")]
)
def test_a_torn_tail_is_cut_and_nothing_else(found, left, log, monkeypatch):
    monkeypatch.setattr(prediction_log, "TAIL_BYTES", 4)
    log.folder.mkdir()
    path = log.folder / "predictions-old.jsonl"
    path.write_bytes(found)
    log.repair()
    assert path.read_bytes() == left


def test_a_segment_is_left_alone_while_its_process_lives(log):
    with subprocess.Popen([sys.executable, "-c", KILLED, str(log.folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"written\n"
        log.repair()
        assert contents(log) == [b"whole\nto"]
        process.kill()
    log.repair()
    assert contents(log) == [b"whole\n"]


def test_what_cannot_be_repaired_is_left_alone(log):
    (log.folder / "predictions-x.jsonl").mkdir(parents=True)
    (log.folder / "predictions-y.jsonl").write_bytes(b"1\n2")
    log.repair()
    assert (log.folder / "predictions-y.jsonl").read_bytes() == b"1\n"


def test_another_kind_is_not_repaired(log):
    log.folder.mkdir()
    (log.folder / "labels-x.jsonl").write_bytes(b"torn")
    log.repair()
    assert contents(log) == [b"torn"]


def test_a_segment_that_somebody_removed_is_followed_by_another(log):
    assert log.append(b"1\n")
    for path in log.folder.iterdir():
        path.unlink()
    assert log.append(b"2\n")
    (path,) = log.folder.iterdir()
    assert path.read_bytes() == b"2\n"
