import json
import logging
import socket
from collections import Counter
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pandas as pd
import pytest
import uvicorn
from bundles import fitted_bundle
from rows import BINARY, MULTICLASS, REGRESSION, valid_rows
from services import NAME, create_app, logged, promote, settings_in

from {{ cookiecutter.__package }} import UserError, digest, read_json, write_json
from {{ cookiecutter.__package }}.commands import simulate as module
from {{ cookiecutter.__package }}.commands.simulate import Client, Settings, parse, simulate

CONTRACTS = [BINARY, MULTICLASS, REGRESSION]
DRIFTS = {
    "binary": "mean:petal length (cm):2; scale:numbers:1.5; unit:numbers:1000; share:probabilities=a:0.5; flip:0.3",
    "multiclass": "mean:label:2; scale:output:-3; flip:1",
    "regression": "mean:input: size:2; share:texts=new: one:0.5; missing:built:0.5; flip:0.5",
}
ROWS = 130  # 124 of them in January


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_bytes(Path("params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    module.STREAM.parent.mkdir(parents=True)


def stream(contract, seed=1, rows=ROWS):
    found = valid_rows(contract, rows, seed)
    found.to_parquet(module.STREAM, index=False)
    return found


@contextmanager
def listening(contract):
    """Serve a small bundle of this contract from the folder that the test works in; yield its version and address."""
    made = fitted_bundle(Path("models/draft"), contract, valid_rows(contract, 40))
    promote(Path("models"), made.path, made.version)
    guard = create_app(settings_in(Path()))
    guard.log.put = lambda lines: None
    server = uvicorn.Server(uvicorn.Config(guard, log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield made.version, f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            for logger in (logging.getLogger(NAME), logging.getLogger("uvicorn")):
                logger.handlers.clear()
                logger.setLevel(logging.NOTSET)


class Service:
    """Answers as the service does; `asked` is what it was sent. At `stop_at` requests the user presses Ctrl-C."""

    def __init__(self, stop_at=None, versions=("v",)):
        self.asked, self.stop_at, self.versions, self.failed = [], stop_at, versions, 0
        self.connection = self

    def __call__(self, url, key):
        return self

    def post(self, path, body):
        if len(self.asked) == self.stop_at:
            raise KeyboardInterrupt
        self.asked.append((path, body))
        version = self.versions[len(self.asked) % len(self.versions)]
        ids = [{"id": f"p{len(self.asked)}-{k}"} for k in range(len(body.get("instances", ())))]
        return {"model_version": version, "predictions": ids}

    def pause(self, seconds):
        module.time.sleep(seconds)

    def close(self):
        pass

    def sizes(self):
        """Return how many rows or labels each request held."""
        return [(path[1:], len(next(iter(body.values())))) for path, body in self.asked]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.task)
def test_the_stream_is_answered_part_by_part_with_the_labels_that_belong_to_it(contract):
    rows = stream(contract)
    first = 124 if contract.time else 44
    with listening(contract) as (version, url):
        told = simulate(Settings(url=url), contract)
        assert told.startswith(f"{first} rows of 2024-01-01 to 2024-01-31" if contract.time else "44 rows answered")
        assert f"by {version}, {first} labels sent; 0 requests failed" in told
        assert read_json(module.CURSOR) == {"stream": digest(module.STREAM), "next": first}
        told = simulate(Settings(url=url, rows=1000), contract)
        assert f"{ROWS - first} rows" in told
        with pytest.raises(UserError, match=f"all 130 rows of {module.STREAM} were sent; remove {module.CURSOR}"):
            simulate(Settings(url=url), contract)
    predictions = logged(Path("logs"))
    sent = module.plain(rows[[feature.name for feature in contract.features]])
    assert json.dumps([line["features"] for line in predictions]) == json.dumps(sent, default=pd.Timestamp.isoformat)
    if contract.id:
        assert [line["row_id"] for line in predictions] == rows[contract.id].tolist()
        assert [line["row_time"] for line in predictions] == [time.isoformat() for time in rows[contract.time]]
    labels = {line["id"]: line["label"] for line in logged(Path("logs"), "labels")}
    assert [labels[line["id"]] for line in predictions] == rows[contract.target].tolist()
    assert len(labels) == ROWS


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.task)
def test_drifted_rows_keep_the_contract(contract):
    stream(contract)
    with listening(contract) as (_, url):
        assert "130 rows" in simulate(Settings(url=url, rows=ROWS, drift=DRIFTS[contract.task]), contract)
    assert len(logged(Path("logs"), "labels")) == ROWS


def test_a_month_begins_with_the_first_row_whatever_its_day():
    for day, rows in (("2024-01-31", 29), ("2024-03-01", 31)):
        days = pd.DataFrame({BINARY.time: pd.date_range(f"{day} 18:00", periods=90)})
        assert module.span(days, 0, None, BINARY) == rows


def test_without_labels_none_are_sent(monkeypatch):
    stream(MULTICLASS)
    service = Service()
    monkeypatch.setattr(module, "Client", service)
    assert "130 rows answered" in simulate(Settings(rows=ROWS, labels="off"), MULTICLASS)
    assert service.sizes() == [("predict", 100), ("predict", 30)]


def test_a_row_without_a_label_gets_none(monkeypatch):
    stream(REGRESSION).assign(**{REGRESSION.target: [1.0, None] * 65}).to_parquet(module.STREAM, index=False)
    service = Service()
    monkeypatch.setattr(module, "Client", service)
    simulate(Settings(rows=4), REGRESSION)
    assert service.sizes() == [("predict", 4), ("feedback", 2)]
    assert [label["id"] for label in service.asked[1][1]["labels"]] == ["p1-0", "p1-2"]


def test_a_rate_makes_small_bodies_and_a_delay_lets_labels_wait(monkeypatch):
    stream(MULTICLASS)
    service, begun = Service(), module.time.monotonic()
    monkeypatch.setattr(module, "Client", service)
    simulate(Settings(rows=6, rate=20, delay=0.25), MULTICLASS)
    assert 0.4 < module.time.monotonic() - begun < 3
    assert service.sizes() == [("predict", 2)] * 3 + [("feedback", 2)] * 3


def test_versions_that_answered_are_named_with_their_rows(monkeypatch):
    stream(MULTICLASS)
    monkeypatch.setattr(module, "Client", Service(versions=("old", "new")))
    assert "by new (100) and old (30), 0 labels" in simulate(Settings(rows=ROWS, labels="off"), MULTICLASS)


def test_who_stops_it_hears_what_is_left_and_the_next_run_loses_nothing(monkeypatch):
    stream(MULTICLASS)
    service = Service(stop_at=1)
    monkeypatch.setattr(module, "Client", service)
    with pytest.raises(UserError, match="stopped; 100 rows were answered, 100 labels not sent; the next run goes on"):
        simulate(Settings(rows=ROWS, delay=60), MULTICLASS)
    service.stop_at = None
    simulate(Settings(rows=ROWS), MULTICLASS)
    assert service.sizes() == [("predict", 100), ("predict", 30), ("feedback", 30)]


def test_another_stream_begins_at_its_first_row(monkeypatch):
    stream(MULTICLASS)
    monkeypatch.setattr(module, "Client", Service())
    write_json(module.CURSOR, {"stream": "of another file", "next": 99})
    simulate(Settings(rows=3), MULTICLASS)
    assert read_json(module.CURSOR)["next"] == 3


@pytest.fixture
def scripted():
    """A server that gives these answers, one a request; no status: it hangs up. `keys` are those that it was shown."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version, answers, keys = "HTTP/1.1", [], []

        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.keys.append(self.headers["authorization"])
            status, wait, content = self.answers.pop(0)
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            if wait:
                self.send_header("retry-after", wait)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        Handler.url = f"http://127.0.0.1:{server.server_port}"
        yield Handler
        server.shutdown()
        thread.join(20)


@pytest.fixture
def waits(monkeypatch):
    """What the client waited for, none of it in truth."""
    found = []
    monkeypatch.setattr(Client, "pause", lambda self, seconds: found.append(seconds) or self.connection.close())
    return found


def test_what_the_service_puts_off_is_sent_again_after_the_time_it_asks_for(scripted, waits):
    scripted.answers += [(503, "5", b"{}"), (429, "900", b""), (504, None, b""), (0, None, b""), (200, None, b"[1]")]
    client = Client(scripted.url, "secret")
    with closing(client.connection):
        assert client.post("/predict", {}) == [1]
    assert (waits, client.failed) == ([5, 30, 1, 1], 4)
    assert {*scripted.keys} == {"Bearer secret"}


def test_it_does_not_try_for_ever(scripted, waits):
    scripted.answers += [(503, "1", b'{"error": "not ready: no version"}')] * 10
    with pytest.raises(UserError, match="failed 10 times in a row: not ready: no version"):
        Client(scripted.url, "").post("/predict", {})
    assert {*scripted.keys} == {None}


@pytest.mark.parametrize(
    ("status", "content", "told"),
    [
        (400, b'{"error": "instances[0].a is missing"}', r"refused /predict with 400: instances\[0\].a is missing"),
        (404, b"<html>", "with 404: no sentence of this project's service"),
        (401, b"{}", "asks for a key; give one that it knows as KEY="),
    ],
)
def test_a_refusal_is_told_in_the_words_of_the_service(scripted, waits, status, content, told):
    scripted.answers.append((status, None, content))
    client = Client(scripted.url, "")
    with closing(client.connection), pytest.raises(UserError, match=told):
        client.post("/predict", {})
    assert waits == []


def test_where_no_service_answers_it_says_how_to_start_one():
    stream(MULTICLASS)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(UserError, match=f"^no service answers at {url} .*; start it with `make serve`$"):
        simulate(Settings(url=url), MULTICLASS)
    assert not module.CURSOR.exists()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "localhost:8000", "ftp://here", "http://here:port"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(UserError, match=r"URL is '.*'; give it as http://127\.0\.0\.1:8000"):
        Client(url, "")


@pytest.mark.parametrize(
    "environment", [{"ROWS": "0"}, {"ROWS": "x"}, {"RATE": "0"}, {"DELAY": "-1"}, {"DELAY": "inf"}, {"LABELS": "no"}]
)
def test_a_setting_that_cannot_be_is_refused_by_name(environment):
    (name, value) = next(iter(environment.items()))
    with pytest.raises(UserError, match=f"^{name} is '{value}': Input should be"):
        Settings.of(environment)


def test_an_empty_variable_is_an_unset_one():
    assert Settings.of({"URL": "", "ROWS": "", "DRIFT": "", "PATH": "/bin"}) == Settings()


def test_without_a_stream_or_with_one_of_another_contract_the_pipeline_is_named():
    with pytest.raises(UserError, match=f"{module.STREAM} is missing; run `make pipeline`"):
        simulate(Settings(), MULTICLASS)
    stream(BINARY)
    with pytest.raises(UserError, match="has no column 'output'; run `make pipeline`"):
        simulate(Settings(), MULTICLASS)


@pytest.mark.parametrize(
    ("text", "column", "value", "amount"),
    [
        (" mean:petal length (cm):-2 ", "petal length (cm)", "", -2),
        ("unit:numbers:1e3", "numbers", "", 1000),
        ("share:probabilities=b:0.3", "probabilities", "b", 0.3),
        ("missing:numbers:1", "numbers", "", 1),
    ],
)
def test_a_drift_is_read_from_its_text(text, column, value, amount):
    found = parse(text, BINARY)
    assert (found.feature.name, found.value, found.amount) == (column, value, amount)


def test_names_and_values_may_hold_what_separates():
    assert parse("mean:input: size:2", REGRESSION).feature.name == "input: size"
    assert parse("share:texts=a:b=c, d:0.1", REGRESSION).value == "a:b=c, d"
    assert parse("flip:0.3", REGRESSION).feature is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tilt:numbers:2", "is none of mean:COLUMN:2, .*flip:0.3"),
        ("numbers", "is none of"),
        ("mean:number:2", r"of mean, COLUMN is one of petal length \(cm\), numbers$"),
        ("mean:scores:2", "of mean, COLUMN is one of"),
        ("mean:numbers:nan", "is none of"),
        ("mean:numbers:", "is none of"),
        ("share:probabilities=a:1.5", "a share lies between 0 and 1"),
        ("share:numbers=1:0.5", "of share, COLUMN is one of probabilities$"),
        ("share:probabilities=z:0.5", "'z' is no category of 'probabilities'; use one of a, b, c"),
        ("missing:scores:0.5", r"of missing, COLUMN is one of petal length \(cm\), probabilities, numbers$"),
        ("flip:numbers:0.5", "is none of"),
        ("flip:-0.1", "a share lies between 0 and 1"),
    ],
)
def test_a_drift_that_cannot_be_is_refused_with_what_can(text, told):
    with pytest.raises(UserError, match=told):
        parse(text, BINARY)


def shifted(contract, text, rows=None):
    """Return some rows before and after a drift."""
    rows = valid_rows(contract, 400) if rows is None else rows
    return rows, module.drifted(rows, rows, [parse(text, contract)], contract)


def test_a_mean_moves_by_standard_deviations_and_is_missing_beyond_the_range():
    before, after = shifted(BINARY, "mean:petal length (cm):1")
    then, now = (frame["petal length (cm)"] for frame in (before, after))
    expected = then + then.std()
    assert now.equals(expected.where(expected <= 10))
    assert now.isna().sum() > then.isna().sum()


def test_where_nothing_may_be_missing_numbers_end_at_the_range():
    before, after = shifted(MULTICLASS, "mean:label:1")
    assert after["label"].equals((before["label"] + before["label"].std()).clip(-1, 1))


def test_a_scale_spreads_around_the_mean_and_integers_stay_integers():
    before, after = shifted(MULTICLASS, "scale:output:0.5")
    mean = before["output"].mean()
    assert after["output"].tolist() == (mean + 0.5 * (before["output"] - mean)).round().tolist()


def test_another_unit_that_the_contract_refuses_is_refused_where_nothing_may_be_missing():
    with pytest.raises(UserError, match="'output' in that unit leaves its range"):
        shifted(MULTICLASS, "unit:output:1000")
    _, after = shifted(BINARY, "unit:numbers:1000")
    assert {*after["numbers"].dropna()} <= {0}
    before, after = shifted(REGRESSION, "unit:input: size:1000")
    assert after["input: size"].equals(before["input: size"] * 1000)


def test_a_share_of_the_rows_takes_the_value_or_loses_it():
    before, after = shifted(BINARY, "share:probabilities=a:0.5")
    changed = after["probabilities"].ne(before["probabilities"]) & after["probabilities"].notna()
    assert {*after.loc[changed, "probabilities"]} == {"a"}
    assert 0.6 < (after["probabilities"] == "a").mean() < 0.73
    for name in ("built", "input: size"):
        assert 0.2 < shifted(REGRESSION, f"missing:{name}:0.3")[1][name].isna().mean() < 0.4


def test_flipped_labels_are_other_classes_and_those_of_a_regression_change_places():
    before, after = shifted(MULTICLASS, "flip:1")
    pairs = Counter(zip(before["species"], after["species"], strict=True))
    assert {*pairs} == {(a, b) for a in (1, 2, 3) for b in (1, 2, 3) if a != b}
    before, after = shifted(BINARY, "flip:0.3")
    assert 0.2 < (before["label"] != after["label"]).mean() < 0.4
    before, after = shifted(REGRESSION, "flip:0.3")
    assert 0.2 < (before["price £"] != after["price £"]).mean() < 0.4
    assert sorted(before["price £"]) == sorted(after["price £"])


def test_the_same_drift_is_the_same_every_time_and_leaves_the_stream_alone():
    rows = valid_rows(BINARY, 50)
    kept = rows.copy()
    drifts = [parse(text, BINARY) for text in DRIFTS["binary"].split(";")]
    assert module.drifted(rows, rows, drifts, BINARY).equals(module.drifted(rows, rows, drifts, BINARY))
    assert rows.equals(kept)
