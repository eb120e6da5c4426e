"""The gate: what must never become champion is refused with its reason, and the champion stays where it is."""

import json
from pathlib import Path

import pytest
from projects import PACKAGE, Project, started

JUDGED = ("train", "export", "evaluate", "promote")

# Each changes data/split in place; what is read and written are the project's own files.
CHANGE_ROWS = """
import sys, numpy as np, pandas as pd
from flight_delays import read_rows
train, test = (read_rows(f"data/split/{{side}}.parquet") for side in ("train", "test"))
random = np.random.default_rng(5)
{change}
train.to_parquet("data/split/train.parquet", index=False)
test.to_parquet("data/split/test.parquet", index=False)
print("null")
"""

BREAK_MODEL = """
import numpy as np, skops.io
from pathlib import Path
path = Path("models/fitted/model.skops")
model = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
model[-1]._baseline_prediction = np.full_like(model[-1]._baseline_prediction, np.nan)
skops.io.dump(model, path)
print("null")
"""

# Two processes with everything imported, let go at once: what `python -m` does from there on.
RACE = f"""
import json, os, runpy, sys, warnings
from pathlib import Path
import {PACKAGE}.stages.promote
del sys.modules["{PACKAGE}.stages.promote"]
warnings.filterwarnings("ignore")
start = Path("models/champion.json").read_text()
rounds = []
for number in range(int(sys.argv[1])):
    Path("models/champion.json").write_text(start)
    ready, go = os.pipe()
    children = []
    for racer in ("one", "other"):
        child = os.fork()
        if not child:
            os.close(go)
            os.read(ready, 1)
            read = ["models/challenger", "data/split", "reports/metrics.json", "models/champion.json"]
            written = ["models/versions", f"reports/{{racer}}.json", f"reports/{{racer}}.md"]
            sys.argv = ["promote.py", *read, *written]
            sys.stdout = open(os.devnull, "w")
            try:
                runpy.run_module("{PACKAGE}.stages.promote", run_name="__main__", alter_sys=True)
            except BaseException:
                os._exit(1)
            os._exit(0)
        children.append(child)
    os.close(ready)
    os.close(go)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    decisions = [json.loads(Path(f"reports/{{racer}}.json").read_text())["decision"] for racer in ("one", "other")]
    champion = json.loads(Path("models/champion.json").read_text())
    rounds.append(dict(codes=codes, decisions=decisions, champion=champion))
print(json.dumps(rounds))
"""


def change_rows(project: Project, change: str) -> None:
    """Change the tables `train` and `test` of data/split by a line of Python."""
    project.python(CHANGE_ROWS.format(change=change))


def assert_refused(project: Project, champion: dict[str, object], reason: str) -> None:
    """Assert that the last decision is a refusal for that reason, in both reports, and that the pointer stays."""
    decision = project.decision
    assert decision["decision"] == "refused", decision
    assert any(said.startswith(reason) for said in decision["reasons"]), decision["reasons"]
    assert reason in project.read("reports/decision.md")
    assert project.champion == champion


@pytest.fixture
def fresh(small: Project) -> Project:
    """Return a copy of the small project with no champion yet."""
    return small.without_champion()


def test_model_trained_on_shuffled_labels_never_becomes_the_first_champion(fresh: Project) -> None:
    before = fresh.champion
    change_rows(fresh, "train['again'] = random.permutation(train['again'])")
    fresh.stages(*JUDGED)
    assert_refused(fresh, before, "not superior to")


def test_model_trained_on_shuffled_labels_never_replaces_a_champion(small: Project) -> None:
    before = small.champion
    change_rows(small, "train['again'] = random.permutation(train['again'])")
    small.stages(*JUDGED)
    assert_refused(small, before, "not non-inferior")


def leak(project: Project) -> None:
    """Add a feature that equals the target to the contract and to the source."""
    schema, ingest = (f"src/{PACKAGE}/{name}" for name in ("schema.py", "stages/ingest.py"))
    feature = '        Feature("ordered", "datetime"),\n'
    project.replace(schema, feature, feature + '        Feature("returned", "boolean"),\n')
    project.replace(
        ingest, '            "weight": weight,\n', '            "weight": weight,\n            "returned": again,\n'
    )


@pytest.mark.parametrize("first", [True, False], ids=["first", "against a champion"])
def test_leaked_target_is_too_good_to_be_promoted(small: Project, first: bool) -> None:
    before = small.without_champion().champion if first else small.champion
    leak(small)
    small.set("train.max_iter", 100)
    assert "promote" in small.repro("promote").ran
    assert_refused(small, before, "too good")


@pytest.mark.parametrize("first", [True, False], ids=["first", "against a champion"])
def test_model_that_answers_nan_is_refused(small: Project, first: bool) -> None:
    before = small.without_champion().champion if first else small.champion
    small.python(BREAK_MODEL)
    small.stages("export", "evaluate", "promote")
    assert_refused(small, before, "not finite")


def test_same_recipe_on_corrupted_labels_is_worse_by_more_than_the_margin(small: Project) -> None:
    before = small.champion
    flip = "train['again'].where(random.random(len(train)) > 0.25, train['again'].map({'yes': 'no', 'no': 'yes'}))"
    change_rows(small, f"train['again'] = {flip}")
    small.stages(*JUDGED)
    assert_refused(small, before, "not non-inferior")
    assert small.decision["policy"] == "non-inferior"


