"""A model with weights applied to image files: in batches, by one compiled program, in order."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from flax import linen as nn

from jaxvit.augment.normalize import normalize
from jaxvit.config import ModelConfig
from jaxvit.data.cache import Track, no_tracking
from jaxvit.data.photos import decode_photos
from jaxvit.data.preprocessing import Geometry, Preprocessing
from jaxvit.errors import UnreadableImage, UserError
from jaxvit.models.variables import variables_of
from jaxvit.paths import legible, one_line
from jaxvit.runtime.compiler import compiler_options
from jaxvit.shapes import Array

IN_FLIGHT = 2  # batches that are being computed while the next one is decoded


@runtime_checkable
class Usable(Protocol):
    """What a SavedRun and a Pretrained have in common; see there."""

    model: nn.Module
    model_config: ModelConfig
    params: Any
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    num_classes: int
    upright: bool


class Classifier(NamedTuple):
    """What turns images into logits.

    Attributes:
      logits: uint8 (B, S, S, C) -> float32 (B, K), compiled once for each B. To be called
        directly: under jax.jit that of a ResNet raises ValueError on a CPU, for JAX takes options
        of the compiler for outermost programs only; apply the model there.
      geometry: of the images; S is its size.
      channels: C.
      labels: K different names in the order of the logits: the classes' names, or their indices
        where no names are known.
      upright: whether photos are rotated by their EXIF orientation.
    """

    logits: Callable[[np.ndarray], Array]
    geometry: Geometry
    channels: int
    labels: tuple[str, ...]
    upright: bool


def make_classifier(source: Usable, upright: bool | None = None) -> Classifier:
    """The classifier of a run or of pretrained weights.

    Args:
      source: of load_run or load_pretrained.
      upright: whether photos are rotated; None for what the source says.

    Raises:
      UserError: it has no head, or takes images of other than one or three channels.
    """
    if source.num_classes == 0:
        raise UserError(
            "these weights have no head, so they give features and no classes: train a head with "
            "python train_jax.py probe --init.weights PATH, and use that run"
        )
    channels = source.model.in_channels
    if channels not in (1, 3):
        raise UserError(
            f"these weights take images of {channels} channels, and photos have 3 (RGB) or 1 "
            "(grey): choose other weights"
        )
    preprocessing = source.preprocessing
    mean, std = tuple(preprocessing.mean), tuple(preprocessing.std)
    compiled = _compiled(source.model, mean, std, source.model_config.convolves)
    params = jax.device_put(source.params)
    return Classifier(
        lambda images: compiled(params, images),
        preprocessing.geometry,
        channels,
        labels_of(source.class_names, source.num_classes),
        source.upright if upright is None else upright,
    )


@lru_cache(maxsize=8)
def _compiled(model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], convolves: bool):
    def logits(weights: Any, images: Array) -> Array:
        batch = normalize(images, mean, std)
        return model.apply(variables_of(weights), batch, deterministic=True)

    return jax.jit(logits, compiler_options=compiler_options(convolves))


def labels_of(class_names: Sequence[str] | None, num_classes: int) -> tuple[str, ...]:
    """K different names; those of several classes are followed by the index, and without names
    the index is the name.

    Example:
      >>> labels_of(["crane", "owl", "crane"], 3)
      ('crane [0]', 'owl', 'crane [2]')
    """
    if class_names is None:
        return tuple(map(str, range(num_classes)))
    times = Counter(class_names)
    return tuple(
        f"{name} [{index}]" if times[name] > 1 else name for index, name in enumerate(class_names)
    )


class Batch(NamedTuple):
    """Images that are computed together.

    Attributes:
      rows: (b,), positions of its images among all that were given, b <= B.
      pixels: uint8 (B, S, S, C); the rows from b on are padding.
    """

    rows: np.ndarray
    pixels: np.ndarray


def in_batches(
    images: Iterable[np.ndarray | UnreadableImage], batch_size: int
) -> Iterator[Batch | UnreadableImage]:
    """Stacks images in their order; the last batch is filled up with its first image.

    Errors in place of images are passed on as they come and take no place in a batch.
    """
    rows: list[int] = []
    pixels: list[np.ndarray] = []
    for row, image in enumerate(images):
        if isinstance(image, UnreadableImage):
            yield image
            continue
        rows.append(row)
        pixels.append(image)
        if len(rows) == batch_size:
            yield Batch(np.asarray(rows), np.stack(pixels))
            rows, pixels = [], []
    if rows:
        padding = pixels[:1] * (batch_size - len(rows))
        yield Batch(np.asarray(rows), np.stack(pixels + padding))


def compute_ahead(
    batches: Iterable[Batch | UnreadableImage], compute: Callable[[Batch], Any]
) -> Iterator[tuple[Batch, Any] | UnreadableImage]:
    """Each batch with its result on the host, while the device already has the next ones."""
    waiting: deque[tuple[Batch, Any]] = deque()
    for batch in batches:
        if isinstance(batch, UnreadableImage):
            yield batch
            continue
        waiting.append((batch, compute(batch)))
        if len(waiting) > IN_FLIGHT:
            done, found = waiting.popleft()
            yield done, jax.device_get(found)
    for batch, found in waiting:
        yield batch, jax.device_get(found)


def batch_size_for(number: int, largest: int) -> int:
    """A power of two that holds so many images, at most `largest`: few programs are compiled."""
    return min(largest, 1 << max(0, number - 1).bit_length())


def predict_images(
    classifier: Classifier, images: Iterable[np.ndarray | UnreadableImage], batch_size: int
) -> Iterator[tuple[int, np.ndarray] | UnreadableImage]:
    """For each image its position and its probabilities, float32 (K,), in order.

    Errors in place of images are passed on, up to a few batches before their turn.
    """

    def compute(batch: Batch) -> Array:
        return jax.nn.softmax(classifier.logits(batch.pixels))

    for done in compute_ahead(in_batches(images, batch_size), compute):
        if isinstance(done, UnreadableImage):
            yield done
            continue
        batch, probabilities = done
        yield from zip(batch.rows.tolist(), probabilities, strict=False)  # without the padding


def leave_out(error: UnreadableImage, on_error: str, warn: Callable[[str], None]) -> None:
    """Tells of an image that cannot be read, with on_error "skip"; raises with "stop"."""
    if on_error == "stop":
        raise UnreadableImage(f"{error}, or leave it out with --on-error skip")
    warn(f"left out: {error}")


class Prediction(NamedTuple):
    """The most probable classes of a file, the most probable first.

    Attributes:
      path: of the file.
      classes: (class, probability) pairs.
    """

    path: Path
    classes: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        """One line."""
        shown = ", ".join(f"{name} {probability:.1%}" for name, probability in self.classes)
        return one_line(f"{legible(self.path)}: {shown}")


def top(classifier: Classifier, probabilities: np.ndarray, k: int) -> tuple[tuple[str, float], ...]:
    """The k most probable classes, or all where there are fewer; of equals the first."""
    order = np.argsort(-probabilities, kind="stable")[:k]
    return tuple((classifier.labels[index], float(probabilities[index])) for index in order)


def predict_files(
    classifier: Classifier,
    paths: Sequence[Path],
    top_k: int,
    batch_size: int = 32,
    on_error: str = "skip",
    warn: Callable[[str], None] = print,
    track: Track = no_tracking,
) -> Iterator[Prediction]:
    """Predicts files in their order, each read once; what cannot be read is left out.

    Args:
      classifier: of make_classifier.
      paths: of the files.
      top_k: classes of each.
      batch_size: images that are computed together.
      on_error: "skip" or "stop".
      warn: told in one line of a file that is left out.
      track: shows progress.

    Raises:
      UnreadableImage: a file cannot be read and on_error is "stop".
    """
    images = decode_photos(paths, classifier.geometry, classifier.channels, classifier.upright)
    tracked = track(images, len(paths), "images")
    for found in predict_images(classifier, tracked, batch_size_for(len(paths), batch_size)):
        if isinstance(found, UnreadableImage):
            leave_out(found, on_error, warn)
            continue
        row, probabilities = found
        yield Prediction(paths[row], top(classifier, probabilities, top_k))
