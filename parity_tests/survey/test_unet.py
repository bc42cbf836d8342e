"""The U-Net against float64, the twin and diffusers."""

import copy
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from diffusers import UNet2DModel

from jaxvit.models.group_norm import GroupNorm
from jaxvit.models.unet import UNet, sinusoids
from parity_tests.comparison import max_difference, to_nchw, to_nhwc
from parity_tests.evidence import distance
from parity_tests.survey.generators import (
    CLASSES,
    gradients_of,
    ported,
    random_images,
    unet_twins,
    vector,
    with_noise,
)
from torch_ref.survey import unet as torch_unet

TIMES = torch.tensor([0, 1, 17, 400, 999])
LABELS = torch.tensor([0, 4, 2, 5, 1])  # 5 is no class


def in_jax(model: UNet, params: dict, images: torch.Tensor, labels: torch.Tensor | None):
    """The noise (N, C, H, W), and gradients as one vector."""
    numbers = None if labels is None else jnp.asarray(labels.numpy())

    def loss(params):
        noise = model.apply({"params": params}, to_nhwc(images), TIMES.numpy(), numbers)
        return jnp.sin(2 * noise).mean(), noise

    grads, noise = jax.jit(jax.grad(loss, has_aux=True))(params)
    return to_nchw(noise), vector(grads)


@pytest.mark.parametrize("classes", [pytest.param(0, marks=pytest.mark.slow), CLASSES])
@pytest.mark.parametrize(
    "options", [{}, {"blocks": 2, "channel_multipliers": (1, 2, 3), "attention_sizes": (16, 4)}]
)
def test_noise_and_gradients_are_as_close_to_float64_as_torch(classes, options):
    theirs, ours, params = unet_twins(num_classes=classes, **options)
    images, labels = random_images(5), LABELS if classes else None
    numbers = None if labels is None else jnp.zeros(1, jnp.int32)
    drawn = jax.eval_shape(
        ours.init, jax.random.key(0), to_nhwc(images)[:1], jnp.zeros(1, jnp.int32), numbers
    )["params"]
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(jnp.shape, params)
    sides = []
    for dtype in (torch.float32, torch.float64):
        net = copy.deepcopy(theirs).to(dtype)
        noise = net(images.to(dtype), TIMES, labels)
        torch.sin(2 * noise).mean().backward()
        sides.append((noise.detach(), gradients_of(net)))
    found = in_jax(ours, params, images, labels)
    for part, *values in zip(("noise", "gradient"), found, *sides, strict=True):
        row = distance(part, *values)
        assert row.holds, row


def test_the_twin_is_diffusers():
    """The noise of UNet2DModel on the same weights, with classes, as DDPM's own sizes have it."""
    torch.manual_seed(0)
    theirs = UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, layers_per_block=2,
        block_out_channels=(32, 64), down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), attention_head_dim=None,
        norm_num_groups=8, norm_eps=1e-5, freq_shift=1, flip_sin_to_cos=False,
        num_class_embeds=CLASSES + 1,
    ).eval()  # fmt: skip
    twin = torch_unet.UNet(16, 3, 32, (1, 2), 2, (8,), num_classes=CLASSES)
    state = {in_our_names(name): value for name, value in theirs.state_dict().items()}
    twin.load_state_dict(state)
    with_noise(twin)
    back = {name: twin.state_dict()[in_our_names(name)] for name in theirs.state_dict()}
    theirs.load_state_dict(back)
    images = random_images(5)
    with torch.no_grad():
        noise = theirs(images, TIMES, class_labels=LABELS).sample
        found = twin(images, TIMES, LABELS)
    # diffusers computes angles of up to 999 in float32.
    assert max_difference(found, noise) < 1e-4 * float(noise.abs().max())
    truth = twin.double()(images.double(), TIMES, LABELS).detach()
    ours = UNet(16, 3, 32, (1, 2), 2, (8,), num_classes=CLASSES)
    params = ported({name: value.float() for name, value in twin.state_dict().items()})["params"]
    row = distance("noise", in_jax(ours, params, images, LABELS)[0], noise, truth)
    assert row.holds, row


