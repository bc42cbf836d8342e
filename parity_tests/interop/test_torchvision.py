"""torchvision's layout against torchvision."""

import pytest
import torch
from safetensors.torch import load_file
from torchvision.models.vision_transformer import interpolate_embeddings

from jaxvit.config import IMAGENET_MEAN
from jaxvit.data.preprocessing import Geometry
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.save import save_pretrained, to_layout
from jaxvit.interop.torchvision import LAYOUT
from parity_tests.comparison import LOGITS, max_difference
from parity_tests.foreign_models import (
    FOREIGN,
    IMG,
    OPTIONS,
    PATCH,
    assert_same,
    differing,
    images_for,
    model_like,
    our_logits,
)
from parity_tests.foreign_models import torchvision as foreign_torchvision


@pytest.mark.parametrize("name", [name for name in FOREIGN if name.startswith("torchvision")])
def test_logits_and_gradients_are_torchvisions(name, tmp_path):
    loaded = assert_same(FOREIGN[name](), tmp_path)
    assert loaded.preprocessing.mean == IMAGENET_MEAN
    assert loaded.preprocessing.geometry == Geometry(IMG, "short_side", 224 / 256, "bilinear")


def test_what_torchvision_wrote_is_written_again_to_the_bit(tmp_path):
    foreign = foreign_torchvision()
    loaded = load_pretrained(foreign.write(tmp_path), options=OPTIONS)
    theirs = {name: value.numpy() for name, value in foreign.model.state_dict().items()}
    assert differing(to_layout(loaded, LAYOUT), theirs) == 0


def test_torchvision_reads_the_file_that_is_written(tmp_path):
    ours = model_like()
    save_pretrained(ours, tmp_path / "x.safetensors", "torchvision")
    model = foreign_torchvision().model
    model.load_state_dict(load_file(tmp_path / "x.safetensors"))
    images = images_for(IMG, 0)
    with torch.no_grad():
        assert max_difference(our_logits(ours, images), model(images)) < LOGITS
    assert differing(ours.params, load_pretrained(tmp_path / "x.safetensors").params) == 0


def test_resized_positions_are_torchvisions(tmp_path):
    foreign = foreign_torchvision()
    loaded = load_pretrained(foreign.write(tmp_path), img_size=8 * PATCH, options=OPTIONS)
    state = interpolate_embeddings(8 * PATCH, PATCH, dict(foreign.model.state_dict()))
    expected = state["encoder.pos_embedding"]
    assert max_difference(loaded.params["positional_embedding"], expected) < 1e-6


def test_the_large_model_has_an_evaluation_of_its_own(tmp_path):
    path = foreign_torchvision().write(tmp_path).rename(tmp_path / "vit_l_16-x.safetensors")
    loaded = load_pretrained(path, options=OPTIONS)
    assert loaded.preprocessing.geometry == Geometry(IMG, "short_side", 224 / 242, "bilinear")
    path = path.rename(tmp_path / "vit_b_16_swag-x.safetensors")
    loaded = load_pretrained(path, options=OPTIONS)
    assert loaded.preprocessing.geometry == Geometry(IMG, "short_side", 1.0, "bicubic")
