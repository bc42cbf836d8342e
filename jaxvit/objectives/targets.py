"""Integer labels to soft targets: rows of class probabilities, as the loss takes them."""

import jax
import numpy as np
import optax

from jaxvit.shapes import Array, Float, Int


def smooth_labels(
    labels: Int[Array, "B"], num_classes: int, label_smoothing: float = 0.0
) -> Float[Array, "B K"]:
    """One-hot targets, smoothed towards the uniform distribution.

    y'[b, k] = (1 - eps) [labels[b] = k] + eps / K.

    Args:
      labels: class indices in [0, K).
      num_classes: K.
      label_smoothing: eps in [0, 1).

    Returns:
      float32; rows sum to 1.

    Source: Szegedy et al. 2016, arXiv:1512.00567, sec. 7; the same as
    torch.nn.CrossEntropyLoss(label_smoothing=eps).

    Example:
      >>> import jax.numpy as jnp
      >>> [f"{y:.2f}" for y in smooth_labels(jnp.array([2]), 5, 0.1)[0]]
      ['0.02', '0.02', '0.92', '0.02', '0.02']
    """
    return optax.smooth_labels(jax.nn.one_hot(labels, num_classes), label_smoothing)


def balanced_weights(counts: np.ndarray) -> np.ndarray:
    """A weight for each class, so that all classes count alike.

    w_k = N / (K n_k), with N = sum_k n_k; the mean weight of the N examples is 1.

    Args:
      counts: n_k, (K,), examples of each class, each at least 1.

    Returns:
      float32 (K,).

    Source: King and Zeng 2001; the same as scikit-learn's class_weight="balanced".

    Example:
      >>> [f"{weight:.3f}" for weight in balanced_weights(np.array([1, 3]))]
      ['2.000', '0.667']
    """
    return (counts.sum() / (len(counts) * counts)).astype(np.float32)
