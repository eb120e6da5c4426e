"""The page at `/` in a real headless Chromium, against the real service."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import tasks
from projects import STAGES, Project, started, turn
from selenium import webdriver
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from services import Service, ask, example, logged, serving, until

FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --hide-scrollbars"""
AWKWARD = [
    "petal length (cm)",
    "<b>bold</b> & \"quoted\" 'name'",
    "__proto__",
    "constructor",
    "submit",
    "label",
    "distance: an integer",
    "distance",
    "längster_name_einer_spalte_den_jemand_je_einer_tabelle_gegeben_hat_und_noch_etwas_dahinter",
    "a.b[0]",
    "hidden",
    "addEventListener",
    "style",
    "${x} {{ y }}",
    "</script><script>document.title = 'run'</script>",
]
# Of each visible text: its contrast with what lies behind it, if that is less than WCAG AA asks for.
FAINT = """
const luminance = (rgb) => rgb.map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
const rgba = (text) => text.match(/[\\d.]+/g).map(Number);
const behind = (node) => {
  const color = rgba(getComputedStyle(node).backgroundColor);
  return color[3] === 0 ? behind(node.parentElement) : color;
};
const faint = [];
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  if (!(own || node.matches("input, select")) || !node.checkVisibility()) continue;
  const style = getComputedStyle(node), size = parseFloat(style.fontSize);
  const [a, b] = [rgba(style.color), behind(node)].map((c) => luminance(c.slice(0, 3))).sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05), needed = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
  if (ratio < needed) faint.push(`${node.tagName} ${node.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
}
return faint;
"""
Found = TypeVar("Found")


@dataclass(frozen=True)
class Page:
    """The page of one service in the browser."""

    browser: webdriver.Chrome
    service: Service

    def open(self, wait: str = "#fields .field") -> "Page":
        """Load the page anew and wait until it shows an element, by default a form."""
        self.browser.get("about:blank")
        for kind in ("browser", "performance"):
            self.log(kind)
        self.browser.get(self.service.url)
        self.until(lambda: self.all(wait) and self.all(wait)[0].is_displayed(), wait)
        return self

    def until(self, holds: Callable[[], Found], what: str) -> Found:
        """Wait until something holds, and return it."""
        until(holds, f"{what}; the page says: {self.browser.find_element(By.TAG_NAME, 'body').text[:1000]}")
        return holds()

    def all(self, selector: str) -> list[WebElement]:
        """Return the elements that a selector finds."""
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """Return the text of an element, whether it is shown or not."""
        return str(self.all(selector)[0].get_property("textContent")).strip()

    def says(self, selector: str, part: str) -> str:
        """Wait until an element holds a text, and return all of its text."""
        self.until(lambda: part in self.text(selector), f"{part!r} in {selector}")
        return self.text(selector)

    def field(self, name: str) -> WebElement:
        """Return the control of a feature, found by its label as a person finds it."""
        labels = [label for label in self.all("#fields label") if label.get_property("textContent") == name]
        assert len(labels) == 1, (name, [label.text for label in self.all("label")])
        return self.browser.find_element(By.ID, str(labels[0].get_dom_attribute("for")))

    def value(self, name: str) -> str:
        """Return what a control shows."""
        control = self.field(name)
        shown = "return arguments[0].selectedOptions?.[0]?.textContent ?? arguments[0].value"
        return str(self.run(shown, control))

    def described(self, name: str) -> str:
        """Return what a screen reader adds to a control: the note and the hint below it."""
        ids = str(self.field(name).get_dom_attribute("aria-describedby")).split()
        return " ".join(filter(None, (self.text(f"#{id}") for id in ids)))

    def type(self, name: str, text: str) -> None:
        """Replace what stands in a control by typing."""
        self.field(name).send_keys(Keys.CONTROL, "a")
        self.field(name).send_keys(Keys.DELETE, text)

    def enter(self, name: str) -> str:
        """Press Enter in a control, wait for an answer of its own, and return the prediction's id."""
        before = self.text("#source")
        self.field(name).send_keys(Keys.ENTER)
        self.until(lambda: self.text("#source") != before, "an answer")
        return self.all("#source code")[1].text

    def run(self, script: str, *arguments: object) -> Any:
        """Return what a script in the page returns."""
        return self.browser.execute_script(script, *arguments)

    def size(self, width: int, height: int = 800) -> None:
        """Make the window this wide and high, in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, scheme: str) -> None:
        """Prefer `light` or `dark`, as the system's setting does."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def log(self, kind: str) -> list[dict[str, Any]]:
        """Return what the browser has logged since it was last asked."""
        return list(self.browser.get_log(kind))  # type: ignore[no-untyped-call]

    def console(self) -> list[str]:
        """Return what the console has said since the page was opened."""
        return [line["message"] for line in self.log("browser")]

    def asked(self) -> list[str]:
        """Return the address of every request since the page was opened."""
        lines = [json.loads(line["message"])["message"] for line in self.log("performance")]
        return [line["params"]["request"]["url"] for line in lines if line["method"] == "Network.requestWillBeSent"]


