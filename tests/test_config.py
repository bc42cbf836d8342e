from dataclasses import fields, is_dataclass, replace

import pytest

from jaxvit.command_line import parse
from jaxvit.config import Config, ModelConfig, check
from jaxvit.errors import UserError
from jaxvit.models.transformer import make_model
from jaxvit.presets import PRESETS, preset


def test_every_preset_passes_its_own_checks():
    for name in PRESETS:
        check(preset(name))


def test_pets_lab_has_the_labs_numbers():
    config = PRESETS["pets-lab"]
    assert (config.epochs, config.batch_size, config.label_smoothing) == (10, 32, 0.1)
    assert (config.optim.lr, config.optim.weight_decay, config.optim.schedule) == (
        1e-3, 0.01, "constant"
    )  # fmt: skip
    model = config.model
    assert (model.img_size, model.patch_size, model.embed_dim) == (224, 16, 768)
    assert (model.num_heads, model.num_layers, model.mlp_ratio, model.dropout) == (12, 12, 4, 0.1)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nonsense"], "unknown preset 'nonsense': choose one of digits, pets-lab, pets-small"),
        (["--model.num-heads", "7"], "embed-dim 64 is not divisible by --model.num-heads 7"),
        (["--model.patch-size", "3"], "img-size 8 is not divisible by --model.patch-size 3"),
        (["--epochs", "0"], "--epochs 0 is too small: it must be at least 1"),
        (["--epochs", "many"], "Error parsing --epochs"),
        (["--no-such-option", "1"], "--no-such-option"),
        (["--model.dtype", "float16"], "float16"),
        (
            ["--label-smoothing", "1"],
            "--label-smoothing 1.0 is out of range: it must lie in [0, 1)",
        ),
        (["--model.dropout", "nan"], "--model.dropout nan is out of range"),
        (["--augment.crop-scale", "0.9", "0.5"], "--augment.crop-scale 0.9 0.5 is not a range"),
        (["--optim.lr", "-1"], "--optim.lr -1.0 must be finite and above 0"),
        (["--seed", "-1"], "--seed -1 is out of range"),
        (["--data.std", "nan"], "--data.std nan must be finite and above 0"),
        (["--data.mean", "inf"], "--data.mean inf is out of range"),
        (["--epochs", "99999999999"], "--epochs 99999999999 is too large"),
        (["--model.embed-dim", "4000000000"], "--model.embed-dim 4000000000 is too large"),
        (["--model.mlp-ratio", "1e300"], "--model.mlp-ratio 1e+300 is out of range"),
        (["--epochs", "1", "pets-small"], "the preset 'pets-small' comes first"),
        (["--out", ""], "--out needs the name of a directory"),
        (["--data.dir", "pets"], "--data.dir pets does not fit --data.name digits"),
        (["--data.mean", "0.5", "0.5"], "--data.mean has 2 values, but the images have 1"),
        (["--model.in-channels", "3"], "--model.in-channels 3 does not fit --data.name digits"),
        (["pets-small", "--data.name", "folder"], "--data.name folder needs --data.dir DIR"),
        (["--model.mlp-ratio", "0.001"], "--model.mlp-ratio 0.001 leaves the MLP no hidden unit"),
    ],
)
def test_a_wrong_value_is_one_clear_line(args, message):
    with pytest.raises(UserError) as error:
        parse(args)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_options_override_the_preset():
    name, config = parse(["pets-small", "--model.embed-dim", "192", "--seed", "7"])
    assert name == "pets-small"
    assert config == replace(
        PRESETS["pets-small"],
        seed=7,
        model=replace(PRESETS["pets-small"].model, embed_dim=192),
    )
    assert parse([])[0] == "digits"


def test_help_describes_every_option(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(["--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out

    def options(cls, prefix=""):
        for field in fields(cls):
            if is_dataclass(field.type):
                yield from options(field.type, f"{prefix}{field.name}.")
            else:
                yield f"--{prefix}{field.name}".replace("_", "-")

    missing = [option for option in options(Config) if option not in printed]
    assert not missing
    assert "pets-lab" in printed


def test_every_model_option_reaches_the_model():
    config = ModelConfig(
        img_size=8, patch_size=4, in_channels=1, embed_dim=6, num_heads=2, num_layers=3,
        mlp_ratio=2.0, dropout=0.3, dtype="bfloat16", remat=True, init="vit",
    )  # fmt: skip
    model = make_model(config, num_classes=5)
    assert model.num_classes == 5
    assert model.init_scheme == config.init
    for field in fields(ModelConfig):
        if field.name != "init":
            assert getattr(model, field.name) == getattr(config, field.name), field.name
