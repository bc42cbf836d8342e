"""Pretrained weights of any layout, or a run of ours, as one kind of thing."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxvit.config import ModelConfig, check
from jaxvit.errors import UserError
from jaxvit.interop import resnet
from jaxvit.interop.hub import HUB, fetch
from jaxvit.interop.layout import Layout
from jaxvit.interop.pretrained import Pretrained, with_head, with_img_size, without_dropout
from jaxvit.interop.reading import Reading, read_layout, recognise
from jaxvit.interop.report import Report, Row
from jaxvit.interop.saved_run import load_run
from jaxvit.interop.settings import CONFIG, Settings, add_heads, gather_settings
from jaxvit.interop.weights_file import FORMATS, PICKLES, read_weights_file
from jaxvit.models.configured import make_model

RUN = "run"
# Names of weights in a directory, best first.
WHOLE = ("model.safetensors", "model.npz", "pytorch_model.bin")
GAMMA = 1e-5  # LayerScale's initial value in DINOv2; loaded values replace it


def load_pretrained(
    path: str | Path,
    *,
    num_classes: int | None = None,
    img_size: int | None = None,
    layout: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Pretrained:
    """Reads weights; nothing is random, and nothing is left out in silence.

    Args:
      path: a .safetensors or .npz file; a directory in Hugging Face's or timm's form; a run of
        ours; or hf://OWNER/NAME[/FILE][@REVISION].
      num_classes: None keeps the head of the file, if there is one. 0 drops it: the model gives
        features. Another number than the head's drops it and makes a head of zeros.
      img_size: None keeps the size of the file. Another one resizes the positions by the method of
        the layout, see jaxvit.interop.positions.
      layout: None recognises it from the names.
      options: settings that the shapes cannot tell, over those that are found: see
        jaxvit.interop.settings.NAMES.

    Raises:
      UserError: the weights cannot be read, a tensor is not accounted for, or the model cannot be
        built. Its one line names the tensor or the value, and the way out.
    """
    if num_classes is not None and num_classes < 0:
        raise UserError(f"num_classes {num_classes} is negative: give 0 for features, or a number")
    names: list[str] = []
    text = str(path)
    if from_hub := text.startswith(HUB):
        path = fetch(text)
        names.append(text.removeprefix(HUB))
    path = Path(path).expanduser()
    if path.is_dir() and is_run(path):
        pretrained, method = _load_run(path, layout, options), "bicubic_antialias"
    else:
        file = weights_in(path)
        names += [file.stem, file.parent.name] if file.name in WHOLE else [file.stem]
        # A repository's config.json belongs to every file of it, whichever are in the cache.
        own = from_hub or file.name in WHOLE or _alone(file)
        pretrained, method = _load_file(
            file, file.parent if own else None, names, layout, options or {}, num_classes is None,
            img_size,
        )  # fmt: skip
    if num_classes is not None:
        pretrained = with_head(pretrained, num_classes)
    if img_size is not None:
        pretrained = with_img_size(pretrained, img_size, method)
    return pretrained


def _load_file(
    file: Path,
    directory: Path | None,
    names: list[str],
    layout: str | None,
    options: Mapping[str, Any],
    keep_head: bool,
    img_size: int | None,
) -> tuple[Pretrained, str]:
    """The model of a file at its own size, and the method that resizes its positions.

    Its configuration files are looked for in `directory`; None for nowhere. What the name tells of
    images is that of its family's models of img_size, where that is given.
    """
    tensors, metadata, stored = read_weights_file(file)
    found = recognise(tensors, str(file), layout)
    gather = partial(
        gather_settings,
        found,
        options=options,
        metadata=metadata,
        directory=directory,
        names=names,
    )
    notes = []
    if set(stored) != {"float32"}:
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(stored.items()))
        notes.append(f"stored as {kinds} tensors, used in float32")
    if found is resnet.LAYOUT:
        reading = resnet.read_resnet(tensors, str(file))
        settings = gather(img_size=img_size or reading.config.img_size)
        settings.notes += notes
        return _build_resnet(reading, settings, str(file)), found.positions(0)
    reading = read_layout(tensors, found, str(file))
    shape = reading.shape
    settings = gather(img_size=img_size or shape.grid * shape.patch_size, heads=reading.heads)
    add_heads(settings, shape.embed_dim, shape.num_layers)
    settings.notes += notes
    pretrained = _build(reading, settings, str(file), keep_head)
    if reading.pre_logits:
        pretrained = with_head(pretrained, 0, "it needs pre_logits, which is dropped")
    return pretrained, found.positions(shape.registers)


def weights_in(path: Path) -> Path:
    """The weights file that a path means.

    Raises:
      UserError: there is none, or several in a directory.
    """
    if not path.is_dir():
        if not path.exists():
            raise UserError(
                f"{path} does not exist: give a weights file, a directory of one, or a run"
            )
        return path
    for name in WHOLE:
        if (path / name).is_file():
            return path / name
    if (path / "model.safetensors.index.json").is_file():
        raise UserError(
            f"{path} holds weights split over several files, which is not supported: save them as "
            "one model.safetensors"
        )
    files = sorted(each for each in path.iterdir() if each.suffix in (*FORMATS, *PICKLES))
    if len(files) == 1:
        return files[0]
    raise UserError(
        f"{path} holds {len(files) or 'no'} weights files and is no run: give the path of one file"
    )


def is_run(path: Path) -> bool:
    """Whether a directory is a run of ours."""
    return (path / "checkpoints").is_dir() and (path / CONFIG).is_file()


def inside_run(path: Path) -> Path | None:
    """The run that a path is, or lies in; None outside of runs."""
    place = path.absolute()
    place = place.resolve() if place.exists() else place.parent.resolve() / place.name
    return next((each for each in (place, *place.parents) if each.is_dir() and is_run(each)), None)


def _alone(file: Path) -> bool:
    """Whether the file is the only one of its directory, so that config.json belongs to it."""
    siblings = [each for each in file.parent.iterdir() if each.suffix in FORMATS]
    return len(siblings) == 1 and (file.parent / CONFIG).is_file()


def _load_run(path: Path, layout: str | None, options: Mapping[str, Any] | None) -> Pretrained:
    if layout not in (None, RUN):
        raise UserError(f"{path} is a run of jaxvit, not {layout}: leave the layout out")
    if options:
        raise UserError(
            f"{path} is a run, which has its settings in itself: leave the weights option out"
        )
    run = load_run(path)
    # Its matmuls stay in the type that it was trained and scored with.
    config = replace(without_dropout(run.config.model), dtype=run.config.model.dtype)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), jax.device_get(run.params))
    flat = flatten_dict(params, sep="/")
    report = Report(
        f"{path}: a run of jaxvit, step {run.step}",
        tuple(Row(name, array.shape, "loaded", name) for name, array in flat.items()),
        ("from the run: every setting",),
    )
    return Pretrained(
        make_model(config, run.num_classes),
        params,
        config,
        run.num_classes,
        run.preprocessing,
        run.class_names or None,
        RUN,
        report,
        run.upright,
    )


def _build(reading: Reading, settings: Settings, source: str, keep_head: bool) -> Pretrained:
    """The model that the shapes and the settings describe, with the file's head and size."""
    shape, warnings = reading.shape, settings.warnings
    own_size = shape.grid * shape.patch_size
    said = settings.img_size
    if said and said.value != own_size:
        warnings.append(
            f"{said.origin} says {said.value} pixels, but the positions are those of {own_size}: "
            "that is used"
        )
    pool = settings["pool"] or ("both" if shape.features == 2 * shape.embed_dim else "cls")
    seen = shape.embed_dim * (2 if pool == "both" else 1)
    if shape.num_classes and shape.features != seen:
        raise UserError(
            f"the head of {source} sees {shape.features} features, but pooling {pool!r} of a model "
            f"of width {shape.embed_dim} gives {seen}: is it of another model?"
        )
    if reading.pre_logits and shape.num_classes and keep_head:
        raise UserError(
            f"the head of {source}, of {shape.num_classes} classes, needs the layer pre_logits "
            "before it, which no model here has: give num_classes=0 for features, or the number of "
            "classes of a new head"
        )
    config = ModelConfig(
        img_size=own_size,
        patch_size=shape.patch_size,
        in_channels=shape.in_channels,
        embed_dim=shape.embed_dim,
        num_heads=settings["num_heads"],
        num_layers=shape.num_layers,
        mlp_ratio=shape.mlp_ratio,
        dropout=0.0,
        norm_eps=settings["norm_eps"],
        gelu=settings["gelu"],
        layer_scale=GAMMA if shape.layer_scale else 0.0,
        register_tokens=shape.registers,
        qkv_bias=shape.qkv_bias,
        patch_norm=shape.patch_norm,
        pool=pool,
    )
    check(config, "model.")
    return _complete(reading, config, shape.num_classes, reading.layout, settings, source)


