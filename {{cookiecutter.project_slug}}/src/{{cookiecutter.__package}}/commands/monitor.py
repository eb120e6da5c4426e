"""The drift check: the logs into `data/production/`, then the stage `monitor`.

With a number of seconds as argument it goes on for ever, once in so many. Each check that was done touches the file
`CHECKED`, by which a container knows that this still works.
"""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Event

from .. import UserError, champion, say
from .snapshot import snapshot
from .turn import turn

POINTER, CHECKED = Path("models/champion.json"), Path(tempfile.gettempdir()) / "checked"


def check() -> int:
    """Take up the logs and judge them; return DVC's exit code."""
    with turn():
        say("snapshot", snapshot())
        return subprocess.run(
            [sys.executable, "-m", "dvc", "repro", "--single-item", "monitor"], check=False
        ).returncode


def watch(every_s: float, stop: Event) -> None:
    """Check once in so many seconds until told to stop; what goes wrong is said, and tried again the next time."""
    while not stop.is_set():
        begun = time.monotonic()
        try:
            if champion.read(POINTER)["version"] is None:
                say("monitor", "there is no champion yet, and nothing to check")
                CHECKED.touch()
            elif check() == 0:
                CHECKED.touch()
        except (UserError, OSError) as error:
            say("monitor", str(error))
        stop.wait(max(0, every_s - (time.monotonic() - begun)))


def main(arguments: list[str]) -> int:
    """Check once, or for ever; return the exit code."""
    try:
        every_s = float(arguments[0]) if arguments else 0
        if not arguments:
            return check()
    except ValueError:
        sys.exit(f"monitor: {arguments[0]!r} is no number of seconds")
    except (UserError, OSError) as error:
        sys.exit(f"monitor: {error}")
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    watch(every_s, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
