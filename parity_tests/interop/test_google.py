"""Google's .npz against timm's own reader of such files, with the tanh GELU of Flax."""

import functools

import numpy as np
import pytest
import timm
import torch

from jaxvit.interop.google import LAYOUT
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.save import save_pretrained, to_layout
from parity_tests.comparison import LOGITS, max_difference
from parity_tests.foreign_models import (
    CLASSES,
    FOREIGN,
    HEADS,
    IMG,
    WIDTH,
    assert_same,
    differing,
    google,
    google_arrays,
    images_for,
    model_like,
    our_logits,
    timm_model,
)

CASES = [name for name in FOREIGN if name.startswith("Google")]


@pytest.mark.parametrize("name", CASES)
def test_logits_and_gradients_are_those_of_timms_reader(name, tmp_path):
    loaded = assert_same(FOREIGN[name](), tmp_path)
    assert loaded.model_config.num_heads == HEADS  # from the shapes: no option was given
    assert loaded.model_config.gelu == "tanh"
    theirs = timm.get_pretrained_cfg("vit_tiny_patch16_224.augreg_in21k")  # read from an .npz
    assert loaded.preprocessing[1:] == (theirs.mean, theirs.std)


def test_what_google_wrote_is_written_again_to_the_bit(tmp_path):
    loaded = load_pretrained(google().write(tmp_path))
    assert differing(to_layout(loaded, LAYOUT), google_arrays(False, False, True)) == 0


def test_timm_reads_the_file_that_is_written(tmp_path):
    ours = model_like(gelu="tanh")
    assert save_pretrained(ours, tmp_path / "x.npz", "google") == []
    model = timm_model(act_layer=functools.partial(torch.nn.GELU, approximate="tanh"))
    model.load_pretrained(str(tmp_path / "x.npz"))
    images = images_for(IMG, 0)
    with torch.no_grad():
        assert max_difference(our_logits(ours, images), model(images)) < LOGITS
    again = load_pretrained(tmp_path / "x.npz")
    assert differing(ours.params, again.params) == 0
    assert again.class_names == ours.class_names


def with_pre_logits(tmp_path):
    arrays = google_arrays(False, False, True)
    arrays |= {
        "pre_logits/kernel": np.ones((WIDTH, WIDTH), np.float32),
        "pre_logits/bias": np.ones(WIDTH, np.float32),
    }
    np.savez(tmp_path / "x.npz", **arrays)
    return tmp_path / "x.npz"


def test_pre_logits_are_dropped_with_the_head_that_needs_them(tmp_path):
    path = with_pre_logits(tmp_path)
    with pytest.raises(ValueError, match=r"needs the layer pre_logits .* num_classes=0") as error:
        load_pretrained(path)
    assert "\n" not in str(error.value)
    for number in (0, CLASSES + 1):
        loaded = load_pretrained(path, num_classes=number)
        fates = {row.tensor: row.fate for row in loaded.report.rows}
        assert fates["pre_logits/kernel"].startswith("dropped: a tanh layer")
        assert fates["head/kernel"] == (
            "new: zeros" if number else "dropped: it needs pre_logits, which is dropped"
        )
        assert "head" not in loaded.params or not loaded.params["head"]["kernel"].any()


def test_a_new_head_of_the_same_size_replaces_one_that_needs_pre_logits(tmp_path):
    loaded = load_pretrained(with_pre_logits(tmp_path), num_classes=CLASSES)
    assert not loaded.params["head"]["kernel"].any()


def test_an_optimisers_state_is_dropped(tmp_path):
    arrays = {f"opt/target/{k}": v for k, v in google_arrays(False, False, True).items()}
    arrays["opt/state/step"] = np.int32(7)
    np.savez(tmp_path / "x.npz", **arrays)
    loaded = load_pretrained(tmp_path / "x.npz")
    fates = {row.tensor: row.fate for row in loaded.report.rows}
    assert fates["opt/state/step"].startswith("dropped: not the model's")


def test_resized_positions_are_scipys_zoom(tmp_path):
    from scipy.ndimage import zoom

    loaded = load_pretrained(google().write(tmp_path), img_size=IMG * 8 // 5)
    positions = google_arrays(False, False, True)["Transformer/posembed_input/pos_embedding"]
    expected = zoom(positions[0, 1:].reshape(5, 5, WIDTH), (8 / 5, 8 / 5, 1), order=1)
    found = loaded.params["positional_embedding"]
    assert max_difference(found[0, 1:].reshape(8, 8, WIDTH), expected) < 1e-6
    np.testing.assert_array_equal(found[:, 0], positions[:, 0])
