"""The stream, rows that training never saw -> the running service, as traffic: predictions, then their labels.

Settings come as environment variables. A run begins where the last one ended; `logs/simulated.json` says where.
"""

import json
import math
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field, ValidationError
from tqdm import tqdm

from .. import UserError, digest, read_json, read_rows, say, tell, write_json
from ..contract import Contract, Feature
from ..schema import CONTRACT

STREAM, CURSOR = Path("data/stream/stream.parquet"), Path("logs/simulated.json")
BODY_ROWS, BODY_S = 100, 0.1  # a body holds at most so many rows, or those of so much time
TRIES, LONGEST_WAIT_S, TIMEOUT_S = 10, 30, 60
IDLE_S = 1  # after which a connection is opened anew, since the service ends idle ones
SAID_EVERY_S = 10
SEED = 7
NUMBERS = ("mean", "scale", "unit")
FORMS = (*(f"{kind}:COLUMN:2" for kind in NUMBERS), "share:COLUMN=VALUE:0.3", "missing:COLUMN:0.3", "flip:0.3")
WIDEST = {"number": (-3e38, 3e38), "integer": (-(2.0**53), 2.0**53)}  # where a contract states no range


class Settings(BaseModel):
    """The field `rate` is the variable RATE, and so on."""

    url: str = Field("", description="of the service; else this machine's")
    port: int = 8000
    rows: int | None = Field(None, ge=1, description="else a month, or without a time column a third of the stream")
    rate: float = Field(math.inf, gt=0, description="rows a second")
    delay: float = Field(0, ge=0, lt=math.inf, description="seconds from an answer to its label")
    drift: str = ""
    labels: Literal["on", "off"] = "on"
    key: str = Field("", description="that opens the service")

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Return the settings that stand in an environment.

        Raises:
            UserError: a value is not what it must be.
        """
        given: Any = {name: environment[name.upper()] for name in cls.model_fields if environment.get(name.upper())}
        try:
            return cls(**given)
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            raise UserError(f"{str(wrong['loc'][0]).upper()} is {wrong['input']!r}: {wrong['msg']}") from error


class Drift(NamedTuple):
    """A known shift. `flip` has no feature: it turns labels."""

    kind: str
    amount: float
    feature: Feature | None = None
    value: str = ""


def parse(text: str, contract: Contract) -> Drift:
    """Return the drift that a text names. A column's name may hold anything but `;`.

    Raises:
        UserError: it names none that this contract allows.
    """
    kind, _, rest = text.strip().partition(":")
    column, _, number = rest.rpartition(":")
    types = {"share": ("category",)} | dict.fromkeys(NUMBERS, ("number", "integer"))
    fits = {f.name: f for f in contract.features if f.type in types.get(kind, ()) or (kind == "missing" and f.missing)}
    value = ""
    if kind == "share":
        name = max((name for name in fits if column.startswith(f"{name}=")), key=len, default="")
        column, value = name, column[len(name) + 1 :]
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    share = kind not in NUMBERS
    known = column in fits or (kind == "flip" and not column)
    if not known or not (0 <= amount <= 1 if share else math.isfinite(amount)):
        columns = f"; of {kind}, COLUMN is one of {', '.join(fits)}" if fits else ""
        raise UserError(
            f"DRIFT: {text.strip()!r} is none of {', '.join(FORMS)}, several separated by `;`; a share lies between "
            f"0 and 1{columns}"
        )
    feature = fits.get(column)
    if kind == "share" and feature and not (value in feature.categories or (value and feature.unknown == "accept")):
        raise UserError(f"DRIFT: {value!r} is no category of {column!r}; use one of {', '.join(feature.categories)}")
    return Drift(kind, amount, feature, value)


def drifted(rows: pd.DataFrame, stream: pd.DataFrame, drifts: list[Drift], contract: Contract) -> pd.DataFrame:
    """Return the rows with these shifts, always the same ones; the stream says how wide a column is."""
    random, rows = np.random.default_rng(SEED), rows.copy()
    for kind, amount, feature, value in drifts:
        chosen = random.random(len(rows)) < amount
        name = feature.name if feature else contract.target
        if feature is None:
            chosen &= rows[name].notna()
            rows.loc[chosen, name] = _others(rows.loc[chosen, name].tolist(), contract.classes, random)
        elif kind in NUMBERS:
            rows[name] = _moved(rows[name].astype("float64"), stream[name].astype("float64"), kind, amount, feature)
        else:
            rows[name] = rows[name].mask(chosen, value) if kind == "share" else rows[name].mask(chosen)
    return rows


def _others(labels: list[Any], classes: tuple[Any, ...], random: np.random.Generator) -> list[Any]:
    """Return other classes, each as likely; the numbers of a regression change places."""
    if not classes:
        return list(random.permutation(labels).tolist())
    steps = random.integers(1, len(classes), len(labels))
    return [classes[(classes.index(label) + step) % len(classes)] for label, step in zip(labels, steps, strict=True)]


def _moved(values: pd.Series, stream: pd.Series, kind: str, amount: float, feature: Feature) -> pd.Series:
    """Return the moved numbers; what the contract refuses is missing where it may be, else at the end of the range."""
    moves = {
        "mean": values + amount * stream.std(),
        "scale": stream.mean() + amount * (values - stream.mean()),
        "unit": values * amount,
    }
    moved = moves[kind].round() if feature.type == "integer" else moves[kind]
    low, high = feature.range or WIDEST[feature.type]
    beyond = (moved < low) | (moved > high)
    if feature.missing:
        moved = moved.mask(beyond)
    elif kind == "unit" and beyond.any():
        raise UserError(f"DRIFT: {feature.name!r} in that unit leaves its range, and the contract lets none be missing")
    return moved.clip(low, high)


class Client:
    """One connection to the service; what the service puts off is sent again, and counted in `failed`."""

    def __init__(self, url: str, key: str) -> None:
        kinds = {"http": HTTPConnection, "https": HTTPSConnection}
        try:
            parts = urlsplit(url)
            self.connection = kinds[parts.scheme](parts.netloc, timeout=TIMEOUT_S)
        except (ValueError, KeyError, HTTPException) as error:
            raise UserError(f"URL is {url!r}; give it as http://127.0.0.1:8000") from error
        self.url, self.path, self.failed = url, parts.path.rstrip("/"), 0
        self.headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})

    def post(self, path: str, body: Any) -> Any:
        """Return the answer.

        Raises:
            UserError: there is none, or it is a refusal.
        """
        content, told = json.dumps(body, default=pd.Timestamp.isoformat).encode(), b""
        for _ in range(TRIES):
            status, wait = 0, 1.0
            try:
                self.connection.request("POST", self.path + path, content, self.headers)
                answer = self.connection.getresponse()
                status, told, after = answer.status, answer.read(), answer.getheader("retry-after", "")
                wait = min(int(after), LONGEST_WAIT_S) if after.isdigit() else wait
            except (ConnectionResetError, BrokenPipeError):
                self.connection.close()
            except (OSError, HTTPException) as error:
                raise UserError(f"no service answers at {self.url} ({error}); start it with `make serve`") from error
            if status == 200:
                return json.loads(told)
            if status == 401:
                raise UserError(f"the service at {self.url} asks for a key; give one that it knows as KEY=")
            if status not in (0, 429, 503, 504):
                raise UserError(f"{self.url} refused {path} with {status}: {_sentence(told)}")
            self.failed += 1
            self.pause(wait)
        raise UserError(f"{self.url} failed {TRIES} times in a row: {_sentence(told)}")

    def pause(self, seconds: float) -> None:
        """Wait."""
        if seconds > IDLE_S:
            self.connection.close()
        time.sleep(seconds)


def _sentence(told: bytes) -> str:
    try:
        return str(json.loads(told)["error"])
    except (ValueError, KeyError, TypeError):
        return "no sentence of this project's service"


def plain(rows: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return rows as a request carries them, missing values as None."""
    return rows.astype(object).where(rows.notna(), None).to_dict("records")


