"""Where an answer came from: a prediction's id -> its model, what that promised, its rows, run, commit and files."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from .. import UserError, read_json, say, tell, unmerged
from .snapshot import LOGS, PRODUCTION, VERSIONS

POINTER, LOCK = "models/champion.json", "dvc.lock"
OUTS = ("data/split", "models/fitted", "models/challenger")


def find(prediction: str) -> tuple[dict[str, Any], Path]:
    """Return what is on record of a prediction (`time`, `model_version`), and the file: a live log, else a snapshot.

    Raises:
        UserError: no file holds it.
    """
    needle = prediction.encode()
    for path in sorted(LOGS.glob("predictions-*.jsonl")):
        with path.open("rb") as lines:
            for line in lines:  # a torn last line has no end and was no answer
                if needle in line and line[-1:] == b"\n" and (found := json.loads(line))["id"] == prediction:
                    return found, path
    for path in sorted(PRODUCTION.glob("*.parquet")):  # <day>-<version>
        if rows := pq.read_table(path, columns=["time"], filters=[("id", "==", prediction)]).to_pylist():
            return rows[0] | {"model_version": path.stem[len("2013-10-01-") :]}, path
    raise UserError(f"no prediction {prediction!r} in {LOGS}/predictions-*.jsonl or {PRODUCTION}/*.parquet")


def promised(version: str) -> str:
    """Return how the version was promoted and the loss that it promised."""
    decision, promise = (read_json(VERSIONS / version / f"{name}.json") for name in ("decision", "promise"))
    loss, policy = decision["loss"], decision["policy"]
    low, high = promise["intervals"][loss]
    return f"{version}, {decision['decision']} by policy {policy}, promised {loss} {promise[loss]} [{low}, {high}]"


def trained(version: str) -> str:
    """Return which rows the version was trained on, by what recipe."""
    receipt = read_json(VERSIONS / version / "receipt.json")
    rows, result = receipt["train_rows"][:12], receipt["result"]
    return f"{result['rows']:,} rows {rows}, {result['estimator']}, recipe {receipt['recipe'][:12]}"


def tracked(version: str) -> str:
    """Return the run of the version; a store that is dead or empty is no failure of this command."""
    from ..stages import track  # here, since it takes seconds

    if not os.environ.get("MLFLOW_TRACKING_URI") and not (track.STORE.exists() and track.is_here(track.STORE)):
        return f"there is no store {track.STORE} of this folder; `make track` fills one"
    try:
        client, experiment = track.connect()
        runs = client.search_runs([experiment], f"tags.bundle = '{version}'", max_results=1)
    except Exception as error:  # of HTTP, of a database, of MLflow
        return f"the store cannot be asked ({type(error).__name__}); start it or correct MLFLOW_TRACKING_URI"
    return f"{runs[0].info.run_id} of experiment {track.NAME}" if runs else "none of this version; run `make track`"


def git(*args: str) -> str:
    """Return what git prints, or nothing where it fails."""
    return subprocess.run(["git", *args], capture_output=True, text=True, check=False).stdout


def files(commit: str) -> str:
    """Return the digests that dvc.lock had in the commit, else has in the work tree, of what the model was made of."""
    unmerged(Path(LOCK))
    kept = Path(LOCK).read_text("utf-8") if Path(LOCK).exists() else ""
    stages = (yaml.safe_load(git("show", f"{commit}:./{LOCK}") if commit else kept) or {}).get("stages", {}).values()
    found = {out["path"]: out.get("md5", "") for stage in stages for out in stage.get("outs", [])}
    return ", ".join(f"{path} {found.get(path, 'none')}" for path in OUTS) + ("" if commit else " (work tree)")


def lineage(*given: Path) -> str:
    """Print a line on each link from a prediction back to the data, and return the last.

    Raises:
        UserError: not one prediction is given, or none of that id is on record.
    """
    if len(given) != 1:
        raise UserError("say which prediction: give the one id that the service answered with it")

    def tell_of(link: str, look: Callable[[str], str], name: str) -> None:
        try:
            told = look(name)
        except FileNotFoundError as error:
            told = f"{error.filename} is missing; restore it with `dvc checkout`"
        say("lineage", f"{link:<10}  {told}")

    found, path = find(str(given[0]))
    version = found["model_version"]
    commit, _, told = git("log", f"-S{version}", "--reverse", "--format=%H %cs %s", "--", POINTER).partition(" ")
    say("lineage", f"prediction  {given[0]} of {found['time']} in {path}")
    tell_of("model", promised, version)
    tell_of("trained on", trained, version)
    tell_of("MLflow run", tracked, version)
    say("lineage", f"git commit  {commit} {told.splitlines()[0]}" if commit else "git commit  not committed yet")
    return f"dvc.lock    {files(commit)}"


if __name__ == "__main__":
    tell(lineage)
