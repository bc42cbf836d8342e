"""When a run ends before its last epoch."""

from collections.abc import Sequence


def stops_after(
    values: Sequence[float], rises: bool, patience: int, min_delta: float = 0.0
) -> int | None:
    """The number of validations after which a run ends, or None where training continues.

    It ends with the `patience`-th validation in a row that is not better than the best so far by
    more than `min_delta`.

    Args:
      values: of the metric, one for each validation, in order.
      rises: whether more is better.
      patience: at least 1.
      min_delta: least improvement, at least 0, in the unit of the metric.

    Source: Lightning's EarlyStopping.

    Example:
      >>> stops_after([0.7, 0.8, 0.79, 0.8, 0.9], rises=True, patience=2)
      4
    """
    best, waited = None, 0
    for number, value in enumerate(values, 1):
        gain = None if best is None else (value - best if rises else best - value)
        if gain is None or gain > min_delta:
            best, waited = value, 0
        else:
            waited += 1
        if waited >= patience:
            return number
    return None
