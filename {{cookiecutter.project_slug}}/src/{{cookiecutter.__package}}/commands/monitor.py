"""The drift check: the logs into `data/production/`, then the stage `monitor`.

With a number of seconds as argument it goes on for ever, once in so many, and leaves DVC alone, whose cache would keep
each of a day's snapshots. Each check that was done touches the file `CHECKED`: so a container knows that this works.
"""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Event

import yaml

from .. import UserError, champion, read_json, say
from .snapshot import snapshot
from .turn import turn

POINTER, REPORT = Path("models/champion.json"), Path("reports/drift.json")
CHECKED = Path(tempfile.gettempdir()) / "checked"


def check() -> int:
    """Take up the logs and judge them, all of it known to DVC; return its exit code.

    Where nothing has changed, so that the stage does not run, what it said last is said again.
    """
    with turn():
        say("snapshot", snapshot())
        before = REPORT.stat().st_mtime_ns if REPORT.exists() else None
        command = [sys.executable, "-m", "dvc", "repro", "--single-item", "monitor"]
        code = subprocess.run(command, check=False).returncode
        if code == 0 and REPORT.exists() and REPORT.stat().st_mtime_ns == before:
            report = read_json(REPORT)
            say("monitor", f"{report['decision']}: {'; '.join(report['reasons'])}")
        return code


def newest(path: Path) -> float:
    """Return when a file, or anything in a folder, was last written."""
    return max(item.stat().st_mtime for item in (path, *path.rglob("*")))


def glance() -> int:
    """Take up the logs, and run the stage's command if anything that it reads is newer than its report."""
    stage = yaml.safe_load(Path("dvc.yaml").read_text("utf-8"))["stages"]["monitor"]
    report = Path(next(iter(stage["outs"][0])))
    with turn():
        told = snapshot(tracked=False)
        if report.exists() and newest(report) >= max(newest(Path(path)) for path in [*stage["deps"], "params.yaml"]):
            return 0
        say("snapshot", told)
        command = stage["cmd"].replace("\\${", "${")  # as DVC reads it
        return subprocess.run(command, shell=True, check=False).returncode


def watch(every_s: float, stop: Event) -> None:
    """Look once in so many seconds until told to stop; what goes wrong is said, and tried again the next time."""
    while not stop.is_set():
        begun = time.monotonic()
        try:
            if champion.read(POINTER)["version"] is None:
                say("monitor", "there is no champion yet, and nothing to check")
                CHECKED.touch()
            elif glance() == 0:
                CHECKED.touch()
        except (UserError, OSError, ValueError) as error:
            say("monitor", str(error))
        stop.wait(max(0, every_s - (time.monotonic() - begun)))


def main(arguments: list[str]) -> int:
    """Check once, or look for ever; return the exit code."""
    if not arguments:
        try:
            return check()
        except (UserError, OSError) as error:
            sys.exit(f"monitor: {error}")
    try:
        every_s = float(arguments[0])
    except ValueError:
        sys.exit(f"monitor: {arguments[0]!r} is no number of seconds")
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    watch(every_s, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
