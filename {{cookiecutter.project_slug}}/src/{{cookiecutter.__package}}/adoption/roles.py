"""What a column is for, by its name and values alone: a feature, or one of the kinds that a model does not take."""

import re

import numpy as np
import pandas as pd

from .columns import Column

FEATURE = "feature"
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+|[^\W\d_]+")
PERSONAL = {
    "an e-mail address": r"\be ?mail( (address|adresse))?\b",
    "a phone number": r"\b(phone|telephone|telefon|mobile|cell|fax|tel)( (no|number|nr))?$",
    "a person's name": r"\b(first|last|full|middle|sur|given|family|maiden|user|customer|client|patient|passenger|"
    r"employee|person|contact|driver|holder|owner|vor|nach) ?name$|^(name|surname|lastname|firstname|forename)$",
    "an address": r"\b(street|address|adresse|strasse|straße|postcode|postal code|zip|zip code|zipcode|plz)$",
    "a date of birth": r"\b(date of birth|birth ?date|birth ?day|dob|geburtsdatum)$",
    "a number of identity": r"\b(ssn|social security( number)?|passport|iban|tax id|national id|driving licen[cs]e)\b",
    "a card number": r"\b(credit ?card|card (no|number|nr)|pan|cc number)\b",
    "an address of a machine": r"\bip( address)?$",
}
PATTERNS = {
    "an e-mail address": r"^[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$",
    "a phone number": r"^(\+|00)[0-9][0-9 ()./-]{6,18}[0-9]$|^\(?[0-9]{3}\)?[ .-][0-9]{3}[ .-][0-9]{4}$",
    "an account number": r"^[A-Z]{2}[0-9]{2} ?([A-Z0-9]{4} ?){2,7}[A-Z0-9]{0,4}$",
    "an address of a machine": r"^([0-9]{1,3}\.){3}[0-9]{1,3}$",
    "an address": r"^[0-9]{1,5}[a-z]? [\w. ]+ (street|st|road|rd|avenue|ave|lane|ln|drive|dr|boulevard|blvd|way)"
    r"\.?(,.*)?$|^[\w.\- ]+(straße|strasse|str\.|weg|gasse|platz|allee) [0-9]+ ?[a-z]?(,.*)?$",
}
CARD = re.compile(r"^[0-9](?:[ -]?[0-9]){12,18}$")
MOST = 0.6  # of the values must look so
SAMPLE = 2000
NAMED_ID = re.compile(
    r"^(id|uuid|guid|key|index|rowid|unnamed( [0-9]+)?|column [0-9]+)$|\b(id|uuid|guid|nr|no|number|key)$"
)
MANY = 50  # different values, beyond which something named like an id is one
WORDY, LONG = 4, 60  # words or characters of a text on average


def words(name: str) -> str:
    """Return a column's name as words in lower case: customerName, customer_name and Customer Name are one."""
    return " ".join(WORDS.findall(name)).lower()


def personal(column: Column) -> str:
    """Return what of a person a column holds, by its name or by how its values look, or nothing."""
    if column.kind == "nested":
        return ""
    present = column.values.dropna()
    name = words(column.name)
    told = next((what for what, pattern in PERSONAL.items() if re.search(pattern, name)), "")
    if told == "a person's name" and (column.kind != "category" or column.distinct < min(20, len(present) / 2)):
        told = ""  # of products or brands, or of a few places
    if told and column.distinct > 2:  # whether there is a phone, or a credit card, is of no one person
        return told
    if column.kind not in ("category", "integer"):
        return ""
    texts = present.drop_duplicates().head(SAMPLE).astype("str")
    if not len(texts):
        return ""
    if column.kind == "category":
        for what, pattern in PATTERNS.items():
            if texts.str.match(pattern, case=what != "an address").mean() > MOST:
                return what
    cards = texts.map(lambda text: bool(CARD.match(text)) and _luhn(text)).mean()
    return "a card number" if cards > MOST else ""


def _luhn(text: str) -> bool:
    """Return whether the digits of a card number check. Source: ISO/IEC 7812-1, annex B."""
    digits = [int(c) for c in text if c.isdigit()][::-1]
    return sum(digits[::2]) % 10 == -sum(sum(divmod(2 * d, 10)) for d in digits[1::2]) % 10


def identifier(column: Column) -> str:
    """Return why a column names rows or things rather than telling something about them, or nothing."""
    present = column.values.dropna()
    count, distinct = len(present), column.distinct
    if count < 10 or column.kind not in ("integer", "category"):
        return ""
    if column.kind == "integer":
        if distinct == count and (np.abs(np.diff(present.to_numpy(np.int64))) == 1).mean() > 0.95:
            return "numbers the rows"
    elif distinct == count and not _is_text(present):
        return "has another value in every row"
    elif distinct > max(0.9 * count, MANY) and not _is_text(present):
        return f"has {distinct:,} values in {count:,} rows, hardly one twice"
    if NAMED_ID.search(words(column.name)) and distinct > min(MANY, count / 2):
        return f"is named like an identifier and has {distinct:,} values in {count:,} rows"
    return ""


def _is_text(present: pd.Series) -> bool:
    some = present.drop_duplicates().head(SAMPLE)
    return bool(some.str.count(r"\S+").mean() >= WORDY or some.str.len().mean() > LONG)


def free_text(column: Column) -> str:
    """Return why a column is prose, or nothing."""
    present = column.values.dropna()
    if column.kind != "category" or (column.distinct <= max(MANY, len(present) / 5) and column.distinct < len(present)):
        return ""
    return f"is free text, {int(present.str.len().mean())} characters on average" if _is_text(present) else ""
