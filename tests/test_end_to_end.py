"""What a run reports, recomputed from its checkpoints and images without jaxvit's own evaluation.

The forward pass, the metrics, the decoding of images, the reading of checkpoints and the order of
batches are implemented again here with NumPy, SciPy, Pillow, orbax and grain.
"""

import contextlib
import hashlib
import io
import json
import math
import zlib
from pathlib import Path

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from PIL import Image, ImageOps
from scipy.special import erf

import train_jax
from jaxvit.augment.pipeline import make_augment
from jaxvit.command_line import parse
from jaxvit.interop.saved_run import classify, load_run
from jaxvit.models.configured import make_model

CLASSES, SIZE, PATCH, WIDTH, HEADS, BATCH, EPOCHS = ("ant", "bee", "cat"), 12, 4, 12, 2, 8, 8
COUNTS = {"train": 13, "val": 9, "test": 7}  # images of each class
MEAN, STD = (0.4, 0.5, 0.6), (0.3, 0.2, 0.25)
LR, WARMUP, DECAY, SMOOTHING = 0.03, 4, 0.9, 0.2
SEEDS = (1, 3)
SELECT = {1: "best", 3: "last"}  # which state each run scores and uses
VALIDATED = {1: range(1, EPOCHS + 1), 3: (2, 4, 6, 8)}  # epochs


def make_images(root: Path) -> None:
    """Noise with a colour for each class; some images are stored rotated, with an orientation."""
    rng = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for label, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (14, 20, 3))
                pixels[:6, :, label] = rng.integers(90, 256)
                exif = Image.Exif()
                exif[0x0112] = (1, 6, 8)[number % 3]
                image = Image.fromarray(pixels.astype(np.uint8))
                image.save(folder / f"{number:02d}.png", exif=exif)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    make_images(root / "images")
    return root


