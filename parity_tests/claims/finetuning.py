"""Claim: fine-tuning from given weights, step by step, in JAX and in PyTorch."""

from dataclasses import replace

import jax

from jaxvit.config import AugmentConfig, OptimConfig
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.starting_point import follow_weights
from jaxvit.models.transformer import init_params, make_model
from jaxvit.presets import PRESETS, complete
from parity_tests.claims.training_run import DIGITS, distances, plot
from parity_tests.comparison import SHARED
from parity_tests.evidence import Evidence
from parity_tests.replayed_training import train

TITLE = "Fine-tuning: rates by layer, decay of matrices, crops, from the same weights"
TUNED = OptimConfig(
    lr=5e-4, weight_decay=0.05, schedule="cosine", warmup_steps=5, clip_norm=1.0, decay="matrices",
    layer_decay=0.75, head_lr=10.0,
)  # fmt: skip
RECIPES = {
    "all layers": TUNED,
    "1 layer frozen": replace(TUNED, freeze="1 layers"),
}
WEIGHTS = SHARED / "weights" / "deit_tiny_patch16_224.safetensors"


def measure(quick: bool) -> Evidence:
    rows, figures, notes = [], {}, []
    steps = 20 if quick else 60
    config = replace(
        DIGITS,
        model=replace(DIGITS.model, dropout=0.0, drop_path=0.2, init="vit"),
        augment=AugmentConfig(crop_scale=(0.5, 1.0)),
        data=replace(DIGITS.data, stored_scale=1.25),
    )
    drawn = init_params(make_model(config.model, 10), jax.random.key(7))
    backbone = {name: part for name, part in drawn.items() if name != "head"}
    for name, optim in RECIPES.items():
        title = f"digits, {name}, {steps} steps"
        run = train(replace(config, optim=optim), steps, backbone)
        rows += distances(title, [run])
        figures[f"{title}: loss, and its distance from float64"] = plot(run)
    if not quick and WEIGHTS.exists() and (SHARED / "data" / "oxford-iiit-pet").is_dir():
        config = PRESETS["finetune"]
        data = replace(config.data, name="oxford_iiit_pet", dir=str(SHARED / "data"))
        init = replace(config.init, weights=str(WEIGHTS))
        config = replace(config, epochs=1, select="last", batch_size=8, data=data, init=init)
        config = complete(follow_weights(config))
        pretrained = load_pretrained(WEIGHTS, num_classes=0).params
        run = train(config, 12, pretrained)
        rows += distances("DeiT-Tiny on Pets, 12 steps", [run])
        figures["DeiT-Tiny on Pets: loss, and its distance from float64"] = plot(run)
    elif not quick:
        notes.append("DeiT-Tiny on Pets was skipped: no weights or photographs in ../shared.")
    return Evidence(rows, figures, notes)
