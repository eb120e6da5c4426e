"""This machine and this folder -> a line for each thing: that it is well, or what is wrong and how to mend it.

Exit 1 if anything is wrong. It needs nothing but Python to start: what it cannot look at before `make setup`, it says.
"""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

from .. import UserError, pulled, say

POINTER, VERSIONS = Path("models/champion.json"), Path("models/versions")
CACHE, STORE, SETTINGS = Path(".dvc/cache/files/md5"), Path("mlflow.db"), Path(".env")
LOCKS = (Path("requirements/dev.lock"), Path("requirements/remote.lock"))
PATIENCE_S = 15
SHOWN = 3


def answer(*command: str) -> str:
    """Return what a command prints, nothing where there is no such command or it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def few(found: list[str]) -> str:
    """Return the first of them, and how many more there are."""
    return ", ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")


def git() -> str:
    """Look for git, and whether this folder is a repository."""
    found = answer("git", "--version")
    if not found:
        raise UserError("git is not installed; install 2.28 or newer")
    top = answer("git", "rev-parse", "--show-toplevel")
    if not top or (Path(top) != Path.cwd() and not answer("git", "ls-files", "dvc.yaml")):
        raise UserError("this folder is no git repository of its own; run `git init -b main`")
    return found


def python() -> str:
    """Hold the Python of .venv against the one that the Makefile names."""
    wanted = re.findall(r"^PYTHON_VERSION := (\S+)", Path("Makefile").read_text("utf-8"), re.MULTILINE)[0]
    found = answer(".venv/bin/python", "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    if not found:
        raise UserError(".venv is missing, or its Python does not run; run `make setup`")
    if found != wanted:
        raise UserError(f".venv has Python {found} and the Makefile names {wanted}; remove .venv and run `make setup`")
    return f"Python {found}"


def packages() -> str:
    """Hold what is installed against what the locks pin."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    installed = {canonicalize_name(each.name): each.version for each in importlib.metadata.distributions()}
    lines = [line for lock in LOCKS if lock.exists() for line in lock.read_text("utf-8").splitlines()]
    pins = [Requirement(line.rstrip("\\ ")) for line in lines if re.match(r"[a-z0-9]", line)]
    wanted = {canonicalize_name(p.name): str(p.specifier)[2:] for p in pins if not p.marker or p.marker.evaluate()}
    drift = [
        f"{name} {installed.get(name, 'missing')} for {version}"
        for name, version in wanted.items()
        if installed.get(name) != version
    ]
    if drift:
        raise UserError(f".venv is not what requirements/ pins ({few(drift)}); run `make setup`")
    return f"{len(wanted)} packages as they are pinned"


def settings() -> str:
    """Look at who may read .env."""
    if not SETTINGS.exists():
        raise UserError(".env is missing; run `make setup`")
    mode = stat.S_IMODE(SETTINGS.stat().st_mode)
    if mode & 0o077:
        raise UserError(f".env has mode {mode:o} and may hold secrets; run `chmod 600 .env`")
    return ".env is yours alone"


def params() -> str:
    """Read every section of params.yaml."""
    from ..params import SECTIONS, load

    for section in SECTIONS.values():
        load(section)
    return f"{len(SECTIONS)} sections of params.yaml"


def contract() -> str:
    """Read schema.py."""
    try:
        from ..schema import CONTRACT
    except (SyntaxError, NameError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"schema.py cannot be read ({error}); correct it") from error
    return f"a contract of {len(CONTRACT.features)} features for {CONTRACT.target!r}"


def pointed(key: str) -> str | None:
    """Return the version that the pointer names, and that is here, or None where it names none."""
    from ..champion import home, read

    try:
        version: Any = dict(read(POINTER))[key]
    except OSError as error:
        raise UserError(f"{POINTER} cannot be read ({error!r}); run `git checkout {POINTER}`") from error
    return home(VERSIONS, version).name if version else None


def champion() -> str:
    """Hold the champion against its digests and golden rows."""
    version = pointed("version")
    if version is None:
        return "no champion yet; `make pipeline` makes one"
    from ..bundle import verified

    verified(VERSIONS, version)
    return f"champion {version} is whole and answers its golden rows"


def way_back() -> str:
    """Look for the version that a rollback would bring back."""
    version = pointed("previous")
    if version is None:
        return "there is nothing to roll back to"
    from ..bundle import verified

    verified(VERSIONS, version)
    if not (VERSIONS / version / "decision.json").exists():
        raise UserError(f"{VERSIONS / version} has no decision.json; run `.venv/bin/dvc checkout`")
    return f"`make rollback` would bring back {version}, which is whole"


def data() -> str:
    """Look for the data that DVC keeps and no stage makes."""
    from .turn import look

    look()
    for folder in (Path("data/labelled"), Path("data/production")):
        pulled(folder)
    return "labelled data and snapshots are here"


