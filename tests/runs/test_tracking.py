"""Trackers: what they hold is what the run directory holds, and none can end a run."""

import importlib.util
import json
import time
from pathlib import Path
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest

import train_jax
from jaxvit.command_line import parse
from jaxvit.config import flat, may_change
from jaxvit.data.decoded import Dataset, Split
from jaxvit.errors import UserError
from jaxvit.runs import tracking
from jaxvit.runs.directory import RunDirectory
from jaxvit.runs.progress import make_console
from jaxvit.runs.recorder import Recorder
from jaxvit.runs.sketches import write_sketch
from jaxvit.runs.trackers.tensorboard import TensorBoard
from jaxvit.runs.tracking import Trackers
from jaxvit.runtime.devices import make_devices
from jaxvit.training.fit import Plan
from jaxvit.training.state import TrainState
from tests.runs.test_resume import outcome, stop_at
from tests.runs.wandb_file import records, values
from tests.toy_tasks import blank_task

needs_wandb = pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None,
    reason='no wandb: pip install "jaxvit[wandb]"',
)


@pytest.fixture(autouse=True, scope="module")
def _nothing_of_wandb_outside(tmp_path_factory):
    """No file in the home directory, and no account, whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CACHE", "CONFIG", "DATA"):
            patch.setenv(f"WANDB_{name}_DIR", str(tmp_path_factory.mktemp(name.lower())))
        for name in ("API_KEY", "MODE", "PROJECT", "ENTITY", "RUN_ID"):
            patch.delenv(f"WANDB_{name}", raising=False)
        patch.setenv("NETRC", str(tmp_path_factory.mktemp("no") / "netrc"))
        yield


def read(run, name="summary.json"):
    return json.loads((run / name).read_text())


def lines_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def rows_expected(run) -> dict[int, dict]:
    """metrics.jsonl by step; a step that is logged and validated has two lines."""
    rows = {}
    for line in lines_of(run):
        rows[line["step"]] = rows.get(line["step"], {}) | line
    return {step: {k: v for k, v in row.items() if k != "step"} for step, row in rows.items()}


def rows_of(file) -> dict[int, dict]:
    """The rows of a .wandb file without wandb's own values and pictures, each step once."""
    history = [r.history for r in records(file) if r.WhichOneof("record_type") == "history"]
    rows = {}
    for each in history:
        assert each.step.num not in rows
        rows[each.step.num] = {
            name: value
            for name, value in values(each.item).items()
            if not name.startswith(("_", "plots/"))
        }
    return rows


def file_of(run) -> Path:
    (file,) = (run / "wandb").glob("offline-run-*/*.wandb")
    return file


@pytest.fixture(scope="module")
def tracked(tiny, tmp_path_factory, _nothing_of_wandb_outside):
    """A run with Weights & Biases offline, and what it printed nowhere else."""
    pytest.importorskip("wandb")
    path = tmp_path_factory.mktemp("tracked") / "run"
    options = ["--track.wandb", "offline", "--track.wandb-project", "birds"]
    assert train_jax.main([*tiny, *options, "--out", str(path)]) == 0
    return path


@needs_wandb
def test_every_line_of_metrics_is_in_the_offline_run_at_its_step(tracked):
    assert rows_of(file_of(tracked)) == rows_expected(tracked)


@needs_wandb
def test_the_offline_run_has_the_configuration_and_the_name(tracked):
    (run,) = (r.run for r in records(file_of(tracked)) if r.WhichOneof("record_type") == "run")
    found = values(run.config.update)
    found.pop("_wandb")
    assert found == read(tracked, "config.json")
    assert (run.project, run.display_name) == ("birds", "run")
    assert run.run_id == (tracked / "wandb" / "id").read_text()


@needs_wandb
def test_the_offline_run_has_the_summary_and_has_ended_well(tracked):
    found = {}
    for record in records(file_of(tracked)):
        if record.WhichOneof("record_type") == "summary":
            found |= values(record.summary.update)
    summary = read(tracked)
    assert {name: found[name] for name in summary} == summary
    (end,) = (r.exit for r in records(file_of(tracked)) if r.WhichOneof("record_type") == "exit")
    assert end.exit_code == 0


