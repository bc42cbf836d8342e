import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_pretrained_vit import ViT
from safetensors.torch import save_file
from torch import nn

from jaxvit.augment.normalize import normalize
from jaxvit.data.preprocessing import Geometry
from parity_tests.comparison import REPLAY, max_difference, to_nchw
from parity_tests.finetune.small_models import lukemelas, timms
from torch_ref.finetune import models


def seeds_head(model: nn.Module) -> nn.Module:
    """As the seed replaces the head, whatever the model."""
    model.fc = nn.Linear(768, 37)
    return model


@pytest.mark.parametrize("name", ["B_16_imagenet1k", "B_32_imagenet1k", "L_16_imagenet1k"])
def test_the_head_is_as_wide_as_the_model(name):
    """Defect 2 of the seed. The real sizes, on the meta device, which takes no memory."""
    images = torch.zeros(2, 3, 384, 384, device="meta")
    with torch.device("meta"):
        assert models.replace_head(ViT(name), 37)(images).shape == (2, 37)
        seeds = seeds_head(ViT(name))
        if name.startswith("L"):
            with pytest.raises(RuntimeError):
                seeds(images)
        else:
            assert seeds(images).shape == (2, 37)


def test_a_new_head_predicts_uniformly_and_keeps_the_backbone(monkeypatch):
    for model in (timms(), lukemelas(monkeypatch)):
        before = {k: v.clone() for k, v in model.state_dict().items() if "norm" in k}
        with torch.no_grad():
            logits = models.replace_head(model, 11).eval()(torch.randn(2, 3, 8, 8))
        assert logits.shape == (2, 11)
        assert not logits.any()
        assert all(torch.equal(model.state_dict()[k], v) for k, v in before.items())


def test_a_photo_of_any_size_is_prepared_as_in_jaxvit():
    """Defect 5 of the seed: no size was stated for inference, and photos differ in theirs."""
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (375, 500, 3), np.uint8))
    found = models.make_transform()(photo)
    assert found.shape == (3, 384, 384)
    pixels = Geometry(384, "squash").apply(photo)
    expected = normalize(pixels[None], tuple(models.MEAN), tuple(models.STD))
    assert max_difference(to_nchw(expected)[0], found) <= REPLAY
    with torch.device("meta"):
        model = ViT("B_16_imagenet1k")
    unsized = torch.zeros(1, 3, 375, 500, device="meta")  # as the seed would give it
    with pytest.raises(RuntimeError):
        model(unsized)


def test_a_file_without_its_head_fills_timms_model(tmp_path, monkeypatch):
    import timm

    monkeypatch.setattr(timm, "create_model", lambda name, num_classes: timms(num_classes))
    state = timms(num_classes=9).state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    model = models.load_timm("small", str(tmp_path / "weights.safetensors"), 4)
    found = model.state_dict()
    assert found["head.weight"].shape == (4, 24)
    assert all(torch.equal(found[k], v) for k, v in state.items() if not k.startswith("head."))
    del state["norm.weight"]
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(RuntimeError, match=r"norm\.weight"):
        models.load_timm("small", str(tmp_path / "part.safetensors"), 4)
