"""The contrastive loss of two views, with the other images of the batch as negatives."""

import chex
import jax
import jax.numpy as jnp

from jaxvit.shapes import Array, Float, Int

EPSILON = 1e-12  # the least length by which a vector is divided


def unit_length(z: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
    """z / max(|z|, 1e-12), in float32; the gradient at z = 0 is 0.

    Torch twin: torch.nn.functional.normalize.
    """
    z = z.astype(jnp.float32)
    squares = (z * z).sum(axis=-1, keepdims=True)
    zero = squares == 0  # the root has no derivative there
    length = jnp.sqrt(jnp.where(zero, 1, squares))
    return jnp.where(zero, 0, z / jnp.maximum(length, EPSILON))


def contrastive_loss(
    z_a: Float[Array, "B D"],
    z_b: Float[Array, "B D"],
    index: Int[Array, "B"],
    temperature: float = 1.0,
) -> Float[Array, "B"]:
    """L_CN of each image, in nats, between its two views.

    With s_ij = a_i . b_j / temperature, a and b of length 1:
    loss_i = -s_ii + log(exp(s_ii) + sum over j of the other images of exp(s_ij)).

    Other images are those of another index: an image that is twice in a batch is no negative of
    itself. The sum is taken as a log-sum-exp, in float32 also for views in bfloat16. It is the
    cross-entropy of softmax over j, with the image itself for the class: see instance_logits.

    Args:
      z_a, z_b: features of views A and B; row i of both is the same image.
      index: of each image in its data set.
      temperature: above 0; the paper's formula has none, which is 1.

    Returns:
      At least 0 up to rounding; 0 where no other image is in the batch.

    Source: Cao and Wu 2022, arXiv:2201.10728, eq. 4. Torch twin:
    torch_ref/instance_discrimination/contrastive.py.

    Example:
      >>> views = jnp.array([[3.0, 0.0], [0.0, 2.0]])
      >>> loss = contrastive_loss(views, views, jnp.array([5, 9]))
      >>> [f"{each:.4f}" for each in loss]  # log(e + 1) - 1
      ['0.3133', '0.3133']
    """
    chex.assert_rank((z_a, z_b), 2)
    chex.assert_equal_shape((z_a, z_b))
    a, b = unit_length(z_a), unit_length(z_b)
    s = jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST) / temperature
    itself = jnp.eye(len(s), dtype=bool)
    counts = itself | (index[:, None] != index[None, :])
    return jax.nn.logsumexp(jnp.where(counts, s, -jnp.inf), axis=1) - jnp.diagonal(s)


def instance_logits(
    z: Float[Array, "B D"], bank: Float[Array, "N D"], temperature: float = 1.0
) -> Float[Array, "B N"]:
    """Logits whose cross-entropy over the instance index is L_CN with the bank for views B.

    z_i . w_c / temperature, with z and w of length 1. With the views B of all N images for the
    bank, instance discrimination is the contrastive loss with every other image as a negative.

    Args:
      z: features of views A.
      bank: a vector for each image of the data set.
      temperature: above 0.

    Source: Cao and Wu 2022, arXiv:2201.10728, section 3.2.
    """
    product = jnp.matmul(unit_length(z), unit_length(bank).T, precision=jax.lax.Precision.HIGHEST)
    return product / temperature
