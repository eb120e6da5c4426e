"""Stage `promote`: the challenger against the champion on rows that neither saw -> a decision, and if it is good a new champion.

Which rule holds is chosen by what changed: another recipe must be superior by a minimum effect, the same recipe on newer
data must be non-inferior to the champion and to the first version of that recipe. A refusal is a result, not an error.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..bundle import Bundle, load as load_bundle, replay
from ..champion import Champion, lineage, move, read
from ..errors import UserError
from ..files import folder, read_json, write, write_json
from ..identity import content, identity
from ..metrics import (
    baseline_scores,
    block_sums,
    blocks,
    calibration_error,
    draws,
    encode_target,
    interval,
    loss_name,
    losses,
    mean_loss,
    number,
    slices,
)
from ..params import EvaluateParams, PromoteParams, SplitParams, load
from . import run, say

Decision = dict[str, Any]
REPEATS = 50  # one-row predictions behind a median latency


class Opponent(NamedTuple):
    """Whom the challenger is compared with: a version with its bundle, or a baseline without. `gain` is the least it must win."""

    name: str
    scores: NDArray[np.float64]
    gain: float
    bundle: Bundle | None = None


class Gate:
    """A challenger and the test rows; its methods yield a sentence for each reason to refuse."""

    def __init__(self, challenger: Bundle, test: pd.DataFrame, p: PromoteParams, e: EvaluateParams) -> None:
        contract = challenger.contract
        times = test[contract["time"]] if contract["time"] else None
        self.challenger, self.test, self.p, self.e, self.task = challenger, test, p, e, contract["task"]
        self.y = encode_target(test[contract["target"]], contract["classes"])
        self.block, self.kind = blocks(times, content(test, contract))
        self.weights = draws(int(self.block.max()) + 1, e.resamples, e.seed)
        self.scores = challenger.scores(test)
        self.comparisons: list[dict[str, Any]] = []

    def loss(self, scores: NDArray[np.float64], chosen: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Return the loss on the chosen rows (all) for each draw, the estimate first."""
        chosen = np.ones(len(self.y), dtype=bool) if chosen is None else chosen
        per_row = np.where(chosen, losses(self.task, self.y, scores), 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return mean_loss(self.task, self.weights @ block_sums(per_row, self.block), self.weights @ block_sums(chosen, self.block))

    def gain(self, scores: NDArray[np.float64], chosen: NDArray[np.bool_] | None = None) -> dict[str, float | None]:
        """Return by which share of the opponent's loss the challenger's is lower, with its paired interval."""
        theirs = self.loss(scores, chosen)
        with np.errstate(invalid="ignore", divide="ignore"):
            return interval((theirs - self.loss(self.scores, chosen)) / theirs, self.e.level)

    def unusable(self, trained_on: dict[str, NDArray[np.uint64]], contracts: dict[str, Any], min_rows: int) -> Iterator[str]:
        """Yield what makes any comparison meaningless: too few rows or days, rows that somebody trained on, answers that are no numbers."""
        days = int(self.block.max()) + 1
        if len(self.y) < min_rows:
            yield f"too few rows: {len(self.y):,} test rows; split.min_test_rows asks for {min_rows:,}"
        if self.kind == "days" and days < self.p.min_test_days:
            yield f"too few days: the test rows span {days}; promote.min_test_days asks for {self.p.min_test_days}"
        for name, seen in trained_on.items():
            shared = int(np.isin(identity(self.test, contracts[name]), seen).sum())
            if shared:
                yield f"overlap: {name} was trained on {shared:,} of the {len(self.y):,} test rows"
        if not np.isfinite(self.scores).all():
            yield f"not finite: {int((~np.isfinite(self.scores.reshape(len(self.y), -1))).any(axis=1).sum()):,} predictions are NaN or infinite"

    def too_good(self, prior: list[float]) -> Iterator[str]:
        """Yield a loss so low that the target must have leaked into the features; a regression's is squared, as in R2."""
        power = 2 if self.task == "regression" else 1
        left = self.loss(self.scores)[0] ** power / self.loss(baseline_scores(prior, len(self.y), self.task))[0] ** power
        if 1 - left > self.p.max_skill:
            yield (
                f"too good: {1 - left:.4f} of the baseline's loss is gone, more than promote.max_skill {self.p.max_skill}; "
                "look for a feature that gives the target away"
            )

    def worse(self, opponent: Opponent) -> Iterator[str]:
        """Yield where the challenger does not win enough against an opponent: overall, in a slice, in calibration."""
        gain = self.gain(opponent.scores)
        entry = {"against": opponent.name, "loss": loss_name(self.task), "challenger": number(self.loss(self.scores)[0])}
        self.comparisons.append(entry | {"opponent": number(self.loss(opponent.scores)[0]), "gain": gain, "needed": opponent.gain})
        low = gain["low"] if gain["low"] is not None else -np.inf
        if low <= opponent.gain:
            need = "superior" if opponent.gain >= 0 else "non-inferior"
            yield (
                f"not {need} to {opponent.name}: {loss_name(self.task)} lower by {gain['value']} of it "
                f"[{gain['low']}, {gain['high']}] by {self.kind}; the lower end must exceed {opponent.gain}"
            )
        for name, chosen in slices(self.test, self.challenger.contract["features"], self.e.slice_min_rows).items():
            high = self.gain(opponent.scores, chosen)["high"]
            if high is not None and high < -self.p.slice_margin:
                yield f"slice collapse: where {name}, the loss is higher than that of {opponent.name} by {-high} of it or more"
        errors = [calibration_error(self.task, self.y, scores, self.block, self.weights) for scores in (self.scores, opponent.scores)]
        grown = interval(errors[0] - errors[1], self.e.level)["low"]
        if grown is not None and grown > self.p.calibration_margin:
            yield f"calibration: the error exceeds that of {opponent.name} by {grown} or more; promote.calibration_margin is {self.p.calibration_margin}"

    def slow(self, champion: Bundle | None) -> Iterator[str]:
        """Yield a latency beyond the bounds. The sentence holds no figure: clocks have no place in a versioned file."""
        row = self.test.iloc[[0]]
        taken: dict[str, list[float]] = {}
        for _ in range(REPEATS):
            for bundle in filter(None, (self.challenger, champion)):
                start = time.perf_counter()
                bundle.scores(row)
                taken.setdefault(bundle.version, []).append((time.perf_counter() - start) * 1000)
        median = {version: float(np.median(times)) for version, times in taken.items()}
        ours = median[self.challenger.version]
        if ours > self.p.max_latency_ms:
            yield f"slow: one row takes longer than promote.max_latency_ms {self.p.max_latency_ms}"
        if champion and ours > self.p.max_latency_ratio * median[champion.version]:
            yield f"slow: one row takes more than promote.max_latency_ratio {self.p.max_latency_ratio} times as long as with {champion.version}"


def comparable(champion: Bundle, challenger: Bundle, test: pd.DataFrame) -> NDArray[np.float64]:
    """Return the champion's scores on the test rows.

    Raises:
        UserError: it cannot answer them, and why: another task, target or classes, a column gone or of another type.
    """
    for key in ("task", "target", "classes"):
        if champion.contract[key] != challenger.contract[key]:
            raise UserError(f"its {key} is {champion.contract[key]!r}, now {challenger.contract[key]!r}")
    types = {feature["name"]: feature["type"] for feature in challenger.contract["features"]}
    for feature in champion.contract["features"]:
        if types.get(feature["name"]) != feature["type"]:
            now = types.get(feature["name"], "gone")
            raise UserError(f"its column {feature['name']!r} of type {feature['type']} is now {now}")
    replay(champion)
    scores = champion.scores(test)
    if not np.isfinite(scores).all():
        raise UserError("it answers some test rows with numbers that are not finite")
    return scores


def rivals(versions: Path, champion: Champion, receipt: dict[str, Any], p: PromoteParams) -> tuple[str, dict[str, float]]:
    """Return the policy's name and version -> least gain: the champion and, for the same recipe, that recipe's first version."""
    current = champion["version"]
    if current is None or p.replace == current:
        return "first" if current is None else "replace", {}
    same = [v for v in lineage(versions, current) if read_json(versions / v / "receipt.json")["recipe"] == receipt["recipe"]]
    if current not in same:
        return "superior", {current: p.min_effect}
    return "non-inferior", {version: -p.margin for version in dict.fromkeys([current, same[-1]])}


def judge(
    gate: Gate, receipt: dict[str, Any], trained: NDArray[np.uint64], versions: Path, champion: Champion, min_rows: int
) -> Decision:
    """Return the decision: `promoted` or `refused`, its reasons, policy and comparisons."""
    p, baselines = gate.p, receipt["result"]["baselines"]
    policy, gains = rivals(versions, champion, receipt, p)
    opponents, reasons = [], []
    trained_on, contracts = {"the challenger": trained}, {"the challenger": gate.challenger.contract}
    for version, least in gains.items():
        try:
            bundle = load_bundle(versions / version / "bundle")
            opponents.append(Opponent(version, comparable(bundle, gate.challenger, gate.test), least, bundle))
        except UserError as error:
            reasons.append(f"not comparable: the champion {version} cannot judge these rows: {error}; promote.replace: {version} accepts that")
            continue
        trained_on[version], contracts[version] = np.load(versions / version / "train_rows.npy"), bundle.contract
    reasons += gate.unusable(trained_on, contracts, min_rows)
    if not reasons:
        reasons += gate.too_good(baselines["prior"])
        reasons += gate.slow(opponents[0].bundle if opponents else None)
        for name, answer in baselines.items():
            floor = Opponent(f"the baseline {name!r}", baseline_scores(answer, len(gate.y), gate.task), 0.0)
            if not opponents:
                reasons += gate.worse(floor)
            elif gate.loss(gate.scores)[0] >= gate.loss(floor.scores)[0]:
                reasons.append(f"no better than {floor.name}: {loss_name(gate.task)} {number(gate.loss(gate.scores)[0])}")
        for opponent in opponents:
            reasons += gate.worse(opponent)
    won = [f"{c['loss']} {c['challenger']} against {c['opponent']} of {c['against']}" for c in gate.comparisons]
    return {
        "decision": "refused" if reasons else "promoted",
        "reasons": reasons or won,
        "version": gate.challenger.version,
        "champion": champion["version"],
        "policy": policy,
        "test": {"rows": len(gate.y), gate.kind: int(gate.block.max()) + 1},
        "comparisons": gate.comparisons,
    }


def settled(version: str, champion: Champion, versions: Path) -> Decision | None:
    """Return the decision where none has to be made: the champion itself, a blocked version, a promotion that was cut short."""
    known = {"version": version, "champion": champion["version"]}
    if version == champion["version"]:
        return known | {"decision": "unchanged", "reasons": [f"the challenger is the champion {version}"]}
    if version in champion["blocked"]:
        return known | {"decision": "refused", "reasons": [f"blocked: {version} was rolled back; take it off `blocked` in models/champion.json to try it again"]}
    written = versions / version / "decision.json"
    if written.exists() and (decision := read_json(written))["champion"] == champion["version"]:
        return dict(decision)
    return None


def card(decision: Decision, metrics: dict[str, Any], receipt: dict[str, Any], contract: dict[str, Any]) -> str:
    """Return the model card, in Markdown. Source: Mitchell et al. (2019), FAT* 19: model cards."""
    facts = [(name, m) for name, m in metrics.items() if isinstance(m, dict) and "value" in m]
    rows = "\n".join(f"| {name} | {m['value']} | {m['low']} to {m['high']} |" for name, m in facts)
    features = ", ".join(feature["name"] for feature in contract["features"])
    return (
        f"# Model {decision['version']}\n\nPredicts `{contract['target']}` ({contract['task']}) from {features}.\n\n"
        f"{receipt['result']['estimator']}, fitted on {receipt['result']['rows']:,} rows, measured on {metrics['rows']:,} later or "
        f"held-out rows that it never saw.\n\n| metric | value | interval |\n|---|---|---|\n{rows}\n\n"
        f"Promoted by the policy `{decision['policy']}`: {'; '.join(decision['reasons'])}.\n"
    )


def markdown(decision: Decision) -> str:
    """Return the decision as a person reads it."""
    lines = [f"# {decision['decision'].capitalize()}: {decision['version']}", "", f"Champion before: {decision['champion'] or 'none'}."]
    if "policy" in decision:
        unit = "days" if "days" in decision["test"] else "rows"
        lines[-1] += f" Policy: {decision['policy']}. Test rows: {decision['test']['rows']:,} in {decision['test'][unit]} blocks by {unit}."
    lines += ["", *(f"- {reason}" for reason in decision["reasons"])]
    if decision.get("comparisons"):
        lines += ["", "| against | loss | challenger | opponent | gain | interval | needed |", "|---|---|---|---|---|---|---|"]
        for c in decision["comparisons"]:
            gain = c["gain"]
            lines.append(f"| {c['against']} | {c['loss']} | {c['challenger']} | {c['opponent']} | {gain['value']} | {gain['low']} to {gain['high']} | > {c['needed']} |")
    return "\n".join(lines) + "\n"


def keep(decision: Decision, challenger_dir: Path, trained: NDArray[np.uint64], metrics_path: Path, versions: Path) -> None:
    """Write `versions/<version>/` whole: the bundle, and beside it what was promised, why, and which rows it was fitted on."""
    metrics, receipt = read_json(metrics_path), read_json(challenger_dir / "receipt.json")
    with folder(versions / decision["version"]) as scratch:
        for item in (challenger_dir / "bundle").rglob("*"):
            if item.is_file():
                write(scratch / "bundle" / item.relative_to(challenger_dir / "bundle"), item.read_bytes())
        contract = read_json(scratch / "bundle/contract.json")
        write_json(scratch / "promise.json", metrics)
        write_json(scratch / "receipt.json", receipt)
        write_json(scratch / "decision.json", decision)
        write(scratch / "card.md", card(decision, metrics, receipt, contract))
        np.save(scratch / "train_rows.npy", trained)


def main(
    challenger_dir: Path, split_dir: Path, metrics_path: Path, champion_path: Path, versions: Path, decision_path: Path, readable_path: Path
) -> str:
    """Write the decision; if it is a promotion keep the version first, then move the pointer."""
    versions.mkdir(parents=True, exist_ok=True)
    champion = read(champion_path)
    challenger = load_bundle(challenger_dir / "bundle")
    decision = settled(challenger.version, champion, versions)
    if decision is None:
        test, p, e = pd.read_parquet(split_dir / "test.parquet"), load(PromoteParams), load(EvaluateParams)
        trained = np.sort(identity(pd.read_parquet(split_dir / "train.parquet"), challenger.contract))
        say("promote", f"{challenger.version} against {champion['version'] or 'the baselines'} on {len(test):,} rows")
        gate = Gate(challenger, test, p, e)
        decision = judge(gate, read_json(challenger_dir / "receipt.json"), trained, versions, champion, load(SplitParams).min_test_rows)
        if decision["decision"] == "promoted":
            keep(decision, challenger_dir, trained, metrics_path, versions)
    if decision["decision"] == "promoted":
        then: Champion = {"version": challenger.version, "previous": champion["version"], "blocked": champion["blocked"]}
        if not move(champion_path, champion, then):
            decision |= {"decision": "refused", "reasons": ["the champion changed while this was judged; run `dvc repro` again"]}
    write_json(decision_path, decision)
    write(readable_path, markdown(decision))
    return f"{decision['version']} {decision['decision']}: {decision['reasons'][0]}" + (f" (and {len(decision['reasons']) - 1} more)" if len(decision["reasons"]) > 1 else "")


if __name__ == "__main__":
    run(main)
