"""Claim 13: fine-tuning, step by step, in JAX and in PyTorch on timm's class.

From the same weights, on the same batches, with the draws of JAX's augmentation in both: the
recipe of AdamW with a rate for each layer, warm-up, cosine, clipping and smoothing, with and
without frozen layers. Where ../shared has them, DeiT-Tiny's weights and photographs of Pets are
used.

Of what the weights moved the root mean square is judged and not the maximum. Adam turns a gradient
near 0 into a full step whose sign is rounding, so that the largest of five million distances is
that of one such weight, and the ratio of two of them is chance: 2.7 in DeiT-Tiny with six frozen
layers, where that of the root mean squares is 1.4.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax.traverse_util import unflatten_dict
from PIL import Image

from jaxvit.config import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    AugmentConfig,
    Config,
    DataConfig,
    OptimConfig,
)
from jaxvit.data.preprocessing import Geometry
from jaxvit.interop.reading import read_layout, recognise
from jaxvit.models.transformer import VisionTransformer
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.tasks.classification import make_classification
from jaxvit.training.state import create_state
from jaxvit.training.steps import make_train_step, step_keys
from parity_tests.comparison import FLOOR, RATIO, SHARED, to_nchw
from parity_tests.evidence import Evidence, Row, distance, equal, error
from torch_ref.finetune import models, training
from torch_ref.finetune.groups import freeze, param_groups

TITLE = "Fine-tuning: rates by layer and frozen layers on timm's class, losses and weights"
WEIGHTS = SHARED / "weights" / "deit_tiny_patch16_224.safetensors"
PHOTOS = SHARED / "data" / "oxford-iiit-pet" / "images"
OPTIM = OptimConfig(
    lr=2e-4, layer_decay=0.75, head_lr=10.0, weight_decay=0.05, decay="matrices",
    schedule="cosine", warmup=0.1, clip_norm=1.0,
)  # fmt: skip
PROGRAMS = ("jax", "torch32", "torch64")
CLASSES = 7


class Start(NamedTuple):
    """Where both programs begin.

    Attributes:
      torch: timm's model, with a new head of zeros.
      jax: the same model.
      pixels, labels: uint8 (N, H, W, 3) and int32 (N,).
      batch_size, steps: of the run.
    """

    torch: torch.nn.Module
    jax: VisionTransformer
    pixels: np.ndarray
    labels: np.ndarray
    batch_size: int
    steps: int


def measure(quick: bool) -> Evidence:
    rows, notes = [], []
    starts = {"a small model": small(30 if quick else 200)}
    if not (WEIGHTS.is_file() and PHOTOS.is_dir()):
        notes.append("DeiT-Tiny was skipped: no weights or photographs in ../shared.")
    elif not quick:
        starts["DeiT-Tiny on Pets"] = deit_tiny()
    for title, start in starts.items():
        layers = start.jax.num_layers
        parts = ("none", f"{layers // 2} layers", "backbone")
        for part in parts[1:2] if quick else parts:
            rows += compare(f"{title}, frozen: {part}", start, replace(OPTIM, freeze=part))
    return Evidence(rows, {}, notes)


def small(steps: int) -> Start:
    import timm

    torch.manual_seed(0)
    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "num_heads": 3}
    model = timm.models.VisionTransformer(depth=4, num_classes=0, **sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, 64).astype(np.int32)
    pixels = (
        rng.integers(0, 200, (64, 16, 16, 3), np.uint8)
        + 8 * labels.astype(np.uint8)[:, None, None, None]
    )
    ours = VisionTransformer(num_layers=4, num_classes=CLASSES, dropout=0.0, norm_eps=1e-6, **sizes)
    return Start(models.replace_head(model, CLASSES), ours, pixels, labels, 16, steps)


def deit_tiny() -> Start:
    photos = sorted(PHOTOS.glob("*.jpg"))
    photos = photos[:: len(photos) // 48][:48]
    names = [photo.name.rpartition("_")[0] for photo in photos]
    classes = sorted(set(names))
    pixels = [Geometry(224).apply(Image.open(photo).convert("RGB")) for photo in photos]
    ours = VisionTransformer(
        img_size=224, embed_dim=192, num_heads=3, num_classes=len(classes), dropout=0.0,
        norm_eps=1e-6,
    )  # fmt: skip
    return Start(
        models.load_timm("deit_tiny_patch16_224", str(WEIGHTS), len(classes)),
        ours,
        np.stack(pixels),
        np.array([classes.index(name) for name in names], np.int32),
        batch_size=8,
        steps=12,
    )


def compare(title: str, start: Start, optim: OptimConfig) -> list[Row]:
    """Distances from float64 of the losses, of what the weights moved, and of the final logits."""
    config = Config(
        augment=AugmentConfig(crop_scale=(0.25, 1.0), flip_p=0.5),
        data=DataConfig(mean=IMAGENET_MEAN, std=IMAGENET_STD),
        optim=optim,
    )
    before = as_params(start.torch.state_dict())
    tx, schedule = make_optimizer(optim, start.steps)
    task = make_classification(start.jax, tx, schedule, config)
    task = task._replace(init=lambda key: (jax.tree.map(jnp.asarray, before), {}))
    state, step = create_state(task, config.seed), jax.jit(make_train_step(task, seed=config.seed))
    prepare = jax.jit(lambda number, batch: task.prepare(step_keys(config.seed, number)[0], batch))
    programs = {
        name: Program(start.torch, optim, start.steps, dtype)
        for name, dtype in (("torch32", torch.float32), ("torch64", torch.float64))
    }
    losses: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    rng = np.random.default_rng(0)
    for number in range(start.steps):
        rows = rng.choice(len(start.labels), start.batch_size, replace=False)
        batch = {"image": start.pixels[rows], "label": start.labels[rows]}
        inputs = jax.device_get(prepare(jnp.int32(number), batch))
        state, metrics = step(state, batch)
        losses["jax"].append(float(metrics["loss"]))
        for name, program in programs.items():
            losses[name].append(program.step(inputs["images"], inputs["targets"]))
    params = jax.device_get(state.params)
    weights = {"jax": params} | {
        name: as_params(program.model.state_dict()) for name, program in programs.items()
    }
    images = inputs["images"]
    logits = {"jax": jax.jit(start.jax.apply)({"params": params}, images)} | {
        name: program.logits(images) for name, program in programs.items()
    }
    moved = {name: vector(found) - vector(before) for name, found in weights.items()}
    frozen = [
        np.array_equal(a, b)
        for name in ("jax", "torch32")
        for (path, a), b in zip(
            jax.tree.leaves_with_path(before), jax.tree.leaves(weights[name]), strict=True
        )
        if is_frozen(path, optim.freeze)
    ]
    return [
        distance(f"{title}: loss of every step", *(losses[name] for name in PROGRAMS)),
        rms_distance(f"{title}: what the weights moved, without key biases", moved),
        distance(f"{title}: final logits", *(logits[name] for name in PROGRAMS)),
        equal(f"{title}: frozen weights", "arrays that moved", frozen.count(False)),
    ]


def rms_distance(quantity: str, values: Mapping[str, np.ndarray]) -> Row:
    """As parity_tests.evidence.distance, of the root mean squares alone."""
    ours, theirs = (error(values[name], values["torch64"])[1] for name in PROGRAMS[:2])
    ratio = ours / theirs if theirs else np.inf
    return Row(
        quantity,
        "ratio of rms errors",
        ratio,
        f"at most {RATIO:g}, or JAX within {FLOOR:g}",
        bool(ratio <= RATIO or ours <= FLOOR),
        {"jax_rms": ours, "torch_rms": theirs},
    )


class Program:
    """torch_ref's recipe, in one precision."""

    def __init__(self, model: torch.nn.Module, optim: OptimConfig, steps: int, dtype: torch.dtype):
        self.model = freeze(copy.deepcopy(model).to(dtype).train(), optim.freeze)
        self.dtype, self.clip_norm = dtype, optim.clip_norm
        groups = param_groups(
            self.model, optim.lr, optim.weight_decay, optim.layer_decay, optim.head_lr, "matrices"
        )
        self.optimizer, self.scheduler = training.adamw_with_cosine(
            groups, optim.lr, steps, optim.warmup
        )

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.tensor(np.asarray(array), dtype=self.dtype)

    def step(self, images: np.ndarray, targets: np.ndarray) -> float:
        """One update on normalised (B, H, W, C) images and smoothed targets."""
        images, targets = self.tensor(to_nchw(images)), self.tensor(targets)
        loss = training.train_step(
            self.model, self.optimizer, images, targets, clip_norm=self.clip_norm
        )
        self.scheduler.step()
        return loss

    @torch.no_grad()
    def logits(self, images: np.ndarray) -> np.ndarray:
        return self.model.eval()(self.tensor(to_nchw(images))).numpy()


