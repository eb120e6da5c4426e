"""Valid rows of any contract, and three small contracts whose names and types are awkward on purpose."""

import numpy as np
import pandas as pd

from {{ cookiecutter.__package }}.contract import Contract, Feature

BINARY = Contract(
    task="binary",
    target="label",
    classes=("yes", "no"),
    positive="yes",
    time="day",
    id="row",
    personal=("passenger",),
    features=(
        Feature("petal length (cm)", "number", unit="cm", range=(0, 10), missing=0.2),
        Feature("probabilities", "category", categories=("a", "b", "c"), missing=0.1),
        Feature("numbers", "integer", range=(0, 100), missing=0.1),
        Feature("scores", "boolean"),
    ),
)
MULTICLASS = Contract(
    task="multiclass",
    target="species",
    classes=(1, 2, 3),
    features=(Feature("label", "number", range=(-1, 1)), Feature("output", "integer", range=(-5, 5))),
)
REGRESSION = Contract(
    task="regression",
    target="price £",
    features=(
        Feature("texts", "category", unknown="accept"),
        Feature("built", "datetime", missing=0.1),
        Feature("input: size", "number", missing=0.1),
    ),
)


def valid_rows(contract: Contract, n: int, seed: int = 0) -> pd.DataFrame:
    """Return rows that the contract allows, four a day, every class among the first; the target follows a feature.

    Each seed has other ids and other values, and always the same ones.
    """
    random = np.random.default_rng(seed)
    values = {feature.name: _values(feature, n, random) for feature in contract.features}
    if contract.id:
        values[contract.id] = [f"row {seed}-{k}" for k in range(n)]
    if contract.time:
        values[contract.time] = pd.date_range("2024-01-01", periods=n, freq="6h")
    codes = pd.factorize(pd.Series(values[contract.features[0].name]), sort=True)[0]
    noisy = np.clip(codes / max(codes.max(initial=0), 1) + random.normal(0, 0.2, n), 0, 0.999)
    if contract.classes:
        count = len(contract.classes)
        chosen = np.where(np.arange(n) < count, np.arange(n), (noisy * count).astype(int))
        values[contract.target] = [contract.classes[k] for k in chosen]
    else:
        values[contract.target] = noisy * 100
    return pd.DataFrame({name: pd.Series(values[name], dtype=kind) for name, kind in contract.dtypes.items()})


def _values(feature: Feature, n: int, random: np.random.Generator) -> list[object]:
    low, high = feature.range or (-1000, 1000)
    drawn: list[object] = {
        "number": lambda: random.uniform(low, high, n).tolist(),
        "integer": lambda: random.integers(int(low), int(high), n, endpoint=True).tolist(),
        "boolean": lambda: random.integers(2, size=n).astype(bool).tolist(),
        "category": lambda: random.choice(feature.categories or ("one", "two", "three"), n).tolist(),
        "datetime": lambda: list(
            pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(10**6, size=n), unit="min")
        ),
    }[feature.type]()
    missing = random.random(n) < feature.missing / 4
    return [None if gone and k else value for k, (gone, value) in enumerate(zip(missing, drawn, strict=True))]
