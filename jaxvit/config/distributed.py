"""How a process finds the others."""

from dataclasses import dataclass

from jaxvit.config.checks import option, require


@dataclass(frozen=True)
class DistributedConfig:
    """How this process finds the others; under Slurm and on a TPU pod JAX finds them by itself."""

    # HOST:PORT of process 0, the same in every process.
    coordinator: str | None = option(None, may_change=True)
    num_processes: int | None = option(None, may_change=True)  # How many processes there are.
    process_id: int | None = option(None, may_change=True)  # Which of them this is, from 0.

    def check(self) -> None:
        given = [value is not None for value in vars(self).values()]
        require(
            all(given) or not any(given),
            "--distributed.coordinator, --distributed.num-processes and --distributed.process-id "
            "go together: give all three, or none",
        )
        if not any(given):
            return
        host, _, port = self.coordinator.rpartition(":")
        require(
            bool(host) and port.isascii() and port.isdecimal() and 0 < int(port) < 2**16,
            f"--distributed.coordinator {self.coordinator} is not HOST:PORT: give process 0's "
            "address, such as 10.0.0.1:1234",
        )
        require(
            1 <= self.num_processes <= 2**20,
            f"--distributed.num-processes {self.num_processes} is out of range: it must be at "
            "least 1",
        )
        require(
            0 <= self.process_id < self.num_processes,
            f"--distributed.process-id {self.process_id} is out of range: it must lie in "
            f"[0, {self.num_processes})",
        )
