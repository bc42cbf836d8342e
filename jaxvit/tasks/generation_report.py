"""The pictures of a run that makes images."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvit.config import Config
from jaxvit.data.decoded import Dataset, Split
from jaxvit.models.configured import make_generator
from jaxvit.objectives.generation import SIDE, distances, pixel_features
from jaxvit.pictures.curves import Curve, plot_curves
from jaxvit.pictures.samples import plot_copies, plot_progress, plot_samples
from jaxvit.runtime.compiler import compiler_options
from jaxvit.tasks.generation import GRID
from jaxvit.tasks.sampling import make_stages
from jaxvit.training.task import Results

MOMENTS, SHOWN, COPIES, COMPARED = 8, 12, 10, 300
GAN = ("loss/discriminator", "loss/generator", "of_real/discriminator", "of_fake/discriminator")


def draw_generation(results: Results, config: Config, data: Dataset) -> dict[str, Any]:
    """Curves, samples, samples as training went, on their way from noise, and beside real ones."""
    conditional = config.model.conditional
    test, samples = results.test, np.asarray(results.evaluation.outputs["samples"])
    names = GAN if config.method == "gan" else ("loss",)
    curves = [Curve(name) for name in (*names, "kernel_distance", "diversity")]
    labels = test.labels[:GRID] if conditional else np.zeros(0, int)
    order = np.argsort(labels, kind="stable") if conditional else np.arange(len(samples[:GRID]))
    titles = [data.class_names[label][:14] for label in np.sort(labels)]
    figures = {
        "curves": plot_curves(results.lines, curves, results.best_step),
        "samples": plot_samples(samples[:GRID][order], titles),
        "copies": _copies(samples, data.train, test),
    }
    if kept := results.sketches.get("samples", ()):
        moments = np.unique(np.linspace(0, len(kept) - 1, MOMENTS).round().astype(int))
        images = np.stack([kept[moment][1][:SHOWN] for moment in moments])
        steps = [f"step {kept[moment][0]:,}" for moment in moments]
        title = "samples of the same noise, as training went"
        figures["progress"] = plot_progress(steps, images, title)
    if config.method == "diffusion":
        number = min(SHOWN, len(test))
        unet = make_generator(config.model, len(data.class_names), config.diffusion.steps)
        keys = jax.random.split(jax.random.key(config.seed), number)
        stages = jax.jit(
            make_stages(unet, config, MOMENTS),
            compiler_options=compiler_options(config.model.convolves),
        )
        noise, images = stages(results.weights, keys, jnp.asarray(test.labels[:number]))
        shares = [f"{share:.0%} noise" for share in np.asarray(noise)]
        title = "the way back from noise, with the variance of noise that is left"
        figures["reverse_process"] = plot_progress(shares, np.asarray(images), title)
    return figures


def _copies(samples: np.ndarray, train: Split, test: Split):
    """Samples beside their nearest training images; larger ones are compared by means of pixels."""
    side = min(SIDE, samples.shape[1])  # training images may be stored larger
    real = pixel_features(train.images(np.arange(len(train))), side)
    shown = samples[:COPIES]
    between = distances(pixel_features(shown, side), real)
    nearest = between.argmin(axis=1)
    some = np.linspace(0, len(test) - 1, min(len(test), COMPARED)).astype(int)
    of_test = distances(pixel_features(test.images(some), side), real).min(axis=1)
    return plot_copies(shown, train.images(nearest), between.min(axis=1), float(np.median(of_test)))
