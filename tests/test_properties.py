"""Property tests: every input works or is refused in one line."""

from dataclasses import fields, is_dataclass, replace
from io import BytesIO
from typing import get_args, get_origin

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxvit.command_line import parse
from jaxvit.completion import complete
from jaxvit.config import Config, check
from jaxvit.data.decoded import Split
from jaxvit.data.images import decode_image
from jaxvit.data.loader import train_batches
from jaxvit.data.preprocessing import Geometry
from jaxvit.data.splits import stratified_split
from jaxvit.errors import UnreadableImage, UserError
from jaxvit.models.configured import make_model
from jaxvit.objectives.targets import smooth_labels
from jaxvit.optim.optimizers import make_optimizer
from jaxvit.presets import PRESETS
from jaxvit.runtime.devices import make_devices
from jaxvit.tasks.classification import make_classification
from jaxvit.training.evaluate import make_score
from jaxvit.training.fit import Plan
from jaxvit.training.state import create_state
from jaxvit.training.steps import make_train_step
from tests.toy_tasks import blank_task

quick = settings(
    deadline=None,
    max_examples=60,
    derandomize=True,  # the same examples in every run
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
numbers = st.one_of(
    st.integers(-3, 300),
    st.integers(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(0, 1),
    st.sampled_from([0, 1, -1, 0.5, 1e-45, 1e308, float("nan"), float("inf"), 2**31, 2**63]),
)


def assert_one_line(error: UserError, about: str = "") -> None:
    assert str(error).startswith(about)
    assert str(error).strip()
    assert "\n" not in str(error)


def options(cls: type = Config, prefix: str = "") -> dict[str, object]:
    """Every option's name and type."""
    found = {}
    for field in fields(cls):
        name = f"{prefix}{field.name}".replace("_", "-")
        if is_dataclass(field.type):
            found |= options(field.type, f"{name}.")
        else:
            found[name] = field.type
    return found


def texts_for(kind: object) -> st.SearchStrategy[list[str]]:
    """What a user might write after an option of this type."""
    words = st.one_of(numbers.map(str), st.text(max_size=8), st.sampled_from(["None", "True", ""]))
    if get_origin(kind) is tuple:
        return st.lists(words, max_size=4)
    if choices := [choice for choice in get_args(kind) if isinstance(choice, str)]:
        words = st.one_of(words, st.sampled_from(choices))
    return st.lists(words, min_size=0 if kind is bool else 1, max_size=1)


command_lines = st.lists(
    st.sampled_from(sorted(options().items())).flatmap(
        lambda option: texts_for(option[1]).map(lambda words: [f"--{option[0]}", *words])
    ),
    min_size=1,
    max_size=3,
)


@quick
@given(preset=st.sampled_from([[], *([name] for name in PRESETS)]), chosen=command_lines)
def test_a_command_line_gives_a_config_or_an_error_of_one_line(preset, chosen):
    arguments = preset + [word for words in chosen for word in words]
    try:
        _, config = parse(arguments)
    except UserError as error:
        assert_one_line(error)
    else:
        assert isinstance(config, Config)


shapes = st.fixed_dictionaries(
    {
        "patch_size": st.integers(1, 6),
        "grid": st.integers(1, 3),  # patches a side
        "head_size": st.integers(1, 5),
        "num_heads": st.integers(1, 4),
        "num_layers": st.integers(1, 2),
        "mlp_ratio": st.floats(1, 3),
        "dropout": st.sampled_from([0.0, 0.1, 0.99]),
        "dtype": st.sampled_from(["float32", "bfloat16"]),
        "remat": st.booleans(),
        "init": st.sampled_from(["torch", "vit"]),
    }
)
augmentations = st.fixed_dictionaries(
    {
        "crop_scale": st.sampled_from([(1.0, 1.0), (0.01, 1.0), (0.5, 0.5)]),
        "flip_p": st.sampled_from([0.0, 0.5, 1.0]),
        "rotate": st.sampled_from([0.0, 30.0]),
        "rand_ops": st.integers(0, 2),
        "brightness": st.sampled_from([0.0, 0.4]),
        "cutout_holes": st.integers(0, 2),
        "cutout_length": st.integers(1, 20),  # larger than the image, too
        "mixup_alpha": st.sampled_from([0.0, 0.2, 1e6]),
        "cutmix_alpha": st.sampled_from([0.0, 1e-6, 1.0]),
        "cutmix_p": st.sampled_from([0.0, 0.5, 1.0]),
    }
)


@settings(quick, max_examples=12)
@given(
    model=shapes,
    augment=augmentations,
    each=st.integers(1, 3),  # examples a device and micro-batch
    accumulate=st.integers(1, 3),
    classes=st.integers(1, 5),
    optim=st.fixed_dictionaries(
        {
            "schedule": st.sampled_from(["constant", "cosine"]),
            "warmup_steps": st.integers(0, 50),
            "clip_norm": st.sampled_from([0.0, 1.0]),
            "decay": st.sampled_from(["all", "matrices"]),
            "ema_decay": st.sampled_from([0.0, 0.9]),
        }
    ),
)
def test_every_configuration_that_passes_the_checks_gives_a_step(
    model, augment, each, accumulate, classes, optim
):
    """The step is traced and not run, so that many configurations can be tried."""
    base = complete(PRESETS["digits"])
    model["img_size"] = model["patch_size"] * model.pop("grid")
    model["embed_dim"] = model["num_heads"] * model.pop("head_size")
    batch = each * accumulate * jax.device_count()
    config = replace(
        base,
        batch_size=batch,
        grad_accum_steps=accumulate,
        model=replace(base.model, **model),
        augment=replace(base.augment, **augment),
        optim=replace(base.optim, **optim),
    )
    check(config)
    make_devices(config)
    vit = make_model(config.model, classes)
    task = make_classification(vit, *make_optimizer(config.optim, 10), config)
    average = config.optim.ema_decay
    state = jax.eval_shape(lambda: create_state(task, 0, average > 0))
    size = config.model.img_size
    after, metrics = jax.eval_shape(
        make_train_step(task, seed=0, average_decay=average, grad_accum_steps=accumulate),
        state,
        {
            "image": jax.ShapeDtypeStruct((batch, size, size, 1), jnp.uint8),
            "label": jax.ShapeDtypeStruct((batch,), jnp.int32),
        },
    )
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
        lambda x: (x.shape, x.dtype), state
    )
    assert {metric.shape for metric in metrics.values()} == {()}


@quick
@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    size=st.integers(1, 40),
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"]),
    kind=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP"]),
    cut=st.one_of(st.none(), st.floats(0, 1)),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=3),
)
def test_an_intact_or_damaged_image_is_decoded_at_its_size_or_named_in_an_error(
    width, height, size, mode, kind, cut, flips
):
    file = BytesIO()
    try:
        Image.new(mode, (width, height), 1 if mode in ("1", "L", "P", "I;16") else None).save(
            file, kind
        )
    except (OSError, KeyError, ValueError):
        return  # the format does not have this mode
    data = bytearray(file.getvalue())
    for place, value in flips:
        data[int(place * (len(data) - 1))] = value
    if cut is not None:
        data = data[: int(cut * len(data))]
    try:
        pixels = decode_image(bytes(data), Geometry(size), "some/file.png")
    except UnreadableImage as error:
        damaged = cut is not None or flips
        assert damaged
        assert_one_line(error, about="some/file.png ")
    else:
        assert pixels.shape == (size, size, 3)
        assert pixels.dtype == np.uint8


