"""The claims of the certificate hold at quick sizes, and it says so when one does not."""

import importlib
import json

import numpy as np
import pytest

from parity_tests import certificate, mutations
from parity_tests.certificate import as_json
from parity_tests.certificate_page import write_page
from parity_tests.claims import CLAIMS
from parity_tests.evidence import Evidence, Finding, Row, distance, error


@pytest.mark.parametrize("name", CLAIMS)
def test_claim_holds(name):
    evidence = importlib.import_module(f"parity_tests.claims.{name}").measure(quick=True)
    assert evidence.rows
    failing = [row for row in evidence.rows if not row.holds]
    assert not failing


def test_a_distance_is_relative_and_compared_by_its_worse_measure():
    truth = np.array([3.0, -4.0])
    assert error(truth + [0, 0.4], truth) == (pytest.approx(0.1), pytest.approx(0.08))
    near, far = truth + 1e-3, truth + [0, 2e-3]
    row = distance("x", far, near, truth)
    assert row.value == pytest.approx(2.0)  # by the maxima; by rms it is 1.4
    assert row.holds
    assert not distance("x", truth + 4e-3, near, truth).holds
    assert distance("x", truth + 1e-8, truth, truth).holds  # within the floor, whatever the ratio
    assert not distance("x", truth + np.nan, near, truth).holds
    with pytest.raises(ValueError, match="0 everywhere"):
        error(truth, np.zeros(2))
    with pytest.raises(ValueError, match="differ"):
        error(np.zeros(3), truth)


def findings() -> list[Finding]:
    details = dict.fromkeys(("jax_max", "jax_rms", "torch_max", "torch_rms"), 1e-7)
    good = Row("a <b>", "ratio of errors", 1.0, "at most 3", True, details)
    bad = Row("c", "differing bytes", 2, "0", False)
    return [
        Finding(1, "Forward", Evidence([good], notes=["a note"]), 1.0),
        Finding(2, "Gradients", Evidence([good, bad]), 1.0),
        Finding(3, "Dropout", Evidence([]), 1.0, failure="ValueError: it broke"),
    ]


def test_the_page_is_one_file_that_names_what_fails(tmp_path):
    written = as_json(findings(), quick=True)
    assert not written["holds"]
    assert [claim["holds"] for claim in written["claims"]] == [True, False, False]
    write_page(tmp_path / "page.html", findings(), written)
    page = (tmp_path / "page.html").read_text()
    assert "A claim does not hold" in page
    assert "it broke" in page
    assert "a &lt;b&gt;" in page
    assert "http" not in page.replace("http://www.w3.org", "")  # it needs nothing but itself
    assert '<meta name="viewport"' in page


def test_a_claim_that_does_not_hold_is_the_exit_code(tmp_path, monkeypatch, capsys):
    results = {"losses": Evidence([Row("x", "difference", 2.0, "at most 1", False)])}
    module = importlib.import_module("parity_tests.claims.losses")
    monkeypatch.setattr(module, "measure", lambda quick: results["losses"])
    options = ["--quick", "--out", str(tmp_path), "--claims", "losses"]
    assert certificate.main(options) == 1
    assert "does NOT hold" in capsys.readouterr().out
    assert json.loads((tmp_path / "certificate.json").read_text())["holds"] is False
    results["losses"] = Evidence([Row("x", "difference", 0.0, "at most 1", True)])
    assert certificate.main(options) == 0
    assert certificate.main([*options[:1], "--out", "/dev/null/x"]) == 2


def test_every_mutation_finds_its_text_once_and_still_compiles():
    assert len(mutations.MUTATIONS) >= 30
    assert len({mutation.name for mutation in mutations.MUTATIONS}) == len(mutations.MUTATIONS)
    for mutation in mutations.MUTATIONS:
        spec = importlib.util.find_spec(mutation.module)
        loader = mutations._MutatedLoader(mutation, spec.origin)
        assert loader.get_code(mutation.module)
        assert mutation.old != mutation.new
