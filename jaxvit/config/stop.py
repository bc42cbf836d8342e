"""When training ends before its last epoch."""

from dataclasses import dataclass

from jaxvit.config.checks import count, option, within


@dataclass(frozen=True)
class StopConfig:
    """When training ends before its last epoch."""

    # Validations in a row without improvement after which training ends; 0 disables this.
    patience: int = option(0, count(0, 10**6))
    # Least improvement that counts, in the unit of the metric.
    min_delta: float = option(0.0, within(0, 1e6))