Show = Callable[[Service], Page]


def percent(share: float) -> str:
    """Return a share as the page shows it."""
    return f"{round(100 * share, 1):g}%"


def predicted(service: Service, row: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to one row."""
    answer = ask(service, "/predict", {"instances": [row]})
    assert answer.status == 200, answer.error
    return dict(answer.json()["predictions"][0])


def reissued(project: Project, change: Callable[[dict[str, Any], list[dict[str, Any]]], None]) -> str:
    """Write another version, the champion with its contract and golden rows changed, and return its name."""
    versions = project.path / "models/versions"
    made = versions / "made"
    shutil.copytree(versions / project.champion["version"], made)
    contract, golden = (json.loads((made / f"bundle/{name}.json").read_text()) for name in ("contract", "golden"))
    change(contract, golden["rows"])
    (made / "bundle/contract.json").write_text(json.dumps(contract))
    (made / "bundle/golden.json").write_text(json.dumps(golden))
    seal = "import json, pathlib, sys; from flight_delays.bundle import seal; "
    version = str(project.python(f"{seal}print(json.dumps(seal(pathlib.Path(sys.argv[1]))))", str(made / "bundle")))
    made.rename(versions / version)
    return version


def crown(project: Project, version: str | None) -> None:
    """Point at a version, as promotion does."""
    project.write("models/champion.new", json.dumps(project.champion | {"version": version}))
    (project.path / "models/champion.new").replace(project.path / "models/champion.json")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Yield a headless Chromium with a profile of its own."""
    names = ("chromium", "chromium-browser", "google-chrome")
    programs, driver = [*filter(None, map(shutil.which, names))], shutil.which("chromedriver")
    if not (programs and driver):
        missing = f"no {' or '.join(names)}, or no chromedriver, on the path"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Driver(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def service(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield a service of the default project that no test changes."""
    with serving(built.copy(tmp_path_factory.mktemp("page"))) as running:
        yield running


@pytest.fixture
def show(browser: webdriver.Chrome) -> Show:
    """Return `show(service)`, the page of a service in a wide and light window."""

    def shown(service: Service) -> Page:
        page = Page(browser, service)
        page.size(1280)
        page.prefer("light")
        return page

    return shown


@pytest.fixture
def page(show: Show, service: Service) -> Page:
    """Return the page of the default project, just opened."""
    return show(service).open()


def test_enter_in_the_form_as_it_loads_answers_the_example_as_predict_does(page: Page) -> None:
    row = example(page.service)["instances"][0]
    assert {name: page.value(name) for name in row} == {
        name: f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)
        for name, value in row.items()
    }
    identity = page.enter("distance")
    expected = predicted(page.service, row)
    assert page.all(".prediction data")[0].get_dom_attribute("value") == json.dumps(expected["prediction"])
    assert page.text(".prediction") == ("yes" if expected["prediction"] else "no")
    assert f"{percent(expected['probability'])} probability of yes" in page.text("#answered")
    assert page.all("#source code")[0].text == page.service.project.champion["version"]
    line = next(line for line in logged(page.service.project) if line["id"] == identity)
    assert line["features"] == row
    assert page.console() == []


def test_page_asks_nothing_of_any_other_host(page: Page) -> None:
    page.enter("carrier" if page.field("carrier").tag_name == "input" else "dest")
    page.all("summary")[0].click()
    asked = page.asked()
    assert {url.removeprefix(page.service.url) for url in asked} == {"/", "/model", "/example", "/predict"}


def test_bad_value_shows_the_sentence_at_its_field_and_takes_the_focus_there(page: Page) -> None:
    row = example(page.service)["instances"][0] | {"distance": 5}
    sentence = ask(page.service, "/predict", {"instances": [row]}).error
    page.type("distance", "5")
    page.field("visibility").send_keys(Keys.ENTER)
    assert page.says("#refusal", "distance") == sentence
    assert page.all("#refusal")[0].aria_role == "alert"
    assert sentence.removeprefix("instances[0].distance: ") in page.described("distance")
    assert page.field("distance").get_dom_attribute("aria-invalid") == "true"
    assert page.browser.switch_to.active_element == page.field("distance")
    page.type("distance", "500")
    assert page.text("#refusal") == ""
    assert page.field("distance").get_dom_attribute("aria-invalid") is None
    page.enter("distance")


@pytest.mark.parametrize("typed", ["", "12.5", "1e999", "--"])
def test_what_is_no_integer_is_refused_by_the_service_and_not_by_the_browser(page: Page, typed: str) -> None:
    page.type("distance", typed)
    page.field("distance").send_keys(Keys.ENTER)
    assert page.says("#refusal", "an integer from 10 to 6000").startswith("instances[0].distance: ")


def test_empty_control_sends_null_where_it_may_be_empty(page: Page) -> None:
    assert "may be empty" in page.described("temperature")
    assert "may be empty" not in page.described("distance")
    page.type("temperature", "")
    identity = page.enter("temperature")
    line = next(line for line in logged(page.service.project) if line["id"] == identity)
    assert line["features"] == example(page.service)["instances"][0] | {"temperature": None}


def test_value_that_training_never_saw_is_noted_and_answered(page: Page) -> None:
    page.type("distance", "50")
    assert "outside what training saw (80 to 4,983)" in page.described("distance")
    page.type("dest", "ZZZ")
    assert "not among what training saw" in page.described("dest")
    page.enter("dest")
    page.type("distance", "500")
    assert page.described("distance") == "10 to 6,000 miles"
    assert page.text("#stale")


def test_another_example_fills_the_form_with_it(page: Page) -> None:
    rows = example(page.service)["instances"]
    for row in [*rows[1:], rows[0]]:
        page.all("#another")[0].click()
        assert page.value("dest") == row["dest"]
        assert float(page.value("temperature")) == row["temperature"]


def test_facts_are_those_of_the_version_that_is_served(page: Page) -> None:
    version = page.service.project.champion["version"]
    promise = page.service.project.json(f"models/versions/{version}/promise.json")
    assert page.text("#version") == version
    rows = [[cell.text for cell in row.find_elements(By.CSS_SELECTOR, "th, td")] for row in page.all("#metrics tr")]
    shown = {row[0]: row[1:3] for row in rows}
    for metric, (low, high) in promise["intervals"].items():
        assert shown[metric] == [f"{promise[metric]:.3f}", f"{low:.3f} to {high:.3f}"]
    for name, floor in promise["baselines"].items():
        assert shown[f"baseline {name}"][0] == f"{floor['log_loss']:.3f}"
    assert f"{promise['rows']:,} rows of {promise['days']} days" in page.text("#tested")
    assert version in page.text("#card")
    assert page.all("#card table")
    assert page.text("#reasons") == page.service.project.json("reports/drift.json")["reasons"][0]


def test_a_model_that_was_refused_is_shown_with_the_reasons(page: Page) -> None:
    project = page.service.project
    promoted = project.read("reports/decision.json")
    assert not page.open().all("#gate")[0].is_displayed()
    refused = {"decision": "refused", "version": "0123456789ab", "reasons": ["<b>too few rows</b>", "too few days"]}
    project.write("reports/decision.json", json.dumps(refused))
    page.open()
    page.until(page.all("#gate")[0].is_displayed, "the refusal")
    assert page.text("#ruling") == "0123456789ab was refused:"
    assert [item.text for item in page.all("#grounds li")] == refused["reasons"]
    project.write("reports/decision.json", promoted)


@pytest.mark.parametrize(("place", "name"), [(0, "drift"), (1, "loop")])
def test_reports_open_beside_the_page(page: Page, place: int, name: str) -> None:
    link = page.all("#reports a")[place]
    assert link.get_dom_attribute("target") == "_blank"
    assert link.get_dom_attribute("rel") == "noopener"
    assert link.get_dom_attribute("href") == f"reports/{name}.html"
    assert ask(page.service, f"/reports/{name}.html").status == 200


def test_keyboard_reaches_everything_in_order_and_the_focus_is_seen(page: Page) -> None:
    reached, seen = (
        [],
        "const e = document.activeElement; return e.matches(':focus-visible') && getComputedStyle(e).outlineStyle",
    )
    page.run("document.body.focus()")
    for _ in range(40):
        page.browser.switch_to.active_element.send_keys(Keys.TAB)
        element = page.browser.switch_to.active_element
        if element.tag_name == "body":
            break
        assert page.run(seen) == "solid", element.get_attribute("outerHTML")
        reached.append(element.get_dom_attribute("name") or element.text)
    names = list(example(page.service)["instances"][0])
    links = ["Open the drift report", "How it went over time", "Model card"]
    assert reached == [*names, "Predict", "Another example", *links]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_text_is_readable_and_fits_the_width(page: Page, width: int, scheme: str) -> None:
    page.size(width)
    page.prefer(scheme)
    page.type("departure_minute", "2")
    page.enter("dest")
    page.type("distance", "5")
    page.field("distance").send_keys(Keys.ENTER)
    page.says("#refusal", "distance")
    page.all("summary")[0].click()
    assert page.run(FAINT) == []
    assert page.run("return document.documentElement.scrollWidth") <= width


def test_names_of_any_kind_are_texts_and_reach_the_service(show: Show, ready: Project) -> None:
    renamed: dict[str, str] = {}

    def change(contract: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        renamed.update(zip([feature["name"] for feature in contract["features"]], AWKWARD, strict=True))
        for feature in contract["features"]:
            feature["name"] = renamed[feature["name"]]
            feature["unit"] = "<i>units</i>"
        contract["target"] = "<img src=x onerror=alert(1)>"
        next(f for f in contract["features"] if f["unknown"] == "accept")["categories"] += [
            f"<{k}>" for k in range(5000)
        ]
        rows[:] = [{renamed[name]: value for name, value in row.items()} for row in rows]

    crown(ready, reissued(ready, change))
    with serving(ready) as service:
        page = show(service).open()
        page.size(320)
        row = example(service)["instances"][0]
        assert [label.text for label in page.all("#fields label")] == list(row)
        assert page.run("return document.querySelector('datalist').children.length") > 5000
        identity = page.enter(renamed["dest"])
        assert next(line for line in logged(ready) if line["id"] == identity)["features"] == row
        page.type(renamed["distance"], "5")
        page.field(renamed["distance"]).send_keys(Keys.ENTER)
        assert "from 10 to 6000" in page.says("#refusal", "instances[0].constructor")
        assert page.browser.switch_to.active_element == page.field("constructor")
        page.type("constructor", "500")
        page.type("distance: an integer", "-1")
        page.field("constructor").send_keys(Keys.ENTER)
        page.says("#refusal", "instances[0].distance: an integer: ")
        assert page.browser.switch_to.active_element == page.field("distance: an integer")
        assert page.run("return document.documentElement.scrollWidth") <= 320
        assert page.browser.title == "flight_delays"
        assert page.all("b, i:not(.bar i), #main img") == []


def test_dates_booleans_and_open_categories_are_sent_as_the_contract_wants_them(show: Show, small: Project) -> None:
    with serving(small) as service:
        page = show(service).open()
        row = example(service)["instances"][0]
        assert page.field("ordered").get_property("type") == "datetime-local"
        assert page.value("insured") == ("yes" if row["insured"] else "no")
        page.enter("weight")
        page.type("visits", "")
        page.field("insured").send_keys("n" if row["insured"] else "y")
        identity = page.enter("weight")
        line = next(line for line in logged(small) if line["id"] == identity)
        assert line["features"] == row | {"visits": None, "insured": not row["insured"]}
        assert page.text(".prediction") == predicted(service, line["features"])["prediction"]


@pytest.mark.parametrize("name", ["multiclass", "regression"])
def test_other_tasks_are_answered(show: Show, bare: Callable[[Path], Project], tmp_path: Path, name: str) -> None:
    project = turn(bare(tmp_path), {"multiclass": tasks.MULTICLASS, "regression": tasks.REGRESSION}[name])
    assert project.repro().ran == STAGES
    with serving(project) as service:
        page = show(service).open()
        row = example(service)["instances"][0]
        page.enter(next(iter(row)))
        expected = predicted(service, row)
        if name == "regression":
            assert float(page.text(".prediction").replace(",", "")) == pytest.approx(expected["prediction"], rel=1e-5)
            assert page.all("meter") == []
        else:
            assert page.text(".prediction") == expected["prediction"]
            ordered = sorted(expected["probability"].items(), key=lambda pair: -pair[1])
            assert [meter.get_dom_attribute("aria-label") for meter in page.all("meter")] == [
                known for known, _ in ordered
            ]
            assert float(page.all("meter")[0].get_dom_attribute("value") or 0) == ordered[0][1]
        assert page.console() == []


def test_without_a_champion_the_page_says_why_and_becomes_a_form_by_itself(show: Show, ready: Project) -> None:
    version = ready.champion["version"]
    crown(ready, None)
    with serving(ready, ready=False) as service:
        page = show(service).open("#waiting")
        assert page.says("#reason", " ") == ask(service, "/model").json()["reason"]
        assert page.text("#state") == "not ready"
        assert not page.all("#form")[0].is_displayed()
        crown(ready, version)
        page.until(page.all("#form")[0].is_displayed, "a form")
        assert page.text("#version") == version
        assert page.text("#state") == "ready"
        page.enter("distance")
        assert page.console() == []


def test_new_version_is_announced_and_what_was_typed_is_kept(show: Show, ready: Project) -> None:
    before = ready.champion["version"]

    def change(contract: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        next(feature for feature in contract["features"] if feature["name"] == "distance")["range"] = [20, 7000]

    with serving(ready) as service:
        page = show(service).open()
        page.type("temperature", "")
        page.type("distance", "777")
        version = reissued(ready, change)
        crown(ready, version)
        assert before in page.says("#news", f"Version {version} took over")
        assert page.text("#version") == version
        assert page.described("distance") == "20 to 7,000 miles"
        assert (page.value("distance"), page.value("temperature")) == ("777", "")
        assert page.browser.switch_to.active_element == page.field("distance")
        page.enter("distance")
        assert page.all("#source code")[0].text == version


def test_stopped_service_is_noticed_and_its_return_too(show: Show, ready: Project) -> None:
    with serving(ready) as service:
        page = show(service).open()
        page.type("distance", "777")
        service.stopped()
        page.says("#news", "does not answer")
        page.field("distance").send_keys(Keys.ENTER)
        page.says("#refusal", "does not answer")
        with started(ready, "make", "serve", env={"PORT": str(service.port)}):
            page.until(lambda: page.text("#state") == "ready", "the service is back")
            assert page.text("#news") == ""
            assert page.value("distance") == "777"
            page.enter("distance")


def test_page_works_with_a_key_and_says_so_when_it_is_no_longer_one(show: Show, ready: Project, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(hashlib.sha256(b"a-key").hexdigest() + "\n")
    with serving(ready, env={"SERVICE_KEYS": str(keys)}) as service:
        page = show(service)
        page.browser.get(service.url.replace("://", "://:a-key@"))
        page.until(lambda: page.all("#fields .field"), "a form")
        page.enter("distance")
        page.run("window.fetch = async () => new Response('{}', {status: 401})")  # a real one waits for a person
        page.field("distance").send_keys(Keys.ENTER)
        page.says("#refusal", "A key is needed")
