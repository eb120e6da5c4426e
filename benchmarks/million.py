"""What a million logged predictions with their labels cost: the snapshot, the same again with nothing new, the monitor.

October's flights are answered by the champion through the service's own code; the log is then repeated under other ids.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from repro import HERE, bake, run

RESULTS = HERE / "results" / "million.json"
MUST_S, MUST_MB = 60, 2000  # snapshot and monitor together; the larger of both
COPIES = 35
LOG = """
import json, os
from pathlib import Path
import pandas as pd
from flight_delays.bundle import load
from flight_delays.commands.simulate import plain
from flight_delays.schema import CONTRACT
from flight_delays.service.champion import Model
from flight_delays.service.inference import answer
version = json.loads(Path("models/champion.json").read_text())["version"]
model = Model(load(Path("models/versions") / version / "bundle"), 1000)
rows = pd.read_parquet("data/stream/stream.parquet")
rows = rows[rows[CONTRACT.time] < "2013-11-01"]
predictions, labels = [], []
Path("logs").mkdir(exist_ok=True)
for start in range(0, len(rows), 1000):
    part = rows.iloc[start : start + 1000]
    body = {"instances": plain(part.drop(columns=CONTRACT.target))}
    body = json.dumps(body, default=pd.Timestamp.isoformat).encode()
    predictions.append(answer(model, [model.protocol.read(body)], "benchmark").lines)
    for line, label in zip(predictions[-1].splitlines(), part[CONTRACT.target].tolist(), strict=True):
        said = json.loads(line)
        labels.append(json.dumps({"time": said["time"], "id": said["id"], "label": label}).encode())
for copy in range(int(os.environ["COPIES"])):
    for kind, lines in (("predictions", b"".join(predictions)), ("labels", b"\\n".join(labels) + b"\\n")):
        marked = lines.replace(b'"id":"p', b'"id":"p%02d' % copy).replace(b'"id": "p', b'"id":"p%02d' % copy)
        Path(f"logs/{kind}-20990101T0000{copy:02}-x.jsonl").write_bytes(marked)
"""


def measured(project: Path, *command: str) -> dict[str, float]:
    """Return the seconds that a command took and the most memory that it held."""
    begun = time.perf_counter()
    process = subprocess.Popen([str(project / ".venv/bin/python"), *command], cwd=project, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return {"seconds": round(time.perf_counter() - begun, 1), "resident_mb": round(usage.ru_maxrss / 1024)}


def main() -> None:
    """Measure, print a table and write it down; exit 1 if it takes too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    os.environ |= {"COPIES": str(COPIES), "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "true"}
    with tempfile.TemporaryDirectory() as folder:
        project = bake(Path(folder))
        run(project, "make", "setup", "pipeline")
        begun = time.perf_counter()
        run(project, str(project / ".venv/bin/python"), "-c", LOG)
        print(f"logs made in {time.perf_counter() - begun:.0f} s", file=sys.stderr)
        monitor = "models/champion.json models/versions data/production reports/drift.json reports/drift.html"
        found = {
            "snapshot": measured(project, "-m", "flight_delays.commands.snapshot"),
            "monitor": measured(project, "-m", "flight_delays.stages.monitor", *monitor.split(), "reports/loop.html"),
            "snapshot, nothing new": measured(project, "-m", "flight_delays.commands.snapshot"),
        }
        rows = json.loads((project / "reports/drift.json").read_text())["rows"]
    RESULTS.write_text(json.dumps({"predictions": rows} | found, indent=2) + "\n")
    print(f"| {rows:,} predictions | s | MB |\n|---|---|---|")
    for name, cost in found.items():
        print(f"| {name} | {cost['seconds']} | {cost['resident_mb']} |")
    seconds = found["snapshot"]["seconds"] + found["monitor"]["seconds"]
    if rows < 1_000_000 or seconds > MUST_S or max(cost["resident_mb"] for cost in found.values()) > MUST_MB:
        sys.exit(f"missed: at most {MUST_S} s and {MUST_MB} MB for a million")


if __name__ == "__main__":
    main()
