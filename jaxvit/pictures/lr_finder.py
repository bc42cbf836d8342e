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
    # The end may be many times higher than all before it.
    top = max(losses[: max(1, len(losses) - 5)])
    axis.set(
        xscale="log", xlabel="learning rate", ylabel="training loss, smoothed",
        ylim=(min(losses) - 0.05 * top, 1.3 * top),
    )  # fmt: skip
    return figure
