import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from bundles import linear_bundle

from {{ cookiecutter.__package }} import UserError, folder, read_json, write_json
from {{ cookiecutter.__package }}.contract import Contract, Feature
from {{ cookiecutter.__package }}.metrics import identity
from {{ cookiecutter.__package }}.params import EvaluateParams, PromoteParams
from {{ cookiecutter.__package }}.stages import promote
from {{ cookiecutter.__package }}.stages.promote import Gate, comparable, main

FEATURES = (Feature("chance", "number"), Feature("tilt", "number"), Feature("small", "boolean"))
CONTRACT = Contract(task="binary", target="y", classes=(0, 1), positive=1, time="day", id="id", features=FEATURES)
NUMBER = Contract(task="regression", target="y", time="day", id="id", features=FEATURES)
PARAMS = {
    "promote": {
        "min_effect": 0.002, "margin": 0.01, "slice_margin": 0.1, "calibration_margin": 0.02, "max_skill": 0.99,
        "min_test_days": 7, "max_latency_ms": 1000, "max_latency_ratio": 1000, "replace": None,
    },
    "evaluate": {"resamples": 200, "level": 0.95, "slice_min_rows": 50, "seed": 0},
    "split": {"test_share": 0.3, "max_test_days": 30, "min_test_rows": 1000, "seed": 7},
    "export": {"reference_rows": 50, "golden_rows": 8, "seed": 7},
}  # fmt: skip


def rows_of(n=1600, days=40, seed=0):
    """Return rows whose positive class has the probability `chance`, all days alike; `tilt` turns `small` ones."""
    k, chance = np.arange(n), np.linspace(0.05, 0.95, n)
    small = k // days % 13 == 3
    values = {
        "id": [f"{seed}-{number}" for number in k],
        "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(k % days, unit="D"),
        "chance": chance,
        "tilt": np.where(small, 1 - 2 * chance, 0),
        "small": small,
        "y": np.diff(np.floor(chance.cumsum()), prepend=0) == 1,
    }
    return pd.DataFrame({name: pd.Series(values[name]).astype(kind) for name, kind in CONTRACT.dtypes.items()})


TEST, TRAIN = rows_of(), rows_of(200, seed=1)
SLOPES = (0.9, 0.86, 0.82, 0.78, 0.74, 0.71)  # each answers a little worse than the one before


class Project(NamedTuple):
    """The files between which `promote` stands."""

    home: Path

    @property
    def paths(self):
        names = ("challenger", "split", "metrics.json", "champion.json", "versions", "decision.json", "decision.md")
        return [self.home / name for name in names]

    def challenge(self, slope=1.0, bias=None, tilt=0.0, recipe="recipe", train=TRAIN, test=TEST, contract=CONTRACT):
        """Return the decision on a challenger that answers bias + slope x chance + tilt x tilt; 1 is the truth."""
        challenger, split, metrics, _, _, decision, _ = self.paths
        bias = 0.5 - slope / 2 if bias is None else bias
        bundle = linear_bundle(challenger / "bundle", contract, train, bias, [slope, tilt, 0.0])
        prior = [0.5, 0.5] if contract.classes else [0.5]
        result = {"baselines": {"prior": prior}, "estimator": "Linear", "rows": len(train)}
        write_json(challenger / "receipt.json", {"recipe": recipe, "result": result, "version": bundle.version})
        write_json(metrics, {"rows": len(test), "log_loss": 0.5, "intervals": {"log_loss": [0.4, 0.6]}})
        with folder(split) as scratch:
            test.to_parquet(scratch / "test.parquet", index=False)
            train.to_parquet(scratch / "train.parquet", index=False)
        main(*self.paths)
        return read_json(decision)

    @property
    def champion(self):
        return read_json(self.home / "champion.json")

    def params(self, **changes):
        (self.home / "params.yaml").write_text(json.dumps(PARAMS | {"promote": PARAMS["promote"] | changes}))


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "champion.json", {"version": None, "previous": None, "blocked": []})
    project = Project(tmp_path)
    project.params()
    return project


def refused(decision, *reasons):
    """Return whether these reasons, by their first words, and no others refuse it."""
    assert decision["decision"] == "refused"
    assert [reason.split(":")[0].split(" to ")[0] for reason in decision["reasons"]] == list(reasons)
    return True


