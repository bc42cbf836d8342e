"""Every claim holds at quick sizes, and the certificate reports a claim that does not hold."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from parity_tests import certificate, mutation, mutations
from parity_tests.certificate import as_json
from parity_tests.certificate_page import write_page
from parity_tests.claims import CLAIMS
from parity_tests.evidence import Evidence, Finding, Row, distance, error

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_claim_holds(name):
    evidence = importlib.import_module(f"parity_tests.claims.{name}").measure(quick=True)
    assert evidence.rows
    failing = [row for row in evidence.rows if not row.holds]
    assert not failing


def test_the_ratio_of_errors_is_the_larger_of_the_ratios_by_maximum_and_by_rms():
    truth = np.array([3.0, -4.0])
    assert error(truth + [0, 0.4], truth) == (pytest.approx(0.1), pytest.approx(0.08))
    near, far = truth + 1e-3, truth + [0, 2e-3]
    row = distance("x", far, near, truth)
    assert row.value == pytest.approx(2.0)  # the ratio of maxima; that of rms is 1.4
    assert row.holds
    assert not distance("x", truth + 4e-3, near, truth).holds
    assert distance("x", truth + 1e-8, truth, truth).holds  # within FLOOR, so any ratio holds
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


def test_the_page_is_self_contained_and_names_every_failure(tmp_path):
    written = as_json(findings(), quick=True)
    assert not written["holds"]
    assert [claim["holds"] for claim in written["claims"]] == [True, False, False]
    write_page(tmp_path / "page.html", findings(), written)
    page = (tmp_path / "page.html").read_text()
    assert "A claim does not hold" in page
    assert "it broke" in page
    assert "a &lt;b&gt;" in page
    assert "http" not in page.replace("http://www.w3.org", "")  # no external resource
    assert '<meta name="viewport"' in page


def test_main_exits_with_1_for_a_failed_claim_and_2_for_a_bad_directory(
    tmp_path, monkeypatch, capsys
):
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


@pytest.mark.parametrize("each", mutations.MUTATIONS, ids=lambda each: each.name)
def test_a_mutation_matches_its_module_once_and_compiles(each):
    spec = importlib.util.find_spec(each.module)
    assert mutation._MutatedLoader(each, spec.origin).get_code(each.module)
    assert each.old != each.new
    assert (ROOT / each.seen_by.partition("::")[0]).is_file()


def test_mutations_have_names_of_their_own():
    assert len(mutations.MUTATIONS) >= 180
    assert len({each.name for each in mutations.MUTATIONS}) == len(mutations.MUTATIONS)


def test_without_torch_the_certificate_says_which_extra_to_install():
    script = (
        "import runpy, sys\n"
        "sys.modules['torch'] = None\n"
        "runpy.run_module('parity_tests.certificate', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2  # 1 says that a claim does not hold
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the certificate compares with PyTorch, which is not installed")
    assert '".[torch]"' in line
