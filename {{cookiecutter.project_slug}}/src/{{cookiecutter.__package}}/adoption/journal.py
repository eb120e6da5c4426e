"""Changes to files, all of them or none: what is about to be done is written down first, and undone after a failure.

A process that is killed leaves its journal behind; whoever adopts next undoes what it says.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import read_json, write, write_json

HERE = Path(".dvc/tmp/adopt")


class Journal:
    """Writes, moves and new paths, each of which can be taken back. Paths are relative to the project."""

    def __init__(self) -> None:
        self.steps: list[list[str]] = []
        (HERE / "old").mkdir(parents=True)
        self._note()

    def _note(self, *step: str) -> None:
        self.steps += [list(step)] if step else []
        write_json(HERE / "journal.json", self.steps)

    def write(self, path: Path, text: str) -> None:
        """Write a file, keeping what was there."""
        self.keep(path)
        write(path, text)

    def keep(self, path: Path) -> None:
        """Keep a file as it is now, or that there is none: something is about to change it."""
        if path.exists():
            old = HERE / "old" / str(len(self.steps))
            shutil.copy2(path, old)
            self._note("keep", str(path), str(old))
        else:
            self._note("new", str(path))

    def move(self, path: Path, to: Path) -> None:
        """Move a file or a folder."""
        self._note("move", str(path), str(to))
        to.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, to)


def undo() -> bool:
    """Take back, newest first, what the journal says, and return whether there was one."""
    if not (HERE / "journal.json").exists():
        shutil.rmtree(HERE, ignore_errors=True)
        return False
    for kind, *paths in reversed(read_json(HERE / "journal.json")):
        path, *rest = map(Path, paths)
        if kind == "new":
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        elif rest[0].exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(rest[0], path) if kind == "move" else shutil.copy2(rest[0], path)
    shutil.rmtree(HERE)
    return True


@contextmanager
def journal() -> Iterator[Journal]:
    """Yield a journal whose changes stand if the block ends well, and are undone if it does not."""
    try:
        yield Journal()
    except BaseException:
        undo()
        raise
    shutil.rmtree(HERE)
