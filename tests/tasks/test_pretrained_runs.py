"""Runs that start from pretrained weights: a probe on cached features, and fine-tuning."""

import json
import math
import shutil
from dataclasses import replace
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from PIL import Image
from safetensors.numpy import save_file

import train_jax
from jaxvit.command_line import parse
from jaxvit.data.datasets import load_dataset
from jaxvit.errors import UserError
from jaxvit.interop.saved_run import classify, load_run
from jaxvit.interop.torch_weights import state_dict_from_params
from jaxvit.models.transformer import VisionTransformer, init_params
from jaxvit.tasks import configured
from jaxvit.tasks.configured import make_task
from jaxvit.tasks.head_sweep import DECAYS, sweep_decay
from jaxvit.training.state import create_state

CLASSES, COUNTS = ("ant", "bee", "cat"), {"train": (6, 12, 9), "val": (4, 4, 4), "test": (5, 5, 5)}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MODEL = VisionTransformer(
    img_size=16, patch_size=8, num_classes=5, embed_dim=16, num_heads=2, num_layers=2, dropout=0.0
)


def write_weights(path, seed: int):
    params = init_params(MODEL, jax.random.key(seed))
    params = jax.tree.map(
        lambda x: x + 0.05 * jax.random.normal(jax.random.key(9), x.shape), params
    )
    save_file(state_dict_from_params(jax.device_get(params)), path)
    (path.parent / "config.json").write_text('{"num_attention_heads": 2}')
    return params


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of another aspect ratio than 1, and weights with a head of five classes."""
    root, rng = tmp_path_factory.mktemp("pretrained"), np.random.default_rng(0)
    for split, counts in COUNTS.items():
        for label, (name, count) in enumerate(zip(CLASSES, counts, strict=True)):
            (root / "images" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (20, 30, 3))
                pixels[:9, :, label] = rng.integers(90, 256)
                file = root / "images" / split / name / f"{number:02d}.png"
                Image.fromarray(pixels.astype(np.uint8)).save(file)
    for seed in (0, 1):
        (root / f"weights{seed}").mkdir()
        write_weights(root / f"weights{seed}" / "model.safetensors", seed)
    return root


def arguments(folder, preset: str, out: str, *more: str, weights: int = 0) -> list[str]:
    return [
        preset, "--data.dir", str(folder / "images"), "--init.weights",
        str(folder / f"weights{weights}"), "--out", str(folder / out), "--data.cache-dir",
        str(folder / "cache"), "--batch-size", "8", "--log-every-steps", "1", *more,
    ]  # fmt: skip


def train(folder, preset: str, out: str, *more: str, weights: int = 0):
    """summary.json, and the lines of metrics.jsonl."""
    assert train_jax.main(arguments(folder, preset, out, *more, weights=weights)) == 0
    lines = (folder / out / "metrics.jsonl").read_text().splitlines()
    return json.loads((folder / out / "summary.json").read_text()), [*map(json.loads, lines)]


def read_split(folder, split: str, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Normalised images and labels, decoded as the probe's weights want: squashed, bilinear."""
    images, labels = [], []
    for label, name in enumerate(CLASSES):
        for file in sorted((folder / "images" / split / name).iterdir()):
            image = Image.open(file).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
            images.append((np.asarray(image) / 255 - MEAN) / STD)
            labels.append(label)
    return np.stack(images).astype(np.float32), np.array(labels)


def scores_of(folder, params, size: int = 16) -> tuple[np.ndarray, float, float]:
    """Logits, accuracy and loss of the test split, from parameters for images of this size."""
    images, labels = read_split(folder, "test", size)
    model = MODEL.clone(num_classes=3, img_size=size)
    logits = jax.jit(model.apply)({"params": params}, images)
    loss = -np.asarray(jax.nn.log_softmax(logits))[np.arange(len(labels)), labels].mean()
    return logits, (logits.argmax(-1) == labels).mean(), loss


