import asyncio
import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from rows import BINARY, MULTICLASS, REGRESSION
from services import (
    DEADLINE_S,
    MARKER,
    body_of,
    logged,
    point,
    promote_numbers,
    running,
    serving,
    settings_in,
    tensors_of,
)

from {{ cookiecutter.__package }} import write_json
from {{ cookiecutter.__package }}.service import app, champion
from {{ cookiecutter.__package }}.service.protocol import Protocol

NAME = "{{ cookiecutter.__package }}"
HEAVY = {"mlflow", "evidently", "dvc", "pandas", "sklearn", "pandera"}
ROW = {"label": 0.5, "output": 1}


@pytest.fixture(scope="module", params=[BINARY, MULTICLASS, REGRESSION], ids=lambda contract: contract.task)
def served(request, tmp_path_factory):
    """Yield a bundle, what asks the service that serves it, and the service's folder."""
    folder = tmp_path_factory.mktemp(request.param.task)
    with serving(request.param, folder) as (made, ask):
        yield made, ask, folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(champion, "LOOK_S", 0.001)
    return tmp_path


def until(ask, path, fits):
    """Ask until the answer fits: while it is asked, the service looks at its pointer."""
    end = time.monotonic() + DEADLINE_S
    while not fits(answer := ask("GET", path)):
        assert time.monotonic() < end, answer
        time.sleep(0.01)  # asked without a pause, the thread that loads a bundle would hardly get the interpreter
    return answer


def test_the_example_is_answered_by_both_protocols_alike_and_logged(served):
    bundle, ask, folder = served
    body = ask("GET", "/example")
    rows = body.json["instances"]
    assert None not in rows[0].values()
    before = len(logged(folder / "logs"))
    native, tensors = ask("POST", "/predict", body.body), tensors_of(Protocol(bundle.contract, 10), rows)
    assert (native.status, native.json["model_version"]) == (200, bundle.version)
    for version in ("", f"/versions/{bundle.version}"):
        answer = ask("POST", f"/v2/models/{NAME}{version}/infer", tensors)
        outputs = {output["name"]: output["data"] for output in answer.json["outputs"]}
        assert outputs["prediction"] == [row["prediction"] for row in native.json["predictions"]]
    assert len(logged(folder / "logs")) == before + 3 * len(rows)
    told = ask("GET", "/metrics").body.decode()
    assert 'model_info{name="' + NAME + '",version="' + bundle.version + '"} 1.0' in told
    assert 'http_response_status_code="200",http_route="/v2/models/{name}/infer"} 1.0' in told


def test_an_answer_has_the_probability_of_its_task(served):
    bundle, ask, _ = served
    first = ask("POST", "/predict", ask("GET", "/example").body).json["predictions"][0]
    kind = {"binary": float, "multiclass": dict}.get(bundle.contract["task"])
    assert set(first) == {"id", "prediction"} | ({"probability"} if kind else set())
    assert kind is None or type(first["probability"]) is kind
    assert not bundle.contract["classes"] or first["prediction"] in bundle.contract["classes"]


def test_labels_are_written_and_those_of_unknown_ids_counted(served):
    bundle, ask, folder = served
    known = ask("POST", "/predict", ask("GET", "/example").body).json["predictions"][0]["id"]
    label = (bundle.contract["classes"] or [1.5])[0]
    labels = [{"id": known, "label": label}, {"id": "unknown", "label": label}]
    answer = ask("POST", "/feedback", json.dumps({"labels": labels}).encode())
    assert answer.json == {"accepted": 2, "unmatched": 1}
    lines = logged(folder / "logs", "labels")[-2:]
    assert [{"id": line["id"], "label": line["label"]} for line in lines] == labels
    assert set(lines[0]) == {"time", "id", "label"}
    refused = ask("POST", "/feedback", json.dumps({"labels": [{"id": known, "label": MARKER}]}).encode())
    assert refused.status == 400
    assert MARKER.encode() not in refused.body


def test_the_model_is_described_under_its_name_and_version(served):
    bundle, ask, _ = served
    assert ask("GET", "/v2").json == {"name": NAME, "version": "2", "extensions": []}
    assert ask("GET", "/v2/models").json == {"models": [{"name": NAME, "version": bundle.version}]}
    for path in (f"/v2/models/{NAME}", f"/v2/models/{NAME}/versions/{bundle.version}"):
        told = ask("GET", path).json
        assert (told["name"], told["versions"]) == (NAME, [bundle.version])
        assert [meta["name"] for meta in told["inputs"]] == [feature["name"] for feature in bundle.contract["features"]]
        assert told["outputs"][0]["name"] == "prediction"
        assert ask("GET", f"{path}/ready").json == {"name": NAME, "ready": True}


