"""The service answers as its bundle does, over both protocols, and writes down what it answered."""

import json
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import tasks
from hostile import DATATYPES
from projects import PACKAGE, Project, turn
from services import Answer, Service, ask, example, logged, metric, serving, together, until

Bare = Callable[[Path], Project]

# Rows of the test set with values missing and categories never seen, in the forms that they are sent in, and what the
# bundle itself makes of them. Arguments: version, folder, rows. Last line: the answers, and what the rows hold.
ROWS = f"""
import json, sys, numpy as np, pandas as pd
from pathlib import Path
from {PACKAGE} import bundle, read_rows
version, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
served = bundle.load(Path("models/versions") / version / "bundle")
contract = served.contract
features = contract["features"]
kept = [name for name in (contract["id"], contract["time"]) if name]
columns = [*kept, *(feature["name"] for feature in features)]
rows = read_rows("data/split/test.parquet")[columns].head(count).copy()
for number, feature in enumerate(features):
    if feature["missing"]:
        rows.loc[rows.index[number * 10 : number * 10 + 10], feature["name"]] = None
    if feature["unknown"] == "accept":
        rows.loc[rows.index[-20:], feature["name"]] = "never seen"
def plain(value):
    if pd.isna(value):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else getattr(value, "item", lambda: value)()
records = [dict(zip(rows.columns, map(plain, row))) for row in rows.astype(object).itertuples(index=False)]
(folder / "rows.json").write_text(json.dumps(records))
rows.to_csv(folder / "rows.csv", index=False)
rows.to_parquet(folder / "rows.parquet", index=False)
scores = served.scores(rows)
print(json.dumps(dict(scores=scores.tolist(), classes=list(contract["classes"]), threshold=contract.get("threshold"),
    missing=int(rows[columns[len(kept):]].isna().sum().sum()),
    unseen=int((rows == "never seen").sum().sum()))))
"""

PYFUNC = f"""
import json, logging, sys, mlflow
from {PACKAGE} import read_rows
logging.disable(logging.WARNING)
mlflow.set_tracking_uri("sqlite:///mlflow.db")
rows = read_rows(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/{PACKAGE}@champion")
answers = model.predict(rows[model.metadata.get_input_schema().input_names()])
print(json.dumps({{name: answers[name].tolist() for name in answers.columns}}))
"""

SCORED = """
import json, sys, pandas as pd
from flight_delays import read_rows
path = sys.argv[1]
answers = pd.read_csv(path) if path.endswith(".csv") else read_rows(path)
print(json.dumps({name: answers[name].tolist() for name in answers.columns}))
"""

HEAVY = "mlflow evidently dvc pandas sklearn pandera skops matplotlib scipy pyarrow onnx skl2onnx"
IMPORTED = f"""
import json, sys
import {PACKAGE}.service.app
print(json.dumps(sorted({{name.split(".")[0] for name in sys.modules}} & {set(HEAVY.split())!r})))
"""


