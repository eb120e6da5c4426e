import asyncio
import json
import threading
from contextlib import contextmanager

import pytest
from bundles import fitted_bundle, linear_bundle
from rows import BINARY, MULTICLASS, REGRESSION, valid_rows
from services import body_of, logged, metric, number_bundle, settings_in, tensors_of

from {{ cookiecutter.__package }}.contract import Contract, Feature
from {{ cookiecutter.__package }}.service import inference as module
from {{ cookiecutter.__package }}.service.champion import Model
from {{ cookiecutter.__package }}.service.counters import Counters
from {{ cookiecutter.__package }}.service.inference import LARGE_BYTES, Inference
from {{ cookiecutter.__package }}.service.prediction_log import Segments
from {{ cookiecutter.__package }}.service.protocol import Refusal, is_ours

WIDE = Contract(task="regression", target="y", features=(Feature("wide", "number"),))
ROW = {"label": 0.5, "output": 1}
LARGE = body_of([ROW]) + b" " * LARGE_BYTES


@pytest.fixture(scope="module", params=[BINARY, MULTICLASS, REGRESSION], ids=lambda contract: contract.task)
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param.task)
    return Model(fitted_bundle(folder, request.param, valid_rows(request.param, 40)), max_rows=100)


@pytest.fixture
def numbers(tmp_path):
    return Model(number_bundle(tmp_path / "bundle", 1.0), max_rows=100)


@contextmanager
def inference_in(folder, **settings):
    settings = settings_in(folder, **settings)
    log = Segments(settings.log_dir, "predictions", settings.log_max_bytes)
    made = Inference("demo", settings, Counters(), log)
    yield made
    made.thread.shutdown()
    log.close()


def together(inference, *asked):
    """Return what is answered, or raised, to some (model, body, read) that arrive together."""

    async def gather():
        return await asyncio.gather(*(inference.answer(*one) for one in asked), return_exceptions=True)

    return asyncio.run(gather())


def without_ids(answer):
    found = json.loads(answer)
    for prediction in found.get("predictions", []):
        assert is_ours(prediction.pop("id"))
    return found | {"outputs": [output for output in found.get("outputs", []) if output["name"] != "id"]}


def test_answered_together_is_answered_as_alone(model, tmp_path, monkeypatch):
    rows = json.loads(model.example)["instances"]
    native = [(model, body_of(some), model.protocol.read) for some in (rows[:1], rows[1:])]
    asked = [*native, (model, tensors_of(model.protocol, rows), model.protocol.read_tensors)]
    runs = []
    monkeypatch.setattr(module, "answer", lambda *a, real=module.answer: runs.append(len(a[1])) or real(*a))
    with inference_in(tmp_path) as inference:
        at_once = together(inference, *asked)
        alone = [together(inference, one)[0] for one in asked]
    assert runs == [3, 1, 1, 1]
    assert [*map(without_ids, at_once)] == [*map(without_ids, alone)]
    scores = model.bundle.answers(model.scores({name: [row[name] for row in rows] for name in rows[0]})[0])
    each = [dict(zip(scores, values, strict=True)) for values in zip(*scores.values(), strict=True)]
    assert [row for answer in at_once[:2] for row in without_ids(answer)["predictions"]] == each


def test_requests_that_keep_coming_singly_do_not_wait_and_those_that_come_together_do(numbers, tmp_path, monkeypatch):
    runs, question = [], (numbers, body_of([ROW]), numbers.protocol.read)
    monkeypatch.setattr(module, "answer", lambda *a, real=module.answer: runs.append(len(a[1])) or real(*a))

    async def singly_then_together():
        answers = []
        for _ in range(module.LONELY_TURNS + 1):
            answers.append(await inference.answer(*question))
            await asyncio.sleep(0)
        with pytest.raises(StopIteration) as at_once:
            inference.answer(*question).send(None)  # ends without ever giving way
        await asyncio.sleep(0)
        for _ in range(2):
            answers += await asyncio.gather(*(inference.answer(*question) for _ in range(3)))
            await asyncio.sleep(0)
        return [*answers, at_once.value.value]

    with inference_in(tmp_path) as inference:
        answers = asyncio.run(singly_then_together())
        assert len(logged(inference.log.folder)) == len(answers) == sum(runs)
    assert {str(without_ids(answer)) for answer in answers} == {str(without_ids(answers[0]))}
    assert runs[-4:] == [1, 1, 1, 3], "the first that come together again have not been waited for"


def test_a_line_holds_what_was_asked_and_answered_and_no_more(model, tmp_path):
    rows = json.loads(model.example)["instances"]
    contract = model.contract
    kept = {name: value for name, value in ((contract["time"], "2024-01-02"), (contract["id"], "r")) if name}
    with inference_in(tmp_path) as inference:
        answers = together(inference, (model, body_of([row | kept for row in rows]), model.protocol.read))
        lines = logged(inference.log.folder)
    for line, row, told in zip(lines, rows, json.loads(answers[0])["predictions"], strict=True):
        assert line.pop("time").endswith("+00:00")
        assert (line.pop("row_id", None), line.pop("row_time", None)) == (
            (kept[contract["id"]], "2024-01-02T00:00:00") if kept else (None, None)
        )
        assert line == {"model_version": model.version, **told, "features": row}


