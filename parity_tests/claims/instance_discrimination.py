"""Claim 17: instance discrimination is the twin's, on vit-pytorch's model."""

import jax
import numpy as np
import torch

from jaxvit.models.configured import make_model
from jaxvit.models.instance_classifier import InstanceClassifier
from jaxvit.objectives.contrastive import contrastive_loss
from parity_tests.comparison import to_nhwc
from parity_tests.evidence import Evidence, Row, distance
from parity_tests.instance_discrimination.cases import (
    ALONE,
    CASES,
    INSTANCE_CASES,
    INSTANCE_PARTS,
    in_torch,
    instance_loss,
    instance_loss_in_torch,
)
from parity_tests.instance_discrimination.replayed import (
    BLOG,
    PROGRAMS,
    RUNS,
    SIZE,
    Z,
    train,
    twin_of,
)

TITLE = "Instance discrimination: both losses, the model, and a run from the same views"
INSTANCES, BATCH = 40, 64


def measure(quick: bool) -> Evidence:
    rows = [row for name in CASES if name != "one image" for row in losses(name)]
    rows += [row for name in INSTANCE_CASES if name != ALONE for row in instance_losses(name)]
    rows += outputs()
    steps = 15 if quick else 100
    for name, config in RUNS.items():
        run = train(config, steps)
        for what, values in (("losses", run.losses), ("final parameters", run.params)):
            found = (values[program] for program in PROGRAMS)
            rows.append(distance(f"{name}, {steps} steps: {what}", *found))
    notes = [
        "With one image there are no negatives, and with one instance nothing to tell apart: the "
        "losses and their gradients are exactly 0, two tests.",
        "Views are drawn in JAX and given to all three programs; that they are torchvision's is "
        "shown by parity_tests/instance_discrimination/test_views.py.",
    ]
    return Evidence(rows, notes=notes)


def losses(name: str) -> list[Row]:
    """L_CN and its gradients for both views."""
    (a, b), index, temperature = CASES[name]
    found = [
        contrastive_loss(a, b, index, temperature),
        *jax.grad(lambda a, b: contrastive_loss(a, b, index, temperature).mean(), argnums=(0, 1))(
            a, b
        ),
    ]
    single, double = (in_torch(name, dtype) for dtype in (torch.float32, torch.float64))
    parts = ("loss", "gradient of view A", "gradient of view B")
    return [
        distance(f"contrastive loss, {name}: {part}", *values)
        for part, *values in zip(parts, found, single, double, strict=True)
    ]


def instance_losses(name: str) -> list[Row]:
    """L_InsDis and its gradients for z and for the head, linear or of cosines."""
    single, double = (instance_loss_in_torch(name, kind) for kind in (torch.float32, torch.float64))
    return [
        distance(f"instance discrimination loss, {name}: {part}", *values)
        for part, *values in zip(INSTANCE_PARTS, instance_loss(name), single, double, strict=True)
    ]


def outputs() -> list[Row]:
    """z and the logits of all instances, of a batch of random images."""
    model = InstanceClassifier(make_model(BLOG.model, Z), INSTANCES, Z)
    params = model.init(jax.random.key(0), np.zeros((1, SIZE, SIZE, 3), np.float32))["params"]
    images = torch.randn(BATCH, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    found = model.apply({"params": params}, to_nhwc(images))
    single = twin_of(params, BLOG, INSTANCES).eval()
    with torch.no_grad():
        in_float32 = single(images)
        truth = single.double()(images.double())
    return [
        distance(f"vit-pytorch and a head of instances: {what}", *values)
        for what, *values in zip(("z", "logits"), found, in_float32, truth, strict=True)
    ]