@pytest.fixture(scope="module")
def probe(folder, _quick_compilation):
    return train(folder, "probe", "probe", "--epochs", "20", "--val-every-epochs", "5")


def test_a_probe_trains_the_head_alone_on_the_weights_own_features(folder, probe):
    summary, _ = probe
    run = load_run(folder / "probe")
    expected = write_weights(folder / "again.safetensors", 0)
    (folder / "config.json").unlink()
    found = flatten_dict(run.params)
    for path, leaf in flatten_dict(expected).items():
        if path[0] != "head":
            assert np.asarray(found[path]).tobytes() == np.asarray(leaf).tobytes(), path
    assert found["head", "kernel"].shape == (16, 3)
    assert np.abs(found["head", "kernel"]).max() > 0.01
    logits, accuracy, loss = scores_of(folder, run.params)
    assert summary["test/accuracy"] == pytest.approx(accuracy)
    assert summary["test/loss"] == pytest.approx(loss, rel=1e-4)
    first = sorted((folder / "images/test/ant").iterdir())[0]
    assert list(classify(run, first).values())[0] == pytest.approx(
        float(jax.nn.softmax(logits[0]).max()), rel=1e-4
    )


@pytest.mark.slow
def test_features_are_computed_once_and_again_where_the_file_is_damaged(folder, probe, capsys):
    more = ("--epochs", "1", "--overwrite")
    files = sorted((folder / "cache").glob("features-*.npz"))
    assert len(files) == 3
    capsys.readouterr()
    before, _ = train(folder, "probe", "again", *more)
    assert "features of" not in capsys.readouterr().out
    with np.load(files[0]) as saved:
        np.savez(files[0], features=saved["features"] + 1, crc32=saved["crc32"])
    after, _ = train(folder, "probe", "again", *more)
    assert capsys.readouterr().out.count("features of") == 1
    assert after["params_sha256"] == before["params_sha256"]
    train(folder, "probe", "again", *more, weights=1)
    assert capsys.readouterr().out.count("features of") == 3
    train(folder, "probe", "again", *more, "--data.mean", "0.5", "0.5", "0.5")
    assert capsys.readouterr().out.count("features of") == 3
    train(folder, "probe", "again", *more, "--model.pool", "mean")
    assert capsys.readouterr().out.count("features of") == 3


@pytest.mark.slow
def test_the_chosen_decay_is_that_of_the_lowest_validation_loss_of_a_whole_run(folder, probe):
    summary, _ = probe
    losses = {}
    for decay in DECAYS[-2:]:
        _, lines = train(
            folder, "probe", "one", "--epochs", "20", "--overwrite", "--optim.weight-decay",
            str(decay),
        )  # fmt: skip
        losses[decay] = lines[-1]["val/loss"]
    args = arguments(folder, "probe", "sweep", "--epochs", "20")
    _, config = parse(args)
    data = load_dataset(config.data, 16, 3)
    backbone = MODEL.clone(num_classes=0)
    params = write_weights(folder / "again.safetensors", 0)
    (folder / "config.json").unlink()

    def with_features(name):
        images, _ = read_split(folder, name)
        features = backbone.apply({"params": params}, images, deterministic=True)
        return replace(getattr(data, name), features=np.asarray(features))

    data = data._replace(train=with_features("train"), val=with_features("val"))
    total = math.ceil(20 * len(data.train) / 8)
    sweep = sweep_decay(data, config, total, Fraction(len(data.train), 8))
    assert sweep.losses[-2:] == pytest.approx(tuple(losses.values()), rel=1e-3)
    assert sweep.decay == DECAYS[int(np.argmin(sweep.losses))] == summary["chosen_weight_decay"]
    swept, _ = train(folder, "probe", "one", "--epochs", "3", "--overwrite")
    chosen = str(swept["chosen_weight_decay"])
    given, _ = train(
        folder, "probe", "one", "--epochs", "3", "--overwrite", "--optim.weight-decay", chosen
    )
    assert swept["params_sha256"] == given["params_sha256"]
    assert swept["chosen_weight_decay"] != 0.01  # a run that ignored it would have this one


