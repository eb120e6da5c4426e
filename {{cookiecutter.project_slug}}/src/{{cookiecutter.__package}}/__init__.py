"""A gated model from versioned data: `dvc.yaml` is the map, `schema.py` the contract, `params.yaml` the numbers.

Here is what every stage stands on: the error that a user sees, and the way a stage is run.
"""

import sys
from collections.abc import Callable
from pathlib import Path

LOCK = Path(".dvc/tmp/stage.lock")


class UserError(Exception):
    """A mistake that a user can make: one sentence that names the thing, its value, what was expected, what to do."""


def run(main: Callable[..., str]) -> None:
    """Call `main` with the paths on the command line and print the line that it returns.

    One stage works at a time, even where a killed `dvc repro` left one behind: two writers would mix their files. A
    mistake that a user can make ends in its own sentence, exit 1.
    """
    from filelock import FileLock, Timeout  # here, since a service has no stages

    stage, lock = Path(sys.argv[0]).stem, FileLock(LOCK)
    LOCK.parent.mkdir(parents=True, exist_ok=True)
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
