"""How the step is spread over devices."""

from dataclasses import dataclass
from typing import Literal

from jaxvit.config.checks import option, require


@dataclass(frozen=True)
class ParallelConfig:
    """How the step is spread over devices."""

    mode: Literal["jit", "pmap"] = "jit"  # jit over a mesh, or pmap, for one process only.
    # Shard parameters, averages and optimiser state over the devices, and gather the parameters in
    # each step: less memory on each device, more communication in each step.
    shard_params: bool = option(False, may_change=True)

    def check(self) -> None:
        require(
            self.mode == "jit" or not self.shard_params,
            "--parallel.shard-params needs --parallel.mode jit: pmap copies the state to every "
            "device",
        )
