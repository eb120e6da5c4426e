"""The stages of `dvc.yaml`, one module each: a pure function, and a `main` that reads, calls and writes."""

import sys
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import UserError

LOCK = Path(".dvc/tmp/stage.lock")


def run(main: Callable[..., str]) -> None:
    """Call `main` with the paths on the command line and print the line that it returns.

    One stage works at a time, even where a killed `dvc repro` left one behind: two writers would mix their files. A
    mistake that a user can make ends in its own sentence, exit 1.
    """
    stage = Path(sys.argv[0]).stem
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(stage, "waiting for a stage that a killed run left behind")
        lock.acquire()
    try:
        say(stage, main(*map(Path, sys.argv[1:])))
    except (UserError, FileNotFoundError) as error:
        sys.exit(f"{stage}: {error}")
    finally:
        lock.release()


def say(stage: str, line: str) -> None:
    """Print a line of progress, or the last line of a stage."""
    print(f"{stage}: {line}", flush=True)