def in_our_names(name: str) -> str:
    """A parameter of UNet2DModel(layers_per_block=2, two levels) under the twin's name."""
    name = re.sub(r"^conv_in\.", "from_image.", name)
    name = re.sub(r"^conv_out\.", "to_noise.", name)
    name = re.sub(r"^conv_norm_out\.", "norm.", name)
    name = re.sub(r"^time_embedding\.linear_(\d)", r"time\1", name)
    name = re.sub(r"^class_embedding\.", "classes.", name)
    name = re.sub(r"^down_blocks\.\d\.downsamplers\.0\.conv", "shrink.0", name)
    name = re.sub(r"^up_blocks\.\d\.upsamplers\.0\.conv", "grow.0", name)
    for ours, theirs, each in (("down", "down_blocks", 2), ("up", "up_blocks", 3)):
        if found := re.match(rf"{theirs}\.(\d)\.(resnets|attentions)\.(\d)\.(.*)", name):
            level, kind, index, rest = found.groups()
            inside = "" if kind == "resnets" else "attention."
            name = f"{ours}.{each * int(level) + int(index)}.{inside}{rest}"
    if found := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        kind, index, rest = found.groups()
        name = f"middle.{index}.{'' if kind == 'resnets' else 'attention.'}{rest}"
    for theirs, ours in {
        "time_emb_proj": "time", "conv_shortcut": "shortcut", "group_norm": "norm",
        "to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "out",
    }.items():  # fmt: skip
        name = name.replace(f".{theirs}.", f".{ours}.")
    return name


def test_sinusoids_are_those_of_the_definition():
    found = sinusoids(1000, 6)
    rates = [1, 10_000**-0.5, 10_000**-1.0]
    expected = [[f(t * rate) for f in (np.sin, np.cos) for rate in rates] for t in range(1000)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
    theirs = torch_unet.sinusoids(torch.arange(1000), 6)
    np.testing.assert_allclose(found, theirs, rtol=0, atol=1e-7)


@pytest.mark.slow
def test_it_begins_by_predicting_no_noise():
    model = UNet(8, 1, 16, (1, 2), 1, (4,), num_classes=3)
    x, numbers = jnp.ones((2, 8, 8, 1)), jnp.zeros(2, jnp.int32)
    params = jax.jit(model.init)(jax.random.key(0), x, numbers, numbers)["params"]
    assert not np.any(jax.jit(model.apply)({"params": params}, x, numbers, numbers))
    theirs = ported(torch_unet.UNet(8, 1, 16, (1, 2), 1, (4,), num_classes=3).state_dict())
    for path, leaf in jax.tree.leaves_with_path(params):
        other = theirs["params"]
        for key in path:
            other = other[key.key]
        assert np.any(leaf) == np.any(other), path
        if leaf.ndim > 1 and np.any(leaf):
            assert float(leaf.std()) == pytest.approx(float(other.std()), rel=0.15), path


def test_dropout_is_drawn_in_training_alone():
    _, model, params = unet_twins(dropout=0.5)
    x, t, labels = to_nhwc(random_images(5)), TIMES.numpy(), jnp.asarray(LABELS.numpy())
    apply = jax.jit(model.apply, static_argnums=4)
    noise = apply({"params": params}, x, t, labels, True)
    rngs = {"dropout": jax.random.key(0)}
    dropped = apply({"params": params}, x, t, labels, False, rngs=rngs)
    assert np.abs(noise - dropped).max() > 1e-3


def test_the_norm_of_maps_far_from_zero_is_as_close_to_float64_as_torch():
    """E[x^2] - E[x]^2 would cancel."""
    torch.manual_seed(0)
    x = 300 + torch.randn(3, 8, 5, 5)
    theirs = torch.nn.GroupNorm(2, 8)
    ours = GroupNorm(2).apply({"params": {"scale": jnp.ones(8), "bias": jnp.zeros(8)}}, to_nhwc(x))
    truth = theirs.double()(x.double()).detach()
    row = distance("norm", to_nchw(ours), theirs.float()(x).detach(), truth)
    assert row.holds, row
