"""Put aside what a killed DVC left half written, so that `make pipeline` works whatever happened to the run before.

DVC writes `dvc.lock` and its table of locks in place: killed in these milliseconds, it cannot read them again. Without
them it runs the stages anew, to the same results.
"""

import json
from pathlib import Path

import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from voluptuous import Invalid

from .. import say

LOCK, LOCKS = Path("dvc.lock"), Path(".dvc/tmp/rwlock")


def torn(path: Path) -> bool:
    """Return whether the file stops in the middle; a merge that waits for its user does not count."""
    text = path.read_text("utf-8")
    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(text)) if path == LOCK else json.loads(text)
    except (Invalid, ValueError, yaml.YAMLError):
        return "<<<<<<<" not in text
    return False


def mend() -> None:
    """Move each torn file to a name that ends in `.torn`."""
    for path in (LOCK, LOCKS):
        if path.exists() and torn(path):
            path.replace(path.with_name(f"{path.name}.torn"))
            say("mend", f"{path} was cut short by a kill; it is now {path.name}.torn, and DVC writes it anew")


if __name__ == "__main__":
    mend()
