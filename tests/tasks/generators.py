"""Two small runs that make images of digits, and what is read of them independently."""

import json

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import train_jax
from jaxvit.__main__ import main

SEED = 4
COMMON = (
    "--epochs", "2", "--val-every-epochs", "1", "--seed", str(SEED), "--batch-size", "32",
    "--data.train-per-class", "13", "--log-every-steps", "1",
)  # fmt: skip
ARGUMENTS = {
    # At the preset's rate its images would still not depend on what they are made from.
    "gan": (
        "digits-dcgan", *COMMON, "--model.width", "8", "--model.z-dim", "6", "--optim.lr", "1e-2",
        "--batch-size", "8",
    ),
    "diffusion": (
        "digits-ddpm", *COMMON, "--model.width", "8", "--diffusion.steps", "40",
        "--diffusion.sample-steps", "4", "--optim.ema-decay", "0.9",
    ),
}  # fmt: skip
WITHOUT_CLASSES = (
    "--data.name", "folder", "--data.no-labels", "--model.no-conditional", "--model.img-size", "8",
)  # fmt: skip


def train(root, out: str, method: str, *more: str) -> dict:
    args = [*ARGUMENTS[method], "--out", str(root / out), "--data.cache-dir", str(root / "cache")]
    assert train_jax.main([*args, *more]) == 0
    return json.loads((root / out / "summary.json").read_text())


def images_of(root, run: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Bytes and labels of a split, from scikit-learn and the names in split.json."""
    digits = load_digits()
    names = json.loads((root / run / "split.json").read_text())[split]
    rows = [int(name.partition("/")[2]) for name in names]
    pixels = np.round(digits.images[rows] * (255 / 16)).astype(np.uint8)[..., None]
    return pixels, digits.target[rows]


def lines_of(root, run: str) -> list[dict]:
    return [json.loads(x) for x in (root / run / "metrics.jsonl").read_text().splitlines()]


def sample(root, run: str, out: str, *more: str) -> int:
    return main(["sample", str(root / run), "--out", str(root / out), *more])


def cosine_bar() -> np.ndarray:
    """abar of the 40 times of a cosine schedule."""
    bar = np.cos((np.arange(41) / 40 + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.cumprod(1 - np.minimum(1 - bar[1:] / bar[:-1], 0.999))


def by_hand(saved, key, label, eta: float = 0.0) -> np.ndarray:
    """DDIM of 4 jumps over 40 times of a cosine schedule, guided by 1.5, in float64."""
    bar = cosine_bar()
    x = np.asarray(jax.random.normal(jax.random.fold_in(key, 0), (8, 8, 1)), np.float64)[None]
    apply = jax.jit(saved.model.apply)
    for number, (t, to) in enumerate(((30, 20), (20, 10), (10, 0), (0, -1)), start=1):
        both = [
            np.asarray(
                apply({"params": saved.weights}, jnp.asarray(x, jnp.float32), jnp.full(1, t), of),
                np.float64,
            )
            for of in (label, jnp.full(1, 10))
        ]
        eps = both[1] + 1.5 * (both[0] - both[1])
        x0 = np.clip((x - np.sqrt(1 - bar[t]) * eps) / np.sqrt(bar[t]), -1, 1)
        eps = (x - np.sqrt(bar[t]) * x0) / np.sqrt(1 - bar[t])
        after = bar[to] if to >= 0 else 1.0
        sigma = eta * np.sqrt((1 - after) / (1 - bar[t]) * (1 - bar[t] / after))
        noise = np.asarray(jax.random.normal(jax.random.fold_in(key, number), (8, 8, 1)))
        x = np.sqrt(after) * x0 + np.sqrt(1 - after - sigma**2) * eps + sigma * noise
    return x
