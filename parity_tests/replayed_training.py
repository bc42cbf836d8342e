"""One training run in three programs, step by step: JAX, PyTorch float32 and PyTorch float64.

All three start from the same weights and take the same batches in the same order. The JAX step
draws the augmentation and the dropout masks. torch_ref's code replays these draws.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from jaxvit.augment.cutmix import draw_cutmix
from jaxvit.augment.geometry import draw_flip
from jaxvit.augment.mixup import draw_mixup
from jaxvit.augment.normalize import normalize
from jaxvit.config import Config
from jaxvit.data.datasets import load_dataset
from jaxvit.data.decoded import Split
from jaxvit.data.loader import train_batches
from jaxvit.interop.torch_weights import state_dict_from_params
from jaxvit.models.configured import make_model
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.optim.schedules import warmup_steps
from jaxvit.tasks.classification import make_classification
from jaxvit.training.state import create_state
from jaxvit.training.steps import make_train_step, step_keys
from parity_tests.comparison import torch_twin
from parity_tests.replay import make_mask_recorder, replace_dropout
from torch_ref import training_pipeline
from torch_ref.cutmix import Cutmix, CutmixDraw
from torch_ref.mixup import Mixup, MixupDraw

PROGRAMS = ("jax", "torch32", "torch64")


@dataclass
class Curves:
    """The training losses, final metrics and final parameters, by program.

    Attributes:
      losses: the loss of every step, in nats, (steps,).
      accuracy: on the validation split after the last step, in [0, 1].
      val_loss: on the validation split after the last step, in nats.
      params: the final parameters as one vector, without the key biases. Softmax does not depend
        on a key bias, so its gradient is rounding only, which AdamW turns into full-size steps.
      repeats: how many steps had the same first dropout mask as the step before.
    """

    losses: dict[str, np.ndarray]
    accuracy: dict[str, float]
    val_loss: dict[str, float]
    params: dict[str, np.ndarray]
    repeats: int


class Draws(NamedTuple):
    """All random draws of one JAX training step; None for an augmentation that is off."""

    flip: jax.Array | None
    mixup: tuple | None
    cutmix: tuple | None
    masks: list[jax.Array]


def make_recorder(config: Config, model) -> Callable[..., Draws]:
    """Returns record(params, images, step) -> Draws: what augmentation and dropout draw then."""
    augment, record_masks = config.augment, make_mask_recorder(model)

    @jax.jit
    def record(params, images, step):
        key_prepare, key_loss = step_keys(config.seed, step)
        _, key_flip, _, key_mixup, key_cutmix, _ = jax.random.split(key_prepare, 6)
        batch, height, width, _ = images.shape
        return Draws(
            flip=draw_flip(key_flip, batch, augment.flip_p).flip if augment.flip_p else None,
            mixup=draw_mixup(key_mixup, batch, augment.mixup_alpha)
            if augment.mixup_alpha
            else None,
            cutmix=draw_cutmix(
                key_cutmix, batch, height, width, augment.cutmix_alpha, augment.cutmix_p
            )
            if augment.cutmix_alpha
            else None,
            masks=record_masks(params, images.astype(jnp.float32), key_loss),
        )

    return record


class TorchProgram:
    """The lab's model and training step, with given draws instead of its own."""

    def __init__(self, config: Config, model: torch.nn.Module, total_steps: int):
        self.config, self.model = config, model.train()
        self.num_classes = model.head.out_features
        self.masks = replace_dropout(model)
        optim = config.optim
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=optim.lr, weight_decay=optim.weight_decay
        )
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: training_pipeline.rate_factor(
                step, total_steps, optim.schedule, warmup_steps(optim, total_steps)
            ),
        )
        self.dtype = next(model.parameters()).dtype

    def images(self, pixels: np.ndarray) -> torch.Tensor:
        """uint8 (B, H, W, C) to normalised (B, C, H, W)."""
        data = self.config.data
        x = torch.tensor(pixels).permute(0, 3, 1, 2).to(self.dtype) / 255
        mean, std = (
            torch.tensor(v, dtype=self.dtype)[:, None, None] for v in (data.mean, data.std)
        )
        return (x - mean) / std

    def step(self, batch: dict[str, np.ndarray], draws: Draws) -> float:
        """One update; returns the loss before it, in nats."""
        images, labels = self.images(batch["image"]), torch.tensor(batch["label"]).long()
        if draws.flip is not None:
            flip = torch.tensor(np.asarray(draws.flip))[:, None, None, None]
            images = torch.where(flip, images.flip(3), images)
        targets = F.one_hot(labels, self.num_classes).to(self.dtype)
        if draws.mixup is not None:
            lam, partner = (torch.tensor(np.asarray(x)) for x in draws.mixup)
            images, targets = Mixup(self.num_classes).apply(
                images, labels, MixupDraw(lam.to(self.dtype), partner.long())
            )
        if draws.cutmix is not None:
            partner = torch.tensor(np.asarray(draws.cutmix.partner)).long()
            boxes = torch.tensor(np.stack(draws.cutmix.box, -1)).long()
            images, a, b, lam = Cutmix().apply(images, labels, CutmixDraw(partner, boxes))
            lam = lam[:, None].to(self.dtype)
            targets = lam * F.one_hot(a, self.num_classes) + (1 - lam) * F.one_hot(
                b, self.num_classes
            )
        targets = training_pipeline.smooth_labels(targets, self.config.label_smoothing)
        self.masks.load(draws.masks)
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(images), targets)
        loss.backward()
        if self.config.optim.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip_norm)
        self.optimizer.step()
        self.scheduler.step()
        return loss.item()

    def score(self, split: Split) -> tuple[float, float]:
        """Accuracy and mean cross-entropy of a split; leaves the model in evaluation mode."""
        batch = split.take(np.arange(len(split)))
        labels = torch.tensor(batch["label"]).long()
        with torch.no_grad():
            logits = self.model.eval()(self.images(batch["image"]))
        right = (logits.argmax(1) == labels).double().mean()
        return float(right), float(F.cross_entropy(logits.double(), labels))


