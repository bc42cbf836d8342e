"""The stream of batches: every example once an epoch, from any step, divided among processes."""

import numpy as np

from jaxvit.command_line import parse
from jaxvit.data.decoded import Dataset, Split
from jaxvit.data.loader import prefetch_to_device, train_batches
from jaxvit.runs.directory import RunDirectory
from jaxvit.runs.progress import make_console
from jaxvit.runs.recorder import Recorder
from jaxvit.runtime.devices import Devices, make_devices
from jaxvit.training.fit import Plan
from tests.toy_tasks import blank_task


def numbered(size: int) -> Split:
    pixels = np.arange(size, dtype=np.uint8)[:, None, None, None]
    rows = np.arange(size)
    return Split(pixels, rows, rows.astype(np.int32), tuple(map(str, rows)))


def stream(split, steps, **options):
    batches = train_batches(split, 4, seed=5, **options)
    return np.array([next(batches)["label"] for _ in range(steps)])


def test_every_example_is_seen_once_an_epoch_in_a_new_order():
    seen = stream(numbered(10), 10).ravel().reshape(4, 10)
    np.testing.assert_array_equal(np.sort(seen, axis=1), np.tile(np.arange(10), (4, 1)))
    assert len({tuple(epoch) for epoch in seen}) == 4


def test_every_image_has_its_own_label():
    batches = train_batches(numbered(10), 4, seed=0)
    for _ in range(5):
        batch = next(batches)
        np.testing.assert_array_equal(batch["image"].ravel(), batch["label"])


def test_a_stream_can_start_at_any_step():
    np.testing.assert_array_equal(
        stream(numbered(10), 6, start_step=3), stream(numbered(10), 9)[3:]
    )


def test_the_rows_of_all_processes_form_the_whole_batch():
    whole = stream(numbered(10), 6)
    shares = [stream(numbered(10), 6, own=slice(2 * i, 2 * i + 2)) for i in range(2)]
    np.testing.assert_array_equal(np.concatenate(shares, axis=1), whole)


def test_prefetching_keeps_the_order_and_places_batches_ahead():
    placed = []

    def place(batch):
        placed.append(batch)
        return batch

    ahead = prefetch_to_device(iter(range(6)), place, 2)
    assert next(ahead) == 0
    assert placed == [0, 1, 2]
    assert list(ahead) == [1, 2, 3, 4, 5]


def test_the_index_is_the_position_in_the_split_and_is_given_on_request_only():
    split = Split(
        np.zeros((9, 1, 1, 1), np.uint8), np.arange(4, 9), np.arange(5, dtype=np.int32), ()
    )
    batch = next(train_batches(split, 4, seed=0, with_index=True))
    np.testing.assert_array_equal(batch["index"], batch["label"])  # label k is in row k
    assert batch["index"].dtype == np.int32
    assert "index" not in next(train_batches(split, 4, seed=0))


def test_a_run_places_as_many_batches_ahead_as_asked(tmp_path, monkeypatch):
    placed, place = [], Devices.place_batch

    def noted(self, batch):
        placed.append(batch)
        return place(self, batch)

    monkeypatch.setattr(Devices, "place_batch", noted)
    _, config = parse(["--data.prefetch-batches", "5", "--out", str(tmp_path / "run")])
    data, plan = Dataset(("a",), *[numbered(8)] * 3), Plan(8, config.batch_size, 1)
    run, console = RunDirectory(config), make_console(quiet=True)
    recorder = Recorder(
        run, blank_task(), config, plan, data, make_devices(config), *[lambda *_: None] * 2, console
    )
    next(recorder.batches(start_step=0))
    assert len(placed) == 1 + 5
