"""certificate.html: one self-contained file, readable on a screen of any width."""

import base64
import html
import io
import re
from pathlib import Path

from matplotlib import colormaps
from matplotlib.figure import Figure

from parity_tests.comparison import FLOOR, RATIO
from parity_tests.evidence import Evidence, figure_of

STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #cf222e; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.2; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .5rem; text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.rows td { white-space: nowrap; }
.yes { color: var(--good); } .no { color: var(--bad); font-weight: bold; }
summary { cursor: pointer; padding: .5rem 0; font-weight: 600; }
img { width: 100%; height: auto; background: #fff; border-radius: 4px; }
figure { margin: 1rem 0; } figcaption, .small { font-size: .875rem; opacity: .8; }
"""


def picture(figure: Figure, caption: str) -> str:
    """The HTML of a figure, embedded as SVG."""
    file = io.BytesIO()
    figure.savefig(file, format="svg")
    data = base64.b64encode(file.getvalue()).decode()
    text = html.escape(caption)
    return (
        f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{text}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def scatter(findings) -> Figure:
    """One point per quantity: x is PyTorch's maximum distance from float64, y is JAX's.

    Distances are relative and on logarithmic axes.
    """
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axis = figure.subplots()
    tiny = 1e-10  # the smallest distance shown
    for finding in findings:
        rows = [row.details for row in finding.evidence.rows if "jax_max" in row.details]
        if rows:
            axis.loglog(
                [max(row["torch_max"], tiny) for row in rows],
                [max(row["jax_max"], tiny) for row in rows],
                ".",
                markersize=5,
                alpha=0.6,
                color=colormaps["tab20"]((finding.number - 1) % 20),
                label=f"{finding.number} {re.split('[:,]', finding.title)[0]}",
            )
    ends = [tiny, 0.1]
    axis.plot(ends, ends, color="0.5", linewidth=1)
    axis.plot(ends, [RATIO * x for x in ends], color="tab:red", linewidth=1, linestyle="--")
    axis.axhline(FLOOR, color="0.5", linewidth=1, linestyle=":")
    axis.text(ends[1], ends[1], "equal ", ha="right", va="top", fontsize=8, rotation=38)
    axis.text(ends[1] / RATIO, ends[1], f"{RATIO:g} times ", ha="right", va="top",
              fontsize=8, color="tab:red")  # fmt: skip
    axis.text(tiny, FLOOR, " floor", va="bottom", fontsize=8, color="0.4")
    axis.set_xlabel("PyTorch float32: relative maximum distance from float64")
    axis.set_ylabel("JAX float32: relative maximum distance from float64")
    if axis.get_legend_handles_labels()[0]:
        figure.legend(frameon=False, fontsize=8, loc="outside right center")
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def rows_table(evidence: Evidence) -> str:
    """The HTML table of the rows of one claim."""
    lines = []
    for row in evidence.rows:
        details = ", ".join(f"{name} {value:.2g}" for name, value in row.details.items())
        verdict = '<td class="yes">yes</td>' if row.holds else '<td class="no">NO</td>'
        lines.append(
            f"<tr><td>{html.escape(row.quantity)}</td><td>{html.escape(row.measure)}</td>"
            f'<td class="number">{row.value:.3g}</td><td>{html.escape(row.limit)}</td>{verdict}'
            f"<td>{html.escape(details)}</td></tr>"
        )
    head = "<tr><th>quantity<th>measure<th class=number>value<th>limit<th>holds<th>figures</tr>"
    return f'<div class="wide"><table class="rows">{head}{"".join(lines)}</table></div>'


def write_page(path: Path, findings, written: dict) -> None:
    """Writes certificate.html.

    Args:
      path: the file.
      findings: a list of evidence.Finding.
      written: the content of certificate.json.
    """
    verdict = "Every claim holds" if written["holds"] else "A claim does not hold"
    machine = ", ".join(f"{name} {value}" for name, value in written["machine"].items())
    overview, details = [], []
    for finding in findings:
        mark = '<td class="yes">yes</td>' if finding.holds else '<td class="no">NO</td>'
        overview.append(
            f'<tr><td class="number">{finding.number}</td><td>{html.escape(finding.title)}</td>'
            f'<td class="number">{len(finding.evidence.rows)}</td>'
            f"<td>{html.escape(figure_of(finding))}</td>{mark}</tr>"
        )
        pictures = "".join(picture(f, c) for c, f in finding.evidence.figures.items())
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in finding.evidence.notes)
        details.append(
            f"<details{'' if finding.holds else ' open'}><summary>{finding.number}. "
            f"{html.escape(finding.title)}</summary>{notes}{rows_table(finding.evidence)}"
            f"</details>{pictures}"
        )
    count = sum(len(finding.evidence.rows) for finding in findings)
    kind = "quick" if written["quick"] else "full"
    text = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>jaxvit: parity certificate</title><style>{STYLE}</style></head><body>
<h1>Parity certificate: jaxvit and its PyTorch twin</h1>
<p><b class="{"yes" if written["holds"] else "no"}">{verdict}</b>: {count} figures of
{len(findings)} claims ({kind}).</p>
<p>The reference is the PyTorch model in float64. JAX and PyTorch in float32 (in bfloat16 for claim
11) are compared with it. The ratio of errors is JAX's distance from the reference over PyTorch's.
Distances are relative. The ratio is computed for the maxima and for the root mean squares,
and the larger one counts. It may be at most {RATIO:g}, unless JAX's distance is at most {FLOOR:g}.
Random draws are compared by statistical tests, whose significance levels were fixed beforehand.
Where values have to be equal, the differences are counted.</p>
<p class="small">{html.escape(machine)}</p>
<div class="wide"><table><tr><th class="number">&nbsp;<th>claim<th class="number">figures
<th>worst ratio (JAX : PyTorch)<th>holds</tr>{"".join(overview)}</table></div>
{picture(scatter(findings), "Distances from float64; on the grey line they are equal")}
<h2>All figures</h2>{"".join(details)}
</body></html>
"""
    path.write_text(text)
