"""Similarities of positions, against jaxvit's."""

import numpy as np
import torch

from jaxvit import explain
from parity_tests.finetune.small_models import lukemelas
from torch_ref.finetune.position_similarity import position_similarity


def test_it_is_jaxvits(monkeypatch):
    model = lukemelas(monkeypatch)
    positions = model.positional_embedding.pos_embedding
    with torch.no_grad():
        positions += torch.randn_like(positions)
    found = position_similarity(model)
    side = found.shape[0]
    assert found.shape == (side,) * 4
    expected = explain.position_similarity(positions.detach().numpy())
    np.testing.assert_allclose(found, expected, atol=1e-6)
    torch.testing.assert_close(torch.einsum("ijij->ij", found), torch.ones(side, side))
