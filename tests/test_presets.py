"""The presets' values, which results were measured with, and what follows the number of images."""

import json
from pathlib import Path

from jaxvit.completion import by_number_of_images
from jaxvit.config import Config, as_json, flat
from jaxvit.presets import PRESETS

VALUES = Path(__file__).with_name("presets.json")


def values_of_presets() -> dict:
    """Of each preset, what differs from Config()."""
    plain = flat(as_json(Config()))
    return {
        name: {
            option: value
            for option, value in flat(as_json(config)).items()
            if value != plain[option]
        }
        for name, config in PRESETS.items()
    }


def test_the_presets_have_the_values_that_their_results_were_measured_with():
    """What is changed on purpose is written down: python -m tests.test_presets"""
    assert values_of_presets() == json.loads(VALUES.read_text())


def test_what_the_folder_preset_leaves_open_follows_the_number_of_images():
    for images, val, expected in (
        (35, 4, (286, 32, "last", 96, 3, "vit", "matrices")),
        (300, 100, (93, 32, "best", 96, 3, "vit", "matrices")),
        (2000, 99, (40, 64, "last", 128, 4, "torch", "all")),
        (20_000, 999, (15, 64, "best", 128, 4, "torch", "all")),
    ):
        found = by_number_of_images(images, val)
        model, optim = found["model"], found["optim"]
        assert (
            found["epochs"], found["batch_size"], found["select"], model["embed_dim"],
            model["num_heads"], model["init"], optim["decay"],
        ) == expected  # fmt: skip


if __name__ == "__main__":
    VALUES.write_text(json.dumps(values_of_presets(), indent=1) + "\n")
