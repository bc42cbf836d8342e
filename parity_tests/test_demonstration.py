"""Defect 7 of the lab: demonstration scripts that lacked imports and normalised twice."""

import runpy
import sys

import numpy as np
import pytest
from PIL import Image


@pytest.mark.parametrize("name", ["cutmix", "cutout", "mixup"])
def test_each_script_draws_four_images_in_their_own_colours(name, tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    monkeypatch.setattr(sys, "argv", [name, "--out", str(path)])
    sys.modules.pop(f"torch_ref.{name}", None)
    runpy.run_module(f"torch_ref.{name}", run_name="__main__")
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert pixels.shape[1] > 1000
    assert (pixels == 255).mean() > 0.2  # the page
    assert (pixels < 30).mean() > 0.05  # a digit's background is black: it was not normalised
