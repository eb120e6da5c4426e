"""Stage `track`: receipts and versions -> MLflow, as a projection: lose the store and this fills another.

Each receipt becomes exactly one run, found again by its digest; a run that was cut short is taken up and finished. Each
promoted version is registered, and the alias `champion` follows `models/champion.json`. No other module knows MLflow.
"""

import contextlib
import logging
import os
import shutil
import sqlite3
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from .. import UserError, digest_json, read_json, run, say
from ..champion import home, lineage, read

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}  # read when mlflow is imported
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a dead server would otherwise be asked for minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")

import mlflow
from dulwich.errors import NotGitRepository
from dulwich.repo import Repo
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import AnyType

PACKAGE = Path(__file__).parents[1]
NAME = PACKAGE.name  # of the experiment and of the registered model
STORE = Path("mlflow.db")
TYPES = {"number": "double", "integer": "long", "boolean": "boolean", "category": "string", "datetime": "datetime"}


class Source(NamedTuple):
    """What becomes a run: a receipt, its bundle, its metrics, and the reports that a person reads."""

    receipt: dict[str, Any]
    bundle: Path
    metrics: dict[str, Any]
    reports: list[Path]


def connect() -> tuple[mlflow.MlflowClient, str]:
    """Return a client of the store that MLFLOW_TRACKING_URI names, by default ./mlflow.db, and the experiment's id.

    Artifact paths in a local store are absolute: one that came along from another folder is kept aside and filled anew.
    """
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        if STORE.exists() and not is_here(STORE):
            aside = STORE.rename(f"mlflow-{digest_json(str(_home(STORE)))[:6]}.db")
            say("track", f"{STORE} was made in another folder; it is kept as {aside}, and a new one is filled")
        if not STORE.exists():
            make_store()
        mlflow.set_tracking_uri(f"sqlite:///{STORE.absolute().as_posix()}")
    return mlflow.MlflowClient(), mlflow.set_experiment(NAME).experiment_id


def make_store() -> None:
    """Make the local store aside and move it: killed between two of its tables, MLflow would never go on with it."""
    scratch = Path("mlflow.new.db")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    mlflow.MlflowClient(f"sqlite:///{scratch.absolute().as_posix()}/{STORE}").search_experiments()
    (scratch / STORE).replace(STORE)
    shutil.rmtree(scratch)


def is_here(store: Path) -> bool:
    """Return whether the store's artifacts lie in this folder."""
    made = _home(store)
    return made is None or made.is_relative_to(Path.cwd())


def _home(store: Path) -> Path | None:
    """Return where the store's artifacts lie; read past MLflow, which would keep the file open."""
    with contextlib.closing(sqlite3.connect(store)) as database, contextlib.suppress(sqlite3.OperationalError):
        for (location,) in database.execute("select artifact_location from experiments where name = ?", [NAME]):
            return Path(location.removeprefix("file://"))
    return None


def oldest_first(versions: Path, champion: str | None) -> list[str]:
    """Return all versions: first what is not in the champion's line, then that line."""
    line = lineage(versions, champion)[::-1]
    return sorted({path.name for path in versions.iterdir() if path.name[0] != "."} - {*line}) + line


