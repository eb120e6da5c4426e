"""Stage `track`: receipts and versions -> MLflow, as a projection: lose the store and this fills another.

Each receipt becomes exactly one run, found again by its digest; a run that was cut short is taken up and finished. Each
promoted version becomes a registered version, and the alias `champion` follows `models/champion.json`. The only module
that knows MLflow.
"""

import logging
import os
import subprocess
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from ..champion import lineage, read
from ..errors import UserError
from ..files import digest_json, read_json
from . import run, say

SETTINGS = {  # read when mlflow is imported
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a dead server would otherwise be asked for eight minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}
os.environ |= SETTINGS | {name: os.environ[name] for name in SETTINGS if name in os.environ}

import mlflow  # noqa: E402  after its settings
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.models import ModelSignature  # noqa: E402
from mlflow.types import ColSpec, DataType, Schema  # noqa: E402

PACKAGE = Path(__file__).parents[1]
NAME = PACKAGE.name  # of the experiment and of the registered model
STORE = Path("mlflow.db")
TYPES = {
    "number": DataType.double,
    "integer": DataType.long,
    "boolean": DataType.boolean,
    "category": DataType.string,
    "datetime": DataType.datetime,
}


class Source(NamedTuple):
    """What becomes a run: a receipt, its bundle, its metrics and the reports that a person reads."""

    receipt: dict[str, Any]
    bundle: Path
    metrics: dict[str, Any]
    reports: list[Path]


def connect() -> tuple[mlflow.MlflowClient, str]:
    """Return a client of the store that MLFLOW_TRACKING_URI names, by default ./mlflow.db, and the experiment's id.

    Artifact paths in a local store are absolute: one that came along from another folder is kept aside and filled anew.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        uri = f"sqlite:///{STORE.absolute().as_posix()}"
        mlflow.set_tracking_uri(uri)
        known = mlflow.get_experiment_by_name(NAME) if STORE.exists() else None
        if known and not known.artifact_location.removeprefix("file://").startswith(f"{Path.cwd().as_posix()}/"):
            aside = STORE.with_name(f"mlflow-{digest_json(known.artifact_location)[:6]}.db")
            say("track", f"{STORE} was made in another folder; it is kept as {aside}, and a new one is filled")
            mlflow.set_tracking_uri("")
            STORE.rename(aside)
            mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient(), mlflow.set_experiment(NAME).experiment_id


def oldest_first(versions: Path, champion: str | None) -> list[str]:
    """Return all versions: first what is not in the champion's line, then that line."""
    line = lineage(versions, champion)[::-1]
    return sorted({path.name for path in versions.iterdir() if path.is_dir() and path.name[0] != "."} - {*line}) + line


