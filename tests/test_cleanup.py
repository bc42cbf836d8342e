"""Directories that are there whole or not at all."""

import os

import pytest

from jaxvit.cleanup import whole_directory


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
