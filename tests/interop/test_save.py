"""Saved weights: every bit comes back, what cannot be said is refused, what differs is warned."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from test_bad_weights import HALF, HEADS, pretrained

from jaxvit.config import IMAGENET_MEAN, IMAGENET_STD
from jaxvit.data.preprocessing import Geometry, Preprocessing
from jaxvit.errors import UserError
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.reading import NAMES
from jaxvit.interop.save import save_pretrained
from jaxvit.interop.weights_file import write_weights_file


def leaves(params) -> dict[str, bytes]:
    from flax.traverse_util import flatten_dict

    return {k: np.asarray(v).tobytes() for k, v in flatten_dict(params, sep="/").items()}


@pytest.mark.parametrize("to", NAMES)
@pytest.mark.parametrize("form", ["file", "directory"])
def test_every_layout_gives_every_bit_and_setting_back(to, form, tmp_path):
    own = {"patch_norm": True, "qkv_bias": False} if to == "vit_pytorch" else {}
    ours = pretrained(norm_eps=1e-4, **own)
    images = Preprocessing(
        Geometry(32, "short_side", 0.875, "bicubic"), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    )
    ours = ours._replace(preprocessing=images)
    path = tmp_path / (
        "x" if form == "directory" else "x.npz" if to == "google" else "x.safetensors"
    )
    save_pretrained(ours, path, to)
    again = load_pretrained(path)
    assert leaves(again.params) == leaves(ours.params)
    assert again.layout == to
    assert again.model_config == ours.model_config
    assert again.preprocessing == ours.preprocessing
    assert again.class_names == ours.class_names
    assert not list(tmp_path.rglob("*partial*"))


def test_a_chain_through_every_layout_keeps_every_bit(tmp_path):
    first = current = pretrained()
    for to in (*(name for name in NAMES if name != "vit_pytorch"), "timm"):
        save_pretrained(current, tmp_path / to, to)
        current = load_pretrained(tmp_path / to)
    assert leaves(current.params) == leaves(first.params)
    assert current.model_config == first.model_config


@pytest.mark.parametrize("slot", ["zero", "negative zero", "other"])
def test_registers_keep_every_bit_in_both_of_timms_forms(slot, tmp_path):
    ours = pretrained(layer_scale=1e-5, register_tokens=4, num_classes=0)
    value = {"zero": 0.0, "negative zero": -0.0, "other": 0.7}[slot]
    ours.params["positional_embedding"] = ours.params["positional_embedding"].copy()
    ours.params["positional_embedding"][:, 0] = value
    save_pretrained(ours, tmp_path / "x.safetensors", "timm")
    names = set(load_file(tmp_path / "x.safetensors"))
    assert ("reg_token" in names) == (slot == "zero")
    assert ("register_tokens" in names) == (slot != "zero")
    assert leaves(load_pretrained(tmp_path / "x.safetensors").params) == leaves(ours.params)


@pytest.mark.parametrize(
    ("options", "to", "reason", "can"),
    [
        ({"layer_scale": 0.1}, "google", "it has LayerScale", "timm or lab"),
        ({"layer_scale": 0.1}, "torchvision", "it has LayerScale", "timm or lab"),
        ({"layer_scale": 0.1}, "lukemelas", "it has LayerScale", "timm or lab"),
        ({"layer_scale": 0.1}, "hf", "its head sees the class token", "timm or lab"),
        ({"layer_scale": 0.1, "pool": "both"}, "timm", "and the mean", "hf or lab"),
        ({"pool": "both"}, "hf", "it has no LayerScale", "lab"),
        ({"pool": "mean"}, "google", "the mean of the patches", "timm or lab"),
        ({"register_tokens": 4}, "torchvision", "it has register tokens", "timm or lab"),
        ({"qkv_bias": False}, "google", "q, k and v have no bias", "timm or hf or lab"),
        ({"layer_scale": 0.1, "pool": "both", "mlp_ratio": 2.5}, "hf", "no integer", "lab"),
    ],
)
def test_what_a_layout_cannot_express_is_refused_in_one_line(options, to, reason, can, tmp_path):
    with pytest.raises(UserError) as error:
        save_pretrained(pretrained(**options), tmp_path / "x", to)
    message = str(error.value)
    assert reason in message
    assert message.endswith(f"choose {can}")
    assert "\n" not in message
    assert not (tmp_path / "x").exists()


def test_readers_with_other_habits_are_warned_of(tmp_path):
    ours = pretrained(norm_eps=1e-6)  # erf, .5/.5, squash, bilinear

    def warned(to, name, model=ours):
        return " | ".join(save_pretrained(model, tmp_path / to / name, to))

    assert warned("lukemelas", "x.safetensors") == ""
    assert "GELU tanh unless told otherwise; this model has erf" in warned("google", "x.npz")
    assert "eps 1e-12" in warned("hf", "x.safetensors")
    assert warned("hf", "x") == ""  # config.json says it
    assert "mean 0.485/0.456/0.406" in warned("torchvision", "x")
    assert "interpolation bicubic" in warned("timm", "x.safetensors")
    assert warned("timm", "x") == ""
    assert "eps 1e-05" in warned("lab", "x.safetensors")
    other = pretrained(norm_eps=1e-5)
    assert "eps 1e-06 unless told otherwise; this model has 1e-05" in warned("timm", "x", other)
    deit = Preprocessing(Geometry(32, "short_side", 0.9, "bicubic"), IMAGENET_MEAN, IMAGENET_STD)
    assert "this model has 0.485" in warned(
        "lukemelas", "x.safetensors", ours._replace(preprocessing=deit)
    )


def test_places_where_nothing_can_be_written(tmp_path):
    def refused(path, to, part):
        with pytest.raises(UserError) as error:
            save_pretrained(pretrained(), path, to)
        assert part in str(error.value)
        assert "\n" not in str(error.value)

    refused(tmp_path / "x.npz", "timm", "end in .safetensors")
    refused(tmp_path / "x.safetensors", "google", "end in .npz")
    refused(tmp_path / "x", "keras", "choose of timm, hf")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", "timm", "is a file")
    refused(tmp_path / "file" / "x.safetensors", "timm", "cannot be written")
    (tmp_path / "d.safetensors").mkdir()
    refused(tmp_path / "d.safetensors", "timm", "is a directory")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text("{}")
    refused(tmp_path / "run", "timm", "lies in the run")


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.npz"
    write_weights_file(path, {"a": np.ones(3, np.float32)}, "{}")
    before = path.read_bytes()

    def fail(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(UserError, match="No space left"):
        write_weights_file(path, {"a": np.zeros(3, np.float32)}, "{}")
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["x.npz", "x.npz.json"]


def test_options_are_preferred_to_everything(tmp_path):
    save_pretrained(pretrained(), tmp_path / "x.safetensors", "timm")
    options = {"norm_eps": 1e-3, "mean": (0.1, 0.1, 0.1), "num_heads": 6, "gelu": "tanh"}
    loaded = load_pretrained(tmp_path / "x.safetensors", options=options)
    config = loaded.model_config
    assert (config.norm_eps, config.num_heads, config.gelu) == (1e-3, 6, "tanh")
    assert loaded.preprocessing.mean == (0.1, 0.1, 0.1)
    assert loaded.preprocessing.std == HALF


def test_grey_images_have_one_mean(tmp_path):
    ours = pretrained(in_channels=1)
    images = Preprocessing(Geometry(32), (0.3,), (0.2,))
    save_pretrained(ours._replace(preprocessing=images), tmp_path / "x.safetensors", "timm")
    assert load_pretrained(tmp_path / "x.safetensors").preprocessing == images
    save_file(load_file(tmp_path / "x.safetensors"), tmp_path / "x.safetensors")
    bare = load_pretrained(tmp_path / "x.safetensors", options=HEADS)
    assert bare.preprocessing.mean == (0.5,)


@pytest.mark.parametrize("upright", [True, False])
def test_whether_photos_are_turned_comes_back(tmp_path, upright):
    path = tmp_path / "x.safetensors"
    save_pretrained(pretrained()._replace(upright=upright), path, "timm")
    assert load_pretrained(path).upright is upright
