"""In bfloat16, the operands of matmuls and convolutions are rounded, and little else."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import pytest

from jaxvit.models.dcgan import Discriminator, Generator
from jaxvit.models.unet import UNet
from jaxvit.models.variables import init_variables

BF16 = jnp.bfloat16
NETWORKS = {
    "generator": Generator(16, 1, 4, z_dim=6, num_classes=3, dtype=BF16),
    "discriminator": Discriminator(16, 1, 4, num_classes=3, dtype=BF16),
    "unet": UNet(16, 1, 8, (1, 2), attention_sizes=(8,), num_classes=3, dtype=BF16),
}


def operations(jaxpr) -> Iterator:
    """All operations, those of functions inside too."""
    for each in jaxpr.eqns:
        yield each
        for inside in jax.core.jaxprs_in_params(each.params):
            yield from operations(inside)


def may_be_float32(name: str, shapes: list[tuple[int, ...]]) -> bool:
    """The logit of one image; means of a GroupNorm's channels; sums of a kernel."""
    if name == "discriminator":
        return shapes == [(1, 128), (128, 1)]
    groups = shapes[0] == (1, shapes[1][0]) and shapes[1][0] == shapes[1][-1]
    return name == "unet" and (groups or (2, 2, 3) in shapes)


@pytest.mark.parametrize("name", NETWORKS)
def test_operands_are_rounded_where_it_saves_time_and_nowhere_else(name):
    network = NETWORKS[name]
    inputs = network.example_inputs()
    params, extra = init_variables(network, jax.random.key(0))
    traced = jax.make_jaxpr(lambda: network.apply({"params": params, **extra}, *inputs))()
    seen = set()
    for each in operations(traced.jaxpr):
        kind = each.primitive.name
        of = [value.aval for value in each.invars]
        if kind in ("dot_general", "conv_general_dilated"):
            (exact,) = {part.dtype == jnp.float32 for part in of}
            assert {part.dtype for part in of} <= {jnp.dtype(BF16), jnp.dtype(jnp.float32)}
            shapes = [part.shape for part in of]
            assert not exact or (kind == "dot_general" and may_be_float32(name, shapes)), of
            seen.add((kind, exact))
        if kind == "exp":  # of attention's softmax
            assert of[0].dtype == jnp.float32
            seen.add(kind)
    expected = {("dot_general", False)}
    if name != "generator":
        expected.add(("dot_general", True))
    if name == "unet":
        expected |= {("conv_general_dilated", False), "exp"}
    assert seen == expected
