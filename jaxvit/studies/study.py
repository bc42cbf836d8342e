"""What a study is: a question, configurations, seeds, and the metrics of its table."""

import re
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxvit.config import require
from jaxvit.errors import UserError

LABEL = re.compile(r"[A-Za-z0-9+][A-Za-z0-9+._-]*")  # also the name of a directory


class Metric(NamedTuple):
    """A number of summary.json.

    Attributes:
      path: its name; one inside another value follows that value's name and a slash, such as
        "best/val/accuracy".
      title: in the table and the figure.
      form: its format. A percentage makes the figure's axis one.
      optional: whether a run may be without it, as one of another method.
    """

    path: str
    title: str
    form: str = ".4f"
    optional: bool = False

    def read(self, summary: Mapping[str, Any], where: Path) -> float | None:
        """Its value in a finished run's summary; None where it is optional and not there.

        Args:
          summary: of summary.json.
          where: the run, for the message.

        Raises:
          UserError: the summary has no such number.
        """
        found, rest = summary, self.path
        while isinstance(found, Mapping):
            name = rest if rest in found else rest.partition("/")[0]
            found, rest = found.get(name), rest[len(name) + 1 :]
        if rest or isinstance(found, bool) or not isinstance(found, (int, float)):
            if self.optional:
                return None
            numbers = [name for name, value in summary.items() if isinstance(value, (int, float))]
            raise UserError(
                f"{where}/summary.json has no number {self.path!r}: name another metric, such as "
                f"{', '.join(numbers[:6])}"
            )
        return float(found)


# NLL is in nats, without label smoothing; see jaxvit.objectives.metrics.compute_metrics.
TEST_METRICS = (
    Metric("test/accuracy", "accuracy", ".2%"),
    Metric("test/loss", "NLL"),
    Metric("test/ece", "ECE"),
    Metric("test/mean_confidence", "confidence", ".2%"),
)


class Study(NamedTuple):
    """An experiment: every configuration is trained with each of the same seeds.

    Attributes:
      name: of its directory.
      question: one sentence, the title of its figure.
      configurations: label -> arguments of train_jax.py, the preset first; without --seed and
        --out. A label is also the name of a directory. The argument "{LABEL}" stands for the run of
        the configuration LABEL, further up, that has the same seed.
      baseline: the label that the others are compared with.
      seeds: how many, counted from 0.
      metrics: its table, from summary.json.
      follow_seed: options of train_jax.py that get the number of the seed, besides --seed.
      reliability: whether the figure also shows accuracy against confidence on the test split.
    """

    name: str
    question: str
    configurations: Mapping[str, tuple[str, ...]]
    baseline: str
    seeds: int = 5
    metrics: tuple[Metric, ...] = TEST_METRICS
    reliability: bool = False
    follow_seed: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises UserError for a study that cannot be run."""
        for label in (self.name, *self.configurations):
            require(
                bool(LABEL.fullmatch(label)),
                f"{label!r} of the study {self.name} is also a directory's name: use letters, "
                "digits and any of + . _ -",
            )
        require(
            self.baseline in self.configurations,
            f"the study {self.name} has no configuration {self.baseline!r} to be its baseline: "
            f"choose one of {', '.join(self.configurations)}",
        )
        before = set()
        for label, args in self.configurations.items():
            for other in filter(None, map(reference, args)):
                require(
                    other in before,
                    f"{label} of the study {self.name} starts from {other}, which is no "
                    f"configuration before it: choose one of {', '.join(before) or 'none'}",
                )
            before.add(label)
        require(bool(self.metrics), f"the study {self.name} has no metric: give it one")


def reference(arg: str) -> str | None:
    """The label that an argument of a configuration refers to, or None.

    Example:
      >>> reference("{resnet18}"), reference("resnet18")
      ('resnet18', None)
    """
    return arg[1:-1] if arg.startswith("{") and arg.endswith("}") else None


def read_study(path: Path) -> Study:
    """The study that a Python file assigns to STUDY. The file is executed.

    Raises:
      UserError: it cannot be executed, or defines no study.
    """
    try:
        found = runpy.run_path(str(path)).get("STUDY")
    except Exception as error:  # whatever the user's own file may raise
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} cannot be read as a study ({reason}): correct it") from error
    require(
        isinstance(found, Study),
        f"{path} defines no study: assign a jaxvit.studies.study.Study to STUDY",
    )
    return found