def test_the_first_version_that_beats_the_baseline_is_promoted_and_kept_whole(project):
    decision = project.challenge()
    assert (decision["decision"], decision["policy"]) == ("promoted", "first")
    assert project.champion == {"version": decision["version"], "previous": None, "blocked": []}
    home = project.home / "versions" / decision["version"]
    names = {"bundle", "promise.json", "receipt.json", "decision.json", "card.md", "train_rows.npy"}
    assert {item.name for item in home.iterdir()} == names
    assert "Promoted" in (project.home / "decision.md").read_text()
    assert (np.load(home / "train_rows.npy") == np.sort(identity(TRAIN, CONTRACT.to_json()))).all()


def test_a_first_version_that_knows_nothing_is_refused(project):
    assert refused(project.challenge(slope=0.0), "not superior")
    assert project.champion["version"] is None
    assert not list((project.home / "versions").iterdir())


def test_a_model_of_shuffled_labels_is_refused(project):
    assert refused(project.challenge(slope=-0.8), "not superior", "slice collapse", "slice collapse")


def test_too_few_rows_are_refused(project):
    assert refused(project.challenge(test=rows_of(999)), "too few rows")


def test_too_few_days_are_refused(project):
    assert refused(project.challenge(test=rows_of(days=6)), "too few days")


def test_test_rows_that_it_was_trained_on_are_refused(project):
    decision = project.challenge(train=pd.concat([TRAIN, TEST.head(3)], ignore_index=True))
    assert refused(decision, "overlap")
    assert "the challenger was trained on 3 of the 1,600 test rows" in decision["reasons"][0]


def test_test_rows_that_the_champion_was_trained_on_are_refused(project):
    champion = project.challenge(slope=0.8, test=rows_of(seed=2), train=pd.concat([TRAIN, TEST.head(3)]))["version"]
    decision = project.challenge(recipe="other")
    assert refused(decision, "overlap")
    assert f"{champion} was trained on 3" in decision["reasons"][0]


def test_answers_that_are_not_finite_are_refused(project):
    assert refused(project.challenge(bias=float("nan")), "not finite")


def test_a_leaked_target_is_too_good(project):
    leaked = TEST.assign(chance=TEST["y"] * 0.9998 + 0.0001)
    assert refused(project.challenge(test=leaked), "too good")


def test_a_regression_that_leaks_is_too_good_by_its_squared_error(project):
    rows = [rows.assign(y=rows["chance"] + 0.02) for rows in (TEST, TRAIN)]
    assert refused(project.challenge(slope=1.0, bias=0.0, test=rows[0], train=rows[1], contract=NUMBER), "too good")


def test_an_honest_regression_is_promoted(project):
    rows = [rows.assign(y=rows["chance"] + np.where(rows["y"], 0.2, -0.2)) for rows in (TEST, TRAIN)]
    decision = project.challenge(slope=1.0, bias=0.0, test=rows[0], train=rows[1], contract=NUMBER)
    assert (decision["decision"], decision["loss"]) == ("promoted", "rmse")


def test_another_recipe_must_be_superior(project):
    project.challenge(slope=0.5)
    decision = project.challenge(slope=0.501, recipe="other")
    assert decision["policy"] == "superior"
    assert refused(decision, "not superior")
    assert project.challenge(slope=1.0, recipe="other")["decision"] == "promoted"


def test_another_recipe_that_is_equal_is_not_superior(project):
    project.challenge(slope=0.8)
    assert refused(project.challenge(slope=0.8, recipe="other", train=rows_of(150, seed=1)), "not superior")


def test_the_same_recipe_may_lose_a_little_and_no_more(project):
    project.challenge(slope=1.0)
    decision = project.challenge(slope=0.98)
    assert (decision["decision"], decision["policy"]) == ("promoted", "non-inferior")
    assert "not non-inferior" in project.challenge(slope=0.5)["reasons"][0]


def test_five_small_losses_in_a_row_cannot_add_up(project):
    project.params(calibration_margin=1)
    first = project.challenge(slope=0.9)["version"]
    decisions = [project.challenge(slope=slope) for slope in SLOPES[1:]]
    assert [decision["decision"] for decision in decisions] == ["promoted", *["refused"] * 4]
    assert all(f"to {first}: " in decision["reasons"][-1] for decision in decisions[1:])
    assert "non-inferior" in decisions[1]["reasons"][0]
    assert len(decisions[1]["reasons"]) == 1


