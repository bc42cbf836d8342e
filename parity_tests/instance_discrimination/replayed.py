"""Instance discrimination in three programs, step by step: JAX, PyTorch float32 and float64.

All start from the same weights and take the same batches. Views are drawn in JAX, as its step
draws them; that their augmentation is torchvision's is shown where views are.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax.traverse_util import flatten_dict, unflatten_dict
from vit_pytorch import ViT

from jaxvit.config import (
    AugmentConfig,
    Config,
    DataConfig,
    InstanceConfig,
    ModelConfig,
    OptimConfig,
)
from jaxvit.data.decoded import Dataset, Split
from jaxvit.data.loader import train_batches
from jaxvit.interop.vit_pytorch import LAYOUT
from jaxvit.models.configured import make_model
from jaxvit.models.instance_classifier import InstanceClassifier as InstanceNetwork
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.presets import PRESETS
from jaxvit.tasks.instance_discrimination import make_instance_discrimination
from jaxvit.training.state import create_state
from jaxvit.training.steps import make_train_step, step_keys
from torch_ref.instance_discrimination.instance_classifier import InstanceClassifier
from torch_ref.instance_discrimination.training import train_step

PROGRAMS = ("jax", "torch32", "torch64")
SIZE, PATCH, WIDTH, HEADS, LAYERS, Z = 24, 8, 32, 4, 2, 10

BLOG = Config(
    method="instance_discrimination",
    batch_size=16,
    label_smoothing=0.0,
    data=DataConfig(name="flowers17", dir="unused"),
    model=ModelConfig(
        img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, num_heads=HEADS, num_layers=LAYERS,
        mlp_ratio=2.0, dropout=0.0, qkv_bias=False, patch_norm=True,
    ),
    augment=AugmentConfig(rotate=35.0, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    instance=InstanceConfig(views=2, z_dim=Z, contrastive_weight=1.0),
    optim=OptimConfig(lr=1e-3, weight_decay=0.01),
)  # fmt: skip
PAPER = replace(
    BLOG,
    label_smoothing=0.1,
    augment=AugmentConfig(
        crop_scale=(0.14, 1.0), flip_p=0.5, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2,
        jitter_p=0.8, grey_p=0.2, blur_p=0.5, cutmix_alpha=0.5, cutmix_p=1.0,
    ),
    instance=InstanceConfig(views=2, small_views=3, z_dim=Z),
)  # fmt: skip

COSINE = replace(PAPER, instance=replace(PAPER.instance, cosine=True, temperature=0.2))
SMALLER = replace(PAPER, instance=replace(PAPER.instance, small_size=16))
# The views and the losses of the preset that is recommended: cosines and L_CN together.
SHIPPED = replace(
    BLOG,
    augment=PRESETS["flowers17-idmm"].augment,
    instance=replace(PRESETS["flowers17-idmm"].instance, z_dim=Z),
)
RUNS = {
    "blog": BLOG,
    "paper": PAPER,
    "paper, cosines": COSINE,
    "paper, smaller small views": SMALLER,
    "flowers17-idmm": SHIPPED,
}


class Run(NamedTuple):
    """Losses of every step and the final parameters as one vector, by program."""

    losses: dict[str, np.ndarray]
    params: dict[str, np.ndarray]


def network(instances: int = 9) -> tuple[InstanceNetwork, dict]:
    """The blog's model, small, and random parameters."""
    model = InstanceNetwork(make_model(BLOG.model, Z), instances, Z)
    images = np.zeros((1, SIZE, SIZE, 3), np.float32)
    return model, model.init(jax.random.key(0), images)["params"]


