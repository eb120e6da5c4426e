"""Which model answers: swapped whole or not at all, and what cannot be trusted is refused while the old one serves."""

import hashlib
import json
import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from projects import PACKAGE, Project
from services import Service, ask, example, logged, metric, serving, together, until

SWAPS, CLIENTS = 100, 64
INFER = f"/v2/models/{PACKAGE}/infer"
DATATYPES = {"weight": "FP64", "visits": "INT64", "insured": "BOOL"}

# Rows on which two bundles differ, and what each of them answers, one row at a time.
ANSWERS = f"""
import json, sys, numpy as np
from pathlib import Path
from {PACKAGE} import bundle
one, other = (bundle.load(Path("models/versions") / version / "bundle") for version in sys.argv[1:])
rows = json.loads((one.path / "golden.json").read_text())["rows"]
def ask(served):
    return [served.scores(bundle.columns_of([row])).tolist()[0][-1] for row in rows]
print(json.dumps([rows, ask(one), ask(other)]))
"""

# Adds to every score: NaN where the first number lies above a limit, else 0.
SPOIL = """
import sys, numpy as np, onnx
from onnx import helper, numpy_helper
path, limit = sys.argv[1], float(sys.argv[2])
model = onnx.load(path)
graph = model.graph
for node in graph.node:
    node.output[:] = ["sound" if name == "scores" else name for name in node.output]
constants = {"first": np.array([0]), "limit": np.float32(limit), "nan": np.float32("nan"), "nil": np.float32(0)}
graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
graph.node.extend([
    helper.make_node("Gather", ["numbers", "first"], ["weight_"], axis=1),
    helper.make_node("Greater", ["weight_", "limit"], ["above"]),
    helper.make_node("Where", ["above", "nan", "nil"], ["added"]),
    helper.make_node("Add", ["sound", "added"], ["scores"]),
])
onnx.save(model, path)
"""


def sealed(folder: Path) -> str:
    """Write the manifest of a bundle as its files are now, and return its version."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    digests = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    (folder / "manifest.json").write_text(json.dumps(digests, indent=2, sort_keys=True) + "\n")
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()[:12]


def bundle_of(project: Project, version: str) -> Path:
    """Return the folder of a version's bundle."""
    return project.path / "models/versions" / version / "bundle"


def resealed(project: Project, version: str, change: Callable[[Path], object]) -> str:
    """Return a new version: the bundle of another one, changed and sealed as if it had come out of `export`."""
    scratch = project.path / "scratch"
    shutil.copytree(bundle_of(project, version), scratch)
    change(scratch)
    new = sealed(scratch)
    bundle_of(project, new).parent.mkdir(parents=True)
    scratch.rename(bundle_of(project, new))
    return new


def point(project: Project, version: object) -> None:
    """Make a version the champion as `promote` does: the pointer is replaced as a whole."""
    scratch = project.path / "models/.champion.json.new"
    scratch.write_text(json.dumps({"version": version, "previous": None, "blocked": []}, indent=2) + "\n")
    scratch.replace(project.path / "models/champion.json")


def served(service: Service) -> str:
    """Return the version that answers a valid request."""
    answer = ask(service, "/predict", body(service.project))
    assert answer.status == 200, answer
    return str(answer.json()["model_version"])


def body(project: Project) -> dict[str, Any]:
    """Return a valid request, taken from the golden rows of any version."""
    golden = next((project.path / "models").rglob("golden.json"))
    return {"instances": json.loads(golden.read_text())["rows"][:1]}


