"""What a run or a weights file is, in lines for a person."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxvit.config import ModelConfig
from jaxvit.interop.load import Pretrained, is_run
from jaxvit.interop.report import joined
from jaxvit.models.variables import count_params
from jaxvit.runtime.digest import sha256

NAMES_SHOWN = 8
HIGHLIGHTS = (  # of config.json, where a run has them
    "method", "data.name", "data.dir", "epochs", "batch_size", "seed", "select", "label_smoothing",
    "init.weights", "optim.name", "optim.lr", "optim.schedule", "optim.weight_decay",
    "optim.ema_decay", "optim.freeze", "augment.crop_scale", "augment.mixup_alpha",
    "augment.cutmix_alpha",
)  # fmt: skip
SCORES = (
    "test/accuracy", "test/accuracy_low", "test/accuracy_high", "test/loss", "test/ece",
    "test/knn_accuracy", "test/linear_accuracy", "test/retrieval_accuracy", "test/uniformity",
)  # fmt: skip
VALIDATED = ("val/accuracy", "val/loss", "val/knn_accuracy", "val/retrieval_accuracy")


def describe_pretrained(pretrained: Pretrained, path: str | Path) -> Iterator[str]:
    """Lines: layout, model, parameters and their hash, preprocessing, classes, the run, tensors.

    The hash is SHA-256 over the parameters under our names, see jaxvit.runtime.digest: equal for
    the same weights in any layout.
    """
    config, preprocessing = pretrained.model_config, pretrained.preprocessing
    geometry = preprocessing.geometry
    yield f"layout         {pretrained.layout}"
    yield from _of_model(config)
    yield f"parameters     {count_params(pretrained.params):,}"
    yield f"SHA-256        {sha256(pretrained.params)}"
    yield (
        f"preprocessing  {geometry.resize} to {geometry.size} pixels, crop share "
        f"{geometry.crop_share:g}, {geometry.interpolation}; mean {joined(preprocessing.mean)}, "
        f"std {joined(preprocessing.std)}"
    )
    yield f"classes        {_classes(pretrained)}"
    if is_run(run := Path(path).expanduser()):
        yield from _of_run(run)
    yield ""
    yield str(pretrained.report)


def _of_model(config: ModelConfig) -> Iterator[str]:
    if not config.is_vit:
        yield (
            f"model          {config.name} of width {config.width} with the {config.stem} stem, "
            f"{config.img_size} pixels, {config.in_channels} channel(s)"
        )
        if config.attention != "none":
            yield (
                f"block          {config.attention} attention of width {config.embed_dim}, "
                f"{config.num_heads} head(s), patches of {config.patch_size}"
            )
        return
    yield (
        f"model          {config.num_layers} layers of width {config.embed_dim}, "
        f"{config.num_heads} heads, {config.img_size} pixels in patches of {config.patch_size}, "
        f"{config.in_channels} channel(s)"
    )
    yield (
        f"options        eps {config.norm_eps:g}, gelu {config.gelu}, pool {config.pool}, "
        f"mlp ratio {config.mlp_ratio:g}, layer scale {'yes' if config.layer_scale else 'no'}, "
        f"{config.register_tokens} registers, qkv bias {'yes' if config.qkv_bias else 'no'}, "
        f"patch norm {'yes' if config.patch_norm else 'no'}"
    )


def _classes(pretrained: Pretrained) -> str:
    names = pretrained.class_names
    if not pretrained.num_classes:
        return "none: there is no head, the model gives features"
    if names is None:
        return f"{pretrained.num_classes}, without names"
    more = ", ..." if len(names) > NAMES_SHOWN else ""
    return f"{len(names)}: {', '.join(names[:NAMES_SHOWN])}{more}"


def _of_run(run: Path) -> Iterator[str]:
    """The preset, the options that matter most, and the scores, as far as they can be read."""
    config, summary = (_read(run / name) for name in ("config.json", "summary.json"))
    flat = {
        f"{name}.{inner}" if isinstance(value, dict) else name: each
        for name, value in config.items()
        for inner, each in (value.items() if isinstance(value, dict) else [("", value)])
    }
    usual = (None, 0, "classification")
    shown = [f"{name} {flat[name]}" for name in HIGHLIGHTS if flat.get(name) not in usual]
    yield f"run            preset {summary.get('preset', 'not known')}; {', '.join(shown)}"
    if not summary:
        yield "scores         none yet: the run is not finished"
        return
    best = summary.get("best")
    best = best if isinstance(best, dict) else {}
    scores = {name: value for name, value in best.items() if name.startswith("val/")}
    scores = {name: scores[name] for name in VALIDATED if name in scores}
    scores |= {name: summary[name] for name in SCORES if name in summary}
    numbers = {name: value for name, value in scores.items() if isinstance(value, (int, float))}
    yield "scores         " + ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
    averaged = summary.get("averaged")
    for each in averaged if isinstance(averaged, list) else ():
        yield f"averaged       {each.get('run')} step {each.get('step')}"


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
