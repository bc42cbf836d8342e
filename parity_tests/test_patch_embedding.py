import jax.numpy as jnp
import pytest
import torch

from jaxvit.models.patch_embedding import PatchEmbedding as JaxPatchEmbedding
from parity_tests.comparison import LOGITS, as_params, max_difference, to_nhwc
from torch_ref.patch_embedding import PatchEmbedding as TorchPatchEmbedding


@pytest.mark.parametrize(("img_size", "patch_size", "channels"), [(224, 16, 3), (15, 5, 1)])
def test_tokens_agree_with_torch(img_size, patch_size, channels):
    torch_module = TorchPatchEmbedding(img_size, patch_size, channels, 48)
    jax_module = JaxPatchEmbedding(img_size, patch_size, channels, 48)
    images = torch.randn(2, channels, img_size, img_size)
    tokens = jax_module.apply({"params": as_params(torch_module)}, to_nhwc(images))
    assert tokens.shape == (2, torch_module.num_patches, 48)
    assert jax_module.num_patches == torch_module.num_patches
    assert max_difference(tokens, torch_module(images).detach()) < LOGITS


def test_vit_b16_has_196_patches_of_width_768():
    assert TorchPatchEmbedding(224, 16, 3, 768)(torch.zeros(1, 3, 224, 224)).shape == (1, 196, 768)
    assert JaxPatchEmbedding(224, 16, 3, 768).num_patches == 196


@pytest.mark.parametrize("module", [TorchPatchEmbedding, JaxPatchEmbedding])
def test_both_reject_an_img_size_that_patch_size_does_not_divide(module):
    with pytest.raises(ValueError, match="img_size 225 is not divisible by patch_size 16"):
        module(225, 16, 3, 8)


def test_both_reject_an_image_of_another_size():
    with pytest.raises(ValueError, match=r"\(3, 8, 8\) does not fit .* \(3, 16, 16\)"):
        TorchPatchEmbedding(16, 4, 3, 8)(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"\(8, 8, 3\) does not fit .* \(16, 16, 3\)"):
        JaxPatchEmbedding(16, 4, 3, 8).init({}, jnp.zeros((1, 8, 8, 3)))
