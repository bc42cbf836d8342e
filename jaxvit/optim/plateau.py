"""A rate that is lowered where validation gets no better."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvit.shapes import Array, Float


class PlateauState(NamedTuple):
    """What the rate is multiplied by, in (0, 1]; set by the host after a validation."""

    scale: Float[Array, ""]


def scale_by_plateau() -> optax.GradientTransformation:
    """Updates times the scale in its state, which is 1 until with_plateau_scale sets it."""

    def init(params: optax.Params) -> PlateauState:
        return PlateauState(jnp.ones((), jnp.float32))

    def update(
        updates: optax.Updates, state: PlateauState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, PlateauState]:
        return jax.tree.map(lambda x: x * state.scale, updates), state

    return optax.GradientTransformation(init, update)


def plateau_drops(
    values: Sequence[float], rises: bool, patience: int, threshold: float, cooldown: int = 0
) -> int:
    """How often the rate has been lowered after validations with these values.

    A value is better than the best so far if it exceeds it by the share `threshold` of it (where
    the metric falls: lies below it by that share). After more than `patience` validations that are
    not better the rate drops; `cooldown` validations after a drop count for nothing.

    Args:
      values: of the metric, one for each validation, in order.
      rises: whether more is better.
      patience: at least 0.
      threshold: at least 0.
      cooldown: at least 0.

    Source: torch.optim.lr_scheduler.ReduceLROnPlateau with threshold_mode "rel".

    Example:
      >>> plateau_drops([1.0, 0.5, 0.6, 0.7, 0.8], rises=False, patience=1, threshold=0.0)
      1
    """
    best, bad, cooling, drops = -np.inf if rises else np.inf, 0, 0, 0
    for value in values:
        better = value > best * (1 + threshold) if rises else value < best * (1 - threshold)
        if better:
            best, bad = value, 0
        else:
            bad += 1
        if cooling:
            cooling, bad = cooling - 1, 0
        if bad > patience:
            drops, bad, cooling = drops + 1, 0, cooldown
    return drops


def plateau_scale(opt_state: optax.OptState) -> jax.Array | None:
    """The scale in an optimiser's state, or None where it has none."""
    nodes = jax.tree.leaves(opt_state, is_leaf=_is_plateau)
    return next((node.scale for node in nodes if _is_plateau(node)), None)


def with_plateau_scale(opt_state: optax.OptState, scale: float) -> optax.OptState:
    """The same state with this scale, on the same devices."""

    def replaced(node: Any) -> Any:
        if not _is_plateau(node):
            return node
        old = node.scale
        return PlateauState(jax.device_put(np.full(old.shape, scale, old.dtype), old.sharding))

    return jax.tree.map(replaced, opt_state, is_leaf=_is_plateau)


def _is_plateau(node: Any) -> bool:
    return isinstance(node, PlateauState)
