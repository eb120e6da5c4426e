import subprocess

import pandas as pd
import pytest
from rows import BINARY, MULTICLASS, REGRESSION, valid_rows
from traffic import as_snapshot

from {{ cookiecutter.__package }} import write_json
from {{ cookiecutter.__package }}.commands import retrain as module
from {{ cookiecutter.__package }}.commands.retrain import KNOWN, UNFIT, deliver, mark
from {{ cookiecutter.__package }}.commands.snapshot import save

CONTRACTS = pytest.mark.parametrize("contract", [BINARY, MULTICLASS, REGRESSION], ids=lambda contract: contract.task)


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("data/production", "data/labelled", "data/batches", "reports"):
        (tmp_path / name).mkdir(parents=True)


def produce(contract, rows, name="2026-01-01-abc", **more):
    """Write a snapshot and return its path."""
    path = module.PRODUCTION / f"{name}.parquet"
    save(
        path,
        as_snapshot(
            contract, rows, [0.5] * len(rows) if len(contract.classes) < 3 else [[0.2, 0.3, 0.5]] * len(rows), **more
        ),
    )
    return path


def come_back(contract):
    """Return what one retraining brings, and DVC keeps from then on: batch -> rows."""
    changed = mark(module.PRODUCTION, module.LABELLED, module.BATCHES, contract)
    paths = [*deliver(module.PRODUCTION, module.LABELLED, contract)]
    for path in paths:
        path.with_name(f"{path.name}.dvc").touch()
    return changed, {path.stem: pd.read_parquet(path) for path in paths}


@CONTRACTS
def test_labelled_rows_come_back_once_in_the_columns_of_the_contract(contract):
    rows = valid_rows(contract, 40, seed=1)
    path = produce(contract, rows)
    changed, batches = come_back(contract)
    assert changed == [path]
    (name,) = batches
    assert name == ("returned-20240101-20240110" if contract.time else "returned")
    pd.testing.assert_frame_equal(batches[name], rows)
    assert set(pd.read_parquet(path)["batch"]) == {name}
    assert come_back(contract) == ([], {})


def test_a_row_without_id_and_time_takes_those_of_its_prediction():
    rows = valid_rows(BINARY, 5, seed=1)
    path = produce(BINARY, rows)
    seen = pd.read_parquet(path).assign(row_id=None, row_time=pd.NaT)
    save(path, seen.astype({"row_id": "str", "row_time": "datetime64[us]"}))
    _, batches = come_back(BINARY)
    (batch,) = batches.values()
    assert batch["row"].tolist() == [f"p{k}" for k in range(5)]
    assert str(batch["day"][0]) == "2026-01-01 00:00:00"


def test_rows_without_a_label_wait():
    produce(BINARY, valid_rows(BINARY, 5, seed=1), is_labelled=False)
    assert come_back(BINARY) == ([], {})


def test_a_row_that_is_in_the_data_already_does_not_come_back_twice():
    rows = valid_rows(BINARY, 20, seed=1)
    rows.iloc[:5].to_parquet("data/batches/history.parquet")
    path = produce(BINARY, pd.concat([rows, rows.iloc[10:12]], ignore_index=True))
    _, batches = come_back(BINARY)
    (batch,) = batches.values()
    assert sorted(batch["row"]) == sorted(rows["row"][5:])
    assert (pd.read_parquet(path)["batch"] == KNOWN).sum() == 7


def test_rows_of_another_contract_stay_where_they_are():
    path = produce(REGRESSION, valid_rows(REGRESSION, 5, seed=1))
    _, batches = come_back(BINARY)
    assert batches == {}
    assert set(pd.read_parquet(path)["batch"]) == {UNFIT}


def test_cut_short_after_the_marks_the_next_run_writes_the_batch():
    rows = valid_rows(BINARY, 20, seed=1)
    produce(BINARY, rows)
    mark(module.PRODUCTION, module.LABELLED, module.BATCHES, BINARY)
    changed, batches = come_back(BINARY)
    assert changed == []
    pd.testing.assert_frame_equal(*batches.values(), rows)


def test_cut_short_before_dvc_keeps_the_batch_the_next_run_gives_it_to_dvc():
    produce(BINARY, valid_rows(BINARY, 20, seed=1))
    mark(module.PRODUCTION, module.LABELLED, module.BATCHES, BINARY)
    written = deliver(module.PRODUCTION, module.LABELLED, BINARY)
    assert deliver(module.PRODUCTION, module.LABELLED, BINARY) == written
    assert list(written.values()) == [20]


def test_a_batch_that_dvc_keeps_elsewhere_is_not_written_anew_and_its_name_is_taken():
    rows = valid_rows(BINARY, 40, seed=1)
    produce(BINARY, rows)
    come_back(BINARY)
    (path,) = module.LABELLED.glob("*.parquet")
    path.unlink()
    produce(BINARY, rows.assign(row=[f"new {k}" for k in range(40)]), name="2026-01-02-abc")
    _, batches = come_back(BINARY)
    assert list(batches) == [f"{path.stem}-2"]


