"""The command and its files, of runs that are pretended; reliability, of a real one."""

import csv
import json

import numpy as np
import pytest

from jaxvit.__main__ import main
from jaxvit.command_line import parse
from jaxvit.errors import UserError
from jaxvit.interop.saved_run import read_config
from jaxvit.runtime.interrupt import StopSignals
from jaxvit.studies import conduct, results
from jaxvit.studies.launch import Ended
from jaxvit.studies.plan import Run
from jaxvit.studies.reliability import add_bins, score_bins
from jaxvit.studies.results import gather, write_results
from tests.studies.conftest import pretend, read

FILE = """
from jaxvit.studies.study import Metric, Study
STUDY = Study("two", "Which?", {"a": ("digits", "--optim.lr", "1e-3"), "b": ("digits",)}, "a", 3,
              (Metric("test/accuracy", "accuracy"),))
"""


@pytest.fixture
def started(monkeypatch) -> list[Run]:
    found = []

    def fake(run, more, stop):
        found.append(run)
        pretend(run, accuracy=0.1 * len(found))
        return Ended(None, 1.0)

    monkeypatch.setattr(conduct, "train", fake)
    return found


@pytest.fixture
def command(tmp_path, started):
    (tmp_path / "two.py").write_text(FILE)
    options = ["study", str(tmp_path / "two.py"), "--out", str(tmp_path / "out")]
    return lambda *args: main([*options, *args])


def test_a_study_has_its_own_number_of_seeds_unless_told(command, started, tmp_path):
    assert command("--seeds", "1") == 0
    assert [str(run) for run in started] == ["a, seed 0", "b, seed 0"]
    assert command() == 0
    assert len(started) == 6
    values = read(tmp_path / "out" / "two" / "study.json")
    assert values["seeds"] == 3
    assert [(each["label"], each["seed"]) for each in values["runs"]] == [
        (label, seed) for seed in range(3) for label in "ab"
    ]


def fail(monkeypatch, name: str) -> None:
    """This run fails, and all others are pretended."""

    def fake(run, more, stop):
        if str(run) == name:
            return Ended("the disk is full", 1.0)
        pretend(run)
        return Ended(None, 1.0)

    monkeypatch.setattr(conduct, "train", fake)


def test_a_failed_run_is_the_exit_code_and_in_the_files(command, monkeypatch, tmp_path, capsys):
    fail(monkeypatch, "b, seed 1")
    assert command() == 2
    assert "1 of 6 runs failed and are not in the table" in capsys.readouterr().err
    values = read(tmp_path / "out" / "two" / "study.json")
    assert values["failed"] == {"b, seed 1": "the disk is full"}
    assert len(values["runs"]) == 5
    assert "b, seed 1: the disk is full" in (tmp_path / "out" / "two" / "study.md").read_text()


def test_a_difference_says_of_how_many_pairs_it_is(command, monkeypatch, tmp_path):
    fail(monkeypatch, "a, seed 1")
    assert command() == 2
    with (tmp_path / "out" / "two" / "study.csv").open(newline="") as lines:
        found = {row["configuration"]: (row["n"], row["pairs"]) for row in csv.DictReader(lines)}
    assert found["a"][0] == "2"
    assert found["b"] == ("3", "2")


def test_runs_are_counted_by_device_and_versions():
    one = {"device": {"count": 1, "kind": "cpu"}, "versions": {"jax": "1", "numpy": "2"}}
    other = one | {"device": {"count": 4, "kind": "cpu"}}
    assert results.machines([one, other, one]) == [
        "2 run(s) on 1 x cpu, jax 1, numpy 2", "1 run(s) on 4 x cpu, jax 1, numpy 2"
    ]  # fmt: skip


def test_runs_that_start_from_others_are_in_the_table(tmp_path, started, monkeypatch):
    """What a run means is known only when the runs that it starts from are finished."""
    (tmp_path / "two.py").write_text(
        FILE.replace('"b": ("digits",)', '"b": ("digits", "--data.extra-dir", "{a}")')
    )
    options = ["study", str(tmp_path / "two.py"), "--out", str(tmp_path / "out"), "--seeds", "2"]

    def fake(run, more, stop):
        pretend(run._replace(config=parse(list(run.args))[1]))
        return Ended(None, 1.0)

    monkeypatch.setattr(conduct, "train", fake)
    assert main(options) == 0
    runs = read(tmp_path / "out" / "two" / "study.json")["runs"]
    assert [(each["label"], each["seed"]) for each in runs] == [
        ("a", 0), ("b", 0), ("a", 1), ("b", 1)
    ]  # fmt: skip


def test_other_test_images_in_one_study_are_refused(command, started, monkeypatch, capsys):
    assert command("--seeds", "1") == 0
    pretend(started[1], test=("other",))
    assert command("--seeds", "1", "--report") == 2
    assert "was scored on other test images" in capsys.readouterr().err


