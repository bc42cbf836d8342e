"""Tasks unlike classification, to show that the trainer depends on no particular task."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvit.training.task import Phase, Task

SIZE, HIDDEN = 64, 4  # pixels of a digit, and width between encoder and decoder


def blank_task(**given: Any) -> Task:
    """A task whose fields do nothing, except for those given."""
    fields = {
        "init": lambda key: ({}, {}),
        "prepare": lambda key, batch: batch,
        "phases": (),
        "weights": lambda params, extra: params,
        "score": lambda weights, key, batch: ({}, {}),
        "metrics": lambda counts: {},
        "monitor": (("error", False),),
        "headline": (),
    }
    return Task(**fields | given)


def make_alternating(config, data, total_steps: int, axis: str | None, facts=()) -> Task:
    """A linear encoder and decoder that are updated alternately, each with its own optimiser.

    Images are centred by the mean of the batch, so the loss of an example depends on the others;
    scoring uses a running mean. The best state has the lowest median error, which is not a sum over
    batches.
    """

    def mean_of(images: jax.Array) -> jax.Array:
        mean = images.mean(axis=0)
        return mean if axis is None else jax.lax.pmean(mean, axis)

    def init(key):
        keys = jax.random.split(key)
        params = {
            "encoder": {"kernel": 0.1 * jax.random.normal(keys[0], (SIZE, HIDDEN))},
            "decoder": {"kernel": 0.1 * jax.random.normal(keys[1], (HIDDEN, SIZE))},
        }
        return params, {"mean": jnp.zeros(SIZE), "updates": jnp.int32(0)}

    def flat(batch):
        return batch["image"].reshape(len(batch["image"]), -1).astype(jnp.float32) / 255

    def noise(key, batch):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch["index"])
        return 0.01 * jax.vmap(lambda k: jax.random.normal(k, (SIZE,)))(keys)

    def errors(params, centred):
        decoded = centred @ params["encoder"]["kernel"] @ params["decoder"]["kernel"]
        return ((decoded - centred) ** 2).mean(axis=-1)

    def loss(params, extra, key, inputs):
        mean = mean_of(inputs["images"])
        after = {
            "mean": 0.9 * extra["mean"] + 0.1 * mean,
            "updates": extra["updates"] + 1,
        }
        error = errors(params, inputs["images"] - mean).mean()
        return error, (after, {"spread": jnp.abs(mean).max()})

    def score(weights, key, batch):
        images = flat(batch) + noise(key, batch)
        error = errors(weights, images - weights["statistics"]["mean"])
        counts = {
            "error": jnp.where(batch["mask"], error, 0).sum(),
            "examples": batch["mask"].sum(),
        }
        return counts, {"error": error}

    def draw(results):
        from matplotlib.figure import Figure

        figure = Figure()
        figure.subplots().plot([x["val/error"] for x in results.lines if "val/error" in x])
        return {"errors": figure}

    def phase(network: str, tx, rate: float) -> Phase:
        return Phase(loss, tx, optax.constant_schedule(rate), trains=network)

    return Task(
        init=init,
        prepare=lambda key, batch: {"images": flat(batch) + noise(key, batch)},
        phases=(
            phase("encoder", optax.adam(1e-2), 1e-2),
            phase("decoder", optax.sgd(0.5, momentum=0.9), 0.5),
        ),
        weights=lambda params, extra: {**params, "statistics": extra},
        score=score,
        metrics=lambda counts: {"error": float(counts["error"] / counts["examples"])},
        monitor=(("median_error", False), ("error", False)),
        headline=(("error", ".4f"), ("median_error", ".4f")),
        couples=True,
        axis=axis,
        uses_index=True,
        probe=lambda outputs_of, split: {
            "median_error": float(np.median(outputs_of(split)["error"]))
        },
        draw=draw,
    )
