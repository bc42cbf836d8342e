"""The states a run keeps: the last one, and the best on the validation split."""

from pathlib import Path

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from jaxvit.state import TrainState


def rank(metrics: dict[str, float]) -> tuple[float, float]:
    """What makes a state the best: the highest validation accuracy; of equals, the lowest loss.

    On a small split many epochs tie, and the first of them is rarely the best trained.
    """
    return metrics["val/accuracy"], -metrics["val/loss"]


class Checkpoints:
    """checkpoints/<step>/ for the last step and the best, written in the background by orbax.

    A directory appears under its final name only when it is whole. Use as a context manager:
    leaving it waits for the last write.
    """

    def __init__(self, directory: Path):
        self._manager = ocp.CheckpointManager(
            directory.absolute(),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=AnyPreservationPolicy(
                    [LatestN(1), BestN(get_metric_fn=rank, n=1)]
                ),
                best_fn=rank,
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self._manager.close()

    def save(self, state: TrainState, metrics: dict[str, float]) -> bool:
        """Copies the state to the host and returns whether it is the best so far.

        The files follow in the background.

        Args:
          state: to keep under its step.
          metrics: kept beside it; `rank` of them decides which state is best.
        """
        step = int(state.step)
        self._manager.save(step, args=ocp.args.StandardSave(state), metrics=metrics, force=True)
        return self._manager.best_step() == step

    def restore_best(self, like: TrainState) -> TrainState:
        """The state that ranks highest.

        Args:
          like: a state of the same shapes, placed as the restored one is to be.
        """
        self._manager.wait_until_finished()
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        return self._manager.restore(
            self._manager.best_step(), args=ocp.args.StandardRestore(abstract)
        )
