import gzip

import pandas as pd
import pytest

from {{ cookiecutter.__package }} import UserError
from {{ cookiecutter.__package }}.adoption.form import form_of
from {{ cookiecutter.__package }}.table import read

LINES = "a{0}Größe{0}y\n1{0}2{0}3\n4{0}5{0}6\n"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_delimiter_and_encoding_are_found(tmp_path, delimiter, encoding):
    (tmp_path / "t.csv").write_bytes(LINES.format(delimiter).encode(encoding))
    found = form_of(tmp_path / "t.csv")
    assert (found.delimiter, found.encoding) == (delimiter, encoding)


def test_bytes_of_windows_are_cp1252(tmp_path):
    (tmp_path / "t.csv").write_bytes("a,b\n“x”,€\n".encode("cp1252"))
    assert form_of(tmp_path / "t.csv").encoding == "cp1252"


def test_parquet_is_known_by_its_bytes_whatever_its_name(tmp_path):
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "t.csv")
    assert form_of(tmp_path / "t.csv").delimiter == ","


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"y\n1\n2\n", "has one column"),
        (bytes(range(256)) * 50, "is no table: its bytes are not text"),
        (b"PK\x03\x04sheet", "an Excel workbook; save the sheet as CSV"),
        (gzip.compress(b"a,b\n1,2\n"), "is compressed; unpack it"),
    ],
)
def test_what_is_no_table_is_refused_in_one_sentence(tmp_path, content, told):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match=told) as refusal:
        form_of(tmp_path / "t.csv")
    assert "\n" not in str(refusal.value)
    assert str(tmp_path / "t.csv") in str(refusal.value)


def test_a_file_that_is_not_there_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(UserError, match="there is no such file or folder"):
        form_of(tmp_path / "t.csv")
    with pytest.raises(UserError, match="is a folder without files"):
        form_of(tmp_path)


def test_parts_of_two_kinds_are_refused(tmp_path):
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "0.parquet")
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="holds Parquet files and others"):
        form_of(tmp_path)


def test_long_values_do_not_hide_the_columns(tmp_path):
    (tmp_path / "t.csv").write_text(f"a,b\n{'x' * 200_000},1\n")
    assert form_of(tmp_path / "t.csv").delimiter == ","


@pytest.mark.parametrize(
    ("encodings", "read_as"),
    [
        (("utf-8-sig", "utf-8-sig"), "utf-8-sig"),
        (("utf-8", "utf-8-sig"), "utf-8-sig"),
        (("utf-16", "utf-16"), "utf-16"),
        (("utf-16", "utf-8"), None),
    ],
)
def test_parts_are_read_in_the_encoding_that_they_share(tmp_path, encodings, read_as):
    for number, encoding in enumerate(encodings):
        (tmp_path / f"{number}.csv").write_bytes("a,b\n1,2\n".encode(encoding))
    if read_as:
        p = form_of(tmp_path)
        assert p.encoding == read_as
        assert read(tmp_path, p).to_pydict() == {"a": ["1", "1"], "b": ["2", "2"]}
    else:
        with pytest.raises(UserError, match="differ in encoding or delimiter"):
            form_of(tmp_path)
