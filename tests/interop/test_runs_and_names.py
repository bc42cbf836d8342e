"""Runs of our own as weights; what names of files and repositories tell."""

import json
import shutil

import chex
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from test_bad_weights import HEADS, pretrained

from jaxvit.config import IMAGENET_MEAN
from jaxvit.data.decoded import Dataset, Split
from jaxvit.errors import UserError
from jaxvit.interop import labelled, load
from jaxvit.interop.known_models import lineage_of, values_at
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.save import save_pretrained
from jaxvit.interop.saved_run import load_run


def test_a_run_is_loaded_as_weights_and_written_as_any_layout(uninterrupted, tmp_path):
    run, loaded = load_run(uninterrupted), load_pretrained(uninterrupted)
    assert loaded.layout == "run"
    assert loaded.class_names == run.class_names == tuple("0123456789")
    assert loaded.preprocessing.mean == tuple(run.config.data.mean)
    assert loaded.preprocessing.geometry.size == run.model.img_size
    assert loaded.model_config.dropout == 0
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
    mean, std = (np.asarray(v, np.float32) for v in loaded.preprocessing[1:])
    images = (pixels / np.float32(255) - mean) / std
    logits = loaded.model.apply({"params": loaded.params}, images, deterministic=True)
    np.testing.assert_allclose(jax.nn.softmax(logits), run.probabilities(pixels), atol=1e-5)
    for to in ("timm", "lab"):
        save_pretrained(loaded, tmp_path / to, to)
        again = load_pretrained(tmp_path / to)
        chex.assert_trees_all_equal(again.params, loaded.params)
        assert again.model_config == loaded.model_config
        assert again.class_names == loaded.class_names
        assert again.preprocessing == loaded.preprocessing


def test_a_run_gets_another_head_and_size(uninterrupted):
    loaded = load_pretrained(uninterrupted, num_classes=3, img_size=16)
    assert loaded.params["head"]["kernel"].shape[1] == loaded.num_classes == 3
    assert not loaded.params["head"]["kernel"].any()
    assert loaded.class_names is None
    assert loaded.model.img_size == loaded.preprocessing.geometry.size == 16
    assert "resized" in str(loaded.report)
    kept = load_pretrained(uninterrupted, num_classes=10)
    assert kept.params["head"]["kernel"].any()


def test_a_run_needs_no_layout_or_options(uninterrupted):
    for options in ({"layout": "timm"}, {"options": HEADS}):
        with pytest.raises(UserError, match="run"):
            load_pretrained(uninterrupted, **options)


@pytest.mark.parametrize(
    ("name", "layout", "family"),
    [
        ("deit_tiny_patch16_224", "timm", "DeiT"),
        ("facebook/deit-base-patch16-224", "hf", "DeiT"),
        ("dinov2_vits14_float16", "timm", "DINOv2"),
        ("dinov2-with-registers-small", "hf", "DINOv2"),
        ("vit_small_patch14_dinov2.lvd142m", "timm", "DINOv2"),
        ("dino_deitsmall16_pretrain", "timm", "DINO or MAE"),
        ("vit_base_patch16_224.mae", "timm", "DINO or MAE"),
        ("vit_tiny_patch16_224.augreg_in21k", "timm", "AugReg"),
        ("vit_b_16_swag-9ac1b537", "torchvision", "torchvision's SWAG"),
        ("vit_l_16-852ce7e3", "torchvision", "torchvision's ViT-L/16"),
        ("vit_l_16-852ce7e3", "timm", None),
        ("maestro", "timm", None),
        ("best", "timm", None),
    ],
)
def test_what_a_name_tells(name, layout, family):
    found = lineage_of([name], layout)
    assert (found and found[0].name) == family


def test_large_models_are_evaluated_without_a_margin():
    deit, _ = lineage_of(["deit_base_patch16_384"], "timm")
    assert values_at(deit, 384)["crop_share"] == 1.0
    assert values_at(deit, 224)["crop_share"] == 0.9


