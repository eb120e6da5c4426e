"""Files that are written whole or not at all, and their digests."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import UserError


def pulled(path: Path) -> Path:
    """Return a folder after a look that everything in it that DVC keeps is there.

    Raises:
        UserError: a file is not; whoever went on would take it for gone.
    """
    for known in sorted(path.glob("*.dvc")):
        if not known.with_suffix("").exists():
            raise UserError(f"{known.with_suffix('')} is kept by DVC and not here; run `.venv/bin/dvc pull`")
    return path


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
