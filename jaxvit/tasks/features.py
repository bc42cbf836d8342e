"""The features of a frozen backbone, computed once and cached: only the head is left to train."""

import contextlib
import hashlib
import zlib
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxvit.augment.normalize import normalize
from jaxvit.cleanup import whole_file
from jaxvit.config import Config
from jaxvit.data.cache import Track
from jaxvit.data.datasets import load_dataset
from jaxvit.data.decoded import SPLITS, Dataset, Split
from jaxvit.interop.pretrained import Pretrained
from jaxvit.interop.starting_point import load_backbone
from jaxvit.models.variables import joined, variables_of
from jaxvit.paths import user_path
from jaxvit.runtime.devices import Devices
from jaxvit.runtime.digest import sha256
from jaxvit.runtime.distributed import is_main, largest
from jaxvit.tasks.extra_images import with_sampled
from jaxvit.training.evaluate import make_score
from jaxvit.training.task import Task

FORMAT = 1  # to be increased whenever the same images and weights would give other features
BATCH_ON_CPU, BATCH = 8, 64  # images, over all devices; on a CPU larger batches are slower


def load_data(config: Config, devices: Devices, track: Track) -> Dataset:
    """The three splits of a run, decoded, with features where it caches them.

    Raises:
      UserError: see jaxvit.data.datasets.load_dataset and add_features.
    """
    data_config = with_sampled(config.data, track)
    data = load_dataset(data_config, config.model.img_size, config.model.in_channels, track)
    return add_features(data, config, devices, track) if config.data.cache_features else data


def add_features(data: Dataset, config: Config, devices: Devices, track: Track) -> Dataset:
    """The same splits with features, from the cache or computed with a bar for each split.

    A file in the cache is named by a hash of the weights, the model, the pixels and their
    normalisation. It is verified by a CRC-32, and computed again where that does not fit.

    Args:
      data: decoded as for scoring.
      config: of the run: init, model, mean and std of the data, and the cache's directory.
      devices: where they are computed.
      track: shows progress.

    Raises:
      UserError: the weights cannot be read. A cache that cannot be written is no error: they are
        computed again the next time.
    """
    found = load_backbone(config, config.model.img_size)
    if config.model.is_vit and config.model.pool != found.model_config.pool:
        found = found._replace(model=found.model.clone(pool=config.model.pool))
    splits = {name: getattr(data, name) for name in SPLITS}
    cache = user_path("data.cache-dir", config.data.cache_dir)
    seen_as = f"{found.model} {config.data.mean} {config.data.std}"
    described = f"{FORMAT} {sha256(found.params)} {seen_as}"
    files = {name: cache / _file_name(described, split) for name, split in splits.items()}
    features = {name: _read(files[name], len(split)) for name, split in splits.items()}
    compute = None
    for name in SPLITS:
        if largest(int(features[name] is None)):  # in one process at least: all compute together
            compute = compute or _make_compute(found, config, devices)
            features[name] = compute(splits[name], track, name)
            if is_main():
                _write(files[name], features[name])
    return data._replace(
        **{name: replace(split, features=features[name]) for name, split in splits.items()}
    )


def _make_compute(found: Pretrained, config: Config, devices: Devices):
    """(split, track, name) -> float32 (N, F)."""
    mean, std = config.data.mean, config.data.std

    def score(weights, key: jax.Array, batch: dict):
        images = normalize(batch["image"], mean, std)
        return {}, found.model.apply(variables_of(weights), images, deterministic=True)

    task = Task(
        init=lambda key: ({}, {}),
        prepare=lambda key, batch: batch,
        phases=(),
        weights=joined,
        score=score,
        metrics=lambda counts: {},
        monitor=(),
        headline=(),
    )
    batch_size = batch_size_for(devices.count)
    run = make_score(task, devices, batch_size, seed=0)
    weights = devices.replicate(jax.tree.map(jnp.asarray, found.params))

    def compute(split: Split, track: Track, name: str) -> np.ndarray:
        starts = range(0, len(split), batch_size)
        parts = []
        for start in track(starts, len(starts), f"features of {name}, batches of {batch_size}"):
            rows = slice(start, start + batch_size)
            part = replace(split, rows=split.rows[rows], labels=split.labels[rows])
            parts.append(run(weights, part).outputs)
        return np.concatenate(parts)

    return compute


def batch_size_for(devices: int) -> int:
    """Images over all devices: a multiple of their number.

    Example:
      >>> batch_size_for(devices=3)  # on a CPU
      9
    """
    least = BATCH_ON_CPU if jax.default_backend() == "cpu" else BATCH
    return -(-least // devices) * devices


def _file_name(described: str, split: Split) -> str:
    digest = hashlib.sha256(described.encode())
    digest.update(split.crc32.tobytes())
    return f"features-{digest.hexdigest()[:32]}.npz"


def _read(file: Path, rows: int) -> np.ndarray | None:
    try:
        with np.load(file, allow_pickle=False) as saved:
            features, crc32 = saved["features"], int(saved["crc32"])
    except Exception:  # a parser may raise anything on damaged bytes; mostly there is no file
        return None
    whole = features.ndim == 2 and len(features) == rows and features.dtype == np.float32
    return features if whole and zlib.crc32(features.tobytes()) == crc32 else None


def _write(file: Path, features: np.ndarray) -> None:
    with contextlib.suppress(OSError), whole_file(file) as partial, partial.open("wb") as opened:
        np.savez(opened, features=features, crc32=zlib.crc32(features.tobytes()))
