"""Claim 3: outputs and gradients agree in training mode when PyTorch replays JAX's masks."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import torch

from jaxvit.interop.torch_weights import state_dict_from_params
from jaxvit.objectives.losses import soft_target_cross_entropy
from jaxvit.objectives.targets import smooth_labels
from parity_tests.comparison import to_nhwc, twins
from parity_tests.evidence import Evidence, Row, distance, equal
from parity_tests.replay import make_mask_recorder, replace_dropout

TITLE = "Dropout: outputs and gradients in training mode, masks drawn by JAX replayed in PyTorch"
RATE, BATCH = 0.3, 8
EACH = {
    "dropout": 0.1, "activation_dropout": 0.2, "attention_dropout": 0.3, "projection_dropout": 0.15,
    "embedding_dropout": 0.25, "drop_path": 0.4, "layer_scale": 0.5,
}  # fmt: skip
SIGMAS = 5  # limit of the mask statistics, in standard errors


def measure(quick: bool) -> Evidence:
    # Masks of two layers are compared, and the last one's have other shapes.
    rows, masks = compared("", {"dropout": RATE, "num_layers": 3 if quick else 4})
    others, _ = compared("every kind: ", EACH | {"num_layers": 2 if quick else 4})
    return Evidence(rows + others + mask_rows(masks, BATCH))


def compared(what: str, options: dict) -> tuple[list[Row], list]:
    """Logits and gradients of a model in training mode, and the masks that were drawn."""
    torch_model, jax_model, params = twins(**options)
    images, labels = torch.randn(BATCH, 3, 16, 16), torch.arange(BATCH) % 7
    inputs, key = to_nhwc(images), jax.random.key(3)
    masks = make_mask_recorder(jax_model)(params, inputs, key)

    def in_torch(model, images):
        replace_dropout(model.train()).load(masks)
        logits = model(images)
        torch.nn.CrossEntropyLoss()(logits, labels).backward()
        return {"logits": logits.detach().numpy()} | {
            name: p.grad.numpy() for name, p in model.named_parameters()
        }

    @jax.jit
    def in_jax(params):
        def mean_loss(params):
            logits = jax_model.apply(
                {"params": params}, inputs, deterministic=False, rngs={"dropout": key}
            )
            targets = smooth_labels(jnp.asarray(labels.int().numpy()), 7)
            return soft_target_cross_entropy(logits, targets).mean(), logits

        return jax.grad(mean_loss, has_aux=True)(params)

    grads, logits = in_jax(params)
    ours = {"logits": logits} | state_dict_from_params(grads)
    truth = in_torch(copy.deepcopy(torch_model).double(), images.double())
    theirs = in_torch(torch_model, images)
    return [distance(what + n, ours[n], theirs[n], truth[n]) for n in truth], masks


def mask_rows(masks, batch: int) -> list[Row]:
    """Statistics of the masks: the fraction of dropped units, and correlations between masks."""
    flat = [np.asarray(mask).ravel() for mask in masks]
    every = np.concatenate(flat)
    share = 1 - every.mean()
    sigma = (RATE * (1 - RATE) / every.size) ** 0.5
    pairs = [
        np.corrcoef(a, b)[0, 1] * len(a) ** 0.5
        for i, a in enumerate(flat)
        for b in flat[i + 1 :]
        if a.shape == b.shape
    ]
    rows_alike = [
        np.corrcoef(mask[i], mask[i + 1])[0, 1] * mask[0].size ** 0.5
        for mask in (np.asarray(mask).reshape(batch, -1) for mask in masks)
        for i in range(batch - 1)
    ]

    def within(quantity: str, value: float, limit: float) -> Row:
        return Row(quantity, "standard errors", value, f"at most {limit}", bool(value <= limit))

    return [
        equal("masks that have a row for each example", "other masks",
              sum(mask.ndim != 3 or len(mask) != batch for mask in masks)),
        within("fraction of units dropped, from the rate", abs(share - RATE) / sigma, SIGMAS),
        within("largest correlation between two masks", max(map(abs, pairs)), SIGMAS),
        within("largest correlation between examples' masks", max(map(abs, rows_alike)), SIGMAS),
    ]  # fmt: skip
