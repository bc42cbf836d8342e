"""Claim 9: a whole training run, step by step, in JAX, PyTorch float32 and PyTorch float64.

Runs of several seeds are judged together, and their parameters as well as their losses, because
the losses of one run are too few values. Where training is unstable, rounding errors grow along
one direction of the parameters, and the loss depends on that direction only. The ratio of the two
loss errors is then the ratio of two random numbers. For a correct program it exceeds 3 with
probability 2 / pi atan(1 / 3), about one in five. Example: digits, seed 0, step 47. JAX's
parameters are 6.9e-6 from float64 and PyTorch's are 9.5e-6, but JAX's loss is 3.9 times as far
from float64 as PyTorch's.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from jaxvit.completion import complete
from jaxvit.config import AugmentConfig, OptimConfig
from jaxvit.presets import PRESETS
from parity_tests.comparison import RATIO, SHARED
from parity_tests.evidence import Evidence, Row, at_most, distance, equal
from parity_tests.replayed_training import PROGRAMS, Curves, train

TITLE = "A whole training run: losses step by step, and the final metrics"
DIGITS = replace(
    complete(PRESETS["digits"]),
    model=replace(complete(PRESETS["digits"]).model, dropout=0.1),
    augment=AugmentConfig(mixup_alpha=0.2),
    optim=OptimConfig(lr=1e-3, weight_decay=0.05, schedule="cosine", warmup_steps=20, clip_norm=1),
)
PETS_SMALL = replace(
    complete(PRESETS["pets-small"]),
    batch_size=32,
    data=replace(complete(PRESETS["pets-small"]).data, dir=str(SHARED / "data")),
    model=replace(complete(PRESETS["pets-small"]).model, dropout=0.1),
    augment=AugmentConfig(flip_p=0.5, cutmix_alpha=1.0),
    optim=OptimConfig(lr=5e-4),
)
SEEDS = range(4)


def measure(quick: bool) -> Evidence:
    rows, figures, notes = [], {}, []
    steps = 40 if quick else 300
    curves = [train(replace(DIGITS, seed=seed), steps) for seed in (SEEDS[:1] if quick else SEEDS)]
    runs = {f"digits, {steps} steps": curves}
    if not (SHARED / "data" / "oxford-iiit-pet").is_dir():
        notes.append("The Pets run was skipped: no photographs in ../shared/data/oxford-iiit-pet.")
    elif not quick:
        runs["Pets, 60 steps"] = [train(PETS_SMALL, 60)]
    for title, runs_of_it in runs.items():
        rows += distances(title, runs_of_it)
        for seed, run in enumerate(runs_of_it):
            figures[f"{title}, seed {seed}: loss, and its distance from float64"] = plot(run)
    if not quick:
        rows += within_the_spread(f"digits, {steps} steps", curves)
        ratios = [distances("", [run])[0].value for run in curves]
        rows.append(
            at_most(
                f"digits, {steps} steps: ratio of errors of the losses, over seeds",
                "geometric mean",
                float(np.exp(np.mean(np.log(ratios)))),
                RATIO,
            )
        )
        notes.append(
            f"Ratios of errors of the losses, by seed: {', '.join(f'{x:.2f}' for x in ratios)}."
        )
    return Evidence(rows, figures, notes)


def distances(title: str, runs: Sequence[Curves]) -> list[Row]:
    """Distances from float64 of all runs together, and a check that dropout masks change."""

    def row(what: str, values: Callable[[Curves], dict]) -> Row:
        found = ([values(run)[name] for run in runs] for name in PROGRAMS)
        return distance(f"{title}: {what}", *found)

    return [
        row("loss of every step", lambda run: run.losses),
        row("final parameters, without key biases", lambda run: run.params),
        row("final validation loss", lambda run: run.val_loss),
        equal(
            f"{title}: dropout masks", "steps that repeat a mask", sum(run.repeats for run in runs)
        ),
    ]


def within_the_spread(title: str, runs: Sequence[Curves]) -> list[Row]:
    """JAX and PyTorch at equal seeds differ by no more than PyTorch does between seeds."""
    rows = []
    for name in ("accuracy", "val_loss"):
        ours, theirs = (
            np.array([getattr(run, name)[program] for run in runs]) for program in PROGRAMS[:2]
        )
        spread = float(np.ptp(theirs))
        apart = float(np.abs(ours - theirs).max())
        rows.append(
            Row(
                f"{title}, {len(runs)} seeds: validation {name.removeprefix('val_')}",
                "largest difference between JAX and PyTorch",
                apart,
                f"PyTorch's spread over seeds, {spread:.3g}",
                apart <= spread,
                {"spread": spread},
            )
        )
    return rows


def plot(curves: Curves):
    """Above, the losses of the three programs; below, the distances of two from float64."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    losses, apart = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    truth = curves.losses["torch64"]
    styles = {
        "torch64": ("PyTorch float64", "0.75", 5, "-"),
        "torch32": ("PyTorch float32", "tab:orange", 1.6, "-"),
        "jax": ("JAX float32", "tab:blue", 1.2, "--"),
    }
    for name, (label, colour, width, line) in styles.items():
        values = curves.losses[name]
        losses.plot(values, line, label=label, color=colour, linewidth=width)
        if name != "torch64":
            away = np.maximum(np.abs(values - truth), 1e-9)
            apart.semilogy(away, label=label, color=colour, linewidth=1)
    losses.set_ylabel("training loss, nats")
    losses.legend(frameon=False)
    apart.set_ylabel("distance from float64")
    apart.set_xlabel("step")
    for axis in (losses, apart):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    return figure
