"""The one loss: cross-entropy with a matrix of soft targets."""

import jax

from jaxvit.shapes import Array, Float


def soft_target_cross_entropy(
    logits: Float[Array, "B K"], targets: Float[Array, "B K"]
) -> Float[Array, "B"]:
    """Cross-entropy of each example, in nats.

    loss[b] = -sum_k targets[b, k] log softmax(logits[b])[k].

    Args:
      logits: unnormalised log-probabilities.
      targets: rows sum to 1: one-hot, smoothed, mixed, or all of these.

    Returns:
      One loss an example; training takes their mean.

    Torch twin: torch.nn.CrossEntropyLoss, with probabilities or with label_smoothing.
    """
    return -(targets * jax.nn.log_softmax(logits)).sum(axis=-1)