@pytest.mark.parametrize("large", [False, True])
def test_a_row_without_a_finite_answer_refuses_its_own_request_and_leaves_no_line(tmp_path, large):
    bundle = linear_bundle(tmp_path / "bundle", WIDE, valid_rows(WIDE, 20), 0.0, [2.0])
    model = Model(bundle, max_rows=10)
    bodies = [body_of([{"wide": x} for x in xs]) + b" " * LARGE_BYTES * large for xs in ((1,), (2, 3e38), (3, 4))]
    with inference_in(tmp_path) as inference:
        first, refused, last = together(inference, *((model, body, model.protocol.read) for body in bodies))
        assert [line["features"]["wide"] for line in logged(inference.log.folder)] == [1, 3, 4]
        inference.count()
        assert metric(inference.counters, "model_predictions_total", version=model.version) == 3
        success = {"model": "demo", "version": model.version}
        assert metric(inference.counters, "model_infer_request_success_total", **success) == 2
        assert metric(inference.counters, "model_infer_request_failure_total", model="demo", status="400") == 1
    assert (type(refused), refused.status) == (Refusal, 400)
    assert [p["prediction"] for answer in (first, last) for p in json.loads(answer)["predictions"]] == [2, 6, 8]


def test_a_swap_between_two_questions_gives_each_the_model_that_it_met(numbers, tmp_path):
    other = Model(number_bundle(tmp_path / "other", 5.0), max_rows=100)
    asked = [(model, body_of([ROW]), model.protocol.read) for model in (numbers, other, numbers)]
    with inference_in(tmp_path) as inference:
        found = [json.loads(answer) for answer in together(inference, *asked)]
        versions = {line["id"]: line["model_version"] for line in logged(inference.log.folder)}
    assert [answer["model_version"] for answer in found] == [numbers.version, other.version, numbers.version]
    assert [answer["predictions"][0]["prediction"] for answer in found] == [1, 5, 1]
    assert versions == {answer["predictions"][0]["id"]: answer["model_version"] for answer in found}


def test_a_client_that_went_away_takes_nothing_from_the_others(numbers, tmp_path):
    async def one_leaves():
        question = (numbers, body_of([ROW]), numbers.protocol.read)
        gone, stays = (asyncio.create_task(inference.answer(*question)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    with inference_in(tmp_path) as inference:
        assert json.loads(asyncio.run(one_leaves()))["predictions"][0]["prediction"] == 1


def test_a_mistake_of_ours_reaches_all_who_asked_and_no_one_after_them(numbers, tmp_path):
    class Broken(Model):
        def scores(self, columns):
            raise ZeroDivisionError

    broken = Broken(numbers.bundle, max_rows=10)
    with inference_in(tmp_path) as inference:
        asked = [(model, body_of([ROW]), model.protocol.read) for model in (broken, broken, numbers)]
        found = together(inference, *asked)
    assert [type(answer) for answer in found] == [ZeroDivisionError, ZeroDivisionError, bytes]


def test_a_log_that_cannot_be_written_costs_lines_and_no_answer(numbers, tmp_path):
    (tmp_path / "logs").touch()
    with inference_in(tmp_path) as inference:
        (answer,) = together(inference, (numbers, body_of([ROW, ROW]), numbers.protocol.read))
        assert metric(inference.counters, "prediction_log_dropped_total", kind="predictions") == 2
    assert len(json.loads(answer)["predictions"]) == 2


class Held:
    """Reads as the protocol does, once it is let go."""

    def __init__(self, model):
        self.model, self.go, self.threads = model, threading.Event(), []

    def __call__(self, body):
        self.threads.append(threading.current_thread())
        self.go.wait(5)
        return self.model.protocol.read(body)


def test_a_large_request_waits_in_a_thread_and_small_ones_overtake_it(numbers, tmp_path):
    held = Held(numbers)

    async def ask():
        large = asyncio.create_task(inference.answer(numbers, LARGE, held))
        small = await inference.answer(numbers, body_of([ROW]), numbers.protocol.read)
        assert not large.done()
        held.go.set()
        return small, await large

    with inference_in(tmp_path) as inference:
        small, large = asyncio.run(ask())
        assert len(logged(inference.log.folder)) == 2
    assert without_ids(small) == without_ids(large)
    assert held.threads != [threading.main_thread()]


def test_more_large_requests_than_may_wait_are_refused_until_one_is_answered(numbers, tmp_path):
    held = Held(numbers)

    async def ask():
        waits = asyncio.create_task(inference.answer(numbers, LARGE, held))
        await asyncio.sleep(0)
        with pytest.raises(Refusal, match="too many large requests") as refused:
            await inference.answer(numbers, LARGE, held)
        held.go.set()
        await waits
        await inference.answer(numbers, LARGE, held)
        return refused.value

    with inference_in(tmp_path, queue=1) as inference:
        refused = asyncio.run(ask())
        assert metric(inference.counters, "model_infer_request_failure_total", model="demo", status="503") == 1
    assert (refused.status, refused.headers) == (503, {"retry-after": "1"})


def test_an_answer_that_takes_too_long_is_refused_and_leaves_no_line(numbers, tmp_path):
    held = Held(numbers)
    with inference_in(tmp_path, timeout_s=0.02) as inference:
        (refused,) = together(inference, (numbers, LARGE, held))
        held.go.set()
        inference.thread.shutdown()
        assert logged(inference.log.folder) == []
    assert (refused.status, refused.sentence) == (504, "no answer within 0.02 s; send fewer rows at once")
    assert inference.waiting == 0
