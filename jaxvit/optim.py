"""AdamW with PyTorch's numbers, and the schedule, clipping and decay mask around it."""

import jax
import optax

from jaxvit.config import OptimConfig


def make_schedule(config: OptimConfig, total_steps: int) -> optax.Schedule:
    """The learning rate at each step.

    Linear from 0 to lr over warmup_steps, so that step s of the warm-up uses
    lr (s + 1) / warmup_steps; then constant, or lr (1 + cos(pi t)) / 2 with t rising from 0 to 1
    over the steps that are left.

    Args:
      config: lr, schedule and warmup_steps.
      total_steps: steps of the whole run, at least 1.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983 (without restarts).
    """
    if config.schedule == "cosine":
        main = optax.cosine_decay_schedule(config.lr, max(1, total_steps - config.warmup_steps))
    else:
        main = optax.constant_schedule(config.lr)
    if config.warmup_steps == 0:
        return main
    # Warm-up starts one increment above 0, for a first step that moves nothing is a step wasted.
    first = config.lr / config.warmup_steps
    warmup = optax.linear_schedule(first, config.lr, max(1, config.warmup_steps - 1))
    return optax.join_schedules([warmup, main], [config.warmup_steps])


def decay_mask(params) -> dict:
    """True for kernels, False for biases, norms, the class token and the positions."""
    return jax.tree.map_with_path(lambda path, _: path[-1].key == "kernel", params)


def make_optimizer(config: OptimConfig, total_steps: int) -> optax.GradientTransformation:
    """AdamW: decoupled weight decay, multiplied by the learning rate as in PyTorch.

    m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
    p = p - lr ((m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) + weight_decay p).

    Gradients are first scaled down to global norm clip_norm where they exceed it. All numbers are
    passed on, for optax's own default weight decay, 1e-4, is not PyTorch's .01.

    Args:
      config: see OptimConfig; `decay="matrices"` spares all that decay_mask marks False.
      total_steps: steps of the whole run, for the schedule.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101. Torch twin: torch.optim.AdamW.
    """
    adamw = optax.adamw(
        make_schedule(config, total_steps),
        b1=config.b1,
        b2=config.b2,
        eps=config.eps,
        weight_decay=config.weight_decay,
        mask=decay_mask if config.decay == "matrices" else None,
    )
    if config.clip_norm == 0:
        return adamw
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adamw)
