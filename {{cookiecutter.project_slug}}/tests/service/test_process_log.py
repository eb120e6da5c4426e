import json
import logging
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from {{ cookiecutter.__package }}.service import process_log as module
from {{ cookiecutter.__package }}.service.process_log import JsonLines, ProcessLog, stamp


class Stderr:
    """Standard error of which nothing is read until `free` is set, and that fails as often as it is `broken`."""

    def __init__(self):
        self.free, self.broken, self.written, self.buffer = threading.Event(), 0, [], self

    def write(self, lines):
        self.free.wait(5)
        if self.broken:
            self.broken -= 1
            raise BrokenPipeError
        self.written.append(lines)

    def flush(self):
        pass


@pytest.fixture
def stderr(monkeypatch):
    made = Stderr()
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=made))  # pytest puts its own into the real one
    return made


@pytest.fixture
def log():
    made = ProcessLog()
    yield made
    made.close()
    for name in ("ours", "theirs"):
        logging.getLogger(name).handlers.clear()


def until(fits):
    while not fits():
        time.sleep(0.001)


def test_a_moment_is_written_in_utc_to_the_millisecond():
    assert stamp(0.5) == "1970-01-01T00:00:00.500+00:00"


def test_a_message_is_one_json_object_a_line():
    record = logging.makeLogRecord({"msg": "two\nlines %s", "args": ("é",), "levelname": "INFO", "created": 0})
    line = JsonLines().format(record)
    assert "\n" not in line
    assert json.loads(line) == {"time": stamp(0), "level": "INFO", "message": "two\nlines é"}


def test_lines_of_all_loggers_come_out_in_order_and_ours_from_a_level_on(log, stderr):
    stderr.free.set()
    log.start("WARNING", "ours", "theirs")
    logging.getLogger("ours").info("not told")
    logging.getLogger("ours.child").warning("one", extra={"fields": {"request_id": "id-5"}})
    log.put(b"two\n")
    log.close()
    first, second = stderr.written
    assert json.loads(first) | {"time": ""} == {"time": "", "level": "WARNING", "message": "one", "request_id": "id-5"}
    assert second == b"two\n"
    assert logging.getLogger("theirs").handlers == [log]


def test_who_does_not_read_stops_nobody_and_costs_lines(log, stderr, monkeypatch):
    monkeypatch.setattr(module, "CLOSE_S", 0.01)
    log._lines.maxsize = 2
    log.start("INFO", "ours")
    begun = time.perf_counter()
    for k in range(50):
        log.put(b"%d\n" % k)
    log.close()
    assert time.perf_counter() - begun < 1
    stderr.free.set()
    until(lambda: len(stderr.written) > 1)
    until(log._lines.empty)
    assert stderr.written == [b"0\n", b"1\n", b"2\n"][: len(stderr.written)]


def test_a_broken_stderr_costs_lines_until_it_is_mended(log, stderr):
    stderr.broken = 1
    stderr.free.set()
    log.start("INFO", "ours")
    log.put(b"lost\n")
    log.put(b"kept\n")
    log.close()
    assert stderr.written == [b"kept\n"]


def test_a_log_that_never_began_ends_in_silence():
    code = "import {{ cookiecutter.__package }}.service.process_log as it; log = it.ProcessLog()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
