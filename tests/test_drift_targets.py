"""The drift monitor keeps its targets: the cases of `benchmarks/drift.py` in fewer runs, with the leeway of chance."""

import json
from math import comb
from typing import Any

import pytest
from conftest import TEMPLATE
from projects import Project

CASES = TEMPLATE / "benchmarks/drift_cases.py"
RUNS = 30
CHANCE = 1e-4  # of a case that fails though its target is met


def at_least(found: int, of: int, share: float) -> float:
    """Return the chance of finding so many or more of something that has this share."""
    return sum(comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(found, of + 1))


def is_missed(case: dict[str, Any]) -> bool:
    """Return whether chance does not explain what was found: of what must always or never be, it explains nothing."""
    found, of = case["found"], case["of"]
    too_many = at_least(found, of, case.get("at_most", 1)) < CHANCE
    return too_many or at_least(of - found, of, 1 - case.get("at_least", 0)) < CHANCE


@pytest.mark.parametrize(("bound", "found"), [({"at_most": 0.05}, 9), ({"at_least": 0.95}, 21), ({"at_most": 0}, 1)])
def test_a_target_that_chance_does_not_explain_is_missed(bound: dict[str, float], found: int) -> None:
    assert is_missed({"found": found, "of": RUNS} | bound)
    assert not is_missed({"found": RUNS if "at_least" in bound else 0, "of": RUNS} | bound)


def test_the_monitor_finds_what_matters_and_keeps_quiet_otherwise(built: Project) -> None:
    done = built.run("python", "-W", "ignore", str(CASES), str(RUNS))
    cases = json.loads(done.output.splitlines()[-1])
    assert len(cases) > 30
    assert not [case for case in cases if is_missed(case)]
