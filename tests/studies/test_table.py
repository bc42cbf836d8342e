"""Tables and figures of runs whose results are known."""

import numpy as np
import pytest
from scipy import stats

from jaxvit.errors import UserError
from jaxvit.pictures.study import Panel, plot_study
from jaxvit.studies.plan import read_summary
from jaxvit.studies.study import Metric
from jaxvit.studies.table import notes, tabulate
from tests.studies.conftest import pretend

ACCURACY = {"none": (0.8, 0.7, 0.9), "much": (0.75, 0.66, 0.8)}


@pytest.fixture
def summaries(runs):
    for run in runs:
        pretend(run, ACCURACY[run.label][run.seed], 1 - ACCURACY[run.label][run.seed])
    return {run: read_summary(run) for run in runs}


def test_a_configuration_below_the_baseline_has_a_negative_difference(study, summaries):
    rows = tabulate(study, summaries)
    assert [(row.metric, row.label) for row in rows] == [
        ("accuracy", "none"), ("accuracy", "much"),
        ("validation loss", "none"), ("validation loss", "much"),
    ]  # fmt: skip
    assert rows[0].difference is None
    expected = stats.ttest_rel(ACCURACY["much"], ACCURACY["none"]).confidence_interval(0.95)
    found = rows[1].difference
    assert found.mean == pytest.approx(-0.19 / 3)
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    assert rows[3].difference.mean == pytest.approx(0.19 / 3)
    assert rows[1].values == dict(enumerate(ACCURACY["much"]))


def test_the_cells_show_the_interval_and_mark_what_excludes_zero(study, summaries):
    rows = tabulate(study, summaries)
    assert rows[0].cells() == (
        "accuracy", "none", "3", "80.0%", "55.2% to 104.8%", "baseline", ""
    )  # fmt: skip
    assert rows[1].cells()[-2:] == ("-6.3%", "-14.3% to +1.7%")
    shifted = {
        run: summary | {"test/accuracy": ACCURACY["none"][run.seed] + 0.1 * (run.label == "much")}
        for run, summary in summaries.items()
    }
    assert tabulate(study, shifted)[1].cells()[-2] == "+10.0% *"


def test_runs_that_are_missing_are_said_and_not_counted(study, summaries):
    fewer = {run: found for run, found in summaries.items() if str(run) != "much, seed 1"}
    rows = tabulate(study, fewer)
    assert rows[1].mean.n == 2
    assert rows[1].difference.n == 2
    assert rows[1].difference.mean == pytest.approx(-0.075)
    assert any("Fewer than 3 runs are finished of: much (2)" in note for note in notes(rows, 3))
    assert any("are too few" in note for note in notes(rows, 2))
    one = {run: found for run, found in summaries.items() if run.seed == 0}
    assert tabulate(study, one)[1].cells()[-3:] == ("", "-5.0%", "")


def test_the_notes_count_what_chance_would_mark(study, summaries):
    (line,) = (note for note in notes(tabulate(study, summaries), 3) if "chance" in note)
    assert line.startswith("0 of 2 differences")
    assert "any effect 0.1 would" in line


def test_the_figure_shows_every_seed_the_means_and_the_curves():
    nan = float("nan")
    panel = Panel("accuracy", [[0.1, 0.3], [0.5, nan]], [(0.2, 0.1, 0.35), (0.5, nan, nan)], True)
    curves = {"a": ([0, 4, 6], [0, 2.0, 5.4], [0, 1, 6])}
    figure = plot_study("Which?", ["a", "b"], [panel], curves)
    axis, reliability = figure.axes
    (first, second) = (line.get_ydata() for line in axis.lines[:2])
    assert np.array_equal(first, [0.1, 0.5])
    assert np.array_equal(second, [0.3, nan], equal_nan=True)
    (bars,) = axis.containers
    assert np.array_equal(bars.lines[0].get_ydata(), [0.2, 0.5])
    segments = bars.lines[2][0].get_segments()
    assert np.allclose(segments[0][:, 1], [0.1, 0.35])
    assert np.allclose(segments[1][:, 1], 0.5)
    curve = reliability.lines[0]
    assert np.allclose(curve.get_xdata(), [0.5, 0.9])
    assert np.allclose(curve.get_ydata(), [0.25, 1.0])
    assert figure.get_suptitle() == "Which?"


def test_a_metric_that_other_methods_lack_may_be_optional(study, summaries):
    metric = Metric("test/knn_accuracy", "neighbours", ".1%", optional=True)
    wider = study._replace(metrics=(*study.metrics, metric))
    some = {
        run: found | ({"test/knn_accuracy": 0.5} if run.label == "much" else {})
        for run, found in summaries.items()
    }
    rows = {(row.metric, row.label): row for row in tabulate(wider, some)}
    assert rows["neighbours", "none"].lacks
    assert not rows["neighbours", "much"].lacks
    assert rows["neighbours", "much"].mean.mean == 0.5
    assert not any("Fewer than" in note for note in notes(list(rows.values()), 3))
    seeded = notes(list(rows.values()), 3, ("--data.split-seed",))
    assert "They also set --data.split-seed" in seeded[0]
    assert "same test images" in notes(list(rows.values()), 3)[0]
    needed = study._replace(metrics=(metric._replace(optional=False),))
    with pytest.raises(UserError, match="has no number 'test/knn_accuracy'"):
        tabulate(needed, some)


def test_a_configuration_without_a_value_has_no_place_and_a_long_title_two_lines():
    panel = Panel(
        "accuracy", [[np.nan, np.nan], [0.5, 0.7], [0.6, np.nan]],
        [(np.nan,) * 3, (0.6, 0.5, 0.7), (0.6, np.nan, np.nan)],
    )  # fmt: skip
    figure = plot_study("Do images help a classifier of few? " * 2, ["made", "a", "b"], [panel], {})
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b"]
    np.testing.assert_array_equal(axis.lines[0].get_ydata(), [0.5, 0.6])
    assert figure.get_suptitle().count("\n") == 1
    nothing = Panel("loss", [[np.nan]] * 3, [(np.nan,) * 3] * 3)
    (axis,) = plot_study("?", ["made", "a", "b"], [nothing], {}).axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["made", "a", "b"]
