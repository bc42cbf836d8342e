"""What runs and processes are compared by: options and images."""

import numpy as np
import pytest

from jaxvit.command_line import parse
from jaxvit.config import as_json
from jaxvit.data.decoded import Dataset, Split
from jaxvit.errors import UserError
from jaxvit.runs.comparison import differences_of, first_difference
from jaxvit.runs.directory import RunDirectory
from jaxvit.runs.progress import make_console
from jaxvit.runs.recorder import Recorder
from jaxvit.runtime.devices import make_devices
from jaxvit.training.fit import Plan
from tests.toy_tasks import blank_task

IMAGES = {
    "class_names": ["a"], "train": {"x": "1", "y": "2"}, "val": {"v": "3"}, "test": {"t": "4"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"class_names": ["b"]}, "other classes"),
        ({"train": {"y": "2", "x": "1"}}, "the order of train"),
        ({"train": {"x": "1"}}, "y is gone from train"),
        ({"val": {"v": "5"}}, "v has other pixels"),
        ({"val": {"v": "3", "w": "6"}}, "w is new in val"),
        ({"test": {"t": "5"}}, "t has other pixels"),
        ({"test": {"u": "4"}}, "u is new in test"),
    ],
)
def test_images_are_compared_in_every_split(change, expected):
    assert first_difference(IMAGES, IMAGES | change) == expected


def test_an_option_that_an_older_run_lacks_had_its_default():
    _, config = parse(["digits", "--optim.ema-decay", "0", "--optim.swa-start", "0.5"])
    written = as_json(config)
    assert differences_of(written, config) == {}
    del written["optim"]["swa_start"]
    assert differences_of(written, config) == {"optim.swa_start": (0.0, 0.5)}


def test_processes_compare_their_images_before_they_train(tmp_path, monkeypatch):
    """And their options, the choices that they made, and whether they resume."""
    compared = []

    def note(values):
        compared.append(values)
        raise UserError("far enough")

    monkeypatch.setattr("jaxvit.runs.recorder.check_same", note)
    _, config = parse(["digits", "--out", str(tmp_path / "run")])
    images, labels = np.zeros((1, 1, 1, 1), np.uint8), np.zeros(1, int)
    one, two = (
        Split(images, labels, np.zeros(1, np.int32), ("x",), np.full(1, crc, np.uint32))
        for crc in (1, 2)
    )
    task = blank_task(facts=(("chosen", 3),))
    recorder = Recorder(
        RunDirectory(config), task, config, Plan(1, 1, 1), Dataset(("a",), one, one, two),
        make_devices(config), *[lambda *_: None] * 2, make_console(quiet=True),
    )  # fmt: skip
    with pytest.raises(UserError, match="far enough"), recorder:
        pass
    (values,) = compared
    assert values["images"]["train"] == {"x": "00000001"}
    assert values["images"]["test"] == {"x": "00000002"}
    assert values["choices before training"] == {"chosen": 3}
    assert values["run directory"] is False
    assert "lr=0.004" in values["options"][0]
