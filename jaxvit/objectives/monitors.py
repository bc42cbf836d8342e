"""The metrics by which the states of a run are compared, for each method."""

from jaxvit.objectives import generation, metrics, representation

Monitor = tuple[tuple[str, bool], ...]  # (metric, whether it rises); the next break ties

OF_METHOD: dict[str, tuple[Monitor, dict[str, bool]]] = {
    "classification": (metrics.MONITOR, metrics.RISES),
    "instance_discrimination": (representation.MONITOR, representation.RISES),
    "gan": (generation.GAN, generation.RISES),
    "diffusion": (generation.DIFFUSION, generation.RISES | {"loss": False}),
    "instance_discrimination without labels": (
        representation.WITHOUT_LABELS,
        {name: representation.RISES[name] for name in ("retrieval_accuracy", "alignment",
                                                       "uniformity")},
    ),
}  # fmt: skip


def comparable(method: str, labelled: bool = True) -> tuple[str, ...]:
    """The metrics by which the states of a method may be compared."""
    return tuple(_of(method, labelled)[1])


def monitor_of(method: str, metric: str | None, labelled: bool = True) -> Monitor:
    """The method's own monitor, with a metric of `comparable` in its first place, if any is given.

    Args:
      method: of the configuration.
      metric: or None.
      labelled: whether the images have classes.
    """
    own, rises = _of(method, labelled)
    if metric is None:
        return own
    return (metric, rises[metric]), *(pair for pair in own if pair[0] != metric)


def _of(method: str, labelled: bool) -> tuple[Monitor, dict[str, bool]]:
    without = f"{method} without labels"
    return OF_METHOD[without if not labelled and without in OF_METHOD else method]