@pytest.mark.slow
def test_a_resumed_probe_keeps_the_decay_that_was_chosen(folder, monkeypatch, capsys):
    """Another machine may choose another one of two that are almost equal."""
    more = ("--epochs", "6", "--val-every-epochs", "2")
    whole, _ = train(folder, "probe", "whole", *more)
    with monkeypatch.context() as patch:
        patch.setattr("jaxvit.runs.recorder.Recorder.report", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(folder, "probe", "killed", *more)
    monkeypatch.setattr("jaxvit.tasks.configured.sweep_decay", lambda *args: 1 / 0)
    capsys.readouterr()
    steps = (folder / "killed" / "checkpoints").glob("[0-9]*")
    shutil.rmtree(max(steps, key=lambda path: int(path.name)))
    resumed, _ = train(folder, "probe", "killed", *more)
    chosen = whole["chosen_weight_decay"]
    assert f"weight decay {chosen:g}, as before" in capsys.readouterr().out
    for name in ("chosen_weight_decay", "params_sha256"):
        assert resumed[name] == whole[name]
    extended, _ = train(folder, "probe", "killed", *more, "--epochs", "8", "--extend")
    assert extended["chosen_weight_decay"] == chosen


def test_fine_tuning_starts_at_the_weights_with_a_head_of_zeros(folder):
    _, config = parse(
        arguments(folder, "finetune", "x", "--epochs", "1", "--optim.ema-decay", ".9")
    )
    geometry = (config.data.resize, config.data.crop_share, config.data.interpolation)
    assert geometry == ("squash", 1.0, "bilinear")  # the lab's, whose names the weights have
    assert (config.model.num_heads, config.model.num_layers, config.model.init) == (2, 2, "vit")
    data = load_dataset(config.data, config.model.img_size, 3)
    task = make_task(config, data, 10, None)
    state = create_state(task, 0, True, task.pretrained)
    expected = flatten_dict(write_weights(folder / "again.safetensors", 0))
    (folder / "config.json").unlink()
    for tree in (state.params, state.averages):
        for path, leaf in flatten_dict(tree).items():
            assert (leaf == (0 if path[0] == "head" else expected[path])).all(), path
    assert any("head.weight: dropped" in note for note in task.notes)


def test_fine_tuning_scores_what_it_saved_and_cuts_crops_from_larger_images(folder, capsys):
    summary, lines = train(
        folder, "finetune", "tuned", "--epochs", "2", "--select", "last", "--augment.flip-p", "0",
        "--class-balanced", "--optim.freeze", "1 layers",
    )  # fmt: skip
    run = load_run(folder / "tuned")
    start, end = flatten_dict(write_weights(folder / "again.safetensors", 0)), {}
    (folder / "config.json").unlink()
    for path, leaf in flatten_dict(run.params).items():
        frozen = path[0] not in ("head", "norm") and "layers_1" not in path
        end[path] = frozen
        if path[0] != "head":
            assert (np.asarray(leaf) == np.asarray(start[path])).all() == frozen, path
    images, labels = read_split(folder, "test")
    logits = MODEL.clone(num_classes=3).apply({"params": run.params}, images, deterministic=True)
    assert summary["test/accuracy"] == pytest.approx((logits.argmax(-1) == labels).mean())
    data = load_dataset(run.config.data, 16, 3)
    assert data.train.pixels.shape[1:] == (18, 18, 3)  # 16 times 8/7
    assert data.val.pixels.shape[1:] == (16, 16, 3)
    # Zero logits: every example's loss is log 3 times the mean weight under its smoothed target.
    counts = np.array(COUNTS["train"])
    weights = counts.sum() / (3 * counts)
    first = lines[0]["train/loss"]
    possible = [math.log(3) * (0.9 * w + 0.1 * weights.mean()) for w in weights]
    assert min(possible) <= first <= max(possible)
    assert first != pytest.approx(math.log(3), rel=1e-3)


def test_balanced_losses_are_weighted_by_the_classes_of_the_batch(folder):
    _, config = parse(arguments(folder, "finetune", "x", "--epochs", "1", "--class-balanced"))
    data = load_dataset(config.data, config.model.img_size, 3)
    task = make_task(config, data, 10, None)
    state = create_state(task, 0, False, task.pretrained)
    labels = jnp.array([0, 0, 1, 2])
    targets = 0.9 * jax.nn.one_hot(labels, 3) + 0.1 / 3
    inputs = {"images": jnp.zeros((4, 16, 16, 3)), "targets": targets}
    loss, _ = task.phases[0].loss(state.params, {}, jax.random.key(0), inputs)
    weights = 27 / (3 * np.array(COUNTS["train"]))
    assert float(loss) == pytest.approx(math.log(3) * float((targets @ weights).mean()), rel=1e-5)


def test_a_run_is_resumed_with_the_same_weights_wherever_they_lie_and_with_no_others(
    folder, probe, capsys
):
    train(folder, "probe", "resumed", "--epochs", "2")
    (folder / "resumed" / "summary.json").unlink()
    args = arguments(folder, "probe", "resumed", "--epochs", "2", weights=1)
    assert train_jax.main(args) == 2
    assert "the weights are not those that the run in" in capsys.readouterr().err
    shutil.copytree(folder / "weights0", folder / "moved")
    args[args.index("--init.weights") + 1] = str(folder / "moved")
    assert train_jax.main(args) == 0
    assert "resuming" in capsys.readouterr().out


def test_a_decay_that_diverges_is_not_chosen(folder):
    _, config = parse(arguments(folder, "probe", "x", "--epochs", "2"))
    data = load_dataset(config.data, 16, 3)
    rng = np.random.default_rng(0)

    def with_features(name, scale):
        split = getattr(data, name)
        features = scale * rng.standard_normal((len(split), 4)).astype(np.float32)
        return replace(split, features=features)

    sgd = replace(config.optim, name="sgd", lr=5.0)
    config = replace(config, optim=sgd)
    total, per_epoch = 400, Fraction(len(data.train), 8)
    data = data._replace(train=with_features("train", 1), val=with_features("val", 1))
    sweep = sweep_decay(data, config, total, per_epoch)
    assert math.inf in sweep.losses
    assert sweep.decay == DECAYS[int(np.argmin(sweep.losses))]
    data = data._replace(train=with_features("train", 1e25))
    with pytest.raises(UserError, match="the head diverges with every weight decay: lower"):
        sweep_decay(data, config, total, per_epoch)


def test_with_balanced_classes_the_decay_is_chosen_by_a_balanced_loss(folder):
    """More validation images of one class, which are copies, change nothing."""
    _, config = parse(arguments(folder, "probe", "x", "--epochs", "2"))
    data = load_dataset(config.data, 16, 3)
    rng = np.random.default_rng(0)

    def losses(copies, class_weights):
        rows = np.repeat(np.arange(len(data.val)), np.where(data.val.labels == 0, copies, 1))
        val = replace(data.val, labels=data.val.labels[rows], features=features["val"][rows])
        train = replace(data.train, features=features["train"])
        both = data._replace(train=train, val=val)
        return np.array(sweep_decay(both, config, 50, Fraction(27, 8), class_weights).losses)

    features = {
        name: rng.standard_normal((len(getattr(data, name)), 4)).astype(np.float32)
        for name in ("train", "val")
    }
    weights = np.array([1.5, 0.75, 1.0], np.float32)
    np.testing.assert_allclose(losses(5, weights), losses(1, weights), rtol=1e-5)
    assert (np.abs(losses(5, None) / losses(1, None) - 1) > 1e-3).all()


def test_the_pooling_of_a_run_is_followed(folder):
    train(folder, "finetune", "pooled", "--epochs", "1", "--model.pool", "mean")
    args = arguments(folder, "probe", "x")
    args[args.index("--init.weights") + 1] = str(folder / "pooled")
    _, config = parse(args)
    assert config.model.pool == "mean"
    # A run has its settings in itself: none can be given in their place.
    with pytest.raises(UserError, match="which is 2: give --model.num-heads 2, or choose the"):
        parse([*args, "--model.num-heads", "4"])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["folder", "--model.norm-eps", "None"], "--model.norm-eps is None, which follows"),
        (["folder", "--data.crop-share", "None"], "--data.crop-share is None, which follows"),
        (
            ["finetune", "--model.name", "vit", "--model.num-layers", "4"],
            "--model.mlp-ratio is None, which follows",
        ),
        (
            ["folder", "--data.cache-features", "--optim.freeze", "backbone", "--augment.flip-p",
             "0", "--augment.crop-scale", "1", "1", "--augment.mixup-alpha", "0",
             "--augment.cutmix-alpha", "0"],
            "--data.cache-features, which the preset probe sets, needs pretrained weights",
        ),
        (["folder", "--init.layout", "timm"], "--init.layout timm is that of pretrained weights"),
        (["folder", "--init.weights-option", "gelu=erf"], "gelu=erf is of pretrained weights"),
        (
            ["finetune", "--init.weights-option", "gelu=erf", "--init.weights-option=pool=cls"],
            "--init.weights-option is given 2 times",
        ),
    ],
)  # fmt: skip
def test_options_that_only_weights_decide_need_weights(folder, args, message):
    with pytest.raises(UserError, match=message):
        parse([*args, "--data.dir", str(folder / "images")])


