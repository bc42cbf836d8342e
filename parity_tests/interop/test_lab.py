"""The lab's layout against torch_ref, which can express every model of ours."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from jaxvit.interop.lab import LAYOUT
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.save import save_pretrained, to_layout
from parity_tests.comparison import LOGITS, max_difference, torch_twin, twins
from parity_tests.foreign_models import IMG, differing, images_for, model_like, our_logits

MODELS = [
    {},
    {"layer_scale": 0.1, "register_tokens": 4, "pool": "both"},
    {"pool": "mean", "qkv_bias": False, "gelu": "tanh"},
    {"num_classes": 0},
    {"patch_norm": True},
]


@pytest.mark.parametrize("options", MODELS)
def test_the_twin_reads_the_file_that_is_written(options, tmp_path):
    ours = model_like(**options)
    save_pretrained(ours, tmp_path / "x.safetensors", "lab")
    twin = torch_twin(ours.model_config, ours.params).eval()
    twin.load_state_dict(load_file(tmp_path / "x.safetensors"))
    images = images_for(IMG, 0)
    with torch.no_grad():
        assert max_difference(our_logits(ours, images), twin(images)) < LOGITS
    again = load_pretrained(tmp_path / "x.safetensors")
    assert differing(ours.params, again.params) == 0
    # The value from which LayerScale starts is not in its weights.
    assert again.model_config.pool == ours.model_config.pool
    assert again.model_config.gelu == ours.model_config.gelu


def test_a_state_dict_of_the_twin_is_read(tmp_path):
    torch_model, _, params = twins()
    save_file(torch_model.state_dict(), tmp_path / "x.safetensors")
    loaded = load_pretrained(tmp_path / "x.safetensors", options={"num_heads": 3})
    assert differing(loaded.params, params) == 0
    assert loaded.model_config.norm_eps == 1e-5
    theirs = {name: value.numpy() for name, value in torch_model.state_dict().items()}
    assert differing(to_layout(loaded, LAYOUT), theirs) == 0
