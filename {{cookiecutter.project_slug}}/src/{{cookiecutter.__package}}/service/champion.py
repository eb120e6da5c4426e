"""The model that answers: the champion's bundle, verified, replayed and swapped in as one reference."""

import asyncio
import json
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import UserError, read_json
from ..bundle import Bundle, verified
from ..encoding import encode
from .counters import Counters
from .protocol import Protocol
from .settings import Settings

LOOK_S = 0.25
EXAMPLES = 3  # of the golden rows
Encoded = tuple[NDArray[np.float32], NDArray[np.object_]]  # as `encode` returns it
logger = logging.getLogger(__name__)


class Model:
    """A verified bundle and what its contract says of requests. Nothing here changes once it is made."""

    def __init__(self, bundle: Bundle, max_rows: int) -> None:
        self.bundle, self.version, self.contract = bundle, bundle.version, bundle.contract
        self.protocol = Protocol(bundle.contract, max_rows)
        rows = read_json(bundle.path / "golden.json")["rows"][: min(EXAMPLES, max_rows)]
        self.example = json.dumps({"instances": rows}, ensure_ascii=False).encode()
        self.protocol.read(self.example)  # a contract that refuses its own example is none
        self.features = bundle.contract["features"]
        numbers = [f for f in self.features if f["type"] != "category"]
        width = [4 if f["type"] == "datetime" else 1 for f in numbers]
        self.numbers = [f["name"] for f, count in zip(numbers, width, strict=True) for _ in range(count)]
        seen = [
            f.get("seen") or (-np.inf, np.inf) for f, count in zip(numbers, width, strict=True) for _ in range(count)
        ]
        self.low, self.high = np.asarray(seen, dtype=np.float32).reshape(-1, 2).T
        texts = [f for f in self.features if f["type"] == "category"]
        self.known = {k: (f["name"], {*f["categories"], ""}) for k, f in enumerate(texts) if f["unknown"] == "accept"}

    def scores(self, columns: dict[str, list[Any]]) -> tuple[NDArray[np.float64], Encoded]:
        """Return the scores, and what the model saw."""
        encoded = encode(self.features, columns)
        return self.bundle.run(*encoded), encoded

    def outside(self, encoded: list[Encoded]) -> dict[str, int]:
        """Return how many values of which feature lie beyond what training saw."""
        numbers, texts = map(np.concatenate, zip(*encoded, strict=True))
        beyond = ((numbers < self.low) | (numbers > self.high)).sum(axis=0).tolist()
        found = dict(zip(self.numbers, beyond, strict=True))
        found |= {name: sum(text not in known for text in texts[:, k]) for k, (name, known) in self.known.items()}
        return {name: count for name, count in found.items() if count}


class NoneYet(UserError):  # noqa: N818  nothing went wrong
    """No version has been promoted."""


class Champion:
    """Holds the model that `champion.json` names, or why there is none; the old one stays until a new one is good."""

    def __init__(self, settings: Settings, counters: Counters, name: str) -> None:
        self.settings, self.counters, self.name = settings, counters, name
        self.pointer = settings.models_dir / "champion.json"
        self.model: Model | None = None
        self.reason = "the service has not looked for a model yet"
        self._seen: tuple[int, int, int] | None = None

    async def watch(self) -> None:
        """Look at the pointer for ever, and take up what it names."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Take up what the pointer names, if it has changed or could not be taken up before."""
        try:
            stat = self.pointer.stat()
            mark = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if mark == self._seen:
                return
            version = read_json(self.pointer)["version"]
            if version is None:
                raise NoneYet(self._refused())
            if not self.model or self.model.version != version:
                self._swap(await asyncio.to_thread(self._load, version), stat.st_mtime)
            self._seen, self.reason = mark, ""
        except Exception as error:  # whatever a bundle does wrong, the old one answers on
            self._seen = None
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            if reason != self.reason:
                self.reason = reason
                if not isinstance(error, NoneYet | FileNotFoundError):
                    self.counters.load_failures.inc()
                logger.error("no new model taken up: %s", reason)

    def _load(self, version: str) -> Model:
        return Model(verified(self.settings.models_dir / "versions", version), self.settings.max_rows)

    def _swap(self, model: Model, promoted: float) -> None:
        self.model = model
        for gauge in (self.counters.model, self.counters.promoted):
            gauge.clear()
        self.counters.model.labels(self.name, model.version).set(1)
        self.counters.promoted.labels(model.version).set(promoted)
        self.counters.swaps.inc()
        logger.info("model %s answers now", model.version)

    def _refused(self) -> str:
        path = self.settings.reports_dir / "decision.json"
        decision = read_json(path) if path.exists() else {}
        if decision.get("decision") == "refused":
            return f"no version was promoted yet; the gate refused the last one: {'; '.join(decision['reasons'])}"
        return f"{self.pointer} names no version yet; run `make pipeline`"