def test_weights_of_other_channels_or_inside_the_run_are_refused(folder):
    weights = ["--init.weights", str(folder / "weights0")]
    with pytest.raises(UserError, match="take images of 3 channel.* digits have 1: choose other"):
        parse(["finetune", "--data.name", "digits", *weights])
    with pytest.raises(UserError, match="--init.weights .* lies in --out"):
        parse(
            [
                "finetune",
                "--data.dir",
                str(folder / "images"),
                *weights,
                "--out",
                str(folder / "weights0"),
            ]
        )


@pytest.mark.parametrize(
    ("preset", "more", "message"),
    [
        (
            "finetune",
            ("--model.embed-dim", "24"),
            r"--model.embed-dim 24 \(given, or the preset's\) is not that of the weights in .*, "
            "which is 16: give --model.embed-dim 16, or choose the preset probe or finetune",
        ),
        ("finetune", ("--model.img-size", "20"), "--model.img-size 20 is not divisible by"),
        ("probe", ("--augment.flip-p", "0.5"), "goes without augmentation"),
        ("probe", ("--model.drop-path", "0.1"), "once, without dropout: set every dropout rate"),
        (
            "probe",
            ("--optim.freeze", "none"),
            "--data.cache-features needs --optim.freeze backbone",
        ),
        (
            "finetune",
            ("--optim.weight-decay", "None"),
            "needs --data.cache-features: give a number",
        ),
        (
            "finetune",
            ("--model.num-heads", "4"),
            "which is 2: give --model.num-heads 2, or give --init.weights-option num_heads=4",
        ),
        ("finetune", ("--init.weights-option", "heads=4"), "'heads' is no option of loading"),
        ("pets-lab", ("--data.name", "folder"), "is not that of the weights"),
        ("finetune", ("--augment.crop-scale", "1", "1"), "too, or --data.stored-scale 1$"),
        (
            "folder",
            ("--data.stored-scale", "2", "--augment.crop-scale", "1", "1"),
            "of use only to",
        ),
    ],
)
def test_what_does_not_fit_the_weights_is_one_line(folder, preset, more, message):
    with pytest.raises(UserError, match=message):
        parse(arguments(folder, preset, "x", *more))


