"""The one loss: cross-entropy with a matrix of soft targets."""

import jax
import jax.numpy as jnp

from jaxvit.shapes import Array, Float


def soft_target_cross_entropy(
    logits: Float[Array, "B K"], targets: Float[Array, "B K"]
) -> Float[Array, "B"]:
    """Cross-entropy of each example, in nats.

    loss[b] = -sum_k targets[b, k] log softmax(logits[b])[k], which, as rows of targets sum to 1,
    is log sum_k exp(logits[b, k]) - sum_k targets[b, k] logits[b, k].

    Args:
      logits: unnormalised log-probabilities.
      targets: rows sum to 1: one-hot, smoothed, mixed, or all of these.

    Returns:
      One loss an example; training takes their mean.

    Torch twin: torch.nn.CrossEntropyLoss, with probabilities or with label_smoothing.
    """
    shifted = logits - jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))
    # Not as the sum of targets * log_softmax: XLA on a CPU joins that sum with the mean over the
    # batch, one float32 after the other, and the mean of 32 examples came out 1e-6 off.
    return jnp.log(jnp.exp(shifted).sum(axis=-1)) - (targets * shifted).sum(axis=-1)