@pytest.fixture(scope="module", params=SEEDS)
def run(photos, request, _quick_compilation):
    """A finished run: its seed, directory, configuration, summary and lines of metrics.jsonl."""
    seed, out = request.param, photos / f"run{request.param}"
    args = [
        "folder", "--data.dir", str(photos / "images"), "--out", str(out), "--seed", str(seed),
        "--data.cache-dir", str(photos / "cache"), "--epochs", str(EPOCHS),
        "--batch-size", str(BATCH), "--log-every-steps", "1", "--select", SELECT[seed],
        "--val-every-epochs", str(VALIDATED[seed][0]),
        "--model.img-size", str(SIZE), "--model.patch-size", str(PATCH),
        "--model.embed-dim", str(WIDTH), "--model.num-heads", str(HEADS),
        "--model.num-layers", "2", "--model.dropout", "0.3", "--model.init", "torch",
        "--label-smoothing", str(SMOOTHING),
        "--data.mean", *map(str, MEAN), "--data.std", *map(str, STD),
        "--augment.flip-p", "0.5", "--augment.mixup-alpha", "0.5", "--augment.cutmix-alpha", "0",
        "--optim.lr", str(LR), "--optim.warmup-steps", str(WARMUP), "--optim.schedule", "cosine",
        "--optim.ema-decay", str(DECAY), "--optim.clip-norm", "0.5", "--optim.decay", "all",
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert train_jax.main(args) == 0
    (photos / f"run{seed}.txt").write_text(printed.getvalue())
    summary = json.loads((out / "summary.json").read_text())
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return seed, out, parse(args)[1], summary, lines


def read_pixels(path: Path) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def read_split(photos: Path, split: str) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Paths, uint8 pixels and labels, sorted by class and then by file name."""
    paths = [p for name in CLASSES for p in sorted((photos / "images" / split / name).iterdir())]
    labels = np.array([CLASSES.index(path.parent.name) for path in paths])
    return paths, np.stack([read_pixels(path) for path in paths]), labels


def read_item(out: Path, step: int, item: str) -> dict:
    handler = ocp.StandardCheckpointHandler()
    tree = handler.restore(out / "checkpoints" / str(step) / item)
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def layer_norm(x, p):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]


def dense(x, p):
    return x @ p["kernel"] + p["bias"]


def forward(params: dict, pixels: np.ndarray) -> np.ndarray:
    """The logits of uint8 (N, H, W, 3), in float64."""
    x = (pixels / 255 - MEAN) / np.array(STD)
    n, grid = len(x), SIZE // PATCH
    x = x.reshape(n, grid, PATCH, grid, PATCH, 3).swapaxes(2, 3).reshape(n, grid**2, -1)
    projection = params["patch_embedding"]["proj"]
    x = x @ projection["kernel"].reshape(-1, WIDTH) + projection["bias"]
    token = np.broadcast_to(params["cls_token"], (n, 1, WIDTH))
    x = np.concatenate([token, x], axis=1) + params["positional_embedding"]
    for number in range(2):
        p = params["transformer_encoder"][f"layers_{number}"]
        qkv = dense(layer_norm(x, p["norm1"]), p["attn"]["qkv"])
        q, k, v = np.moveaxis(qkv.reshape(n, -1, 3, HEADS, WIDTH // HEADS), (2, 3), (0, 2))
        scores = np.exp(q @ k.swapaxes(-1, -2) / math.sqrt(WIDTH // HEADS))
        heads = scores / scores.sum(-1, keepdims=True) @ v
        x = x + dense(heads.swapaxes(1, 2).reshape(n, -1, WIDTH), p["attn"]["fc_out"])
        hidden = dense(layer_norm(x, p["norm2"]), p["mlp_0"])
        x = x + dense(hidden * (1 + erf(hidden / math.sqrt(2))) / 2, p["mlp_3"])
    return dense(layer_norm(x[:, 0], params["norm"]), params["head"])


def probabilities_of(logits: np.ndarray) -> np.ndarray:
    exps = np.exp(logits - logits.max(-1, keepdims=True))
    return exps / exps.sum(-1, keepdims=True)


def scores(params: dict, pixels: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    p = probabilities_of(forward(params, pixels))
    n, predicted, confidence = len(labels), p.argmax(-1), p.max(-1)
    right = predicted == labels
    hits = [np.sum(right & (labels == k)) for k in range(3)]
    actual = [np.sum(labels == k) for k in range(3)]
    guessed = [np.sum(predicted == k) for k in range(3)]
    z, share = 1.959964, right.mean()
    spread = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    bins = np.minimum((confidence * 15).astype(int), 14)
    gaps = [abs(np.sum(right[bins == b]) - confidence[bins == b].sum()) for b in range(15)]
    return {
        "loss": -np.log(p[np.arange(n), labels]).mean(),
        "accuracy": share,
        "accuracy_low": max(0, (share + z**2 / (2 * n) - spread) / (1 + z**2 / n)),
        "accuracy_high": min(1, (share + z**2 / (2 * n) + spread) / (1 + z**2 / n)),
        "precision_macro": np.mean([h / g if g else 0 for h, g in zip(hits, guessed, strict=True)]),
        "recall_macro": np.mean([h / a for h, a in zip(hits, actual, strict=True)]),
        "f1_macro": np.mean(
            [2 * h / (a + g) for h, a, g in zip(hits, actual, guessed, strict=True)]
        ),
        "ece": sum(gaps) / n,
        "mean_confidence": confidence.mean(),
    }


def assert_scores(found: dict, split: str, expected: dict[str, float]) -> None:
    for name, value in expected.items():
        assert found[f"{split}/{name}"] == pytest.approx(value, rel=1e-4, abs=1e-5), name


def validations(lines: list[dict]) -> dict[int, dict]:
    return {line["step"]: line for line in lines if "val/loss" in line}


def test_the_best_epoch_is_not_the_last_so_that_the_two_can_be_told_apart(run):
    _, _, _, summary, lines = run
    ranked = sorted(
        validations(lines).values(), key=lambda line: (line["val/accuracy"], -line["val/loss"])
    )
    assert summary["best"] == ranked[-1]
    assert summary["last"] == validations(lines)[summary["steps"]]
    assert summary["best"]["step"] != summary["steps"]


def test_validation_and_test_scores_are_those_of_the_averaged_weights(photos, run):
    seed, out, _, summary, lines = run
    best, last = summary["best"]["step"], summary["steps"]
    assert summary["scored_step"] == {"best": best, "last": last}[SELECT[seed]]
    _, pixels, labels = read_split(photos, "val")
    for step in (best, last):
        averages = read_item(out, step, "averages")
        assert_scores(validations(lines)[step], "val", scores(averages, pixels, labels))
        raw = scores(read_item(out, step, "params"), pixels, labels)
        assert abs(raw["loss"] - validations(lines)[step]["val/loss"]) > 1e-3  # raw weights differ
    _, pixels, labels = read_split(photos, "test")
    assert_scores(
        summary, "test", scores(read_item(out, summary["scored_step"], "averages"), pixels, labels)
    )


def test_a_loaded_run_gives_the_probabilities_of_the_scored_averaged_weights(photos, run):
    _, out, _, summary, _ = run
    paths, pixels, _ = read_split(photos, "test")
    expected = probabilities_of(forward(read_item(out, summary["scored_step"], "averages"), pixels))
    saved = load_run(out)
    assert saved.step == summary["scored_step"]
    for found, row in zip(classify(saved, paths), expected, strict=True):
        assert list(found.values()) == sorted(found.values(), reverse=True)
        assert [found[name] for name in CLASSES] == pytest.approx(list(row), abs=1e-5)
    one = classify(saved, paths[0])
    assert one == classify(saved, [paths[0]])[0] == classify(saved, str(paths[0]))
    assert classify(saved, Image.open(paths[1])) == pytest.approx(classify(saved, paths[1]))
    array = np.asarray(ImageOps.exif_transpose(Image.open(paths[1])))
    assert classify(saved, array) == pytest.approx(classify(saved, paths[1]))


def test_the_hashes_are_those_of_the_last_parameters_and_of_every_saved_item(run):
    _, out, _, summary, _ = run

    def digest(tree) -> str:
        found = hashlib.sha256()
        for path, leaf in jax.tree.leaves_with_path(tree):
            array = np.asarray(leaf)
            found.update(f"{jax.tree_util.keystr(path)}{array.shape}{array.dtype}".encode())
            found.update(array.tobytes())
        return found.hexdigest()

    def restored(step: int, item: str):
        path = out / "checkpoints" / str(step) / item
        return ocp.StandardCheckpointHandler().restore(path)

    last = summary["steps"]
    assert summary["params_sha256"] == digest(restored(last, "params"))
    for step in (last, summary["best"]["step"]):
        seal = json.loads((out / "checkpoints" / str(step) / "seal" / "metadata").read_text())
        assert seal["step"] == step
        assert set(seal["sha256"]) == {"params", "opt_state", "averages"}
        for item in ("params", "averages"):
            assert seal["sha256"][item] == digest(restored(step, item))


def test_the_first_step_is_determined_by_the_seed(photos, run):
    """Initial weights, order of batches, augmentation, dropout, loss, accuracy, gradient, rate."""
    seed, _, config, _, lines = run
    _, pixels, labels = read_split(photos, "train")
    rows = grain.MapDataset.range(len(labels)).seed(seed).shuffle().repeat(2).batch(BATCH)[0]
    model = make_model(config.model, 3)
    shape = (1, SIZE, SIZE, 3)
    params = jax.jit(model.init)(jax.random.key(seed), jnp.zeros(shape))["params"]
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 0))
    targets = np.eye(3)[labels[rows]] * (1 - SMOOTHING) + SMOOTHING / 3
    augment = jax.jit(make_augment(config.augment, MEAN, STD))
    images, targets = augment(keys[0], jnp.asarray(pixels[rows]), jnp.asarray(targets, jnp.float32))

    def loss(params):
        logits = model.apply({"params": params}, images, False, rngs={"dropout": keys[1]})
        return -(targets * jax.nn.log_softmax(logits)).sum(-1).mean(), logits

    (value, logits), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    first = next(line for line in lines if line["step"] == 1)
    assert first["train/loss"] == pytest.approx(float(value), rel=1e-4)
    assert first["train/grad_norm"] == pytest.approx(float(optax.global_norm(grads)), rel=1e-3)
    right = logits.argmax(-1) == targets.argmax(-1)
    assert first["train/accuracy"] == pytest.approx(float(right.mean()))


def test_the_learning_rate_of_every_step_is_the_one_that_was_used(run):
    *_, summary, lines = run
    total = summary["steps"]
    assert total == -(-EPOCHS * COUNTS["train"] * 3 // BATCH)
    for line in lines:
        if "train/loss" not in line:
            continue
        step = line["step"] - 1
        if step < WARMUP:
            expected = LR * (step + 1) / WARMUP
        else:
            share = (step - WARMUP) / (total - WARMUP)
            expected = LR * (1 + math.cos(math.pi * share)) / 2
        assert line["train/learning_rate"] == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_split_json_metrics_and_summary_describe_what_was_trained_on(photos, run):
    seed, out, config, summary, lines = run
    split = json.loads((out / "split.json").read_text())
    assert split["class_names"] == list(CLASSES)
    for name, count in COUNTS.items():
        paths, pixels, _ = read_split(photos, name)
        assert list(split[name]) == [str(p.relative_to(photos / "images" / name)) for p in paths]
        crc = [f"{zlib.crc32(image.tobytes()):08x}" for image in pixels]
        assert list(split[name].values()) == crc
        assert summary["images"][name] == 3 * count
    assert [line["step"] for line in lines if "train/loss" in line] == list(
        range(1, summary["steps"] + 1)
    )
    ends = [-(-e * 3 * COUNTS["train"] // BATCH) for e in VALIDATED[seed]]
    assert list(validations(lines)) == ends
    assert [line["epoch"] for line in validations(lines).values()] == list(VALIDATED[seed])
    timed = [line for line in lines if "images_per_sec" in line]
    seconds = sum(1 / line["images_per_sec"] for line in timed)
    assert summary["images_per_sec"] == pytest.approx(len(timed) / seconds)
    assert summary["parameters"] == sum(
        x.size for x in jax.tree.leaves(read_item(out, summary["steps"], "params"))
    )
    assert summary["epochs"] == EPOCHS
    assert json.loads((out / "config.json").read_text())["seed"] == config.seed


def test_two_seeds_give_different_first_losses(photos):
    first, second = (
        [
            json.loads(line)
            for line in (photos / f"run{seed}/metrics.jsonl").read_text().splitlines()
        ]
        for seed in SEEDS
    )
    assert first[0]["train/loss"] != second[0]["train/loss"]


def test_the_printed_lines_have_the_scores_of_each_epoch_and_say_which_is_the_best_so_far(
    photos, run
):
    seed, _, _, summary, lines = run
    printed = (photos / f"run{seed}.txt").read_text().splitlines()
    best, expected = (), []
    for line in validations(lines).values():
        loss, accuracy, ece = (line[f"val/{name}"] for name in ("loss", "accuracy", "ece"))
        rank = accuracy, -loss
        expected.append(
            (
                f"epoch {line['epoch']:>3}/{EPOCHS}  val loss {loss:.3f}  accuracy {accuracy:.2%}  "
                f"ece {ece:.3f}",
                rank > best,
            )
        )
        best = max(best, rank)
    found = [line for line in printed if line.startswith("epoch ")]
    assert [
        (line[: len(start)], line.endswith("best"))
        for line, (start, _) in zip(found, expected, strict=True)
    ] == expected
    of = " of the last epoch" if SELECT[seed] == "last" else ""
    assert any(
        line.startswith(f"test accuracy{of} {summary['test/accuracy']:.2%} ") for line in printed
    )
    best = summary["best"]
    start = f"best validation {best['val/accuracy']:.2%} at epoch {best['epoch']}; "
    assert any(line.startswith(start) for line in printed)
    assert summary["preset"] == "folder"
