"""Images that a saved generator makes, and the files that they are kept in."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from PIL import Image

from jaxvit.config import Config, require
from jaxvit.data.cache import Track, no_tracking
from jaxvit.interop.saved_generator import SavedGenerator
from jaxvit.runtime.compiler import compiler_options
from jaxvit.runtime.devices import AXIS
from jaxvit.tasks.generation import row_keys
from jaxvit.tasks.sampling import Sampling, make_sampler

DIGITS = 5  # of a file's number


def sampling_of(
    config: Config, steps: int | None = None, eta: float = 0.0, guidance: float | None = None
) -> Sampling | None:
    """How a run is sampled from: as its configuration says, but for what is given.

    Args:
      config: of a run that makes images.
      steps, guidance: of Sampling, or None.
      eta: of Sampling.

    Returns:
      None for a GAN.

    Raises:
      UserError: the run has no such option, or a value does not fit it.
    """
    if config.method == "gan":
        require(
            (steps, eta, guidance) == (None, 0.0, None),
            f"--steps, --eta and --guidance are of diffusion, and {config.out} is a GAN: leave "
            "them out",
        )
        return None
    options = config.diffusion
    found = Sampling(
        options.sample_steps if steps is None else steps,
        eta,
        options.guidance if guidance is None else guidance,
    )
    require(
        eta == 0 or found.steps > 0,
        f"--eta {eta:g} is of DDIM, and --steps 0 takes the ancestral sampler: leave one of them "
        "out",
    )
    require(
        found.steps <= options.steps,
        f"--steps {found.steps} is more than the {options.steps} of the run: give at most as many",
    )
    require(
        found.guidance == 1 or (config.model.conditional and options.hide_class > 0),
        f"--guidance {found.guidance:g} needs a run with --model.conditional and "
        f"--diffusion.hide-class above 0, which {config.out} is not: leave it out",
    )
    return found


def make_samples(
    saved: SavedGenerator,
    labels: np.ndarray,
    seed: int,
    sampling: Sampling | None = None,
    batch_size: int = 256,
    track: Track = no_tracking,
) -> np.ndarray:
    """An image for each label: image i is made from fold_in(key(seed), i).

    Another size of batches, or number of devices, changes an image by rounding alone.

    Args:
      saved: of load_generator.
      labels: int32 (N,), classes; of no effect where images are made without one.
      seed: of what they are made from.
      sampling: of a diffusion model; None for what the run's configuration says.
      batch_size: images that are made together, at least one on each device of this process.
      track: shows progress.

    Returns:
      uint8 (N, H, W, C).
    """
    batch, number = compile_batch(saved, seed, sampling), len(labels)
    devices, made = jax.local_device_count(), []
    size = -(-min(batch_size, number) // devices) * devices
    starts = range(0, number, size)
    for start in track(starts, len(starts), "batches of images"):
        rows = np.minimum(np.arange(start, start + size), number - 1)  # one program for all
        made.append(np.asarray(batch(rows, labels[rows])))
    return np.concatenate(made)[:number]


def compile_batch(
    saved: SavedGenerator, seed: int, sampling: Sampling | None = None
) -> Callable[[np.ndarray, np.ndarray], jax.Array]:
    """(numbers (B,), classes (B,)) -> uint8 images (B, H, W, C), compiled for each B.

    B is a multiple of the devices of this process. Each computes its part alone: partitioned by XLA
    instead, guidance's two passes would exchange images between the devices at every step.

    Args:
      saved, seed, sampling: as make_samples takes them.
    """
    sampler = make_sampler(saved.model, saved.config, sampling)
    mesh = Mesh(np.asarray(jax.local_devices()), (AXIS,))

    def batch(weights, rows: jax.Array, of: jax.Array) -> jax.Array:
        return sampler(weights, row_keys(jax.random.key(seed), rows), of)

    parts = jax.shard_map(
        batch, mesh=mesh, in_specs=(P(), P(AXIS), P(AXIS)), out_specs=P(AXIS), check_vma=False
    )
    options = saved.config.model.convolves, mesh.size
    compiled = jax.jit(parts, compiler_options=compiler_options(*options))
    return partial(compiled, jax.device_put(saved.weights, NamedSharding(mesh, P())))


def save_images(
    root: Path, images: np.ndarray, labels: np.ndarray, class_names: Sequence[str] | None
) -> None:
    """ROOT/<class>/00000.png, or ROOT/00000.png without classes; the number is that of the image.

    Args:
      root: an empty directory.
      images: uint8 (N, H, W, C).
      labels: (N,), classes; zeros without them.
      class_names: K names, or None.

    Raises:
      OSError: one cannot be written.
    """
    files = image_files(labels, class_names)
    if class_names is not None:
        # Made once: a signal moves them away, and what is written afterwards fails.
        for label in np.unique(labels):
            (root / _folder(class_names[label])).mkdir()
    for image, file in zip(images, files, strict=True):
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        picture.save(root / file)


def image_files(labels: np.ndarray, class_names: Sequence[str] | None) -> list[str]:
    """The names of files of save_images below its directory, in the order of the images."""
    folders = [""] if class_names is None else [f"{_folder(name)}/" for name in class_names]
    return [f"{folders[label]}{number:0{DIGITS}d}.png" for number, label in enumerate(labels)]


def _folder(class_name: str) -> str:
    return class_name.replace("/", "_")
