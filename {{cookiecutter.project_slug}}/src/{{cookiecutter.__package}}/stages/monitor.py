"""Stage `monitor`: the champion's reference and the snapshots of its traffic -> a drift report and a decision.

Drift of the inputs alone says `watch`, never more. Below the least number of predictions nothing is said.
"""

import html
import os
from pathlib import Path
from typing import Any

from .. import run, say
from ..champion import read
from ..files import read_json, write, write_json
from ..params import MonitorParams, load

Finding = dict[str, Any]


def decide(version: str | None, rows: int, findings: list[Finding], p: MonitorParams) -> dict[str, Any]:
    """Return the decision with its reasons, one sentence a finding."""
    report = {"decision": "watch", "version": version, "rows": rows, "columns": findings}
    if version is None or rows < p.min_rows:
        missing = f"{rows:,} predictions are on record; monitor.min_rows asks for {p.min_rows:,}"
        reasons = ["there is no champion yet, and so nothing that could drift" if version is None else missing]
        return report | {"decision": "insufficient_data", "reasons": reasons}
    reasons = [
        f"{f['column']}: {f['status']}" + (f", shifted by {f['shift']:.3f}" if "shift" in f else "")
        for f in findings
        if f["status"] != "ok"
    ]
    return (
        report | {"reasons": reasons} if reasons else report | {"decision": "ok", "reasons": ["no column has drifted"]}
    )


def page(report: dict[str, Any]) -> str:
    """Return the decision as a page, for as long as there is nothing to draw."""
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in report["reasons"])
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Drift</title>'
    return f"{head}<h1>{report['decision']}</h1><ul>{reasons}</ul></html>\n"


def main(champion_path: Path, versions: Path, production_dir: Path, report_path: Path, page_path: Path) -> str:
    """Write drift.json and drift.html."""
    p, version = load(MonitorParams), read(champion_path)["version"]
    snapshots = sorted(production_dir.glob("*.parquet"))
    findings: list[Finding] = []
    rows, drawn = 0, ""
    if version and snapshots:
        os.environ["DO_NOT_TRACK"] = "true"  # read when evidently is imported; here, since that takes seconds
        import pandas as pd

        from ..drift import examine

        current = pd.concat(map(pd.read_parquet, snapshots), ignore_index=True)
        rows, bundle = len(current), versions / version / "bundle"
        if rows >= p.min_rows:
            say("monitor", f"comparing {rows:,} predictions with the reference of {version}")
            reference = pd.read_parquet(bundle / "reference/features.parquet")
            findings, drawn = examine(reference, current, read_json(bundle / "contract.json")["features"], p)
    report = decide(version, rows, findings, p)
    write_json(report_path, report)
    write(page_path, drawn or page(report))
    return f"{report['decision']}: {'; '.join(report['reasons'])}"


if __name__ == "__main__":
    run(main)
