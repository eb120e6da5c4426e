"""`models/champion.json`, the only truth about what is served: which version, which before it, which are blocked."""

from pathlib import Path
from typing import Annotated

from filelock import FileLock
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic asks for this one below Python 3.12

from . import UserError, read_json, unmerged, write_json

LOCK = Path(".dvc/tmp/champion.lock")


Version = Annotated[str, Field(pattern="^[0-9a-z]+$")]


class Champion(TypedDict):
    """`version` is served, `previous` was before it, `blocked` were rolled back and are not promoted again."""

    version: Version | None
    previous: Version | None
    blocked: list[Version]


def read(path: Path) -> Champion:
    """Return the pointer.

    Raises:
        UserError: the file is no pointer; a merge may have left its marks.
    """
    try:
        return TypeAdapter(Champion).validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        unmerged(path)
        keys = ", ".join(Champion.__annotations__)
        raise UserError(f"{path} is no JSON object of {keys}; `git checkout {path}` brings it back") from error


def move(path: Path, seen: Champion, to: Champion) -> bool:
    """Write `to` if the pointer still says what was `seen`, and return whether it did: of two, one wins."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(LOCK):
        if read(path) != seen:
            return False
        write_json(path, to)
        return True


def home(versions: Path, version: str) -> Path:
    """Return the folder of a version.

    Raises:
        UserError: it is not here, as in a clone before its data are pulled.
    """
    path = versions / version
    if not path.is_dir():
        get = f"`.venv/bin/dvc get . {path} -o {path} --rev <commit that promoted it>`"
        raise UserError(f"{path} is not here; `.venv/bin/dvc pull` brings it, or where dvc.lock lacks it, {get}")
    return path


def lineage(versions: Path, version: str | None) -> list[str]:
    """Return the version and the champions before it, newest first, as their decisions name them."""
    found: list[str] = []
    while version and version not in found and (versions / version).is_dir():
        found.append(version)
        version = read_json(versions / version / "decision.json")["champion"]
    return found
