"""Batches for both losses, also extreme ones, and the losses in JAX and in PyTorch."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen as nn

from jaxvit.models.instance_classifier import InstanceClassifier as InstanceNetwork
from jaxvit.objectives.losses import soft_target_cross_entropy
from jaxvit.objectives.targets import smooth_labels
from torch_ref.instance_discrimination import contrastive as twin
from torch_ref.instance_discrimination.instance_classifier import InstanceClassifier


def views(batch: int, width: int = 10, scale: float = 1.0, seed: int = 0) -> tuple:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(batch, width)) * scale
    b = a + 0.5 * scale * rng.normal(size=(batch, width))
    return a.astype(np.float32), b.astype(np.float32)


CASES = {
    "a batch": (views(32), np.arange(32), 1.0),
    "a low temperature": (views(32), np.arange(32), 0.01),
    "large features": (views(16, scale=1e4), np.arange(16), 1.0),
    "duplicates": (views(12), np.array([3, 1, 3, 2, 9, 9, 9, 0, 5, 6, 7, 8]), 0.5),
    "one image": (views(1), np.array([7]), 1.0),
    "two images": (views(2), np.array([7, 2]), 1.0),
    "identical views": ((views(8)[0], views(8)[0]), np.arange(8), 0.1),
}


def in_torch(name: str, dtype: torch.dtype) -> list[np.ndarray]:
    (a, b), index, temperature = CASES[name]
    a, b = (torch.tensor(each, dtype=dtype, requires_grad=True) for each in (a, b))
    loss = twin.contrastive_loss(a, b, torch.tensor(index), temperature)
    loss.mean().backward()
    return [each.detach().numpy() for each in (loss, a.grad, b.grad)]


class Instances(NamedTuple):
    """A batch for L_InsDis.

    Attributes:
      z: (B, D), what the head sees.
      bank: (N, D), a vector for each instance: of the linear head, whose biases are 0, or of
        cosines.
      index: (B,), in [0, N).
      temperature: of cosines; None for the linear head.
      smoothing: eps of the labels.
    """

    z: np.ndarray
    bank: np.ndarray
    index: np.ndarray
    temperature: float | None = None
    smoothing: float = 0.0


def instances(batch: int, number: int, scale: float = 1.0, **options) -> Instances:
    z, _ = views(batch, scale=scale)
    bank, _ = views(number, seed=1)
    rows = np.random.default_rng(2).permutation(max(batch, number))[:batch] % number
    return Instances(z, bank, options.pop("index", rows), **options)


# With one instance there is nothing to tell apart: loss and gradients are 0.
ALONE = "one instance"
INSTANCE_CASES = {
    "a batch": instances(32, 40),
    "smoothing": instances(32, 40, smoothing=0.1),
    "large logits": instances(32, 40, scale=100.0),
    "duplicates": instances(6, 40, index=np.array([3, 1, 3, 39, 3, 0])),
    ALONE: instances(4, 1),
    "two instances": instances(32, 2),
    "cosines": instances(32, 40, temperature=0.2),
    "cosines at a low temperature": instances(32, 40, temperature=0.01),
    "cosines of two instances": instances(32, 2, temperature=0.2, smoothing=0.1),
}
INSTANCE_PARTS = ("loss", "gradient of z", "gradient of the head")


def instance_loss(name: str) -> list[np.ndarray]:
    """L_InsDis of each image, (B,), and gradients of their mean for z and the head's vectors."""
    z, bank, index, temperature, smoothing = INSTANCE_CASES[name]
    head = InstanceNetwork(Itself(), *bank.shape, temperature=temperature)

    def loss(z: jax.Array, bank: jax.Array) -> tuple[jax.Array, jax.Array]:
        linear = {"instances": {"kernel": bank.T, "bias": jnp.zeros(len(bank))}}
        params = linear if temperature is None else {"bank": bank}
        _, logits = head.apply({"params": params}, z[:, None, None])
        targets = smooth_labels(index, len(bank), smoothing)
        losses = soft_target_cross_entropy(logits, targets)
        return losses.mean(), losses

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    grads, losses = gradients(jnp.asarray(z), jnp.asarray(bank))
    return [np.asarray(each) for each in (losses, *grads)]


def instance_loss_in_torch(name: str, dtype: torch.dtype) -> list[np.ndarray]:
    z, bank, index, temperature, smoothing = INSTANCE_CASES[name]
    head = InstanceClassifier(torch.nn.Identity(), bank.shape[1], len(bank), temperature).to(dtype)
    vectors = head.instances.weight if temperature is None else head.bank
    with torch.no_grad():
        vectors.copy_(torch.tensor(bank))
        if temperature is None:
            head.instances.bias.zero_()
    z = torch.tensor(z, dtype=dtype, requires_grad=True)
    logits = head.logits(z)
    twin.instance_discrimination_loss(logits, torch.tensor(index), smoothing).backward()
    losses = torch.stack(
        [
            twin.instance_discrimination_loss(row[None], torch.tensor([of]), smoothing)
            for row, of in zip(logits, index, strict=True)
        ]
    )
    return [each.detach().numpy() for each in (losses, z.grad, vectors.grad)]


class Itself(nn.Module):
    """A backbone whose z are its images, of one pixel."""

    def __call__(self, x: jax.Array, deterministic: bool = True) -> jax.Array:
        return x[:, 0, 0]
