"""The page of the loop: what `reports/drift.json` says -> HTML with what was promised and what came, window by window.

It stands alone, without scripts, and the same report gives the same bytes.
"""

from html import escape
from math import ceil, floor, log10
from typing import Any

Row = dict[str, Any]
LEFT, RIGHT, TOP, BOTTOM, STEP, LABEL = 44, 56, 44, 250, 27, 66  # of the drawing, in px; a label is that wide
VERDICT = {
    "ok": ("No drift", "good"),
    "watch": ("Watch: what comes in has changed", "warn"),
    "retrain": ("Time to retrain", "bad"),
    "insufficient_data": ("Too few predictions to judge", "quiet"),
}
READING = (
    "A window is a run of predictions that one version answered, oldest first: its dot is the {metric} that its labels "
    "gave ({better} is better), the line through it the interval, and the band what that version promised when it was "
    "promoted; a triangle marks a window that fell below it beyond chance and margin, a ring one with too few labels."
)
STYLE = """:root { color-scheme: light dark; --page: #fff; --ink: #1c1f24; --quiet: #5a6069; --line: #dededa;
  --accent: #1d5bb8; --band: #d9e4f5; --good: #1a6e3c; --warn: #8a5300; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --page: #121418; --ink: #e8e9eb; --quiet: #a4aab4; --line: #2c3037;
  --accent: #8ab4f8; --band: #24344d; --good: #74cf97; --warn: #eab464; --bad: #ff9d94; } }
body { max-width: 80rem; margin: 0 auto; padding: 1.5rem clamp(1rem, 4vw, 2rem); background: var(--page);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { margin-top: 2rem; font-size: 1.0625rem; } p, li { max-width: 48rem; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); } .quiet { color: var(--quiet); }
.wide { overflow-x: auto; margin-top: 1rem; } table { border-collapse: collapse; font-size: .875rem; }
th, td { padding: .375rem 1rem .375rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--quiet); font-weight: 400; overflow-wrap: normal; } td { white-space: nowrap; }
td:is(:first-child, :last-child) { min-width: 5.5rem; max-width: 20rem; white-space: normal; }
td:nth-child(9) { min-width: 15rem; }
svg { display: block; width: 100%; font: 10px system-ui, sans-serif; fill: var(--quiet); }
.grid { stroke: var(--line); } .band { fill: var(--band); shape-rendering: crispEdges; }
.swap { stroke: var(--quiet); stroke-dasharray: 3 3; } .promise { stroke: var(--accent); stroke-dasharray: 2 2; }
.live { fill: var(--accent); stroke: var(--accent); } .below { fill: var(--bad); stroke: var(--bad); }
.none { fill: none; stroke: var(--quiet); }"""
HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
"""


def figure(value: float | None) -> str:
    """Return a number as a person reads it, a hyphen for none."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"


def estimate(found: Row | None) -> str:
    """Return a value with its interval."""
    if not found or found["low"] is None:
        return figure(found["value"] if found else None)
    return f"{figure(found['value'])} ({figure(found['low'])} to {figure(found['high'])})"


def ticks(low: float, high: float) -> list[float]:
    """Return two to five round numbers between both."""
    size = 10 ** floor(log10((high - low) / 4))
    step = next(size * times for times in (1, 2, 5, 10) if high - low <= 5 * size * times)
    return [step * times for times in range(ceil(low / step), floor(high / step) + 1)]


def short(text: str) -> str:
    """Return the beginning of a name that may be of any length."""
    return escape(text if len(text) <= 12 else f"{text[:11]}…")