def sources(challenger_dir: Path, versions: Path, champion: str | None, reports: Path) -> list[Source]:
    """Return every version, the oldest first, then the challenger if it is none of them."""
    found = []
    for folder in (versions / version for version in oldest_first(versions, champion)):
        read_by_people = [folder / "card.md", folder / "decision.json"]
        found.append(Source(read_json(folder / "receipt.json"), folder / "bundle", read_json(folder / "promise.json"), read_by_people))
    receipt = read_json(challenger_dir / "receipt.json")
    read_by_people = [path for name in ("decision.md", "decision.json", "validation.json", "plots") if (path := reports / name).exists()]
    challenger = Source(receipt, challenger_dir / "bundle", read_json(reports / "metrics.json"), read_by_people)
    same = [index for index, source in enumerate(found) if source.receipt == receipt]
    if same:
        found[same[0]] = challenger._replace(reports=read_by_people + found[same[0]].reports[:1])
    else:
        found.append(challenger)
    return found


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested data with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def log(client: mlflow.MlflowClient, experiment: str, source: Source) -> bool:
    """Make the run of this receipt, or finish the one that was begun; return whether there was anything to do."""
    key = digest_json(source.receipt)
    runs = client.search_runs([experiment], f"tags.receipt = '{key}'", max_results=1)
    if runs and runs[0].info.status == "FINISHED":
        return False
    found = runs[0] if runs else client.create_run(experiment, run_name=source.receipt["version"], tags={"receipt": key})
    run_id, at = found.info.run_id, found.info.start_time
    revision = subprocess.run(["git", "rev-parse", "--verify", "--quiet", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    tags = {"mlflow.source.git.commit": revision, "recipe": source.receipt["recipe"], "bundle": source.receipt["version"]}
    client.log_batch(
        run_id,
        # `low` and `high` become metrics beside their estimate; the same timestamp makes a repetition no second point
        metrics=[Metric(name.removesuffix(".value").replace(".", "_"), value, at, 0) for name, value in flat(source.metrics).items() if isinstance(value, int | float)],
        params=[Param(name, str(value)) for name, value in flat(source.receipt["params"]).items()],
        tags=[RunTag(name, value) for name, value in tags.items() if value],
    )
    data = [Dataset(side, source.receipt[f"{side}_rows"][:36], "local", f"data/split/{side}.parquet") for side in ("train", "test")]
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", dataset.name)]) for dataset in data])
    for path in source.reports:
        client.log_artifacts(run_id, str(path), path.name) if path.is_dir() else client.log_artifact(run_id, str(path))
    if not ready_models(client, experiment, run_id):
        log_model(run_id, source.bundle)
    client.set_terminated(run_id, "FINISHED")
    return True


def ready_models(client: mlflow.MlflowClient, experiment: str, run_id: str) -> list[Any]:
    """Return the models that the run has logged whole."""
    models = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'")
    return [model for model in models if model.status == "READY"]


def log_model(run_id: str, bundle: Path) -> None:
    """Log the bundle as a pyfunc model: no pickle, the code of this package beside it."""
    contract = read_json(bundle / "contract.json")
    # a missing integer reaches pandas as a float
    types = {f["name"]: DataType.double if f["type"] == "integer" and f["missing"] else TYPES[f["type"]] for f in contract["features"]}
    inputs = [ColSpec(types[f["name"]], f["name"], required=not f["missing"]) for f in contract["features"]]
    with mlflow.start_run(run_id=run_id):
        mlflow.pyfunc.log_model(
            name="model",
            loader_module=f"{NAME}.bundle",
            data_path=str(bundle),
            code_paths=[str(PACKAGE)],
            signature=ModelSignature(Schema(inputs)),
            pip_requirements=["numpy", "onnxruntime"],
        )


def register(client: mlflow.MlflowClient, experiment: str, versions: Path, champion: str | None) -> int:
    """Register every version that is not yet, point the alias `champion` where champion.json points, return how many there are."""
    registered = {}
    try:
        registered = {v.tags.get("bundle"): v.version for v in client.search_model_versions(f"name = '{NAME}'")}
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    for version in oldest_first(versions, champion):
        if version in registered:
            continue
        run_id = client.search_runs([experiment], f"tags.bundle = '{version}'", max_results=1)[0].info.run_id
        model = ready_models(client, experiment, run_id)[0]
        registered[version] = mlflow.register_model(model.model_uri, NAME, tags={"bundle": version}).version
    if champion:
        client.set_registered_model_alias(NAME, "champion", registered[champion])
    return len(registered)


def main(challenger_dir: Path, champion_path: Path, versions: Path, reports: Path) -> str:
    """Fill the store."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    champion = read(champion_path)["version"]
    try:
        client, experiment = connect()
        logged = [source for source in sources(challenger_dir, versions, champion, reports) if log(client, experiment, source)]
        count = register(client, experiment, versions, champion)
    except MlflowException as error:
        if isinstance(error.__cause__, OSError) or "API request" in str(error):
            where = mlflow.get_tracking_uri()
            raise UserError(f"MLflow at {where} does not answer; start it or correct MLFLOW_TRACKING_URI, then run `dvc repro`") from error
        raise
    return f"{len(logged)} new runs, {count} registered versions of {NAME}, champion {champion or 'none'}, in {mlflow.get_tracking_uri()}"


if __name__ == "__main__":
    run(main)