def test_same_recipe_on_far_fewer_rows_is_worse_by_more_than_the_margin(small: Project) -> None:
    before = small.champion
    change_rows(small, "train = train.sample(150, random_state=1)")
    small.stages(*JUDGED)
    assert_refused(small, before, "not non-inferior")


def test_another_recipe_that_is_worse_is_refused(small: Project) -> None:
    before = small.champion
    small.set("train.max_iter", 1)
    small.repro("promote")
    assert_refused(small, before, "not superior")
    assert small.decision["policy"] == "superior"


def test_test_rows_that_the_challenger_was_trained_on_are_no_test(small: Project) -> None:
    before = small.champion
    change_rows(small, "train = pd.concat([train, test.head(50)], ignore_index=True)")
    small.stages(*JUDGED)
    assert_refused(small, before, "overlap: the challenger was trained on 50")


def test_test_rows_that_the_champion_was_trained_on_are_no_test(small: Project) -> None:
    before = small.champion
    change_rows(small, "train, test = train.head(len(train) - 700), train.tail(700)")
    small.stages(*JUDGED)
    assert_refused(small, before, f"overlap: {before['version']} was trained on 700")


def test_champion_that_cannot_be_compared_stays_until_its_replacement_is_accepted(small: Project) -> None:
    before = small.champion
    small.replace(f"src/{PACKAGE}/schema.py", '"weight"', '"mass"')
    small.replace(f"src/{PACKAGE}/stages/ingest.py", '"weight"', '"mass"')
    small.repro("promote")
    assert_refused(small, before, "not comparable")
    assert any("'weight'" in reason and before["version"] in reason for reason in small.decision["reasons"])
    small.set("promote.replace", f'"{before["version"]}"')
    small.repro("promote")
    assert small.decision["decision"] == "promoted", small.decision
    assert small.champion["version"] == small.decision["version"] != before["version"]
    assert small.champion["previous"] == before["version"]


def test_too_few_test_rows_promote_nobody(fresh: Project) -> None:
    before = fresh.champion
    fresh.set("split.min_test_rows", 100_000)
    fresh.repro("promote")
    assert_refused(fresh, before, "too few rows")


def test_too_few_test_days_promote_nobody(fresh: Project) -> None:
    before = fresh.champion
    fresh.set("promote.min_test_days", 45)
    fresh.repro("promote")
    assert_refused(fresh, before, "too few days")


def test_rolled_back_version_stays_refused_however_often_it_is_judged(small: Project) -> None:
    version = small.champion["version"]
    pointer = {"version": None, "previous": version, "blocked": [version]}
    small.write("models/champion.json", json.dumps(pointer))
    assert "promote" in small.repro("promote").ran
    assert_refused(small, pointer, "blocked")
    small.repro("--force", "--single-item", "promote")
    assert_refused(small, pointer, "blocked")


def test_promotion_cut_short_before_the_pointer_moved_is_finished_as_it_was_decided(small: Project) -> None:
    before, decision = small.champion, small.decision
    versions = small.digests("models/versions/**/*")
    small.write("models/champion.json", '{"version": null, "previous": null, "blocked": []}')
    assert "promote" in small.repro().ran
    assert small.champion == before
    assert small.decision == decision == small.json(f"models/versions/{before['version']}/decision.json")
    assert small.digests("models/versions/**/*") == versions


def test_of_two_promotions_at_once_exactly_one_moves_the_pointer(small: Project) -> None:
    version = small.champion["version"]
    small.write("models/champion.json", '{"version": null, "previous": null, "blocked": []}')
    rounds = small.python(RACE, "20", timeout=120)
    assert len(rounds) == 20
    for done in rounds:
        assert done["codes"] == [0, 0], done
        assert done["decisions"].count("promoted") == 1, done
        assert done["champion"] == {"version": version, "previous": None, "blocked": []}, done


def test_two_commands_at_once_keep_one_whole_version_and_one_pointer(fresh: Project) -> None:
    command = fresh.command("promote")
    with started(fresh, "bash", "-c", command) as one, started(fresh, "bash", "-c", command) as other:
        said = [process.communicate(timeout=120)[0] for process in (one, other)]
        assert [one.returncode, other.returncode] == [0, 0], said
    version = fresh.json("models/challenger/receipt.json")["version"]
    assert fresh.champion == {"version": version, "previous": None, "blocked": []}
    assert sum(f"{version} promoted" in output for output in said) == 1, said
    assert [path.name for path in (fresh.path / "models/versions").glob("[!.]*")] == [version]


def test_better_recipe_replaces_the_champion_and_names_it_as_the_previous_one(
    small_built: Project, tmp_path: Path
) -> None:
    project = small_built.copy(tmp_path).without_champion()
    project.set("train.max_iter", 3)
    project.repro("promote")
    weak = project.champion["version"]
    assert project.decision["decision"] == "promoted", project.decision
    project.set("train.max_iter", 60)
    project.repro()
    assert project.decision["decision"] == "promoted", project.decision
    assert project.decision["policy"] == "superior"
    assert project.champion["previous"] == weak
    assert project.repro().ran == []
