"""Stage `promote`: the challenger against the champion on rows that neither saw -> a decision, perhaps a new champion.

The rule follows from what changed: another recipe must be superior by a minimum effect, the same recipe on newer data
non-inferior to the champion and to the first version of that recipe. A refusal is a result, not an error.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .. import UserError, folder, read_json, read_rows, run, say, write, write_json
from ..bundle import Bundle, replay
from ..bundle import load as load_bundle
from ..champion import Champion, home, lineage, move, read
from ..metrics import (
    Floats,
    Hashes,
    baseline_scores,
    blocks,
    calibration_gaps,
    content,
    draws,
    encode_target,
    identity,
    interval,
    loss_name,
    mean_loss,
    number,
    slices,
)
from ..params import EvaluateParams, PromoteParams, SplitParams, load

Decision = dict[str, Any]
REPEATS = 50  # one-row predictions behind a median latency


class Opponent(NamedTuple):
    """Whom the challenger is compared with; `needed` is the share of its loss that must be won."""

    name: str
    scores: Floats
    needed: float
    bundle: Bundle | None = None


class Gate:
    """A challenger and the test rows; its methods yield a sentence for each reason to refuse."""

    def __init__(self, challenger: Bundle, test: pd.DataFrame, p: PromoteParams, e: EvaluateParams) -> None:
        contract = challenger.contract
        self.challenger, self.test, self.p, self.e, self.task = challenger, test, p, e, contract["task"]
        self.y = encode_target(test[contract["target"]], contract["classes"])
        self.block, self.kind = blocks(test[contract["time"]] if contract["time"] else None, content(test, contract))
        self.weights = draws(self.block, e.resamples, e.seed)
        self.scores = challenger.scores(test)
        self.comparisons: list[Decision] = []

    def loss(self, scores: Floats, chosen: Any = None) -> Floats:
        """Return the loss on the chosen rows (None: all) for each draw, the estimate first."""
        return mean_loss(self.task, self.y, scores, self.block, self.weights, chosen)

    def gain(self, opponent: Opponent, chosen: Any = None) -> dict[str, float | None]:
        """Return by which share of the opponent's loss the challenger's is lower, with its paired interval."""
        theirs = self.loss(opponent.scores, chosen)
        with np.errstate(invalid="ignore", divide="ignore"):
            won = (theirs - self.loss(self.scores, chosen)) / theirs
        return interval(won, self.e.level, len(np.unique(self.block if chosen is None else self.block[chosen])))

    def calibration(self, scores: Floats) -> Floats:
        """Return the calibration error for each draw."""
        return np.asarray(np.abs(calibration_gaps(self.task, self.y, scores, self.block, self.weights)).sum(axis=0))

    def unusable(self, trained: dict[str, tuple[Hashes, Decision]], min_rows: int) -> Iterator[str]:
        """Yield what makes any comparison meaningless; `trained` holds training rows and contract of each side."""
        rows, count = len(self.y), int(self.block.max()) + 1
        kind = "days" if self.kind == "days" else "distinct rows"
        if rows < min_rows:
            yield f"too few rows: {rows:,} test rows; split.min_test_rows asks for {min_rows:,}"
        if count < self.p.min_test_days:
            yield f"too few {kind}: the test rows span {count}; promote.min_test_days asks for {self.p.min_test_days}"
        for name, (seen, contract) in trained.items():
            if shared := int(np.isin(identity(self.test, contract), seen).sum()):
                yield f"overlap: {name} was trained on {shared:,} of the {rows:,} test rows"
        if bad := int((~np.isfinite(self.scores.reshape(rows, -1))).any(axis=1).sum()):
            yield f"not finite: {bad:,} of {rows:,} predictions are NaN or infinite"

    def too_good(self, prior: Floats) -> Iterator[str]:
        """Yield a loss so low that the target must have leaked; a regression's is squared, as in R2."""
        skill = 1 - (self.loss(self.scores)[0] / self.loss(prior)[0]) ** (2 if self.task == "regression" else 1)
        if skill > self.p.max_skill:
            yield (
                f"too good: {skill:.4f} of the baseline's loss is gone, beyond promote.max_skill {self.p.max_skill}; "
                "look for a feature that gives the target away"
            )

    def worse(self, opponent: Opponent) -> Iterator[str]:
        """Yield where the challenger does not win enough: overall, in a slice, in calibration."""
        gain, name = self.gain(opponent), opponent.name
        loss = {"challenger": number(self.loss(self.scores)[0]), "opponent": number(self.loss(opponent.scores)[0])}
        self.comparisons.append({"against": name, **loss, "gain": gain, "needed": opponent.needed})
        if gain["low"] is None or gain["low"] <= opponent.needed:
            yield (
                f"not {'superior' if opponent.needed >= 0 else 'non-inferior'} to {name}: {loss_name(self.task)} "
                f"lower by {gain['value']} of it [{gain['low']}, {gain['high']}] by {self.kind}; "
                f"the lower end must exceed {opponent.needed}"
            )
        for where, chosen in slices(self.test, self.challenger.contract["features"], self.e.slice_min_rows).items():
            high = self.gain(opponent, chosen)["high"]
            if high is not None and high < -self.p.slice_margin:
                yield f"slice collapse: where {where}, the loss exceeds that of {name} by {-high} of it or more"
        if opponent.bundle:  # a constant has no bins in which chance could move it
            more = self.calibration(self.scores) - self.calibration(opponent.scores)
            grown = interval(more, self.e.level, self.weights.shape[1])["low"]
            if grown is not None and grown > self.p.calibration_margin:
                yield f"calibration: the error exceeds that of {name} by {grown} or more"

    def slow(self, champion: Bundle | None) -> Iterator[str]:
        """Yield a latency beyond the bounds; without its figure, since clocks have no place in a versioned file."""
        row, taken = self.test.iloc[[0]], [[], []]  # type: tuple[pd.DataFrame, list[list[float]]]
        for _ in range(REPEATS):
            for bundle, times in zip((self.challenger, champion or self.challenger), taken, strict=True):
                start = time.perf_counter()
                bundle.scores(row)
                times.append((time.perf_counter() - start) * 1000)
        ours, theirs = map(np.median, taken)
        if ours > self.p.max_latency_ms:
            yield f"slow: one row takes longer than promote.max_latency_ms {self.p.max_latency_ms}"
        if ours > self.p.max_latency_ratio * theirs:
            yield f"slow: one row takes over promote.max_latency_ratio {self.p.max_latency_ratio} x the champion's time"