def test_the_report_trains_nothing(command, started):
    assert command("--seeds", "1") == 0
    assert command("--report") == 0
    assert len(started) == 2


def test_other_options_are_refused_unless_overwritten(command, started, capsys):
    assert command("--seeds", "1") == 0
    assert command("--seeds", "1", "--", "--epochs", "5") == 2
    assert "2 of 2 runs are of another configuration" in capsys.readouterr().err
    assert len(started) == 2
    assert command("--seeds", "1", "--overwrite", "--", "--epochs", "5") == 0
    assert [run.config.epochs for run in started] == [70, 70, 5, 5]


def test_the_csv_holds_means_and_differences(command, tmp_path):
    assert command() == 0
    with (tmp_path / "out" / "two" / "study.csv").open() as file:
        first, second = csv.DictReader(file)
    assert float(first["mean"]) == pytest.approx(0.3)  # .1 .3 .5 and .2 .4 .6
    assert float(first["low"]) < 0.3 < float(first["high"])
    assert float(first["low"]) + float(first["high"]) == pytest.approx(0.6)
    assert float(second["mean"]) == pytest.approx(0.4)
    assert first["difference"] == ""
    assert float(second["difference"]) == pytest.approx(0.1)
    assert float(second["difference_low"]) == pytest.approx(0.1)
    assert first["n"] == second["pairs"] == "3"


def test_each_run_is_scored_once_and_keeps_its_own_bins(study, runs, tmp_path, monkeypatch):
    asked = []

    def fake(run, summary):
        asked.append(str(run))
        return {name: [len(asked), 1.0] for name in results.BINS}

    monkeypatch.setattr(results, "score_bins", fake)
    for run in runs[:4]:
        pretend(run)
    curves = study._replace(reliability=True)

    def found(finished):
        with StopSignals() as stop:
            return gather(curves, "two", 2, (), finished, {}, tmp_path, stop)

    first = found(runs[:3])
    write_results(first, tmp_path)
    again = found(runs[:4])
    assert asked == [str(run) for run in runs[:4]]
    assert [again.bins[run]["bin_count"][0] for run in runs[:4]] == [1, 2, 3, 4]
    path = runs[1].path / "summary.json"  # trained again, to other weights
    path.write_text(json.dumps(read(path) | {"params_sha256": "other"}))
    found(runs[:4])
    assert asked[4:] == [str(runs[1]), str(runs[3])]


def test_reliability_is_that_of_the_test_split(uninterrupted):
    run = Run("a", 0, uninterrupted, (), read_config(uninterrupted))
    summary = read(uninterrupted / "summary.json")
    bins = score_bins(run, summary)
    number, confidence, right = (np.array(bins[name]) for name in results.BINS)
    n = summary["images"]["test"]
    assert number.sum() == n
    assert confidence.sum() / n == pytest.approx(summary["test/mean_confidence"], abs=1e-5)
    assert right.sum() / n == pytest.approx(summary["test/accuracy"], abs=1.5 / n)
    assert add_bins([bins, bins])["bin_count"] == (2 * number).tolist()
    with pytest.raises(UserError, match=r"its summary\.json says 0\.9: train it again"):
        score_bins(run, summary | {"test/mean_confidence": 0.9})
    with pytest.raises(UserError, match="train it again"):
        score_bins(run, summary | {"test/mean_confidence": summary["test/mean_confidence"] + 0.005})


def test_a_curve_is_of_its_own_runs(study, runs, tmp_path, monkeypatch):
    for run in runs[:4]:
        pretend(run)

    def score(run, _):
        return {name: [1.0 + (run.label == "much"), 0.0] for name in results.BINS}

    monkeypatch.setattr(results, "score_bins", score)
    monkeypatch.setattr(results, "plot_study", lambda question, labels, panels, curves: curves)
    asked = study._replace(reliability=True)
    with StopSignals() as stop:
        found = gather(asked, "two", 2, (), runs[:4], {}, tmp_path, stop)
    assert results.draw(found) == {"none": ([2.0, 0.0],) * 3, "much": ([4.0, 0.0],) * 3}


def test_each_panel_of_a_study_shows_its_own_metric(study, runs, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(results, "plot_study", lambda what, labels, panels, _: shown.extend(panels))
    for number, run in enumerate(runs):
        pretend(run, accuracy=0.1 * number, loss=3.0 - number)
    with StopSignals() as stop:
        found = gather(study, "two", 3, (), runs, {}, tmp_path, stop)
    results.draw(found)
    assert [panel.title for panel in shown] == [metric.title for metric in study.metrics]
    assert [panel.percent for panel in shown] == [m.form.endswith("%") for m in study.metrics]
    for metric, panel in zip(study.metrics, shown, strict=True):
        rows = [row for row in found.rows if row.metric == metric.title]
        assert panel.means == [tuple(row.mean[:3]) for row in rows]
        assert panel.values == [[row.values[seed] for seed in range(3)] for row in rows]