@needs_wandb
def test_the_offline_run_has_every_picture_of_the_report_in_the_last_row(tracked):
    history = [r.history for r in records(file_of(tracked)) if r.HasField("history")]
    assert history[-1].step.num == read(tracked)["steps"]
    row = values(history[-1].item)
    pictures = sorted((tracked / "plots").glob("*.png"))
    assert pictures
    for picture in pictures:
        saved = file_of(tracked).parent / "files" / row[f"plots/{picture.stem}.path"]
        pixels = matplotlib.image.imread(saved)
        np.testing.assert_array_equal(pixels, matplotlib.image.imread(picture))


@needs_wandb
def test_a_tracker_changes_no_number(tracked, uninterrupted):
    assert outcome(tracked) == outcome(uninterrupted)


@pytest.mark.slow
@needs_wandb
def test_a_run_that_is_resumed_twice_is_one_offline_run_with_each_line_once(
    tiny, tmp_path, monkeypatch, capsys
):
    """Stopped within an epoch and at its end; before that it had been begun without wandb."""
    args, run = [*tiny, "--out", str(tmp_path / "run")], tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        assert train_jax.main(args) == 143
    args += ["--track.wandb", "offline"]
    with monkeypatch.context() as patch:
        stop_at(patch, 20)
        assert train_jax.main(args) == 143
    first = file_of(run)
    ends = [r.exit.exit_code for r in records(first) if r.WhichOneof("record_type") == "exit"]
    assert ends == [1]
    time.sleep(1.1)  # offline runs are named by the second
    assert f"Weights & Biases: when the run has ended: wandb sync {run}" in capsys.readouterr().out
    assert train_jax.main(args) == 0
    assert file_of(run) != first
    assert file_of(run).name == first.name  # named by the run's id
    assert rows_of(file_of(run)) == rows_expected(run)


def an_offline_run(path, lines, after=()):
    """A tracker's own offline run in a directory; its file."""
    from jaxvit.runs.trackers.wandb import WeightsAndBiases

    path.mkdir(exist_ok=True)
    _, config = parse(["digits", "--track.wandb", "offline", "--out", str(path)])
    before = set(path.glob("wandb/offline-run-*"))
    tracker = WeightsAndBiases(config, path, lines)
    for line in after:
        tracker.log(line)
    tracker.close(finished=True)
    (new,) = set(path.glob("wandb/offline-run-*")) - before
    return next(new.glob("*.wandb"))


def numbered(*steps):
    return [{"step": step, "epoch": 1, "train/loss": 1 / step} for step in steps]


@needs_wandb
def test_offline_files_that_were_uploaded_stay_and_new_ones_have_the_rest(tmp_path):
    file = an_offline_run(tmp_path, numbered(1, 2))
    assert list(rows_of(file)) == [1, 2]
    file.with_name(f"{file.name}.synced").touch()
    time.sleep(1.1)
    new = an_offline_run(tmp_path, numbered(1, 2), after=numbered(3, 4))
    assert list(rows_of(new)) == [3, 4]
    assert list(rows_of(file)) == [1, 2]


@needs_wandb
def test_an_uploaded_run_that_had_logged_nothing_yet_goes_on(tmp_path):
    file = an_offline_run(tmp_path, [])
    file.with_name(f"{file.name}.synced").touch()
    time.sleep(1.1)
    assert list(rows_of(an_offline_run(tmp_path, [], after=numbered(1)))) == [1]


@pytest.fixture
def server(monkeypatch):
    """wandb with a server that has the rows before step 3, and a key."""
    wandb = pytest.importorskip("wandb")
    seen = []
    run = SimpleNamespace(
        starting_step=3,
        url="https://example.org/run",
        log=lambda row, step=None: seen.append((step, row)),
    )
    monkeypatch.setattr(wandb, "login", lambda **_: True)
    monkeypatch.setattr(wandb, "init", lambda **options: seen.append(options) or run)
    return seen


@needs_wandb
def test_online_only_rows_that_the_server_lacks_are_sent(server, tmp_path):
    _, config = parse(["digits", "--track.wandb", "online", "--out", str(tmp_path)])
    said = []
    trackers = Trackers(config, tmp_path, said.append)
    trackers.begin(numbered(1, 2, 3, 4))
    trackers.log(numbered(5)[0])
    options, *rows = server
    assert (options["mode"], options["resume"]) == ("online", "allow")
    assert [step for step, _ in rows] == [3, 4, 5]
    assert said == ["Weights & Biases: https://example.org/run"]


