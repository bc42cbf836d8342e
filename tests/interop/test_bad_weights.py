"""Bad weights: each is refused in one line that names what is wrong, and nothing is executed."""

import json
import pickle
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from numpy.random import default_rng
from safetensors.numpy import load_file, save_file

from jaxvit.config import ModelConfig
from jaxvit.data.preprocessing import Geometry, Preprocessing
from jaxvit.errors import UserError
from jaxvit.interop.foreign_config import from_hf_processor, from_timm
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.predictions import make_classifier
from jaxvit.interop.pretrained import Pretrained
from jaxvit.interop.report import Report
from jaxvit.interop.save import save_pretrained
from jaxvit.interop.saved_run import classify
from jaxvit.interop.settings import read_options
from jaxvit.models.configured import make_model
from jaxvit.models.transformer import init_params

SMALL = {
    "img_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 3, "num_layers": 2,
    "dropout": 0.0, "norm_eps": 1e-6,
}  # fmt: skip
HEADS = {"num_heads": 3}
HALF = (0.5, 0.5, 0.5)


def pretrained(**options) -> Pretrained:
    classes = options.pop("num_classes", 5)
    config = ModelConfig(**SMALL | options)
    model = make_model(config, classes)
    shapes, rng = jax.eval_shape(partial(init_params, model), jax.random.key(0)), default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(np.float32), shapes)
    images = Preprocessing(Geometry(config.img_size), HALF, HALF)
    names = tuple("abcdefghij"[:classes]) or None
    return Pretrained(model, params, config, classes, images, names, "lab", Report("", (), ()))


@pytest.fixture
def timm_file(tmp_path) -> Path:
    """A file as timm writes it: without what jaxvit adds."""
    path = tmp_path / "weights.safetensors"
    save_pretrained(pretrained(), path, "timm")
    save_file(load_file(path), path)
    return path


def refused(path, *parts: str, **options) -> str:
    """load_pretrained's message, which is one line and has these parts."""
    with pytest.raises(UserError) as error:
        load_pretrained(path, **options)
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 600
    for part in parts:
        assert part in message, message
    return message


def changed(path: Path, **tensors) -> Path:
    """The file with some tensors replaced, added, or left out where None; "__" stands for "."."""
    found = load_file(path)
    for name, value in tensors.items():
        name = name.replace("__", ".")
        found.pop(name, None)
        if value is not None:
            found[name] = np.ascontiguousarray(value)
    save_file(found, path)
    return path


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "executed"))