def sources(challenger_dir: Path, versions: Path, champion: str | None, reports: Path) -> list[Source]:
    """Return the challenger, whose reports are at hand, then every version, the oldest first."""
    receipt, metrics = read_json(challenger_dir / "receipt.json"), read_json(reports / "metrics.json")
    readable = [reports / name for name in ("decision.md", "decision.json", "validation.json", "plots/evaluation.png")]
    readable = [path for path in (*readable, versions / receipt["version"] / "card.md") if path.exists()]
    found = [Source(receipt, challenger_dir / "bundle", metrics, readable)]
    for kept in (versions / version for version in oldest_first(versions, champion)):
        receipt, promise = read_json(kept / "receipt.json"), read_json(kept / "promise.json")
        found.append(Source(receipt, kept / "bundle", promise, [kept / "card.md", kept / "decision.json"]))
    return found


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested data with keys joined by points."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def log(client: mlflow.MlflowClient, experiment: str, source: Source) -> bool:
    """Make the run of this receipt, or finish the one that was begun; return whether there was anything to do."""
    receipt, key = source.receipt, digest_json(source.receipt)
    runs = client.search_runs([experiment], f"tags.receipt = '{key}'", max_results=1)
    if runs and runs[0].info.status == "FINISHED":
        return False
    begun = runs[0] if runs else client.create_run(experiment, run_name=receipt["version"], tags={"receipt": key})
    run_id, at = begun.info.run_id, begun.info.start_time  # the same moment makes a repeated metric no second point
    ends = {name: dict(zip(("low", "high"), pair, strict=True)) for name, pair in source.metrics["intervals"].items()}
    numbers = {k: v for k, v in flat(source.metrics | {"intervals": ends}).items() if isinstance(v, int | float)}
    tags = {"mlflow.source.git.commit": commit(), "recipe": receipt["recipe"], "bundle": receipt["version"]}
    client.log_batch(
        run_id,
        [Metric(name, value, at, 0) for name, value in numbers.items()],
        [Param(f"{s}.{key}", str(value)) for s, keys in receipt["params"].items() for key, value in keys.items()],
        [RunTag(name, value) for name, value in tags.items() if value],
    )
    for side in ("train", "test"):
        data = Dataset(side, receipt[f"{side}_rows"][:36], "local", f"data/split/{side}.parquet")
        client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", side)])])
    for path in source.reports:
        client.log_artifact(run_id, str(path))
    if not models(client, experiment, run_id):
        log_model(run_id, source.bundle)
    client.set_terminated(run_id, "FINISHED")
    return True


def commit() -> str:
    """Return the commit that is checked out, "" where there is none; read without git, which a container lacks."""
    try:
        return str(Repo.discover().head().decode())
    except (NotGitRepository, KeyError):
        return ""


def models(client: mlflow.MlflowClient, experiment: str, run_id: str) -> list[Any]:
    """Return the models that the run has logged whole."""
    found = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'")
    return [model for model in found if model.status == "READY"]


def log_model(run_id: str, bundle: Path) -> None:
    """Log the bundle as a pyfunc model: no pickle, and this package's code beside it."""
    columns = []
    for feature in read_json(bundle / "contract.json")["features"]:
        missing = feature["missing"] > 0
        # with missing values pandas has Int64 or float64, boolean or object; MLflow would refuse one of each
        kind = AnyType() if missing and feature["type"] in ("integer", "boolean") else TYPES[feature["type"]]
        columns.append(ColSpec(kind, feature["name"], required=not missing))
    with mlflow.start_run(run_id=run_id):
        mlflow.pyfunc.log_model(
            name="model",
            loader_module=f"{NAME}.bundle",
            data_path=str(bundle),
            code_paths=[str(PACKAGE)],
            signature=ModelSignature(Schema(columns)),
            pip_requirements=["numpy", "onnxruntime"],
        )


def register(client: mlflow.MlflowClient, experiment: str, versions: Path, champion: str | None) -> int:
    """Register every version that is not yet, point the alias where champion.json points, return how many there are."""
    known = {v.tags.get("bundle"): v.version for v in client.search_model_versions(f"name = '{NAME}'")}
    for version in oldest_first(versions, champion):
        if version not in known:
            run_id = client.search_runs([experiment], f"tags.bundle = '{version}'", max_results=1)[0].info.run_id
            model = models(client, experiment, run_id)[0]
            known[version] = mlflow.register_model(model.model_uri, NAME, tags={"bundle": version}).version
    if champion:
        client.set_registered_model_alias(NAME, "champion", known[champion])
    return len(known)


def main(challenger_dir: Path, champion_path: Path, versions: Path, reports: Path) -> str:
    """Fill the store."""
    if champion := read(champion_path)["version"]:
        home(versions, champion)
    try:
        client, experiment = connect()
        logged = sum(log(client, experiment, source) for source in sources(challenger_dir, versions, champion, reports))
        count = register(client, experiment, versions, champion)
    except MlflowException as error:
        if "API request to" not in str(error):
            raise
        where = mlflow.get_tracking_uri()
        raise UserError(f"MLflow at {where} does not answer; start it or correct MLFLOW_TRACKING_URI") from error
    return f"{logged} new runs, {count} registered versions of {NAME}, champion {champion or 'none'}"


if __name__ == "__main__":
    run(main)
