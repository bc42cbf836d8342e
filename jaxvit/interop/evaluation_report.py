"""An evaluation as text for people, and as values for programs."""

from collections.abc import Sequence
from typing import Any

from jaxvit.data.preprocessing import Preprocessing
from jaxvit.interop.evaluation import (
    Evaluated,
    per_class,
    worst_errors,
)
from jaxvit.objectives.confusions import frequent_confusions
from jaxvit.paths import one_line

SHOWN = 10  # confusions, and errors
CLASSES_SHOWN = 40  # of more, the least accurate ones
OTHERS = ("precision_macro", "recall_macro", "f1_macro", "loss", "ece", "mean_confidence")


def as_text(evaluated: Evaluated, labels: Sequence[str]) -> str:
    """Scores, a line for each class, the most frequent confusions and the surest errors."""
    metrics, confusion = evaluated.metrics, evaluated.counts.confusion
    low, high = metrics["accuracy_low"], metrics["accuracy_high"]
    hits, n = int(confusion.trace()), int(confusion.sum())
    lines = [
        f"accuracy {metrics['accuracy']:.2%} (95 % interval {low:.2%} to {high:.2%}), "
        f"{hits} of {n} right",
        "macro precision {precision_macro:.3f}, recall {recall_macro:.3f}, F1 {f1_macro:.3f}; "
        "loss {loss:.3f}, ece {ece:.3f}, mean confidence {mean_confidence:.3f}".format(**metrics),
        "",
    ]
    classes, title = list(per_class(confusion, labels).items()), "classes"
    if missing := len(labels) - len(classes):
        title += f" ({missing} without images)"
    if len(classes) > CLASSES_SHOWN:
        classes = sorted(classes, key=lambda each: each[1]["accuracy"])[:CLASSES_SHOWN]
        title += f", the {CLASSES_SHOWN} least accurate"
    width = max(len(name) for name, _ in classes)
    lines += [f"{title:{width + 2}}  images  accuracy"]
    lines += [f"  {name:{width}}  {each['n']:6}  {each['accuracy']:8.1%}" for name, each in classes]
    if pairs := frequent_confusions(confusion, SHOWN):
        lines += ["", "most frequent confusions"]
        lines += [f"  {number:4} x {labels[i]} taken for {labels[j]}" for i, j, number in pairs]
        lines += ["", "errors of the highest confidence"]
        lines += [
            f"  {each.name}: {labels[each.predicted]} {each.confidence:.1%} "
            f"(is {labels[each.label]}, {each.label_probability:.1%})"
            for each in worst_errors(evaluated, SHOWN)
        ]
    return "\n".join(map(one_line, lines))


def as_values(
    evaluated: Evaluated, labels: Sequence[str], preprocessing: Preprocessing
) -> dict[str, Any]:
    """The same, and the whole confusion matrix: matrix[i][j] images of class i predicted as j."""
    metrics, confusion = evaluated.metrics, evaluated.counts.confusion
    return {
        "accuracy": metrics["accuracy"],
        "n": int(confusion.sum()),
        "interval": [metrics["accuracy_low"], metrics["accuracy_high"]],
        **{name: metrics[name] for name in OTHERS},
        "per_class": per_class(confusion, labels),
        "worst": [
            {
                "path": each.name,
                "class": labels[each.label],
                "predicted": labels[each.predicted],
                "confidence": each.confidence,
                "class_probability": each.label_probability,
            }
            for each in worst_errors(evaluated, SHOWN)
        ],
        "unreadable": list(evaluated.unreadable),
        "preprocessing": {
            **preprocessing.geometry._asdict(),
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
        },
        "confusion": {"class_names": list(labels), "matrix": confusion.tolist()},
    }
