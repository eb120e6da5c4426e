"""What the drift monitor finds and what it says without reason: simulated windows, labels and the real flights.

Every case has a target and is measured with the parameters that a project is baked with, the simulated ones in 200 runs
each. Exit 1 if a target is missed. A project is baked and its pipeline run, in a temporary folder.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from repro import HERE, QUIET, bake, run

CASES = HERE / "drift_cases.py"
RESULTS = HERE / "results" / "drift.json"
RUNS = 200


def measure(project: Path, runs: int) -> list[dict[str, Any]]:
    """Return the cases, each with its target and what was found."""
    command = [str(project / ".venv/bin/python"), "-W", "ignore", str(CASES), str(runs)]
    environment = os.environ | QUIET | {"PYTHONPATH": str(project / "src")}
    done = subprocess.run(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)  # it has said why
    return list(json.loads(done.stdout))


def target(case: dict[str, Any]) -> str:
    """Return the target of a case, in words."""
    bounds = [f"{sign} {case[name]:.0%}" for name, sign in (("at_least", "≥"), ("at_most", "≤")) if name in case]
    return bounds[0].replace("≤ 0%", "never").replace("≥ 100%", "always") if bounds else ""


def main() -> None:
    """Measure, print a table and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each simulated case; only {RUNS} are written down")
    parser.add_argument("--project", type=Path, help="a baked one whose pipeline has run, instead of a new one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = arguments.project.resolve() if arguments.project else bake(Path(folder, "baked"))
        if not arguments.project:
            run(project, "make", "setup", "pipeline")
        cases = measure(project, arguments.runs)
    machine = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version(), "system": platform.system()}
    if arguments.runs == RUNS:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps({"machine": machine, "cases": cases}, indent=2) + "\n")
    print("| case | n | target | found | holds |\n|---|---|---|---|---|")
    for case in cases:
        found = f"{case['found'] / case['of']:.1%} ({case['found']} of {case['of']})"
        holds = ("yes" if case["holds"] else "no") if target(case) else ""
        print(f"| {case['case']} | {case['n'] or ''} | {target(case)} | {found} | {holds} |")
    missed = [case["case"] for case in cases if not case["holds"]]
    if missed:
        sys.exit(f"missed: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
