"""What counts as a mutation that was seen."""

import signal

import pytest

from parity_tests.mutate import NoVerdict, first_failure, name_of

TESTS = ["tests/a.py"]


@pytest.mark.parametrize(
    "line",
    [
        "FAILED tests/a.py::test_x[two words] - AssertionError: 1 - 2",
        "FAILED tests/a.py::test_x[two words]",
        "ERROR tests/a.py::test_x[two words] - RuntimeError",  # of a fixture
    ],
)
def test_a_test_that_fails_has_seen_it(line):
    assert first_failure(1, f"...F\n{line}\n!!!\n", TESTS) == "tests/a.py::test_x[two words]"


def test_a_program_that_aborts_has_failed():
    found = first_failure(-signal.SIGABRT, "Fatal Python error", TESTS)
    assert name_of(found) == "tests/a.py"


def test_nothing_was_seen_where_all_tests_pass():
    assert first_failure(0, "... [100%]", TESTS) is None


@pytest.mark.parametrize(
    ("code", "said"),
    [(2, "ERROR tests/a.py - SyntaxError: invalid"), (1, ""), (3, "INTERNALERROR>"), (5, "")],
)
def test_a_file_that_cannot_be_collected_has_seen_nothing(code, said):
    with pytest.raises(NoVerdict, match=f"tests/a.py: exit code {code}"):
        first_failure(code, said, TESTS)