def as_params(state_dict: Mapping[str, torch.Tensor]) -> dict:
    """Under our names; what is float64 stays so, as the sum of two conversions of float32."""

    def converted(tensors: dict[str, np.ndarray]) -> dict:
        flat = read_layout(tensors, recognise(tensors, "the model"), "the model").flat
        return unflatten_dict(flat, sep="/")

    tensors = {name: value.detach().numpy() for name, value in state_dict.items()}
    high = {name: value.astype(np.float32) for name, value in tensors.items()}
    if all(value.dtype == np.float32 for value in tensors.values()):
        return converted(high)
    low = {name: (value - high[name]).astype(np.float32) for name, value in tensors.items()}
    return jax.tree.map(lambda a, b: np.asarray(a, np.float64) + b, converted(high), converted(low))


def vector(params: dict) -> np.ndarray:
    """All parameters but the biases of the keys, whose gradients are rounding: see claim 9."""
    parts = []
    for path, leaf in jax.tree.leaves_with_path(params):
        if [entry.key for entry in path[-2:]] == ["qkv", "bias"]:
            query, _, value = np.split(leaf, 3)
            leaf = np.concatenate([query, value])
        parts.append(np.asarray(leaf, np.float64).ravel())
    return np.concatenate(parts)


def is_frozen(path, part: str) -> bool:
    names = [entry.key for entry in path]
    if part in ("none", "backbone"):
        return part == "backbone" and names[0] != "head"
    if names[0] == "transformer_encoder":
        return int(names[1].removeprefix("layers_")) < int(part.split()[0])
    return names[0] not in ("norm", "head")
