"""A gated model from versioned data: `dvc.yaml` is the map, `schema.py` the contract, `params.yaml` the numbers.

Here is what every module stands on: the error that a user sees, how a stage is run, files written whole or not at all.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any

LOCK = Path(".dvc/tmp/stage.lock")
PARENT = os.getppid()  # read before a stage imports what takes seconds


class UserError(Exception):
    """A mistake that a user can make: one sentence that names the thing, its value, what was expected, what to do."""


def _say_plainly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, UserError):  # of schema.py, say, which is imported before a stage can run
        print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _say_plainly


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


def pulled(path: Path) -> Path:
    """Return a folder after a look that everything in it that DVC keeps is there.

    Raises:
        UserError: a file is not; whoever went on would take it for gone.
    """
    for known in sorted(path.glob("*.dvc")):
        if not known.with_suffix("").exists():
            raise UserError(f"{known.with_suffix('')} is kept by DVC and not here; run `.venv/bin/dvc pull`")
    return path


def unmerged(path: Path) -> None:
    """Look that no merge of git waits in the file.

    Raises:
        UserError: it holds the marks of one.
    """
    if path.is_file() and b"<<<<<<<" in path.read_bytes():
        take = "take dvc.lock, models/champion.json and data/ from one side (`git checkout --ours` or `--theirs`)"
        raise UserError(f"a merge waits in {path}; {take}, then run `.venv/bin/dvc checkout` and this again")


def write(path: Path, content: bytes | str) -> None:
    """Write the file whole or leave what was there; readable by all, since a container's user may be another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(handle)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON that a person can read and a diff can show."""
    write(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Return what the JSON file holds."""
    return json.loads(path.read_text("utf-8"))


@contextmanager
def folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `path` when the block ends well, and is gone when it does not."""
    scratch = path.with_name(f".{path.name}.new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        for item in (scratch, *scratch.rglob("*")):
            item.chmod(0o755 if item.is_dir() else 0o644)
        shutil.rmtree(path, ignore_errors=True)
        os.replace(scratch, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def digest(content: bytes | Path) -> str:
    """Return the SHA-256 of some bytes or of a file, in hex."""
    return hashlib.sha256(content.read_bytes() if isinstance(content, Path) else content).hexdigest()


def digest_json(content: Any) -> str:
    """Return the SHA-256 of plain data, whatever the order of its keys."""
    return digest(json.dumps(content, sort_keys=True, allow_nan=False).encode())


def read_rows(path: Path, columns: list[str] | None = None) -> Any:
    """Return the rows of a Parquet file, a pandas frame.

    pandas would hand Arrow's threads a Python file, and a process that ends while they let go of it is aborted:
    apache/arrow#34314.

    Raises:
        UserError: it is not Parquet, or lacks a column.
    """
    import pyarrow as pa  # here, since a service reads none
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, columns=columns).to_pandas()
    except pa.ArrowException as error:
        told = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read as Parquet ({told}); bring it back, or write it anew") from error
