"""Whatever is sent to it, the service answers: at once, with the right status, and repeating nothing of the request."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import pytest
from hostile import (
    BINARY_SENTENCE,
    BODIES,
    CLOSED,
    DATATYPES,
    EXTRA,
    HEADERS,
    INFER,
    MARKER,
    PATHS,
    PREDICT,
    ROW,
    TENSORS,
    VALUES,
    WIRE,
)
from oracle import Oracle, parsed
from projects import NOTHING, PACKAGE, Project
from services import Answer, Service, ask, logged, request, serving, together

HANG_S = 2
MUTATIONS, CLIENTS = 10_000, 8
LEAK = re.compile(rb'Traceback|File "|\.py\b|site-packages|/(home|root|tmp|usr|var)/')
ROUTES = {"predict": "/predict", "infer": f"/v2/models/{PACKAGE}/infer"}


@pytest.fixture(scope="module")
def service(small_built: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield the service of the small binary project."""
    with serving(small_built.copy(tmp_path_factory.mktemp("hostile"))) as found:
        yield found


@pytest.fixture(autouse=True)
def _unharmed(service: Service) -> Iterator[None]:
    """Assert that afterwards the service answers as before, and that nothing hostile stands in what it says or logs."""
    before = answer_of(service)
    yield
    assert answer_of(service) == before
    assert MARKER not in service.output
    assert "Traceback" not in service.output
    assert len({line["id"] for line in logged(service.project)}) == len(logged(service.project))


def answer_of(service: Service) -> object:
    """Return what a valid row is answered, without its id."""
    found = ask(service, "/predict", predict_body())
    assert found.status == 200, found
    return {name: value for name, value in found.json()["predictions"][0].items() if name != "id"}


def row(columns: dict[str, str]) -> str:
    """Return a row of JSON texts as an object."""
    return "{" + ", ".join(f'"{name}": {text}' for name, text in columns.items()) + "}"


def tensor(name: str, text: str, changes: Mapping[str, str | None] = NOTHING) -> str:
    """Return an input tensor of one value; a change replaces the text of a key, or with None leaves the key out."""
    keys: dict[str, str | None] = {"name": f'"{name}"', "shape": "[1]", "datatype": f'"{DATATYPES[name]}"'}
    keys |= {"data": f"[{text}]"} | dict(changes)
    return row({key: text for key, text in keys.items() if text is not None})


def predict_body(changes: Mapping[str, str] = NOTHING) -> bytes:
    """Return a body for `/predict`, some columns set to other JSON texts."""
    return f'{{"instances": [{row(ROW | dict(changes))}]}}'.encode()


def infer_body(changes: Mapping[str, str] = NOTHING) -> bytes:
    """Return the same as an inference request."""
    tensors = ", ".join(tensor(name, text) for name, text in (ROW | dict(changes)).items())
    return f'{{"inputs": [{tensors}]}}'.encode()


def complaint(answer: Answer, statuses: set[int]) -> str:
    """Return what is wrong with an answer, or nothing."""
    everything = answer.body + json.dumps(answer.headers).encode()
    found = [f"status {answer.status} for {sorted(statuses)}"] if answer.status not in statuses else []
    found += ["the request comes back"] if MARKER.encode() in everything.lower() else []
    found += [f"{answer.seconds:.1f} s"] if answer.seconds > HANG_S else []
    found += ["a leak"] if answer.status >= 400 and LEAK.search(everything) else []
    return f"{', '.join(found)}: {answer.body[:200]!r}" if found else ""


def assert_none(complaints: list[tuple[object, str]]) -> None:
    """Assert that no case has a complaint; else show all of them."""
    wrong = [f"{str(case)[:100]!r}: {what}" for case, what in complaints if what]
    assert not wrong, f"{len(wrong)} of {len(complaints)} cases\n" + "\n".join(wrong)


def judged(service: Service, path: str, body: bytes, statuses: set[int], **headers: str) -> str:
    """Return what is wrong with the answer to a body, its form included: an error is one sentence in JSON."""
    try:
        answer = ask(service, path, body, headers=headers, timeout=HANG_S)
    except OSError as error:
        return f"no answer: {error!r}"
    return complaint(answer, statuses) or formed(answer)


