"""python docs/explain_example.py WEIGHTS: draws a traffic light, and explains what is said of it.

WEIGHTS is a DeiT-Tiny in timm's layout. Writes docs/explain_example.png. The picture is drawn here,
so that it belongs to nobody else; the network is right about it.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

ROOT = Path(__file__).resolve().parent.parent
SIZE = 672
TRAFFIC_LIGHT, STREET_SIGN = "920", "919"  # of ImageNet's classes
METHODS = ("integrated_gradients", "deep_lift", "occlusion", "grad_cam", "attention_rollout")


def draw() -> Image.Image:
    """A traffic light before an evening sky and houses, drawn large and made small."""
    rows = np.linspace(0, 1, SIZE)[:, None, None]
    sky = (1 - rows) * np.array([90, 130, 190]) + rows * np.array([235, 190, 150])
    sky = np.broadcast_to(sky, (SIZE, SIZE, 3)) + np.random.default_rng(0).normal(
        0, 4, (SIZE, SIZE, 3)
    )
    image = Image.fromarray(np.clip(sky, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for left, top, right, shade in ((0, 420, 170, 70), (150, 470, 290, 95), (430, 440, 672, 80)):
        pen.rectangle((left, top, right, SIZE), fill=(shade, shade - 8, shade - 14))
        for x in range(left + 18, right - 24, 44):
            for y in range(top + 20, SIZE - 20, 52):
                lit = (x * 7 + y * 3) % 5 == 0
                pen.rectangle((x, y, x + 18, y + 26), fill=(240, 205, 120) if lit else (45, 45, 55))
    image = image.filter(ImageFilter.GaussianBlur(3))
    pen = ImageDraw.Draw(image)
    pen.rectangle((322, 430, 350, SIZE), fill=(58, 60, 62))
    pen.rounded_rectangle((252, 90, 420, 470), 26, fill=(28, 30, 30), outline=(70, 72, 72), width=5)
    for y, colour, lit in (
        (155, (255, 60, 40), True),
        (280, (120, 90, 20), False),
        (405, (20, 80, 45), False),
    ):
        glow = (255, 150, 120) if lit else colour
        pen.ellipse((282, y - 54, 390, y + 54), fill=(15, 15, 15))
        pen.ellipse((290, y - 46, 382, y + 46), fill=colour)
        pen.ellipse((312, y - 30, 348, y + 2), fill=glow)
        pen.arc((276, y - 62, 396, y + 50), 180, 360, fill=(50, 52, 52), width=9)
    return image.filter(ImageFilter.GaussianBlur(1.2))


def main(weights: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        photo = Path(place) / "traffic light.png"
        draw().save(photo)
        subprocess.run(
            [
                sys.executable, "-m", "jaxvit", "explain", weights, photo, "--out", place + "/out",
                "--methods", *METHODS, "--target", STREET_SIGN,
            ],
            cwd=ROOT, check=True,
        )  # fmt: skip
        shutil.copy(
            Path(place) / "out" / "traffic light.png", ROOT / "docs" / "explain_example.png"
        )


if __name__ == "__main__":
    main(sys.argv[1])
