"""The loss at rising learning rates."""

from collections.abc import Mapping, Sequence

from jaxvit.pictures.figure import GREY, TRAIN, VAL, make_figure


def plot_finding(
    rates: Sequence[float], losses: Sequence[float], marked: Mapping[str, float | None]
):
    """Smoothed loss against rate, on a logarithmic axis.

    Args:
      rates, losses: of each step.
      marked: by what they are called, some of the rates.
    """
    figure, axes = make_figure(1, 1, 6.4, 4)
    axis = axes[0, 0]
    axis.plot(rates, losses, color=TRAIN)
    for (name, rate), marker in zip(marked.items(), "os^", strict=False):
        if rate is not None:
            loss = losses[list(rates).index(rate)]
            axis.axvline(rate, color=GREY, lw=0.8, ls=":")
            axis.plot([rate], [loss], marker, color=VAL, label=f"{name}: {rate:.2g}")
            axis.legend(frameon=False, title="steepest descent")
    # The end may be many times higher than all before it, and the smoothing's start is too low.
    top, bottom = max(losses[: max(1, len(losses) - 5)]), min(losses[10:] or losses)
    margin = 0.1 * (top - bottom) + 0.02 * top
    axis.set(
        xscale="log", xlabel="learning rate", ylabel="training loss, smoothed",
        ylim=(bottom - margin, top + 3 * margin),
    )  # fmt: skip
    return figure