def formed(answer: Answer, method: str = "POST") -> str:
    """Return what is wrong with the form of an answer, or nothing."""
    if answer.status < 400 or method == "HEAD":
        return ""
    kind = answer.headers.get("content-type", "")
    if not kind.startswith("application/json"):
        return f"an error of type {kind!r}: {answer.body[:200]!r}"
    found = answer.json()
    plain = isinstance(found, dict) and list(found) == ["error"] and isinstance(found["error"], str) and found["error"]
    return "" if plain and "\n" not in found["error"] else f"an error of another form: {answer.body[:200]!r}"


@pytest.mark.parametrize("route", ROUTES)
def test_valid_and_invalid_values_are_told_apart(service: Service, route: str) -> None:
    body_of = {"predict": predict_body, "infer": infer_body}[route]
    assert_none(
        [
            ((column, text), judged(service, ROUTES[route], body_of({column: text}), statuses))
            for column, text, statuses in VALUES
        ]
    )


def test_missing_unknown_and_repeated_columns_are_refused_in_a_row(service: Service) -> None:
    assert_none(
        [
            *(
                (f"without {name}", judged(service, "/predict", f'{{"instances": [{row(left)}]}}'.encode(), {400}))
                for name in ROW
                for left in [{other: text for other, text in ROW.items() if other != name}]
            ),
            *(
                (name, judged(service, "/predict", f'{{"instances": [{text}]}}'.encode(), {400}))
                for name, value, _ in EXTRA
                for text in (f"{row(ROW)[:-1]}, {name}: {value}}}", f"{{{name}: {value}, {row(ROW)[1:]}")
            ),
        ]
    )


def test_missing_unknown_and_repeated_inputs_are_refused(service: Service) -> None:
    valid = {name: tensor(name, text) for name, text in ROW.items()}

    def ask_with(tensors: list[str]) -> str:
        return judged(service, ROUTES["infer"], f'{{"inputs": [{", ".join(tensors)}]}}'.encode(), {400})

    added = [
        (name, row({"name": name, "shape": "[1]", "datatype": f'"{kind}"', "data": f"[{value}]"}))
        for name, value, kind in EXTRA
    ]
    assert_none(
        [
            *((f"without {name}", ask_with([valid[other] for other in ROW if other != name])) for name in ROW),
            *((name, ask_with([*valid.values(), text])) for name, text in added),
            *((name, ask_with([text, *valid.values()])) for name, text in added),
        ]
    )


@pytest.mark.parametrize(("route", "cases"), [("predict", PREDICT), ("infer", INFER)], ids=["predict", "infer"])
def test_bodies_of_another_structure_are_refused(service: Service, route: str, cases: list[tuple[str, str]]) -> None:
    tensors = ", ".join(tensor(name, text) for name, text in ROW.items())
    assert_none(
        [
            (name, judged(service, ROUTES[route], text.replace("@", row(ROW)).replace("#", tensors).encode(), {400}))
            for name, text in cases
        ]
    )


def test_tensors_of_wrong_shape_type_name_and_data_are_refused(service: Service) -> None:
    others = ", ".join(tensor(name, text) for name, text in ROW.items() if name != "weight")

    def body(key: str, text: str | None) -> bytes:
        return f'{{"inputs": [{tensor("weight", ROW["weight"], {key: text})}, {others}]}}'.encode()

    assert_none([((key, t), judged(service, ROUTES["infer"], body(key, t), statuses)) for key, t, statuses in TENSORS])


def test_binary_tensors_are_refused_with_the_way_out(service: Service) -> None:
    announced = infer_body().replace(b'"data": [12.5]', b'"parameters": {"binary_data_size": 8}')
    by_size = ask(service, ROUTES["infer"], announced)
    by_header = ask(service, ROUTES["infer"], announced, headers={"Inference-Header-Content-Length": "10"})
    for answer in (by_size, by_header):
        assert answer.status == 400
        assert BINARY_SENTENCE in answer.error


@pytest.mark.parametrize("route", ROUTES)
def test_bodies_that_are_not_one_json_text_in_utf_8_are_refused(service: Service, route: str) -> None:
    valid = {"predict": predict_body, "infer": infer_body}[route]()
    assert_none([(name, judged(service, ROUTES[route], made(valid), statuses)) for name, made, statuses in BODIES])


@pytest.mark.parametrize("route", ROUTES)
def test_headers_decide_nothing_but_what_they_are_for(service: Service, route: str) -> None:
    valid = {"predict": predict_body, "infer": infer_body}[route]()
    cases = [(headers, statuses) for headers, statuses in HEADERS if "Host" not in headers]
    assert_none([(headers, judged(service, ROUTES[route], valid, statuses, **headers)) for headers, statuses in cases])


