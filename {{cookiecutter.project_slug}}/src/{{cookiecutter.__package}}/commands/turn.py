"""One at a time: what runs DVC, on the machine and in containers, takes turns, and first mends what a kill left behind.

    python -m <package>.commands.turn dvc repro

DVC tells by process ids who works on a file, and an id of a container means nothing outside it. And it writes
`dvc.lock` and its table of locks in place: killed in these milliseconds, it cannot read them again. Without them it
runs stages anew.
"""

import fcntl
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from .. import UserError, say, unmerged, write_json

TURN, LOCK, LOCKS = Path(".dvc/tmp/turn.lock"), Path("dvc.lock"), Path(".dvc/tmp/rwlock")
CONTAINED = "/app/.venv/"  # where DVC lies in a container; there it runs in a turn alone


def torn(path: Path) -> bool:
    """Return whether the file stops in the middle; a merge that waits for its user does not count."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA  # here, since it takes its time
    from voluptuous import Invalid

    text = path.read_text("utf-8")
    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(text)) if path == LOCK else json.loads(text)
    except (Invalid, ValueError, yaml.YAMLError):
        return "<<<<<<<" not in text
    return False


def lives(holder: dict[str, Any]) -> bool:
    """Return whether a holder in DVC's table of locks may be alive: one in a container has ended with its turn."""
    return bool(holder) and not str(holder["cmd"]).startswith(CONTAINED)


def mend() -> None:
    """Move each torn file to a name that ends in `.torn`, and take out of the table of locks who is no more."""
    for path in (LOCK, LOCKS):
        if path.exists() and torn(path):
            path.replace(path.with_name(f"{path.name}.torn"))
            say("mend", f"{path} was cut short by a kill; it is now {path.name}.torn, and DVC writes it anew")
    if LOCKS.exists():
        held = json.loads(LOCKS.read_text("utf-8"))
        readers = {path: [*filter(lives, holders)] for path, holders in held.get("read", {}).items()}
        writers = {path: holder for path, holder in held.get("write", {}).items() if lives(holder)}
        living = {"write": writers, "read": {path: holders for path, holders in readers.items() if holders}}
        if living != held:
            write_json(LOCKS, living)


def look() -> None:
    """Look that nothing waits for git or DVC: either would write over what a pull or a merge has brought.

    Raises:
        UserError: a file holds a merge's marks, or data are older than git has them: DVC takes that for an edit.
    """
    kept = sorted(Path("data").glob("*/*.dvc"))
    for path in (LOCK, Path("models/champion.json"), *kept):
        unmerged(path)
    for path in kept:
        data = path.with_suffix("")
        if not data.is_file() or data.stat().st_mtime >= path.stat().st_mtime:
            continue
        if (said := re.search(r"size: (\d+)", path.read_text("utf-8"))) and int(said[1]) != data.stat().st_size:
            raise UserError(f"{data} is older than {path}, which git has brought; run `.venv/bin/dvc pull`")


@contextmanager
def turn() -> Iterator[int]:
    """Wait until nobody else has the turn, mend, and hold it, while the block runs or its descriptor is open."""
    TURN.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(TURN, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("turn", "waiting for another run to end")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        mend()
        look()
        yield descriptor
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    with turn() as held_by_what_follows:
        os.set_inheritable(held_by_what_follows, True)
        os.execvp(sys.argv[1], sys.argv[1:])
