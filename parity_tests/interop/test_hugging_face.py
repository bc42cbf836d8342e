"""Hugging Face's layouts against transformers: ViT and Dinov2, both generations of names."""

import json

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from jaxvit.augment.normalize import normalize
from jaxvit.config import IMAGENET_MEAN, IMAGENET_STD
from jaxvit.data.preprocessing import Geometry, Preprocessing
from jaxvit.interop.hugging_face import DINOV2, VIT
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.save import save_pretrained, to_layout
from parity_tests.comparison import LOGITS, max_difference
from parity_tests.foreign_models import (
    FOREIGN,
    IMG,
    OPTIONS,
    PATCH,
    assert_same,
    differing,
    hugging_face,
    images_for,
    model_like,
    our_logits,
    quiet,
)

CASES = [name for name in FOREIGN if name.startswith("HF")]


@pytest.mark.parametrize("name", CASES)
def test_logits_and_gradients_are_transformers(name, tmp_path):
    loaded = assert_same(FOREIGN[name](), tmp_path)
    assert loaded.model_config.norm_eps == (1e-6 if "Dinov2" in name else 1e-12)
    assert loaded.class_names is None  # LABEL_0, ... are place holders


@pytest.mark.parametrize("family", ["ViT", "Dinov2", "Dinov2WithRegisters"])
def test_the_file_on_disk_is_written_again_to_the_bit(family, tmp_path):
    loaded = load_pretrained(hugging_face(family).write(tmp_path))
    theirs = {k: v.numpy() for k, v in load_file(tmp_path / "model.safetensors").items()}
    ours = to_layout(loaded, VIT if family == "ViT" else DINOV2)
    unused = [name for name in theirs if name.endswith("mask_token")]
    assert len(unused) == (family != "ViT")
    for tensors in (ours, theirs):
        tensors.pop(unused[0] if unused else "", None)
    assert differing(ours, theirs) == 0


def test_a_backbone_without_prefix_loses_its_pooler_and_says_so(tmp_path):
    """As the -in21k files."""
    config = transformers.ViTConfig(
        hidden_size=30, num_hidden_layers=2, num_attention_heads=5, intermediate_size=60,
        image_size=IMG, patch_size=PATCH,
    )  # fmt: skip
    model = transformers.ViTModel(config).eval()
    with quiet():
        model.save_pretrained(tmp_path)
    names = set(load_file(tmp_path / "model.safetensors"))
    assert "embeddings.cls_token" in names
    loaded = load_pretrained(tmp_path)
    assert loaded.num_classes == 0
    fates = {row.tensor: row.fate for row in loaded.report.rows}
    assert fates["pooler.dense.weight"].startswith("dropped: a tanh layer")
    assert set(fates) == names
    images = images_for(IMG, 0)
    with torch.no_grad():
        expected = model(images).last_hidden_state[:, 0]
    assert max_difference(our_logits(loaded, images), expected) < LOGITS