def test_only_who_asks_for_this_machine_by_its_own_name_is_answered_without_a_key(service: Service) -> None:
    cases = [(headers, statuses) for headers, statuses in HEADERS if "Host" in headers]
    assert len(cases) > 5
    assert_none(
        [(headers, judged(service, "/predict", predict_body(), statuses, **headers)) for headers, statuses in cases]
    )


def test_other_methods_and_unknown_paths_are_refused(service: Service) -> None:
    def of(method: str, path: str, statuses: set[int]) -> str:
        try:
            with service.connect(HANG_S) as connection:
                answer = connection.send(request(path, None, method=method)).read(method)
        except OSError as error:
            return f"no answer: {error!r}"
        by_framework = formed(answer, method) if answer.status in (404, 405) else ""
        allow = "a 405 without Allow" if answer.status == 405 and "allow" not in answer.headers else ""
        return complaint(answer, statuses) or by_framework or allow

    assert_none([((method, path), of(method, path, statuses)) for method, path, statuses in PATHS])


def test_broken_framing_is_refused_or_hung_up_on(service: Service) -> None:
    body = predict_body()

    def of(text: bytes, statuses: set[int]) -> str:
        data = text.replace(b"#", b"%d" % len(body)).replace(b"@", body)
        with service.connect(HANG_S) as connection:
            try:
                return complaint(connection.send(data).read(), statuses)
            except ConnectionError:
                return "" if CLOSED in statuses else "hung up"
            except TimeoutError:
                return "no answer"

    assert_none([(name, of(text, statuses)) for name, text, statuses in WIRE])


def test_a_request_behind_a_broken_one_is_never_answered_from_within_it(service: Service) -> None:
    inner = b"GET /example HTTP/1.1\r\nHost: localhost\r\n\r\n"
    length = b"Content-Length: %d\r\n" % len(b"0\r\n\r\n" + inner)
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    with service.connect(HANG_S) as connection:
        connection.send(head + length + b"\r\n0\r\n\r\n" + inner)
        assert connection.read().status == 400
        with pytest.raises(ConnectionError):
            connection.read("GET")


NUMBERS = b"0 -0 1 -1 60 60.5 40 41 3 3.0 3e0 0.5 1e3 1e400 NaN true null 9007199254740993 2e1 00 .5 1e-9".split()
TEXTS = [b'"box"', b'"letter"', b'"crate"', b'""', b'"2024-03-03T03:03"', b'"2024-03-03"', b'"\\ud800"', b"null", b"7"]


def mutated(chance: random.Random, bodies: list[bytes]) -> bytes:
    """Return one of the bodies with one to three accidents: bits flipped, pieces lost, doubled, moved or exchanged."""
    body = chance.choice(bodies)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        body = chance.choice(ACCIDENTS)(chance, body, bodies)
    return body


def _span(chance: random.Random, body: bytes) -> tuple[int, int]:
    start = chance.randrange(len(body) + 1)
    return start, min(len(body), start + chance.choice((1, 1, 1, 2, 4, 16, 64)))


def _flip(chance: random.Random, body: bytes, _: list[bytes]) -> bytes:
    at = chance.randrange(len(body) or 1)
    return body[:at] + bytes(byte ^ 1 << chance.randrange(8) for byte in body[at : at + 1]) + body[at + 1 :]


def _put(chance: random.Random, body: bytes, _: list[bytes]) -> bytes:
    start, end = _span(chance, body)
    byte = chance.choice(b'0123456789eE+-.,:"\\/{}[]tfnu \t\n\x00\x1f\x7f\x80\xc0\xff')
    return body[:start] + bytes([byte]) + body[chance.choice((start, start + 1, end)) :]


def _lose(chance: random.Random, body: bytes, _: list[bytes]) -> bytes:
    start, end = _span(chance, body)
    return body[:start] + body[end:]


def _double(chance: random.Random, body: bytes, _: list[bytes]) -> bytes:
    start, end = _span(chance, body)
    return body[:end] + body[start:]


def _splice(chance: random.Random, body: bytes, bodies: list[bytes]) -> bytes:
    other = chance.choice(bodies)
    return body[: chance.randrange(len(body) + 1)] + other[chance.randrange(len(other) + 1) :]