def test_an_option_of_the_weights_counts_before_what_their_files_say(folder):
    args = arguments(folder, "finetune", "x", "--init.weights-option", "num_heads=4", "gelu=tanh")
    _, config = parse(args)
    assert (config.model.num_heads, config.model.gelu) == (4, "tanh")
    data = load_dataset(config.data, config.model.img_size, 3)
    assert any(
        "from an option: num_heads 4" in note for note in make_task(config, data, 10, None).notes
    )


@pytest.mark.slow
def test_weights_of_384_pixels_and_other_classes_are_trained_at_224_with_a_new_head(folder, capsys):
    """As a user does it: no size is given, and the file's head is of five classes."""
    large = MODEL.clone(img_size=384, patch_size=16, num_layers=1)
    params = jax.device_get(init_params(large, jax.random.key(0)))
    (folder / "deit_384").mkdir()
    save_file(state_dict_from_params(params), folder / "deit_384" / "model.safetensors")
    (folder / "deit_384" / "config.json").write_text('{"num_attention_heads": 2}')
    args = arguments(folder, "finetune", "from384", "--epochs", "1")
    args[args.index("--init.weights") + 1] = str(folder / "deit_384")
    assert train_jax.main(args) == 0
    printed = capsys.readouterr().out
    assert "resized from 24 x 24 to 14 x 14 by bicubic_antialias" in printed
    assert "head.weight: dropped: features are asked for" in printed
    table = (folder / "from384" / "weights.txt").read_text()
    assert all(name in table for name in state_dict_from_params(params))
    run = load_run(folder / "from384")
    assert (run.config.model.img_size, run.config.data.crop_share) == (224, 0.9)  # DeiT's at 224
    assert run.params["positional_embedding"].shape == (1, 1 + 14 * 14, 16)
    assert run.params["head"]["kernel"].shape == (16, 3)


