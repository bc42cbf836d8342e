"""A page of invented predictions with hostile names, and a browser to open it."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from jaxvit.pages.page import About, Scored, render_page

HOSTILE = '<script>alert("x")</script>&"\'`${1}</script><img src=x onerror=alert(1)>'
CLASSES = ("ant", HOSTILE, "cat \N{CAT FACE}")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="package")
def scored() -> Scored:
    """30 images, ten of each class; 22 are right."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 10)
    predicted = labels.copy()
    predicted[[0, 1, 2, 11, 12, 21, 22, 23]] = [1, 1, 2, 0, 2, 0, 0, 1]
    confidence = rng.uniform(0.4, 1, 30)
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (labels, predicted), 1)
    bins = np.clip((confidence * 15).astype(int), 0, 14)
    right = predicted == labels
    sums = (np.bincount(bins, weights, 15) for weights in (None, confidence, right))
    pixels = rng.integers(0, 256, (30, 24, 24, 3), np.uint8)
    return Scored(
        tuple(f"{HOSTILE}/{row}.png" for row in range(30)), labels, predicted, confidence,
        np.where(right, confidence, (1 - confidence) / 2), lambda rows: pixels[rows],
        {
            "accuracy": 22 / 30, "accuracy_low": 0.556, "accuracy_high": 0.858, "loss": 0.5,
            "ece": 0.1, "f1_macro": 0.7, "mean_confidence": 0.7,
        },
        confusion, tuple(sums),
    )  # fmt: skip


@pytest.fixture(scope="package")
def lines() -> list[dict]:
    return [
        {"step": step, "train/loss": 2 / step, "train/learning_rate": 0.1 / step}
        | ({"val/loss": 1 / step, "val/accuracy": step / 20, "epoch": step // 5}
           if step % 5 == 0 else {})
        for step in range(1, 16)
    ]  # fmt: skip


@pytest.fixture(scope="package")
def page(scored, lines, tmp_path_factory) -> Path:
    about = About(
        HOSTILE, {"Configuration": [("seed", 3), (HOSTILE, HOSTILE)]}, f"python {HOSTILE}", lines,
        np.full((40, 60, 3), 128, np.uint8), "attention rollout",
    )  # fmt: skip
    overlays = {0: np.eye(5, dtype=np.float32)}
    path = tmp_path_factory.mktemp("pages") / "report.html"
    path.write_text(render_page(about, scored, CLASSES, overlays), encoding="utf-8")
    return path


def chromium(*args: str) -> subprocess.CompletedProcess:
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def framed(page: Path, width: int) -> Path:
    """A file beside it that shows the page so wide; a window has at least 500 pixels."""
    frame = page.with_name(f"framed-{width}.html")
    frame.write_text(
        "<style>body { margin: 0 } iframe { border: 0; height: 1000px }</style>"
        "<script>addEventListener('message', event => {"
        "const out = document.createElement('pre'); out.textContent = event.data;"
        "document.body.append(out); });</script>"
        f"<iframe style='width: {width}px' src='{page.name}'></iframe>"
    )
    return frame


def run_in(
    page: Path, script: str, tmp_path: Path, *more: str, width: int = 800
) -> tuple[dict, str]:
    """What a script that sets `result` found in the page, and what the browser logged."""
    probe = (
        "<script>const errors = [];"
        "window.addEventListener('error', event => errors.push(String(event.message)));"
        "document.addEventListener('securitypolicyviolation',"
        " event => errors.push(event.violatedDirective));</script>"
    )
    tail = (
        f"<script>{{ const result = {{}}; {script}; result.errors = errors;"
        "parent.postMessage('RESULT' + JSON.stringify(result) + 'END', '*'); }</script>"
    )
    text = page.read_text(encoding="utf-8")
    changed = tmp_path / "probed.html"
    text = text.replace("<title>", probe + "<title>", 1)
    head, _, rest = text.rpartition("</body>")
    changed.write_text(head + tail + "</body>" + rest, encoding="utf-8")
    shown = framed(changed, width)
    log = ("--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000")
    done = chromium("--dump-dom", *log, *more, shown.as_uri())
    found = done.stdout.rpartition("RESULT")[2].partition("END")[0]
    for name, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        found = found.replace(name, character)
    return json.loads(found), done.stderr
