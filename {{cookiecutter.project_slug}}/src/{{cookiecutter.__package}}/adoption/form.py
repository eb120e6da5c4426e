"""A file that nobody described -> how to read it: Parquet, or a CSV's encoding and delimiter; or why it is no table."""

import codecs
import csv
from pathlib import Path

from .. import UserError
from ..params import TableParams
from ..table import is_parquet, lines, parts

SAMPLE_LINES, SAMPLE_BYTES = 200, 2**20
DELIMITERS = (",", ";", "\t", "|")
KNOWN = {b"PK": "a ZIP archive or an Excel workbook; save the sheet as CSV", b"\x1f\x8b": "compressed; unpack it"}
KNOWN |= {b"\xd0\xcf": "an old Excel workbook; save the sheet as CSV", b"%P": "a PDF; bring the table as CSV"}
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
PLAIN = TableParams.model_validate(
    {"delimiter": ",", "encoding": "utf-8", "decimal": ".", "thousands": "", "missing": [], "missing_in": {}}
    | {"dates": {}, "stream_from": None, "stream_share": 0.2, "stream_seed": 1}
)


def form_of(path: Path) -> TableParams:
    """Return how to read a table, as far as the bytes say it; decimals, marks and dates are the columns' affair.

    Raises:
        UserError: it is no table.
    """
    found = [] if not path.exists() else parts(path)
    if not found:
        raise UserError(f"DATA is {str(path)!r}: there is no such file or folder; give a CSV or Parquet file")
    if empty := next((part for part in found if not part.stat().st_size), None):
        raise UserError(f"{empty} is empty; give a file with a line of names and rows below it")
    kinds = {is_parquet(part) for part in found}
    if len(kinds) > 1:
        raise UserError(f"{path} holds Parquet files and others; give one kind")
    if kinds == {True}:
        return PLAIN
    forms = {(encoding, _delimiter(part, encoding)) for part in found for encoding in [_encoding(part)]}
    encodings, delimiters = ({form[k] for form in forms} for k in (0, 1))
    if "utf-16" not in encodings:  # a part without a mark or an umlaut reads as the others do
        encodings = encodings - {"utf-8"} or encodings
    if len(encodings) > 1 or len(delimiters) > 1:
        raise UserError(f"the parts of {path} differ in encoding or delimiter; write them alike")
    return PLAIN.model_copy(update={"encoding": encodings.pop(), "delimiter": delimiters.pop()})


def _encoding(path: Path) -> str:
    """Return the encoding: that of a byte order mark, UTF-8 where the whole file is, else that of Western Europe."""
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
        for magic, what in KNOWN.items():
            if head.startswith(magic):
                raise UserError(f"{path} is {what}")
        for mark, name in MARKS.items():
            if head.startswith(mark):
                return name
        odd = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head[:10_000])
        if b"\0" in head or odd > len(head[:10_000]) / 100:
            raise UserError(f"{path} is no table: its bytes are not text; give a CSV or Parquet file")
        decoder, chunk = codecs.getincrementaldecoder("utf-8")(), head
        try:
            while chunk:
                decoder.decode(chunk)
                chunk = file.read(SAMPLE_BYTES)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            undefined = set(b"\x81\x8d\x8f\x90\x9d") & set(head)  # bytes that cp1252 does not know
            return "cp1252" if any(128 <= byte < 160 for byte in head) and not undefined else "latin-1"
    return "utf-8"


def _delimiter(path: Path, encoding: str) -> str:
    """Return the delimiter by which the first lines have the same number of values, and most of them."""
    widths = {}
    for delimiter in DELIMITERS:
        p = PLAIN.model_copy(update={"delimiter": delimiter, "encoding": encoding})
        try:
            found = [len(row) for _, row in zip(range(SAMPLE_LINES), (row for _, row in lines(path, p)), strict=False)]
        except csv.Error:
            continue
        if found and found[0] > 1:
            widths[delimiter] = (sum(width == found[0] for width in found) / len(found), found[0])
    if not widths:
        raise UserError(
            f"{path} has one column: its first line holds none of {', '.join(map(repr, DELIMITERS))}; a model needs a "
            "target and at least one column to predict it from"
        )
    return max(widths, key=lambda delimiter: widths[delimiter])
