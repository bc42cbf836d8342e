"""python -m jaxvit average: soups recomputed from checkpoints, and used as runs."""

import json
import shutil
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

from jaxvit.commands import average
from jaxvit.config import Config, DataConfig
from jaxvit.errors import UserError
from jaxvit.interop import soup
from jaxvit.interop.saved_run import load_run
from jaxvit.interop.soup import Candidate, make_soup
from jaxvit.runs.checkpoint import Checkpoints
from tests.commands.conftest import command, scored_step
from tests.test_end_to_end import CLASSES, forward, read_item, read_pixels


def score(photos: Path, params, split: str) -> tuple[float, float]:
    """Accuracy and loss of a split, by NumPy in float64."""
    paths = [path for name in CLASSES for path in sorted((photos / split / name).iterdir())]
    labels = np.array([CLASSES.index(path.parent.name) for path in paths])
    logits = forward(params, np.stack([read_pixels(path) for path in paths]))
    losses = np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(labels)), labels]
    return float((logits.argmax(-1) == labels).mean()), float(losses.mean())


def mean(trees: list):
    return jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *trees)


def assert_equal(found, wanted) -> None:
    chex.assert_trees_all_close(found, wanted, rtol=1e-6, atol=1e-7)


def ranked_steps(run: Path) -> list[int]:
    """Steps of the checkpoints, from the best validation to the worst."""
    scores = {}
    for path in (run / "checkpoints").glob("[0-9]*/metrics/metrics"):
        metrics = json.loads(path.read_text())
        scores[int(path.parts[-3])] = (metrics["val/accuracy"], -metrics["val/loss"])
    return sorted(scores, key=scores.get, reverse=True)


def assert_scores(photos: Path, found: dict, params) -> None:
    for split in ("val", "test"):
        accuracy, loss = score(photos, params, split)
        assert found[f"{split}/accuracy"] == pytest.approx(accuracy)
        assert found[f"{split}/loss"] == pytest.approx(loss, rel=1e-4)


def test_the_best_checkpoints_of_a_run_are_averaged_scored_and_used(runs, tmp_path, capsys):
    steps, out = ranked_steps(runs.first), tmp_path / "soup"
    assert len(steps) >= 3
    assert command("average", runs.first, "--best", "2", "--out", out, "--batch-size", "4") == 0
    parts = [read_item(runs.first, step, "params") for step in steps[:2]]
    averaged, summary = mean(parts), json.loads((out / "summary.json").read_text())
    assert_equal(load_run(out).params, averaged)
    assert summary["averaged"] == [{"run": str(runs.first), "step": step} for step in steps[:2]]
    assert_scores(runs.photos, summary["before"], parts[0])
    assert_scores(runs.photos, summary["after"], averaged)
    assert summary["test/accuracy"] == summary["after"]["test/accuracy"]
    assert summary["best"]["val/loss"] == summary["after"]["val/loss"]
    # It is a run wherever one is asked for.
    report = tmp_path / "e.json"
    capsys.readouterr()
    assert command("evaluate", out, "test", "--json", report) == 0
    found = json.loads(report.read_text())
    assert found["accuracy"] == pytest.approx(score(runs.photos, averaged, "test")[0])
    assert found["params_sha256"] == summary["params_sha256"]
    assert command("inspect", out) == 0
    shown = capsys.readouterr().out
    assert "preset average" in shown
    assert f"averaged       {runs.first} step {steps[1]}" in shown
    assert command("average", runs.first, "--out", out) == 2
    assert "exists already: choose another name" in capsys.readouterr().err.splitlines()[-1]


def test_several_runs_are_averaged_with_their_selected_weights(runs, tmp_path, capsys):
    out, both = tmp_path / "soup", (runs.first, runs.second)
    assert command("average", *both, "--out", out) == 0
    steps = [scored_step(run) for run in both]
    parts = [read_item(run, step, "params") for run, step in zip(both, steps, strict=True)]
    assert_equal(load_run(out).params, mean(parts))
    summary = json.loads((out / "summary.json").read_text())
    assert {each["run"] for each in summary["averaged"]} == set(map(str, both))
    first = max(parts, key=lambda params: (s := score(runs.photos, params, "val"))[0] - s[1] / 1e6)
    assert_scores(runs.photos, summary["before"], first)
    assert_scores(runs.photos, summary["after"], mean(parts))
    printed = capsys.readouterr().out
    accuracy = summary["after"]["test/accuracy"]
    assert f"; test {accuracy:.2%} (95 % interval" in printed.splitlines()[-2]


def test_a_greedy_soup_is_chosen_by_validation_alone(tmp_path):
    """Weights are numbers; validation is best at 2, the test at -9."""
    scored = []

    def metrics(params, split):
        scored.append(split)
        distance = abs(float(params) - {"val": 2, "test": -9}[split])
        return {"accuracy": 1 / (1 + distance), "loss": distance}

    values = (-9.0, 1.0, 3.5, 1.5)
    candidates = [Candidate("run", step, np.float64(x)) for step, x in enumerate(values)]
    made = make_soup(candidates, True, metrics)
    assert [each.step for each, _ in made.candidates] == [3, 1, 2, 0]
    # From 1.5: with 1.0 it is 1.25, which is worse; with 3.5 it is 2.5, which is as good.
    assert [each.step for each in made.averaged] == [3, 2]
    assert float(made.params) == 2.5
    assert made.before["val/loss"] == made.after["val/loss"] == 0.5
    assert (made.before["test/loss"], made.after["test/loss"]) == (10.5, 11.5)
    assert scored.count("test") == 2
    uniform = make_soup(candidates, False, metrics)
    assert float(uniform.params) == pytest.approx(-0.75)
    assert len(uniform.averaged) == 4


