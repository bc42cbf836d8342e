"""python docs/explain_trust.py WEIGHTS PHOTOS --name NAME: which explanation can be trusted?

For each method of `python -m jaxvit explain`, on photos of which the model's answer is explained:
the areas under the curves of deletion (less is better) and insertion (more is better) with blurred
photos for baselines, the rank correlation with the explanation of a model whose weights are
permuted (0 is better: an explanation that does not change with the model does not explain it), and
seconds a photo; with --masks also whether the most important pixel lies in the object (the pointing
game; the masks are resized and cut like the photos). A random explanation and the distance from the
photo's centre stand beside them. Adds a table to docs/explain_trust.json.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np
from PIL import Image, ImageFilter

from jaxvit import explain
from jaxvit.augment.normalize import normalize
from jaxvit.data.photos import find_photos, read_photo
from jaxvit.explain.masks import INSIDE, read_mask
from jaxvit.explain.methods import METHODS, Setting, attribute
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.predictions import make_classifier
from jaxvit.models.variables import variables_of
from jaxvit.pictures.overlays import enlarge
from jaxvit.studies.statistics import mean_interval

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "explain_trust.json"
BLUR = 11  # radius, in pixels of 224
STEPS = 28


def importance(array: np.ndarray, size: int) -> np.ndarray:
    """(H, W): channels summed; maps enlarged."""
    return enlarge(array, size) if array.ndim == 2 else np.asarray(array).sum(axis=2)


def references(size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Explanations that know neither model nor photo."""
    rows = np.arange(size) - (size - 1) / 2
    return {
        "(random)": rng.normal(size=(size, size)),
        "(distance from the centre)": -np.hypot(rows[:, None], rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--name", required=True, help="of the table")
    parser.add_argument("--number", type=int, default=20, help="of photos, evenly from all")
    parser.add_argument("--masks", type=Path, help="STEM.png for each photo: the pointing game")
    parser.add_argument("--inside", type=int, nargs="+", default=list(INSIDE), help="their values")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="others are kept")
    options = parser.parse_args()
    source = load_pretrained(options.weights)
    classifier = make_classifier(source)
    weights = variables_of(source.params)
    broken = explain.permuted(weights, jax.random.key(0))
    function = explain.logits_fn(source.model, weights)
    size, rng = classifier.geometry.size, np.random.default_rng(0)
    files = find_photos([options.photos]).files
    files = [files[i] for i in np.linspace(0, len(files) - 1, options.number).astype(int)]
    rows: dict[str, list[dict[str, float]]] = {}
    for number, file in enumerate(files, 1):
        pixels = read_photo(file, classifier.geometry, classifier.channels, classifier.upright)
        blurred = np.asarray(
            Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(BLUR * size / 224))
        )
        image, baseline = (
            normalize(each[None], source.preprocessing.mean, source.preprocessing.std)
            for each in (pixels, blurred)
        )
        target = int(np.argmax(function(image)[0]))
        setting = Setting(source.model, weights, image, target, jax.random.key(0), 8)
        found: dict[str, tuple[np.ndarray, dict[str, float]]] = {
            name: (array, {}) for name, array in references(size, rng).items()
        }
        for name in options.methods:
            began = time.perf_counter()
            array = attribute(name, setting).array
            seconds = time.perf_counter() - began
            other = attribute(name, setting._replace(variables=broken)).array
            alike = explain.rank_correlation(np.abs(array)[None], np.abs(other)[None])[0]
            numbers = {"rank_correlation": float(alike)}
            if number > 1:  # the first one compiles
                numbers["seconds"] = seconds
            found[name] = importance(array, size), numbers
        inside = options.masks and read_mask(
            options.masks, file, classifier.geometry, options.inside
        )
        for name, (each, numbers) in found.items():
            if inside is not None:
                numbers["pointing"] = float(explain.pointing_game(each[None], inside[None])[0])
            for kind in ("deletion", "insertion"):
                curve = explain.pixel_curve(
                    function, image, target, each[None].astype(np.float32), kind=kind,
                    baselines=baseline, steps=STEPS,
                )  # fmt: skip
                numbers[kind] = float(curve.area[0])
            rows.setdefault(name, []).append(numbers)
        print(f"{number} of {len(files)}: {file.name}", flush=True)
    table = {}
    for name, each in rows.items():
        table[name] = {}
        for metric in ("deletion", "insertion", "rank_correlation", "pointing", "seconds"):
            values = [numbers[metric] for numbers in each if metric in numbers]
            if values:
                interval = mean_interval(values)
                table[name][metric] = [interval.mean, interval.low, interval.high, interval.n]
        shown = ", ".join(
            f"{k} {v[0]:.3f} ({v[1]:.3f} to {v[2]:.3f})" for k, v in table[name].items()
        )
        print(f"{name}: {shown}")
    everything = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    before = everything.get(options.name, {}).get("methods", {})
    photos = [file.name for file in files]
    everything[options.name] = {"photos": photos, "methods": before | table}
    RESULTS.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
