"""python -m jaxvit quality RUN --features NET: generated images beside real ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxvit.commands import arguments as cli
from jaxvit.config import count, option, within
from jaxvit.errors import UserError
from jaxvit.interop.labelled import labelled_split
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.predictions import Usable
from jaxvit.interop.saved_generator import SavedGenerator, load_generator
from jaxvit.interop.tables import files_to_write, write_values
from jaxvit.objectives.generation import GROUPS, NEIGHBOURS, Interval
from jaxvit.paths import user_path
from jaxvit.runtime.cpu import divide_cpu
from jaxvit.tasks.sample_quality import Quality, accuracy_of, features_of, measure
from jaxvit.tasks.samples import make_samples, sampling_of

LEAST = 3 * GROUPS  # images, for an interval
MOST = 5_000  # real ones, drawn at random: all pairs are compared


@dataclass(frozen=True)
class Options:
    """Distances of generated images to the training images, and those of the test images."""

    run: cli.Run  # The directory of a run of gan or diffusion.
    # The network whose features are compared: a run, a weights file, or hf://OWNER/NAME.
    features: str = option()
    # A setting of their weights over what is found, such as num_heads=3 or gelu=tanh.
    weights_option: cli.WeightsOption = ()
    # A classifier of the same classes, which says whether images are of the class that they were
    # made for.
    classifier: str | None = None
    n: int | None = option(None, count(LEAST, MOST))  # Images to make; None: as many as test ones.
    seed: int = option(0, within(0, 2**32 - 1))  # Of the images that are made.
    # Of diffusion: steps of DDIM, in place of the run's; 0 takes all, by the ancestral sampler.
    steps: int | None = option(None, count(0, 10**5))
    eta: float = option(0.0, within(0, 1))  # Of DDIM: how much noise is added on the way.
    # Of diffusion with classes: weight of the class, in place of the run's.
    guidance: float | None = option(None, within(0, 100))
    json: cli.Text = None  # Write all values to this file.
    data_dir: cli.Directory = None  # Where the run's images are now, if they were moved.


def run(options: Options) -> int:
    """Prints a line for the images that were made, and one for the test images.

    Raises:
      UserError: a run or the weights cannot be read, or the classes are others.
    """
    read = (options.run, options.features, options.classifier)
    (json,) = files_to_write(read, json=options.json)
    divide_cpu(one_per_core=True)
    saved = load_generator(user_path("RUN", options.run), cli.to_stderr)
    sampling = sampling_of(saved.config, options.steps, options.eta, options.guidance)
    network = cli.load_weights(options.features, options.weights_option)
    classifier = None if options.classifier is None else _classifier(options, saved)
    cli.cache_programs()
    config, track, real = saved.config, cli.show_progress(), {}
    for name in ("train", "test"):
        split = labelled_split(options.run, name, options.data_dir, track)
        rows = np.random.default_rng(0).permutation(len(split.labels))[:MOST]
        images = list(split.images())
        real[name] = np.stack([images[row] for row in rows]), split.labels[rows]
        if len(rows) < LEAST:
            raise UserError(
                f"{options.run} has {len(rows)} {name} images, and a distance with its interval "
                f"needs {LEAST}: train it on more"
            )
    number = options.n or len(real["test"][0])
    classes = len(saved.class_names) if config.model.conditional else 1
    labels = np.arange(number, dtype=np.int32) % classes
    made = make_samples(saved, labels, options.seed, sampling, track=track)
    images = {"train": real["train"][0], "samples": made, "test": real["test"][0]}
    found = {name: features_of(network, each, track, name) for name, each in images.items()}
    of = {name: measure(found[name], found["train"]) for name in ("samples", "test")}
    if classifier is not None:
        for name, truth in (("samples", labels), ("test", real["test"][1])):
            right = accuracy_of(classifier, images[name], truth)
            of[name] = of[name]._replace(accuracy=right)
    print(f"features: {options.features}; beside {len(images['train']):,} training images")
    for name, quality in of.items():
        print(_line(name, quality))
    if json:
        write_values(json, {name: _values(quality) for name, quality in of.items()})
    return 0


def _classifier(options: Options, saved: SavedGenerator) -> Usable:
    """The classifier, of the generator's classes.

    Raises:
      UserError: the images have no classes, or others.
    """
    if not saved.config.model.conditional:
        raise UserError(
            f"--classifier {options.classifier}: {options.run} makes images without a class: leave "
            "it out"
        )
    found = load_pretrained(options.classifier)
    if found.class_names != saved.class_names:
        raise UserError(
            f"--classifier {options.classifier} has other classes than {options.run}: give one "
            "that was trained on the same data"
        )
    return found


def _line(name: str, quality: Quality) -> str:
    frechet, kernel = quality.frechet, quality.kernel
    line = (
        f"{name:8} {quality.number:,}: Frechet distance {frechet.value:.4g} "
        f"({frechet.low:.4g} to {frechet.high:.4g}), kernel distance {kernel.value:.4g} "
        f"({kernel.low:.4g} to {kernel.high:.4g}), precision {_share(quality.precision)}, recall "
        f"{_share(quality.recall)} (of {NEIGHBOURS} neighbours)"
    )
    return (
        line if quality.accuracy is None else f"{line}, of their class {_share(quality.accuracy)}"
    )


def _share(found: Interval) -> str:
    return f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"


def _values(quality: Quality) -> dict[str, Any]:
    values = {"n": quality.number}
    for name in ("frechet", "kernel", "precision", "recall", "accuracy"):
        if (each := getattr(quality, name)) is not None:
            values |= {name: each.value, f"{name}_low": each.low, f"{name}_high": each.high}
    return values
