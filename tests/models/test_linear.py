"""Linear layers in bfloat16: the matmul alone is rounded."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxvit.models.linear import Dense


def test_in_bfloat16_the_bias_and_its_gradient_keep_float32():
    layer = Dense(4, nn.initializers.normal(), nn.initializers.normal(), jnp.bfloat16)
    x = jax.random.normal(jax.random.key(0), (2000, 3))
    weight = jax.random.uniform(jax.random.key(1), (2000, 4))
    params = layer.init(jax.random.key(2), x)

    def total(params):
        return (layer.apply(params, x) * weight).sum()

    gradient = jax.grad(total)(params)["params"]["bias"]
    np.testing.assert_allclose(gradient, np.asarray(weight, np.float64).sum(0), rtol=1e-5)
    small = {"params": params["params"] | {"bias": jnp.full((4,), 1e-4)}}
    none = {"params": params["params"] | {"bias": jnp.zeros(4)}}
    added = layer.apply(small, x) - layer.apply(none, x)
    np.testing.assert_allclose(added, 1e-4, rtol=0.01)
