"""`models/champion.json`, the only truth about what is served: which version, which before it, which are blocked."""

from pathlib import Path
from typing import TypedDict

from filelock import FileLock

from . import read_json, write_json

LOCK = Path(".dvc/tmp/champion.lock")


class Champion(TypedDict):
    """`version` is served, `previous` was before it, `blocked` were rolled back and are not promoted again."""

    version: str | None
    previous: str | None
    blocked: list[str]


def read(path: Path) -> Champion:
    """Return the pointer."""
    champion: Champion = read_json(path)
    return champion


def move(path: Path, seen: Champion, to: Champion) -> bool:
    """Write `to` if the pointer still says what was `seen`, and return whether it did: of two, one wins."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(LOCK):
        if read(path) != seen:
            return False
        write_json(path, to)
        return True


def lineage(versions: Path, version: str | None) -> list[str]:
    """Return the version and the champions before it, newest first, as their decisions name them."""
    found: list[str] = []
    while version and version not in found and (versions / version).is_dir():
        found.append(version)
        version = read_json(versions / version / "decision.json")["champion"]
    return found