@pytest.mark.parametrize(
    ("options", "family"),
    [
        ({}, "ViT"),
        ({"norm_eps": 1e-3, "gelu": "tanh"}, "ViT"),
        ({"qkv_bias": False}, "ViT"),
        ({"layer_scale": 0.1, "pool": "both", "mlp_ratio": 3.0}, "Dinov2"),
        (
            {"layer_scale": 0.1, "pool": "both", "mlp_ratio": 3.0, "register_tokens": 4},
            "Dinov2WithRegisters",
        ),
    ],
)
def test_transformers_reads_the_directory_by_itself(options, family, tmp_path):
    ours = model_like(**options)
    assert save_pretrained(ours, tmp_path / "x", "hf") == []
    with quiet():
        model, info = transformers.AutoModelForImageClassification.from_pretrained(
            tmp_path / "x", output_loading_info=True
        )
    assert type(model).__name__ == f"{family}ForImageClassification"
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    pixels = images_for(IMG, 0)
    with torch.no_grad():
        expected = model.eval()(pixels).logits
    assert max_difference(our_logits(ours, pixels), expected) < LOGITS
    assert tuple(model.config.id2label.values()) == ours.class_names
    again = load_pretrained(tmp_path / "x")
    assert differing(ours.params, again.params) == 0
    assert again.class_names == ours.class_names
    # Without what jaxvit wrote, config.json says the same.
    tensors = load_file(tmp_path / "x" / "model.safetensors")
    save_file(tensors, tmp_path / "x" / "model.safetensors")
    bare = load_pretrained(tmp_path / "x")
    assert bare.class_names == ours.class_names
    assert bare.preprocessing == ours.preprocessing
    assert max_difference(our_logits(bare, pixels), expected) < LOGITS


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(IMG, "squash", 1.0, "bilinear"),
        Geometry(IMG, "short_side", 0.84, "bicubic"),  # margins of 6 and 30 pixels
        Geometry(IMG, "squash", 0.8, "bicubic"),
    ],
)
def test_transformers_preprocesses_as_the_directory_says(geometry, tmp_path):
    """To one grey level of 255. An odd margin it cuts one pixel off torchvision's centre."""
    images = Preprocessing(geometry, IMAGENET_MEAN, IMAGENET_STD)
    save_pretrained(model_like(preprocessing=images), tmp_path / "x", "hf")
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (50, 80, 3), np.uint8))
    with quiet():
        processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "x")
        theirs = processor(image, return_tensors="np")["pixel_values"][0]
    ours = np.asarray(normalize(geometry.apply(image)[None], IMAGENET_MEAN, IMAGENET_STD))[0]
    assert theirs.shape == (3, IMG, IMG)
    one_level = 1 / 255 / min(IMAGENET_STD)
    assert max_difference(theirs.transpose(1, 2, 0), ours) < 1.1 * one_level


@pytest.mark.parametrize("family", ["ViT", "Dinov2", "Dinov2WithRegisters"])
@pytest.mark.parametrize("grid", [3, 8])
def test_resized_positions_are_those_of_transformers(family, grid, tmp_path):
    foreign = hugging_face(family)
    size = grid * PATCH
    loaded = load_pretrained(foreign.write(tmp_path), img_size=size)
    images = images_for(size, 0)
    more = {"interpolate_pos_encoding": True} if family == "ViT" else {}
    with torch.no_grad():
        expected = foreign.model(images, **more).logits
    assert max_difference(our_logits(loaded, images), expected) < LOGITS


def test_the_lineage_is_preferred_to_a_preprocessor_that_contradicts_it(tmp_path):
    """The published deit-tiny says .5 and .5, but was trained with ImageNet's numbers."""
    directory = tmp_path / "deit-tiny-patch16-224"
    directory.mkdir()
    hugging_face("ViT").write(directory)
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3, "do_resize": True}
    half |= {"size": 256, "crop_size": 224, "do_center_crop": True, "do_normalize": True}
    (directory / "preprocessor_config.json").write_text(json.dumps(half))
    loaded = load_pretrained(directory)
    assert loaded.preprocessing.mean == IMAGENET_MEAN
    assert loaded.preprocessing.std == IMAGENET_STD
    assert loaded.preprocessing.geometry == Geometry(IMG, "short_side", 224 / 256, "bicubic")
    assert [line for line in loaded.report.warnings if "family DeiT" in line]
    directory.rename(tmp_path / "some-vit")
    other = load_pretrained(tmp_path / "some-vit")
    assert other.preprocessing.mean == (0.5, 0.5, 0.5)
    assert not other.report.warnings


def test_preprocessing_and_class_names_come_from_the_files_beside(tmp_path):
    hugging_face("ViT", id2label={i: f"kind {5 - i}" for i in range(6)}).write(tmp_path)
    values = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 3}
    values |= {"size": {"height": IMG, "width": IMG}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    loaded = load_pretrained(tmp_path)
    expected = Geometry(IMG, "squash", 1.0, "bicubic"), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    assert loaded.preprocessing == Preprocessing(*expected)
    assert loaded.class_names == tuple(f"kind {5 - i}" for i in range(6))


def test_a_file_alone_has_the_layouts_own_eps(tmp_path):
    hugging_face("ViT").write(tmp_path)
    (tmp_path / "config.json").unlink()
    loaded = load_pretrained(tmp_path / "model.safetensors", options=OPTIONS)
    assert loaded.model_config.norm_eps == 1e-12
    assert loaded.preprocessing.mean == (0.5, 0.5, 0.5)
