"""An empty figure, the colours that all pictures share, and names as text."""

TRAIN, VAL, GREY = "#4477aa", "#cc6677", "#999999"


def make_figure(rows: int, columns: int, width: float, height: float):
    """A figure of width x height inches and its axes, an array (rows, columns).

    Without pyplot: no global state, no display. matplotlib is imported here because that takes as
    long as importing JAX, and a run plots last.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def literal(text: str) -> str:
    """A name as it is: matplotlib reads what stands between two dollars as mathematics."""
    return text.replace("$", r"\$")