@needs_wandb
def test_pictures_of_a_resumed_run_are_sent_again_at_their_step(server, tmp_path):
    for step in (2, 3):
        write_sketch(tmp_path, "samples", step, np.zeros((2, 4, 4, 3), np.uint8))
    _, config = parse(["digits", "--track.wandb", "online", "--out", str(tmp_path)])
    Trackers(config, tmp_path, print).begin(numbered(1, 2, 3, 4))
    assert [step for step, row in server[1:] if "val/samples" in row] == [3]


@needs_wandb
def test_online_without_an_account_is_refused_before_training(tmp_path, monkeypatch):
    import wandb

    monkeypatch.setattr(wandb, "login", lambda prompt, verify: prompt or verify)
    _, config = parse(["digits", "--track.wandb", "online", "--out", str(tmp_path)])
    with pytest.raises(UserError, match="online needs an account's key: run wandb login once"):
        Trackers(config, tmp_path, print).begin([])


def test_a_tracker_that_fails_is_said_once_and_the_run_ends_as_without_it(
    tiny, tmp_path, uninterrupted, monkeypatch, capsys
):
    calls, log = [], TensorBoard.log

    def full_from_step_10(self, line):
        calls.append(line["step"])
        if line["step"] >= 10:
            raise OSError(28, "No space left on device")
        log(self, line)

    monkeypatch.setattr(TensorBoard, "log", full_from_step_10)
    assert train_jax.main([*tiny, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert said.count("warning: TensorBoard failed (OSError: [Errno 28] No space left") == 1
    assert "metrics.jsonl has every line" in said
    assert calls == [5, 10]
    assert outcome(tmp_path / "run") == outcome(uninterrupted)


class Noting:
    """A tracker that notes what it is given, and fails where it is told to."""

    note, fails_at = None, None

    def __init__(self, *_):
        self.seen = []
        self._note("begin")

    def _note(self, what):
        self.seen.append(what)
        if what == self.fails_at:
            raise RuntimeError("lost,\nwithout end")

    def log(self, line):
        self._note(line["step"])

    def report(self, summary, pictures):
        self._note("report")

    def close(self, finished):
        self._note("finished" if finished else "failed")


@pytest.mark.parametrize(
    ("place", "seen"),
    [
        ("begin", None),
        (2, [1, 2, "failed"]),
        ("report", [1, 2, 3, "report", "failed"]),
        ("finished", [1, 2, 3, "report", "finished"]),
    ],
)
def test_a_tracker_that_fails_is_closed_and_takes_no_other_with_it(
    place, seen, tmp_path, monkeypatch
):
    class Failing(Noting):
        fails_at = place

    monkeypatch.setattr(tracking, "TensorBoard", Failing)
    monkeypatch.setattr(tracking, "WeightsAndBiases", Noting)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: SimpleNamespace(origin=name))
    _, config = parse(["digits", "--track.wandb", "offline"])
    said = []
    trackers = Trackers(config, tmp_path, said.append)
    trackers.begin([])
    failing, other = trackers._on.get("TensorBoard"), trackers._on["Weights & Biases"]
    for line in numbered(1, 2, 3):
        trackers.log(line)
    trackers.report({}, [])
    trackers.close(finished=True)
    trackers.log(numbered(4)[0])
    assert (failing and failing.seen) == (seen and ["begin", *seen])
    assert other.seen == ["begin", 1, 2, 3, "report", "finished"]
    assert said == [
        "warning: TensorBoard failed (RuntimeError: lost, without end) and is off from "
        "here on; training continues, and metrics.jsonl has every line"
    ]


def test_a_package_that_is_missing_is_one_line_before_anything_begins(monkeypatch, tmp_path):
    (tmp_path / "wandb").mkdir()  # as a run leaves it, which Python takes for a package
    monkeypatch.syspath_prepend(tmp_path)
    spec = SimpleNamespace(origin=None)
    for found in (None, spec):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, found=found: found)
        with pytest.raises(UserError) as error:
            parse(["digits", "--track.wandb", "offline"])
        assert str(error.value) == (
            "--track.wandb offline needs the package wandb, which is not installed: "
            'pip install "jaxvit[wandb]", or leave it out'
        )
    assert parse(["digits"])[1].track.wandb is None


