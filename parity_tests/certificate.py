"""python -m parity_tests.certificate [--out DIR] [--quick]: compares jaxvit with torch_ref.

Measures every claim of parity_tests/claims/, prints a table, and writes certificate.json and
certificate.html. Exits with 0 if every claim holds, with 1 if one does not, and with 2 if the
output directory cannot be created or PyTorch is not installed.
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
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

try:
    import torch
except ImportError:
    print(
        "error: the certificate compares with PyTorch, which is not installed: "
        'pip install -e ".[torch]"',
        file=sys.stderr,
    )
    sys.exit(2)

from jaxvit.runtime.machine import cores, processor
from parity_tests.certificate_page import write_page
from parity_tests.claims import CLAIMS
from parity_tests.evidence import Evidence, Finding, figure_of


def measure(name: str, quick: bool) -> Finding:
    """Measures one claim. An exception is recorded as the failure of that claim."""
    claim = import_module(f"parity_tests.claims.{name}")
    began, failure = time.perf_counter(), None
    try:
        evidence = claim.measure(quick)
    except Exception as error:  # the remaining claims are still measured
        evidence, failure = Evidence([]), f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - began
    return Finding(CLAIMS.index(name) + 1, claim.TITLE, evidence, seconds, failure)


def describe_machine() -> dict[str, str | int]:
    """The device, the processor, the matmul precision and the versions, for the certificate."""
    names = ("jax", "flax", "optax", "torch", "torchvision", "numpy")
    return {
        "device": jax.devices()[0].device_kind,
        "processor": processor(),
        "cores": cores(),
        "python": platform.python_version(),
        "matmul precision": jax.config.jax_default_matmul_precision or "default",
        **{name: version(name) for name in names},
    }


def print_table(console: Console, findings: list[Finding]) -> None:
    """Prints one line per claim, then every row that fails, then the notes."""
    table = Table(title="Largest ratio of errors: JAX's distance from float64 over PyTorch's")
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
                    f"{finding.number}: {row.quantity}: {row.measure} {row.value:.4g}, limit "
                    f"{row.limit}  {row.details or ''}",
                    highlight=False,
                    markup=False,
                )
        for note in finding.evidence.notes:
            console.print(f"{finding.number}: {note}", highlight=False, markup=False)


def as_json(findings: list[Finding], quick: bool) -> dict:
    """The content of certificate.json."""
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
    parser.add_argument("--out", type=Path, default=Path("runs/certificate"), metavar="DIR",
                        help="directory of certificate.json and certificate.html")  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="smaller sizes; takes about four minutes"
    )
    parser.add_argument("--claims", nargs="+", choices=CLAIMS, default=CLAIMS, metavar="CLAIM",
                        help=f"measure only these; all are {', '.join(CLAIMS)}")  # fmt: skip
    options = parser.parse_args(args)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"error: --out {options.out} cannot be created ({error.strerror}): "
              "give a directory that can be written to",
              file=sys.stderr)  # fmt: skip
        return 2
    # TF32, the default on GPUs, has a 10-bit mantissa.
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
