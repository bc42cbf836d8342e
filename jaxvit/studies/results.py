"""A study's results as files: study.json, study.csv, study.md and study.png."""

import csv
import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from jaxvit.interop.tables import write_text
from jaxvit.interop.weights_file import output_file
from jaxvit.pictures.study import Panel, plot_study
from jaxvit.runtime.interrupt import StopSignals
from jaxvit.studies.launch import check_signals
from jaxvit.studies.plan import Run, read_summary
from jaxvit.studies.reliability import BINS, Bins, add_bins, score_bins
from jaxvit.studies.statistics import Interval
from jaxvit.studies.study import Study
from jaxvit.studies.table import COLUMNS, Row, notes, tabulate

KEPT = ("params_sha256", "parameters", "epochs", "steps", "wall_sec", "device", "versions")


class Results(NamedTuple):
    """What a study found.

    Attributes:
      study: that was run.
      asked: its name on the command line.
      seeds: how many of each configuration.
      extra: arguments that every run was given.
      summaries: of the finished runs.
      failures: run -> why it failed.
      rows: the table.
      bins: by run, where the study draws reliability.
    """

    study: Study
    asked: str
    seeds: int
    extra: tuple[str, ...]
    summaries: Mapping[Run, Mapping[str, Any]]
    failures: Mapping[Run, str]
    rows: list[Row]
    bins: Mapping[Run, Bins]


def gather(
    study: Study,
    asked: str,
    seeds: int,
    extra: Sequence[str],
    finished: Sequence[Run],
    failures: Mapping[Run, str],
    out: Path,
    stop: StopSignals,
) -> Results:
    """The table, and the reliability of the runs whose bins an earlier study.json does not hold.

    Args:
      study, asked, seeds, extra, failures: see Results.
      finished: runs.
      out: of the study.
      stop: entered.

    Raises:
      UserError: a summary lacks a metric, or a run cannot be scored.
      Interrupted: a signal came.
    """
    summaries = {run: read_summary(run) or {} for run in finished}
    bins: dict[Run, Bins] = {}
    known = _known_bins(out / "study.json") if study.reliability else {}
    for run, summary in summaries.items() if study.reliability else ():
        found = known.get((run.label, run.seed, summary["params_sha256"]))
        bins[run] = found or score_bins(run, summary)
        check_signals(stop)
    rows = tabulate(study, summaries)
    return Results(study, asked, seeds, tuple(extra), summaries, failures, rows, bins)


def _known_bins(path: Path) -> dict[tuple[str, int, str], Bins]:
    """(label, seed, hash of the parameters) -> bins; whatever cannot be read is scored again."""
    try:
        runs = json.loads(path.read_text())["runs"]
        return {
            (each["label"], each["seed"], each["params_sha256"]): each["reliability"]
            for each in runs
            if set(each.get("reliability", ())) == set(BINS)
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write_results(results: Results, out: Path) -> None:
    """study.json, study.csv, study.md and study.png, each whole or not at all.

    Raises:
      UserError: one cannot be written.
    """
    write_text(out / "study.json", _as_json(as_values(results)))
    write_text(out / "study.md", as_markdown(results))
    with output_file(out / "study.csv") as file, file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["metric", "configuration", "n", "mean", "low", "high",
                         "difference", "difference_low", "difference_high", "pairs"])  # fmt: skip
        for row in results.rows:
            mean, other = row.mean, row.difference or Interval(math.nan, math.nan, math.nan, 0)
            numbers = (mean.n, *mean[:3], *other[:3], other.n)
            writer.writerow([row.metric, row.label, *map(_finite, numbers)])
    with output_file(out / "study.png") as file:
        draw(results).savefig(file, dpi=110, format="png")