def chart(windows: list[Row], metric: str) -> str:
    """Return the drawing, or nothing where no window has a figure."""
    estimates = [window[name] for window in windows for name in ("live", "promised") if window[name]]
    known = [value for found in estimates for value in found.values() if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    spare = 0.06 * ((high - low) or abs(high) or 1)
    low, high = low - spare, high + spare
    end = max(320, LEFT + STEP * len(windows))
    step = (end - LEFT) / len(windows)

    def y(value: float) -> str:
        return f"{BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low):.1f}"

    bands, lines, points = [], [], []
    for tick in ticks(low, high):
        lines.append(f'<path class="grid" d="M{LEFT} {y(tick)}H{end}"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y(tick)}" dy=".3em" text-anchor="end">{tick:.6g}</text>')
    versions: list[str] = []
    for number, window in enumerate(windows):
        left, middle = LEFT + step * number, LEFT + step * (number + 0.5)
        promised, live = ({"low": None, "value": None} | (window[name] or {}) for name in ("promised", "live"))
        if promised["low"] is not None:
            path = f"M{left:.1f} {y(promised['low'])}V{y(promised['high'])}h{step:.1f}V{y(promised['low'])}z"
            bands.append(f'<path class="band" d="{path}"/>')
        if promised["value"] is not None:
            lines.append(f'<path class="promise" d="M{left:.1f} {y(promised["value"])}h{step:.1f}"/>')
        if versions[-1:] != [window["version"]]:
            row = 10 + 12 * (len(versions) % 3)  # names of versions that follow at once stand below each other
            lines.append(f'<path class="swap" d="M{left:.1f} {row - 8}V{BOTTOM}"/>' if versions else "")
            lines.append(f'<text x="{left + 4:.1f}" y="{row}">{short(window["version"])}</text>')
            versions.append(window["version"])
        if number % ceil(LABEL / step) == 0:
            place = f'x="{middle:.1f}" y="{BOTTOM + 16}" text-anchor="middle"'
            lines.append(f"<text {place}>{short(window['from'])}</text>")
        said = f"{window['from']} to {window['to']}, {window['version']}: {metric} {estimate(window['live'])}"
        tone = "none" if live["value"] is None else "below" if window["below"] else "live"
        at = y(low if live["value"] is None else live["value"])
        shape = f'<circle class="{tone}" cx="{middle:.1f}" cy="{at}" r="3.5"/>'
        if window["below"]:
            shape = f'<path class="{tone}" d="M{middle:.1f} {at}m-5 -4h10l-5 9z"/>'
        if live["low"] is not None:
            shape += f'<path class="{tone}" d="M{middle:.1f} {y(live["low"])}V{y(live["high"])}"/>'
        points.append(f"<g><title>{escape(said)}</title>{shape}</g>")
    width = end + RIGHT
    size = f'viewBox="0 0 {width} {BOTTOM + 24}" style="min-width:{0.9 * width:.0f}px;max-width:{1.6 * width:.0f}px"'
    name = f'role="img" aria-label="{escape(metric)} of {len(windows)} windows against what was promised"'
    return f'<div class="wide"><svg {size} {name}>{"".join(bands + lines + points)}</svg></div>'


def table(head: str, rows: list[list[str]]) -> str:
    """Return a table; its cells are HTML."""
    lines = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    named = "".join(f"<th>{escape(name)}</th>" for name in head.split(", "))
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f'<div class="wide"><table><thead><tr>{named}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def window_cells(window: Row) -> list[str]:
    """Return the line of a window in the table."""
    drifted = "not examined" if window["drifted"] is None else escape(", ".join(window["drifted"])) or "none"
    counts = [f"{window['rows']:,}", f"{window['labelled']:,}"]
    means = f"{figure(window['mean_predicted'])} / {figure(window['mean_observed'])}"
    fallen = '<br><span class="bad">▼ below</span>' if window["below"] else ""
    names = [escape(window["from"]), escape(window["to"]), short(window["version"])]
    return [*names, *counts, estimate(window["live"]) + fallen, estimate(window["promised"]), means, drifted]


def column_cells(column: Row) -> list[str]:
    """Return the line of a column in the table."""
    missing, tone = column.get("missing"), "quiet" if column["status"] == "ok" else "warn"
    gone = f"{missing['then']:.1%} then, {missing['now']:.1%} now" if missing else "-"
    status = f'<span class="{tone}">{escape(column["status"])}</span>'
    numbers = [figure(column.get(name)) for name in ("p_value", "shift")]
    return [escape(column["column"]), status, *numbers, gone, f"{column['unseen']:,}" if "unseen" in column else "-"]


def page(report: Row) -> str:
    """Return the report as a page for a person who was not there."""
    (verdict, tone), windows, metric = VERDICT[report["decision"]], report["windows"], report["metric"] or "metric"
    judged = f"Judged on {report['rows']:,} predictions of {report['version']}, {report['labelled']:,} with a label."
    facts = [judged if report["version"] else "No version is in use yet."]
    if fresh := report["fresh"]:
        days = f" of {fresh['days']:,} days" if fresh["days"] else ""
        facts.append(f"Labelled and in no batch of training rows yet: {fresh['rows']:,} rows{days}.")
    if others := [f"{rows:,} by {version}" for version, rows in report["others"].items()]:
        facts.append(f"Answered by other versions: {', '.join(others)}.")
    parts = [f'<h1 class="{tone}">{verdict}</h1>', "<ul>"]
    parts += [f"<li>{escape(reason)}</li>" for reason in report["reasons"]]
    parts += ["</ul>", f'<p class="quiet">{escape(" ".join(facts))}</p>', "<h2>Window by window</h2>"]
    if windows:
        reading = READING.format(metric=metric, better="lower" if report["metric_falls"] else "higher")
        head = "from, to, version, rows, labelled, live, promised, mean predicted / observed, drifted columns"
        parts += [f"<p>{escape(reading)}</p>", chart(windows, metric), table(head, list(map(window_cells, windows)))]
    else:
        parts.append("<p>There is no window yet: it takes predictions whose labels have come back.</p>")
    if columns := list(map(column_cells, report["columns"])):
        parts.append("<h2>Column by column</h2>\n<p>Against the training rows; the last line is the prediction.</p>")
        parts.append(table("column, status, p-value, shift, missing, unseen values", columns))
    return HEAD + f"<title>{verdict}</title>\n<style>\n{STYLE}\n</style>\n" + "\n".join(parts) + "\n</html>\n"
