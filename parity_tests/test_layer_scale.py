import jax
import jax.numpy as jnp
import torch

from jaxvit.models.layer_scale import LayerScale
from parity_tests.comparison import FLOOR, max_difference
from torch_ref import layer_scale as torch_layer_scale


def test_layer_scale_multiplies_each_channel_as_in_torch():
    torch.manual_seed(0)
    theirs, x = torch_layer_scale.LayerScale(5, 0.25), torch.randn(2, 3, 5)
    ours = LayerScale(0.25)
    initial = ours.init(jax.random.key(0), jnp.zeros((1, 5)))["params"]["gamma"]
    assert initial.tolist() == theirs.gamma.tolist() == [0.25] * 5
    with torch.no_grad():
        theirs.gamma += torch.randn(5)
        expected = theirs(x)
    params = {"gamma": jnp.asarray(theirs.gamma.detach().numpy())}
    assert max_difference(ours.apply({"params": params}, jnp.asarray(x.numpy())), expected) <= FLOOR
