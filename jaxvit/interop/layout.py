"""What a layout of weights is: a table of names and transforms, read in both directions.

Our own names are those of jaxvit.models.transformer, joined by "/"; {i} stands for the layer.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from jaxvit.config import ModelConfig

Tensors = Mapping[str, np.ndarray]
LAYER = "transformer_encoder/layers_{i}/"
CONV_TO_OURS, CONV_TO_THEIRS = (2, 3, 1, 0), (3, 2, 0, 1)  # OIHW to HWIO and back

# Parts of a model that some have and others do not.
Part = Literal["core", "head", "layer_scale", "registers", "qkv_bias", "patch_norm"]


class Transform(NamedTuple):
    """How the arrays of an entry become ours, and back; both directions keep every bit.

    Attributes:
      to_ours: their arrays -> our array.
      to_theirs: (our array, number of heads) -> their arrays.
    """

    to_ours: Callable[[Sequence[np.ndarray]], np.ndarray]
    to_theirs: Callable[[np.ndarray, int], list[np.ndarray]]


class Entry(NamedTuple):
    """A line of the table.

    Attributes:
      ours: our name.
      theirs: their name, or the three of q, k and v.
      transform: see Transform.
      axes: of their array; None for as many as ours has.
    """

    ours: str
    theirs: tuple[str, ...]
    transform: Transform
    axes: int | None = None

    @property
    def part(self) -> Part:
        """Which part of a model it belongs to."""
        if self.ours.startswith("head/"):
            return "head"
        if self.ours == "registers":
            return "registers"
        if self.ours.startswith("patch_embedding/norm"):
            return "patch_norm"
        if "/ls" in self.ours:
            return "layer_scale"
        return "qkv_bias" if self.ours.endswith("qkv/bias") else "core"

    def at(self, layer: int) -> "Entry":
        """The entry of one layer."""
        theirs = tuple(name.replace("{i}", str(layer)) for name in self.theirs)
        return self._replace(ours=self.ours.replace("{i}", str(layer)), theirs=theirs)


class Named(NamedTuple):
    """A tensor of a file: the name that it has there, and its value."""

    original: str
    array: np.ndarray


class Habits(NamedTuple):
    """What the programs of a layout assume where no file says otherwise.

    Attributes:
      norm_eps, gelu: of the model; None where it has none.
      mean, std: of pixels in [0, 1].
      resize, crop_share, interpolation: see jaxvit.data.preprocessing.Geometry.
    """

    norm_eps: float | None
    gelu: Literal["erf", "tanh"] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Literal["squash", "short_side"]
    crop_share: float
    interpolation: Literal["bilinear", "bicubic"]


class Layout(NamedTuple):
    """One ecosystem's way to store a model.

    Attributes:
      name: "timm", "hf", "google", "lukemelas", "vit_pytorch", "torchvision" or "lab".
      title: for people.
      entries: the table, under the layout's principal names.
      signature: a principal name that every file of the layout has and no other layout's.
      spelled: renames the layout's other spellings to the principal ones.
      dropped: (pattern of a whole name, reason) of tensors that are left out on purpose.
      refused: (pattern of a whole name, reason) of tensors without which the model would be
        another one.
      habits: what its programs assume.
      positions: (number of registers) -> the method by which it resizes positions.
      parts: what it can express of "layer_scale", "registers", "no_qkv_bias" and "patch_norm".
      pools: the poolings that it can express; without a head, that of the class token too.
      heads: number of attention heads, where the shapes tell it.
      obstacle: what else it cannot express of a model.
      finished: changes what is written, for parts with a form of their own.
    """

    name: str
    title: str
    entries: tuple[Entry, ...]
    signature: str
    spelled: Callable[[Tensors], dict[str, Named]]
    habits: Habits
    positions: Callable[[int], str]
    dropped: tuple[tuple[str, str], ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    parts: frozenset[str] = frozenset()
    pools: frozenset[str] = frozenset({"cls"})
    heads: Callable[[Mapping[str, Named]], int | None] = lambda tensors: None
    obstacle: Callable[[ModelConfig], str | None] = lambda config: None
    finished: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] = lambda tensors: tensors

    def reason_to(self, patterns: tuple[tuple[str, str], ...], name: str) -> str | None:
        """The reason of the first pattern that matches the whole name."""
        return next((why for pattern, why in patterns if re.fullmatch(pattern, name)), None)

    def table(self, num_layers: int) -> list[Entry]:
        """The entries of every layer."""
        found = []
        for entry in self.entries:
            layers = range(num_layers) if "{i}" in entry.ours else range(1)
            found += [entry.at(i) for i in layers]
        return found


# Transforms.
SAME = Transform(lambda arrays: arrays[0], lambda ours, heads: [ours])
TRANSPOSED = Transform(lambda arrays: arrays[0].T, lambda ours, heads: [ours.T])
CONV = Transform(
    lambda arrays: arrays[0].transpose(CONV_TO_OURS),
    lambda ours, heads: [ours.transpose(CONV_TO_THEIRS)],
)
# (D,), (1, D) or (1, 1, D) to (1, 1, D): a token.
TOKEN = Transform(lambda arrays: _three_axes(arrays[0]), lambda ours, heads: [ours])
# Three matrices (D, D) of q, k and v, each (out, in), to one (in, 3 out).
THREE_KERNELS = Transform(
    lambda arrays: np.concatenate(arrays).T, lambda ours, heads: np.split(ours.T, 3)
)
THREE_BIASES = Transform(np.concatenate, lambda ours, heads: np.split(ours, 3))


def _three_axes(array: np.ndarray) -> np.ndarray:
    return array.reshape((1,) * (3 - array.ndim) + array.shape) if array.ndim < 3 else array


# Groups of entries in PyTorch's conventions.


def linear(ours: str, theirs: str) -> list[Entry]:
    """weight (out, in) and bias."""
    return [
        Entry(f"{ours}/kernel", (f"{theirs}.weight",), TRANSPOSED),
        Entry(f"{ours}/bias", (f"{theirs}.bias",), SAME),
    ]


def conv(ours: str, theirs: str) -> list[Entry]:
    """weight OIHW and bias."""
    return [
        Entry(f"{ours}/kernel", (f"{theirs}.weight",), CONV),
        Entry(f"{ours}/bias", (f"{theirs}.bias",), SAME),
    ]


def norm(ours: str, theirs: str) -> list[Entry]:
    """weight (D,) and bias."""
    return [
        Entry(f"{ours}/scale", (f"{theirs}.weight",), SAME),
        Entry(f"{ours}/bias", (f"{theirs}.bias",), SAME),
    ]


def three_linears(ours: str, *theirs: str) -> list[Entry]:
    """Linear layers of q, k and v, which are one here."""
    return [
        Entry(f"{ours}/kernel", tuple(f"{name}.weight" for name in theirs), THREE_KERNELS),
        Entry(f"{ours}/bias", tuple(f"{name}.bias" for name in theirs), THREE_BIASES),
    ]


def token(ours: str, theirs: str) -> list[Entry]:
    """Tokens or positions (1, n, D)."""
    return [Entry(ours, (theirs,), TOKEN)]


def scale(ours: str, theirs: str) -> list[Entry]:
    """LayerScale's gamma (D,)."""
    return [Entry(f"{ours}/gamma", (theirs,), SAME)]


def spelling(*rules: tuple[str, str]) -> Callable[[Tensors], dict[str, Named]]:
    """Applies (pattern, replacement) to every name, in order; each with re.sub."""

    def spelled(tensors: Tensors) -> dict[str, Named]:
        found: dict[str, Named] = {}
        for original, array in tensors.items():
            name = original
            for pattern, replacement in rules:
                name = re.sub(pattern, replacement, name)
            # Two spellings of one tensor: keep both, so that the second is refused by its name.
            found[original if name in found else name] = Named(original, array)
        return found

    return spelled


# Reasons that several layouts share.
TWO_TOKENS = "a distilled DeiT has a second token and a second head, which this model does not have"
MASK_TOKEN = "used in pre-training only"
PRE_LOGITS = "a tanh layer before the head of ImageNet-21k, which fine-tuning leaves out"
POOLER = "a tanh layer for pre-training, which classifiers leave out"
RELATIVE = "positions relative between patches, which this model does not have"
OTHER_POOL = "a norm after the pooling, which this model has before it"
ATTENTION_POOL = "pooling by attention, which this model does not have"
SWIGLU = "a gated MLP (SwiGLU), which this model does not have"
QK_NORM = "norms of q and k, which this model does not have"
