import ast
import builtins
import copy
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import torch_ref.finetune
from jaxvit.config import Config, DataConfig, OptimConfig
from jaxvit.models.transformer import VisionTransformer
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.tasks.classification import make_classification
from jaxvit.training.state import create_state
from jaxvit.training.steps import make_train_step
from parity_tests.evidence import distance
from parity_tests.finetune.small_models import (
    HEADS,
    LAYERS,
    PATCH,
    SIZE,
    WIDTH,
    as_params,
    lukemelas,
    timms,
)
from torch_ref.finetune import soup, training
from torch_ref.finetune.groups import freeze
from torch_ref.finetune.models import replace_head

CLASSES, EPOCHS, BATCHES, BATCH = 5, 4, 6, 8
HALVES = DataConfig(mean=(0.5,) * 3, std=(0.5,) * 3)
SEEDS_LINES = """
def train(model, loader):
    model.fc = nn.Linear(768, 37)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.9)
"""


def undefined_names(source: str) -> set[str]:
    """Names that are read somewhere and bound nowhere in the source."""
    bound, read = set(dir(builtins)) | {"__name__", "__file__"}, set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(each.asname or each.name).partition(".")[0] for each in node.names}
    return read - bound


def test_every_name_is_imported():
    """Defect 1 of the seed."""
    for path in Path(torch_ref.finetune.__file__).parent.glob("*.py"):
        assert not undefined_names(path.read_text()), path
    assert undefined_names(SEEDS_LINES) == {"torch", "nn"}


def host_batches() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        {
            "image": rng.integers(0, 256, (BATCH, SIZE, SIZE, 3), np.uint8),
            "label": rng.integers(0, CLASSES, BATCH).astype(np.int32),
        }
        for _ in range(BATCHES)
    ]


def torch_batches(dtype: torch.dtype) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [
        (
            (torch.tensor(batch["image"]).permute(0, 3, 1, 2).to(dtype) / 255 - 0.5) / 0.5,
            torch.tensor(batch["label"]).long(),
        )
        for batch in host_batches()
    ]


def fine_tuned_in_jax(params: dict, optim: OptimConfig, label_smoothing: float) -> dict:
    model = VisionTransformer(
        img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, num_heads=HEADS, num_layers=LAYERS,
        num_classes=CLASSES, dropout=0.0, norm_eps=1e-6,
    )  # fmt: skip
    config = Config(optim=optim, label_smoothing=label_smoothing, data=HALVES)
    tx, schedule = make_optimizer(optim, EPOCHS * BATCHES, Fraction(BATCHES))
    task = make_classification(model, tx, schedule, config)
    task = task._replace(init=lambda key: (jax.tree.map(jnp.copy, params), {}))
    state, step = create_state(task, 0), jax.jit(make_train_step(task, seed=0))
    for _ in range(EPOCHS):
        for batch in host_batches():
            state, _ = step(state, batch)
    return state.params


def without_key_bias(params: dict) -> np.ndarray:
    """All parameters as one vector; the keys' biases have gradients that are rounding."""

    def seen(path, leaf):
        q, k, v = np.split(leaf, 3) if path[-2:] == KEYS else (leaf, leaf[:0], leaf[:0])
        return np.concatenate([q.ravel(), v.ravel()])

    return np.concatenate(
        [seen(path, np.asarray(leaf)) for path, leaf in jax.tree.leaves_with_path(params)]
    )


KEYS = (jax.tree_util.DictKey("qkv"), jax.tree_util.DictKey("bias"))


def in_float64(model: torch.nn.Module) -> dict:
    """Our names, but in float64: the conversion gives float32."""
    rounded = as_params(model)
    rest = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in rest.parameters():
            parameter -= parameter.float().double()
    return jax.tree.map(
        lambda a, b: np.asarray(a, np.float64) + np.asarray(b, np.float64), rounded, as_params(rest)
    )