def span(stream: pd.DataFrame, start: int, rows: int | None, contract: Contract) -> int:
    """Return where the rows to send end: the next `rows`, else those of a month from the first, else a third of all."""
    if rows is None and contract.time:
        times = stream[contract.time].iloc[start:]
        rows = int((times < times.iloc[0].floor("D") + pd.DateOffset(months=1)).cumprod().sum())
    return min(start + (rows or math.ceil(len(stream) / 3)), len(stream))


class Traffic:
    """Rows on their way to the service, and labels that wait until they are due."""

    def __init__(self, client: Client, rows: pd.DataFrame, s: Settings, target: str) -> None:
        self.client, self.rows, self.s, self.target = client, rows, s, target
        self.done, self.sent = 0, 0
        self.versions: Counter[str] = Counter()
        self.waiting: deque[tuple[float, list[dict[str, Any]]]] = deque()

    def predict(self, size: int) -> None:
        """Send the next rows."""
        instances = plain(self.rows.iloc[self.done : self.done + size])
        labels = [row.pop(self.target) for row in instances]
        answer = self.client.post("/predict", {"instances": instances})
        self.done += len(labels)
        self.versions[answer["model_version"]] += len(labels)
        pairs = zip(answer["predictions"], labels, strict=True)
        known = [{"id": one["id"], "label": label} for one, label in pairs if label is not None]
        if known and self.s.labels == "on":
            self.waiting.append((time.monotonic() + self.s.delay, known))

    def feedback(self) -> None:
        """Send the labels that have waited longest."""
        labels = self.waiting[0][1]
        self.client.post("/feedback", {"labels": labels})
        self.waiting.popleft()
        self.sent += len(labels)

    def run(self, cursor: dict[str, Any]) -> None:
        """Send everything; the cursor moves with what is answered.

        Raises:
            UserError: the service does not answer, or the user stopped it.
        """
        begun = said = time.monotonic()
        size, count = int(min(BODY_ROWS, max(1, self.s.rate * BODY_S))), len(self.rows)
        try:
            with tqdm(total=count, unit=" rows", disable=None) as bar:
                while self.done < count or self.waiting:
                    now = time.monotonic()
                    labels_at = self.waiting[0][0] if self.waiting else math.inf
                    rows_at = begun + self.done / self.s.rate if self.done < count else math.inf
                    if labels_at <= now:
                        self.feedback()
                    elif rows_at <= now:
                        self.predict(size)
                        write_json(CURSOR, cursor | {"next": cursor["next"] + self.done})
                    else:
                        self.client.pause(min(labels_at - now, rows_at - now, SAID_EVERY_S))
                    bar.update(self.done - bar.n)
                    if bar.disable and now - said >= SAID_EVERY_S:
                        say("simulate", f"{self.done:,} of {count:,} rows answered, {self.sent:,} labels sent")
                        said = now
        except (KeyboardInterrupt, UserError) as error:
            unsent = sum(len(labels) for _, labels in self.waiting)
            left = f"; {self.done:,} rows were answered, {unsent:,} labels not sent; the next run goes on from there"
            raise UserError(f"{str(error) or 'stopped'}{left if self.done else ''}") from error