def test_a_large_model_used_at_a_smaller_size_is_prepared_as_one_of_that_size(tmp_path):
    path = tmp_path / "deit_384.safetensors"
    save_pretrained(pretrained(img_size=384, patch_size=16, num_layers=1), path, "timm")
    save_file(load_file(path), path)
    for size, share in ((None, 1.0), (224, 0.9)):
        geometry = load_pretrained(path, img_size=size, options=HEADS).preprocessing.geometry
        assert (geometry.size, geometry.crop_share) == (size or 384, share)


def test_the_name_of_a_repository_tells_the_family(tmp_path, monkeypatch):
    save_pretrained(pretrained(), tmp_path / "x", "timm")
    file = tmp_path / "x" / "model.safetensors"
    save_file(load_file(file), file)
    (tmp_path / "x" / "config.json").unlink()
    monkeypatch.setattr(load, "fetch", lambda address: file)
    loaded = load_pretrained("hf://owner/deit-small@main", options=HEADS)
    assert loaded.preprocessing.mean == IMAGENET_MEAN
    assert "from the family DeiT, told by the name owner/deit-small@main" in str(loaded.report)
    other = load_pretrained("hf://owner/other", options=HEADS)
    assert other.preprocessing.mean == (0.5, 0.5, 0.5)


def test_a_configuration_beside_several_files_belongs_to_none_of_them(tmp_path):
    for name in ("a", "b"):
        save_pretrained(pretrained(), tmp_path / f"{name}.safetensors", "timm")
        save_file(load_file(tmp_path / f"{name}.safetensors"), tmp_path / f"{name}.safetensors")
    config = {"architecture": "x", "model_args": {"num_heads": 6}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = load_pretrained(tmp_path / "a.safetensors", options=HEADS)
    assert loaded.model_config.num_heads == 3
    (tmp_path / "b.safetensors").unlink()
    assert load_pretrained(tmp_path / "a.safetensors").model_config.num_heads == 6


def test_known_sizes_have_their_own_number_of_heads(tmp_path):
    """ViT-H has heads of 80 channels."""
    from jaxvit.interop.settings import add_heads, gather_settings
    from jaxvit.interop.timm import LAYOUT

    def heads(embed_dim: int, num_layers: int) -> int:
        settings = gather_settings(
            LAYOUT, options={}, metadata={}, directory=None, names=[], img_size=224
        )
        add_heads(settings, embed_dim, num_layers)
        return settings["num_heads"]

    assert heads(1280, 32) == 16
    assert heads(768, 12) == 12
    assert heads(1024, 24) == 16


def test_the_order_of_images_is_part_of_what_they_are(tmp_path, monkeypatch):
    now = {"a": "1", "b": "2"}
    data = Dataset(
        ("a",), *[Split(np.zeros((1, 1, 1, 1), np.uint8), *[np.zeros(1, int)] * 2, ("a",))] * 3
    )
    monkeypatch.setattr(labelled, "describe", lambda dataset: {"test": now})
    for before, expected in (
        ({"a": "1", "b": "2"}, None),
        ({"b": "2", "a": "1"}, "their order"),
        ({"a": "1"}, "new is b"),
        ({"a": "1", "b": "3"}, "changed is b"),
        ({"a": "1", "b": "2", "c": "3"}, "gone is c"),
    ):
        monkeypatch.setattr(labelled, "described", lambda run, split, before=before: before)
        assert labelled.changed(tmp_path, "test", data) == expected


def test_a_run_computes_in_the_type_that_it_was_trained_in(uninterrupted, tmp_path):
    shutil.copytree(uninterrupted, tmp_path / "run")
    file = tmp_path / "run" / "config.json"
    values = json.loads(file.read_text())
    values["model"]["dtype"] = "bfloat16"
    file.write_text(json.dumps(values))
    assert load_pretrained(tmp_path / "run").model.dtype == "bfloat16"
    assert load_pretrained(uninterrupted).model.dtype == "float32"
