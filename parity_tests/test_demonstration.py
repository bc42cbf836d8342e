"""Defect 7 of the lab: the demonstration scripts lacked imports and normalised images twice."""

import runpy
import sys

import matplotlib.axes
import numpy as np
import pytest
from PIL import Image


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cutmix", "cutout", "mixup"])
def test_each_script_draws_four_images_without_normalisation(name, tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    monkeypatch.setattr(sys, "argv", [name, "--out", str(path)])
    sys.modules.pop(f"torch_ref.{name}", None)
    drawn = []
    monkeypatch.setattr(
        matplotlib.axes.Axes, "imshow", lambda axis, pixels, **style: drawn.append(pixels)
    )
    runpy.run_module(f"torch_ref.{name}", run_name="__main__")
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert pixels.shape[1] > 1000
    assert len(drawn) == 4
    for image in drawn:
        assert image.shape == (224, 224, 1)
        # A digit's background is 0. Normalisation would map 0 to -0.81 and 1 to 1.85.
        assert 0 <= image.min() < 0.01
        assert 0.5 < image.max() <= 1
