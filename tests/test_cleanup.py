"""Directories that are there whole or not at all."""

import os
import threading

import pytest

from jaxvit import cleanup
from jaxvit.cleanup import remove_all, removed_later, removed_on_exit, whole_directory


def test_the_directory_of_another_process_of_the_same_number_stays(tmp_path):
    """As in two containers that share a disk, or after a process that was killed."""
    with whole_directory(tmp_path / "out") as theirs:
        (theirs / "file").write_text("theirs")
        assert str(os.getpid()) in theirs.name
        with whole_directory(tmp_path / "out") as ours:
            assert ours != theirs
        assert (theirs / "file").read_text() == "theirs"
        (tmp_path / "out").rmdir()
    assert (tmp_path / "out" / "file").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_nothing_is_left_of_what_fails(tmp_path):
    def fails():
        with whole_directory(tmp_path / "out") as staging:
            (staging / "file").write_text("")
            raise ValueError("fails")

    with pytest.raises(ValueError, match="fails"):
        fails()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def remove(monkeypatch):
    """Starts to remove what is half written, in a thread that stays; gives the event of its end."""
    monkeypatch.setattr(cleanup, "_in_order", threading.RLock())
    monkeypatch.setattr(cleanup, "_paths", set())
    removed = threading.Event()

    def run():
        remove_all()
        removed.set()
        threading.Event().wait()

    def start():
        threading.Thread(target=run, daemon=True).start()
        return removed

    return start


def test_a_directory_that_is_being_made_is_removed_after_that(tmp_path, remove):
    with removed_on_exit(tmp_path / "half"):
        with removed_later():
            removed = remove()
            assert not removed.wait(0.2)
            (tmp_path / "half").mkdir()
        assert removed.wait(10)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_made_once_all_is_removed(tmp_path, remove):
    assert remove().wait(10)

    def make():
        with whole_directory(tmp_path / "out"):
            pass

    late = threading.Thread(target=make, daemon=True)
    late.start()
    late.join(0.2)
    assert late.is_alive()
    assert list(tmp_path.iterdir()) == []
