"""What the tests share: real bakes of this template."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

TEMPLATE = Path(__file__).resolve().parent.parent
Bake = Callable[..., Path]
FAST = (
    "test_hooks",
    "test_repository",
    "test_bake",
    "test_answers",
    "test_update",
)  # seconds; the others run whole pipelines


ALONE = (
    "test_faults",
    "test_hostile",
    "test_loop",
    "test_page",
    "test_service_bundles",
    "test_service_faults",
    "test_service_limits",
)  # they load the machine or look at clocks; the others run beside each other


@pytest.hookimpl(tryfirst=True)  # before what `-m` chooses by
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Run the fast modules first, and mark those that run alone."""
    items.sort(key=lambda item: item.module.__name__ not in FAST)
    for item in items:
        if item.module.__name__ in ALONE:
            item.add_marker("alone")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many sets of answers were baked and checked, and how long a bake took."""
    passed = [report for report in terminalreporter.stats.get("passed", []) if "::test_answer_set[" in report.nodeid]
    if passed:
        took = sorted(dict(report.user_properties)["bake_s"] for report in passed)
        median, longest = took[len(took) // 2], took[-1]
        line = f"{len(passed)} answer sets baked and checked; a bake took {median:.2f} s, at most {longest:.2f} s"
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def cookiecutter_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cookiecutter configuration that keeps the replay files of these bakes out of the user's home."""
    folder = tmp_path_factory.mktemp("cookiecutter")
    config = folder / "config.yaml"
    config.write_text(f"cookiecutters_dir: {folder}\nreplay_dir: {folder}\n")
    return config


@pytest.fixture(scope="session")
def bake(cookiecutter_config: Path) -> Bake:
    """Return `bake(folder, **answers)`, which bakes into `folder` and returns the project's path."""

    def bake_into(folder: Path, **answers: str) -> Path:
        project = cookiecutter(
            str(TEMPLATE),
            no_input=True,
            extra_context=answers,
            output_dir=str(folder),
            overwrite_if_exists=True,
            config_file=str(cookiecutter_config),
        )
        return Path(project)

    return bake_into


pytest_plugins = ("projects",)
