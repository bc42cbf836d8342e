"""AdamW and SGD as in PyTorch: clipping, a mask for weight decay, rates by layer."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import optax

from jaxvit.config import OptimConfig
from jaxvit.optim.groups import scale_by_group
from jaxvit.optim.joining import joined, plan_joining, schedule_of_updates
from jaxvit.optim.plateau import scale_by_plateau
from jaxvit.optim.schedules import make_schedule


def decay_mask(params) -> dict:
    """True for kernels; False for biases, norms, the class token and the positional embedding."""
    return jax.tree.map_with_path(lambda path, _: path[-1].key == "kernel", params)


def scale_by_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """optax.scale_by_adam with exact bias corrections.

    m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; u = (m / c1) / (sqrt(v / c2) + eps).

    At step t, counted from 1, c1 = 1 - b1^t and c2 = 1 - b2^t. Both are computed as
    -expm1(t log b), with log b in float64. optax computes 1 - b^t in float32: its c2 is 1e-5 off at
    the first step, and after 200 steps its parameters are three times as far from a float64 run as
    PyTorch's.

    Args:
      b1, b2: decays of m and v, in [0, 1).
      eps: added to the root, above 0.

    Source: Kingma and Ba 2015, arXiv:1412.6980.
    """

    def correction(decay: float, count: jax.Array) -> jax.Array:
        return -jnp.expm1(count * math.log(decay)) if decay > 0 else jnp.float32(1)

    def init(params: optax.Params) -> optax.ScaleByAdamState:
        def zeros() -> optax.Params:
            return jax.tree.map(jnp.zeros_like, params)

        return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), zeros(), zeros())

    def update(
        grads: optax.Updates, state: optax.ScaleByAdamState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.ScaleByAdamState]:
        count = state.count + 1
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, grads)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g**2, state.nu, grads)
        c1, c2 = correction(b1, count), correction(b2, count)
        updates = jax.tree.map(lambda m, v: (m / c1) / (jnp.sqrt(v / c2) + eps), mu, nu)
        return updates, optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def make_optimizer(
    config: OptimConfig,
    total_steps: int,
    steps_per_epoch: Fraction | None = None,
    weight_decay: float | jax.Array | None = None,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimiser and its schedule.

    AdamW, whose decoupled weight decay is multiplied by the rate, as in PyTorch:
    m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
    p = p - lr ((m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) + weight_decay p).

    SGD, with coupled weight decay, momentum mu without dampening, and optionally Nesterov's form:
    g = g + weight_decay p; m = mu m + g; p = p - lr (g + mu m if nesterov else m).

    Before either, gradients whose global norm exceeds clip_norm are scaled down to it, or each
    element is clipped to [-clip_value, clip_value]. Where layer_decay or head_lr is not 1, lr is
    the parameter's own: see jaxvit.optim.groups. Where batches are joined, see
    jaxvit.optim.joining, all of this is of their mean gradient.

    Args:
      config: see OptimConfig; with `decay="matrices"`, only what decay_mask marks True decays.
      total_steps: steps of the whole run, for the schedule.
      steps_per_epoch: examples over batch size, where epochs are asked for.
      weight_decay: in place of config.weight_decay; it may be traced.

    Returns:
      The optimiser, and the learning rate that it uses at each step, before the factors of layers
      and head.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101. Torch twins: torch.optim.AdamW and
    torch.optim.SGD.
    """
    mask = decay_mask if config.decay == "matrices" else None
    schedule = make_schedule(config, total_steps, steps_per_epoch)
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    if config.clip_value:
        clip = optax.clip(config.clip_value)
    adam = scale_by_adam(config.b1, config.b2, config.eps)
    rate = config.weight_decay if weight_decay is None else weight_decay
    decay = optax.add_decayed_weights(rate, mask)
    momentum = optax.trace(config.momentum, config.nesterov) if config.momentum else None
    parts = [clip, adam, decay] if config.name == "adamw" else [clip, decay, momentum]
    if (config.layer_decay, config.head_lr) != (1, 1):
        parts.append(scale_by_group(config.layer_decay, config.head_lr))
    if config.schedule == "plateau":
        parts.append(scale_by_plateau())
    if not config.accumulate_grad_batches:
        return optax.chain(*filter(None, parts), optax.scale_by_learning_rate(schedule)), schedule
    if steps_per_epoch is None:
        raise ValueError("epochs need steps_per_epoch")
    joining = plan_joining(config.joined_batches, total_steps, steps_per_epoch)
    rates = schedule_of_updates(schedule, joining)
    tx = optax.chain(*filter(None, parts), optax.scale_by_learning_rate(rates))
    return joined(tx, joining), schedule
