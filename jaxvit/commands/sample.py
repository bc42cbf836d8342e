"""python -m jaxvit sample RUN --out DIR: images that a trained generator makes."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import arg

from jaxvit.cleanup import whole_directory, whole_file
from jaxvit.commands import arguments as cli
from jaxvit.config import count, option, require, within
from jaxvit.errors import UserError
from jaxvit.interop.load import inside_run
from jaxvit.interop.saved_generator import SavedGenerator, load_generator
from jaxvit.paths import check_writable, user_path
from jaxvit.runtime.cpu import divide_cpu
from jaxvit.tasks.samples import make_samples, sampling_of, save_images

Class = Annotated[str | None, arg(name="class", metavar="NAME")]


@dataclass(frozen=True)
class Options:
    """Images of a run of gan or diffusion, the same but for rounding whatever --batch-size is."""

    run: cli.Run  # The directory of a run.
    # DIR/<class>/*.png, or DIR/*.png of a run without classes, or one file, FILE.npz: nothing that
    # is there already.
    out: str = option()
    n: int = option(64, count(1, 10**6))  # How many.
    class_name: Class = None  # Images of this class alone; otherwise of each in turn.
    seed: int = option(0, within(0, 2**32 - 1))  # Fixes what each image is made from.
    # Of diffusion: steps of DDIM, in place of the run's; 0 takes all, by the ancestral sampler.
    steps: int | None = option(None, count(0, 10**5))
    eta: float = option(0.0, within(0, 1))  # Of DDIM: how much noise is added on the way.
    # Of diffusion with classes: weight of the class, in place of the run's.
    guidance: float | None = option(None, within(0, 100))
    batch_size: int = option(256, count(1, 2**16))  # Images that are made together.


def run(options: Options) -> int:
    """Writes the images, all or none, and says where.

    Raises:
      UserError: RUN makes no images, has no such class, or --out is there or cannot be written.
    """
    out = user_path("out", options.out)
    require(not out.exists(), f"--out {out} exists already: choose another name, or remove it")
    around = inside_run(out)
    require(around is None, f"--out {out} lies in the run {around}: choose another place")
    check_writable("out", out)
    divide_cpu(one_per_core=True)
    saved = load_generator(user_path("RUN", options.run), cli.to_stderr)
    sampling = sampling_of(saved.config, options.steps, options.eta, options.guidance)
    labels = _labels(options, saved)
    cli.cache_programs()
    began, track = time.perf_counter(), cli.show_progress()
    with _written_whole(out) as place:  # before the work: it may not be writable
        images = make_samples(saved, labels, options.seed, sampling, options.batch_size, track)
        names = saved.class_names if saved.config.model.conditional else None
        if out.suffix == ".npz":
            classes = {} if names is None else {"labels": labels, "class_names": names}
            with place.open("wb") as file:
                np.savez_compressed(file, images=images, **classes)
        else:
            save_images(place, images, labels, names)
    seconds = time.perf_counter() - began
    cli.to_stderr(f"{len(images):,} images in {out}; {len(images) / seconds:,.1f} images/s")
    return 0


@contextlib.contextmanager
def _written_whole(out: Path) -> Iterator[Path]:
    """A file or an empty directory that becomes `out` when the block ends without an error."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".npz":
            with whole_file(out) as partial:
                partial.touch()
                yield partial
        else:
            with whole_directory(out) as staging:
                yield staging
    except OSError as error:
        raise UserError(
            f"--out {out} cannot be written ({error.strerror or error}): choose another place"
        ) from error


def _labels(options: Options, saved: SavedGenerator) -> np.ndarray:
    """The class of each image, int32 (N,); zeros for a run without classes."""
    names, conditional = saved.class_names, saved.config.model.conditional
    if options.class_name is None:
        return np.arange(options.n, dtype=np.int32) % (len(names) if conditional else 1)
    require(
        conditional,
        f"--class {options.class_name}: {options.run} makes images without a class: leave it out",
    )
    if options.class_name not in names:
        raise UserError(
            f"--class {options.class_name} is none of {options.run}: give one of {', '.join(names)}"
        )
    return np.full(options.n, names.index(options.class_name), np.int32)