def test_what_is_not_there_is_refused_in_json_that_repeats_nothing(served):
    _, ask, _ = served
    wrong = [("GET", f"/v2/models/{MARKER}"), ("GET", f"/v2/models/{NAME}/versions/{MARKER}/ready")]
    wrong += [("POST", f"/v2/models/{MARKER}/infer"), ("GET", f"/{MARKER}"), ("POST", f"/{MARKER}")]
    wrong += [("POST", "/predict/"), ("GET", "/v2/models/")]  # another path, and not led to the one without a slash
    for method, path in wrong:
        answer = ask(method, path)
        assert (answer.status, set(answer.json)) == (404, {"error"})
        assert MARKER not in answer.json["error"]
    for path in ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"):  # words of the routes
        assert ask("POST", path, b"{}").status == 404
    for method, path in (("GET", "/predict"), ("POST", "/model"), ("DELETE", "/feedback")):
        answer = ask(method, path)
        assert (answer.status, answer.json) == (405, {"error": "this path has no such method"})


@pytest.mark.parametrize("content", [b"", b"<<<<<<< HEAD", b"\xff", b'{"decision": ', b"{}", b"[1]", b'"abc"'])
def test_a_spoilt_report_costs_the_page_and_prometheus_nothing_else(folder, content):
    version = promote_numbers(folder / "models", 1.0)
    beside = folder / "models/versions" / version
    (folder / "reports").mkdir()
    for path in (beside / "promise.json", beside / "card.md", folder / "reports/decision.json"):
        path.write_bytes(content)
    (folder / "reports/drift.json").write_bytes(content.replace(b"{}", b'{"rows": 3}'))
    with running(settings_in(folder)) as ask:
        assert ask("GET", "/model").json["version"] == version
        assert b"model_info{" in ask("GET", "/metrics").body


def test_without_a_model_it_is_live_and_says_why_it_is_not_ready_until_it_is(folder):
    point(folder / "models", None)
    with running(settings_in(folder)) as ask:
        assert ask("GET", "/v2/health/live").json == {"live": True}
        assert ask("GET", "/v2/models").json == {"models": []}
        body = body_of([ROW])
        for request in (
            ("GET", "/v2/health/ready"),
            ("GET", "/example"),
            ("GET", f"/v2/models/{NAME}/ready"),
            *(("POST", path, body) for path in ("/predict", "/feedback", f"/v2/models/{NAME}/infer")),
        ):
            answer = ask(*request)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert answer.json["error"].endswith("champion.json names no version yet; run `make pipeline`")
        facts = ask("GET", "/model").json
        assert (facts["ready"], facts["version"], facts["features"]) == (False, None, [])
        version = promote_numbers(folder / "models", 1.0)
        assert until(ask, "/v2/health/ready", lambda answer: answer.status == 200).json == {"ready": True}
        assert ask("POST", "/predict", body).json["model_version"] == version


def test_a_swap_is_seen_and_a_bad_bundle_is_not(folder):
    promote_numbers(folder / "models", 1.0)
    with running(settings_in(folder)) as ask:
        second = promote_numbers(folder / "models", 2.0)
        until(ask, "/v2/models", lambda answer: answer.json["models"][0]["version"] == second)
        assert ask("POST", "/predict", body_of([ROW])).json["predictions"][0]["prediction"] == 2
        point(folder / "models", "missing")
        reason = until(ask, "/model", lambda answer: answer.json["reason"]).json["reason"]
        assert "the bundle cannot be read" in reason
        assert ask("POST", "/predict", body_of([ROW])).json["model_version"] == second


def test_the_model_s_facts_stand_beside_its_bundle(folder):
    version = promote_numbers(folder / "models", 1.0)
    beside = folder / "models/versions" / version
    with running(settings_in(folder)) as ask:
        bare = ask("GET", "/model").json
        assert (bare["card"], bare["promise"], bare["drift"], bare["gate"], bare["reason"]) == (
            "",
            {},
            None,
            None,
            None,
        )
        (beside / "card.md").write_text("# Card £")
        write_json(beside / "promise.json", {"rmse": 1.5})
        write_json(folder / "reports/drift.json", {"decision": "watch"})
        write_json(folder / "reports/decision.json", {"decision": "refused"})
        facts = ask("GET", "/model").json
    assert (facts["name"], facts["version"], facts["ready"]) == (NAME, version, True)
    assert (facts["card"], facts["promise"], facts["drift"]) == ("# Card £", {"rmse": 1.5}, {"decision": "watch"})
    assert facts["gate"] == {"decision": "refused"}
    assert (facts["task"], facts["target"], [feature["name"] for feature in facts["features"]]) == (
        "regression",
        "y",
        ["label", "output"],
    )


