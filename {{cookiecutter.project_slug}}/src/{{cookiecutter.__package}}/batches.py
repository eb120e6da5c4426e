"""What `ingest` leaves behind: the history and the rows that came back, each a batch, and the stream for `simulate`."""

from pathlib import Path

import pandas as pd

from . import UserError, folder, pulled, read_rows, write_json
from .contract import Contract

HISTORY = "history"


def labelled(directory: Path, contract: Contract) -> dict[str, pd.DataFrame]:
    """Return batch name -> rows that came back, personal columns dropped; other faults `validate` names.

    Raises:
        UserError: a file is not Parquet, bears the name of the history or of another, or is not here though DVC has it.
    """
    batches = {}
    for path in sorted(path for path in pulled(directory).iterdir() if path.suffix != ".dvc" and path.name[0] != "."):
        if path.stem in batches:
            raise UserError(f"{path} is the second file of batch {path.stem!r}; rename it")
        batches[path.stem] = read_rows(path).drop(columns=list(contract.personal), errors="ignore")
    if HISTORY in batches:
        raise UserError(f"{directory}/{HISTORY}.parquet bears the name of the history; rename it")
    return batches


def save(
    rows: pd.DataFrame,
    is_stream: "pd.Series[bool]",
    returned: dict[str, pd.DataFrame],
    counts: dict[str, int],
    batches_dir: Path,
    stream_path: Path,
    report_path: Path,
) -> str:
    """Write the batches, the stream and the counts; return the counts in words."""
    with folder(batches_dir) as scratch:
        for name, batch in ({HISTORY: rows[~is_stream]} | returned).items():
            batch.to_parquet(scratch / f"{name}.parquet", index=False)
    with folder(stream_path.parent) as scratch:
        rows[is_stream].to_parquet(scratch / stream_path.name, index=False)
    counts = counts | {"history": int((~is_stream).sum()), "stream": int(is_stream.sum())}
    counts["returned"] = sum(map(len, returned.values()))
    write_json(report_path, counts)
    return ", ".join(f"{count:,} {what}" for what, count in counts.items()) + f" in {len(returned)} batches"
