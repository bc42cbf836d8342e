"""Accuracy against confidence on the test split, from what a finished run has left."""

from typing import Any

import numpy as np

from jaxvit.errors import UserError
from jaxvit.interop.evaluation import evaluate_images
from jaxvit.interop.labelled import labelled_split
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.predictions import make_classifier
from jaxvit.studies.plan import Run

BINS = ("bin_count", "bin_confidence", "bin_correct")
Bins = dict[str, list[float]]  # name of BINS -> (M,) sums; see jaxvit.objectives.metrics.Counts
TOLERANCE = 1e-3  # of mean confidence: a compiled program for another batch size rounds otherwise


def score_bins(run: Run, summary: dict[str, Any]) -> Bins:
    """Scores the run's test split again, as python -m jaxvit evaluate RUN test does.

    Args:
      run: finished.
      summary: its summary.json.

    Raises:
      UserError: the run cannot be read, its images are not found, or its weights are not those
        that its summary speaks of.
    """
    path = str(run.path)
    labelled = labelled_split(path, "test", run.config.data.dir)
    found = evaluate_images(make_classifier(load_pretrained(path)), labelled)
    before, now = summary.get("test/mean_confidence"), found.metrics["mean_confidence"]
    if before is None or abs(before - now) > TOLERANCE:
        raise UserError(
            f"{path}: the weights have a mean confidence of {now:.4f} on the test split, but its "
            f"summary.json says {before}: train it again"
        )
    return {name: np.asarray(getattr(found.counts, name)).tolist() for name in BINS}


def add_bins(parts: list[Bins]) -> Bins:
    """The sums over several runs: those of all their predictions together."""
    return {name: np.sum([part[name] for part in parts], axis=0).tolist() for name in BINS}