def test_a_truncated_safetensors(timm_file):
    data = timm_file.read_bytes()
    for size in (0, 4, 100, len(data) // 2, len(data) - 1):
        timm_file.write_bytes(data[:size])
        refused(timm_file, "weights.safetensors is damaged", "download it again")


def test_a_header_that_lies(timm_file):
    data = timm_file.read_bytes()
    for start in (b"\xff" * 8, (2**40).to_bytes(8, "little"), (10).to_bytes(8, "little")):
        timm_file.write_bytes(start + data[8:])
        refused(timm_file, "is damaged or no safetensors file")


def test_a_pickle_with_code_is_never_executed(tmp_path):
    marker = tmp_path / "marker"
    for name in ("x.safetensors", "x.npz", "x.pth", "x.pt", "x.bin", "x.ckpt"):
        path = tmp_path / name
        path.write_bytes(pickle.dumps({"w": Bomb(marker)}))
        refused(path, name)
        assert not marker.exists()
    refused(tmp_path / "x.pth", "python -m torch_ref.convert", "x.safetensors")
    refused(tmp_path / "x.safetensors", "can contain code")


def test_an_npz_with_objects_is_never_executed(tmp_path):
    marker = tmp_path / "marker"
    objects = np.empty(1, object)
    objects[0] = Bomb(marker)
    np.savez(tmp_path / "x.npz", **{"embedding/kernel": objects})
    refused(tmp_path / "x.npz", "Python objects")
    assert not marker.exists()


def test_a_truncated_npz(tmp_path):
    save_pretrained(pretrained(gelu="tanh"), tmp_path / "x.npz", "google")
    data = (tmp_path / "x.npz").read_bytes()
    for size in (0, 10, len(data) // 2, len(data) - 10):
        (tmp_path / "x.npz").write_bytes(data[:size])
        refused(tmp_path / "x.npz", "x.npz is no npz file of arrays")
    damaged = bytearray(data)
    damaged[len(data) // 3] ^= 255
    (tmp_path / "x.npz").write_bytes(bytes(damaged))
    refused(tmp_path / "x.npz", "x.npz is no npz file of arrays")


def test_a_missing_tensor_is_named(timm_file):
    changed(timm_file, blocks__1__mlp__fc2__bias=None)
    refused(timm_file, "has no blocks.1.mlp.fc2.bias", options=HEADS)


def test_a_missing_layer_is_named(tmp_path):
    path = tmp_path / "x.safetensors"
    save_pretrained(pretrained(num_layers=3), path, "timm")
    kept = {k: v for k, v in load_file(path).items() if not k.startswith("blocks.1.")}
    save_file(kept, path)
    refused(path, "has no blocks.1.norm1.weight", options=HEADS)


def test_half_of_an_optional_part_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    save_pretrained(pretrained(layer_scale=0.1), path, "timm")
    refused(changed(path, blocks__1__ls2__gamma=None), "has no blocks.1.ls2.gamma", options=HEADS)
    save_pretrained(pretrained(), path, "timm")
    refused(changed(path, head__bias=None), "has no head.bias", options=HEADS)
    save_pretrained(pretrained(), path, "timm")
    changed(path, blocks__0__attn__qkv__bias=None)
    refused(path, "has no blocks.0.attn.qkv.bias", options=HEADS)


def test_no_class_token_is_named(timm_file):
    refused(changed(timm_file, cls_token=None), "has no cls_token, a class token", options=HEADS)


def test_an_extra_tensor_is_named(timm_file):
    changed(timm_file, blocks__1__adapter__weight=np.ones(3, np.float32))
    refused(timm_file, "blocks.1.adapter.weight", "(3,)", "is it of another model", options=HEADS)


def test_a_wrong_shape_is_named(timm_file):
    for name, shape in {
        "blocks__1__attn__qkv__weight": (72, 23),
        "blocks__0__mlp__fc1__weight": (24, 96),
        "norm__weight": (1, 24),
        "cls_token": (1, 1, 25),
        "head__bias": (4,),
    }.items():
        before = timm_file.read_bytes()
        changed(timm_file, **{name: np.ones(shape, np.float32)})
        refused(timm_file, name.replace("__", "."), str(shape), options=HEADS)
        timm_file.write_bytes(before)


def test_positions_that_are_no_square_are_named(timm_file):
    changed(timm_file, pos_embed=np.zeros((1, 13, 24), np.float32))
    refused(timm_file, "pos_embed", "(1, 13, 24)", "square grid", options=HEADS)


def test_patches_that_are_no_square_are_refused(timm_file):
    changed(timm_file, patch_embed__proj__weight=np.zeros((24, 3, 8, 4), np.float32))
    refused(timm_file, "patches of 8 x 4", options=HEADS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_named(timm_file, value):
    bias = load_file(timm_file)["blocks.1.norm2.bias"]
    bias[3] = value
    changed(timm_file, blocks__1__norm2__bias=bias)
    refused(timm_file, "blocks.1.norm2.bias", "1 of 24 values", "NaN or infinite", options=HEADS)


def test_integers_are_refused_by_name(timm_file):
    changed(timm_file, norm__weight=np.ones(24, np.int8))
    refused(timm_file, "norm.weight", "int8", "quantised", options=HEADS)


def test_a_distilled_deit_is_refused(timm_file, tmp_path):
    token = np.zeros((1, 1, 24), np.float32)
    before = timm_file.read_bytes()
    refused(changed(timm_file, dist_token=token), "dist_token", "distilled DeiT", options=HEADS)
    timm_file.write_bytes(before)
    changed(timm_file, head_dist__weight=np.zeros((5, 24), np.float32))
    refused(timm_file, "head_dist.weight", "distilled DeiT", options=HEADS)
    save_pretrained(pretrained(), tmp_path / "hf", "hf")
    file = tmp_path / "hf" / "model.safetensors"
    tensors = {name.replace("vit.", "deit."): value for name, value in load_file(file).items()} | {
        "deit.embeddings.distillation_token": token
    }
    save_file(tensors, file)
    refused(tmp_path / "hf", "deit.embeddings.distillation_token", "distilled DeiT")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("fc_norm__weight", "a norm after the pooling"),
        ("attn_pool__latent", "pooling by attention"),
        ("blocks__0__attn__rel_pos_bias__table", "relative"),
        ("blocks__0__attn__q_norm__weight", "norms of q and k"),
        ("blocks__0__mlp__w12__weight", "SwiGLU"),
        ("norm_pre__weight", "a norm before the first layer"),
    ],
)
def test_models_that_cannot_be_built_are_refused_with_the_reason(timm_file, name, reason):
    changed(timm_file, **{name: np.ones(24, np.float32)})
    refused(timm_file, name.replace("__", "."), reason, options=HEADS)


def test_names_of_no_layout(tmp_path):
    save_file({"conv9.weight": np.ones(3, np.float32)}, tmp_path / "other.safetensors")
    refused(tmp_path / "other.safetensors", "no Vision", "conv9.weight", "torchvision")
    save_file({}, tmp_path / "empty.safetensors")
    refused(tmp_path / "empty.safetensors", "holds no tensor")


def test_another_layout_than_asked_for(timm_file):
    refused(timm_file, "is of the layout timm, not google", layout="google")
    refused(timm_file, "layout 'x' is not known: choose of timm, hf, google", layout="x")


def test_paths(tmp_path, timm_file):
    refused(tmp_path / "nothing.safetensors", "does not exist")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no weights files")
    (tmp_path / "two").mkdir()
    for name in ("a.safetensors", "b.safetensors"):
        (tmp_path / "two" / name).write_bytes(timm_file.read_bytes())
    refused(tmp_path / "two", "holds 2 weights files")
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "model.safetensors.index.json").write_text("{}")
    refused(tmp_path / "shards", "split over several files")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pytorch_model.bin").write_bytes(b"PK")
    refused(tmp_path / "bin", "python -m torch_ref.convert")
    (tmp_path / "x.txt").write_text("x")
    refused(tmp_path / "x.txt", "must end in .safetensors or .npz")


def test_heads_and_options(timm_file):
    refused(timm_file, "the number of heads of a model of width 24 is not in the file")
    refused(timm_file, "7 heads do not divide the width 24", options={"num_heads": 7})
    refused(timm_file, "'heads' is no option", "num_heads", options={"heads": 3})
    refused(timm_file, "num_classes -1", num_classes=-1, options=HEADS)
    refused(timm_file, "--model.img-size 33", "--model.patch-size 8", img_size=33, options=HEADS)
    for name, value in {
        "crop_share": 1.5, "mean": (0.5, "x", 0.5), "std": (0.0, 1.0, 1.0), "resize": "pad",
        "interpolation": "box", "gelu": "relu", "norm_eps": -1.0, "pool": "max",
        "num_heads": 3.0,
    }.items():  # fmt: skip
        refused(timm_file, name.replace("num_", ""), options=HEADS | {name: value})


def test_configuration_files(tmp_path):
    save_pretrained(pretrained(), tmp_path / "x", "hf")
    file = tmp_path / "x" / "model.safetensors"
    save_file(load_file(file), file)
    config = json.loads((tmp_path / "x" / "config.json").read_text())
    (tmp_path / "x" / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    refused(tmp_path / "x", "'relu'")
    (tmp_path / "x" / "config.json").write_text("{")
    refused(tmp_path / "x", "config.json is no JSON file")
    (tmp_path / "x" / "config.json").write_text(json.dumps(config | {"num_attention_heads": 7}))
    refused(tmp_path / "x", "7 heads do not divide")
    save_pretrained(pretrained(), tmp_path / "y", "timm")
    file = tmp_path / "y" / "model.safetensors"
    save_file(load_file(file), file)
    config = json.loads((tmp_path / "y" / "config.json").read_text())
    config["global_pool"] = "map"
    (tmp_path / "y" / "config.json").write_text(json.dumps(config))
    refused(tmp_path / "y", "global_pool 'map'")


@pytest.mark.parametrize(
    ("values", "name", "shown"),
    [
        ({"resample": 4}, "interpolation", "interpolation 4 "),
        ({"do_resize": False}, "resize", "resize 'none' "),
        ({"do_rescale": False}, "mean", "mean 'of pixels that are not divided by 255' "),
        ({"rescale_factor": 1 / 127.5}, "mean", "mean 'of pixels that are not divided by 255' "),
    ],
)
def test_preparations_of_transformers_that_are_not_ours_are_refused(tmp_path, values, name, shown):
    """Unless an option says what is done instead."""
    save_pretrained(pretrained(), tmp_path, "hf")
    file = tmp_path / "model.safetensors"
    save_file(load_file(file), file)
    beside = tmp_path / "preprocessor_config.json"
    beside.write_text(json.dumps(json.loads(beside.read_text()) | values))
    refused(tmp_path, f"{shown}(from preprocessor_config.json) must be")
    instead = {
        "interpolation": "bicubic", "resize": "squash", "mean": [0.1] * 3, "std": [0.2] * 3,
    }  # fmt: skip
    assert load_pretrained(tmp_path, options=instead).preprocessing.mean == (0.1,) * 3
    del instead[name]
    refused(tmp_path, shown, options=instead)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"interpolation": "hamming"}, "interpolation 'hamming' "),
        ({"crop_mode": "border"}, "resize 'border' "),
    ],
)
def test_preparations_of_timm_that_are_not_ours_are_refused(tmp_path, values, shown):
    save_pretrained(pretrained(), tmp_path, "timm")
    file = tmp_path / "model.safetensors"
    save_file(load_file(file), file)
    beside = tmp_path / "config.json"
    config = json.loads(beside.read_text())
    config["pretrained_cfg"] |= values
    beside.write_text(json.dumps(config))
    refused(tmp_path, f"{shown}(from config.json) must be")


