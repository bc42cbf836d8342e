"""Which checkpoints are written and kept."""

from dataclasses import dataclass

from jaxvit.config.checks import count, option


@dataclass(frozen=True)
class CheckpointConfig:
    """Which checkpoints are written and kept."""

    # Steps between two checkpoints beside those that validation writes; 0 disables these.
    every_steps: int = option(0, count(0, 10**9), may_change=True)
    # Number of the latest checkpoints that are kept, beside the best.
    keep: int = option(2, count(1, 10**6), may_change=True)
    # Number of the best checkpoints that are kept, by validation.
    keep_best: int = option(1, count(1, 10**6), may_change=True)