def _build_resnet(reading: resnet.ResNetReading, settings: Settings, source: str) -> Pretrained:
    """A ResNet, whose size is what a file says, or else what its stem is used with."""
    said = settings.img_size
    config = replace(reading.config, img_size=said.value) if said else reading.config
    return _complete(reading, config, reading.num_classes, resnet.LAYOUT, settings, source)


def _complete(
    reading: Reading | resnet.ResNetReading,
    config: ModelConfig,
    num_classes: int,
    layout: Layout,
    settings: Settings,
    source: str,
) -> Pretrained:
    """The model with all that belongs to it; names of classes are used where they are as many."""
    names, warnings = settings["class_names"], settings.warnings
    if names and len(names) != num_classes:
        if num_classes:
            warnings.append(
                f"{settings.found['class_names'].origin} names {len(names)} classes, but the head "
                f"has {num_classes}: no names are used"
            )
        names = None
    report = Report(
        f"{source}: layout {layout.name} ({layout.title})",
        tuple(reading.rows),
        tuple(settings.lines()),
        tuple(warnings),
    )
    return Pretrained(
        make_model(config, num_classes),
        unflatten_dict(reading.flat, sep="/"),
        config,
        num_classes,
        settings.preprocessing(config.img_size, config.in_channels),
        names,
        layout.name,
        report,
        True if settings["upright"] is None else settings["upright"],
    )
