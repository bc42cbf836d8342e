"""ResNets of torchvision: read as torchvision computes them, and written so that it reads them."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision import models

from jaxvit.config import IMAGENET_MEAN
from jaxvit.data.preprocessing import Geometry
from jaxvit.errors import UserError
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.save import save_pretrained
from jaxvit.models.variables import variables_of
from parity_tests.evidence import distance

SIZE = 64


def written(path, name: str = "resnet18", stem: str = "imagenet", classes: int = 7):
    """torchvision's model with statistics that are not at their initial values, and its file."""
    torch.manual_seed(0)
    model = getattr(models, name)(num_classes=classes)
    if stem == "cifar":
        model.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        model.maxpool = torch.nn.Identity()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.add_(0.1 * torch.randn_like(module.running_mean))
                module.running_var.mul_(1 + 0.3 * torch.rand_like(module.running_var))
    save_file(model.state_dict(), path)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "stem"), [("resnet18", "imagenet"), ("resnet18", "cifar"), ("resnet34", "imagenet")]
)
def test_logits_are_as_close_to_float64_as_torchvisions(tmp_path, name, stem):
    model = written(tmp_path / "w.safetensors", name, stem)
    found = load_pretrained(tmp_path / "w.safetensors", img_size=SIZE)
    assert (found.model_config.name, found.model_config.stem) == (name, stem)
    images = np.random.default_rng(0).normal(size=(4, SIZE, SIZE, 3)).astype(np.float32)
    nchw = torch.tensor(images).permute(0, 3, 1, 2)
    with torch.no_grad():
        theirs = model(nchw).numpy()
        truth = model.double()(nchw.double()).numpy()
    ours = found.model.apply(variables_of(found.params), jnp.asarray(images), deterministic=True)
    assert distance("logits", np.asarray(ours), theirs, truth).holds
    assert found.preprocessing.geometry == Geometry(SIZE, "short_side", 224 / 256, "bilinear")
    assert found.preprocessing.mean == IMAGENET_MEAN


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_torchvision_reads_what_is_written_and_finds_every_bit(tmp_path, name):
    model = written(tmp_path / "w.safetensors", name)
    save_pretrained(
        load_pretrained(tmp_path / "w.safetensors"), tmp_path / "x.safetensors", "torchvision"
    )
    tensors = load_file(tmp_path / "x.safetensors")
    fresh = getattr(models, name)(num_classes=7)
    fresh.load_state_dict(tensors, strict=True)
    for key, value in model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(fresh.state_dict()[key], value), key


def test_every_tensor_is_accounted_for(tmp_path):
    model = written(tmp_path / "w.safetensors")
    rows = {row.tensor: row for row in load_pretrained(tmp_path / "w.safetensors").report.rows}
    assert rows.keys() == model.state_dict().keys()
    assert rows["bn1.num_batches_tracked"].fate.startswith("dropped: a count")
    assert rows["layer3.0.downsample.1.running_var"].ours == "batch_stats/layer3_0/downsample_1/var"
    assert {row.fate for row in rows.values() if row.ours} == {"loaded"}


def test_another_number_of_classes_makes_a_head_of_zeros_and_none_gives_features(tmp_path):
    written(tmp_path / "w.safetensors")
    found = load_pretrained(tmp_path / "w.safetensors", num_classes=3)
    assert found.params["params"]["fc"]["kernel"].shape == (512, 3)
    assert not found.params["params"]["fc"]["kernel"].any()
    images = jnp.ones((2, 32, 32, 3))
    bare = load_pretrained(tmp_path / "w.safetensors", num_classes=0, img_size=32)
    assert "fc" not in bare.params["params"]
    assert bare.model.apply(bare.params, images, deterministic=True).shape == (2, 512)


def broken(tmp_path, change) -> str:
    written(tmp_path / "w.safetensors")
    tensors = load_file(tmp_path / "w.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(UserError) as caught:
        load_pretrained(tmp_path / "w.safetensors")
    return str(caught.value)


def test_what_is_missing_wrong_or_unknown_is_named(tmp_path):
    def set_to(name: str, value):
        return lambda tensors: tensors.__setitem__(name, value)

    gone = broken(tmp_path, lambda tensors: tensors.pop("layer2.0.bn1.running_var"))
    assert "has no layer2.0.bn1.running_var" in gone
    shape = broken(tmp_path, set_to("layer1.0.bn1.bias", torch.zeros(63)))
    assert "layer1.0.bn1.bias" in shape
    assert "(63,)" in shape
    assert "(64,)" in shape
    extra = broken(tmp_path, set_to("layer4.2.conv1.weight", torch.zeros(2)))
    assert "layer4.2.conv1.weight" in extra
    assert "resnet18" in extra
    nan = broken(tmp_path, set_to("bn1.running_mean", torch.full((64,), float("nan"))))
    assert "bn1.running_mean" in nan
    assert "64 of 64" in nan
    deep = broken(tmp_path, set_to("layer1.0.conv3.weight", torch.zeros(256, 64, 1, 1)))
    assert "bottleneck" in deep
    stem = broken(tmp_path, set_to("conv1.weight", torch.zeros(64, 3, 5, 5)))
    assert "conv1.weight of shape (64, 3, 5, 5)" in stem
