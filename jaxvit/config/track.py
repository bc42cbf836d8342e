"""Where the values of a run go beside its directory."""

from dataclasses import dataclass
from typing import Literal

from jaxvit.config.checks import needs_package, not_empty, option


@dataclass(frozen=True)
class TrackConfig:
    """Where the values of a run go beside its directory and TensorBoard."""

    # Weights & Biases: offline writes to OUT/wandb, which "wandb sync" uploads later; online
    # uploads while the run trains, which needs "wandb login". None leaves it out.
    wandb: Literal["offline", "online"] | None = option(
        None, needs_package("wandb", extra="wandb"), may_change=True
    )
    wandb_project: str = option("jaxvit", not_empty, may_change=True)  # The project's name there.
