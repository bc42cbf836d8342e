"""timm's layout against timm: DeiT, DINOv2 with LayerScale, registers in both forms."""

import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from jaxvit.config import IMAGENET_MEAN, IMAGENET_STD
from jaxvit.data.preprocessing import FILTERS, Geometry, Preprocessing
from jaxvit.interop.known_models import lineage_of, values_at
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.save import save_pretrained, to_layout
from jaxvit.interop.timm import LAYOUT
from parity_tests.comparison import LOGITS, max_difference
from parity_tests.foreign_models import (
    FOREIGN,
    IMG,
    OPTIONS,
    PATCH,
    WIDTH,
    assert_same,
    differing,
    images_for,
    model_like,
    our_logits,
    timm_model,
)
from parity_tests.foreign_models import timm as foreign_timm

CASES = [name for name in FOREIGN if name.startswith("timm")]


@pytest.mark.parametrize("name", CASES)
def test_logits_and_gradients_are_timms(name, tmp_path):
    assert_same(FOREIGN[name](), tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_what_timm_wrote_is_written_again_to_the_bit(name, tmp_path):
    foreign = FOREIGN[name]()
    loaded = load_pretrained(foreign.write(tmp_path), options=foreign.options)
    ours = to_layout(loaded, LAYOUT)
    theirs = {name: value.numpy() for name, value in foreign.model.state_dict().items()}
    assert differing(ours, theirs) == 0


def test_official_registers_have_a_position_for_the_class_token(tmp_path):
    """As in Meta's files: timm adds the first position to the class token."""
    model = timm_model(init_values=0.3, reg_tokens=4, no_embed_class=True, num_classes=0)
    official = {name: value.clone() for name, value in model.state_dict().items()}
    official["register_tokens"] = official.pop("reg_token")
    slot = torch.randn(1, 1, WIDTH)
    official["pos_embed"] = torch.cat([slot, official["pos_embed"]], dim=1)
    official["mask_token"] = torch.randn(1, WIDTH)
    save_file(official, tmp_path / "x.safetensors")
    loaded = load_pretrained(tmp_path / "x.safetensors", options=OPTIONS)
    model.load_state_dict(timm.models.vision_transformer.checkpoint_filter_fn(official, model))
    images = images_for(IMG, 0)
    with torch.no_grad():
        expected = model(images)
    assert max_difference(our_logits(loaded, images), expected) < LOGITS
    fates = {row.tensor: row.fate for row in loaded.report.rows}
    assert fates["mask_token"].startswith("dropped: used in pre-training")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layer_scale": 0.1, "register_tokens": 4},
        {"pool": "mean", "qkv_bias": False},
        {"gelu": "tanh"},
        {"num_classes": 0, "layer_scale": 0.1},
    ],
)
def test_timm_reads_the_directory_by_itself(options, tmp_path):
    images = Preprocessing(Geometry(IMG, "short_side", 0.9, "bicubic"), IMAGENET_MEAN, IMAGENET_STD)
    ours = model_like(**options, preprocessing=images)
    assert save_pretrained(ours, tmp_path / "x", "timm") == []
    model = timm.create_model(f"local-dir:{tmp_path / 'x'}", pretrained=True).eval()
    pixels = images_for(IMG, 0)
    with torch.no_grad():
        expected = model(pixels)
    assert max_difference(our_logits(ours, pixels), expected) < LOGITS
    data = timm.data.resolve_model_data_config(model)
    assert (*map(tuple, (data["mean"], data["std"])),) == (IMAGENET_MEAN, IMAGENET_STD)
    assert (data["crop_pct"], data["interpolation"]) == (0.9, "bicubic")
    again = load_pretrained(tmp_path / "x")
    assert differing(ours.params, again.params) == 0
    assert again.class_names == ours.class_names
    assert again.preprocessing == ours.preprocessing
    # Without what jaxvit wrote, config.json says the same.
    weights = tmp_path / "x" / "model.safetensors"
    save_file(load_file(weights), weights)
    bare = load_pretrained(tmp_path / "x")
    assert bare.class_names == ours.class_names
    assert bare.preprocessing == ours.preprocessing
    assert max_difference(our_logits(bare, pixels), expected) < LOGITS