@pytest.mark.parametrize("part", ["none", "1 layer", "backbone"])
@pytest.mark.parametrize("recipe", ["sgd", "adamw"])
def test_fine_tuning_gives_the_weights_of_jaxvit(monkeypatch, recipe, part):
    """The whole loops, from the same weights on the same batches, each against float64."""
    start = timms() if recipe == "adamw" else lukemelas(monkeypatch)
    start = freeze(replace_head(start, CLASSES), part)
    params = as_params(start)
    models = {torch.float32: copy.deepcopy(start), torch.float64: copy.deepcopy(start).double()}
    for dtype, model in models.items():
        batches = torch_batches(dtype)
        if recipe == "sgd":
            training.fine_tune_sgd(
                model, batches, batches, epochs=EPOCHS, lr=0.02, nesterov=True, weight_decay=0.01,
                step_every_epochs=1,
            )  # fmt: skip
        else:
            training.fine_tune_adamw(
                model, batches, batches, epochs=EPOCHS, lr=1e-3, steps_per_epoch=BATCHES
            )
    if recipe == "sgd":
        optim = OptimConfig(
            name="sgd", lr=0.02, nesterov=True, weight_decay=0.01, schedule="step",
            step_every_epochs=1, freeze=part,
        )  # fmt: skip
    else:
        optim = OptimConfig(
            lr=1e-3, layer_decay=0.75, head_lr=10.0, weight_decay=0.05, decay="matrices",
            schedule="cosine", warmup=0.1, clip_norm=1.0, freeze=part,
        )  # fmt: skip
    ours = fine_tuned_in_jax(params, optim, 0.1 if recipe == "adamw" else 0.0)
    row = distance(
        f"{recipe}, {part}",
        without_key_bias(ours) - without_key_bias(params),
        without_key_bias(as_params(models[torch.float32])) - without_key_bias(params),
        without_key_bias(in_float64(models[torch.float64])) - without_key_bias(params),
    )
    assert row.holds, row
    assert row.details["jax_rms"] < 1e-3


def test_training_keeps_the_best_epochs_by_accuracy_and_then_by_loss(monkeypatch):
    scores = iter([(0.5, 1.0), (0.7, 2.0), (0.7, 1.0), (0.2, 0.5)])
    monkeypatch.setattr(training, "score", lambda model, batches: next(scores))
    batches = torch_batches(torch.float32)
    kept = training.fine_tune_sgd(timms(), batches, batches, epochs=4, keep=3)
    assert [checkpoint.epoch for checkpoint in kept] == [3, 2, 1]
    weights = [checkpoint.state["head.weight"] for checkpoint in kept]
    assert not torch.equal(weights[0], weights[1])  # copies of their own epochs


class Recorded(list):
    """Batches that note in `order` when they are asked for."""

    def __init__(self, name: str, order: list[str], batches: list):
        super().__init__(batches)
        self.name, self.order = name, order

    def __iter__(self):
        self.order.append(self.name)
        return super().__iter__()


def test_the_soup_is_chosen_on_validation_and_the_test_split_is_scored_afterwards():
    """Defect 4 of the seed, whose three epochs were the best of the split that it reported."""
    order: list[str] = []
    batches = torch_batches(torch.float32)
    val, test = Recorded("val", order, batches[:1]), Recorded("test", order, batches[1:])
    model = timms()
    kept = training.fine_tune_sgd(model, batches, val, epochs=3, lr=0.05)
    found = training.report(model, kept, val, test)
    first_test = order.index("test")
    assert order == ["val"] * first_test + ["test"] * 3
    soup.load(model, soup.average([checkpoint.state for checkpoint in kept]))
    assert found["test_accuracy_soup"] == training.score(model, batches[1:])[0]
    soup.load(model, kept[0].state)
    assert found["test_accuracy"] == training.score(model, batches[1:])[0]
    assert found["epochs"] == [checkpoint.epoch for checkpoint in kept]


def test_scores_count_each_example_once_and_leave_the_mode():
    model = timms().train()
    batches = torch_batches(torch.float32)
    uneven = [batches[0], (batches[1][0][:3], batches[1][1][:3])]
    images, labels = (torch.cat(parts) for parts in zip(*uneven, strict=True))
    with torch.no_grad():
        logits = model(images)
    accuracy, loss = training.score(model, uneven)
    assert accuracy == float((logits.argmax(1) == labels).double().mean())
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), 1e-6)
    assert model.training
