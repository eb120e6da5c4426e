"""Stage `monitor`: the champion's reference and the snapshots of its traffic -> a drift report and a decision.

Below the least number of predictions nothing can be said, and that is what it says.
"""

import html
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..champion import read
from ..files import write, write_json
from ..params import MonitorParams, load
from . import run


def decide(version: str | None, rows: int, p: MonitorParams) -> dict[str, Any]:
    """Return the decision with its reasons."""
    if version is None:
        reason = "there is no champion yet, and so nothing that could drift"
    else:
        reason = f"{rows:,} predictions of champion {version} are on record; monitor.min_rows asks for {p.min_rows:,}"
    return {"decision": "insufficient_data", "reasons": [reason], "version": version, "rows": rows}


def page(report: dict[str, Any]) -> str:
    """Return the report as a page."""
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in report["reasons"])
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Drift</title>'
    return f"{head}<h1>{report['decision']}</h1><ul>{reasons}</ul></html>\n"


def main(champion_path: Path, versions: Path, production_dir: Path, report_path: Path, page_path: Path) -> str:
    """Write drift.json and drift.html."""
    rows = sum(pq.read_metadata(path).num_rows for path in production_dir.glob("*.parquet"))
    report = decide(read(champion_path)["version"], rows, load(MonitorParams))
    write_json(report_path, report)
    write(page_path, page(report))
    return f"{report['decision']}: {report['reasons'][0]}"


if __name__ == "__main__":
    run(main)