@pytest.fixture(scope="module")
def service(small_built: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield the service of the small binary project."""
    with serving(small_built.copy(tmp_path_factory.mktemp("service"))) as found:
        yield found


@pytest.fixture(scope="module")
def flights(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield the service of the default project, its model in a tracking store too."""
    project = built.copy(tmp_path_factory.mktemp("flights"))
    with serving(project) as found:
        yield found


@pytest.fixture(scope="module", params=["multiclass", "regression"])
def other(request: pytest.FixtureRequest, bare: Bare, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield the service of a project of another task."""
    task = {"multiclass": tasks.MULTICLASS, "regression": tasks.REGRESSION}[request.param]
    project = turn(bare(tmp_path_factory.mktemp(request.param)), task)
    project.repro("promote")
    with serving(project) as found:
        yield found


def contract_of(service: Service) -> dict[str, Any]:
    """Return the contract of the champion."""
    version = service.project.champion["version"]
    return dict(service.project.json(f"models/versions/{version}/bundle/contract.json"))


def rows_of(service: Service, folder: Path, count: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return rows to send, and what the bundle says of them; the same rows stand in `folder` as CSV and Parquet."""
    said = service.project.python(ROWS, service.project.champion["version"], str(folder), str(count))
    return json.loads((folder / "rows.json").read_text()), said


def tensors_of(contract: dict[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows as the inputs of an inference request."""
    kinds = {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}
    types = {feature["name"]: kinds.get(feature["type"], "BYTES") for feature in contract["features"]}
    return [
        {"name": name, "shape": [len(rows)], "datatype": types.get(name, "BYTES"), "data": [row[name] for row in rows]}
        for name in rows[0]
    ]


def infer(service: Service, rows: list[dict[str, Any]], **more: object) -> Answer:
    """Return the answer to rows as an inference request."""
    return ask(service, f"/v2/models/{PACKAGE}/infer", {"inputs": tensors_of(contract_of(service), rows)} | more)


def outputs_of(answer: Answer) -> dict[str, list[Any]]:
    """Return the outputs of an inference response by name; the shape of each fits its data."""
    assert answer.status == 200, answer
    found = {}
    for output in answer.json()["outputs"]:
        rows, *width = output["shape"]
        assert len(output["data"]) == rows * (width[0] if width else 1)
        found[output["name"]] = output["data"]
    return found


def gap(answered: list[float], expected: list[float], regression: bool) -> float:
    """Return the largest difference, of a regression relative to the prediction."""
    pairs = list(zip(answered, expected, strict=True))
    assert all(isinstance(one, float) for one, _ in pairs)
    return max(abs(one - two) / (max(1.0, abs(two)) if regression else 1) for one, two in pairs)


def flat(probabilities: list[Any], classes: list[Any]) -> list[float]:
    """Return the probabilities of many classes in the order of the contract, row after row."""
    return [row[str(name)] for row in probabilities for name in classes]


def expected_of(said: dict[str, Any]) -> tuple[list[Any], list[float]]:
    """Return predictions and the numbers behind them, worked out here from the bundle's scores."""
    scores, classes = said["scores"], said["classes"]
    if not classes:
        return scores, scores
    if len(classes) == 2:
        return [classes[int(row[1] >= said["threshold"])] for row in scores], [row[1] for row in scores]
    return [classes[row.index(max(row))] for row in scores], [value for row in scores for value in row]


def test_a_thousand_rows_get_the_bundle_s_answers_by_every_way(flights: Service, tmp_path: Path) -> None:
    project = flights.project
    project.run("make", "track")
    rows, said = rows_of(flights, tmp_path, 1000)
    predictions, probabilities = expected_of(said)
    assert (len(rows), said["missing"] >= 80, said["unseen"]) == (1000, True, 20)
    found = ask(flights, "/predict", {"instances": rows}).json()["predictions"]
    ways = {"/predict": {name: [row[name] for row in found] for name in ("prediction", "probability")}}
    ways["infer"] = outputs_of(infer(flights, rows))
    ways["pyfunc"] = project.python(PYFUNC, str(tmp_path / "rows.parquet"))
    for source, target in product(("csv", "parquet"), repeat=2):
        out = tmp_path / f"{source}.{target}"
        project.run("make", "score", f"IN={tmp_path / 'rows'}.{source}", f"OUT={out}")
        ways[f"score {source} to {target}"] = project.python(SCORED, str(out))
    gaps = {way: gap(answers["probability"], probabilities, False) for way, answers in ways.items()}
    print("largest difference of 1,000 probabilities:", gaps)
    assert max(gaps.values()) <= 1e-6
    assert [way for way, answers in ways.items() if answers["prediction"] != predictions] == []


def test_one_row_at_a_time_gets_the_answer_that_it_gets_among_a_thousand(flights: Service, tmp_path: Path) -> None:
    rows, said = rows_of(flights, tmp_path, 1000)
    _, probabilities = expected_of(said)
    with flights.connect() as connection:
        answers = [connection.ask("/predict", json.dumps({"instances": [row]}).encode()).json() for row in rows[:100]]
    assert gap([answer["predictions"][0]["probability"] for answer in answers], probabilities[:100], False) <= 1e-6


def test_requests_at_the_same_time_get_each_its_own_answer_and_its_own_line(service: Service, tmp_path: Path) -> None:
    rows, said = rows_of(service, tmp_path, 200)
    _, probabilities = expected_of(said)
    given: dict[str, tuple[str, float]] = {}

    def client(number: int) -> None:
        with service.connect() as connection:
            for start in range(number, 200 - 5, 7):
                count = 1 + (start + number) % 5
                asked = [row | {"parcel": f"{number}/{start}/{k}"} for k, row in enumerate(rows[start : start + count])]
                if number % 2:
                    found = connection.ask("/predict", json.dumps({"instances": asked}).encode()).json()["predictions"]
                    answered = [(row["id"], row["probability"]) for row in found]
                else:
                    body = json.dumps({"inputs": tensors_of(contract_of(service), asked)}).encode()
                    outputs = outputs_of(connection.ask(f"/v2/models/{PACKAGE}/infer", body))
                    answered = list(zip(outputs["id"], outputs["probability"], strict=True))
                assert len(answered) == count
                assert gap([p for _, p in answered], probabilities[start : start + count], False) <= 1e-6
                given.update((f"{number}/{start}/{k}", one) for k, one in enumerate(answered))
                connection.ask("/predict", b'{"instances": [{}]}')

    together([lambda number=number: client(number) for number in range(32)])  # type: ignore[misc]
    lines = {line["id"]: line for line in logged(service.project)}
    assert len({made for made, _ in given.values()}) == len(given) > 1000
    for parcel, (made, probability) in given.items():
        assert parcel in lines[made].values()
        assert lines[made]["probability"] == probability


def test_other_tasks_get_the_bundle_s_answers_over_both_protocols(other: Service, tmp_path: Path) -> None:
    rows, said = rows_of(other, tmp_path, 100)
    predictions, scores = expected_of(said)
    regression, classes = not said["classes"], said["classes"]
    found = ask(other, "/predict", {"instances": rows}).json()["predictions"]
    outputs = outputs_of(infer(other, rows))
    if regression:
        assert all(set(row) == {"id", "prediction"} for row in found)
        assert "probability" not in outputs
        ways = [[row["prediction"] for row in found], outputs["prediction"]]
    else:
        assert all(set(row["probability"]) == set(classes) for row in found)
        assert all(abs(sum(row["probability"].values()) - 1) < 1e-5 for row in found)
        assert [row["prediction"] for row in found] == outputs["prediction"] == predictions
        ways = [flat([row["probability"] for row in found], classes), outputs["probability"]]
    for name in ("csv", "parquet"):
        out = tmp_path / f"answers.{name}"
        other.project.run("make", "score", f"IN={tmp_path / 'rows'}.{name}", f"OUT={out}")
        scored = other.project.python(SCORED, str(out))["prediction"]
        assert gap(scored, predictions, True) <= 1e-6 if regression else scored == predictions
    gaps = [gap(way, scores, regression) for way in ways]
    print("largest differences:", gaps)
    assert max(gaps) <= 1e-6


def test_other_tasks_offer_an_example_and_take_labels(other: Service) -> None:
    regression = contract_of(other)["task"] == "regression"
    body = example(other)
    features = [feature["name"] for feature in contract_of(other)["features"]]
    assert all(sorted(row) == sorted(features) for row in body["instances"])
    answer = ask(other, "/predict", body)
    assert answer.status == 200
    made = answer.json()["predictions"][0]["id"]
    good, bad = (41.5, "long") if regression else ("virginica", "rose")
    assert ask(other, "/feedback", {"labels": [{"id": made, "label": good}]}).status == 200
    wrong: list[object] = [bad, None, True, [], {}]
    for label in wrong:
        assert ask(other, "/feedback", {"labels": [{"id": made, "label": label}]}).status == 400, label
    if regression:
        assert ask(other, "/feedback", {"labels": [{"id": made, "label": 41}]}).status == 200
        assert ask(other, "/feedback", b'{"labels": [{"id": "%s", "label": 1e400}]}' % made.encode()).status == 400
    assert logged(other.project, "labels")[0]["label"] == good


def test_the_example_is_a_valid_body_of_exactly_the_features(service: Service, flights: Service) -> None:
    for each in (service, flights):
        body = example(each)
        features = [feature["name"] for feature in contract_of(each)["features"]]
        assert list(body) == ["instances"]
        assert all(sorted(row) == sorted(features) for row in body["instances"])
        assert None not in body["instances"][0].values()
        answer = ask(each, "/predict", body)
        assert answer.status == 200
        assert answer.json()["model_version"] == each.project.champion["version"]


def test_an_answer_names_its_version_and_each_row_s_own_id(service: Service) -> None:
    body = example(service)
    answers = [ask(service, "/predict", body).json() for _ in range(3)]
    ids = [row["id"] for answer in answers for row in answer["predictions"]]
    assert len(set(ids)) == len(ids) == 3 * len(body["instances"])
    for answer in answers:
        assert sorted(answer) == ["model_version", "predictions"]
        for row in answer["predictions"]:
            assert sorted(row) == ["id", "prediction", "probability"]
            assert 0 <= row["probability"] <= 1
            assert row["prediction"] in ("no", "yes")


def test_the_open_inference_protocol_describes_exactly_what_is_served(service: Service) -> None:
    version, model = service.project.champion["version"], f"/v2/models/{PACKAGE}"
    assert ask(service, "/v2/models").json() == {"models": [{"name": PACKAGE, "version": version}]}
    server = ask(service, "/v2").json()
    assert {"name", "version", "extensions"} <= set(server)
    for path in (model, f"{model}/versions/{version}"):
        metadata = ask(service, path).json()
        assert metadata["name"] == PACKAGE
        assert metadata["versions"] == [version]
        features = {name: kind for name, kind in DATATYPES.items() if name not in ("sent", "parcel")}  # time, id
        assert {tensor["name"]: tensor["datatype"] for tensor in metadata["inputs"]} == features
        assert ask(service, f"{path}/ready").status == 200
    for path in (
        f"{model}/versions/1",
        f"{model}/versions/{version}0",
        f"{model}x",
        f"{model}/versions/{version[:-1]}",
    ):
        assert ask(service, path).status == 404
        assert ask(service, f"{path}/ready").status == 404
        assert ask(service, f"{path}/infer", {"inputs": []}).status == 404


def test_an_inference_response_repeats_id_name_and_version_and_holds_what_was_asked_for(service: Service) -> None:
    rows = example(service)["instances"]
    whole = infer(service, rows, id="seven", parameters={"binary_data_output": True})
    found = whole.json()
    assert (found["id"], found["model_name"]) == ("seven", PACKAGE)
    assert found["model_version"] == service.project.champion["version"]
    described = ask(service, f"/v2/models/{PACKAGE}").json()["outputs"]
    assert [(out["name"], out["datatype"]) for out in found["outputs"]] == [
        (out["name"], out["datatype"]) for out in described
    ]
    one = infer(service, rows, outputs=[{"name": "probability", "parameters": {"binary_data": True}}])
    assert list(outputs_of(one)) == ["probability"]
    assert outputs_of(one)["probability"] == outputs_of(whole)["probability"]
    assert "id" not in one.json()


def test_time_and_id_are_optional_logged_and_without_influence(service: Service) -> None:
    row = example(service)["instances"][0]
    kept = {"sent": "2031-12-31T23:59:59", "parcel": "a parcel of its own"}
    rows = [row, row | kept, row | {"sent": kept["sent"]}, row | {"parcel": kept["parcel"]}]
    found = [ask(service, "/predict", {"instances": [each]}).json()["predictions"][0] for each in rows]
    found.append({"id": "", "probability": outputs_of(infer(service, [rows[1]]))["probability"][0]})
    assert len({each["probability"] for each in found}) == 1
    lines = {line["id"]: line for line in logged(service.project)}
    values = [json.dumps(lines[each["id"]]) for each in found[:4]]
    assert [kept["parcel"] in text for text in values] == [False, True, False, True]
    assert [kept["sent"] in text for text in values] == [False, True, True, False]
    by_tensor = [line for line in logged(service.project) if kept["parcel"] in json.dumps(line)]
    assert len(by_tensor) == 3


def test_a_prediction_line_holds_what_was_asked_and_what_was_answered(service: Service) -> None:
    body = example(service)
    answer = ask(service, "/predict", body).json()
    outputs = outputs_of(infer(service, body["instances"]))
    lines = {line["id"]: line for line in logged(service.project)}
    for row, given in zip(body["instances"], answer["predictions"], strict=True):
        line = lines[given["id"]]
        assert line["features"] == row
        assert (line["prediction"], line["probability"]) == (given["prediction"], given["probability"])
        assert line["model_version"] == answer["model_version"]
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", line["time"])
    assert [lines[each]["features"] for each in outputs["id"]] == body["instances"]


def test_what_is_refused_is_not_logged(service: Service) -> None:
    before = len(logged(service.project))
    row = example(service)["instances"][0]
    assert ask(service, "/predict", {"instances": [row, row | {"weight": 61}]}).status == 400
    assert ask(service, "/predict", {"instances": [row, row | {"kind": "crate"}]}).status == 400
    assert infer(service, [row, row | {"visits": 41}]).status == 400
    assert len(logged(service.project)) == before


def test_a_column_that_is_no_feature_is_refused_and_stands_in_no_log(service: Service) -> None:
    row = example(service)["instances"][0]
    before = len(logged(service.project))
    for name in ("recipient", "again", "email"):
        assert ask(service, "/predict", {"instances": [row | {name: "Ada Lovelace"}]}).status == 400
        assert infer(service, [row | {name: "Ada Lovelace"}]).status == 400
    assert len(logged(service.project)) == before
    assert "Lovelace" not in service.output


def test_labels_come_back_by_id_and_unknown_ids_are_counted(service: Service) -> None:
    made = [row["id"] for row in ask(service, "/predict", example(service)).json()["predictions"]]
    before = {name: metric(service, f"feedback_{name}_total") for name in ("labels", "unmatched")}
    given = [{"id": made[0], "label": "yes"}, {"id": made[1], "label": "no"}, {"id": "never given", "label": "no"}]
    assert ask(service, "/feedback", {"labels": given}).status == 200
    assert ask(service, "/feedback", {"labels": [{"id": made[0], "label": "no"}]}).status == 200
    assert metric(service, "feedback_labels_total") == before["labels"] + 4
    assert metric(service, "feedback_unmatched_total") == before["unmatched"] + 1
    lines = [(line["id"], line["label"]) for line in logged(service.project, "labels")]
    assert lines[-4:] == [(made[0], "yes"), (made[1], "no"), ("never given", "no"), (made[0], "no")]


def test_feedback_of_another_form_is_refused_as_a_whole(service: Service) -> None:
    before = logged(service.project, "labels")
    good = {"id": "a", "label": "yes"}
    ids: list[object] = [1, None, "", [], True, "x" * 100_000]
    labels: list[object] = ["maybe", "Yes", "", None, 1, True, [], {}]
    bodies: list[object] = [
        {},
        [],
        b"null",
        {"labels": []},
        {"labels": {}},
        {"labels": [good, None]},
        {"labels": [good], "more": 1},
        {"labels": [good, {"id": "b"}]},
        {"labels": [good, {"label": "yes"}]},
        {"labels": [good, good | {"more": 1}]},
        *({"labels": [good, {"id": wrong, "label": "yes"}]} for wrong in ids),
        *({"labels": [good, {"id": "b", "label": wrong}]} for wrong in labels),
        b'{"labels": [{"id": "a", "id": "b", "label": "yes"}]}',
        b'{"labels": [{"id": "a", "label": "yes", "label": "no"}]}',
        b'{"labels": [{"id": "\\ud800", "label": "yes"}]}',
        b'{"labels": [{"id": "\xff", "label": "yes"}]}',
        b'{"labels": [{"id": "a", "label": NaN}]}',
        {"labels": [good] * 10_001},
    ]
    answers = [ask(service, "/feedback", body) for body in bodies]
    assert [(body, a.status) for body, a in zip(bodies, answers, strict=True) if a.status != 400] == []
    assert all(answer.error for answer in answers)
    assert logged(service.project, "labels") == before


def test_a_sane_request_id_comes_back_and_stands_in_the_log_and_any_other_is_replaced(service: Service) -> None:
    given = "0f8fad5b-d9cb-469f-a165-70867728950e"
    assert ask(service, "/example", headers={"X-Request-ID": given}).headers["x-request-id"] == given
    for insane in ("", "a" * 10_000, "<script>", "a b", '"', "\xe9", "{}", "${jndi:x}"):
        found = ask(service, "/example", headers={"X-Request-ID": insane}).headers["x-request-id"]
        assert found
        assert found != insane
    refused = ask(service, "/predict", {}, headers={"X-Request-ID": "refused-1"})
    assert refused.headers["x-request-id"] == "refused-1"
    until(lambda: "refused-1" in service.output, "the line of a request")
    lines = [line for line in service.output.splitlines() if "refused-1" in line]
    assert len(lines) == 1
    line = json.loads(lines[0])
    assert line["status"] == 400
    assert line["request_id"] == "refused-1"


def test_the_service_s_own_log_is_json_without_any_value(service: Service) -> None:
    row = example(service)["instances"][0] | {"street": "Rue de la Paix", "weight": 31.415926, "parcel": "P-secret"}
    with_id = ask(service, "/predict", {"instances": [row]}, headers={"X-Request-ID": "with-values"})
    made = with_id.json()["predictions"][0]["id"]
    ask(service, "/feedback", {"labels": [{"id": made, "label": "yes"}]}, headers={"X-Request-ID": "with-values-2"})
    until(lambda: "with-values-2" in service.output, "the lines of two requests")
    lines = service.output.splitlines()
    assert all(json.loads(line) for line in lines if not line.startswith("http://"))
    assert not any(value in service.output for value in ("Rue de la Paix", "31.415926", "P-secret"))


def test_prometheus_reads_the_established_names(service: Service) -> None:
    version = service.project.champion["version"]
    row = example(service)["instances"][0]
    names = ["model_infer_request_success_total", "model_infer_request_failure_total", "request_predict_seconds_count"]
    names += ["http_server_request_duration_seconds_count", "model_feature_outside_training_total"]
    before = {name: metric(service, name) for name in names}
    assert ask(service, "/predict", {"instances": [row]}).status == 200
    assert infer(service, [row | {"street": "never seen"}, row]).status == 200
    assert ask(service, "/predict", {"instances": [row | {"weight": -1}]}).status == 400
    rise = {name: metric(service, name) - before[name] for name in names}
    assert rise["model_infer_request_success_total"] == 2
    assert rise["model_infer_request_failure_total"] == 1
    assert rise["request_predict_seconds_count"] == 2
    assert rise["http_server_request_duration_seconds_count"] >= 3
    assert rise["model_feature_outside_training_total"] == 1
    assert metric(service, "model_feature_outside_training_total", 'feature="street"') >= 1
    assert metric(service, "model_info", f'version="{version}"') == 1
    assert metric(service, "model_info", f'name="{PACKAGE}"') == 1
    text = ask(service, "/metrics")
    assert text.headers["content-type"].startswith(("text/plain", "application/openmetrics-text"))
    for name in ("prediction_log_dropped_total", "feedback_labels_total", "feedback_unmatched_total"):
        assert f"\n# TYPE {name} counter\n" in text.body.decode()


def test_paths_of_no_route_make_no_series_of_their_own(service: Service) -> None:
    for number in range(50):
        ask(service, f"/nothing/here/{number}")
        ask(service, f"/v2/models/of-no-name-{number}")
    found = ask(service, "/metrics").body.decode()
    assert "/nothing" not in found
    assert "of-no-name" not in found


def test_model_describes_what_is_served_for_a_person(service: Service) -> None:
    found = ask(service, "/model").json()
    version = service.project.champion["version"]
    assert version in json.dumps(found)
    page = ask(service, "/")
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(rb"(src|href)=[\"']?(https?:)?//", page.body), "the page loads something from elsewhere"


def test_the_service_imports_nothing_that_trains(small_built: Project) -> None:
    assert small_built.python(IMPORTED) == []


def test_a_moved_project_still_serves(small_built: Project, tmp_path: Path) -> None:
    project = small_built.copy(tmp_path, "a place with spaces & more")
    with serving(project) as service:
        assert ask(service, "/predict", example(service)).status == 200
