"""From a body to its answer: checked, through the model, written down, and only then sent.

Small requests that arrive together go through the model together; a large one is answered in a thread, so that small
ones need not wait for it.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, NamedTuple

from pydantic_core import to_json

from ..bundle import finite
from .champion import Encoded, Model
from .counters import Counters
from .prediction_log import Segments
from .process_log import now
from .protocol import Question, Refusal, new_ids
from .settings import Settings

LARGE_BYTES = 32 * 1024
LONELY_TURNS = 100  # of the event loop, each with one request, after which none waits for others
COUNT_S = 0.005  # rarely enough to be cheap, often enough that no request waits for long
Read = Callable[[bytes], Question]


class Found(NamedTuple):
    """What some requests came to: an answer or a refusal for each, the lines of the log, and what is to be counted."""

    answers: list[bytes | Exception]
    lines: bytes
    rows: int
    encoded: Encoded
    seconds: float


def answer(model: Model, questions: Sequence[Question], name: str) -> Found:
    """Return the answers to some requests, found in one run of the model."""
    begun = perf_counter()
    columns = questions[0].columns
    if len(questions) > 1:
        columns = {name: [x for question in questions for x in question.columns[name]] for name in columns}
    scores, encoded = model.scores(columns)
    count = len(scores)
    seconds = perf_counter() - begun
    fine = finite(scores)
    found = {"id": new_ids(count), **model.bundle.answers(scores)}
    each = [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
    rows = zip(*columns.values(), strict=True)
    made = {"time": now(), "model_version": model.version}
    answers: list[bytes | Exception] = []
    lines: list[bytes] = []
    end = 0
    for question in questions:
        begin, end = end, end + question.rows
        mine = [(one, kept, next(rows)) for one, kept in zip(each[begin:end], question.kept, strict=True)]
        if not all(fine[begin:end]):
            answers.append(Refusal(400, "the model has no finite answer to one of these rows"))
            continue
        for one, kept, row in mine:
            lines.append(to_json({**made, **one, **kept, "features": dict(zip(columns, row, strict=True))}))
        if question.tensors:
            part = {key: values[begin:end] for key, values in found.items()}
            answers.append(to_json(model.protocol.write_tensors(question, part, name, model.version)))
        else:
            answers.append(to_json({"model_version": model.version, "predictions": each[begin:end]}))
    return Found(answers, b"\n".join([*lines, b""]), len(lines), encoded, seconds)


def _only(answers: list[bytes | Exception]) -> bytes:
    if isinstance(answers[0], Exception):
        raise answers[0]
    return answers[0]


class Inference:
    """Answers requests of one service."""

    def __init__(self, name: str, settings: Settings, counters: Counters, log: Segments) -> None:
        self.name, self.settings, self.counters, self.log = name, settings, counters, log
        self.thread = ThreadPoolExecutor(1)
        self.waiting = 0
        self.uncounted: list[tuple[Model, Found]] = []
        self.arrived, self.lonely = 0, 0
        self.batch: list[tuple[Model, Question, asyncio.Future[bytes]]] = []

    async def answer(self, model: Model, body: bytes, read: Read) -> bytes:
        """Return the answer to one body, which `read` checks.

        Raises:
            Refusal: it breaks the contract, or there is too much at once.
        """
        try:
            if len(body) > LARGE_BYTES:
                found = await self.apart(lambda: answer(model, [read(body)], self.name))
                return _only(self._settle(model, found))
            question, loop = read(body), asyncio.get_running_loop()
            self.arrived += 1
            if self.lonely > LONELY_TURNS:
                if self.arrived == 1:
                    loop.call_soon(self._end_turn)
                return _only(self._settle(model, answer(model, [question], self.name)))
            if self.arrived == 1:  # one turn on, the answers of before have been sent, and more has come in
                loop.call_soon(loop.call_soon, self._end_turn)
            future: asyncio.Future[bytes] = loop.create_future()
            self.batch.append((model, question, future))
            return await future
        except Refusal as refusal:
            self.counters.failure.labels(self.name, str(refusal.status)).inc()
            raise

    def _end_turn(self) -> None:
        """Answer what waits, after a turn or two of the event loop. Requests that keep coming singly do not wait."""
        self.lonely, self.arrived = (self.lonely + 1 if self.arrived == 1 else 0), 0
        batch, self.batch = self.batch, []
        for model in dict.fromkeys(model for model, _, _ in batch):  # one, unless a swap came between
            mine = [(question, future) for asked, question, future in batch if asked is model]
            try:
                answers = self._settle(model, answer(model, [question for question, _ in mine], self.name))
            except Exception as error:  # a mistake of ours goes to all who asked
                answers = [error] * len(mine)
            for (_, future), found in zip(mine, answers, strict=True):
                if future.done():
                    continue  # its client is gone
                if isinstance(found, Exception):
                    future.set_exception(found)
                else:
                    future.set_result(found)

    async def apart(self, work: Callable[[], Any]) -> Any:
        """Return what some large work comes to, done in a thread so that small requests need not wait for it.

        Raises:
            Refusal: too much of it waits, or it takes too long.
        """
        if self.waiting >= self.settings.queue:
            raise Refusal(503, "too many large requests wait already; try again", {"retry-after": "1"})
        self.waiting += 1
        try:
            found = asyncio.get_running_loop().run_in_executor(self.thread, work)
            return await asyncio.wait_for(found, self.settings.timeout_s)
        except TimeoutError:
            raise Refusal(504, f"no answer within {self.settings.timeout_s:g} s; send fewer rows at once") from None
        finally:
            self.waiting -= 1

    def _settle(self, model: Model, found: Found) -> list[bytes | Exception]:
        """Write the log before anything is acknowledged; to be counted can wait."""
        if found.rows and not self.log.append(found.lines):
            self.counters.dropped.labels(self.log.kind).inc(found.rows)
        self.uncounted.append((model, found))
        if len(self.uncounted) == 1:
            asyncio.get_running_loop().call_later(COUNT_S, self.count)
        return found.answers

    def count(self) -> None:
        """Count what the last moments answered: one by one that costs as much as the model."""
        uncounted, self.uncounted = self.uncounted, []
        for model in dict.fromkeys(model for model, _ in uncounted):
            mine = [found for of, found in uncounted if of is model]
            seconds = [found.seconds for found in mine for one in found.answers if isinstance(one, bytes)]
            self.counters.answered(self.name, model.version, sum(found.rows for found in mine), seconds)
            for name, count in model.outside([found.encoded for found in mine]).items():
                self.counters.outside.labels(name).inc(count)
