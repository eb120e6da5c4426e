from threading import Thread

import pytest

from {{ cookiecutter.__package }} import UserError, write_json
from {{ cookiecutter.__package }}.champion import lineage, move, read

NOBODY = {"version": None, "previous": None, "blocked": []}


@pytest.fixture
def pointer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "champion.json", NOBODY)
    return tmp_path / "champion.json"


def to(version):
    """Return the pointer that names a version."""
    return NOBODY | {"version": version}


def test_a_move_writes_what_it_is_given(pointer):
    moved = {"version": "b", "previous": "a", "blocked": ["x"]}
    assert move(pointer, NOBODY, moved)
    assert read(pointer) == moved


def test_a_pointer_in_which_a_merge_waits_says_so(pointer):
    pointer.write_text("<<<<<<< HEAD\n{}")
    with pytest.raises(UserError, match=r"a merge waits in .*champion\.json; take dvc\.lock"):
        read(pointer)


BLANK = '{"version": "", "previous": null, "blocked": []}'
ELSEWHERE = '{"version": "../fitted", "previous": null, "blocked": []}'


@pytest.mark.parametrize("content", ["{", '{"version": null, "previous": null}', '{"version": 3}', BLANK, ELSEWHERE])
def test_what_is_no_pointer_is_one_sentence(pointer, content):
    pointer.write_text(content)
    with pytest.raises(UserError, match="is no JSON object of version, previous, blocked; `git checkout"):
        read(pointer)


def test_a_move_from_what_is_no_longer_there_does_nothing(pointer):
    assert move(pointer, NOBODY, to("a"))
    assert not move(pointer, NOBODY, to("b"))
    assert read(pointer)["version"] == "a"


def test_of_many_promotions_at_once_exactly_one_wins(pointer):
    won = []
    race = [Thread(target=lambda v=v: move(pointer, NOBODY, to(v)) and won.append(v)) for v in "abcdefgh"]
    for thread in race:
        thread.start()
    for thread in race:
        thread.join()
    assert [read(pointer)["version"]] == won


def test_the_line_of_champions_is_newest_first_and_ends_where_a_version_is_gone(tmp_path):
    for version, before in (("a", None), ("b", "a"), ("c", "b"), ("e", "d")):
        write_json(tmp_path / version / "decision.json", {"champion": before})
    assert lineage(tmp_path, "c") == ["c", "b", "a"]
    assert lineage(tmp_path, "e") == ["e"]
    assert lineage(tmp_path, None) == []


def test_a_line_that_bites_its_tail_ends(tmp_path):
    for version, before in (("a", "b"), ("b", "a")):
        write_json(tmp_path / version / "decision.json", {"champion": before})
    assert lineage(tmp_path, "a") == ["a", "b"]
