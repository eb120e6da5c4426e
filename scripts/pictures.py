"""Take the pictures of the documents, docs/images/*.png, from a project that is baked, run and retrained for them.

It takes some minutes, and Chromium with its chromedriver on the path.
"""

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from html import escape
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from demo import free_port, wait_until_ready

HERE = Path(__file__).resolve().parent.parent
PICTURES = HERE / "docs/images"
STYLE = "font: 14px sans-serif; fill: #1b1f24"
STEP, LEFT, WIDTH = 56, 80, 980


def make(project: Path, *arguments: str) -> str:
    """Run targets of the project, and return what they said."""
    command = ["make", "--no-print-directory", *arguments]
    done = subprocess.run(
        command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


def pipeline(graph: str, said: str) -> str:
    """Return a drawing of what `dvc dag --dot` knows: each stage, the last line that it said, and who reads of whom."""
    stages = re.findall(r'^"(\w+)";', graph, re.MULTILINE)
    last = dict(re.findall(r"^(\w+): (.+)$", said, re.MULTILINE))
    rows = []
    for number, stage in enumerate(stages):
        y = STEP * number + STEP // 2
        words = last[stage] if len(last[stage]) < 130 else f"{last[stage][:127]}…"
        rows.append(
            f'<circle cx="{LEFT}" cy="{y}" r="6" fill="#1a56b8"/>'
            f'<text x="{LEFT + 25}" y="{y - 3}" style="{STYLE}; font-weight: bold">{stage}</text>'
            f'<text x="{LEFT + 25}" y="{y + 16}" style="{STYLE}; font-size: 12px">{escape(words)}</text>'
        )
    for one, other in re.findall(r'^"(\w+)" -> "(\w+)";', graph, re.MULTILINE):
        above, below = (STEP * stages.index(name) + STEP // 2 for name in (one, other))
        bow = (below - above - STEP) * 0.35
        path = f"M {LEFT - 8} {above} C {LEFT - 15 - bow} {above}, {LEFT - 15 - bow} {below}, {LEFT - 8} {below}"
        rows.append(f'<path d="{path}" fill="none" stroke="#7b8794" marker-end="url(#head)"/>')
    head = '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    head += '<path d="M 0 0 L 8 4 L 0 8 z" fill="#7b8794"/></marker>'
    size = f'width="{WIDTH}" height="{STEP * len(stages)}"'
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><defs>{head}</defs>{"".join(rows)}</svg>'
    return f'<!doctype html><meta charset="utf-8"><body style="margin: 0">{drawing}'


@contextmanager
def serving(project: Path) -> Iterator[str]:
    """Yield the address of the project's service, ready."""
    port = free_port()
    command = ["make", "serve", f"PORT={port}"]
    with (project.parent / "service.log").open("w") as log:
        service = subprocess.Popen(command, cwd=project, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", service)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(service.pid, signal.SIGTERM)
        service.wait(60)


@contextmanager
def browsing() -> Iterator[webdriver.Chrome]:
    """Yield a headless Chromium."""
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    program, driver = next(filter(None, found), None), shutil.which("chromedriver")
    if not (program and driver):
        sys.exit("pictures: chromium or chromedriver is not on the path; install both")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


def take(chrome: webdriver.Chrome, name: str, url: str, size: tuple[int, int], *conditions: str) -> None:
    """Open a page, wait until each script in turn returns something, and keep the picture."""
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    chrome.get(url)
    for condition in conditions:
        WebDriverWait(chrome, 60).until(partial(webdriver.Chrome.execute_script, script=f"return {condition}"))
    picture = chrome.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    (PICTURES / f"{name}.png").write_bytes(base64.b64decode(picture))


def main(folder: Path) -> None:
    """Bake into `folder`, run three months, and take each picture where it can be seen."""
    baking = [sys.executable, "-m", "cookiecutter", str(HERE), "--no-input", "--output-dir", str(folder)]
    subprocess.run(baking, check=True)
    project = folder / "flight-delays"
    reports = project / "reports"
    said = make(project, "setup", "pipeline")
    dag = [".venv/bin/dvc", "dag", "--dot"]
    graph = subprocess.run(dag, cwd=project, stdout=subprocess.PIPE, text=True, check=True).stdout
    (folder / "pipeline.html").write_text(pipeline(graph, said))
    shutil.copy(reports / "plots/evaluation.png", PICTURES / "evaluation.png")
    with browsing() as chrome, serving(project) as url:
        take(chrome, "pipeline", f"file://{folder}/pipeline.html", (WIDTH, STEP * 9), "document.querySelector('svg')")
        asked = "document.querySelector('#source code') || document.querySelector('#form').requestSubmit()"
        take(chrome, "page", url, (1280, 880), "document.querySelector('#fields .field')", asked)
        for month in ("October", "November", "December"):
            print(f"pictures: {month}", flush=True)
            make(project, "simulate", f"URL={url}")
            make(project, "monitor")
            if month == "October":
                make(project, "retrain")
        take(chrome, "loop", f"file://{reports}/loop.html", (820, 1030), "document.querySelector('svg')")
        drift = f"file://{reports}/drift.html"
        title = "[...document.querySelectorAll('p')].find(node => node.textContent.includes('temperature'))"
        scrolled = f"({title}.scrollIntoView(), true)"
        take(chrome, "drift", drift, (1280, 740), "document.querySelector('.js-plotly-plot')", scrolled)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(scratch))
