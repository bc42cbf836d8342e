import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxvit.models.multi_head_attention import MultiHeadSelfAttention as JaxAttention
from parity_tests.comparison import BFLOAT16, LOGITS, SATURATED, as_params, max_difference
from torch_ref.multi_head_attention import MultiHeadSelfAttention as TorchAttention


@pytest.mark.parametrize(
    ("tokens", "embed_dim", "num_heads"), [(197, 96, 3), (1, 8, 8), (7, 10, 1)]
)
def test_outputs_agree_with_torch(tokens, embed_dim, num_heads):
    torch_module = TorchAttention(embed_dim, num_heads)
    x = torch.randn(2, tokens, embed_dim)
    apply = jax.jit(JaxAttention(embed_dim, num_heads).apply)
    out = apply({"params": as_params(torch_module)}, jnp.asarray(x.numpy()))
    assert max_difference(out, torch_module(x).detach()) < LOGITS


def test_swapping_q_and_k_is_detected():
    torch_module = TorchAttention(12, 2)
    x = torch.randn(2, 5, 12)
    params = as_params(torch_module)
    q, k, v = jnp.split(params["qkv"]["kernel"], 3, axis=1)
    params["qkv"]["kernel"] = jnp.concatenate([k, q, v], axis=1)
    out = JaxAttention(12, 2).apply({"params": params}, jnp.asarray(x.numpy()))
    assert max_difference(out, torch_module(x).detach()) > 100 * LOGITS


@pytest.mark.parametrize(("dtype", "limit"), [(jnp.float32, LOGITS), (jnp.bfloat16, BFLOAT16)])
def test_sown_attention_weights_agree_with_torch_and_sum_to_one(dtype, limit):
    torch_module = TorchAttention(12, 2)
    x = torch.randn(2, 5, 12)
    _, kept = JaxAttention(12, 2, dtype).apply(
        {"params": as_params(torch_module)}, jnp.asarray(x.numpy()), mutable=["intermediates"]
    )
    (weights,) = kept["intermediates"]["attention_weights"]
    q, k, _ = torch_module.qkv(x).detach().reshape(2, 5, 3, 2, 6).permute(2, 0, 3, 1, 4)
    expected = (q @ k.transpose(2, 3) / 6**0.5).softmax(dim=-1)
    assert weights.shape == (2, 2, 5, 5)
    assert weights.dtype == jnp.float32
    assert max_difference(weights, expected) < limit
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)


def test_scores_whose_exponential_overflows_agree_with_float64():
    torch.manual_seed(0)
    torch_module = TorchAttention(12, 2)
    params = as_params(torch_module)
    x = 50 * torch.randn(2, 5, 12)  # scores up to a few thousand; exp overflows above 88.7
    out, vjp = jax.vjp(
        lambda x: JaxAttention(12, 2).apply({"params": params}, x), jnp.asarray(x.numpy())
    )
    (gradient,) = vjp(jnp.ones_like(out))
    x = x.double().requires_grad_()
    exact = torch_module.double()(x)
    exact.sum().backward()
    np.testing.assert_allclose(out, exact.detach(), rtol=SATURATED, atol=SATURATED)
    np.testing.assert_allclose(gradient, x.grad, rtol=SATURATED, atol=SATURATED)


@pytest.mark.parametrize("module", [TorchAttention, JaxAttention])
def test_both_reject_an_embed_dim_that_num_heads_does_not_divide(module):
    with pytest.raises(ValueError, match="embed_dim 10 is not divisible by num_heads 3"):
        module(10, 3)
