"""python train_jax.py PRESET --find-lr."""

import json

import jax
import pytest
from PIL import Image

import train_jax
from jaxvit.command_line import parse
from jaxvit.commands import find_lr
from jaxvit.pictures.lr_finder import plot_finding
from jaxvit.training.lr_finder import Finding


@pytest.mark.slow
def test_it_leaves_no_trace_on_the_run_that_follows(tiny, tmp_path, capsys):
    before, after = tmp_path / "before", tmp_path / "after"
    assert train_jax.main([*tiny, "--out", str(before)]) == 0
    assert train_jax.main([*tiny, "--find-lr", "--out", str(after)]) == 0
    assert not after.exists()
    said = capsys.readouterr()
    assert "the loss falls most steeply at" in said.out + said.err
    assert train_jax.main([*tiny, "--out", str(after)]) == 0
    hashes = [json.loads((run / "summary.json").read_text())["params_sha256"]
              for run in (before, after)]  # fmt: skip
    assert hashes[0] == hashes[1]
    found = json.loads((tmp_path / "after-find-lr.json").read_text())
    assert len(found["rates"]) == len(found["losses"]) == 100
    assert found["suggestion"] in found["rates"]
    assert found["by_decade"] in found["rates"]
    assert f"{found['suggestion']:.2g} for each unit" in said.out + said.err
    with Image.open(tmp_path / "after-find-lr.png") as picture:
        assert picture.width > 300


@pytest.mark.slow
def test_the_losses_are_those_of_the_runs_own_batches(tiny, tmp_path):
    """The first loss is that of a run's first step: its weights, batch and draws."""
    run = tmp_path / "run"
    options = [*tiny, "--log-every-steps", "1", "--epochs", "1", "--seed", "3"]
    assert train_jax.main([*options, "--find-lr", "--out", str(run)]) == 0
    assert train_jax.main([*options, "--out", str(run)]) == 0
    first = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    found = json.loads((tmp_path / "run-find-lr.json").read_text())
    smoothed = 0.02 * first["train/loss"] / (1 - 0.98**2)
    assert found["losses"][0] == pytest.approx(smoothed, rel=1e-6)


@pytest.mark.slow
def test_other_methods_of_one_loss_have_it_too(tmp_path, capsys):
    small = ["--model.width", "8", "--model.blocks", "1", "--data.cache-dir", str(tmp_path)]
    out = ["--out", str(tmp_path / "run")]
    assert train_jax.main(["digits-ddpm", "--find-lr", *small, *out]) == 0
    assert "the loss falls most steeply at" in capsys.readouterr().out
    found = json.loads((tmp_path / "run-find-lr.json").read_text())
    assert min(found["losses"][20:]) < 0.95 * found["losses"][20]  # it learns
    assert 0.5 < found["losses"][20] < 2  # from random weights, of noise of variance 1


def test_a_kill_leaves_nothing_behind(tiny, tmp_path, monkeypatch):
    def dies(self, file, **_):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", dies)
    with pytest.raises(KeyboardInterrupt):
        train_jax.main([*tiny, "--find-lr", "--out", str(tmp_path / "run")])
    assert not list(tmp_path.iterdir())


def test_joined_batches_are_refused(tiny, capsys):
    assert train_jax.main([*tiny, "--find-lr", "--optim.accumulate-grad-batches", "4"]) == 2
    assert "leave it out, and give --batch-size the images of an update" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_one_line(tiny, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "run"
    assert train_jax.main([*tiny, "--find-lr", "--out", str(out)]) == 2
    assert "leaves no place for the result" in capsys.readouterr().err
    jax.clear_caches()


def test_both_suggestions_are_said_and_marked_by_their_names(tmp_path, monkeypatch):
    said, marked = [], {}

    def plot(rates, losses, named):
        marked.update(named)
        return plot_finding(rates, losses, named)

    monkeypatch.setattr(find_lr, "plot_finding", plot)
    found = Finding((1e-3, 1e-2), (2.0, 1.0), 1e-3, 1e-2, False)
    _, config = parse(["digits", "--optim.lr", "0.5", "--out", str(tmp_path / "run")])
    find_lr.report(found, config, said.append)
    assert "at 0.001 for each unit" in said[0]
    assert "at 0.01 for each factor of 10; --optim.lr is 0.5" in said[0]
    assert marked == {"by unit": 1e-3, "by decade": 1e-2}
    found = found._replace(suggestion=None, by_decade=None, diverged=True)
    find_lr.report(found, config, said.append)
    assert said[2] == "the loss diverged at step 2 of 100, at a rate of 0.01"
    assert said[3].startswith("2 steps are too few")