def test_a_preset_that_starts_from_weights_asks_for_them(folder):
    with pytest.raises(UserError, match="give --init.weights PATH"):
        parse(["probe", "--data.dir", str(folder / "images")])


def test_another_size_of_images_resizes_the_positions(folder):
    args = arguments(folder, "finetune", "x", "--model.img-size", "24", "--epochs", "1")
    _, config = parse(args)
    data = load_dataset(config.data, 24, 3)
    task = make_task(config, data, 10, None)
    assert task.pretrained[0]["positional_embedding"].shape == (1, 10, 16)
    assert any("resized from 2 x 2 to 3 x 3" in note for note in task.notes)


def test_a_probe_at_another_size_resizes_the_positions(folder):
    summary, _ = train(folder, "probe", "larger", "--epochs", "1", "--model.img-size", "24")
    *_, loss = scores_of(folder, load_run(folder / "larger").params, 24)
    assert summary["test/loss"] == pytest.approx(loss, rel=1e-4)


def test_the_decay_is_chosen_by_training_as_the_run_does(folder, monkeypatch):
    """Under another seed, with smoothing and balanced classes; validation is balanced anyway."""
    seen = []

    def sweep(*args):
        seen.append(sweep_decay(*args))
        return seen[-1]

    monkeypatch.setattr(configured, "sweep_decay", sweep)
    more = ("--epochs", "20", "--seed", "3", "--label-smoothing", "0.2", "--class-balanced",
            "--optim.lr", "0.05", "--overwrite")  # fmt: skip
    train(folder, "probe", "alike", *more)
    _, lines = train(folder, "probe", "alike", *more, "--optim.weight-decay", str(DECAYS[-1]))
    assert seen[0].losses[-1] == pytest.approx(lines[-1]["val/loss"], rel=1e-3)