@pytest.mark.parametrize("channels", [2, 4])
def test_photos_are_not_given_to_weights_of_other_channels(channels):
    source = pretrained(in_channels=channels)
    message = f"take images of {channels} channels, and photos have 3 .RGB. or 1"
    with pytest.raises(UserError, match=message):
        make_classifier(source)
    with pytest.raises(UserError, match=message):
        classify(source, np.zeros((32, 32, 3), np.uint8))


def test_options_of_a_command_line(timm_file):
    texts = ["num_heads=3", "norm_eps=1e-4", "mean=.1,.2,.3", "gelu=tanh", "class_names=1,2,c,d,e"]
    found = load_pretrained(timm_file, options=read_options(texts))
    config = found.model_config
    assert (config.num_heads, config.norm_eps, config.gelu) == (3, 1e-4, "tanh")
    assert found.preprocessing.mean == (0.1, 0.2, 0.3)
    assert found.class_names == ("1", "2", "c", "d", "e")
    for wrong, message in (
        (["num_heads"], "'num_heads' is not NAME=VALUE"),
        (["num_heads=3", "num_heads=4"], "num_heads is given twice"),
    ):
        with pytest.raises(UserError, match=message):
            read_options(wrong)
    text = "num_heads 'x' (from an option) must be a whole number of heads above 0"
    refused(timm_file, text, options=read_options(["num_heads=x"]))
    refused(timm_file, "give --weights-option num_heads=VALUE (in training --init.weights-option")