def cache() -> str:
    """Hold every object of DVC's cache against its name: `dvc checkout` takes a corrupt one for what it was."""
    objects = sorted(path for path in CACHE.glob("??/*") if re.fullmatch(r"[0-9a-f]{30}(\.dir)?", path.name))
    wrong = []
    for path in objects:
        with path.open("rb") as content:
            if hashlib.file_digest(content, "md5").hexdigest() != path.parent.name + path.stem:
                wrong.append(str(path))
    if wrong:
        mend = "remove them, then run `.venv/bin/dvc pull`, and `make pipeline` for what the remote does not have"
        raise UserError(f"DVC's cache holds {len(wrong)} corrupt objects ({few(wrong)}); {mend}")
    return f"{len(objects)} objects of DVC's cache are what they are named by"


def remote() -> str:
    """Ask the DVC remote, for as long as patience lasts."""
    found: list[tuple[str, str]] = []
    thread = Thread(target=lambda: found.append(_ask_remote()), daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    url, wrong = found[0] if found else ("", f"no answer within {PATIENCE_S} s")
    if wrong:
        mend = "name another with `.venv/bin/dvc remote modify storage url <folder or bucket>`"
        raise UserError(
            f"the DVC remote {url} cannot be used: {wrong}; {mend}, or its credentials in .dvc/config.local"
        )
    return f"the DVC remote {url}"


def _ask_remote() -> tuple[str, str]:
    """Return the address of the remote, and what is wrong with it."""
    url = ""
    try:
        from dvc.repo import Repo

        with Repo() as repo:
            name = repo.config["core"].get("remote")
            url = repo.config["remote"][name]["url"]
            if "://your-" in url:
                return url, "it is the placeholder of the template"
            store = repo.cloud.get_remote_odb(name)
            if store.fs.protocol != "local":
                store.fs.exists(store.path)
                return url, ""
            near = next(path for path in (Path(store.path), *Path(store.path).parents) if path.exists())
            return url, "" if near.is_dir() and os.access(
                near, os.W_OK
            ) else f"{near} is no folder that you may write to"
    except Exception as error:  # of DVC, of a cloud's library, of the network
        return url, (str(error).splitlines() or [type(error).__name__])[0]


def tracking() -> str:
    """Ask the MLflow server, or read the local store."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith(("http://", "https://")):
        try:
            urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=5).close()
        except (OSError, ValueError) as error:
            raise UserError(
                f"MLflow at {uri} does not answer ({error}); start it or correct MLFLOW_TRACKING_URI"
            ) from error
        return f"MLflow at {uri}"
    if uri or not STORE.exists():
        return f"MLflow's store is {uri or f'{STORE}, once there is a run'}"
    try:
        with closing(sqlite3.connect(STORE)) as database:
            said = database.execute("pragma quick_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        said = str(error)
    if said != "ok":
        raise UserError(f"{STORE} is damaged ({said}); remove it and run `make track`")
    return f"MLflow's store {STORE} is whole"


def port() -> str:
    """Look whether the service's port is free, or has a service already."""
    host, number = os.environ.get("SERVICE_BIND") or "127.0.0.1", os.environ.get("PORT") or "8000"
    if not (number.isdecimal() and 0 < int(number) < 2**16):
        raise UserError(f"PORT is {number!r}; choose a number from 1 to 65535, by PORT= or in .env")
    try:
        with socket.create_server((host, int(number))):
            return f"port {number} of {host} is free"
    except OSError as error:
        taken = error
    try:
        with urllib.request.urlopen(f"http://{host}:{number}/v2/health/live", timeout=2) as found:
            live: Any = json.load(found)
    except (OSError, ValueError):
        live = None
    if live != {"live": True}:
        raise UserError(f"port {number} of {host} cannot be used ({taken}); choose another with PORT= or in .env")
    return f"a service answers on port {number} of {host}"


def containers() -> str:
    """Ask the container engine, if there is one."""
    if not shutil.which("docker"):
        return "no container engine; only containers need one"
    found = answer("docker", "version", "--format", "{{.Server.Version}}")
    if not found:
        raise UserError("docker is installed and its engine does not answer; start it, or join its group")
    return f"docker {found}"


CHECKS: list[Callable[[], str]] = [git, python, packages, settings, params, contract, champion, way_back]
CHECKS += [data, cache, remote, tracking, port, containers]


def doctor() -> int:
    """Print a line for each check, and return how many found something wrong."""
    wrong = 0
    for check in CHECKS:
        try:
            say("doctor", f"well   {check()}")
        except UserError as error:
            wrong += 1
            say("doctor", f"WRONG  {error}")
        except ImportError as error:
            wrong += 1
            say("doctor", f"WRONG  {check.__name__} cannot be looked at ({error}); run `make setup`, then this again")
    return wrong


if __name__ == "__main__":
    if found := doctor():
        sys.exit(f"doctor: {found} to mend")
