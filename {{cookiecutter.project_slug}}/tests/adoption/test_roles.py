import numpy as np
import pandas as pd
import pytest

from {{ cookiecutter.__package }}.adoption.columns import Column
from {{ cookiecutter.__package }}.adoption.roles import free_text, identifier, personal, words

N = 100


def texts(values, name="x"):
    return Column(name, "category", pd.Series([values(k) for k in range(N)], dtype="str"))


@pytest.mark.parametrize("name", ["customerName", "customer_name", "Customer Name", "customer-name"])
def test_a_name_is_read_as_words(name):
    assert words(name) == "customer name"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("email", "e-mail"),
        ("E-Mail Address", "e-mail"),
        ("phone_number", "phone"),
        ("lastName", "name"),
        ("home_address", "address"),
        ("zip", "address"),
        ("dateOfBirth", "birth"),
        ("passport", "identity"),
        ("ip", "machine"),
    ],
)
def test_personal_data_are_known_by_name(name, what):
    assert what in personal(texts(lambda k: f"value {k}", name))


@pytest.mark.parametrize("name", ["product_name", "amount", "age", "sex", "city", "model"])
def test_other_names_are_not_personal(name):
    assert not personal(texts(lambda k: f"value {k}", name))


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (lambda k: f"a{k}@example.org", "e-mail"),
        (lambda k: f"+49 30 {1000000 + k}", "phone"),
        (lambda k: f"{k + 1} Elm Street", "address"),
        (lambda k: f"Lindenweg {k + 1}", "address"),
        (lambda k: f"10.0.0.{k}", "machine"),
        (lambda k: f"DE89 3704 0044 0532 01{k:02} 00", "account"),
    ],
)
def test_personal_data_are_known_by_their_look(value, what):
    assert what in personal(texts(value))


def test_whether_there_is_a_phone_or_a_card_is_not_personal():
    assert not personal(texts(lambda k: ["yes", "no"][k % 2], "credit card"))
    assert not personal(Column("mobile", "integer", pd.Series([0, 1] * 50, dtype="Int64")))


def test_a_card_number_is_known_by_its_check_digit():
    assert "card" in personal(texts(lambda k: ["4111 1111 1111 1111", "5500-0000-0000-0004"][k % 2]))
    assert not personal(texts(lambda k: ["4111 1111 1111 1112", "5500-0000-0000-0005"][k % 2]))


def test_identifiers_name_rows():
    numbered = Column("x", "integer", pd.Series(range(N), dtype="Int64"))
    assert "numbers the rows" in identifier(numbered)
    assert "another value in every row" in identifier(texts(lambda k: f"O{k}"))
    many = Column("customer_id", "integer", pd.Series(np.arange(1000) * 7 % 303, dtype="Int64"))
    assert "named like an identifier" in identifier(many)


def test_what_only_looks_a_little_like_an_identifier_is_none():
    assert not identifier(Column("store_id", "integer", pd.Series([k % 9 for k in range(N)], dtype="Int64")))
    assert not identifier(Column("amount", "integer", pd.Series(np.random.default_rng(0).permutation(10**4)[:N] * 3)))
    assert not identifier(Column("x", "number", pd.Series(np.arange(N) / 7)))


def test_prose_is_known_and_labels_are_not():
    assert "free text" in free_text(texts(lambda k: f"they said on the phone that order {k} came too late"))
    assert not free_text(texts(lambda k: f"brand {k % 60}"))