def test_a_resumed_run_may_have_another_tracker():
    assert may_change("track.wandb")
    assert may_change("track.wandb_project")


@pytest.mark.parametrize("main", [True, False])
def test_only_the_process_that_writes_has_trackers(main, tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr("jaxvit.runs.recorder.is_main", lambda: main)
    monkeypatch.setattr(Trackers, "begin", lambda self, lines: begun.append(lines))
    _, config = parse(["digits", "--out", str(tmp_path / "run")])
    one = Split(np.zeros((1, 1, 1, 1), np.uint8), np.zeros(1, int), np.zeros(1, np.int32), ())
    data, plan = Dataset(("a",), one, one, one), Plan(1, 1, 1)
    run, console = RunDirectory(config), make_console(quiet=True)
    recorder = Recorder(
        run, blank_task(), config, plan, data, make_devices(config), *[lambda *_: None] * 2, console
    )
    recorder._checkpoints = SimpleNamespace(save=None)  # of entering it
    recorder.around(lambda **_: (TrainState(0, {}, {}, (), None), 0.0))
    assert begun == [[]] * main


def hparams_tab(run):
    """What TensorBoard's HParams tab shows: each option, each metric, and the session's status."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import (
        api_pb2,
        backend_context,
        get_experiment,
        list_session_groups,
    )

    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(run.parent))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(run.parent))
    context, ask = backend_context.Context(TBContext(data_provider=provider)), RequestContext()
    experiment = get_experiment.Handler(ask, context, "", api_pb2.GetExperimentRequest()).run()
    request = api_pb2.ListSessionGroupsRequest(slice_size=9, allowed_statuses=[0, 1, 2, 3])
    request.col_params.extend(api_pb2.ColParams(metric=m.name) for m in experiment.metric_infos)
    (group,) = list_session_groups.Handler(ask, context, "", request).run().session_groups
    (session,) = group.sessions
    options = {name: getattr(x, x.WhichOneof("kind")) for name, x in group.hparams.items()}
    metrics = {x.name.tag: (x.value, x.training_step) for x in session.metric_values}
    return options, metrics, api_pb2.Status.Name(session.status)


def test_tensorboard_shows_every_option_and_the_test_s_metrics(uninterrupted):
    options, metrics, status = hparams_tab(uninterrupted)
    expected = flat(read(uninterrupted, "config.json"))
    for name, value in expected.items():
        shown = str(value) if isinstance(value, list) else value
        assert options.get(name) == shown, name
    summary = read(uninterrupted)
    scores = {name: value for name, value in summary.items() if name.startswith("test/")}
    assert len(scores) > 5
    for name, value in scores.items():
        assert metrics[name] == (pytest.approx(value), summary["scored_step"])
    assert status == "STATUS_SUCCESS"


def test_tensorboard_has_every_value_of_every_line(uninterrupted):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator(str(uninterrupted))
    accumulator.Reload()
    lines = lines_of(uninterrupted)
    names = {name for line in lines for name in line} - {"step", "epoch"}
    assert {x for x in accumulator.Tags()["scalars"] if not x.startswith("test/")} == names
    for name in names:
        found = [(event.step, event.value) for event in accumulator.Scalars(name)]
        assert found == [(x["step"], pytest.approx(x[name])) for x in lines if name in x]


def test_the_test_s_metrics_have_the_step_of_the_state_that_was_scored(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tracker = TensorBoard(parse(["digits"])[1], tmp_path, [])
    tracker.report({"test/loss": 0.5, "scored_step": 3, "steps": 9}, [])
    tracker.close(finished=True)
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("test/loss")] == [(3, 0.5)]


def test_each_event_is_on_disk_at_once(tmp_path):
    """A run that is killed has every event that it wrote."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tracker = TensorBoard(parse(["digits"])[1], tmp_path, [])
    tracker.log(numbered(4)[0])
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [4]
    tracker.close(finished=False)


def test_a_sketch_is_in_tensorboard_at_its_step(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        TensorBoard, "_write", lambda self, step, **what: written.append((step, list(what)))
    )
    _, config = parse(["digits", "--out", str(tmp_path)])
    tracker = TensorBoard(config, tmp_path, [])
    written.clear()
    tracker.show(7, {"samples": np.zeros((2, 4, 4, 1), np.uint8)})
    assert written == [(7, ["summary"])]