def simulate(s: Settings, contract: Contract) -> str:
    """Send the next rows of the stream and return what came of it."""
    drifts = [parse(text, contract) for text in s.drift.split(";") if text.strip()]
    client = Client(s.url or f"http://127.0.0.1:{s.port}", s.key)
    if not STREAM.exists():
        raise UserError(f"{STREAM} is missing; run `make pipeline`")
    stream = read_rows(STREAM)
    if missing := [name for name in contract.columns if name not in stream]:
        raise UserError(f"{STREAM} has no column {missing[0]!r}; run `make pipeline`")
    cursor: dict[str, Any] = {"stream": digest(STREAM), "next": 0}
    with suppress(OSError, ValueError, KeyError, TypeError):  # there is none, or what a full disk left of it
        seen = read_json(CURSOR)
        cursor["next"] = int(seen["next"]) if seen["stream"] == cursor["stream"] else 0
    start = cursor["next"]
    if start >= len(stream):
        raise UserError(f"all {len(stream):,} rows of {STREAM} were sent; remove {CURSOR} to begin again")
    rows = stream[contract.columns].iloc[start : span(stream, start, s.rows, contract)]
    begun = time.monotonic()
    traffic = Traffic(client, drifted(rows, stream, drifts, contract), s, contract.target)
    with closing(client.connection):
        traffic.run(cursor | {"next": start})
    days = f" of {rows[contract.time].min():%F} to {rows[contract.time].max():%F}" if contract.time else ""
    whom = " and ".join(f"{v} ({n:,})" if n < len(rows) else v for v, n in traffic.versions.items())
    seconds, again = time.monotonic() - begun, " and were sent again" if client.failed else ""
    return (
        f"{len(rows):,} rows{days} answered in {seconds:.1f} s by {whom}, {traffic.sent:,} labels sent; "
        f"{client.failed:,} requests failed{again}"
    )


def main() -> str:
    """Simulate as the environment says."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return simulate(Settings.of(os.environ), CONTRACT)


if __name__ == "__main__":
    tell(main)
