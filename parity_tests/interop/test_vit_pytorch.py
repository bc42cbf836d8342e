"""vit-pytorch's layout against vit-pytorch."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from jaxvit.errors import UserError
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.save import save_pretrained, to_layout
from jaxvit.interop.vit_pytorch import LAYOUT
from parity_tests.comparison import LOGITS, max_difference
from parity_tests.foreign_models import (
    IMG,
    OPTIONS,
    assert_same,
    differing,
    images_for,
    model_like,
    our_logits,
    vit_pytorch,
)

LIKE = {"patch_norm": True, "qkv_bias": False, "norm_eps": 1e-5}


def test_layers_logits_and_gradients_are_the_librarys(tmp_path):
    loaded = assert_same(vit_pytorch(), tmp_path)
    assert loaded.model_config.patch_norm
    assert not loaded.model_config.qkv_bias
    assert loaded.model_config.norm_eps == 1e-5


def test_what_the_library_wrote_is_written_again_to_the_bit(tmp_path):
    foreign = vit_pytorch()
    loaded = load_pretrained(foreign.write(tmp_path), options=OPTIONS)
    theirs = {name: value.numpy() for name, value in foreign.model.state_dict().items()}
    assert differing(to_layout(loaded, LAYOUT), theirs) == 0


def test_the_library_reads_the_file_that_is_written(tmp_path):
    ours = model_like(**LIKE)
    save_pretrained(ours, tmp_path / "x.safetensors", "vit_pytorch")
    model = vit_pytorch().model
    model.load_state_dict(load_file(tmp_path / "x.safetensors"))
    images = images_for(IMG, 0)
    with torch.no_grad():
        assert max_difference(our_logits(ours, images), model(images)) < LOGITS
    again = load_pretrained(tmp_path / "x.safetensors")
    assert differing(ours.params, again.params) == 0
    assert again.model_config == ours.model_config


def test_tokens_of_older_files_have_three_axes(tmp_path):
    tensors = vit_pytorch().model.state_dict()
    for name in ("cls_token", "pos_embedding"):
        tensors[name] = tensors[name][None]
    save_file(tensors, tmp_path / "old.safetensors")
    vit_pytorch().write(tmp_path)
    old, new = (
        load_pretrained(tmp_path / f"{name}.safetensors", options=OPTIONS) for name in ("old", "x")
    )
    assert differing(old.params, new.params) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"patch_norm": False}, "its patches are not normalised"),
        ({"qkv_bias": True}, "its q, k and v have a bias"),
        ({"layer_scale": 0.1}, "it has LayerScale"),
        ({"pool": "mean"}, "its head sees the mean of the patches"),
    ],
)
def test_another_model_is_refused(options, said, tmp_path):
    with pytest.raises(UserError, match=said):
        save_pretrained(model_like(**LIKE | options), tmp_path / "x.safetensors", "vit_pytorch")


@pytest.mark.parametrize("to", ["timm", "hf", "google", "lukemelas", "torchvision"])
def test_no_other_library_has_norms_of_patches(to, tmp_path):
    ours = model_like(patch_norm=True)
    with pytest.raises(UserError, match=r"its patches are normalised.*choose lab"):
        save_pretrained(ours, tmp_path / "x", to)


def test_patches_that_are_no_square_are_refused(tmp_path):
    tensors = vit_pytorch().model.state_dict()
    weight = tensors["to_patch_embedding.2.weight"]
    tensors["to_patch_embedding.2.weight"] = weight[:, :-1].clone()
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match=r"to_patch_embedding|patches of"):
        load_pretrained(tmp_path / "x.safetensors", options=OPTIONS)


def test_grey_images_are_told_from_the_number_of_values(tmp_path):
    ours = model_like(**LIKE, in_channels=1)
    ours = ours._replace(preprocessing=ours.preprocessing._replace(mean=(0.5,), std=(0.5,)))
    save_pretrained(ours, tmp_path / "x.safetensors", "vit_pytorch")
    again = load_pretrained(tmp_path / "x.safetensors")
    assert again.model_config.in_channels == 1
    assert np.array_equal(
        again.params["patch_embedding"]["proj"]["kernel"],
        ours.params["patch_embedding"]["proj"]["kernel"],
    )
