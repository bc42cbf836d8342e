"""What became of every tensor of a weights file, to be printed."""

import re
from collections.abc import Iterable
from typing import NamedTuple


class Row(NamedTuple):
    """One tensor.

    Attributes:
      tensor: its name in the file.
      shape: in the file.
      fate: "loaded", "loaded, resized ...", "dropped: reason" or "new: reason".
      ours: the parameter that it is, or is a part of.
    """

    tensor: str
    shape: tuple[int, ...]
    fate: str
    ours: str | None = None


class Report(NamedTuple):
    """Every tensor, and where the settings come from.

    Attributes:
      title: the file and its layout.
      rows: every tensor of the file, and those that the file lacked.
      lines: where settings come from.
      warnings: lines that ask for a decision of the user.
    """

    title: str
    rows: tuple[Row, ...]
    lines: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A table; tensors of layers that share shape and fate are one line."""
        lines: dict[tuple[str, tuple[int, ...], str], list[int]] = {}
        for row in self.rows:
            number = re.search(r"(?<=[._\[/])\d+(?=[./\]])", row.tensor)
            pattern = row.tensor
            if number:
                pattern = row.tensor[: number.start()] + "*" + row.tensor[number.end() :]
            key = (pattern, row.shape, row.fate)
            lines.setdefault(key, []).append(int(number.group()) if number else -1)
        table = [
            (pattern.replace("*", _span(layers)), " x ".join(map(str, shape)) or "scalar", fate)
            for (pattern, shape, fate), layers in lines.items()
        ]
        widths = [max((len(cells[i]) for cells in table), default=0) for i in (0, 1)]
        body = [
            f"  {name:<{widths[0]}}  {shape:<{widths[1]}}  {fate}" for name, shape, fate in table
        ]
        warned = [f"warning: {line}" for line in self.warnings]
        return "\n".join([self.title, *body, *self.lines, *warned])

    def brief(self) -> tuple[str, ...]:
        """Lines: the title, what was not simply loaded, where settings come from, and warnings."""
        changed = [f"{row.tensor}: {row.fate}" for row in self.rows if row.fate != "loaded"]
        warned = [f"warning: {line}" for line in self.warnings]
        return (
            f"weights: {self.title}",
            *(f"  {line}" for line in (*changed, *self.lines, *warned)),
        )


def joined(values: Iterable[float]) -> str:
    """Numbers as 0.485/0.456/0.406."""
    return "/".join(f"{value:.4g}" for value in values)


def _span(layers: list[int]) -> str:
    """0, 1, 2 -> "{0..2}"."""
    layers = sorted(layers)
    if len(layers) == 1:
        return str(layers[0])
    if layers == list(range(layers[0], layers[0] + len(layers))):
        return f"{{{layers[0]}..{layers[-1]}}}"
    return "{" + ",".join(map(str, layers)) + "}"