def test_greedy_is_an_option_of_the_command(runs, tmp_path, capsys):
    out = tmp_path / "soup"
    assert command("average", runs.first, "--greedy", "--out", out) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["recipe"] == "greedy"
    assert len(summary["candidates"]) == 3
    before, after = (summary[name]["val/accuracy"] for name in ("before", "after"))
    assert after >= before
    printed = capsys.readouterr().out.splitlines()
    used = {(each["run"], each["step"]) for each in summary["averaged"]}
    assert 0 < len(used) < 3
    for each in summary["candidates"]:
        (line,) = (x for x in printed if x.startswith(f"{each['run']} step {each['step']}: "))
        assert line.endswith("averaged" if (each["run"], each["step"]) in used else "left out")


def copied(run: Path, path: Path, name: str, change) -> Path:
    """A run with one of its files changed."""
    shutil.copytree(run, path)
    values = json.loads((path / name).read_text())
    change(values)
    (path / name).write_text(json.dumps(values))
    return path


def test_runs_that_do_not_fit_are_refused(runs, tmp_path, capsys):
    def swap(split):
        split["class_names"] = split["class_names"][::-1]

    def other_model(change, config):
        config["model"] |= change

    def leak(held_out, split):
        split["train"] |= dict([next(iter(split[held_out].items()))])

    cases = (
        ("split.json", swap, "has classes other than"),
        ("split.json", partial(leak, "test"), "which is a test image of"),
        ("split.json", partial(leak, "val"), "which is a val image of"),
        *(
            ("config.json", partial(other_model, change), "an architecture other")
            for change in ({"num_heads": 4}, {"gelu": "tanh"}, {"pool": "mean"}, {"norm_eps": 0.1})
        ),
        ("config.json", lambda config: config["data"].update(mean=[0, 0, 0]), "a preprocessing"),
    )
    for number, (name, change, message) in enumerate(cases):
        other = copied(runs.second, tmp_path / str(number), name, change)
        assert command("average", runs.first, other, "--out", tmp_path / "soup") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert not (tmp_path / "soup").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "no run is given"),
        (["{first}", "{first}"], "a run is given twice"),
        (["{first}", "--best", "1"], "--best 1 is too small: it must be at least 2"),
        (["{first}", "{second}", "--best", "3"], "--best 3 chooses among the checkpoints of one"),
        (["{photos}"], "is not a run directory"),
        (["{single}"], "keeps 1 validated checkpoint(s), and a soup needs at least 2"),
    ],
)
def test_wrong_arguments_are_one_line(runs, tmp_path, capsys, args, message):
    single = tmp_path / "single"
    shutil.copytree(runs.first, single)
    for step in ranked_steps(runs.first)[1:]:
        shutil.rmtree(single / "checkpoints" / str(step))
    names = runs._asdict() | {"single": single}
    assert command("average", *(arg.format(**names) for arg in args)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_an_average_that_cannot_be_written_leaves_nothing(runs, tmp_path, monkeypatch):
    def fail(self, *args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Checkpoints, "save", fail)
    assert command("average", runs.first, "--out", tmp_path / "soup") == 2
    assert list(tmp_path.iterdir()) == []


def test_pixels_of_larger_stored_images_do_not_hide_a_leak(monkeypatch):
    """Training images that are stored larger have other pixels than when they are scored."""
    splits = {
        "first": {"train": {"b": "1"}, "val": {"a": "2"}, "test": {"c": "3"}},
        "second": {"train": {"a": "9"}, "val": {}, "test": {}},
    }
    monkeypatch.setattr(soup, "described", lambda path, split: splits[path.name][split])
    for scale, refuses in ((1.0, nullcontext()), (8 / 7, pytest.raises(UserError, match="on a,"))):
        config = Config(data=DataConfig(stored_scale=scale))
        monkeypatch.setattr(soup, "read_config", lambda path, config=config: config)
        with refuses:
            soup._refuse_leaks(["first", "second"])


def test_a_soup_goes_by_the_metric_that_the_run_was_told_to_watch(runs, tmp_path, monkeypatch):
    """Validation loss, by which the order of the checkpoints is turned round."""
    run = copied(runs.first, tmp_path / "run", "config.json", lambda c: c.update(monitor="loss"))
    files = [run / "checkpoints" / str(step) / "metrics" / "metrics" for step in ranked_steps(run)]
    for rank, file in enumerate(files):
        file.write_text(json.dumps({"val/loss": 3.0 - rank, "val/accuracy": 0.9 - 0.1 * rank}))
    asked = []

    def make(candidates, greedy, score, monitor):
        asked.append(([each.step for each in candidates], monitor[0]))
        raise UserError("far enough")

    monkeypatch.setattr(average, "make_soup", make)
    assert command("average", run, "--best", "2", "--out", tmp_path / "soup") == 2
    steps = [int(file.parts[-3]) for file in files[::-1][:2]]
    assert asked == [(steps, ("loss", False))]


def test_moved_images_are_read_where_they_are_said_to_be(runs, tmp_path, monkeypatch):
    asked = []

    def load(run, data_dir, track):
        asked.append((run, data_dir))
        raise UserError("far enough")

    monkeypatch.setattr(average, "load_splits", load)
    out = ["--out", tmp_path / "soup"]
    assert command("average", runs.first, "--data-dir", tmp_path / "moved", *out) == 2
    assert asked == [(str(runs.first), str(tmp_path / "moved"))]
