import json

import pandas as pd
import pytest
from rows import BINARY, valid_rows

from {{ cookiecutter.__package }} import UserError, read_rows
from {{ cookiecutter.__package }}.batches import labelled, save


def test_rows_that_came_back_lose_personal_columns(tmp_path):
    valid_rows(BINARY, 3).assign(passenger="A. Lovelace").to_parquet(tmp_path / "october.parquet")
    batches = labelled(tmp_path, BINARY)
    assert list(batches) == ["october"]
    assert list(batches["october"]) == BINARY.columns


def test_pointers_and_hidden_files_are_no_batches(tmp_path):
    valid_rows(BINARY, 3).to_parquet(tmp_path / "october.parquet")
    for name in ("october.parquet.dvc", ".gitignore"):
        (tmp_path / name).touch()
    assert list(labelled(tmp_path, BINARY)) == ["october"]


def test_a_batch_that_was_not_pulled_is_asked_for(tmp_path):
    (tmp_path / "october.parquet.dvc").touch()
    with pytest.raises(UserError, match=r"october\.parquet is kept by DVC and not here; run `\.venv/bin/dvc pull`"):
        labelled(tmp_path, BINARY)


@pytest.mark.parametrize("name", ["october.parquet", "october.csv"])
def test_a_file_that_is_not_parquet_is_refused_by_name(tmp_path, name):
    (tmp_path / name).write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=f"{name} cannot be read as Parquet"):
        labelled(tmp_path, BINARY)


def test_a_batch_may_not_bear_the_name_of_the_history(tmp_path):
    valid_rows(BINARY, 3).to_parquet(tmp_path / "history.parquet")
    with pytest.raises(UserError, match="bears the name of the history; rename it"):
        labelled(tmp_path, BINARY)


def test_two_files_of_one_batch_are_refused(tmp_path):
    for name in ("october.parquet", "october.pq"):
        valid_rows(BINARY, 3).to_parquet(tmp_path / name)
    with pytest.raises(UserError, match=r"october.pq is the second file of batch 'october'; rename it"):
        labelled(tmp_path, BINARY)


def test_history_stream_and_returned_rows_are_written_and_counted(tmp_path):
    rows, outs = valid_rows(BINARY, 5), (tmp_path / "batches", tmp_path / "stream/stream.parquet", tmp_path / "r.json")
    told = save(rows, pd.Series([False] * 3 + [True] * 2), {"october": rows[:1]}, {"read": 5}, *outs)
    assert told == "5 read, 3 history, 2 stream, 1 returned in 1 batches"
    assert json.loads(outs[2].read_text()) == {"read": 5, "history": 3, "stream": 2, "returned": 1}
    found = {path.stem: len(read_rows(path)) for path in outs[0].iterdir()}
    assert found == {"history": 3, "october": 1}
    assert len(read_rows(outs[1])) == 2