@pytest.mark.parametrize(("better", "worse"), list(pairwise(SLOPES)))
def test_each_of_these_losses_alone_is_within_the_margin(project, better, worse):
    project.params(calibration_margin=1)
    project.challenge(slope=better)
    assert project.challenge(slope=worse)["decision"] == "promoted"


def test_a_collapse_in_a_small_slice_is_refused_though_the_whole_is_better(project):
    project.challenge(slope=0.2)
    decision = project.challenge(slope=1.0, tilt=1.0, recipe="other")
    assert refused(decision, "slice collapse")
    assert "where small = True" in decision["reasons"][0]


def test_a_worse_calibration_is_refused_though_the_loss_is_better(project):
    project.challenge(slope=0.098, bias=0.501)
    assert refused(project.challenge(slope=0.45, bias=0.35, recipe="other"), "calibration")


def test_a_champion_of_another_target_is_not_comparable_until_it_is_named_in_replace(project):
    champion = project.challenge(slope=0.8)["version"]
    other = Contract(task="binary", target="z", classes=(0, 1), positive=1, time="day", id="id", features=FEATURES)
    rows = {"test": TEST.rename(columns={"y": "z"}), "train": TRAIN.rename(columns={"y": "z"})}
    decision = project.challenge(recipe="other", contract=other, **rows)
    assert refused(decision, "not comparable")
    assert "its target is 'y', now 'z'" in decision["reasons"][0]
    assert f"promote.replace: {champion} accepts that" in decision["reasons"][0]
    project.params(replace=champion)
    decision = project.challenge(recipe="other", contract=other, **rows)
    assert (decision["decision"], decision["policy"]) == ("promoted", "replace")
    assert project.champion["previous"] == champion


def test_a_champion_that_can_be_compared_is_though_it_is_named_in_replace(project):
    champion = project.challenge(slope=0.9)["version"]
    project.params(replace=champion)
    assert refused(project.challenge(slope=0.5, recipe="other"), "not superior", "calibration")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"task": "multiclass"}, "its task is 'multiclass', now 'binary'"),
        ({"classes": [0, 2]}, r"its classes is \[0, 2\], now \[0, 1\]"),
        ({"id": None}, "its id is None, now 'id'"),
        (
            {"features": [{"name": "gone", "type": "number", "unit": ""}]},
            "its column 'gone' of type number is now gone",
        ),
        (
            {"features": [{"name": "small", "type": "number", "unit": ""}]},
            "its column 'small' of type number is now boolean",
        ),
        (
            {"features": [{"name": "tilt", "type": "number", "unit": "F"}]},
            "its column 'tilt' of type number F is now number",
        ),
    ],
)
def test_what_an_earlier_version_cannot_answer_is_named(project, changes, told):
    bundle = linear_bundle(project.home / "bundle", CONTRACT, TRAIN, 0.0, [1.0, 0.0, 0.0])
    earlier = bundle.__class__(bundle.path, "v", bundle.contract | changes, bundle.session)
    with pytest.raises(UserError, match=told):
        comparable(earlier, bundle, TEST)


def test_an_earlier_version_answers_for_itself_only_after_its_golden_rows(project):
    bundle = linear_bundle(project.home / "bundle", CONTRACT, TRAIN, 0.0, [1.0, 0.0, 0.0])
    np.testing.assert_allclose(comparable(bundle, bundle, TEST)[:, 1], TEST["chance"], rtol=1e-6)
    broken = linear_bundle(project.home / "broken", CONTRACT, TRAIN, float("nan"), [1.0, 0.0, 0.0])
    with pytest.raises(UserError, match="golden rows"):
        comparable(broken, bundle, TEST)


class Slow:
    """A bundle that counts to a million before it answers."""

    contract, version = CONTRACT.to_json() | {"threshold": 0.5}, "slow"

    def scores(self, columns):
        sum(range(1_000_000 if len(columns) == 1 else 1))
        return np.full((len(columns), 2), 0.5)