def photographs(number: int = 40, size: int = SIZE) -> Dataset:
    """Smooth random images, each an instance."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (number, 4, 4, 3)).astype(np.float64)
    pixels = np.kron(coarse, np.ones((1, size // 4, size // 4, 1))).astype(np.uint8)
    rows = np.arange(number)
    split = Split(pixels, rows, (rows % 4).astype(np.int32), tuple(map(str, rows)))
    return Dataset(("a", "b", "c", "d"), split, split, split)


def twin_of(params, config: Config, instances: int) -> InstanceClassifier:
    """The torch twin with a JAX model's weights, through vit-pytorch's layout."""
    model = config.model
    backbone = ViT(
        image_size=model.img_size, patch_size=model.patch_size, num_classes=config.instance.z_dim,
        dim=model.embed_dim, depth=model.num_layers, heads=model.num_heads,
        dim_head=model.embed_dim // model.num_heads,
        mlp_dim=int(model.embed_dim * model.mlp_ratio),
    )  # fmt: skip
    flat = flatten_dict(jax.device_get(params["backbone"]), sep="/")
    tensors = {}
    for entry in LAYOUT.table(model.num_layers):
        arrays = entry.transform.to_theirs(np.asarray(flat.pop(entry.ours)), model.num_heads)
        tensors |= dict(zip(entry.theirs, arrays, strict=True))
    assert not flat
    backbone.load_state_dict({name: torch.tensor(np.array(x)) for name, x in tensors.items()})
    options = config.instance
    temperature = options.temperature if options.cosine else None
    twin = InstanceClassifier(backbone, options.z_dim, instances, temperature)
    with torch.no_grad():
        if options.cosine:
            twin.bank.copy_(torch.tensor(np.array(params["bank"])))
            return twin
        head = jax.device_get(params["instances"])
        twin.instances.weight.copy_(torch.tensor(np.array(head["kernel"].T)))
        twin.instances.bias.copy_(torch.tensor(np.array(head["bias"])))
    return twin


def as_params(twin: InstanceClassifier, layers: int) -> dict:
    """The inverse of twin_of."""
    state = {name: value.numpy() for name, value in twin.backbone.state_dict().items()}
    flat = {
        entry.ours: entry.transform.to_ours([state[name] for name in entry.theirs])
        for entry in LAYOUT.table(layers)
    }
    if twin.temperature is not None:
        bank = twin.bank.detach().numpy()
        return {"backbone": unflatten_dict(flat, sep="/"), "bank": bank}
    head = {name: value.detach().numpy() for name, value in twin.instances.named_parameters()}
    return {
        "backbone": unflatten_dict(flat, sep="/"),
        "instances": {"kernel": head["weight"].T, "bias": head["bias"]},
    }


def as_views(inputs: dict, dtype: torch.dtype) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(views (B, V, C, H, W), index or targets) of each pass."""
    found = []
    for lead in ("", "small_"):
        if f"{lead}images" in inputs:
            images = torch.tensor(np.array(inputs[f"{lead}images"]), dtype=dtype)
            targets = torch.tensor(np.array(inputs[f"{lead}targets"]), dtype=dtype)
            found.append((images.permute(0, 1, 4, 2, 3), targets))
    return found


def train(config: Config, steps: int) -> Run:
    """The same run three times."""
    data = photographs(size=config.model.img_size)
    backbone = make_model(config.model, config.instance.z_dim)
    tx, schedule = make_optimizer(config.optim, steps)
    task = make_instance_discrimination(backbone, tx, schedule, config, data)
    state = create_state(task, config.seed)
    step = jax.jit(make_train_step(task, seed=config.seed))
    prepare = jax.jit(lambda batch, number: task.prepare(step_keys(config.seed, number)[0], batch))
    twins = {
        name: twin_of(state.params, config, len(data.train)).to(dtype)
        for name, dtype in (("torch32", torch.float32), ("torch64", torch.float64))
    }
    optimizers = {
        name: torch.optim.AdamW(
            twin.parameters(), lr=config.optim.lr, weight_decay=config.optim.weight_decay
        )
        for name, twin in twins.items()
    }
    losses = {name: [] for name in PROGRAMS}
    batches = train_batches(data.train, config.batch_size, config.seed, with_index=True)
    for number, batch in zip(range(steps), batches, strict=False):
        inputs = jax.device_get(prepare(batch, jnp.int32(number)))
        for name, twin in twins.items():
            passes = as_views(inputs, next(twin.parameters()).dtype)
            losses[name].append(_torch_step(twin, optimizers[name], passes, inputs, config))
        state, metrics = step(state, batch)
        losses["jax"].append(float(metrics["loss"]))
    final = {name: as_params(twin, config.model.num_layers) for name, twin in twins.items()}
    final["jax"] = jax.device_get(state.params)
    vectors = {
        name: np.concatenate([np.ravel(flatten_dict(tree)[path]) for path in flatten_dict(tree)])
        for name, tree in ((name, _sorted(tree)) for name, tree in final.items())
    }
    return Run({name: np.array(each) for name, each in losses.items()}, vectors)


def _sorted(tree: dict) -> dict:
    return {key: _sorted(tree[key]) if isinstance(tree[key], dict) else tree[key]
            for key in sorted(tree)}  # fmt: skip


def _torch_step(twin, optimizer, passes, inputs, config: Config) -> float:
    options = config.instance
    if options.contrastive_weight:  # the twin makes its targets itself
        index = torch.tensor(np.array(inputs["index"])).long()
        passes = [(views, index) for views, _ in passes]
    return train_step(
        twin, optimizer, passes, contrastive_weight=options.contrastive_weight,
        temperature=options.temperature,
    )  # fmt: skip
