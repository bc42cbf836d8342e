"""Presets, the command line, its help, and the checks of its options."""

import json
import re
from dataclasses import asdict, fields, is_dataclass, replace
from importlib import import_module

import jax
import pytest
import tyro

from jaxvit.__main__ import COMMANDS
from jaxvit.command_line import COMMON, fail, parse
from jaxvit.completion import complete
from jaxvit.config import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    OF_DCGAN,
    OF_RESNET,
    OF_UNET,
    AugmentConfig,
    Config,
    InitConfig,
    ModelConfig,
    as_json,
    check,
    config_from_dict,
    flat,
    may_change,
)
from jaxvit.errors import UserError
from jaxvit.models.configured import make_discriminator, make_generator, make_model
from jaxvit.models.resnet import LAYERS
from jaxvit.presets import ABOUT, PRESETS, preset


def test_every_preset_passes_its_own_checks(tmp_path):
    assert ABOUT.keys() == PRESETS.keys()
    for name in PRESETS:
        config = preset(name)
        if config.data.name == "folder":
            config = replace(config, data=replace(config.data, dir=str(tmp_path)))
        if config.model.is_vit and config.model.num_layers is None:  # as follow_weights does
            lab = {name: value for name, value in vars(ModelConfig()).items() if value is not None}
            lab |= {name: value for name, value in vars(config.model).items() if value is not None}
            config = replace(config, init=InitConfig("w"), model=replace(config.model, **lab))
        for images in (6, 50, 300, 3_000, 30_000, 1_000_000):
            complete_config = complete(config, images, images // 9)
            check(complete_config)
            assert not complete_config.follows_images


def test_a_given_value_is_not_replaced():
    given = replace(PRESETS["folder"], epochs=3)
    assert complete(given, 300, 30).epochs == 3
    assert PRESETS["folder"].epochs is None
    assert complete(PRESETS["folder"]).follows_images  # until the images are counted


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (30, (333, 32, 96, 9)),
        (300, (93, 32, 96, 1)),
        (2_000, (40, 64, 128, 1)),
        (30_000, (10, 64, 128, 1)),
    ],
)
def test_the_folder_preset_follows_the_number_of_training_images(tmp_path, images, expected):
    for name in ("ant", "bee"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "val" / name).mkdir(parents=True)
        (tmp_path / "test" / name).mkdir(parents=True)
        for split, count in (("train", images // 2), ("val", 2), ("test", 2)):
            for number in range(count):
                (tmp_path / split / name / f"{number}.jpg").touch()
    _, config = parse(["folder", "--data.dir", str(tmp_path)])
    found = (config.epochs, config.batch_size, config.model.embed_dim, config.val_every_epochs)
    assert found == expected
    assert not config.follows_images
    assert config.select == "last"
    assert complete(PRESETS["folder"], images, 100).select == "best"
    _, config = parse(["folder", "--data.dir", str(tmp_path), "--epochs", "7"])
    assert config.epochs == 7
    assert config.batch_size == expected[1]


def test_pets_lab_has_the_labs_hyperparameters():
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
        (["nonsense"], "unknown preset 'nonsense': choose one of digits, folder, probe, finetune"),
        (["--model.num-heads", "7"], "embed-dim 64 is not divisible by --model.num-heads 7"),
        (["--model.patch-size", "3"], "img-size 8 is not divisible by --model.patch-size 3"),
        (["--epochs", "0"], "--epochs 0 is too small: it must be at least 1"),
        (["--epochs", "many"], "Error parsing --epochs: no type matching {None}|INT could be"),
        (["--overwrite", "--extend", "--epochs", "9"], "--overwrite removes it"),
        (["--resume", "--extend", "--epochs", "9"], "--overwrite removes it"),
        (["--no-such-option", "1"], "--no-such-option"),
        (["--model.dtype", "float16"], "float16"),
        (
            ["--label-smoothing", "1"],
            "--label-smoothing 1.0 is out of range: it must lie in [0, 1)",
        ),
        (["--model.dropout", "nan"], "--model.dropout nan is out of range"),
        (["--augment.crop-scale", "0.9", "0.5"], "--augment.crop-scale 0.9 0.5 is not a range"),
        (["--augment.pad", "-1"], "--augment.pad -1 is too small: it must be at least 0"),
        (["--augment.pad", "8"], "the whole image out of sight: it must be less than --model.img"),
        (["--augment.rotate", "181"], "--augment.rotate 181.0 is out of range"),
        (["--augment.rotate-interpolation", "cubic"], "cubic"),
        (["--augment.hue", "0.6"], "--augment.hue 0.6 is out of range: it must lie in [0, 0.5]"),
        (["--augment.brightness", "-0.1"], "--augment.brightness -0.1 is out of range"),
        (["--augment.jitter-p", "1.5"], "--augment.jitter-p 1.5 is out of range"),
        (["--augment.rand-ops", "101"], "--augment.rand-ops 101 is too large"),
        (["--augment.rand-magnitude", "31"], "--augment.rand-magnitude 31 is too large"),
        (["--augment.trivial", "--augment.rand-ops", "2"], "give only one of them"),
        (["--augment.saturation", "0.2"], "--augment.saturation 0.2 changes colours, and the"),
        (["--augment.grey-p", "0.2"], "--data.name digits have none: set it to 0"),
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
def test_a_wrong_value_is_refused_in_one_line_that_names_it(args, message):
    with pytest.raises(UserError) as error:
        parse(args)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_options_override_the_preset():
    name, config = parse(["pets-small", "--model.embed-dim", "192", "--seed", "7"])
    assert name == "pets-small"
    whole = complete(PRESETS["pets-small"])
    assert config == replace(whole, seed=7, model=replace(whole.model, embed_dim=192))
    assert parse([])[0] == "digits"


def test_the_first_screen_of_help_fits_a_terminal(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(["pets-small", "--help"])
    assert stop.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    printed = "\n".join(lines)
    for name, about in ABOUT.items():
        assert any(line.split() == [name, *about.split()] for line in lines), name
    assert "--help-all" in printed
    everything = set(options_of(Config))
    shown = {word for line in COMMON for word in [line.split()[0]]}
    assert shown <= everything


def options_of(cls, prefix="") -> list[str]:
    found = []
    for field in fields(cls):
        if is_dataclass(field.type):
            found += options_of(field.type, f"{prefix}{field.name}.")
        else:
            found.append(f"--{prefix}{field.name}".replace("_", "-"))
    return found


def test_help_all_lists_every_option_and_describes_every_group_once(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(["pets-small", "--help-all"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    missing = [option for option in options_of(Config) if option not in printed]
    assert not missing
    for about in (
        "Where the images come from.",
        "The model.",
        "The optimiser, its schedule, and what it trains.",
        "Where training starts from.",
        "Augmentation in the compiled step.",
        "What is kept of a run.",
        "How this process finds the others.",
        "How the step is spread over devices.",
    ):
        assert printed.count(about) == 1, about


@pytest.mark.parametrize("command", ["train", *COMMANDS])
def test_every_option_is_described(command):
    """A comment that a formatter moves away from its field is lost to --help."""
    trains = command == "train"
    options = Config if trains else import_module(f"jaxvit.commands.{command}").Options
    with pytest.warns(DeprecationWarning, match="get_parser"):
        found = tyro.extras.get_parser(options)._actions
    texts = {action.dest: action.help.partition("(default:")[0].strip() for action in found}
    assert len(texts) > (100 if trains else 1)
    assert [name for name, text in texts.items() if not re.search("[a-z] [a-z]", text)] == []


@pytest.mark.parametrize("args", [["--lr", "1"], ["pets-small", "--optim.lrr", "1"]])
def test_a_similar_option_is_suggested_for_an_unknown_one(args):
    with pytest.raises(UserError, match="perhaps you meant .*--optim.lr"):
        parse(args)


@pytest.mark.parametrize(
    ("data", "preset"), [("folder", "folder"), ("oxford_iiit_pet", "pets-small")]
)
def test_without_a_preset_the_data_set_determines_it(tmp_path, data, preset):
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "photos" / name / f"{number}.jpg").touch()
    for args in (["--data.name", data], [f"--data.name={data}"]):
        name, config = parse([*args, "--data.dir", str(tmp_path / "photos")])
        assert name == preset
        assert config.model.in_channels == 3
        assert config.data.mean == IMAGENET_MEAN
        assert config.data.std == IMAGENET_STD
        assert config.model.img_size >= 32
        assert config.data.exif == (data == "folder")


def test_size_channels_and_mean_follow_the_data_set_under_any_preset(tmp_path):
    _, config = parse(["digits", "--data.name", "oxford_iiit_pet"])
    assert config.model.in_channels == 3
    assert config.data.mean == IMAGENET_MEAN
    assert config.model.img_size == 64
    _, config = parse(["digits"])
    assert (config.model.img_size, config.model.in_channels, config.data.mean) == (8, 1, (0.305,))
    _, config = parse(["pets-small", "--data.mean", "0.1", "0.2", "0.3"])
    assert config.data.mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize("name", ["digits-dcgan", "digits-ddpm", "flowers17-ddpm", "cifar10-dcgan"])
def test_the_mean_of_a_generator_has_as_many_channels_as_the_images(name, tmp_path):
    (tmp_path / "ant").mkdir()
    for data, channels in (("digits", 1), ("flowers17", 3), ("folder", 3)):
        given = [] if data == "digits" else ["--data.dir", str(tmp_path)]
        given += ["--model.img-size", "8"] if name == "digits-ddpm" else []  # it attends at 4
        _, config = parse([name, "--data.name", data, *given])
        assert config.data.mean == config.data.std == (0.5,) * channels


def test_a_resumed_run_may_change_nothing_that_its_result_depends_on():
    changeable = {
        "checkpoint": {"every_steps", "keep", "keep_best"},
        "data": {"cache_dir", "decode_threads", "dir", "extra_dir", "prefetch_batches"},
        "distributed": {"coordinator", "num_processes", "process_id"},
        "init": {"weights"},
        "parallel": {"shard_params"},
        "track": {"wandb", "wandb_project"},
    }
    expected = {f"{group}.{name}" for group, names in changeable.items() for name in names}
    expected |= {"extend", "find_lr", "keep_memory", "keep_programs", "out", "overwrite", "resume"}
    assert {name for name in flat(as_json(Config())) if may_change(name)} == expected


def test_every_model_option_reaches_the_model():
    config = ModelConfig(
        img_size=8, patch_size=4, in_channels=1, embed_dim=6, num_heads=2, num_layers=3,
        mlp_ratio=2.0, dropout=0.3, activation_dropout=0.11, attention_dropout=0.12,
        projection_dropout=0.13, embedding_dropout=0.14, drop_path=0.15, norm_eps=0.16,
        gelu="tanh", layer_scale=True, register_tokens=2, qkv_bias=False, pool="mean",
        patch_norm=True, dtype="bfloat16", remat=True, init="vit",
    )  # fmt: skip
    default = ModelConfig()
    model = make_model(config, num_classes=5)
    assert model.num_classes == 5
    assert model.init_scheme == config.init
    for field in fields(ModelConfig):
        if field.name not in ("name", "init", *OF_RESNET, *OF_DCGAN, *(set(OF_UNET) - {"dropout"})):
            assert getattr(config, field.name) != getattr(default, field.name), field.name
            assert getattr(model, field.name) == getattr(config, field.name), field.name


@pytest.mark.parametrize("name", ["dcgan", "unet"])
def test_every_option_of_a_generator_reaches_it(name):
    config = ModelConfig(
        name=name, img_size=16, in_channels=1, width=12, z_dim=7, conditional=True,
        channel_multipliers=(1, 3), blocks=3, attention_sizes=(8,), dropout=0.3, dtype="bfloat16",
    )  # fmt: skip
    model = make_generator(config, num_classes=5, times=77, axis="data")
    assert model.num_classes == 5
    options = OF_DCGAN if name == "dcgan" else OF_UNET
    for option in ("img_size", "in_channels", "dtype", *options):
        if option != "conditional":
            assert getattr(model, option) == getattr(config, option), option
    assert (model.axis if name == "dcgan" else model.times) == ("data" if name == "dcgan" else 77)
    assert make_generator(replace(config, conditional=False), 5, 77).num_classes == 0
    judge = make_discriminator(config, 5, "data")
    assert (judge.img_size, judge.width, judge.num_classes, judge.axis) == (16, 12, 5, "data")


def test_cifar10_has_its_own_mean_and_std_and_size():
    name, config = parse(["--data.name", "cifar10", "--data.dir", "somewhere"])
    assert name == "cifar10-resnet18"
    assert config.data.mean == (0.4914, 0.4822, 0.4465)
    assert config.data.std == (0.2470, 0.2435, 0.2616)
    model = config.model
    assert (model.name, model.stem) == ("resnet18", "cifar")
    assert (model.img_size, model.in_channels) == (32, 3)


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
@pytest.mark.parametrize("attention", ["none", "graph", "classic"])
def test_every_option_of_a_resnet_reaches_it(name, attention):
    config = ModelConfig(
        name=name, stem="cifar", width=8, attention=attention, img_size=16, in_channels=1,
        dtype="bfloat16", patch_size=2, embed_dim=6, num_heads=3, mlp_ratio=2.0, dropout=0.3,
    )  # fmt: skip
    model = make_model(config, num_classes=5, axis="data", frozen_backbone=True)
    assert model.layers == LAYERS[name]
    assert (model.num_classes, model.axis, model.frozen_backbone) == (5, "data", True)
    options = ["stem", "width", "img_size", "in_channels", "dtype"]
    if attention != "none":
        options += ["attention", "patch_size", "embed_dim", "num_heads", "mlp_ratio", "dropout"]
    for option in options:
        assert getattr(model, option) == getattr(config, option), option


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--model.name", "resnet18", "--model.embed-dim", "96"],
         "--model.embed-dim 96 is no option of --model.name resnet18, --model.attention none"),
        (["--model.stem", "cifar"], "--model.stem cifar is no option of --model.name vit"),
        (["--model.attention", "graph"], "--model.attention graph is of a ResNet"),
        (["--model.name", "resnet18", "--optim.freeze", "2 layers"],
         "--optim.freeze '2 layers' counts the layers of a Vision Transformer"),
        (["--model.name", "resnet18", "--model.attention", "graph", "--model.img-size", "64",
          "--model.stem", "cifar", "--model.patch-size", "3"],
         "--model.patch-size 3 does not divide the 8 x 8 positions"),
    ],
)  # fmt: skip
def test_options_of_another_model_are_refused(args, message):
    with pytest.raises(UserError, match=re.escape(message)):
        parse(["digits", *args])


@pytest.mark.parametrize("chosen", ["digits", "cifar10-resnet18"])
def test_a_resnet_on_digits_has_their_size_and_no_option_of_a_vision_transformer(chosen):
    _, config = parse([chosen, "--data.name", "digits", "--model.name", "resnet18"])
    assert (config.model.img_size, config.model.in_channels) == (8, 1)
    assert config.model.embed_dim is config.model.num_heads is config.model.patch_size is None
    assert not config.model.drops


@pytest.mark.parametrize("attention", ["graph", "classic"])
def test_an_attention_block_has_its_own_size(attention):
    _, config = parse([f"cifar10-{attention}", "--data.name", "digits"])
    model = config.model
    assert (model.attention, model.patch_size, model.embed_dim) == (attention, 1, 256)
    assert (model.num_heads, model.mlp_ratio, model.dropout) == (1, 4.0, 0.1)
    assert model.num_layers is model.pool is None


def test_a_full_device_is_one_line_with_remedies_and_a_bug_is_not(capsys):
    full = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes."
    assert fail(jax.errors.JaxRuntimeError(full)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: the device's memory is full ({full}): lower --batch-size")
    with pytest.raises(jax.errors.JaxRuntimeError, match="a bug"):
        fail(jax.errors.JaxRuntimeError("INTERNAL: a bug"))


def test_a_configuration_is_the_same_after_json():
    for config in PRESETS.values():
        assert config_from_dict(Config, json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize(
    "option",
    [
        {"crop_scale": (0.5, 1.0)}, {"flip_p": 0.5}, {"pad": 2}, {"rotate": 5.0}, {"trivial": True},
        {"rand_ops": 1}, {"brightness": 0.1}, {"contrast": 0.1}, {"saturation": 0.1}, {"hue": 0.1},
        {"grey_p": 0.1}, {"cutout_holes": 1}, {"mixup_alpha": 0.1}, {"cutmix_alpha": 0.1},
        {"blur_p": 0.1},
    ],
    ids=lambda option: next(iter(option)),
)  # fmt: skip
def test_cached_features_go_without_any_augmentation(option):
    config = replace(PRESETS["probe"], augment=AugmentConfig(**option))
    with pytest.raises(UserError, match="goes without augmentation"):
        config.check()


@pytest.mark.parametrize(
    ("images", "expected"), [(30, (30, 32)), (550, (20, 32)), (1_000, (11, 64)), (30_000, (5, 64))]
)
def test_fine_tuning_follows_the_number_of_training_images(images, expected):
    config = replace(PRESETS["finetune"], batch_size=None, init=InitConfig("w"))
    few, many = (complete(config, images, val) for val in (99, 100))
    assert (few.epochs, few.batch_size) == expected
    assert (few.select, many.select) == ("last", "best")
