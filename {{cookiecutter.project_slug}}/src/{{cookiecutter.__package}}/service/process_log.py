"""What the process says of itself: JSON Lines on stderr, by a thread, so that who stops reading does not stop it."""

import json
import logging
import queue
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from threading import Thread

WAITING = 10_000  # pieces; more are dropped
CLOSE_S = 2


def stamp(seconds: float) -> str:
    """Return a moment as all logs write it: UTC, to the millisecond."""
    return f"{_second(int(seconds))}.{int(seconds % 1 * 1000):03d}+00:00"


@lru_cache(2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def now() -> str:
    """Return the present moment."""
    return stamp(time.time())


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, message, and what `extra={"fields": …}` adds."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {"time": stamp(record.created), "level": record.levelname, "message": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class ProcessLog(logging.Handler):
    """Takes lines without ever waiting, and writes them in order."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self._lines: queue.Queue[bytes | None] = queue.Queue(WAITING)
        self._thread = Thread(target=self._write, daemon=True)

    def start(self, level: str, *names: str) -> None:
        """Begin to write what loggers of these names are told, the first from this level on."""
        self._thread.start()
        for name in names:
            logging.getLogger(name).handlers[:] = [self]
        logging.getLogger(names[0]).setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record of the logging module."""
        self.put(self.format(record).encode() + b"\n")

    def put(self, lines: bytes) -> None:
        """Take whole lines."""
        with suppress(queue.Full):
            self._lines.put_nowait(lines)

    def close(self) -> None:
        """Write what waits, for a moment at most."""
        if self._thread.is_alive():
            with suppress(queue.Full):
                self._lines.put_nowait(None)
            self._thread.join(CLOSE_S)
        super().close()

    def _write(self) -> None:
        while (lines := self._lines.get()) is not None:
            with suppress(OSError, ValueError):
                sys.stderr.buffer.write(lines)
                sys.stderr.buffer.flush()