def as_values(results: Results) -> dict[str, Any]:
    """Everything, for programs; null where there is no value."""
    study = results.study
    runs = [
        {"label": run.label, "seed": run.seed, "args": run.args}
        | {name: summary[name] for name in KEPT if name in summary}
        | {metric.path: metric.read(summary, run.path) for metric in study.metrics}
        | ({"reliability": results.bins[run]} if run in results.bins else {})
        for run, summary in results.summaries.items()
    ]
    return {
        "study": study.name,
        "question": study.question,
        "baseline": study.baseline,
        "seeds": results.seeds,
        "extra_arguments": results.extra,
        "notes": notes(results.rows, results.seeds, results.study.follow_seed),
        "failed": {str(run): reason for run, reason in results.failures.items()},
        "table": [
            {"metric": row.metric, "label": row.label, "mean": _as_dict(row.mean),
             "difference": _as_dict(row.difference)}
            for row in results.rows
        ],
        "runs": runs,
    }  # fmt: skip


def as_markdown(results: Results) -> str:
    """The question, the table, how to read it, and where and how it was measured."""
    study = results.study
    lines = [f"## {study.question}", "", "| " + " | ".join(COLUMNS) + " |"]
    lines += ["|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in results.rows if not row.lacks]
    lines += [
        "",
        *(f"- {note}" for note in notes(results.rows, results.seeds, results.study.follow_seed)),
    ]
    lines += [f"- Failed: {run}: {reason}" for run, reason in results.failures.items()]
    extra = ("--", *results.extra) if results.extra else ()
    options = shlex.join((results.asked, "--seeds", str(results.seeds), *extra))
    lines += [f"- {machine}" for machine in machines(results.summaries.values())]
    lines += [
        "",
        "```bash",
        f"python -m jaxvit study {options}",
        "```",
        "",
        "![Each seed, means and intervals](study.png)",
        "",
    ]
    return "\n".join(lines)


def machines(summaries: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each kind of device and versions that runs were trained with, and how many."""
    found: dict[str, int] = {}
    for summary in summaries:
        device, versions = summary.get("device", {}), summary.get("versions", {})
        text = f"{device.get('count')} x {device.get('kind')}, "
        text += ", ".join(f"{name} {number}" for name, number in versions.items())
        found[text] = found.get(text, 0) + 1
    return [f"{number} run(s) on {text}" for text, number in found.items()]


def show(results: Results, console: Console) -> None:
    """The same table on the terminal."""
    table = Table(title=results.study.question, box=SIMPLE_HEAD, padding=0)
    for index, column in enumerate(COLUMNS[1:]):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    for metric in dict.fromkeys(row.metric for row in results.rows):
        table.add_section()
        table.add_row(metric, style="bold")
        for row in results.rows:
            if row.metric == metric and not row.lacks:
                table.add_row(*row.cells()[1:])
    console.print(table)
    for note in notes(results.rows, results.seeds, results.study.follow_seed):
        console.print(note, highlight=False)


def draw(results: Results):
    """The figure of a study."""
    labels = list(results.study.configurations)
    panels = []
    for metric in results.study.metrics:
        rows = [row for row in results.rows if row.metric == metric.title]
        panels.append(
            Panel(
                metric.title,
                [[row.values.get(seed, math.nan) for seed in range(results.seeds)] for row in rows],
                [(row.mean.mean, row.mean.low, row.mean.high) for row in rows],
                percent=metric.form.endswith("%"),
            )
        )
    curves = {}
    for label in labels:
        parts = [bins for run, bins in results.bins.items() if run.label == label]
        if parts:
            curves[label] = tuple(add_bins(parts)[name] for name in BINS)
    return plot_study(results.study.question, labels, panels, curves)


def _as_json(values: Mapping[str, Any]) -> str:
    """With a line for each entry of a list."""
    lines = []
    for name, value in values.items():
        text = json.dumps(value)
        if isinstance(value, list) and value:
            text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        lines.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _as_dict(interval: Interval | None) -> dict[str, float | None] | None:
    return interval and {name: _finite(value) for name, value in interval._asdict().items()}


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value
