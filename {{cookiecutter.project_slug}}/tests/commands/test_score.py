import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bundles import fitted_bundle, linear_bundle
from rows import BINARY, MULTICLASS, REGRESSION, valid_rows

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.bundle import load
from {{ cookiecutter.__package }}.commands import score
from {{ cookiecutter.__package }}.contract import Contract, Feature

CONTRACTS = [BINARY, MULTICLASS, REGRESSION]


def promote(bundle):
    """Make a bundle the champion of the folder that the test works in."""
    Path("models/versions", bundle.version).mkdir(parents=True)
    bundle.path.rename(Path("models/versions", bundle.version, "bundle"))
    Path("models/champion.json").write_text(json.dumps({"version": bundle.version, "previous": None, "blocked": []}))
    return load(Path("models/versions", bundle.version, "bundle"))


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_bytes(Path("params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.task)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_is_answered_as_the_bundle_answers(contract, kind, monkeypatch):
    monkeypatch.setattr(score, "CHUNK_ROWS", 7)
    rows = valid_rows(contract, 40)
    bundle = promote(fitted_bundle(Path("made"), contract, rows))
    getattr(rows, f"to_{kind}")(f"rows.{kind}", index=False)
    told = score.score(Path(f"rows.{kind}"), Path(f"out/scores.{kind}"))
    assert bundle.version in told
    assert not Path("out/scores.bad.csv").exists()
    found = getattr(pd, f"read_{kind}")(f"out/scores.{kind}")
    expected = bundle.answers(bundle.scores(rows.astype(object).where(rows.notna(), None)))
    assert found["row_number"].tolist() == list(range(40))
    if contract.classes:
        assert found["prediction"].tolist() == expected["prediction"]
        each = found["probability"].tolist()
        given = pd.DataFrame([json.loads(p) if isinstance(p, str) else p for p in each]).to_numpy(float)
        assert given == pytest.approx(pd.DataFrame(expected["probability"]).to_numpy(float), abs=1e-6)
    else:
        assert found["prediction"].to_numpy() == pytest.approx(np.asarray(expected["prediction"]), rel=1e-6)
    kept = [name for name in (contract.id, contract.time) if name]
    assert [name for name in found if name in contract.columns] == kept
    if contract.id:
        assert found[contract.id].tolist() == rows[contract.id].tolist()


def test_bad_rows_go_to_a_file_beside_it_with_their_reasons_and_the_others_are_answered():
    rows = valid_rows(BINARY, 20)
    promote(fitted_bundle(Path("made"), BINARY, rows))
    rows = rows.astype(object)
    rows.loc[3, "petal length (cm)"] = "a lot"
    rows.loc[5, "probabilities"] = "zz"
    rows.to_csv("rows.csv", index=False)
    assert "bad rows: 2" in score.score(Path("rows.csv"), Path("scores.csv"))
    bad = pd.read_csv("scores.bad.csv")
    assert bad["row_number"].tolist() == [3, 5]
    assert bad["reason"].str.startswith(("petal length (cm): a number", "probabilities: one of a, b, c")).all()
    assert bad.loc[0, "petal length (cm)"] == "a lot"
    assert pd.read_csv("scores.csv")["row_number"].tolist() == [k for k in range(20) if k not in (3, 5)]


def test_a_row_without_a_finite_answer_is_a_bad_row():
    contract = Contract(task="regression", target="price", features=(Feature("size", "number"),))
    promote(linear_bundle(Path("made"), contract, pd.DataFrame({"size": [1.0, 2.0], "price": [1.0, 2.0]}), 0.0, [9.0]))
    pd.DataFrame({"size": [1.0, 3e38]}).to_csv("rows.csv", index=False)
    score.score(Path("rows.csv"), Path("scores.csv"))
    assert pd.read_csv("scores.csv")["row_number"].tolist() == [0]
    assert pd.read_csv("scores.bad.csv")["reason"].tolist() == ["the model has no finite answer"]


@pytest.mark.parametrize(
    ("cell", "kind", "value"),
    [
        ("", "number", None),
        (float("nan"), "integer", None),
        ("1.5", "number", 1.5),
        ("7", "integer", 7),
        ("7.0", "integer", 7.0),
        (7.0, "integer", 7.0),
        ("7.5", "integer", 7.5),
        ("TRUE", "boolean", True),
        ("maybe", "boolean", "maybe"),
        ("x", "number", "x"),
        (pd.Timestamp("2024-01-02 03:04"), "datetime", "2024-01-02T03:04:00"),
        (17, "id", "17"),
    ],
)
def test_a_cell_becomes_what_a_request_would_carry(cell, kind, value):
    assert score.plain(cell, kind) == value
    assert type(score.plain(cell, kind)) is type(value)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("rows.txt", "a", "ends in .csv or .parquet"),
        ("rows.parquet", "no parquet", "cannot be read"),
        ("rows.csv", "", "cannot be read"),
        ("rows.csv", "label,output\n", "holds no rows"),
        ("rows.csv", "label\n1\n", "column 'output' is missing"),
        ("rows.csv", "label,output\n1,2,3\n", "line 2 has 3 cells, its header 2"),
        ("rows.csv", "label,output\n1,2\n1\n", "line 3 has 1 cells, its header 2"),
        ("rows.csv", "label,label\n1,2\n", "names a column twice"),
        ("rows.csv", 'label,output\n"1,2\n', "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_scored_is_one_sentence_and_leaves_nothing(name, content, told):
    promote(fitted_bundle(Path("made"), MULTICLASS, valid_rows(MULTICLASS, 30)))
    Path(name).write_text(content)
    Path("out").mkdir()
    Path("out/scores.csv").write_text("of before")
    with pytest.raises(UserError, match=told):
        score.score(Path(name), Path("out/scores.csv"))
    assert [path.name for path in Path("out").iterdir()] == ["scores.csv"]
    assert Path("out/scores.csv").read_text() == "of before"


def test_where_no_row_is_good_their_reasons_are_told_all_the_same():
    promote(fitted_bundle(Path("made"), MULTICLASS, valid_rows(MULTICLASS, 30)))
    Path("rows.csv").write_text("label,output\nx,1\n")
    with pytest.raises(UserError, match=r"no row that .* allows; bad rows: 1, with reasons in scores\.bad\.csv"):
        score.score(Path("rows.csv"), Path("scores.csv"))
    assert pd.read_csv("scores.bad.csv")["reason"].str.startswith("label: a number").all()
    assert not Path("scores.csv").exists()


@pytest.mark.parametrize("name", ["scores.csv", "scores.bad.csv"])
def test_what_is_read_is_not_written_over(name):
    rows = valid_rows(MULTICLASS, 30)
    promote(fitted_bundle(Path("made"), MULTICLASS, rows))
    rows.to_csv(name, index=False)
    before = Path(name).read_bytes()
    with pytest.raises(UserError, match="would be written over"):
        score.score(Path(name), Path("scores.csv"))
    assert Path(name).read_bytes() == before


def test_without_a_champion_it_says_what_to_do():
    Path("models").mkdir()
    Path("models/champion.json").write_text('{"version": null, "previous": null, "blocked": []}')
    with pytest.raises(UserError, match="make pipeline"):
        score.score(Path("rows.csv"), Path("scores.csv"))


def test_a_bad_row_that_is_scored_again_gets_a_new_number_and_reason():
    rows = valid_rows(MULTICLASS, 3)
    promote(fitted_bundle(Path("made"), MULTICLASS, valid_rows(MULTICLASS, 40)))
    rows.assign(row_number=77, reason="an old one", label=[0.5, 9.0, 0.5]).to_csv("rows.csv", index=False)
    score.score(Path("rows.csv"), Path("scores.csv"))
    bad = pd.read_csv("scores.bad.csv")
    assert bad["row_number"].tolist() == [1]
    assert bad["reason"].str.startswith("label: a number").all()


@pytest.mark.parametrize(
    ("cell", "kind", "value"), [("1_000", "integer", "1_000"), ("1_0.5", "number", "1_0.5"), (12.0, "id", "12")]
)
def test_what_only_python_would_read_is_no_number_and_an_id_has_no_point(cell, kind, value):
    assert score.plain(cell, kind) == value
