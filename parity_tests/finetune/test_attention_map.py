"""Attention maps of pytorch-pretrained-vit's model, and the two defects of the system's own."""

import numpy as np
import pytest
import torch

from jaxvit import explain
from jaxvit.interop.load import load_pretrained
from parity_tests.evidence import distance
from parity_tests.finetune.small_models import lukemelas
from torch_ref.finetune.attention_map import attention_map, attention_rollout, attention_scores


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    from safetensors.torch import save_file

    with pytest.MonkeyPatch.context() as patch:
        model = lukemelas(patch).eval()
    with torch.no_grad():  # at their initial size all positions are nearly alike
        model.positional_embedding.pos_embedding += torch.randn_like(
            model.positional_embedding.pos_embedding
        )
        for block in model.transformer.blocks:
            block.attn.proj_q.weight *= 8
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file(model.state_dict(), path)
    heads = model.transformer.blocks[0].attn.n_heads
    found = load_pretrained(path, layout="lukemelas", options={"num_heads": heads})
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)
    return model, found, images


def in_torch(model, images: np.ndarray, dtype=torch.float32) -> tuple:
    return model.to(dtype), torch.tensor(images, dtype=dtype).permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", ["attention_map", "attention_rollout"])
def test_it_is_as_close_to_float64_as_the_twin(twins, name):
    model, found, images = twins
    ours = getattr(explain, name)(found.model, {"params": found.params}, images)
    function = {"attention_map": attention_map, "attention_rollout": attention_rollout}[name]
    single, double = (
        function(*in_torch(model, images, dtype)).numpy()
        for dtype in (torch.float32, torch.float64)
    )
    model.float()
    row = distance(name, ours, single, double)
    assert row.holds, row


def seeds_map(model, images: torch.Tensor) -> torch.Tensor:
    """As the system has it: (layers, batch, heads, tokens, tokens), then squeeze(1) and a mean."""
    scores = attention_scores(model, images).transpose(0, 1)
    return scores.squeeze(1).mean(dim=1)


def test_the_map_of_an_image_does_not_depend_on_the_others(twins):
    """Defect 6."""
    model, images = in_torch(twins[0], twins[2])
    together, alone = attention_map(model, images), attention_map(model, images[:1])
    torch.testing.assert_close(together[:1], alone)
    seeds = seeds_map(model, images)
    heads, tokens = attention_scores(model, images).shape[2:4]
    assert seeds.shape[1:] == (heads, tokens, tokens)  # a mean over images, with heads left
    assert seeds_map(model, images[:1]).shape[1:] == (tokens, tokens)


def test_rollout_has_the_residual_path(twins):
    """Defect 7: in the product of plain attention weights all tokens end up nearly alike."""
    model, images = in_torch(twins[0], twins[2])
    scores = attention_scores(model, images).mean(dim=2)
    rolled = torch.eye(scores.shape[-1])
    for layer in scores[0]:
        rolled = layer @ rolled
    without = rolled[0, 1:]
    with_path = attention_rollout(model, images)[0].flatten()
    assert with_path.sum() < without.sum()  # the class token keeps a part of itself
    assert not torch.allclose(with_path / with_path.sum(), without / without.sum(), rtol=0.01)
