"""Claim 15: ResNet-18 with its BatchNorm, and the attention blocks behind it, are the twins'."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import jax
import numpy as np
import torch

from jaxvit.models.attention_blocks import graph_weights, reference_graph_weights
from jaxvit.models.resnet import ResNet as JaxResNet
from parity_tests.evidence import Evidence, Row, distance
from parity_tests.survey.small_models import (
    CLASSES,
    block_twins,
    distances,
    ported,
    random_batch,
    to_torch,
    whole_twins,
    with_noise,
)
from torch_ref.survey.attention_blocks import GraphAttention
from torch_ref.survey.resnet import LAYERS, ResNet

TITLE = "ResNet-18, its BatchNorm over 50 steps, and attention blocks, classic and graph"
STEPS = 50
DRAWS = 5  # batches of a whole ResNet
BLOCKS = {
    "six heads, 2 x 2": {"num_heads": 6, "img_size": 4, "patch_size": 2},
    "one head, 1 x 1": {"num_heads": 1, "img_size": 3, "patch_size": 1, "mlp_ratio": 1.5},
}


def measure(quick: bool) -> Evidence:
    rows = []
    for attention in ("classic", "graph"):
        for title, options in BLOCKS.items():
            twins = block_twins(attention, **options)
            maps = random_batch(6, twins[1].img_size, 10)
            rows += distances(f"{attention} block, {title}", *twins, maps)
    for stem, side in [("cifar", 16), ("imagenet", 64)][: 1 if quick else 2]:
        title = f"ResNet-18, stem {stem}, {side} pixels"
        twins = resnet_twins(stem, side)
        draws = [
            distances(title, *twins, random_batch(8, side, seed=seed))
            for seed in range(1 if quick else DRAWS)
        ]
        rows += [middle(each) for each in zip(*draws, strict=True)]
    if quick:
        rows += after_batches("a ResNet of four blocks", *resnet_twins("cifar", 8, (1, 1, 1, 1)))
    else:
        rows += after_batches("ResNet-18", *resnet_twins("cifar", 16))
    wholes = list(product(("graph", "classic"), (False, True)))
    for attention, frozen in wholes[:1] if quick else wholes:
        depth = {} if quick else {"layers": LAYERS["resnet18"]}
        title = f"{attention} block, {'frozen' if frozen else 'together with a'} ResNet"
        rows += distances(title, *whole_twins(attention, frozen, **depth), random_batch(8, 16))
    return Evidence([*rows, naive_row()])


def middle(draws: Sequence[Row]) -> Row:
    """The median of a quantity's rows, one for each batch.

    Of so many activations one may lie within float32's rounding of ReLU's kink, on either side of
    it: then the gradient of that batch is off by 1 % in one framework, in either.
    """
    row = sorted(draws, key=lambda row: row.value)[len(draws) // 2]
    return replace(row, quantity=f"{row.quantity}, median of {len(draws)} batches")


def resnet_twins(stem: str, side: int, layers: tuple[int, ...] = LAYERS["resnet18"]):
    torch.manual_seed(0)
    model = with_noise(ResNet(layers, CLASSES, stem))
    ours = JaxResNet(layers, side, 3, CLASSES, stem)
    return model, ours, ported(model.state_dict())


def after_batches(title: str, model, jax_model, variables: dict) -> list[Row]:
    """What 50 batches in training move the running statistics, and logits that use these.

    The weights stay: with SGD at a rate of 1e-3 PyTorch's float32 and float64 part by a quarter of
    what the statistics moved, and a ratio of such distances says nothing.
    """
    batches = [random_batch(8, jax_model.img_size, seed=seed)[0] for seed in range(STEPS)]

    @torch.no_grad()
    def in_torch(dtype: torch.dtype) -> dict[str, np.ndarray]:
        twin = copy.deepcopy(model).to(dtype).train()
        for images in batches:
            twin(to_torch(images, dtype))
        logits = twin.eval()(to_torch(batches[0], dtype)).numpy()
        return collected(ported(twin.state_dict())["batch_stats"], logits)

    @jax.jit
    def step(variables: dict, images) -> dict:
        _, new = jax_model.apply(variables, images, False, mutable=["batch_stats"])
        return variables | new

    def collected(stats: dict, logits) -> dict[str, np.ndarray]:
        moved = jax.tree.map(
            lambda new, old: (np.float64(new) - old).ravel(), stats, variables["batch_stats"]
        )
        name = f"what the running statistics moved in {STEPS} steps"
        return {
            name: np.concatenate(jax.tree.leaves(moved)),
            "evaluation with these statistics": np.asarray(logits),
        }

    after = variables
    for images in batches:
        after = step(after, images)
    ours = collected(after["batch_stats"], jax.jit(jax_model.apply)(after, batches[0]))
    theirs, truth = in_torch(torch.float32), in_torch(torch.float64)
    return [distance(f"{title}: {name}", ours[name], theirs[name], truth[name]) for name in truth]


def naive_row() -> Row:
    """The fast form of graph attention against the form with all pairs, in float64 the truth."""
    torch.manual_seed(0)
    attention, x = GraphAttention(32, 4).double(), torch.randn(3, 17, 32, dtype=torch.float64)
    w_query, w_key = (
        layer.weight.detach().T.float().numpy() for layer in (attention.query, attention.key)
    )
    nodes = x.float().numpy()
    fast = graph_weights(nodes @ w_query, nodes @ w_key)
    naive = reference_graph_weights(nodes, w_query, w_key)
    # The same rounded weights and nodes, in float64.
    attention, x = attention.float().double(), x.float().double()
    return distance("graph weights: fast, all pairs", fast, naive, attention.weights(x).detach())