def comparable(version: Bundle, challenger: Bundle, test: pd.DataFrame) -> Floats:
    """Return the scores of an earlier version on the test rows.

    Raises:
        UserError: it cannot answer them, and why: another task, target, classes or id, a column gone or other.
    """

    def kind(feature: Decision) -> str:
        return f"{feature['type']} {feature['unit']}".strip()

    kinds = {feature["name"]: kind(feature) for feature in challenger.contract["features"]}
    for key in ("task", "target", "classes", "id", "time"):
        if version.contract[key] != challenger.contract[key]:
            raise UserError(f"its {key} is {version.contract[key]!r}, now {challenger.contract[key]!r}")
    for feature in version.contract["features"]:
        was = kind(feature)
        if (now := kinds.get(feature["name"], "gone")) != was:
            raise UserError(f"its column {feature['name']!r} of type {was} is now {now}")
    replay(version)
    return version.scores(test)


def rivals(versions: Path, champion: Champion, recipe: str, p: PromoteParams) -> tuple[str, dict[str, float]]:
    """Return the policy, and version -> needed gain: the champion, and the first version of the same recipe."""
    current = champion["version"]
    if current is None:
        return "first", {}
    same = [v for v in lineage(versions, current) if read_json(versions / v / "receipt.json")["recipe"] == recipe]
    if current not in same:
        return "superior", {current: p.min_effect}
    return "non-inferior", dict.fromkeys((current, same[-1]), -p.margin)


def judge(
    gate: Gate, receipt: Decision, trained: Hashes, versions: Path, champion: Champion, min_rows: int
) -> Decision:
    """Return the decision: promoted or refused, its reasons, policy and comparisons."""
    policy, needed = rivals(versions, champion, receipt["recipe"], gate.p)
    known, opponents = {"the challenger": (trained, gate.challenger.contract)}, []
    reasons: list[str] = []
    for version in needed:
        bundle = load_bundle(home(versions, version) / "bundle")
        try:
            opponents.append(Opponent(version, comparable(bundle, gate.challenger, gate.test), needed[version], bundle))
            known[version] = (np.load(versions / version / "train_rows.npy"), bundle.contract)
        except UserError as error:
            if version == gate.p.replace:
                policy = "replace"
            else:
                reasons.append(f"not comparable: {version}, for {error}; promote.replace: {version} accepts that")
    reasons += gate.unusable(known, min_rows)
    if not reasons:
        answers = receipt["result"]["baselines"].items()
        floors = [Opponent(f"baseline {k!r}", baseline_scores(v, len(gate.y), gate.task), 0.0) for k, v in answers]
        current = next((o.bundle for o in opponents if o.name == champion["version"]), None)
        reasons += [*gate.too_good(floors[0].scores), *gate.slow(current)]
        for opponent in opponents or floors:
            reasons += gate.worse(opponent)
        for floor in floors if opponents else ():
            if gate.loss(gate.scores)[0] >= gate.loss(floor.scores)[0]:
                reasons.append(f"no better than {floor.name}")
    won = [
        f"{loss_name(gate.task)} {c['challenger']} against {c['opponent']} of {c['against']}" for c in gate.comparisons
    ]
    decision = {"decision": "refused" if reasons else "promoted", "reasons": reasons or won, "policy": policy}
    test = {gate.kind: int(gate.block.max()) + 1, "rows": len(gate.y)}
    return decision | {"test": test, "loss": loss_name(gate.task), "comparisons": gate.comparisons}