def test_alerts_can_be_made_of_the_model_s_age_and_of_the_last_drift_report(folder):
    version = promote_numbers(folder / "models", 1.0)
    os.utime(folder / "models/champion.json", (1e9, 1e9))
    with running(settings_in(folder)) as ask:
        told = ask("GET", "/metrics").body.decode()
        assert 'model_promoted_timestamp_seconds{version="' + version + '"} 1e+09' in told
        assert "monitor_decision{" not in told
        for decision in ("watch", "retrain"):
            write_json(folder / "reports/drift.json", {"decision": decision})
            lines = ask("GET", "/metrics").body.decode().splitlines()
            found = [line for line in lines if line.startswith("monitor_decision{")]
            assert found == ['monitor_decision{decision="' + decision + '"} 1.0']


def test_labels_that_cannot_be_written_are_not_acknowledged(folder):
    promote_numbers(folder / "models", 1.0)
    (folder / "logs").touch()
    with running(settings_in(folder)) as ask:
        answer = ask("POST", "/feedback", b'{"labels": [{"id": "a", "label": 1}]}')
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert ask("POST", "/predict", body_of([ROW])).status == 200
        told = ask("GET", "/metrics").body.decode()
    for kind in ("labels", "predictions"):
        assert 'prediction_log_dropped_total{kind="' + kind + '"} 1.0' in told


def test_the_page_runs_its_own_script_and_style_and_nothing_else(folder):
    with running(settings_in(folder)) as ask:
        ask("GET", "/")
        page = ask("GET", "/")  # the same response, sent again
    html, policy = page.body.decode(), page.headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert (rules["default-src"], rules["connect-src"]) == ("'none'", "'self'")
    for tag in ("style", "script"):
        (inside,) = re.findall(f"<{tag}[^>]*>(.*?)</{tag}>", html, re.DOTALL)
        allowed = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{allowed}'"
    markup = re.sub("<(style|script)>.*?</(style|script)>", "", html, flags=re.DOTALL)
    assert not re.search(r"<[^>]*\s(on\w+|style)\s*=", markup), "the policy refuses inline attributes"
    assert not re.search(r"(src|href)=\"(https?:)?//", markup)


@pytest.mark.parametrize("name", ["drift.html", "loop.html"])
def test_a_report_is_shown_in_a_sandbox(folder, name):
    with running(settings_in(folder)) as ask:
        missing = ask("GET", f"/reports/{name}")
        assert (missing.status, "make pipeline" in missing.json["error"]) == (404, True)
        (folder / "reports").mkdir()
        (folder / "reports" / name).write_text("<p>drift")
        report = ask("GET", f"/reports/{name}")
    assert (report.status, report.body) == (200, b"<p>drift")
    assert report.headers["content-type"].startswith("text/html")
    assert report.headers["content-security-policy"] == "sandbox allow-scripts"


def test_many_labels_are_read_beside_other_requests(folder, monkeypatch):
    promote_numbers(folder / "models", 1.0)
    read, main = Protocol.read_labels, []

    def watched(protocol, body):
        main.append(threading.current_thread() is threading.main_thread())
        return read(protocol, body)

    monkeypatch.setattr(Protocol, "read_labels", watched)
    with running(settings_in(folder)) as ask:
        for count in (1, 2000):
            said = {"labels": [{"id": f"{k:033}", "label": 1.5} for k in range(count)]}
            assert ask("POST", "/feedback", json.dumps(said).encode()).json["accepted"] == count
        assert len(logged(folder / "logs", "labels")) == 2001
    assert main == [True, False]


def test_the_next_start_repairs_what_the_last_one_tore(folder):
    (folder / "logs").mkdir()
    torn = [folder / f"logs/{kind}-old.jsonl" for kind in ("predictions", "labels")]
    for path in torn:
        path.write_bytes(b"{}\n{")
    with running(settings_in(folder)):
        assert [path.read_bytes() for path in torn] == [b"{}\n"] * 2


def test_a_stop_reaches_the_server_a_moment_later(monkeypatch):
    told = []
    monkeypatch.setattr(app, "STOP_S", 0.1)

    async def stop():
        app.stop_later()
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(5):
            await asyncio.sleep(0)
        assert told == []
        await asyncio.sleep(0.15)

    before = signal.signal(signal.SIGTERM, lambda *given: told.append(given))
    try:
        asyncio.run(stop())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert told == [(signal.SIGTERM, None)]


def start(**environment):
    code = f"import sys, {NAME}.service.app; print(*sys.modules)"
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SERVICE_")}
    return subprocess.run([sys.executable, "-c", code], env=plain | environment, capture_output=True, text=True)


def test_the_service_needs_nothing_of_what_trains(tmp_path):
    loaded = start().stdout.split()
    assert "onnxruntime" in loaded
    assert not HEAVY & set(loaded)


def test_a_bad_setting_ends_the_start_in_one_sentence():
    ended = start(SERVICE_MAX_ROWS="many")
    assert ended.returncode == 1
    assert re.fullmatch("serve: SERVICE_MAX_ROWS is 'many': .*\n", ended.stderr)
