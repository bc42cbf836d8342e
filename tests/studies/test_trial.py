"""A trial of a run: what it says, and that it leaves nothing."""

import json
import tempfile

import pytest

from jaxvit.command_line import parse
from jaxvit.runtime.interrupt import StopSignals
from jaxvit.studies.plan import plan_runs
from jaxvit.studies.trial import _whole_size, extrapolate, last_step, total_steps, try_run

SMALL = ("--model.embed-dim", "16", "--model.num-layers", "1")


def test_the_steps_left_take_as_long_as_those_seen():
    assert extrapolate([(4.0, 10), (5.0, 30), (6.0, 40)], 100) == pytest.approx(4 + 90 * 2 / 30)


def test_all_steps_of_the_run_are_counted(runs, tmp_path):
    (tmp_path / "split.json").write_text(json.dumps({"train": dict.fromkeys(map(str, range(100)))}))
    assert runs[0].config.batch_size == 64
    assert total_steps(runs[0], tmp_path) == 4  # of 2 epochs


def test_an_incomplete_line_is_no_step(tmp_path):
    assert last_step(tmp_path) == 0
    (tmp_path / "metrics.jsonl").write_text('{"step": 3}\n{"step": 5}\n{"ste')
    assert last_step(tmp_path) == 5


def test_the_disk_is_that_of_all_checkpoints_that_are_kept(runs, tmp_path):
    out, keep = tmp_path / "tried", runs[0].config.checkpoint
    assert keep.keep_best > 0 < keep.keep
    for name, size in (("checkpoints/1/a", 100), ("checkpoints/2/a", 300), ("metrics.jsonl", 50)):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(bytes(size))
    assert _whole_size(runs[0], out) == 50 + 300 * (keep.keep + keep.keep_best)


@pytest.mark.slow
def test_a_long_run_is_tried_for_a_moment_and_leaves_nothing(study, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    extra = (*SMALL, "--epochs", "100000", "--log-every-steps", "2")
    run = plan_runs(study, 1, tmp_path / "two", extra, parse)[0]
    with StopSignals() as stop:
        found = try_run(run, stop, limit_sec=1.0)
    assert found.seconds > 1000
    assert found.bytes is None or found.bytes > 10_000
    assert not list(tmp_path.iterdir())
