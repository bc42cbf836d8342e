"""What a resumed run is compared by: options and images."""

import pytest

from jaxvit.command_line import parse
from jaxvit.config import as_json
from jaxvit.runs.comparison import differences_of, first_difference

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