def settled(version: str, champion: Champion) -> Decision | None:
    """Return the decision where nothing is to be judged: the champion, or a blocked version."""
    if version == champion["version"]:
        return {"decision": "unchanged", "reasons": [f"the challenger is the champion {version}"]}
    if version in champion["blocked"]:
        reason = f"blocked: {version} was rolled back; `make unblock VERSION={version}` lets it be tried again"
        return {"decision": "refused", "reasons": [reason]}
    return None


def markdown(decision: Decision, metrics: Decision) -> str:
    """Return the decision as a person reads it: why, against whom, and how good the challenger is."""
    lines = [
        f"# {decision['decision'].capitalize()}: {decision['version']}\n",
        *(f"- {r}" for r in decision["reasons"]),
    ]
    lines.append(f"- champion before: {decision['champion'] or 'none'}")
    if decision.get("comparisons"):
        tested = ", ".join(f"{count:,} {unit}" for unit, count in decision["test"].items())
        lines.append(f"- policy: {decision['policy']}; tested on {tested}")
        lines.append(f"\n| against | {decision['loss']} | of the challenger | gain | interval | needed |")
        lines.append("|---|---|---|---|---|---|")
    for c in decision.get("comparisons", ()):
        gain, low, high = c["gain"].values()
        ours, theirs = c["challenger"], c["opponent"]
        lines.append(f"| {c['against']} | {theirs} | {ours} | {gain} | {low} to {high} | > {c['needed']} |")
    lines.append("\n| metric | of the challenger | interval |\n|---|---|---|")
    lines += [f"| {name} | {metrics[name]} | {low} to {high} |" for name, (low, high) in metrics["intervals"].items()]
    return "\n".join(lines) + "\n"


def card(decision: Decision, metrics: Decision, receipt: Decision, contract: Decision) -> str:
    """Return the model card. Source: Mitchell et al. (2019), FAT* 19: model cards for model reporting."""
    result, features = receipt["result"], ", ".join(feature["name"] for feature in contract["features"])
    return (
        f"# Model {decision['version']}\n\nPredicts `{contract['target']}` ({contract['task']}) from {features}.\n\n"
        f"{result['estimator']}, fitted on {result['rows']:,} rows, measured on {metrics['rows']:,} unseen ones.\n\n"
        f"#{markdown(decision, metrics)}"
    )


def main(*paths: Path) -> str:
    """Write the decision; if it is a promotion keep the version first, then move the pointer."""
    challenger_dir, split_dir, metrics_path, champion_path, versions, decision_path, readable_path = paths
    versions.mkdir(parents=True, exist_ok=True)
    p, e, min_rows = load(PromoteParams), load(EvaluateParams), load(SplitParams).min_test_rows
    pointer, challenger = read(champion_path), load_bundle(challenger_dir / "bundle")
    champion = pointer
    lost = [v for v in (pointer["version"], pointer["previous"]) if v and not (versions / v).is_dir()]
    if lost:
        if not lost == [pointer["version"]] == [challenger.version]:
            home(versions, lost[0])  # is not here
        champion = {**pointer, "version": pointer["previous"], "previous": None}
    receipt, metrics = read_json(challenger_dir / "receipt.json"), read_json(metrics_path)
    names: Decision = {"version": challenger.version, "champion": champion["version"]}
    decision = settled(challenger.version, champion)
    if decision is None:
        test, known_by = read_rows(split_dir / "test.parquet"), challenger.contract["id"]
        train = read_rows(split_dir / "train.parquet", columns=[known_by] if known_by else None)
        say("promote", f"{challenger.version} against {champion['version'] or 'the baselines'} on {len(test):,} rows")
        gate = Gate(challenger, test, p, e)
        trained = np.sort(identity(train, challenger.contract))
        decision = names | judge(gate, receipt, trained, versions, champion, min_rows)
        if decision["decision"] == "promoted":
            with folder(versions / challenger.version) as scratch:  # whole, and before the pointer moves
                shutil.copytree(challenger.path, scratch / "bundle")
                for name, facts in (("promise", metrics), ("receipt", receipt), ("decision", decision)):
                    write_json(scratch / f"{name}.json", facts)
                write(scratch / "card.md", card(decision, metrics, receipt, challenger.contract))
                np.save(scratch / "train_rows.npy", trained)
    to: Champion = {**champion, "version": challenger.version, "previous": champion["version"]}
    if decision["decision"] == "promoted" and not move(champion_path, pointer, to):
        decision = {"decision": "refused", "reasons": ["the champion changed meanwhile; run `dvc repro` again"]}
    decision = names | decision
    write_json(decision_path, decision)
    write(readable_path, markdown(decision, metrics))
    return f"{challenger.version} {decision['decision']}: {'; '.join(decision['reasons'])}"


if __name__ == "__main__":
    run(main)