def test_a_directory_in_timms_form_gives_preprocessing_and_class_names(tmp_path):
    foreign = foreign_timm()
    foreign.write(tmp_path).rename(tmp_path / "model.safetensors")
    config = {
        "architecture": "vit_tiny_patch16_224", "num_classes": 6, "global_pool": "token",
        "model_args": {"num_heads": 5},
        "pretrained_cfg": {
            "input_size": [3, IMG, IMG], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6],
            "crop_pct": 0.8, "crop_mode": "center", "interpolation": "bilinear",
            "label_names": list("abcdef"),
        },
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = load_pretrained(tmp_path)
    assert loaded.model_config.num_heads == 5
    assert loaded.class_names == tuple("abcdef")
    expected = Geometry(IMG, "short_side", 0.8, "bilinear"), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    assert loaded.preprocessing == Preprocessing(*expected)


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("crop_mode", ["center", "squash"])
def test_images_are_prepared_as_timm_does(interpolation, crop_mode, tmp_path):
    """Byte for byte, by every filter that config.json may name here."""
    foreign_timm().write(tmp_path).rename(tmp_path / "model.safetensors")
    images = {
        "input_size": [3, IMG, IMG], "mean": [0.0] * 3, "std": [1.0] * 3, "crop_pct": 0.8,
        "crop_mode": crop_mode, "interpolation": interpolation,
    }  # fmt: skip
    config = {"architecture": "x", "model_args": {"num_heads": 5}, "pretrained_cfg": images}
    (tmp_path / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (50, 80, 3), np.uint8))
    theirs = timm.data.create_transform(**images, is_training=False)(image)
    ours = load_pretrained(tmp_path).preprocessing.geometry.apply(image)
    expected = (theirs * 255).round().byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize(
    "name",
    [
        "deit_tiny_patch16_224.fb_in1k", "deit_base_patch16_384.fb_in1k",
        "vit_small_patch14_dinov2.lvd142m", "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
        "vit_base_patch16_384.augreg_in21k_ft_in1k", "vit_base_patch16_224.mae",
        "vit_base_patch16_224.dino",
    ],
)  # fmt: skip
def test_a_family_is_prepared_as_timm_says(name):
    theirs = timm.get_pretrained_cfg(name)
    ours = values_at(lineage_of([name], "timm")[0], theirs.input_size[1])
    assert (ours["mean"], ours["std"]) == (theirs.mean, theirs.std)
    assert (ours["crop_share"], ours["interpolation"]) == (theirs.crop_pct, theirs.interpolation)
    assert (ours["resize"], theirs.crop_mode) == ("short_side", "center")


def test_resized_positions_are_those_of_timms_own_loading(tmp_path):
    foreign = foreign_timm()
    size = 8 * PATCH
    loaded = load_pretrained(foreign.write(tmp_path), img_size=size, options=OPTIONS)
    other = timm_model(img_size=size)
    state = timm.models.vision_transformer.checkpoint_filter_fn(foreign.model.state_dict(), other)
    expected = state["pos_embed"].numpy()
    assert max_difference(loaded.params["positional_embedding"], expected) < 1e-6
    row = next(row for row in loaded.report.rows if row.tensor == "pos_embed")
    assert row.fate == "loaded, resized from 5 x 5 to 8 x 8 by bicubic_antialias"
    assert loaded.preprocessing.geometry.size == loaded.model.img_size == size
    images = images_for(size, 0)
    other.load_state_dict(state)
    with torch.no_grad():
        assert max_difference(our_logits(loaded, images), other(images)) < LOGITS


def test_half_precision_is_widened_without_rounding(tmp_path):
    model = timm_model()
    for kind in (torch.float16, torch.bfloat16):
        half = {name: value.to(kind) for name, value in model.state_dict().items()}
        save_file(half, tmp_path / "x.safetensors")
        loaded = load_pretrained(tmp_path / "x.safetensors", options=OPTIONS)
        written = to_layout(loaded, LAYOUT)
        for name, value in half.items():
            np.testing.assert_array_equal(written[name], value.float().numpy())
        assert any(str(kind).removeprefix("torch.") in line for line in loaded.report.lines)
