import re
from xml.etree import ElementTree

import pytest

from {{ cookiecutter.__package }}.loop import page, ticks

SCRIPT = "<script>alert('x')</script>\"&"
EMPTY = {
    "decision": "insufficient_data",
    "reasons": ["there is no champion yet"],
    "version": None,
    "rows": 0,
    "labelled": 0,
    "fresh": {"rows": 0, "days": 0},
    "others": {},
    "metric": "auc",
    "metric_falls": False,
    "columns": [],
    "windows": [],
}


def around(value):
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def window(**changes):
    found = {"version": "90a0aca1223c", "from": "2013-10-01", "to": "2013-10-07", "rows": 6012, "labelled": 5999}
    found |= {"drifted": [], "live": around(0.7), "promised": around(0.72), "drop": around(0.02), "below": False}
    return found | {"mean_predicted": 0.21, "mean_observed": 0.25} | changes


def report(*windows, **changes):
    judged = {"decision": "watch", "reasons": ["wind: drift"], "version": "90a0aca1223c", "rows": 6012}
    judged |= {"labelled": 5999, "fresh": {"rows": 5999, "days": 7}, "windows": list(windows)}
    return EMPTY | judged | changes


def marks(html, kind):
    """Return the elements of a class in the drawing, which must be well-formed."""
    drawing = ElementTree.fromstring(re.search("<svg.*</svg>", html, re.DOTALL)[0])
    return [element for element in drawing.iter() if element.get("class") == kind]


def test_decision_reasons_and_figures_are_told():
    html = page(report(window(drifted=["wind", "origin"]), others={"1f2e3d4c5b6a": 1200}))
    for said in ("Watch: what comes in has changed", "<li>wind: drift</li>", "6,012 predictions of 90a0aca1223c"):
        assert said in html
    for said in ("5,999 rows of 7 days", "1,200 by 1f2e3d4c5b6a", "higher is better", "wind, origin", "0.210 / 0.250"):
        assert said in html
    assert "<td>0.700 (0.650 to 0.750)</td><td>0.720 (0.670 to 0.770)</td>" in html
    assert [len(marks(html, kind)) for kind in ("live", "band", "swap", "below")] == [2, 1, 0, 0]


def test_a_window_below_the_promise_has_another_shape_and_colour():
    html = page(report(window(), window(live=around(0.5), below=True), metric="rmse", metric_falls=True))
    assert "▼ below" in html
    assert "lower is better" in html
    assert [element.tag for element in marks(html, "below")] == ["path", "path"]


def test_a_swap_is_a_line_with_the_name_of_the_version():
    html = page(report(window(), window(version="b" * 12), window(version="b" * 12)))
    assert len(marks(html, "swap")) == 1
    assert html.count(f">{'b' * 12}</text>") == 1


@pytest.mark.parametrize("decision", ["ok", "watch", "retrain", "insufficient_data"])
def test_without_windows_it_says_what_is_missing(decision):
    html = page(EMPTY | {"decision": decision})
    assert "There is no window yet" in html
    assert "No version is in use yet" in html
    assert "<svg" not in html


def test_windows_without_figures_are_listed_and_not_drawn():
    bare = window(live=None, promised=None, drop=None, mean_predicted=None, mean_observed=None, drifted=None)
    html = page(report(bare, metric=None))
    assert "<svg" not in html
    assert "not examined" in html
    assert len(marks(page(report(bare, window())), "none")) == 1


def test_a_figure_that_is_none_is_left_out():
    none = {"value": None, "low": None, "high": None}  # an AUC of one class
    alone = none | {"value": 0.7}
    html = page(report(window(live=none), window(live=alone, promised=alone)))
    assert [len(marks(html, kind)) for kind in ("none", "live", "band", "promise")] == [1, 1, 1, 2]
    assert "<td>-</td><td>0.720 (" in html
    assert "<td>0.700</td><td>0.700</td>" in html


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e-9, 4e6])
def test_many_windows_and_figures_of_any_size_are_drawn(value):
    alike = {"value": value, "low": value, "high": value}
    html = page(report(*[window(live=alike, promised=alike)] * 40))
    assert len(marks(html, "live")) == 80
    assert 2 <= len(marks(html, "grid")) <= 5


def test_ticks_are_round_and_lie_between():
    assert ticks(0.57, 0.79) == pytest.approx([0.6, 0.65, 0.7, 0.75])


def test_whatever_names_hold_is_shown_as_text():
    column = {"column": SCRIPT, "status": SCRIPT, "p_value": 1e-30, "shift": 0.5, "missing": {"then": 0, "now": 0.25}}
    odd = dict.fromkeys(("version", "from", "to"), SCRIPT)
    found = report(window(), window(**odd, drifted=[SCRIPT]), reasons=[SCRIPT], version=SCRIPT, metric=SCRIPT)
    html = page(found | {"columns": [column | {"unseen": 3}], "others": {SCRIPT: 1}})
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "0.0% then, 25.0% now" in html
    assert marks(html, "swap")


def test_it_stands_alone_and_the_same_report_gives_the_same_bytes():
    html = page(report(window()))
    assert not re.search(r"https?:|src=|@import|url\(", html)
    assert html == page(report(window()))