def edit(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    """Return a change of a bundle: what a JSON file of it holds is changed in place."""

    def apply(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return apply


def flip(path: Path, at: float = 0.5) -> None:
    """Flip a bit of a file."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 1
    path.write_bytes(data)


@pytest.fixture(scope="module")
def pair(small_built: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str, str]:
    """Return a project with two versions that answer differently, the first of them its champion."""
    project = small_built.copy(tmp_path_factory.mktemp("pair"))
    project.set("train.max_iter", 20)
    project.stages("train", "export")
    other = str(project.json("models/challenger/receipt.json")["version"])
    shutil.copytree(project.path / "models/challenger/bundle", bundle_of(project, other))
    return project, str(project.champion["version"]), other


@pytest.fixture
def two(pair: tuple[Project, str, str], tmp_path: Path) -> tuple[Project, str, str]:
    """Return a copy of `pair` to do anything with."""
    project, one, other = pair
    return project.copy(tmp_path), one, other


def as_infer(row: dict[str, Any]) -> bytes:
    """Return a row as an inference request."""
    inputs = [
        {"name": name, "shape": [1], "datatype": DATATYPES.get(name, "BYTES"), "data": [value]}
        for name, value in row.items()
    ]
    return json.dumps({"inputs": inputs}).encode()


def test_a_hundred_swaps_under_64_clients_fail_no_request_and_mix_no_versions(two: tuple[Project, str, str]) -> None:
    project, one, other = two
    rows, by_one, by_other = project.python(ANSWERS, one, other)
    usable = [k for k in range(len(rows)) if abs(by_one[k] - by_other[k]) > 1e-3]
    assert len(usable) > 5
    expected = {one: by_one, other: by_other}
    counts: Counter[str] = Counter()
    wrong: list[object] = []
    ended = threading.Event()

    with serving(project) as service:

        def client(number: int) -> None:
            k = usable[number % len(usable)]
            native = json.dumps({"instances": [rows[k]]}).encode()
            with service.connect() as connection:
                while not ended.is_set():
                    if number % 2:
                        answer = connection.ask("/predict", native)
                        probability = answer.json()["predictions"][0]["probability"] if answer.status == 200 else None
                    else:
                        answer = connection.ask(INFER, as_infer(rows[k]))
                        outputs = answer.json().get("outputs", [])
                        probability = next((o["data"][0] for o in outputs if o["name"] == "probability"), None)
                    version = answer.json().get("model_version", "")
                    counts[version] += 1
                    if probability is None or abs(probability - expected[version][k]) > 1e-6:
                        wrong.append((answer.status, answer.body))

        def swap() -> None:
            try:
                for number in range(1, SWAPS + 1):
                    point(project, (one, other)[number % 2])
                    until(lambda number=number: metric(service, swaps) == before + number, f"swap {number}")  # type: ignore[misc]
            finally:
                ended.set()

        swaps = "model_swaps_total"
        before = metric(service, swaps)
        together([swap, *(lambda number=number: client(number) for number in range(CLIENTS))])
        print(f"{SWAPS} swaps, {counts.total()} answers: {dict(counts)}, {len(wrong)} wrong")
        assert wrong == []
        assert set(counts) == {one, other}
        assert metric(service, swaps) == before + SWAPS
        assert metric(service, "model_load_failures_total") == 0
    lines = logged(project)
    assert len(lines) == counts.total()
    assert Counter(line["model_version"] for line in lines) == counts


Spoilt = Callable[[Project, str], object]
BUNDLES: dict[str, tuple[Spoilt, str]] = {}


def spoilt(name: str, reason: str) -> Callable[[Spoilt], Spoilt]:
    """Register a way to spoil a version: it changes the folder of that version, or returns another to point to."""

    def register(spoil: Spoilt) -> Spoilt:
        BUNDLES[name] = (spoil, reason)
        return spoil

    return register


def in_place(name: str, reason: str, change: Callable[[Path], object]) -> None:
    """Register a change of a bundle after it was sealed."""
    spoilt(name, reason)(lambda project, version: change(bundle_of(project, version)) and None)


def from_export(name: str, reason: str, change: Callable[[Path], object]) -> None:
    """Register a change of a bundle before it was sealed: digests and name are right."""
    spoilt(name, reason)(lambda project, version: resealed(project, version, change))


def first_feature(**changes: object) -> Callable[[Path], None]:
    """Return a change of the contract's first feature."""
    return edit("contract.json", lambda contract: contract["features"][0].update(changes))


in_place("corrupt graph", r"model\.onnx", lambda folder: flip(folder / "model.onnx"))
in_place("corrupt reference", r"features\.parquet", lambda folder: flip(folder / "reference/features.parquet"))
in_place("truncated graph", r"model\.onnx", lambda folder: (folder / "model.onnx").write_bytes(b"\x08\x08"))
in_place("tampered contract", r"contract\.json", edit("contract.json", lambda contract: contract.update(threshold=0.0)))
in_place("tampered golden rows", r"golden\.json", edit("golden.json", lambda golden: golden["rows"].pop()))
in_place("a file too many", r"extra\.py", lambda folder: (folder / "extra.py").write_text("print()"))
in_place("a file too few", r"golden\.json", lambda folder: (folder / "golden.json").unlink())
in_place("no manifest", r"manifest|bundle", lambda folder: (folder / "manifest.json").unlink())
in_place("a manifest that is none", r"bundle|manifest", lambda folder: (folder / "manifest.json").write_text("[1, "))
in_place("a manifest of another form", r".", lambda folder: (folder / "manifest.json").write_text("[]"))
in_place("no files at all", r"bundle", shutil.rmtree)
from_export("not the graph's columns: fewer", r".", edit("contract.json", lambda c: c["features"].pop(0)))
from_export(
    "not the graph's columns: more",
    r".",
    edit("contract.json", lambda c: c["features"].append(c["features"][0] | {"name": "new"})),
)
from_export("not the graph's columns: another order", r".", edit("contract.json", lambda c: c["features"].reverse()))
from_export("not the graph's columns: another type", r".", first_feature(type="category", categories=["a"], range=None))
from_export("a type that nobody knows", r".", first_feature(type="quaternion"))
from_export("golden rows outside the contract", r".", first_feature(range=[-2, -1]))
from_export(
    "classes that do not fit the graph", r".", edit("contract.json", lambda c: c.update(task="regression", classes=[]))
)
from_export("an empty contract", r".", lambda folder: (folder / "contract.json").write_text("{}"))
from_export("a contract that is no JSON", r".", lambda folder: (folder / "contract.json").write_text("{]"))
from_export("no golden rows", r".", edit("golden.json", lambda golden: golden.update(rows=[], scores=[])))
from_export("golden scores of another model", r"golden", edit("golden.json", lambda golden: golden["scores"].reverse()))
from_export("a graph that is none", r".", lambda folder: (folder / "model.onnx").write_bytes(b"not a graph" * 100))
from_export("an empty graph", r".", lambda folder: (folder / "model.onnx").write_bytes(b""))


@spoilt("sealed again under its old name", r"[0-9a-f]{12}")
def _resealed_in_place(project: Project, version: str) -> None:
    edit("contract.json", lambda contract: contract.update(threshold=0.0))(bundle_of(project, version))
    assert sealed(bundle_of(project, version)) != version


@spoilt("a model that answers NaN", r"golden|finite")
def _nan(project: Project, version: str) -> str:
    return resealed(
        project, version, lambda folder: project.run("python", "-c", SPOIL, str(folder / "model.onnx"), "-1")
    )


@spoilt("a version that is missing", r"000000000000")
def _missing(project: Project, version: str) -> str:
    return "000000000000"


@spoilt("no version at all", r".")
def _none(project: Project, version: str) -> str:
    point(project, None)
    return ""


@spoilt("a version that is a number", r".")
def _number(project: Project, version: str) -> int:
    return 7


@spoilt("a version outside the folder", r".")
def _outside(project: Project, version: str) -> str:
    shutil.copytree(bundle_of(project, version).parent, project.path / "elsewhere")
    return "../../elsewhere"


@spoilt("a pointer that is no JSON", r"champion\.json|JSON|Expecting")
def _no_json(project: Project, version: str) -> str:
    project.write("models/champion.json", '{"version": "')
    return ""


@spoilt("a pointer of another form", r".")
def _list(project: Project, version: str) -> str:
    project.write("models/champion.json", "[]")
    return ""


@spoilt("no pointer", r"champion\.json")
def _no_pointer(project: Project, version: str) -> str:
    (project.path / "models/champion.json").unlink()
    return ""


POINTERS = ("no version at all", "no pointer", "a pointer that is no JSON", "a pointer of another form")  # no version


def test_no_spoilt_bundle_is_taken_up_and_the_old_one_serves_on(two: tuple[Project, str, str]) -> None:
    project, one, other = two
    keep = project.path / "keep"
    shutil.copytree(bundle_of(project, other), keep)
    with serving(project) as service:
        for name, (spoil, reason) in BUNDLES.items():
            failures, said = metric(service, "model_load_failures_total"), len(service.output)
            new = spoil(project, other)
            if new != "":
                point(project, new or other)

            def why(said: int = said, reason: str = reason) -> bool:
                lines = service.output[said:].splitlines()
                return any('"ERROR"' in line and re.search(reason, line) for line in lines)

            until(why, f"the reason against {name}", 10)
            assert name in POINTERS or metric(service, "model_load_failures_total") > failures, name
            assert served(service) == one, name
            assert ask(service, "/v2/health/ready").status == 200, name
            assert ask(service, "/v2/models").json()["models"][0]["version"] == one, name
            point(project, one)
            shutil.rmtree(bundle_of(project, other), ignore_errors=True)
            shutil.copytree(keep, bundle_of(project, other))
        print(f"{len(BUNDLES)} spoilt bundles and pointers, none taken up")
        assert "Traceback" not in service.output
        assert metric(service, "model_info", f'version="{one}"') == 1
        point(project, other)
        until(lambda: served(service) == other, "the sound one")


def test_pointing_back_is_a_rollback(two: tuple[Project, str, str]) -> None:
    project, one, other = two
    with serving(project) as service:
        before = ask(service, "/predict", body(project)).json()["predictions"][0]["probability"]
        point(project, other)
        until(lambda: served(service) == other, "the second version", 5)
        point(project, one)
        until(lambda: served(service) == one, "the first version", 5)
        assert ask(service, "/predict", body(project)).json()["predictions"][0]["probability"] == before
        assert metric(service, "model_info", f'version="{one}"') == 1
        assert metric(service, "model_info", f'version="{other}"') == 0


@pytest.mark.parametrize(
    "name",
    ["corrupt graph", "a version that is missing", "a model that answers NaN", "no pointer", "no version at all"],
)
def test_without_a_good_model_it_is_live_not_ready_and_ready_by_itself(
    two: tuple[Project, str, str], name: str
) -> None:
    project, _, other = two
    keep = project.path / "keep"
    shutil.copytree(bundle_of(project, other), keep)
    spoil, reason = BUNDLES[name]
    new = spoil(project, other)
    if new != "":
        point(project, new or other)
    with serving(project, ready=False) as service:
        assert ask(service, "/v2/health/live").status == 200
        until(lambda: re.search(reason, ask(service, "/v2/health/ready").error), "the reason", 5)
        not_ready = [ask(service, "/v2/health/ready"), ask(service, "/example"), ask(service, f"/v2/models/{PACKAGE}")]
        not_ready += [ask(service, "/predict", body(project)), ask(service, f"/v2/models/{PACKAGE}/ready")]
        not_ready += [ask(service, INFER, {"inputs": []}), ask(service, "/feedback", {"labels": []})]
        assert [answer.status for answer in not_ready] == [503] * len(not_ready)
        assert all(answer.error for answer in not_ready)
        assert ask(service, "/v2/models").json() == {"models": []}
        assert [ask(service, path).status for path in ("/", "/model", "/metrics", "/v2", "/openapi.json")] == [200] * 5
        assert (metric(service, "model_load_failures_total") >= 1) == (name not in POINTERS)
        shutil.rmtree(bundle_of(project, other), ignore_errors=True)
        shutil.copytree(keep, bundle_of(project, other))
        if not project.path.joinpath("models/champion.json").exists() or project.champion["version"] != other:
            point(project, other)
        until(lambda: ask(service, "/v2/health/ready").status == 200, "it to become ready", 5)
        assert served(service) == other
        assert ask(service, "/predict", example(service)).status == 200
        assert "Traceback" not in service.output


def test_a_first_version_that_the_gate_refused_is_the_reason(small: Project) -> None:
    small.without_champion()
    small.write(
        "reports/decision.json",
        json.dumps(
            {"decision": "refused", "version": "0123456789ab", "reasons": ["not superior to the prior", "too good"]}
        ),
    )
    with serving(small, ready=False) as service:
        said = ask(service, "/v2/health/ready")
        assert said.status == 503
        assert "refused" in said.error
        assert "not superior to the prior" in said.error
        assert "too good" in said.error


def test_an_empty_project_is_live_and_says_what_to_run(small: Project) -> None:
    shutil.rmtree(small.without_champion().path / "reports")
    with serving(small, ready=False) as service:
        said = ask(service, "/v2/health/ready")
        assert (said.status, ask(service, "/v2/health/live").status) == (503, 200)
        assert "make pipeline" in said.error


def test_an_answer_that_is_no_number_is_an_error_of_that_request_alone_and_not_logged(
    two: tuple[Project, str, str],
) -> None:
    project, one, _ = two
    highest = max(row["weight"] for row in json.loads((bundle_of(project, one) / "golden.json").read_text())["rows"])
    assert highest < 59
    point(project, resealed(project, one, lambda f: project.run("python", "-c", SPOIL, str(f / "model.onnx"), "59")))
    with serving(project) as service:
        row = example(service)["instances"][0]
        spoilt_row = row | {"weight": 59.5}
        asked = [json.dumps({"instances": rows}).encode() for rows in ([row, spoilt_row], [spoilt_row], [row])]
        counts: Counter[tuple[str, int]] = Counter()

        def client(number: int) -> None:
            with service.connect() as connection:
                for turn in range(20):
                    kind = "sound" if (number + turn) % 2 else "spoilt"
                    path, data = (INFER, as_infer(row if kind == "sound" else spoilt_row)), asked[2]
                    if number % 4 > 1:
                        path = ("/predict", data if kind == "sound" else asked[turn % 4 // 2])
                    answer = connection.ask(*path)
                    assert answer.status == 200 or answer.error
                    counts[kind, answer.status] += 1

        together([lambda number=number: client(number) for number in range(16)])  # type: ignore[misc]
        print(f"sound and spoilt requests at the same time: {dict(counts)}")
        assert {status for kind, status in counts if kind == "sound"} == {200}
        assert all(status >= 400 for kind, status in counts if kind == "spoilt")
        lines = logged(project)
        assert len(lines) == counts["sound", 200] == 160
        assert all(line["features"]["weight"] < 59 for line in lines)
        assert "Traceback" not in service.output


def test_a_number_without_a_range_still_fits_what_the_model_sees(two: tuple[Project, str, str]) -> None:
    project, one, _ = two
    unranged = edit("contract.json", lambda contract: [feature.update(range=None) for feature in contract["features"]])
    point(project, resealed(project, one, unranged))
    with serving(project) as service:
        row = example(service)["instances"][0]
        text = json.dumps({"instances": [row]})

        def status(column: str, value: str) -> int:
            given = f'"{column}": {json.dumps(row[column])}'
            assert given in text
            return ask(service, "/predict", text.replace(given, f'"{column}": {value}').encode()).status

        assert [status("weight", value) for value in "1e30 -1e30 3.4e38 1e-45 0".split()] == [200] * 5
        refused = [*"1e39 -1e39 3.5e38 1e308 1e400 NaN Infinity".split(), "9" * 400, "9" * 5000]
        assert {value[:9]: status("weight", value) for value in refused} == {value[:9]: 400 for value in refused}
        assert status("visits", "9223372036854775807") == 200
        assert [status("visits", value) for value in ("9223372036854775808", "1e3000", "9" * 5000, "0.5")] == [400] * 4
