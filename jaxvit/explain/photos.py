"""Photos explained one after the other: a figure, raw attributions and a line for each."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxvit.augment.normalize import normalize
from jaxvit.data.cache import Track
from jaxvit.data.photos import read_photo
from jaxvit.errors import UnreadableImage, UserError
from jaxvit.explain.methods import METHODS, Attribution, Setting, attribute
from jaxvit.interop.predictions import Classifier, Usable, top
from jaxvit.interop.weights_file import output_file
from jaxvit.models.variables import variables_of
from jaxvit.paths import legible, one_line
from jaxvit.pictures.explanation import ClassMaps, plot_explanation

TOP = 5


def find_class(asked: str, labels: Sequence[str]) -> int:
    """The index of a class, by its name or its number.

    Raises:
      UserError: there is none.
    """
    if asked in labels:
        return labels.index(asked)
    if asked.isdecimal() and int(asked) < len(labels):
        return int(asked)
    close = difflib.get_close_matches(asked, labels, 3) or labels[:3]
    raise UserError(
        f"--target {asked} is no class of this model: give a number from 0 to {len(labels) - 1}, "
        f"or a name such as {', '.join(close)}"
    )


def explain_files(
    source: Usable,
    classifier: Classifier,
    files: Sequence[Path],
    methods: Sequence[str],
    target: int | None,
    out: Path,
    batch_size: int,
    seed: int,
    warn: Callable[[str], None],
    track: Track,
) -> Iterator[str]:
    """Writes OUT/PHOTO.png and OUT/PHOTO.npz; what cannot be read is left out.

    The file .npz has METHOD/CLASS for every method and class that is explained, float32, as the
    method gives it, attention for the first class only; attention_map_layers/CLASS, (L, n, n), the
    maps of all layers; and image, uint8, as the model sees it.

    Args:
      source, classifier: of one model.
      files: photos.
      methods: names of METHODS.
      target: a class beside the most probable one, or None.
      out: is made.
      batch_size, seed: see the command.
      warn: told in one line of a file that is left out.
      track: shows progress, method by method.

    Yields:
      A line for each photo: its classes, and the deltas of the methods that have one.
    """
    out.mkdir(parents=True, exist_ok=True)
    weights = jax.device_put(variables_of(source.params))
    mean, std = source.preprocessing.mean, source.preprocessing.std

    def explain(file: Path, name: str) -> Iterator[str | None]:
        """None after each method but the last, then the line; nothing of a photo that is broken."""
        try:
            pixels = read_photo(file, classifier.geometry, classifier.channels, classifier.upright)
        except UnreadableImage as error:
            warn(f"left out: {error}")
            return
        probabilities = np.asarray(jax.nn.softmax(classifier.logits(pixels[None]))[0])
        best = int(probabilities.argmax())
        found: dict[int, dict[str, Attribution]] = {}
        for index in [best] if target in (None, best) else [best, target]:
            setting = Setting(
                source.model, weights, normalize(pixels[None], mean, std), index,
                jax.random.key(seed), batch_size,
            )  # fmt: skip
            # Attention does not depend on the class: it is shown once.
            chosen = [m for m in methods if not (found and METHODS[m].needs_attention)]
            found[index] = {}
            for method in chosen:
                if any(found.values()):
                    yield None
                found[index][method] = attribute(method, setting)
        write(out / f"{name}.npz", pixels, found, classifier.labels)
        figure = plot_explanation(
            pixels / 255, name, top(classifier, probabilities, TOP),
            [
                ClassMaps(
                    f"{classifier.labels[index]} {probabilities[index]:.1%}",
                    {METHODS[m].about: (a.array, METHODS[m].signed) for m, a in maps.items()},
                )
                for index, maps in found.items()
            ],
        )  # fmt: skip
        with output_file(out / f"{name}.png") as partial:
            figure.savefig(partial, format="png", dpi=110)
        yield line_of(file, classifier, probabilities, found)

    number = len(methods)  # of the steps of a photo, at most
    if target is not None:
        number += sum(not METHODS[method].needs_attention for method in methods)
    steps = chain.from_iterable(
        islice(chain(explain(file, name), repeat(None)), number)
        for file, name in zip(files, names_of(files), strict=True)
    )
    for line in track(steps, len(files) * number, "methods on photos"):
        if line is not None:
            yield line


def names_of(files: Sequence[Path]) -> list[str]:
    """A name for each file's results: its own without the suffix, numbered where it repeats.

    Example:
      >>> names_of([Path("a/x.jpg"), Path("b/x.png"), Path("y.jpg")])
      ['x', 'x-2', 'y']
    """
    used: set[str] = set()
    names = []
    for file in files:
        stem, number = legible(Path(file.stem)).replace("/", "_"), 1
        name = stem
        while name in used:
            number += 1
            name = f"{stem}-{number}"
        used.add(name)
        names.append(name)
    return names


def write(
    path: Path,
    pixels: np.ndarray,
    found: dict[int, dict[str, Attribution]],
    labels: Sequence[str],
) -> None:
    """All attributions of a photo."""
    arrays: dict[str, Any] = {
        f"{method}/{labels[index]}": each.array
        for index, maps in found.items()
        for method, each in maps.items()
    }
    arrays |= {
        f"{method}_layers/{labels[index]}": each.layers
        for index, maps in found.items()
        for method, each in maps.items()
        if each.layers is not None
    }
    with output_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, image=pixels, **arrays)


def line_of(
    file: Path,
    classifier: Classifier,
    probabilities: np.ndarray,
    found: dict[int, dict[str, Attribution]],
) -> str:
    classes = ", ".join(f"{name} {p:.1%}" for name, p in top(classifier, probabilities, 3))
    deltas = [
        f"{method} of {classifier.labels[index]} {each.delta:+.2g}"
        for index, maps in found.items()
        for method, each in maps.items()
        if each.delta is not None
    ]
    said = f"; sum minus difference of logits: {', '.join(deltas)}" if deltas else ""
    return one_line(f"{legible(file)}: {classes}{said}")
