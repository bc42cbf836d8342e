"""python -m parity_tests.certificate [--out DIR] [--quick]: are the two programs the same?

Measures every claim of parity_tests/claims/, prints a table, writes certificate.json and
certificate.html, and exits with 1 if a claim does not hold.
"""

import argparse
import dataclasses
import json
import platform
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import jax
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from jaxvit.runtime.machine import cores, processor
from parity_tests.certificate_page import write_page
from parity_tests.claims import CLAIMS
from parity_tests.evidence import Evidence, Finding, figure_of


def measure(name: str, quick: bool) -> Finding:
    """One claim, whatever it does: an error is a claim that does not hold."""
    claim = import_module(f"parity_tests.claims.{name}")
    began, failure = time.perf_counter(), None
    try:
        evidence = claim.measure(quick)
    except Exception as error:  # the other claims are still worth measuring
        evidence, failure = Evidence([]), f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - began
    return Finding(CLAIMS.index(name) + 1, claim.TITLE, evidence, seconds, failure)


def describe_machine() -> dict[str, str | int]:
    names = ("jax", "flax", "optax", "torch", "torchvision", "numpy")
    return {
        "device": jax.devices()[0].device_kind,
        "processor": processor(),
        "cores": cores(),
        "python": platform.python_version(),
        "matrix products": jax.config.jax_default_matmul_precision or "default precision",
        **{name: version(name) for name in names},
    }


def print_table(console: Console, findings: list[Finding]) -> None:
    table = Table(title="JAX's distance from float64, over PyTorch's own: the worst of each claim")
    for column in ("", "claim", "figures", "worst ratio (JAX : PyTorch)", "holds", "s"):
        table.add_column(column)
    for finding in findings:
        table.add_row(
            str(finding.number),
            finding.title,
            str(len(finding.evidence.rows)),
            figure_of(finding),
            "[green]yes[/]" if finding.holds else "[red]NO[/]",
            f"{finding.seconds:.0f}",
        )
    console.print(table)
    for finding in findings:
        for row in finding.evidence.rows:
            if not row.holds:
                console.print(
                    f"{finding.number}: {row.quantity}: {row.measure} {row.value:.4g}, but "
                    f"{row.limit}  {row.details or ''}",
                    highlight=False,
                    markup=False,
                )
        for note in finding.evidence.notes:
            console.print(f"{finding.number}: {note}", highlight=False, markup=False)


def as_json(findings: list[Finding], quick: bool) -> dict:
    return {
        "holds": all(finding.holds for finding in findings),
        "quick": quick,
        "machine": describe_machine(),
        "claims": [
            {
                "number": finding.number,
                "title": finding.title,
                "holds": finding.holds,
                "seconds": round(finding.seconds, 1),
                "failure": finding.failure,
                "notes": finding.evidence.notes,
                "rows": [dataclasses.asdict(row) for row in finding.evidence.rows],
            }
            for finding in findings
        ],
    }


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m parity_tests.certificate", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=Path("runs/certificate"), metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="smaller sizes: two minutes")
    parser.add_argument("--claims", nargs="+", choices=CLAIMS, default=CLAIMS, metavar="CLAIM",
                        help=f"only these of {', '.join(CLAIMS)}")  # fmt: skip
    options = parser.parse_args(args)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"error: --out {options.out} cannot be made ({error.strerror}): choose another place",
              file=sys.stderr)  # fmt: skip
        return 2
    # TF32, a GPU's default, keeps 10 bits.
    jax.config.update("jax_default_matmul_precision", "highest")
    torch.set_float32_matmul_precision("highest")
    console = Console()
    findings = []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=len(options.claims))
        for name in options.claims:
            bar.update(task, description=name)
            if not console.is_terminal:
                console.print(f"{name} ...")
            findings.append(measure(name, options.quick))
            bar.advance(task)
    print_table(console, findings)
    written = as_json(findings, options.quick)
    (options.out / "certificate.json").write_text(
        json.dumps(written, indent=1, default=float) + "\n"
    )
    write_page(options.out / "certificate.html", findings, written)
    verdict = "every claim holds" if written["holds"] else "a claim does NOT hold"
    console.print(f"{verdict}; see {options.out}/certificate.html", highlight=False)
    return 0 if written["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