def _token(chance: random.Random, body: bytes, _: list[bytes]) -> bytes:
    found = list(re.finditer(rb'-?\d+(\.\d+)?|"[^"\\]*"|true|false|null', body))
    if not found:
        return body
    chosen = chance.choice(found)
    texts = TEXTS if chosen[0].startswith(b'"') else NUMBERS
    if chance.random() < 0.5:  # in its own kind
        texts = [other[0] for other in found if (other[0][:1] == b'"') == (chosen[0][:1] == b'"')]
    return body[: chosen.start()] + chance.choice(texts) + body[chosen.end() :]


def _swap(chance: random.Random, body: bytes, _: list[bytes]) -> bytes:
    parts = body.split(b", ")
    if len(parts) > 1:
        one, other = chance.sample(range(len(parts)), 2)
        parts[one], parts[other] = parts[other], parts[one]
    return b", ".join(parts)


ACCIDENTS: list[Callable[[random.Random, bytes, list[bytes]], bytes]] = [
    _flip, _flip, _put, _put, _lose, _double, _splice, _token, _token, _token, _token, _swap, _swap
]  # fmt: skip


@pytest.fixture(scope="module")
def oracle(service: Service) -> Oracle:
    """Return the reading of the champion's contract that is independent of the service's."""
    project = service.project
    contract = project.json(f"models/versions/{project.champion['version']}/bundle/contract.json")
    outputs = ask(service, f"/v2/models/{PACKAGE}").json()["outputs"]
    return Oracle(contract, [output["name"] for output in outputs])


def test_the_corpus_and_the_oracle_agree(oracle: Oracle) -> None:
    allowed = {True: {200}, False: {400}, None: {200, 400}}
    for column, text, statuses in VALUES:
        for verdict in (oracle.predict(predict_body({column: text})), oracle.infer(infer_body({column: text}))):
            assert allowed[verdict] & statuses, (column, text, verdict)


def test_ten_thousand_mutated_bodies_are_answered_exactly_if_they_are_valid(service: Service, oracle: Oracle) -> None:
    kept = {"sent": '"2024-04-02T08:00:00"', "parcel": '"P00001"', "visits": "null", "street": "null"}
    bodies = {
        "predict": [predict_body(), predict_body(kept), predict_body().replace(b"]", b", " + row(ROW).encode() + b"]")],
        "infer": [infer_body(), infer_body(kept), infer_body().replace(b"[1]", b"[1, 1]")],
    }
    verdict = {"predict": oracle.predict, "infer": oracle.infer}
    for route, valid in bodies.items():
        assert all(verdict[route](body) for body in valid), route
    counts: Counter[tuple[str, int, bool | None]] = Counter()
    wrong: list[tuple[object, str]] = []

    def client(number: int) -> None:
        chance = random.Random(number)
        route = ("predict", "infer")[number % 2]
        connection = service.connect(HANG_S)
        for _ in range(MUTATIONS // CLIENTS):
            body = mutated(chance, bodies[route])
            try:
                answer = connection.ask(ROUTES[route], body)
            except OSError as error:
                wrong.append((body, f"no answer: {error!r}"))
                connection = service.connect(HANG_S)
                continue
            expected = verdict[route](body)
            statuses = {200, 400} if expected is None else {200} if expected else {400}
            counts[route, answer.status, expected] += 1
            what = complaint(answer, statuses) or formed(answer) or incomplete(route, body, answer)
            wrong.append((body.decode("utf-8", "replace")[:400], what))
            if answer.headers.get("connection") == "close":
                connection.socket.close()
                connection = service.connect(HANG_S)
        connection.socket.close()

    together([lambda number=number: client(number) for number in range(CLIENTS)])  # type: ignore[misc]
    print("route, status, what the contract says -> bodies:", *sorted(counts.items(), key=str), sep="\n  ")
    assert_none(wrong)
    assert len(wrong) == MUTATIONS
    assert min(sum(n for (r, s, _), n in counts.items() if (r, s) == (route, 200)) for route in ROUTES) > MUTATIONS / 50


def incomplete(route: str, body: bytes, answer: Answer) -> str:
    """Return what is missing in the answer to a valid body, or nothing: every row has its own."""
    if answer.status != 200:
        return ""
    asked, found = parsed(body), answer.json()
    if route == "predict":
        rows, answered = len(asked["instances"]), len({one["id"] for one in found["predictions"]})
    else:
        rows = len(asked["inputs"][0]["data"])
        answered = min(len(output["data"]) for output in found["outputs"])
    return "" if rows == answered else f"{answered} answers to {rows} rows"