@pytest.mark.parametrize("option", ["mean=.1,.2", "std=.1,.2,.3,.4"])
def test_as_many_values_as_channels(timm_file, option):
    name, _, values = option.partition("=")
    message = f"{name} has {values.count(',') + 1} values (from an option)"
    refused(timm_file, message, options=read_options(["num_heads=3", option]))


def test_one_value_is_for_every_channel(timm_file):
    found = load_pretrained(timm_file, options=read_options(["num_heads=3", "std=.5"]))
    assert found.preprocessing.std == (0.5, 0.5, 0.5)
    assert len(found.preprocessing.mean) == 3


def test_what_says_nothing_is_nothing():
    assert from_timm({"crop_mode": "", "mean": [0.5], "interpolation": ""})["interpolation"] is None
    assert from_timm({"crop_mode": "", "mean": [0.5]})["resize"] == "short_side"
    assert from_hf_processor({"rescale_factor": 0.003921569, "image_mean": [0.1]})["mean"] == [0.1]


def test_what_jaxvit_wrote_is_checked(tmp_path):
    path = tmp_path / "x.safetensors"
    for text in ("{", "{}", '{"model": {"embed": 3}}', '{"model": {}, "preprocessing": 3}'):
        save_pretrained(pretrained(), path, "timm")
        save_file(load_file(path), path, {"jaxvit": text})
        refused(path, "what jaxvit wrote with the weights is damaged")


