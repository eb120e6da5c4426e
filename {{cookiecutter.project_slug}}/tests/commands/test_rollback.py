import subprocess
import sys
from pathlib import Path

import pytest
from services import number_bundle

from {{ cookiecutter.__package }} import UserError, read_json, write_json
from {{ cookiecutter.__package }}.commands import rollback
from {{ cookiecutter.__package }}.commands.rollback import POINTER, VERSIONS, main
from {{ cookiecutter.__package }}.stages.promote import settled


def promoted(bias, before):
    """Return a version that a promotion kept, the champion before it being this one."""
    made = number_bundle(Path("draft"), bias)
    write_json(VERSIONS / made.version / "decision.json", {"decision": "promoted", "champion": before})
    made.path.rename(VERSIONS / made.version / "bundle")
    return made.version


@pytest.fixture
def line(tmp_path, monkeypatch):
    """Three champions, one after the other; the last one answers."""
    (tmp_path / "params.yaml").write_bytes(Path("params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    first = promoted(1.0, None)
    second = promoted(2.0, first)
    third = promoted(3.0, second)
    write_json(POINTER, {"version": third, "previous": second, "blocked": []})
    return first, second, third


def test_the_champion_before_takes_over_and_the_one_left_behind_is_blocked(line):
    first, second, third = line
    told = main()
    assert read_json(POINTER) == {"version": second, "previous": first, "blocked": [third]}
    assert f"{third} is blocked; {second} answers now; `make unblock VERSION={third}`" in told
    main()
    assert read_json(POINTER) == {"version": first, "previous": None, "blocked": [third, second]}
    with pytest.raises(UserError, match=f"names no version before {first}"):
        main()


def test_what_is_blocked_is_never_gone_back_to(line):
    first, second, third = line
    write_json(POINTER, {"version": third, "previous": second, "blocked": [first, third]})
    main()
    assert read_json(POINTER) == {"version": second, "previous": None, "blocked": [first, third]}


def test_a_version_is_unblocked_by_its_name(line):
    first, second, third = line
    main()
    assert main(Path(third)) == f"{third} may be promoted again; until then {second} answers"
    assert read_json(POINTER) == {"version": second, "previous": first, "blocked": []}
    with pytest.raises(UserError, match="blocked are: none"):
        main(Path(third))


def test_the_gate_refuses_the_one_left_behind_until_it_is_unblocked(line):
    third = line[2]
    main()
    assert settled(third, read_json(POINTER))["reasons"][0].startswith("blocked: ")
    main(Path(third))
    assert settled(third, read_json(POINTER)) is None


@pytest.mark.parametrize("name", ["", "other"])
def test_what_is_not_blocked_is_refused_with_those_that_are(line, name):
    main()
    with pytest.raises(UserError, match=f"is not blocked; blocked are: {line[2]}"):
        main(Path(name))


def test_without_a_champion_it_says_what_to_do(line):
    write_json(POINTER, {"version": None, "previous": None, "blocked": []})
    with pytest.raises(UserError, match="make pipeline"):
        main()


def gone(home):
    home.rename("elsewhere")


def changed(home):
    (home / "bundle/contract.json").write_text("changed")


def another(home):
    (home / "bundle").rename("elsewhere")
    number_bundle(home / "bundle", 9.0)


def broken(home):
    (home / "bundle").rename("elsewhere")
    made = number_bundle(home / "bundle", float("nan"))
    home.rename(VERSIONS / made.version)
    write_json(POINTER, read_json(POINTER) | {"previous": made.version})


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (gone, "is not here; `.venv/bin/dvc pull` brings it"),
        (changed, "contract.json is not what the manifest says"),
        (another, "holds bundle"),
        (broken, "golden rows"),
    ],
)
def test_the_pointer_stays_when_the_version_before_is_not_what_it_was(line, harm, told):
    harm(VERSIONS / line[1])
    seen = POINTER.read_bytes()
    with pytest.raises(UserError, match=told):
        main()
    assert POINTER.read_bytes() == seen


def test_a_pointer_that_changed_meanwhile_stays(line, monkeypatch):
    other = read_json(POINTER) | {"version": "promoted"}
    monkeypatch.setattr(rollback, "verified", lambda *_: write_json(POINTER, other))
    with pytest.raises(UserError, match="changed meanwhile"):
        main()
    assert read_json(POINTER) == other


def test_it_waits_for_no_heavy_import():
    code = "import sys, {{ cookiecutter.__package }}.commands.rollback; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pandas", "mlflow", "sklearn", "dvc"} & set(loaded)
