"""The survey's training: its weights beside jaxvit's, and that each trick reaches the run."""

import copy
import json
import math
import pickle

import jax
import jax.numpy as jnp
import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import StochasticWeightAveraging
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import cifar

from jaxvit.config import OptimConfig
from jaxvit.data.folder import load_folder
from jaxvit.data.splits import stratified_split
from jaxvit.optim.optimizers import make_optimizer
from parity_tests.evidence import distance
from parity_tests.survey.small_models import CLASSES, ported, random_batch, to_torch, whole_twins
from torch_ref.datasets import DataError
from torch_ref.survey import training

QUIET = {
    "accelerator": "cpu", "logger": False, "enable_checkpointing": False,
    "enable_progress_bar": False, "enable_model_summary": False,
}  # fmt: skip
SIZE, PER_CLASS = 8, 10
FEW = ["--img-size", "8", "--crop-padding", "1", "--batch-size", "6", "--lr", "0.05"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of tiny images, dark and bright, with train/ and test/."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for split in ("train", "test"):
        for name, level in (("dark", 60), ("bright", 180)):
            (root / split / name).mkdir(parents=True)
            for number in range(PER_CLASS):
                pixels = np.clip(level + rng.normal(0, 40, (SIZE, SIZE, 3)), 0, 255)
                image = Image.fromarray(pixels.astype(np.uint8))
                image.save(root / split / name / f"{number:02d}.png")
    return root


def small_model(options=None, num_classes: int = 2) -> nn.Module:
    """With a BatchNorm, in place of ResNet-18 where only the run is tested."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
            nn.Linear(144, num_classes),
        )  # fmt: skip


@pytest.fixture
def run(folder, tmp_path, monkeypatch):
    """run(*arguments) -> (summary, the tested weights, the weights of the best checkpoint)."""
    monkeypatch.setattr(training, "make_model", small_model)

    def run(*arguments: str, epochs: int = 3):
        options = ["--data", str(folder), "--out", str(tmp_path), "--epochs", str(epochs), *FEW]
        summary = training.train(training.parse([*options, *arguments]))
        if "--find-lr" in arguments:
            return summary
        place = max(tmp_path.glob("version_*"), key=lambda path: int(path.name.split("_")[1]))
        (best,) = (place / "checkpoints").glob("*.ckpt")
        best = torch.load(best, weights_only=False)
        state = {name.removeprefix("model."): value for name, value in best["state_dict"].items()}
        assert json.loads((place / "summary.json").read_text()) == summary
        return summary, torch.load(place / "model.pt"), state, best["epoch"]

    return run


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


# Beside jaxvit.


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [False, True], ids=["together", "frozen"])
def test_weights_and_statistics_of_a_run_are_jaxvits(frozen):
    """Four steps of SGD on equal batches; frozen, the backbone keeps every bit."""
    model, jax_model, variables = whole_twins("graph", frozen)
    batches = [random_batch(6, 16, seed=seed) for seed in range(4)]
    arguments = "--data x --lr 1e-3 --weight-decay 0.01 --clip 0.7 --clip-by norm --epochs 1"
    options = training.parse(arguments.split())

    def in_float(dtype, precision: str) -> dict:
        twin = copy.deepcopy(model).to(dtype)
        module = training.LitSurvey(twin, CLASSES, options, len(batches))
        loader = DataLoader([(to_torch(x, dtype), torch.tensor(y)) for x, y in batches], None)
        L.Trainer(
            max_epochs=1, precision=precision, gradient_clip_val=options.clip,
            gradient_clip_algorithm=options.clip_by, **QUIET,
        ).fit(module, loader)  # fmt: skip
        return ported(twin.state_dict())

    tx, _ = make_optimizer(
        OptimConfig(
            name="sgd", lr=1e-3, momentum=0.9, weight_decay=0.01, schedule="cosine", clip_norm=0.7
        ),
        len(batches),
    )

    @jax.jit
    def step(params, stats, opt_state, images, labels):
        trained = {name: params[name] for name in params if not (frozen and name == "backbone")}

        def loss(trained):
            logits, new = jax_model.apply(
                {"params": params | trained, "batch_stats": stats},
                images, False, mutable=["batch_stats"],
            )  # fmt: skip
            return -jax.nn.log_softmax(logits)[jnp.arange(6), labels].mean(), new

        grads, new = jax.grad(loss, has_aux=True)(trained)
        updates, opt_state = tx.update(grads, opt_state or tx.init(trained), trained)
        trained = jax.tree.map(jnp.add, trained, updates)
        return params | trained, stats | new.get("batch_stats", {}), opt_state

    params, stats, opt_state = variables["params"], variables["batch_stats"], None
    for images, labels in batches:
        params, stats, opt_state = step(params, stats, opt_state, images, labels)
    ours = {"params": params, "batch_stats": stats}
    theirs, truth = in_float(torch.float32, "32-true"), in_float(torch.float64, "64-true")
    if frozen:
        for found in (ours, theirs):
            for kind in ("params", "batch_stats"):
                kept = (variables[kind]["backbone"], found[kind]["backbone"])
                assert jax.tree.all(jax.tree.map(np.array_equal, *kept))

    def moved(tree: dict, kind: str) -> np.ndarray:
        before = variables[kind]
        leaves = jax.tree.leaves(jax.tree.map(lambda a, b: np.float64(a) - b, tree[kind], before))
        return np.concatenate([leaf.ravel() for leaf in leaves])

    for kind in ("params", "batch_stats")[: 1 if frozen else 2]:
        row = distance(kind, *(moved(each, kind) for each in (ours, theirs, truth)))
        assert row.holds, row


def test_the_split_of_a_folder_is_jaxvits(folder):
    train, val, test, names = training.get_datasets(folder, None, None, 0.3, split_seed=5)
    ours = load_folder(folder).splits["train"]
    kept, held_out = stratified_split(ours.labels, ours.names, 0.3, 5)
    assert names == ["bright", "dark"]
    for subset, rows in ((train, kept), (val, held_out)):
        paths = [subset.dataset.samples[index][0] for index in subset.indices]
        assert [path.split("/train/")[1] for path in paths] == [ours.names[row] for row in rows]
    assert len(test) == 2 * PER_CLASS


# Data.


def test_torchvisions_own_files_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "check_integrity", lambda *_: True)  # these are not the real ones
    root = tmp_path / "cifar-10-batches-py"
    root.mkdir()
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        batch = {"data": np.full((20, 3072), len(name), np.uint8), "labels": [0, 1] * 10}
        (root / name).write_bytes(pickle.dumps(batch))
    (root / "batches.meta").write_bytes(pickle.dumps({"label_names": ["aeroplane", "bird"]}))
    train, val, test, names = training.get_datasets(tmp_path, None, None, 0.1)
    assert (len(train), len(val), len(test), names) == (90, 10, 20, ["aeroplane", "bird"])
    assert not set(train.indices) & set(val.indices)


def test_only_training_images_are_augmented(folder):
    def constant(image):
        return "augmented"

    train, val, test, _ = training.get_datasets(folder, constant, lambda image: "plain")
    assert {train[0][0], val[0][0], test[0][0]} == {"augmented", "plain"}
    assert {val[0][0], test[0][0]} == {"plain"}
    image = Image.fromarray(np.full((8, 8, 3), 255, np.uint8))
    torch.manual_seed(0)
    shifted = torch.stack([training.make_transform(8, crop_padding=4)(image) for _ in range(20)])
    assert len({float(each.sum()) for each in shifted}) > 5  # zeros came in
    plain = training.make_transform(8)(image)
    expected = [(1 - m) / s for m, s in zip(training.CIFAR_MEAN, training.CIFAR_STD, strict=True)]
    assert torch.allclose(plain, torch.tensor(expected)[:, None, None].expand(3, 8, 8))


def test_a_directory_without_data_is_one_line(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="no CIFAR-10 in"):
        training.get_datasets(tmp_path, None, None)


# Each trick reaches the run.


def test_the_best_epoch_is_tested_by_any_metric(run):
    """The rate rises to 25."""
    arguments = "--lr 0.01 --schedule step --gamma 50 --step-every-epochs 1 --clip 0"
    summary, tested, best, epoch = run("--monitor", "val_loss", *arguments.split())
    assert same(tested, best)
    assert epoch < 2
    assert summary["tested"] == "best val_loss"
    assert summary["val_loss"] > summary["best_val_loss"]


def test_the_same_command_gives_the_same_weights(run):
    (_, first, *_), (_, second, *_), (_, other, *_) = run(), run(), run("--seed", "1")
    assert same(first, second)
    assert not same(first, other)


@pytest.mark.parametrize("how", ["value", "norm"])
def test_gradients_are_clipped(run, how):
    """In one step of plain SGD at rate 1 no weight, or not all together, can move further."""
    arguments = "--lr 1 --momentum 0 --weight-decay 0 --schedule constant --batch-size 64"
    _, found, *_ = run(*arguments.split(), "--clip", "1e-3", "--clip-by", how, epochs=1)
    start = small_model().state_dict()
    moved = torch.cat([
        (found[name] - start[name]).ravel() for name in start if name.endswith(("weight", "bias"))
    ])  # fmt: skip
    size = moved.abs().max() if how == "value" else moved.norm()
    assert size == pytest.approx(1e-3, rel=1e-3)
    assert how == "norm" or moved.norm() > 2e-3


@pytest.fixture
def watched(monkeypatch):
    """(rate, weights) after each batch of a run."""
    seen = []

    def watch(self, *arguments):
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        seen.append((rate, copy.deepcopy(self.model.state_dict())))

    monkeypatch.setattr(training.LitSurvey, "on_train_batch_end", watch)
    return seen


def test_batches_are_accumulated_by_epochs_and_the_schedule_ends_with_the_run(run, watched):
    summary, *_ = run("--accumulate", "1:2", "2:5")  # 3 batches in each epoch
    assert summary["steps"] == 3 + 2 + 1 == training.count_steps(3, 3, {1: 2, 2: 5})
    rates = [rate for rate, _ in watched]
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert min(rates[:-1]) > 1e-3


@pytest.mark.parametrize("name", training.SCHEDULES)
def test_schedules_have_the_rates_of_their_formula(name):
    """In PyTorch's classes; after each of 12 epochs, the metric never improving."""
    arguments = "--data x --lr 0.4 --gamma 0.5 --step-every-epochs 3 --milestones 2 7 --schedule"
    options = training.parse([*arguments.split(), name])
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.4)
    entry = training.make_scheduler(optimizer, options, total_steps=12)
    rates = []
    for _ in range(12):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if entry and name == "plateau":
            entry["scheduler"].step(0.5)
        elif entry and len(rates) < 12:
            entry["scheduler"].step()

    def half_cosine(u: float) -> float:
        return 0.2 * (1 + math.cos(math.pi * u))

    expected = {
        "constant": lambda t: 0.4,
        "cosine": lambda t: half_cosine(t / 12),
        "cosine_restarts": lambda t: half_cosine(t % 3 / 3),
        "step": lambda t: 0.4 * 0.5 ** (t // 3),
        "multi_step": lambda t: 0.4 * 0.5 ** ((t >= 2) + (t >= 7)),
        "exponential": lambda t: 0.4 * 0.5**t,
        "plateau": lambda t: 0.4 * 0.5 ** (max(0, t - 1) // 4),
    }
    if name == "one_cycle":
        assert rates[0] == pytest.approx(0.4 / 25)
        assert max(rates) == pytest.approx(0.4, rel=0.1)
        assert rates[-1] < 1e-4
    else:
        assert rates == pytest.approx([expected[name](t) for t in range(12)], abs=1e-6)


def test_early_stopping_ends_the_run(run):
    summary, *_ = run("--patience", "1", "--monitor", "val_loss", "--lr", "5", "--clip", "0",
                      epochs=8)  # fmt: skip
    assert summary["steps"] < 8 * 3


def test_the_average_of_the_weights_is_what_is_validated_and_tested(run, watched):
    """With a decay of nearly 1 it stays what it was after the first step."""
    _, tested, *_ = run("--ema-decay", "0.999999")
    first, last = watched[0][1]["4.weight"], watched[-1][1]["4.weight"]
    assert torch.allclose(tested["4.weight"], first, atol=1e-5)
    assert not torch.allclose(tested["4.weight"], last, atol=1e-3)


def test_the_finder_suggests_a_rate_and_does_not_train(run):
    found = run("--find-lr", "--batch-size", "2", epochs=20)
    assert 1e-8 < found["suggested_lr"] < 1


def test_adam_and_sgd_are_torchs(run):
    options = training.parse(["--data", "x", "--optimizer", "adam", "--schedule", "constant"])
    module = training.LitSurvey(small_model(), 2, options, 1)
    assert type(module.configure_optimizers()["optimizer"]) is torch.optim.Adam
    _, adam, *_ = run("--optimizer", "adam")
    _, sgd, *_ = run()
    assert not same(adam, sgd)


def test_swas_average_has_statistics_of_its_own_and_is_what_is_tested(run, watched):
    """The mean of the weights at the starts of its epochs, with statistics of one more pass."""
    arguments = "--swa-start 0.5 --swa-lr 0.05 --swa-anneal-epochs 1 --schedule constant"
    summary, tested, best, _ = run(*arguments.split(), epochs=5)  # of 3 batches
    assert summary["tested"] == "SWA's average"
    starts = [watched[3 * epoch - 1][1]["4.weight"] for epoch in (1, 2, 3, 4)]
    assert torch.allclose(tested["4.weight"], torch.stack(starts).mean(0), atol=1e-6)
    assert not torch.allclose(tested["1.running_mean"], watched[14][1]["1.running_mean"])
    assert int(tested["1.num_batches_tracked"]) == 3


@pytest.mark.parametrize("callback", [StochasticWeightAveraging, training.SWA])
def test_swa_leaves_the_statistics_of_a_frozen_norm(callback):
    """Trap 7: Lightning's sets them to 0 and 1, and nothing recomputes them."""

    class Frozen(nn.Sequential):
        def train(self, mode: bool = True):
            super().train(mode)
            self[1].eval()
            return self

    model = Frozen(*small_model()).train()
    model[1].requires_grad_(False)
    model[1].running_mean += 5
    kept = copy.deepcopy(model[1].state_dict())
    options = training.parse(["--data", "x", "--lr", "0.01", "--schedule", "constant"])
    module = training.LitSurvey(model, 2, options, 8)
    images = torch.randn(8, 3, 8, 8)
    loader = DataLoader([(images, torch.arange(8) % 2)] * 2, None)
    L.Trainer(max_epochs=4, callbacks=[callback(0.01, 0.5, 1)], **QUIET).fit(module, loader)
    assert same(kept, model[1].state_dict()) == (callback is training.SWA)
    assert model[1].momentum == 0.1


# The command.


def test_a_frozen_pretrained_backbone_trains_the_block_alone(folder, tmp_path, monkeypatch):
    """Row 1 of the survey's table, and then "|> graph" on its weights."""
    monkeypatch.setattr(training, "LAYERS", {"resnet18": (1, 1, 1, 1)})
    options = ["--data", str(folder), "--out", str(tmp_path), "--epochs", "1", *FEW]
    first = training.train(training.parse(options))
    weights = tmp_path / "version_0" / "model.pt"
    block = ["--attention", "graph", "--embed-dim", "8", "--backbone", str(weights), "--frozen"]
    second = training.train(training.parse([*options, *block]))
    before, after = (torch.load(tmp_path / f"version_{n}" / "model.pt") for n in (0, 1))
    trained = {name.partition(".")[0] for name in after}
    assert trained == {"backbone", "block"}
    kept = {f"backbone.{name}": value for name, value in before.items() if name[:3] != "fc."}
    assert same(kept, after)
    assert first["trained_parameters"] == first["parameters"]
    in_block = sum(value.numel() for name, value in after.items() if name.startswith("block."))
    assert second["trained_parameters"] == in_block < second["parameters"]
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pt")
    block[block.index(str(weights))] = str(tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other.pt does not fit resnet18 with the stem cifar"):
        training.train(training.parse([*options, *block]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--frozen --attention graph", "--frozen keeps random weights: add --backbone FILE"),
        ("--backbone x.pt", "--backbone and --frozen are for a block"),
        ("--swa-start 0.5 --patience 3", "--swa-start averages the last epochs"),
        ("--accumulate 4-2", "'4-2' is not EPOCH:BATCHES, such as 4:2"),
        ("--accumulate 4:0", "'4:0' is not EPOCH:BATCHES"),
    ],
)
def test_what_does_not_go_together_is_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit):
        training.parse(["--data", "x", *arguments.split()])
    assert message in capsys.readouterr().err