@quick
@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=60),
    fraction=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_split_partitions_the_examples_and_keeps_one_of_every_class(labels, fraction, seed):
    labels = np.asarray(labels, np.int32)
    kept, held_out = stratified_split(labels, [str(row) for row in labels], fraction, seed)
    assert sorted([*kept, *held_out]) == list(range(len(labels)))
    assert set(labels[kept]) == set(labels)
    for label in set(labels.tolist()):
        if (labels == label).sum() > 1:
            assert label in labels[held_out]


@settings(quick, max_examples=20)
@given(
    size=st.integers(1, 20),
    batch_size=st.integers(1, 12),
    processes=st.integers(1, 3),
    epochs=st.integers(1, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_example_is_read_once_an_epoch_by_one_process(
    size, batch_size, processes, epochs, seed
):
    rows = np.arange(size)
    split = Split(np.zeros((size, 1, 1, 1), np.uint8), rows, rows.astype(np.int32), ())
    global_size = batch_size * processes
    plan = Plan(size, global_size, epochs)
    seen = []
    streams = [
        train_batches(split, global_size, seed, own=slice(p * batch_size, (p + 1) * batch_size))
        for p in range(processes)
    ]
    for _ in range(plan.total_steps):
        seen += [label for stream in streams for label in next(stream)["label"]]
    assert len(seen) >= epochs * size
    assert len(seen) - epochs * size < global_size
    for epoch in range(epochs):
        assert sorted(seen[epoch * size : (epoch + 1) * size]) == list(range(size))


@quick
@given(size=st.integers(1, 40), quarter=st.integers(1, 10))
def test_every_example_is_scored_once_at_any_batch_size(size, quarter):
    """Scored by a task that only counts the labels where the mask is set."""
    devices = make_devices(Config(batch_size=4 * quarter))
    rows = np.arange(size)
    split = Split(np.zeros((size, 1, 1, 1), np.uint8), rows, rows.astype(np.int32), ())

    def score(weights, key, batch):
        seen = batch["mask"].astype(jnp.int32)
        counted = jnp.zeros((size, size), jnp.int32).at[batch["label"], batch["label"]].add(seen)
        return counted, {"label": batch["label"]}

    task = blank_task(score=score, metrics=lambda counts: {"seen": counts.sum()})
    found = make_score(task, devices, 4 * quarter, seed=0)({}, split)
    assert found.metrics == {"seen": size}
    np.testing.assert_array_equal(found.counts, np.eye(size))
    np.testing.assert_array_equal(found.outputs["label"], rows)


@quick
@given(
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=9),
    smoothing=st.floats(0, 1, exclude_max=True),
)
def test_smoothed_labels_are_probabilities(labels, smoothing):
    targets = np.asarray(smooth_labels(jnp.asarray(labels), 7, smoothing))
    assert targets.min() >= 0
    assert targets.sum(axis=1) == pytest.approx(np.ones(len(labels)), abs=1e-6)
