"""Claim 10: weights convert both ways to the bit, and PyTorch predicts with weights from JAX."""

import contextlib
import io
import tempfile
from pathlib import Path

import jax
import numpy as np
import torch

import train_jax
from jaxvit.augment.normalize import normalize
from jaxvit.data.datasets import load_dataset
from jaxvit.interop.saved_run import load_run
from jaxvit.interop.torch_weights import params_from_state_dict, state_dict_from_params
from parity_tests.claims.forward import VIT_B16
from parity_tests.comparison import SMALL, to_nchw, torch_twin
from parity_tests.evidence import Evidence, Row, distance, equal
from torch_ref.transformer import VisionTransformer

TITLE = "Round trips: weights to the bit, and predictions in PyTorch with weights trained in JAX"


def measure(quick: bool) -> Evidence:
    return Evidence([*bitwise(SMALL if quick else VIT_B16), *predictions(1 if quick else 5)])


def bitwise(options: dict) -> list[Row]:
    """Names and bytes of all weights after conversion in one direction and back."""
    torch.manual_seed(0)
    model = VisionTransformer(**options)
    before = {name: value.numpy() for name, value in model.state_dict().items()}
    params = params_from_state_dict(before)
    after = state_dict_from_params(params)
    again = params_from_state_dict(after)
    there = sum(before[n].tobytes() != after[n].tobytes() for n in before)
    back = jax.tree.map(lambda a, b: a.tobytes() != b.tobytes(), params, again)
    return [
        equal("names, state_dict -> params -> state_dict", "differing names",
              len(before.keys() ^ after.keys())),
        equal("weights, state_dict -> params -> state_dict", "differing weights", there),
        equal("weights, params -> state_dict -> params", "differing weights",
              sum(jax.tree.leaves(back))),
    ]  # fmt: skip


def predictions(epochs: int) -> list[Row]:
    """Trains digits with train_jax.py, and predicts the test split with its best checkpoint."""
    with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stdout(io.StringIO()):
        out = Path(directory) / "run"
        cache = f"{directory}/cache"
        code = train_jax.main(
            [
                "--epochs",
                str(epochs),
                "--out",
                str(out),
                "--data.cache-dir",
                cache,
                "--no-keep-programs",
            ]  # fmt: skip
        )
        if code != 0:
            raise RuntimeError(f"the training run exited with {code}")
        run = load_run(out)
        data = load_dataset(run.config.data, run.config.model.img_size, run.model.in_channels)
    batch = data.test.take(np.arange(len(data.test)))
    images = normalize(batch["image"], run.config.data.mean, run.config.data.std)
    ours = np.asarray(jax.jit(run.model.apply)({"params": run.params}, images))
    model = torch_twin(run.config.model, run.params)
    inputs = torch.tensor(to_nchw(images))
    with torch.no_grad():
        theirs = model.eval()(inputs).numpy()
        truth = model.double()(inputs.double()).numpy()
    differing = int((ours.argmax(1) != theirs.argmax(1)).sum())
    return [
        equal(f"{len(batch['label'])} predictions after {epochs} epoch(s)",
              "differing predictions", differing),
        distance("logits of the trained model", ours, theirs, truth),
    ]  # fmt: skip
