"""Programs of convolutions are compiled with options of their own."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxvit.config import Config, DataConfig, ModelConfig
from jaxvit.data.preprocessing import Geometry, Preprocessing
from jaxvit.interop import predictions
from jaxvit.interop.saved_generator import SavedGenerator
from jaxvit.models.convolution import reference_convolve
from jaxvit.models.resnet import ResNet
from jaxvit.models.variables import init_variables, joined
from jaxvit.runtime import compiler
from jaxvit.runtime import devices as devices_module
from jaxvit.runtime.compiler import compiler_options
from jaxvit.runtime.devices import make_devices
from jaxvit.tasks import sample_quality, samples


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


def test_programs_of_several_devices_have_no_options():
    assert compiler_options(convolves=True, devices=2) is None


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


@pytest.mark.parametrize(("convolves", "count"), [(True, 1), (False, 1), (True, 2)])
def test_steps_and_scores_are_compiled_with_the_options(monkeypatch, convolves, count):
    asked = []
    monkeypatch.setattr(devices_module, "compiler_options", lambda *given: asked.append(given))
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:count]), (devices_module.AXIS,))
    devices = devices_module.Devices(mesh, "jit", convolves=convolves)
    devices.compile_step(lambda state, batch: (state, batch))
    assert asked == [(convolves, count)]
    devices.compile_score(lambda weights, counts, batch: (counts, batch))
    assert asked == [(convolves, count)] * 2


@pytest.fixture
def network():
    """A ResNet as a weights file gives it."""
    model = ResNet((1, 1, 1, 1), img_size=32, num_classes=2, width=4)
    return SimpleNamespace(
        model=model,
        model_config=ModelConfig(name="resnet18"),
        params=joined(*init_variables(model, jax.random.key(0))),
        preprocessing=Preprocessing(Geometry(32), (0.5,) * 3, (0.5,) * 3),
        class_names=None,
        num_classes=2,
        upright=True,
    )


def test_predictions_of_a_resnet_have_the_options(network, monkeypatch):
    asked = []
    monkeypatch.setattr(predictions, "compiler_options", lambda each: asked.append(each))
    predictions._compiled.cache_clear()
    predictions.make_classifier(network)
    assert asked == [True]


def test_features_of_a_resnet_have_the_options(network, monkeypatch):
    asked = []
    monkeypatch.setattr(sample_quality, "compiler_options", lambda each: asked.append(each))
    found = sample_quality.features_of(network, np.zeros((1, 32, 32, 3), np.uint8))
    assert (asked, found.shape) == ([True], (1, 32))


@pytest.mark.parametrize(("name", "convolves"), [("unet", True), ("dcgan", False)])
def test_samples_have_the_options_of_their_model(monkeypatch, name, convolves):
    asked = []
    monkeypatch.setattr(samples, "compiler_options", lambda *given: asked.append(given))
    black = lambda weights, keys, of: jnp.zeros((len(of), 2, 2, 1), jnp.uint8)  # noqa: E731
    monkeypatch.setattr(samples, "make_sampler", lambda *_: black)
    config = Config(data=DataConfig(name="digits"), model=ModelConfig(name=name))
    saved = SavedGenerator(config, ("0",), nn.Dense(1), {}, 0)
    made = samples.make_samples(saved, np.zeros(3, np.int32), seed=0)
    assert (asked, made.shape) == ([(convolves, jax.device_count())], (3, 2, 2, 1))


def test_an_xla_without_the_option_has_none():
    assert compiler._known("xla_cpu_no_such_option", "1") is None
