import pandas as pd
import pyarrow as pa
import pytest
from rows import BINARY, MULTICLASS, REGRESSION, valid_rows

from {{ cookiecutter.__package }} import UserError, table
from {{ cookiecutter.__package }}.adoption.form import PLAIN
from {{ cookiecutter.__package }}.contract import Contract, Feature

GERMAN = PLAIN.model_copy(update={"delimiter": ";", "decimal": ",", "thousands": ".", "encoding": "latin-1"})


def texts(*values):
    return pa.array(values, pa.string())


@pytest.mark.parametrize(
    ("text", "decimal", "thousands", "number"),
    [
        ("1.5", ".", "", 1.5),
        ("-1e3", ".", "", -1000.0),
        ("1,234.5", ".", ",", 1234.5),
        ("1.234,5", ",", ".", 1234.5),
        ("1 234,5", ",", " ", 1234.5),
        ("12.3 %", ".", "", 12.3),
        ("€4", ".", "", 4.0),
        ("-$1,234.50", ".", ",", -1234.5),
        ("1,23", ".", ",", None),
        ("1.5", ",", "", None),
        ("12 kg", ".", "", None),
        ("inf", ".", "", None),
    ],
)
def test_a_number_is_read_as_the_file_writes_it_or_not_at_all(text, decimal, thousands, number):
    assert table.numbers(texts(text), decimal, thousands).to_pylist() == [number]


def test_integers_beyond_float_precision_stay_exact():
    assert table.integers(texts("9007199254740993", "7.0", "7.5"), ".", "").to_pylist() == [9007199254740993, 7, None]
    ends = texts("9223372036854775807", "9223372036854775808", "-999999999999999999")
    assert table.integers(ends, ".", "").to_pylist() == [2**63 - 1, None, -999999999999999999]


def test_times_lose_their_zone_for_utc():
    assert table.moments(texts("2024-05-01T10:00:00+02:00"), "ISO8601").tolist() == [pd.Timestamp("2024-05-01 08:00")]
    assert table.moments(texts("1700000000"), "epoch seconds").tolist() == [pd.Timestamp("2023-11-14 22:13:20")]


@pytest.mark.parametrize("contract", [BINARY, MULTICLASS, REGRESSION], ids=lambda contract: contract.task)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_comes_back_in_the_contracts_columns_and_types(tmp_path, contract, kind):
    rows, path = valid_rows(contract, 50), tmp_path / f"t.{kind}"
    wide = rows.assign(stranger=1)
    wide.to_csv(path, index=False) if kind == "csv" else wide.to_parquet(path, index=False)
    found, counts = table.shaped(table.read(path, PLAIN), contract, PLAIN, path)
    pd.testing.assert_frame_equal(found, rows)
    assert counts["labelled"] == 50


def test_rows_without_label_or_time_are_left_out_and_counted(tmp_path):
    rows, path = valid_rows(BINARY, 10).astype({"label": "str"}), tmp_path / "t.csv"
    rows.loc[[2, 5], "label"], rows.loc[7, "day"], rows.loc[8, "label"] = None, pd.NaT, "maybe"
    rows.to_csv(path, index=False)
    found, counts = table.shaped(table.read(path, PLAIN), BINARY, PLAIN, path)
    assert (len(found), counts["without a label"], counts["without a time"], counts["of other classes"]) == (6, 2, 1, 1)


def test_a_semicolon_file_in_latin_1_with_decimal_commas(tmp_path):
    contract = Contract(task="regression", target="Größe", features=(Feature("x", "number"),))
    (tmp_path / "t.csv").write_bytes("x;Größe\n1,5;1.000,25\n2;3\n".encode("latin-1"))
    found, _ = table.shaped(table.read(tmp_path / "t.csv", GERMAN), contract, GERMAN, tmp_path)
    assert found.to_dict("list") == {"x": [1.5, 2.0], "Größe": [1000.25, 3.0]}


