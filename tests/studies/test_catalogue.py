"""What the project's studies compare: how each configuration differs from the study's baseline."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from jaxvit.command_line import parse
from jaxvit.config import Config
from jaxvit.config.tree import flat
from jaxvit.studies.attention import ATTENTION_BLOCKS, ATTENTION_BLOCKS_IMAGENET
from jaxvit.studies.generated import GENERATED_DIGITS, GENERATED_FLOWERS17
from jaxvit.studies.instances import INSTANCES
from jaxvit.studies.plan import plan_runs
from jaxvit.studies.smoothing import EPSILONS, SMOOTHING, SMOOTHING_PETS
from jaxvit.studies.study import Study
from jaxvit.studies.tricks import TRICKS
from jaxvit.studies.vit_resnet import VIT_RESNET_PRETRAINED


def configs_of(study: Study, place: Path, *extra: str) -> dict[str, Config]:
    """The configurations of seed 1, in which each run that another starts from is a directory."""
    configs = {}
    for run in plan_runs(study, 2, place, ("--data.dir", str(place), *extra), parse):
        for need in run.needs:
            need.mkdir(parents=True, exist_ok=True)
        if run.seed == 1:
            configs[run.label] = parse(list(run.args))[1]
    return configs


def changes(configs: dict[str, Config], baseline: str) -> dict[str, dict[str, Any]]:
    """label -> the options that differ from those of the baseline, without --out."""
    options = {label: flat(dataclasses.asdict(config)) for label, config in configs.items()}
    return {
        label: {k: v for k, v in own.items() if v != options[baseline][k] and k != "out"}
        for label, own in options.items()
    }


def given(args: tuple[str, ...]) -> dict[str, str]:
    """The options of a configuration, each with one value."""
    return dict(zip(args[1::2], args[2::2], strict=True))


def test_each_trick_changes_what_its_name_says(tmp_path):
    assert changes(configs_of(TRICKS, tmp_path, "--data.name", "cifar10"), "+schedule") == {
        "baseline": {"augment.pad": 0, "augment.flip_p": 0, "optim.schedule": "constant",
                     "optim.warmup": 0},
        "+augmentation": {"optim.schedule": "constant", "optim.warmup": 0},
        "+schedule": {},
        "+ema": {"optim.ema_decay": 0.98},
        "+swa": {"optim.swa_start": 0.75, "optim.swa_lr": 0.02, "optim.swa_anneal_epochs": 1},
        "+mixing": {"augment.mixup_alpha": 0.2, "augment.cutmix_alpha": 1},
    }  # fmt: skip


def test_each_part_of_instance_discrimination_stands_on_the_one_before(tmp_path):
    configs = configs_of(INSTANCES, tmp_path)
    assert {config.data.split_seed for config in configs.values()} == {1}
    plain = configs["instances"]
    assert (plain.label_smoothing, plain.instance.views, plain.instance.small_views) == (0, 2, 0)
    assert (plain.instance.contrastive_weight, plain.augment.cutmix_alpha) == (0, 0)
    assert (plain.epochs, plain.model.img_size) == (60, 96)
    small = {"label_smoothing": 0.1, "model.img_size": 64}
    crops = small | {"epochs": 40, "val_every_epochs": 20, "instance.small_views": 4}
    assert changes(configs, "instances") == {
        "instances": {},
        "+smoothing": {"label_smoothing": 0.1},
        "+resolution": small | {"epochs": 120},
        "+multi-crop": crops,
        "+cutmix": crops | {"augment.cutmix_alpha": 0.5},
    }


@pytest.mark.parametrize("study", [*GENERATED_DIGITS, GENERATED_FLOWERS17], ids=lambda s: s.name)
def test_each_classifier_has_the_images_that_its_name_says(study, tmp_path):
    """Half of what it is trained on, of generators with its seed."""
    flowers = study is GENERATED_FLOWERS17
    runs = plan_runs(study, 2, tmp_path, ("--data.dir", str(tmp_path)) if flowers else (), parse)
    needs = {run.label: {(p.parent.name, p.name) for p in run.needs} for run in runs if run.seed}
    gan, diffusion = ("dcgan", "seed-1"), ("ddpm", "seed-1")
    assert {label: found for label, found in needs.items() if found} == {
        "+dcgan": {gan}, "+ddpm": {diffusion}, "+both": {gan, diffusion}
    }  # fmt: skip
    for args in (study.configurations[label] for label in ("+dcgan", "+ddpm", "+both")):
        assert args[-2:] == ("--data.extra-share", "0.5")
    configs = {run.label: run.config for run in runs if run.seed and run.config}
    assert (configs["dcgan"].method, configs["ddpm"].method) == ("gan", "diffusion")
    assert study.baseline == "usual"
    averaged = 1 / (1 - configs["ddpm"].optim.ema_decay)  # of 2,000 steps
    assert averaged == pytest.approx(200)
    changed = changes({label: configs[label] for label in ("nothing", "usual")}, "usual")["nothing"]
    off = {"augment.crop_scale": (1, 1), "augment.mixup_alpha": 0}
    if flowers:
        off |= {"augment.flip_p": 0, "augment.cutmix_alpha": 0}
    assert changed == off


@pytest.mark.parametrize("study", [SMOOTHING, SMOOTHING_PETS], ids=lambda s: s.name)
def test_smoothing_alone_differs_and_is_what_its_name_says(study):
    options = {label: given(args) for label, args in study.configurations.items()}
    assert tuple(options) == EPSILONS
    assert all(own.pop("--label-smoothing") == label for label, own in options.items())
    assert len({tuple(own.items()) for own in options.values()}) == 1


def test_networks_that_were_trained_before_are_frozen():
    for label, args in ATTENTION_BLOCKS.configurations.items():
        options = given(args)
        before = label.startswith("pretrained")
        assert options.get("--optim.freeze") == ("backbone" if before else None)
        assert options.get("--init.weights") == ("{resnet18}" if before else None)
        assert options["--epochs"] == ("4" if before else "12")
        assert args[0] == f"cifar10-{label.removeprefix('pretrained+')}"
    for label, args in ATTENTION_BLOCKS_IMAGENET.configurations.items():
        assert given(args)["--optim.freeze"] == "backbone"
        assert args[0] == f"cifar10-{'resnet18' if label == 'head' else label}"


def test_pretrained_networks_have_the_images_that_their_names_say():
    for label, args in VIT_RESNET_PRETRAINED.configurations.items():
        options = given(args)
        assert options["--init.weights"].startswith(
            f"hf://timm/{label.removesuffix('-few').replace('-', '_')}"
        )
        few = "0.775" if label.endswith("-few") else None
        assert options.get("--data.val-fraction") == few
        assert args[0] == "probe"
