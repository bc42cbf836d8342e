"""The laboratory's layout: the names of torch_ref.transformer.VisionTransformer.

The table is that of jaxvit.interop.torch_weights, asked for each name.
"""

import numpy as np
from flax.traverse_util import unflatten_dict

from jaxvit.config import IMAGENET_MEAN, IMAGENET_STD
from jaxvit.interop.layout import CONV, SAME, TRANSPOSED, Entry, Habits, Layout, norm, spelling
from jaxvit.interop.timm import LAYOUT as TIMM
from jaxvit.interop.torch_weights import state_dict_from_params

AXES = {"kernel": 2, "patch_embedding/proj/kernel": 4}

PATCH_NORMS = [
    *norm("patch_embedding/norm_patch", "patch_embedding.norm_patch"),
    *norm("patch_embedding/norm", "patch_embedding.norm"),
]


def _entry(ours: str) -> Entry:
    """The twin's name of one of our parameters."""
    axes = AXES.get(ours, AXES.get(ours.rpartition("/")[2], 1))
    path = tuple(ours.replace("{i}", "0").split("/"))
    name = next(iter(state_dict_from_params(unflatten_dict({path: np.zeros((1,) * axes)}))))
    transform = {1: SAME, 2: TRANSPOSED, 4: CONV}[axes]
    return Entry(ours, (name.replace("layers.0.", "layers.{i}."),), transform)


LAYOUT = Layout(
    name="lab",
    title="the lab's",
    # timm's table has every parameter that a model of ours can have, but norms of patches.
    entries=tuple(_entry(entry.ours) for entry in (*TIMM.entries, *PATCH_NORMS)),
    signature="patch_embedding.proj.weight",
    spelled=spelling(),
    habits=Habits(1e-5, "erf", IMAGENET_MEAN, IMAGENET_STD, "squash", 1.0, "bilinear"),
    positions=lambda registers: "bicubic_antialias",
    parts=frozenset({"no_qkv_bias", "layer_scale", "registers", "patch_norm"}),
    pools=frozenset({"cls", "mean", "both"}),
)
