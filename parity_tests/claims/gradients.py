"""Claim 2: gradients of every parameter and of the image, with smoothed and mixed targets."""

import copy

import jax
import jax.numpy as jnp
import torch

from jaxvit.augment.mixup import MixupDraw, apply_mixup
from jaxvit.interop.torch_weights import state_dict_from_params
from jaxvit.objectives.losses import soft_target_cross_entropy
from jaxvit.objectives.targets import smooth_labels
from parity_tests.claims.forward import VIT_B16
from parity_tests.comparison import to_nchw, to_nhwc, twins
from parity_tests.evidence import Evidence, distance
from torch_ref import training_pipeline
from torch_ref.mixup import Mixup

TITLE = "Gradients: of every parameter and of the image"
SMOOTHING = 0.1


def torch_gradients(model, mixup, images, labels, draw) -> dict:
    """The gradients under PyTorch's names, "image" and "loss", for a recorded Mixup draw."""
    model = model.train()
    model.zero_grad()
    images = images.clone().requires_grad_()
    mixed, targets = mixup.apply(images, labels, draw)
    logits = model(mixed)
    targets = training_pipeline.smooth_labels(targets, SMOOTHING)
    loss = torch.nn.CrossEntropyLoss()(logits, targets)
    loss.backward()
    return {name: p.grad.numpy() for name, p in model.named_parameters()} | {
        "image": images.grad.numpy(),
        "loss": loss.detach().numpy(),
    }


def jax_gradients(model, params, images, labels, draw) -> dict:
    """The same from JAX."""

    @jax.jit
    def run(params, images):
        def mean_loss(params, images):
            targets = smooth_labels(labels, model.num_classes, SMOOTHING)
            mixed, targets = apply_mixup(images, targets, draw)
            logits = model.apply({"params": params}, mixed, deterministic=False)
            return soft_target_cross_entropy(logits, targets).mean()

        return jax.value_and_grad(mean_loss, argnums=(0, 1))(params, images)

    loss, (by_params, by_images) = run(params, images)
    return state_dict_from_params(by_params) | {"image": to_nchw(by_images), "loss": loss}


def measure(quick: bool) -> Evidence:
    rows = []
    shapes = {"small": ({}, 6)}
    if not quick:
        shapes["ViT-B/16"] = (VIT_B16, 2)
    for shape, (options, batch) in shapes.items():
        torch_model, jax_model, params = twins(dropout=0.0, **options)
        side = torch_model.patch_embedding.img_size
        num_classes = jax_model.num_classes
        images, labels = torch.randn(batch, 3, side, side), torch.arange(batch) % num_classes
        mixup = Mixup(num_classes)
        draw = mixup.draw(batch)._replace(partner=torch.roll(torch.arange(batch), 1))
        theirs = torch_gradients(torch_model, mixup, images, labels, draw)
        truth = torch_gradients(
            copy.deepcopy(torch_model).double(), mixup, images.double(), labels, draw
        )
        ours = jax_gradients(
            jax_model,
            params,
            to_nhwc(images),
            jnp.asarray(labels.int().numpy()),
            MixupDraw(jnp.float32(draw.lam), jnp.asarray(draw.partner.int().numpy())),
        )
        if ours.keys() != theirs.keys():
            raise AssertionError(f"parameters differ: {sorted(ours.keys() ^ theirs.keys())}")
        rows += [distance(f"{shape}: {n}", ours[n], theirs[n], truth[n]) for n in truth]
    return Evidence(rows)
