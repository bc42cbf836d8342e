"""torchvision's ResNet-18 and -34, which timm stores under the same names.

Source: torchvision 0.29, models/resnet.py.
"""

import re
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from jaxvit.config import IMAGENET_MEAN, IMAGENET_STD, ModelConfig, without_foreign_options
from jaxvit.errors import UserError
from jaxvit.interop.layout import CONV, SAME, TRANSPOSED, Entry, Habits, Layout, Tensors, spelling
from jaxvit.interop.report import Row
from jaxvit.interop.tensors import check_numbers, check_refused, take
from jaxvit.models.configured import make_model
from jaxvit.models.variables import init_variables

COUNTER = "a count that running statistics with a fixed momentum do not use"
BOTTLENECKS = "a ResNet of bottleneck blocks, such as ResNet-50, is no model here"
LAYOUT = Layout(
    name="torchvision",
    title="torchvision's ResNet",
    entries=(),  # the names of a depth, see `entries`
    signature="layer1.0.conv1.weight",
    spelled=spelling(),
    habits=Habits(None, None, IMAGENET_MEAN, IMAGENET_STD, "short_side", 224 / 256, "bilinear"),
    positions=lambda registers: "none",  # it has no positions
    dropped=((r".*\.num_batches_tracked", COUNTER),),
    refused=((r"layer1\.0\.conv3\.weight", BOTTLENECKS),),
)
SIZES = {"imagenet": 224, "cifar": 32}  # pixels, where no file says it
KERNELS = {7: "imagenet", 3: "cifar"}
LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


class ResNetReading(NamedTuple):
    """A file, understood.

    Attributes:
      flat: float32 arrays by our names, "params/..." and "batch_stats/...".
      config: of the model, at the size that its stem is used with.
      num_classes: of the head; 0 without one.
      rows: what became of each tensor.
    """

    flat: dict[str, np.ndarray]
    config: ModelConfig
    num_classes: int
    rows: list[Row]


def entries(config: ModelConfig, num_classes: int) -> dict[Entry, tuple[int, ...]]:
    """Our names with theirs, and the shape of our array."""
    variables = jax.eval_shape(
        partial(init_variables, make_model(config, num_classes)), jax.random.key(0)
    )
    flat = flatten_dict(dict(zip(("params", "extra"), variables, strict=True)))
    found = {}
    for (kind, *path), leaf in flat.items():
        path = path if kind == "params" else path[1:]
        ours = "/".join([kind if kind == "params" else "batch_stats", *path])
        theirs = re.sub(r"(layer\d|downsample)_", r"\1.", ".".join(path[:-1]))
        theirs = f"{theirs}.{LEAVES.get(path[-1], path[-1])}"
        transform = {4: CONV, 2: TRANSPOSED, 1: SAME}[leaf.ndim]
        found[Entry(ours, (theirs,), transform)] = leaf.shape
    return found


def read_resnet(tensors: Tensors, source: str) -> ResNetReading:
    """A ResNet from the tensors of a file of LAYOUT.

    Raises:
      UserError: a tensor is not known, missing, of a wrong shape, not finite or no float; or the
        model is none that can be built here. The message names it.
    """
    named = LAYOUT.spelled(tensors)
    check_refused(named, LAYOUT, source)
    config, num_classes = _measured(tensors, source)
    flat, rows = {}, {}
    for entry, shape in entries(config, num_classes).items():
        part = take(named, entry.theirs[0], entry, source)
        check_numbers(part, source)
        wanted = entry.transform.to_theirs(np.broadcast_to(np.float32(0), shape), 1)[0].shape
        if part.array.shape != wanted:
            raise UserError(
                f"{part.original} of {source} has the shape {part.array.shape}, but a "
                f"{config.name} has {wanted}: is the file of another model, or damaged?"
            )
        array = np.asarray(entry.transform.to_ours([part.array]))
        flat[entry.ours] = np.ascontiguousarray(array, np.float32)
        rows[part.original] = Row(part.original, part.array.shape, "loaded", entry.ours)
    for name, tensor in named.items():
        if name in rows:
            continue
        reason = LAYOUT.reason_to(LAYOUT.dropped, name)
        if reason is None:
            raise UserError(
                f"{name} of {source}, of shape {tensor.array.shape}, is no tensor of a "
                f"{config.name}: is it of another model?"
            )
        rows[name] = Row(name, tensor.array.shape, f"dropped: {reason}")
    return ResNetReading(flat, config, num_classes, list(rows.values()))


def _measured(tensors: Tensors, source: str) -> tuple[ModelConfig, int]:
    """The model, and the number of classes, from a few shapes."""
    stem = tensors["conv1.weight"].shape if "conv1.weight" in tensors else ()
    if len(stem) != 4 or stem[-1] not in KERNELS:
        raise UserError(
            f"{source} has a first convolution conv1.weight of shape {stem}, and a ResNet here has "
            "one of 7 x 7 or of 3 x 3: is it of another model?"
        )
    name = "resnet34" if "layer1.2.conv1.weight" in tensors else "resnet18"
    kind = KERNELS[stem[-1]]
    config = ModelConfig(
        name=name, stem=kind, width=stem[0], img_size=SIZES[kind], in_channels=stem[1]
    )
    head = tensors.get("fc.weight")
    return without_foreign_options(config), 0 if head is None else head.shape[0]


def to_tensors(weights: dict, config: ModelConfig, num_classes: int) -> dict[str, np.ndarray]:
    """The tensors of a ResNet's weights under torchvision's names."""
    flat = flatten_dict(weights, sep="/")
    return {
        entry.theirs[0]: entry.transform.to_theirs(np.asarray(flat[entry.ours]), 1)[0]
        for entry in entries(config, num_classes)
    }
