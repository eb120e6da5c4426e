import numpy as np
import pandas as pd
from rows import BINARY, MULTICLASS, valid_rows

from {{ cookiecutter.__package }}.identity import content, identity


def test_identical_rows_have_one_content_and_names_of_their_own():
    contract = MULTICLASS.to_json()
    row = valid_rows(MULTICLASS, 1)
    rows = pd.concat([row, row, row], ignore_index=True)
    assert len(set(content(rows, contract))) == 1
    assert len(set(identity(rows, contract))) == 3
    assert identity(row, contract)[0] == identity(rows, contract)[0]


def test_without_an_id_the_target_is_part_of_a_row():
    row = valid_rows(MULTICLASS, 1)
    other = row.assign(species=3)
    assert content(row, MULTICLASS.to_json())[0] != content(other, MULTICLASS.to_json())[0]


def test_without_an_id_a_row_of_another_time_is_another_row():
    contract, row = BINARY.to_json() | {"id": None}, valid_rows(BINARY, 1)
    later = row.assign(day=row["day"] + pd.Timedelta(hours=1))
    assert identity(row, contract)[0] != identity(later, contract)[0]
    assert identity(pd.concat([later, row]), contract).tolist() == [identity(r, contract)[0] for r in (later, row)]


def test_with_an_id_a_row_is_its_id_whatever_it_holds():
    rows, others = valid_rows(BINARY, 3, seed=1), valid_rows(BINARY, 3, seed=2)
    contract = BINARY.to_json()
    assert (identity(rows, contract) == identity(others.assign(row=rows["row"]), contract)).all()
    assert not np.isin(identity(rows, contract), identity(others, contract)).any()


def test_neither_order_nor_index_nor_time_changes_a_content():
    rows, contract = valid_rows(BINARY, 4), BINARY.to_json()
    turned = rows.iloc[::-1].set_index(pd.Index(list("abcd"))).assign(day=pd.Timestamp("2000-01-01"))
    assert (content(turned, contract)[::-1] == content(rows, contract)).all()