def test_parts_of_a_folder_stand_one_below_the_other(tmp_path):
    for k in (1, 0):
        pd.DataFrame({"a": [k]}).to_csv(tmp_path / f"part-{k}.csv", index=False)
    assert table.read(tmp_path, PLAIN)["a"].to_pylist() == ["0", "1"]
    pd.DataFrame({"b": [1]}).to_csv(tmp_path / "part-2.csv", index=False)
    with pytest.raises(UserError, match=r"part-2\.csv differs from the other parts in 'a'"):
        table.read(tmp_path, PLAIN)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_the_names_of_folders_say_is_a_column(tmp_path, kind):
    for year, place in ("2023", "New%20York"), ("2024", "__HIVE_DEFAULT_PARTITION__"):
        folder = tmp_path / f"year={year}" / f"place={place}"
        folder.mkdir(parents=True)
        write = pd.DataFrame({"a": [year]})
        write.to_csv(folder / "1", index=False) if kind == "csv" else write.to_parquet(folder / "1")
    found = table.read(tmp_path, PLAIN).to_pydict()
    assert found == {"a": ["2023", "2024"], "year": ["2023", "2024"], "place": ["New York", None]}


def test_days_in_integers_of_parquet_are_times(tmp_path):
    contract = Contract(task="regression", target="y", time="t", features=(Feature("x", "integer"),))
    pd.DataFrame({"t": [20240201, 20240131], "x": [1, 2], "y": [0.5, 1.5]}).to_parquet(tmp_path / "t.parquet")
    p = PLAIN.model_copy(update={"dates": {"t": "%Y%m%d"}})
    rows, _ = table.shaped(table.read(tmp_path / "t.parquet", p), contract, p, tmp_path)
    assert rows["t"].tolist() == [pd.Timestamp("2024-01-31"), pd.Timestamp("2024-02-01")]
    assert rows["x"].tolist() == [2, 1]


def test_a_value_that_is_no_number_is_named_with_its_line_unless_it_is_listed(tmp_path):
    contract = Contract(task="regression", target="y", features=(Feature("x", "number", missing=0.5),))
    (tmp_path / "t.csv").write_text("x,y\n1,1\noops,2\n")
    read = table.read(tmp_path / "t.csv", PLAIN)
    with pytest.raises(UserError, match=r"line 3, column 'x': 'oops' is no float64; correct it, or list it under"):
        table.shaped(read, contract, PLAIN, tmp_path / "t.csv")
    p = PLAIN.model_copy(update={"missing_in": {"x": ["oops"]}})
    assert table.shaped(read, contract, p, tmp_path)[0]["x"].isna().tolist() == [False, True]


def test_a_row_is_placed_by_its_part_and_line_whatever_stands_above_it(tmp_path):
    (tmp_path / "0.csv").write_text('x,y\n"one\ntwo",1\n\n3,2\n')
    (tmp_path / "1.csv").write_text("x,y\n4,3\n")
    found = [table.place(tmp_path, row, PLAIN) for row in range(table.read(tmp_path, PLAIN).num_rows)]
    assert found == [f"{tmp_path}/0.csv line 2", f"{tmp_path}/0.csv line 5", f"{tmp_path}/1.csv line 2"]
    pd.DataFrame({"x": [1, 2]}).to_parquet(tmp_path / "t.parquet")
    assert table.place(tmp_path / "t.parquet", 1, PLAIN) == f"{tmp_path}/t.parquet row 2"


def test_a_column_that_is_gone_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("x,z\n1,1\n")
    contract = Contract(task="regression", target="y", features=(Feature("x", "number"),))
    with pytest.raises(UserError, match=r"has no column 'y'; bring it back, or take it out of schema\.py"):
        table.shaped(table.read(tmp_path / "t.csv", PLAIN), contract, PLAIN, tmp_path / "t.csv")


def test_a_ragged_line_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n1,1\n\n1,2,3\n")
    with pytest.raises(UserError, match=r"t\.csv line 4: 3 values where the first line names 2 columns"):
        table.read(tmp_path / "t.csv", PLAIN)


def test_a_table_that_was_not_pulled_is_asked_for(tmp_path):
    (tmp_path / "t.csv.dvc").touch()
    with pytest.raises(UserError, match=r"kept by DVC and not here; run `\.venv/bin/dvc pull`"):
        table.read(tmp_path / "t.csv", PLAIN)


def test_the_stream_are_the_newest_rows_or_those_whose_content_says_so():
    rows, p = valid_rows(BINARY, 40), PLAIN.model_copy(update={"stream_from": "2024-01-09"})
    assert rows[table.is_stream(rows, BINARY, p)]["day"].min() == pd.Timestamp("2024-01-09")
    rows = valid_rows(MULTICLASS, 2000)
    chosen = table.is_stream(rows, MULTICLASS, PLAIN)
    assert 300 < chosen.sum() < 500
    shuffled = rows.sample(frac=1, random_state=1)
    assert table.is_stream(shuffled, MULTICLASS, PLAIN).loc[rows.index].equals(chosen)
