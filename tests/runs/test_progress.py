"""What a log says of work that takes long."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from jaxvit.runs import progress
from jaxvit.runs.recorder import Recorder
from jaxvit.training.fit import Plan


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (1.0, []),  # 88 items are left: less than 90 s
        (2.0, ["features: about 3 minutes left"]),  # 93 are left after five times 2 s and one more
    ],
)
def test_a_log_says_once_about_how_long_slow_work_takes(monkeypatch, seconds, said):
    """The first item takes 1,000 s, to compile, and is not counted."""
    clock = iter([0.0, *(1000 + seconds * number for number in range(99))])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    for terminal in (False, True):
        text = io.StringIO()
        console = Console(file=text, force_terminal=terminal)
        if terminal:
            clock = iter(range(10**9))
        assert list(progress.track(console, range(100), 100, "features")) == list(range(100))
        if not terminal:
            assert text.getvalue().splitlines() == ["features: 100", *said]
        else:
            assert "minutes left" not in text.getvalue()


def test_the_time_of_training_left_is_said_once():
    said = []
    recorder = SimpleNamespace(
        _plan=Plan(1000, 10, 60), _estimated=False, _say=said.append, _log=lambda *_: None,
        _progress=SimpleNamespace(step=lambda *_: None),
    )  # fmt: skip
    for step in (3600, 3601):  # of 6,000 steps of 10 images
        Recorder._on_log(recorder, step, {"images_per_sec": 50.0})
    assert said == ["about 8 minutes of training left, at 50 images/s"]