def test_another_number_of_classes_makes_a_head_of_zeros_and_says_so(timm_file):
    loaded = load_pretrained(timm_file, num_classes=7, options=HEADS)
    assert loaded.num_classes == loaded.model.num_classes == 7
    assert loaded.class_names is None
    assert not loaded.params["head"]["kernel"].any()
    fates = {row.tensor: row.fate for row in loaded.report.rows}
    assert fates["head.weight"] == "dropped: 7 classes are asked for"
    assert fates["head/kernel"] == "new: zeros"
    assert "dropped: 7 classes" in str(loaded.report)
    features = load_pretrained(timm_file, num_classes=0, options=HEADS)
    assert "head" not in features.params
    assert features.num_classes == 0
    kept = load_pretrained(timm_file, num_classes=5, options=HEADS)
    assert kept.params["head"]["kernel"].any()


def test_another_size_resizes_and_says_so(timm_file):
    loaded = load_pretrained(timm_file, img_size=48, options=HEADS)
    assert loaded.params["positional_embedding"].shape == (1, 37, 24)
    assert "resized from 4 x 4 to 6 x 6 by bicubic_antialias" in str(loaded.report)


def test_every_tensor_is_in_the_report(timm_file):
    loaded = load_pretrained(timm_file, options=HEADS)
    assert {row.tensor for row in loaded.report.rows} == set(load_file(timm_file))
    assert all(row.fate == "loaded" for row in loaded.report.rows)
    text = str(loaded.report)
    assert "blocks.{0..1}.attn.qkv.weight" in text
    assert "from an option: num_heads 3" in text
    assert "from the habits of timm" in text


def test_numbers_of_classes_and_sizes_that_disagree_are_warned_of(tmp_path):
    save_pretrained(pretrained(), tmp_path / "x", "hf")
    file = tmp_path / "x" / "model.safetensors"
    save_file(load_file(file), file)
    config = json.loads((tmp_path / "x" / "config.json").read_text())
    more = {"image_size": 64, "id2label": {str(i): f"n{i}" for i in range(6)}}
    (tmp_path / "x" / "config.json").write_text(json.dumps(config | more))
    loaded = load_pretrained(tmp_path / "x")
    assert loaded.class_names is None
    assert loaded.model_config.img_size == 32
    assert "config.json names 6 classes, but the head has 5" in str(loaded.report)
    assert "config.json says 64 pixels" in str(loaded.report)
