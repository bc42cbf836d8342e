"""lukemelas's layout against pytorch-pretrained-vit."""

import torch
from pytorch_pretrained_vit.utils import resize_positional_embedding_
from safetensors.torch import load_file

from jaxvit.interop.load import load_pretrained
from jaxvit.interop.lukemelas import LAYOUT
from jaxvit.interop.save import save_pretrained, to_layout
from parity_tests.comparison import LOGITS, max_difference
from parity_tests.foreign_models import (
    IMG,
    OPTIONS,
    PATCH,
    WIDTH,
    assert_same,
    differing,
    images_for,
    lukemelas,
    model_like,
    our_logits,
)
from torch_ref.finetune import models


def test_logits_and_gradients_are_the_librarys(tmp_path):
    loaded = assert_same(lukemelas(), tmp_path)
    assert loaded.preprocessing[1:] == (tuple(models.MEAN), tuple(models.STD))


def test_what_the_library_wrote_is_written_again_to_the_bit(tmp_path):
    foreign = lukemelas()
    loaded = load_pretrained(foreign.write(tmp_path), options=OPTIONS)
    theirs = {name: value.numpy() for name, value in foreign.model.state_dict().items()}
    assert differing(to_layout(loaded, LAYOUT), theirs) == 0


def test_the_library_reads_the_file_that_is_written(tmp_path):
    ours = model_like()
    assert save_pretrained(ours, tmp_path / "x.safetensors", "lukemelas") == []
    model = lukemelas().model
    model.load_state_dict(load_file(tmp_path / "x.safetensors"))
    images = images_for(IMG, 0)
    with torch.no_grad():
        assert max_difference(our_logits(ours, images), model(images)) < LOGITS
    assert differing(ours.params, load_pretrained(tmp_path / "x.safetensors").params) == 0


def test_resized_positions_are_the_librarys(tmp_path):
    foreign = lukemelas()
    loaded = load_pretrained(foreign.write(tmp_path), img_size=8 * PATCH, options=OPTIONS)
    positions = foreign.model.positional_embedding.pos_embedding.detach()
    expected = resize_positional_embedding_(positions, torch.zeros(1, 65, WIDTH))
    assert max_difference(loaded.params["positional_embedding"], expected) < 1e-6
