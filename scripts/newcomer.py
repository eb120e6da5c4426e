"""Time a newcomer's way from an empty folder to the first served prediction, by a clone and by cookiecutter.

Prints each command with its seconds, and writes benchmarks/results/newcomer.json. The package cache is taken as it is.
"""

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from demo import free_port

HERE = Path(__file__).resolve().parent.parent
RESULTS = HERE / "benchmarks/results/newcomer.json"
PROJECT = "flight-delays"
OUTSIDE = ("VIRTUAL_ENV", "MAKE", "MFLAGS", "PYTHONPATH", "GIT_", "DVC_", "MLFLOW_", "SERVICE_")


def ways(template: Path, port: int) -> dict[str, list[str]]:
    """Return the commands of each way; one that ends in & goes on while the next ones run."""
    url = f"http://127.0.0.1:{port}"
    return {
        "clone": [f"git clone --quiet {template} template", "make -C template demo"],
        "cookiecutter": [
            f"cookiecutter {template} --no-input",
            f"make -C {PROJECT} setup pipeline",
            f"make -C {PROJECT} serve PORT={port} &",
            f"curl -sf --retry 30 --retry-delay 1 --retry-connrefused {url}/example | curl -sf {url}/predict --json @-",
        ],
    }


def run(command: str, folder: Path) -> tuple[float, str]:
    """Run a command in a shell, and return its seconds and its last words."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(OUTSIDE)}
    given["PATH"] = f"{given['PATH']}:{Path(sys.executable).parent}"  # cookiecutter, unless it is installed
    begun = time.perf_counter()
    shell = ["bash", "-o", "pipefail", "-c", command]
    log = folder / "output.txt"
    with log.open("w") as output:
        done = subprocess.run(shell, cwd=folder, env=given, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.exit(f"{command} ended with {done.returncode}:\n{log.read_text()[-3000:]}")
    return time.perf_counter() - begun, log.read_text()


def go(commands: list[str], folder: Path) -> dict[str, float]:
    """Run one way in an empty folder, stop what it left running, and return the seconds of each command."""
    seconds, left = {}, None
    try:
        for command in commands:
            if command.endswith("&"):
                program = command.removesuffix("&").split()
                left = subprocess.Popen(program, cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True)
                seconds[command] = 0.0
            else:
                seconds[command], said = run(command, folder)
            print(f"{seconds[command]:8.1f} s  {command}", flush=True)
    finally:
        if left:
            os.killpg(left.pid, signal.SIGTERM)
            left.wait()
    assert '"model_version"' in said, f"no prediction was served:\n{said[-1000:]}"
    return seconds


def main() -> None:
    """Time both ways, and write what came of it."""
    found = {}
    for way, commands in ways(HERE, free_port()).items():
        with tempfile.TemporaryDirectory() as folder:
            seconds = go(commands, Path(folder))
        named = {command.replace(str(HERE), "TEMPLATE"): round(took, 1) for command, took in seconds.items()}
        found[way] = {"commands": named, "total_s": round(sum(seconds.values()), 1)}
        print(f"{sum(seconds.values()):8.1f} s  {way}, {len(commands)} commands", flush=True)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    RESULTS.write_text(json.dumps({"machine": machine} | found, indent=2) + "\n")


if __name__ == "__main__":
    main()