def without_key_biases(weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """All parameters of a state_dict as one vector, without the key biases: see Curves."""

    def seen(name: str, weight: np.ndarray) -> np.ndarray:
        if not name.endswith("qkv.bias"):
            return weight.ravel()
        query, _, value = np.split(weight, 3)
        return np.concatenate([query, value])

    return np.concatenate([seen(name, weights[name]) for name in sorted(weights)])


def train(config: Config, steps: int) -> Curves:
    """Trains the three programs for `steps` steps, each on the same batch at every step."""
    data = load_dataset(config.data, config.model.img_size, config.model.in_channels)
    num_classes = len(data.class_names)
    model = make_model(config.model, num_classes)
    task = make_classification(model, *make_optimizer(config.optim, steps), config)
    state = create_state(task, config.seed)
    params = state.params
    torch_model = torch_twin(config.model, params)
    programs = {"torch32": torch_model, "torch64": copy.deepcopy(torch_model).double()}
    programs = {name: TorchProgram(config, m, steps) for name, m in programs.items()}

    record = make_recorder(config, model)
    train_step = jax.jit(make_train_step(task, seed=config.seed))
    batches = train_batches(data.train, config.batch_size, config.seed)
    losses: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    repeats, dropped = 0, None
    for step in range(steps):
        batch = next(batches)
        draws = jax.device_get(record(params, batch["image"], jnp.int32(step)))
        repeats += np.array_equal(draws.masks[0], dropped)
        dropped = draws.masks[0]
        state, metrics = train_step(state, batch)
        losses["jax"].append(float(metrics["loss"]))
        for name, program in programs.items():
            losses[name].append(program.step(batch, draws))

    val = data.val.take(np.arange(len(data.val)))
    images = normalize(jnp.asarray(val["image"]), config.data.mean, config.data.std)
    logits = np.asarray(jax.jit(model.apply)({"params": state.params}, images), np.float64)
    labels = val["label"]
    scores = {
        "jax": (
            float((logits.argmax(1) == labels).mean()),
            float(F.cross_entropy(torch.tensor(logits), torch.tensor(labels).long())),
        )
    } | {name: program.score(data.val) for name, program in programs.items()}
    weights = {"jax": state_dict_from_params(jax.device_get(state.params))} | {
        name: {key: value.numpy() for key, value in program.model.state_dict().items()}
        for name, program in programs.items()
    }
    return Curves(
        losses={name: np.array(values) for name, values in losses.items()},
        accuracy={name: score[0] for name, score in scores.items()},
        val_loss={name: score[1] for name, score in scores.items()},
        params={name: without_key_biases(value) for name, value in weights.items()},
        repeats=repeats,
    )
