"""The pictures of a classifier's run."""

from typing import Any

import numpy as np

from jaxvit.config import Config
from jaxvit.data.decoded import Dataset
from jaxvit.objectives.confusions import surest_errors
from jaxvit.pictures.confusion import plot_confusion_matrix
from jaxvit.pictures.curves import Curve, plot_curves
from jaxvit.pictures.grids import plot_augmented, plot_mistakes
from jaxvit.pictures.reliability import plot_reliability
from jaxvit.training.task import Results

MAX_MISTAKES = 24


def draw_report(results: Results, config: Config, data: Dataset) -> dict[str, Any]:
    """Curves, confusion matrix, reliability, augmented images, and the surest mistakes."""
    class_names = data.class_names
    test, evaluation = results.test, results.evaluation
    predicted, counts = evaluation.outputs, evaluation.counts
    shares = np.bincount(data.val.labels, minlength=len(class_names)) / len(data.val)
    curves = (
        Curve("loss", ylabel="cross-entropy, nats"),
        Curve("accuracy", chance=float(shares.max()), limits=(0, 1), interval=True),
        Curve("learning_rate", limits=(0, None)),
    )
    wrong = surest_errors(test.labels, predicted.label, predicted.confidence, MAX_MISTAKES)
    figures = {
        "curves": plot_curves(results.lines, curves, results.best_step),
        "confusion_matrix": plot_confusion_matrix(
            counts.confusion, class_names, evaluation.metrics
        ),
        "reliability": plot_reliability(
            counts.bin_count, counts.bin_confidence, counts.bin_correct, evaluation.metrics["ece"]
        ),
        "mistakes": plot_mistakes(
            test.images(wrong),
            test.labels[wrong],
            predicted.label[wrong],
            predicted.confidence[wrong],
            predicted.label_probability[wrong],
            [test.names[row] for row in wrong],
            class_names,
        ),
    }
    if "images" in results.inputs:  # not where a head is trained on features
        figures["augmented_images"] = plot_augmented(
            results.inputs["images"],
            results.inputs["targets"],
            config.label_smoothing / len(class_names),
            class_names,
            config.data.mean,
            config.data.std,
        )
    return figures
