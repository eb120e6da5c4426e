"""What DVC, stages and checks cost: a cold and an unchanged `dvc repro`, each against the least that does the same.

Everything is timed in one run on one machine, the sides of a turn in an order drawn anew: who runs second finds what
the first left in the caches. A ratio is the median over turns of one side's seconds to the other's: neighbours slow
both.
"""

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
TEMPLATE = HERE.parent
BARE = HERE / "bare.py"
RESULTS = HERE / "results" / "repro.json"
QUIET = {"DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
ROUND = (("cold", "bare"), *(("unchanged", "empty", "bake"),) * 5)  # its turns; what takes a second has more of them
DVC_REPRO = ("-m", "dvc", "repro")


def run(folder: Path, *command: str) -> float:
    """Run a command to its end and return its seconds; one that fails is shown and ends the benchmark."""
    environment = os.environ | QUIET | {"DVC_SITE_CACHE_DIR": str(folder / ".dvc/tmp/site")}
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return seconds


def bake(folder: Path) -> Path:
    """Bake the default answers into `folder` and return the project."""
    cookiecutter = [str(Path(sys.executable).with_name("cookiecutter")), str(TEMPLATE), "--no-input"]
    run(TEMPLATE, *cookiecutter, "--overwrite-if-exists", "--output-dir", str(folder))
    return next(path for path in folder.iterdir() if path.is_dir())


def chill(project: Path) -> None:
    """Remove what a pipeline made, DVC's cache included; the virtual environment and the local settings stay."""
    run(project, "git", "checkout", "--quiet", ".")
    run(project, "git", "clean", "-ffdxq", "--exclude", ".venv", "--exclude", ".env")


def empty_pipeline(folder: Path, python: str) -> Path:
    """Return a DVC repository whose pipeline has no stages."""
    folder.mkdir()
    run(folder, "git", "init", "--quiet")
    run(folder, python, "-m", "dvc", "init", "--quiet")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    return folder


def commit(project: Path) -> None:
    """Commit the project as it was baked."""
    run(project, "git", "add", "--all")
    author = ("-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.org")
    run(project, "git", *author, "commit", "--quiet", "--message", "Bake")


def measure(runs: int, folder: Path) -> dict[str, list[float]]:
    """Return the seconds of every side in turn: `runs` of the long ones, five times as many of the others."""
    project = bake(folder / "baked")
    commit(project)
    run(project, "make", "setup")
    python = str(project / ".venv/bin/python")
    empty = empty_pipeline(folder / "empty", python)
    results = folder / "bare"
    results.mkdir()

    def unmeasured() -> None:
        """Prepare nothing."""

    sides: dict[str, tuple[Callable[[], None], Callable[[], float]]] = {
        "cold": (lambda: chill(project), lambda: run(project, python, *DVC_REPRO)),
        "bare": (unmeasured, lambda: run(results, python, str(BARE), str(results))),
        "unchanged": (unmeasured, lambda: run(project, python, *DVC_REPRO)),
        "empty": (unmeasured, lambda: run(empty, python, *DVC_REPRO)),
        "bake": (lambda: shutil.rmtree(folder / "again", ignore_errors=True), lambda: baked(folder / "again")),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    chance = random.Random(7)
    for number in range(-1, runs):  # the first round warms caches and is thrown away
        for name in (name for turn in ROUND for name in chance.sample(turn, len(turn))):
            prepare, side = sides[name]
            prepare()
            took = side()
            if number >= 0:
                seconds[name].append(round(took, 3))
        print(f"round {number + 1} of {runs} done", file=sys.stderr)
    return seconds


def baked(folder: Path) -> float:
    """Return the seconds of a bake into `folder`."""
    begun = time.perf_counter()
    bake(folder)
    return time.perf_counter() - begun


def summary(seconds: dict[str, list[float]]) -> dict[str, object]:
    """Return medians and the ratios that docs and targets speak of."""
    median = {name: round(statistics.median(taken), 3) for name, taken in seconds.items()}
    pairs = {"cold / bare": ("cold", "bare"), "unchanged / empty": ("unchanged", "empty")}
    turns = {name: [a / b for a, b in zip(*map(seconds.get, pair), strict=True)] for name, pair in pairs.items()}
    ratios = {name: round(statistics.median(each), 2) for name, each in turns.items()}
    machine = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version(), "system": platform.system()}
    return {"machine": machine, "median_s": median, "ratios": ratios, "seconds": seconds}


def main() -> None:
    """Measure, print a table and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="rounds; each runs every side once")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = summary(measure(arguments.runs, Path(folder)))
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print("| | median s |\n|---|---|")
    for name, value in report["median_s"].items():  # type: ignore[attr-defined]  # plain data
        print(f"| {name} | {value} |")
    print("\n| ratio | value |\n|---|---|")
    for name, value in report["ratios"].items():  # type: ignore[attr-defined]  # plain data
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
