"""The states a run keeps: the last one, and the best by validation accuracy."""

from pathlib import Path

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from jaxvit.state import TrainState

BEST_METRIC = "val/accuracy"


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
                    [LatestN(1), BestN(get_metric_fn=_best_metric, n=1)]
                ),
                best_fn=_best_metric,
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self._manager.close()

    def save(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Copies the state to the host and returns; the files follow in the background.

        Args:
          state: to keep under its step.
          metrics: kept beside it; BEST_METRIC decides which is best.
        """
        self._manager.save(
            int(state.step), args=ocp.args.StandardSave(state), metrics=metrics, force=True
        )

    def restore_best(self, like: TrainState) -> TrainState:
        """The state whose BEST_METRIC was highest.

        Args:
          like: a state of the same shapes, placed as the restored one is to be.
        """
        self._manager.wait_until_finished()
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        return self._manager.restore(
            self._manager.best_step(), args=ocp.args.StandardRestore(abstract)
        )


def _best_metric(metrics: dict[str, float]) -> float:
    return metrics[BEST_METRIC]
