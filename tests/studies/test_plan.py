"""Runs of a study, and what is refused before any of them begins."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from jaxvit.command_line import parse
from jaxvit.errors import UserError
from jaxvit.runs.progress import make_console
from jaxvit.runtime.interrupt import StopSignals
from jaxvit.studies import forecast
from jaxvit.studies.catalogue import STUDIES, find_study
from jaxvit.studies.generated import GENERATED_DIGITS, GENERATED_FLOWERS17
from jaxvit.studies.plan import (
    can_begin,
    check_same_data,
    check_unchanged,
    is_finished,
    plan_runs,
)
from jaxvit.studies.smoothing import SMOOTHING
from jaxvit.studies.study import Metric, Study
from jaxvit.studies.trial import Estimate
from jaxvit.studies.vit_resnet import VIT_RESNET
from tests.studies.conftest import pretend


def test_every_configuration_has_every_seed_and_pairs_come_together(runs, study):
    assert [(run.label, run.seed) for run in runs] == [
        ("none", 0), ("much", 0), ("none", 1), ("much", 1), ("none", 2), ("much", 2)
    ]  # fmt: skip
    for run in runs:
        smoothing = {"none": 0.0, "much": 0.4}[run.label]
        assert (run.config.seed, run.config.label_smoothing) == (run.seed, smoothing)
        assert run.config.out == str(run.path)
        assert run.config.epochs == 2
        assert run.path.parts[-2:] == (run.label, f"seed-{run.seed}")


def test_options_after_the_dashes_win_over_the_studys_own(study, tmp_path):
    args = {"a": ("digits", "--epochs", "7", "--optim.lr", "1e-3"), "b": ("digits",)}
    changed = study._replace(configurations=args, baseline="a")
    found = plan_runs(changed, 1, tmp_path, ("--epochs", "3"), parse)
    assert [run.config.epochs for run in found] == [3, 3]


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (("--seed", "3"), "--seeds N before the --"),
        (("--out=runs/x",), "--out DIR before the --"),
        (("--overwrite",), "--overwrite before the --"),
        (("--find-lr",), "find-lr"),
        (("--help",), "--help-all"),
        (("--label-smoothing", "0.3"), "none and much are the same"),
        (("--epochs", "0"), "study two, none: --epochs 0 is too small"),
        (("--bogus", "1"), "options of every run go after --"),
    ],
)
def test_options_that_cannot_work_are_refused_before_any_run(study, tmp_path, extra, says):
    with pytest.raises(UserError, match="(?s)^[^\n]+$") as caught:
        plan_runs(study, 2, tmp_path / "two", extra, parse)
    assert says in str(caught.value)
    assert not (tmp_path / "two").exists()


def test_a_run_of_other_options_is_not_mixed_into_the_table(study, runs, tmp_path):
    pretend(runs[0])
    check_unchanged(runs)
    assert is_finished(runs[0])
    assert not is_finished(runs[1])
    others = plan_runs(study, 3, tmp_path / "two", ("--epochs", "5"), parse)
    assert not is_finished(others[0])
    with pytest.raises(UserError, match=r"1 of 6 runs .*seed-0 \(epochs 2 -> 5\).*--overwrite"):
        check_unchanged(others)


def test_a_place_of_the_data_or_the_cache_is_no_other_option(study, runs, tmp_path):
    pretend(runs[0])
    extra = ("--epochs", "2", "--data.cache-dir", str(tmp_path / "cache"))
    check_unchanged(plan_runs(study, 3, tmp_path / "two", extra, parse))


def test_runs_scored_on_other_images_are_not_compared(runs):
    for run in runs[:3]:
        pretend(run)
    check_same_data(runs[:3])
    pretend(runs[2], test=("a", "b"))
    with pytest.raises(UserError, match=r"none.seed-1 was scored on other test images"):
        check_same_data(runs[:3])


def test_a_damaged_summary_is_one_line(runs):
    pretend(runs[0])
    (runs[0].path / "summary.json").write_text("{")
    with pytest.raises(UserError, match=r"summary\.json cannot be read .* or remove"):
        is_finished(runs[0])


def test_a_metric_may_lie_inside_another_value(tmp_path):
    summary = {"test/loss": 2, "best": {"val/loss": 0.5, "deep": {"x": 1.5}}, "preset": "digits"}
    values = [Metric(path, "").read(summary, tmp_path)
              for path in ("test/loss", "best/val/loss", "best/deep/x")]  # fmt: skip
    assert values == [2, 0.5, 1.5]
    for path in ("test", "test/lose", "best", "best/val", "preset", "preset/x", "test/loss/x"):
        with pytest.raises(UserError, match=f"has no number '{path}'.*test/loss"):
            Metric(path, "").read(summary, tmp_path)


@pytest.mark.parametrize("each", STUDIES, ids=lambda each: each.name)
def test_every_study_is_whole(each):
    each.check()
    assert find_study(each.name) is each
    assert each.seeds >= 3


def test_a_vit_and_a_resnet_see_the_same_augmentation_and_as_many_images(tmp_path):
    extra = ("--data.name", "cifar10", "--data.dir", "x")
    runs = {run.label: run.config for run in plan_runs(VIT_RESNET, 1, tmp_path, extra, parse)}
    for field in ("augment", "epochs", "batch_size", "label_smoothing", "select"):
        assert len({getattr(config, field) for config in runs.values()}) == 1, field
    held_out = {label: config.data.val_fraction for label, config in runs.items()}
    assert held_out["resnet"] == held_out["vit"] == 0.1
    assert held_out["resnet-few"] == held_out["vit-few"] == 0.775


def test_the_smoothing_study_differs_in_the_smoothing_alone(tmp_path):
    runs = plan_runs(SMOOTHING, 1, tmp_path, (), parse)
    assert [run.config.label_smoothing for run in runs] == [0, 0.05, 0.1, 0.2, 0.4]
    assert {run.config.augment.mixup_alpha for run in runs} == {0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raise RuntimeError('no')", "RuntimeError: no"),
        ("STUDY = 3", "defines no study"),
        ("", "defines no study"),
    ],
)
def test_a_file_that_is_no_study_is_one_line(tmp_path, text, says):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UserError, match=says):
        find_study(str(tmp_path / "mine.py"))


def test_an_unknown_name_lists_the_names():
    with pytest.raises(UserError, match=r"unknown study 'nope': choose one of smoothing, smooth"):
        find_study("nope")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"baseline": "x"}, "no configuration 'x' to be its baseline"),
        ({"name": "a/b"}, "also a directory's name"),
        ({"configurations": {"../x": ("digits",)}, "baseline": "../x"}, "also a directory's name"),
        ({"metrics": ()}, "no metric"),
    ],
)
def test_a_study_that_cannot_be_run_is_one_line(study, change, says):
    broken: Study = study._replace(**change)
    with pytest.raises(UserError, match=says):
        broken.check()


def test_a_run_that_starts_from_another_is_planned_with_it(chain, tmp_path):
    chain.check()
    runs = plan_runs(chain, 2, tmp_path, (), parse)
    for run in runs[1::2]:
        first = tmp_path / "first" / f"seed-{run.seed}"
        assert run.needs == (first,)
        assert run.args[run.args.index("--init.weights") + 1] == str(first)
        assert run.config is None
        assert not is_finished(run)
        assert not can_begin(run)
    check_unchanged(runs)
    pretend(runs[0])
    seen = []

    def fake(args):
        seen.append(args)
        at = args.index("--init.weights") if "--init.weights" in args else len(args)
        return parse(args[:at] + args[at + 2 :])

    again = plan_runs(chain, 2, tmp_path, (), fake)
    assert [run.config is None for run in again] == [False, False, False, True]
    assert again[1].config.epochs == 2
    assert str(runs[0].path) in seen[1]


@pytest.mark.parametrize("label", ["second", "third"])
def test_a_run_starts_from_one_before_it(chain, label):
    args = {**chain.configurations, "second": ("digits", "--init.weights", f"{{{label}}}")}
    with pytest.raises(UserError, match=f"second .* starts from {label}, .* one of first"):
        chain._replace(configurations=args).check()


def test_a_forecast_says_what_cannot_be_tried_yet(chain, tmp_path, monkeypatch, capsys):
    runs = plan_runs(chain, 2, tmp_path, (), parse)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(forecast, "try_run", lambda run, stop: Estimate(10.0, 1000))
    with StopSignals() as stop:
        seconds = forecast.forecast(runs, tmp_path / "x", make_console(), stop)
    said = " ".join(capsys.readouterr().out.split())
    assert seconds == 20
    assert "unknown until first is finished" in said
    assert "about 20 s without second" in said
    assert "at most 0 MB of disk" in said
    monkeypatch.setattr(forecast, "try_run", lambda run, stop: Estimate(10.0, 3_000_000))
    with StopSignals() as stop:
        forecast.forecast(runs, tmp_path / "x", make_console(), stop)
    assert "at most 6 MB of disk" in " ".join(capsys.readouterr().out.split())  # of two runs
    monkeypatch.setattr(forecast, "try_run", lambda run, stop: Estimate(10.0, None))
    monkeypatch.setattr(
        forecast.shutil, "disk_usage", lambda place: SimpleNamespace(free=61_000_000_000)
    )
    with StopSignals() as stop:
        forecast.forecast(runs, tmp_path / "x", make_console(), stop)
    said = " ".join(capsys.readouterr().out.split())
    assert "disk: unknown (61.0 GB are free)" in said


def test_options_that_follow_the_seed_get_its_number(study, tmp_path):
    seeded = study._replace(follow_seed=("--data.split-seed",))
    for run in plan_runs(seeded, 3, tmp_path, (), parse):
        assert run.config.data.split_seed == run.config.seed == run.seed
    given = plan_runs(seeded, 2, tmp_path, ("--data.split-seed", "7"), parse)
    assert [run.config.data.split_seed for run in given] == [7] * 4


def test_runs_of_two_sizes_are_compared_by_the_names_of_their_images(runs):
    """Where the split follows the seed, runs of one seed alone are compared."""
    for run in runs[:2]:
        pretend(run)
    split = json.loads((runs[1].path / "split.json").read_text())
    (runs[1].path / "split.json").write_text(json.dumps(split | {"test": {"a": "11111111"}}))
    with pytest.raises(UserError, match="other test images"):
        check_same_data(runs[:2])
    larger = replace(runs[1].config, model=replace(runs[1].config.model, img_size=16))
    other = [runs[0], runs[1]._replace(config=larger)]
    check_same_data(other)
    (runs[1].path / "split.json").write_text(json.dumps(split | {"test": {"b": "00000000"}}))
    with pytest.raises(UserError, match="other test images"):
        check_same_data(other)
    seeded = replace(larger, data=replace(larger.data, split_seed=1))
    check_same_data([runs[0], runs[1]._replace(config=seeded)])


def test_runs_of_another_preprocessing_need_not_have_the_same_pixels(runs):
    """Of the same test images: ResNet-18's and DeiT's, for example."""
    for run in runs[:2]:
        pretend(run)
    split = json.loads((runs[1].path / "split.json").read_text())
    (runs[1].path / "split.json").write_text(json.dumps(split | {"test": {"a": "11111111"}}))
    data = replace(runs[1].config.data, interpolation="bicubic")
    other = [runs[0], runs[1]._replace(config=replace(runs[1].config, data=data))]
    check_same_data(other)
    (runs[1].path / "split.json").write_text(json.dumps(split | {"test": {"b": "00000000"}}))
    with pytest.raises(UserError, match="other test images"):
        check_same_data(other)


@pytest.mark.parametrize(
    ("each", "few", "images"),
    [
        *zip(GENERATED_DIGITS, (5, 10, 20, None), (50, 100, 200, 1221), strict=True),
        (GENERATED_FLOWERS17, None, 1105),
    ],
)
def test_generators_and_classifiers_see_the_same_images_for_as_many_steps(
    each, few, images, tmp_path
):
    place = ("--data.dir", str(tmp_path)) if each is GENERATED_FLOWERS17 else ()
    runs = plan_runs(each, 2, tmp_path, place, parse)
    configs = {}
    for run in runs[len(runs) // 2 :]:
        for place in run.needs:
            place.mkdir(parents=True, exist_ok=True)
        configs[run.label] = (parse(list(run.args))[1], len(run.needs))
    assert {label: needs for label, (_, needs) in configs.items()} == {
        "dcgan": 0, "ddpm": 0, "nothing": 0, "usual": 0, "+dcgan": 1, "+ddpm": 1, "+both": 2
    }  # fmt: skip
    size = configs["usual"][0].model.img_size
    for label, (config, needs) in configs.items():
        data = config.data
        assert (data.train_per_class, data.split_seed, config.seed) == (few, 1, 1)
        assert data.val_fraction == configs["usual"][0].data.val_fraction
        assert (data.name, config.model.img_size) == (configs["usual"][0].data.name, size)
        steps = config.epochs * images * (2 if needs else 1) / config.batch_size
        generates = label in ("dcgan", "ddpm")
        assert steps == pytest.approx(2000 if generates else 1400, rel=0.02), label
        if not generates and label != "nothing":
            for part in ("augment", "optim", "model", "select", "label_smoothing"):
                assert getattr(config, part) == getattr(configs["usual"][0], part), (label, part)