class Fast(Slow):
    """One that answers at once."""

    def scores(self, columns):
        return np.full((len(columns), 2), 0.5)


def test_a_slow_bundle_is_refused_absolutely_and_against_the_champion(monkeypatch):
    monkeypatch.setattr(promote, "REPEATS", 5)
    p, e = PromoteParams(**PARAMS["promote"]), EvaluateParams(**PARAMS["evaluate"])
    told = list(Gate(Slow(), TEST, p.model_copy(update={"max_latency_ms": 0.5}), e).slow(None))
    assert told == ["slow: one row takes longer than promote.max_latency_ms 0.5"]
    told = list(Gate(Slow(), TEST, p.model_copy(update={"max_latency_ratio": 3.0}), e).slow(Fast()))
    assert told == ["slow: one row takes over promote.max_latency_ratio 3.0 x the champion's time"]
    assert list(Gate(Fast(), TEST, p, e).slow(Slow())) == []


def test_the_champion_itself_is_unchanged(project):
    version = project.challenge()["version"]
    assert project.challenge()["decision"] == "unchanged"
    assert project.champion["version"] == version


def test_a_version_that_was_rolled_back_is_blocked(project):
    version = project.challenge()["version"]
    write_json(project.home / "champion.json", {"version": None, "previous": version, "blocked": [version]})
    assert refused(project.challenge(), "blocked")
    assert project.champion["version"] is None


def test_a_promotion_that_was_cut_short_is_finished(project):
    decision = project.challenge()
    write_json(project.home / "champion.json", {"version": None, "previous": None, "blocked": []})
    assert project.challenge() == decision
    assert project.champion["version"] == decision["version"]


def test_a_clone_that_lacks_the_champion_builds_it_again_as_it_was(project):
    project.challenge(slope=0.9)
    decision = project.challenge()
    pointer, home = project.champion, project.home / "versions" / decision["version"]
    before = {path.relative_to(home): path.read_bytes() for path in home.rglob("*.json")}
    assert pointer["previous"]
    assert before
    shutil.rmtree(home)
    assert project.challenge() == decision
    assert project.champion == pointer
    assert {path.relative_to(home): path.read_bytes() for path in home.rglob("*.json")} == before


def test_a_clone_that_lacks_the_champion_and_builds_another_says_what_to_do(project):
    version = project.challenge()["version"]
    shutil.rmtree(project.home / "versions" / version)
    with pytest.raises(UserError, match=f"{version} is not here; `.venv/bin/dvc pull` brings it"):
        project.challenge(slope=0.9)
    assert project.champion["version"] == version


def test_a_version_to_go_back_to_is_not_lost_without_a_word(project):
    before = project.challenge(slope=0.9)["version"]
    champion = project.challenge()["version"]
    shutil.rmtree(project.home / "versions" / before)
    for slope in (1.0, 0.9):  # the champion, and the lost one built again
        with pytest.raises(UserError, match=f"{before} is not here; .* or where dvc.lock lacks it, `.venv/bin/dvc get"):
            project.challenge(slope=slope)
    assert project.champion == {"version": champion, "previous": before, "blocked": []}


def test_a_version_that_was_promoted_once_is_judged_again_by_the_numbers_of_today(project):
    project.challenge()
    write_json(project.home / "champion.json", {"version": None, "previous": None, "blocked": []})
    project.params(min_test_days=99)
    assert refused(project.challenge(), "too few days")
    assert project.champion["version"] is None


def test_a_test_set_of_few_distinct_rows_is_too_small_too(project):
    contract = replace(CONTRACT, time=None, id=None)
    train, test = (rows.drop(columns=["id", "day"]) for rows in (TRAIN, pd.concat([TEST[7::400]] * 400)))
    assert refused(project.challenge(train=train, test=test, contract=contract), "too few distinct rows")


def test_a_gain_on_one_day_alone_is_none(project):
    project.params(min_test_days=1)
    assert refused(project.challenge(test=rows_of(days=1)), "not superior")


def test_a_champion_that_changed_meanwhile_stays(project, monkeypatch):
    monkeypatch.setattr(promote, "move", lambda *_: False)
    decision = project.challenge()
    assert decision["reasons"] == ["the champion changed meanwhile; run `dvc repro` again"]
    assert decision["decision"] == "refused"
