"""Programs of convolutions are compiled with options of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvit.config import Config, DataConfig, ModelConfig
from jaxvit.interop import predictions
from jaxvit.models.convolution import reference_convolve
from jaxvit.models.resnet import ResNet
from jaxvit.runtime import devices as devices_module
from jaxvit.runtime.compiler import compiler_options
from jaxvit.runtime.devices import make_devices


def given_to_ynnpack(options: dict[str, str] | None) -> bool:
    """Whether a convolution of few channels is, where it is compiled with these options."""
    arguments = jnp.zeros((8, 8, 8, 32)), jnp.zeros((3, 3, 32, 32))
    program = jax.jit(lambda x, k: reference_convolve(x, k, 1), compiler_options=options)
    text = program.lower(*arguments).compile().as_text()
    main = text[text.index("ENTRY") :]
    assert ("__ynn_fusion" in main) != (" convolution(" in main)
    return "__ynn_fusion" in main


def test_convolutions_are_not_left_to_ynnpack():
    assert given_to_ynnpack(None), "XLA changed: are the options needed still?"
    assert not given_to_ynnpack(compiler_options(convolves=True))


def test_other_programs_have_no_options():
    assert compiler_options(convolves=False) is None


def test_other_devices_have_no_options(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compiler_options(convolves=True) is None


@pytest.mark.parametrize(
    ("name", "convolves"),
    [("vit", False), (None, False), ("resnet18", True), ("unet", True), ("dcgan", False)],
)
def test_which_models_convolve(name, convolves):
    model = ModelConfig(name=name)
    assert model.convolves == convolves
    config = Config(data=DataConfig(name="digits"), model=model, batch_size=8)
    assert make_devices(config).convolves == convolves


@pytest.mark.parametrize("convolves", [True, False])
def test_steps_and_scores_are_compiled_with_the_options(monkeypatch, convolves):
    asked = []
    monkeypatch.setattr(devices_module, "compiler_options", lambda each: asked.append(each))
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:1]), (devices_module.AXIS,))
    devices = devices_module.Devices(mesh, "jit", convolves=convolves)
    devices.compile_step(lambda state, batch: (state, batch))
    assert asked == [convolves]
    devices.compile_score(lambda weights, counts, batch: (counts, batch))
    assert asked == [convolves] * 2


def test_predictions_are_compiled_with_the_options(monkeypatch):
    asked = []
    monkeypatch.setattr(predictions, "compiler_options", lambda each: asked.append(each))
    model = ResNet((1, 1, 1, 1), img_size=32, num_classes=2, width=4)
    predictions._compiled(model, (0.0,), (1.0,), True)
    assert asked == [True]
