"""A gated model from versioned data: `dvc.yaml` is the map, `schema.py` the contract, `params.yaml` the numbers.

Here is what every stage stands on: the error that a user sees, and the way a stage is run.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

LOCK = Path(".dvc/tmp/stage.lock")
PARENT = os.getppid()  # read before a stage imports what takes seconds


class UserError(Exception):
    """A mistake that a user can make: one sentence that names the thing, its value, what was expected, what to do."""


def run(main: Callable[..., str]) -> None:
    """Run a stage. One works at a time, and one whose `dvc repro` was killed ends: it would write into the next run."""
    from filelock import FileLock, Timeout  # here, since a service has no stages

    stage, lock = Path(sys.argv[0]).stem, FileLock(LOCK)
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    if "DVC_STAGE" in os.environ:  # DVC's name for what it runs
        Thread(target=_end_without_parent, daemon=True).start()
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(stage, "waiting for another stage to end")
        lock.acquire()
    try:
        tell(main)
    finally:
        lock.release()


def tell(main: Callable[..., str]) -> None:
    """Call `main` with the paths on the command line and print the line that it returns.

    A mistake that a user can make ends in its own sentence, exit 1.
    """
    name = Path(sys.argv[0]).stem
    try:
        say(name, main(*map(Path, sys.argv[1:])))
    except (UserError, OSError) as error:
        sys.exit(f"{name}: {error}")


def _end_without_parent() -> None:
    while os.getppid() == PARENT:
        time.sleep(0.1)
    os._exit(1)


def say(stage: str, line: str) -> None:
    """Print a line of progress, or the last line of a stage."""
    print(f"{stage}: {line}", flush=True)
