"""The pages in docs/ are true: commands run, paths and links exist, what they name is there."""

import re
from pathlib import Path

import pytest
import yaml
from conftest import TEMPLATE
from projects import Project
from services import free_port
from test_doctor import engine

PAGES = sorted((TEMPLATE / "docs").glob("*.md"))
DOCUMENTS = [TEMPLATE / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + PAGES
INSIDE = TEMPLATE / "{{cookiecutter.project_slug}}"
# Each is run elsewhere: by the fixture `built`, and by tests/test_own_checks.py.
ELSEWHERE = ("make setup", "make test")
SOMETIMES = ("demo/", ".dvc/config.local", "requirements/remote.lock")  # by what somebody did or answered


def commands(page: Path) -> list[str]:
    """Return the lines of a page's blocks marked `sh`."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line not in ELSEWHERE]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.stem)
def test_commands_of_a_page_run_one_after_another(page: Path, small: Project, tmp_path: Path) -> None:
    small.write(".env", "")
    (small.path / ".env").chmod(0o600)
    env = {"PORT": str(free_port()), "PATH": engine(tmp_path / "engine", 0)}
    for command in commands(page):
        done = small.run("bash", "-e", "-o", "pipefail", "-c", command, env=env)
        assert "Traceback" not in done.output, command


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text())
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not (document.parent / link.split("#")[0]).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_paths_and_targets_exist(document: Path, built: Project) -> None:
    text = document.read_text()
    named = re.findall(r"`((?:\.?\w[\w.-]*/)+[\w.-]*)`", text)
    homes = (TEMPLATE, INSIDE, built.path, built.path / "src/flight_delays")
    missing = [path for path in named if not any((home / path).exists() for home in homes)]
    assert [path for path in missing if path not in SOMETIMES] == []
    targets = {
        name
        for makefile in (TEMPLATE / "Makefile", INSIDE / "Makefile")
        for name in re.findall(r"^([a-z-]+):", makefile.read_text(), re.MULTILINE)
    }
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    numbers = yaml.safe_load(built.read("params.yaml"))
    for section, key in re.findall(r"`(" + "|".join(numbers) + r")\.(\w+)`", text):
        assert key in numbers[section], f"{document.name}: {section}.{key}"
