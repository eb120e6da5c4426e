"""The pages in docs/ are true: commands run, paths and links exist, what they name is there."""

import importlib
import re
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from conftest import TEMPLATE
from projects import STAGES, Project
from services import free_port, serving
from test_doctor import engine

INSIDE = TEMPLATE / "{{cookiecutter.project_slug}}"
PAGES = sorted((INSIDE / "docs").glob("*.md"))
README, PROJECT_README = TEMPLATE / "README.md", INSIDE / "README.md"
DOCUMENTS = [README, PROJECT_README, *(TEMPLATE / name for name in ("CONTRIBUTING.md", "CHANGELOG.md")), *PAGES]
DOCUMENTS += sorted((TEMPLATE / "docs").glob("*.md"))
# Each is run elsewhere: a command, and where.
ELSEWHERE = {
    "make demo": "scripts/newcomer.py",
    "make setup": "tests/projects.py",
    "make test": "tests/test_own_checks.py",
    "make serve": "tests/services.py",
    "make simulate && make monitor && make retrain": "tests/test_loop.py",
    "git clone <this repository> && cd <its folder>": "tests/test_reproducible.py",
}
# By what somebody did or answered.
SOMETIMES = ("demo/", "data/raw", ".dvc/config.local", "requirements/remote.lock", ".gitlab/")


def commands(page: Path) -> list[str]:
    """Return the lines of a page's blocks marked `sh`, without what is said behind them."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [line.split("  ")[0] for block in blocks for line in block.splitlines()]


def test_commands_that_run_elsewhere_do() -> None:
    for command, place in ELSEWHERE.items():
        words = command.split("&&")[0].split("<")[0].split()
        text = (TEMPLATE / place).read_text().replace('", "', " ")
        assert all(word in text for word in words), command


@pytest.mark.parametrize(
    "page", [page for page in [PROJECT_README, *PAGES] if commands(page)], ids=lambda page: page.stem
)
def test_commands_of_a_page_run_one_after_another(page: Path, small: Project, tmp_path: Path) -> None:
    small.write(".env", "")
    (small.path / ".env").chmod(0o600)
    with serving(small) as service:
        env = {"PORT": str(free_port()), "PATH": engine(tmp_path / "engine", 0)}
        for command in commands(page):
            if command not in ELSEWHERE:
                meant = command.replace(":8000", f":{service.port}").replace(
                    "<folder or bucket>", str(tmp_path / "store")
                )
                done = small.run("bash", "-e", "-o", "pipefail", "-c", meant, env=env)
                assert "Traceback" not in done.output, command


def test_commands_of_the_readme_are_known_and_the_demo_asks_about_a_real_flight(ready: Project) -> None:
    assert {"make demo", "make test"} < {*commands(README)}
    assert [c for c in commands(README) if c not in ELSEWHERE and not c.startswith("cookiecutter gh:")] == []
    told = ready.run(sys.executable, str(TEMPLATE / "scripts/demo.py"), str(ready.path)).output
    assert re.search(r"Late by the model: probability 0\.\d{3}\. Late in fact: (True|False)\.", told)


def test_pictures_are_those_that_the_script_takes(built: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (TEMPLATE / "scripts/pictures.py").read_text()
    taken = set(re.findall(r'take\(chrome, "(\w+)"', text)) | set(re.findall(r'PICTURES / "(\w+)\.png"', text))
    assert taken == {path.stem for path in (TEMPLATE / "docs/images").iterdir()}
    monkeypatch.syspath_prepend(str(TEMPLATE / "scripts"))
    said = "\n".join(f"{stage}: {number} rows" for number, stage in enumerate(STAGES))
    graph = built.run(".venv/bin/dvc", "dag", "--dot").output
    drawing = importlib.import_module("pictures").pipeline(graph, said)
    told = [words for number, stage in enumerate(STAGES) for words in (stage, f"{number} rows")]
    assert re.findall(r">([^<>]+)</text>", drawing) == told
    assert drawing.count('marker-end="url(#head)"') == graph.count(" -> ")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text())
    inside = [unquote(link.split("#")[0]) for link in links if "://" not in link]
    assert [link for link in inside if not (document.parent / link).exists()] == []


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
