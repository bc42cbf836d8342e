"""What the host decides after each validation: the rate of a plateau, and an early end."""

from jaxvit.config import OptimConfig, StopConfig
from jaxvit.optim.plateau import plateau_drops, with_plateau_scale
from jaxvit.training.early_stopping import stops_after
from jaxvit.training.state import TrainState


class Decisions:
    """The monitored metric at each validation so far, and what follows from it.

    Nothing else is kept, so a run that is resumed decides as an uninterrupted one.

    Args:
      monitor: (metric, rises), the first pair of Task.monitor.
      optim: says whether the rate follows a plateau.
      stop: says when a run ends early.

    Attributes:
      ended: whether the validations so far end the run.
    """

    def __init__(self, monitor: tuple[str, bool], optim: OptimConfig, stop: StopConfig):
        metric, self._rises = monitor
        self._name = f"val/{metric}"
        self._optim, self._stop = optim, stop
        self._values: list[float] = []
        self.ended = False

    def resume(self, lines: list[dict[str, float]], last_step: int) -> None:
        """Takes the validations of a run that is resumed after a step.

        Args:
          lines: of metrics.jsonl. Those of later steps do not count: other processes may read the
            file before the one that writes has dropped them.
          last_step: the last one that is not taken again.
        """
        values = {line["step"]: line[self._name] for line in lines if self._name in line}
        self._values = [value for step, value in sorted(values.items()) if step <= last_step]
        self._decide()

    def add(self, metrics: dict[str, float]) -> None:
        """Takes a validation, by the names of metrics.jsonl."""
        self._values.append(metrics[self._name])
        self._decide()

    def _decide(self) -> None:
        patience, min_delta = self._stop.patience, self._stop.min_delta
        self.ended = (
            patience > 0 and stops_after(self._values, self._rises, patience, min_delta) is not None
        )

    def with_rate(self, state: TrainState) -> TrainState:
        """The state whose rate follows the validations so far, where the schedule is plateau."""
        optim = self._optim
        if optim.schedule != "plateau":
            return state
        drops = plateau_drops(
            self._values, self._rises, optim.patience, optim.threshold, optim.cooldown
        )
        scale = optim.gamma**drops
        return state._replace(
            opt_state=tuple(with_plateau_scale(each, scale) for each in state.opt_state)
        )