def test_a_batch_that_was_removed_does_not_come_back_and_its_name_stays_taken(monkeypatch):
    monkeypatch.setattr(module, "snapshot", lambda: "nothing")
    monkeypatch.setattr(module, "CONTRACT", BINARY)
    monkeypatch.setattr(module, "track", lambda paths: [path.with_name(f"{path.name}.dvc").touch() for path in paths])
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0))
    write_json(module.Path("reports/decision.json"), {"version": "abc", "decision": "unchanged", "reasons": []})
    rows = valid_rows(BINARY, 40, seed=1)
    produce(BINARY, rows)
    module.retrain()
    (path,) = module.LABELLED.glob("*.parquet")
    path.unlink()
    path.with_name(f"{path.name}.dvc").unlink()
    produce(BINARY, rows.assign(row=[f"new {k}" for k in range(40)]), name="2026-01-02-abc")
    module.retrain()
    assert [path.stem for path in module.LABELLED.glob("*.parquet")] == [f"{path.stem}-2"]


@pytest.mark.parametrize("code", [0, 3])
def test_nothing_new_is_said_and_the_pipeline_runs_all_the_same(code, monkeypatch, capsys):
    ran = []

    def dvc(command, **_):
        ran.append(command[1:])
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(module, "snapshot", lambda: "nothing")
    monkeypatch.setattr(subprocess, "run", dvc)
    write_json(
        module.Path("reports/decision.json"), {"version": "abc", "decision": "unchanged", "reasons": ["as before"]}
    )
    if code:
        with pytest.raises(SystemExit) as ended:
            module.retrain()
        assert ended.value.code == code
    else:
        assert module.retrain() == "the gate's last word: abc unchanged: as before"
    assert ran == [["-m", "dvc", "repro"]]
    assert "nothing new is labelled" in capsys.readouterr().out


def test_rows_that_did_not_fit_come_back_once_they_do(capsys):
    rows = valid_rows(BINARY, 6, seed=1)
    path = produce(BINARY, rows)
    seen = pd.read_parquet(path)
    save(path, seen.drop(columns="features.scores"))
    assert come_back(BINARY)[1] == {}
    assert "6 labelled rows do not fit schema.py" in capsys.readouterr().out
    assert come_back(BINARY)[0] == [], "nothing has changed"
    save(path, pd.read_parquet(path).assign(**{"features.scores": seen["features.scores"]}))
    ((_, batch),) = come_back(BINARY)[1].items()
    assert len(batch) == 6


def test_one_row_that_lacks_a_value_keeps_none_of_the_others_back():
    rows = valid_rows(BINARY, 6, seed=1)
    path = produce(BINARY, rows)
    seen = pd.read_parquet(path)
    save(path, seen.assign(**{"features.scores": seen["features.scores"].astype("boolean").mask(seen.index == 2)}))
    ((_, batch),) = come_back(BINARY)[1].items()
    assert batch["row"].tolist() == [id for k, id in enumerate(rows["row"]) if k != 2]


def test_of_two_predictions_of_one_row_the_later_label_goes_back_whatever_file_it_lies_in():
    rows = valid_rows(BINARY, 4, seed=1)
    for name, hour, label in (("2026-01-01-zzz", 9, "yes"), ("2026-01-01-aaa", 15, "no")):
        path = produce(BINARY, rows.assign(label=label), name)
        save(path, pd.read_parquet(path).assign(time=f"2026-01-01T{hour:02}:00:00+00:00"))
    ((_, batch),) = come_back(BINARY)[1].items()
    assert batch["label"].tolist() == ["no"] * 4


def test_a_row_that_lies_in_a_batch_which_no_pipeline_has_taken_up_does_not_come_back_twice():
    rows = valid_rows(BINARY, 4, seed=1)
    produce(BINARY, rows)
    come_back(BINARY)
    produce(BINARY, rows, "2026-01-02-abc")
    assert come_back(BINARY)[1] == {}
    assert set(pd.read_parquet(module.PRODUCTION / "2026-01-02-abc.parquet")["batch"]) == {KNOWN}


def test_a_batch_of_another_contract_stops_no_retraining():
    pd.DataFrame({"other": [1]}).to_parquet(module.BATCHES / "by-hand.parquet")
    produce(BINARY, valid_rows(BINARY, 4, seed=1))
    assert len(come_back(BINARY)[1]) == 1


def test_marked_rows_that_fit_no_more_are_left_out_in_a_sentence(capsys):
    path = produce(BINARY, valid_rows(BINARY, 4, seed=1))
    mark(module.PRODUCTION, module.LABELLED, module.BATCHES, BINARY)
    save(path, pd.read_parquet(path).drop(columns="features.scores"))
    assert deliver(module.PRODUCTION, module.LABELLED, BINARY) == {}
    assert "do not fit schema.py any more" in capsys.readouterr().out
