"""A task's training in a run directory: resumed, logged, validated, saved and reported."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from jaxvit.config import Config, DistributedConfig
from jaxvit.data.decoded import Dataset, describe
from jaxvit.data.loader import prefetch_to_device, train_batches
from jaxvit.errors import Diverged, Interrupted, UserError
from jaxvit.runs.checkpoint import Checkpoints
from jaxvit.runs.decisions import Decisions
from jaxvit.runs.directory import RunDirectory
from jaxvit.runs.progress import TrainingProgress, say_on
from jaxvit.runs.saved_items import make_rank
from jaxvit.runs.sketches import read_sketches, write_sketch
from jaxvit.runs.tracking import Trackers
from jaxvit.runtime.devices import Devices
from jaxvit.runtime.digest import sha256, to_host
from jaxvit.runtime.distributed import check_same, is_main, largest, wait_for_all
from jaxvit.runtime.interrupt import StopSignals
from jaxvit.runtime.machine import describe_machine
from jaxvit.training.evaluate import Refresh, Score
from jaxvit.training.fit import Plan, averages_epochs
from jaxvit.training.state import TrainState, weights_of
from jaxvit.training.steps import prepared_sample
from jaxvit.training.task import Batch, Results, Task

WORTH_SAYING_SEC = 90  # of training left, below which no estimate is printed


def prefixed(split: str, metrics: dict[str, float]) -> dict[str, float]:
    """error -> split/error, and so on."""
    return {f"{split}/{name}": value for name, value in metrics.items()}


class Recorder:
    """Everything around the loop of `fit`, for any task. Use as a context manager around it.

    Args:
      run: the directory, entered.
      task: what is trained.
      config: of the run.
      plan: its steps and epochs.
      data: its three splits.
      devices: where batches are placed.
      score, refresh: see jaxvit.training.evaluate.make_score and make_refresh.
      console: where progress is shown.

    Raises:
      UserError: on entering: the data or the configuration is not that of the run to resume, or a
        finished run would end at once although it is given more epochs.
      Diverged: on leaving after a loss that was not finite, with advice.
    """

    def __init__(
        self,
        run: RunDirectory,
        task: Task,
        config: Config,
        plan: Plan,
        data: Dataset,
        devices: Devices,
        score: Score,
        refresh: Refresh,
        console: Console,
    ):
        self._run, self._task, self._config, self._plan = run, task, config, plan
        self._data, self._devices, self._score, self._refresh = data, devices, score, refresh
        self._say = say_on(console)
        self._estimated = False
        self._earlier_sec = 0.0  # that a run which is resumed has taken before
        self._trackers = Trackers(config, run.path, self._say)
        self._decisions = Decisions(task.monitor[0], config.optim, config.stop)
        self._progress = TrainingProgress(console, plan.total_steps, config.epochs, task.headline)
        # Asking the other processes is a wait.
        self._stop = StopSignals(largest, 10 if jax.process_count() > 1 else 1)

    def __enter__(self) -> "Recorder":
        config, run = self._config, self._run
        described = describe(self._data) | {"pretrained_sha256": self._task.pretrained_sha256}
        facts = dict(self._task.facts)
        check_same(
            {
                "options": [repr(replace(config, distributed=DistributedConfig()))],
                "--distributed.num-processes": config.distributed.num_processes,
                "images": described,
                "choices before training": facts,
                "run directory": run.resumes,
            }
        )
        if run.extends:
            self._refuse_to_end_at_once()
        # An older run in the same place is untouched until here.
        run.open(described | {"facts": facts}, self._task.pretrained_table)
        wait_for_all("the run directory is there")
        if config.grad_accum_steps > 1 and self._task.couples:
            self._say(
                "this method relates the examples of a batch to each other: with "
                f"--grad-accum-steps {config.grad_accum_steps} only those of one part, which is "
                "another step than without it"
            )
        self._checkpoints = Checkpoints(
            run.checkpoints,
            self._task.monitor,
            config.checkpoint.keep,
            warn=self._say,
            keep_best=config.checkpoint.keep_best,
        )
        return self

    def __exit__(self, kind, error, trace) -> None:
        try:
            self._trackers.close(finished=error is None)
            if isinstance(error, Diverged):
                raise Diverged(f"{error}: {self._after_divergence()}") from error
        finally:
            self._checkpoints.__exit__(kind, error, trace)

    def _refuse_to_end_at_once(self) -> None:
        self._decisions.resume(self._run.read_metrics(), self._plan.total_steps)
        if self._decisions.ended:
            raise UserError(
                f"--extend: by --stop.patience {self._config.stop.patience} the run in --out "
                f"{self._config.out} would end at once: give a larger --stop.patience, or 0"
            )

    def resume(self, state: TrainState) -> TrainState:
        """The state to start from: the newest checkpoint of a run that is resumed, or `state`."""
        if not self._run.resumes:
            return state
        state = self._checkpoints.restore_latest(like=state) or state
        self._run.rewind(int(state.step))
        lines = self._run.read_metrics()
        self._earlier_sec = max((line.get("elapsed_sec", 0.0) for line in lines), default=0.0)
        self._decisions.resume(lines, int(state.step))
        if int(state.step) == 0:
            self._say(f"starting {self._config.out} again: no checkpoint had been written yet")
            return state
        self._say(f"resuming {self._config.out} after step {int(state.step)}")
        if numbers := self._run.extended_from():
            self._say(
                f"this run was finished with {numbers[-1]} epochs and is given "
                f"{self._config.epochs}: the schedule continues as that of {self._config.epochs}, "
                "so the result is not that of a fresh run"
            )
        return state

    def batches(self, start_step: int) -> Iterator[Batch]:
        """The training batches from a step on, placed on the devices ahead of their use."""
        config, devices = self._config, self._devices
        host = train_batches(
            self._data.train,
            config.batch_size,
            config.seed,
            start_step=start_step,
            own=devices.own_rows(config.batch_size),
            with_index=self._task.uses_index,
        )
        return prefetch_to_device(host, devices.place_batch, config.data.prefetch_batches)

    def around(self, loop: Callable[..., tuple[TrainState, float]]) -> tuple[TrainState, float]:
        """Runs the loop of `fit` under a progress bar, stopping at a signal.

        Args:
          loop: `fit`, with all but its hooks given.

        Raises:
          Interrupted: a signal stopped it; everything is saved.
        """
        config = self._config
        if is_main():
            self._trackers.begin(self._run.read_metrics())
        with self._progress, self._stop:
            state, compile_sec = loop(
                log_every_steps=config.log_every_steps,
                on_log=self._on_log,
                on_epoch=self._on_epoch,
                on_save=self._checkpoints.save,
                save_every_steps=config.checkpoint.every_steps,
                should_stop=self._stop.should_stop,
                ended=lambda: self._decisions.ended,
            )
            stopped = self._stop.stopped()
        if stopped:
            step, total = int(state.step), self._plan.total_steps
            self._checkpoints.wait()
            done = step == total or self._decisions.ended
            rest = "writes the report" if done else "resumes from there"
            raise Interrupted(
                f"stopped after step {step} of {total}, with everything saved in {config.out}: "
                f"the same command {rest}",
                self._stop.agreed,
            )
        return state, compile_sec

    def _on_log(self, step: int, metrics: dict[str, float]) -> None:
        epoch = self._plan.epoch_of(step)
        self._log(step, epoch, metrics)
        self._progress.step(step, epoch, metrics)
        if "images_per_sec" in metrics and not self._estimated:
            self._estimated = True
            left = (self._plan.total_steps - step) * self._plan.batch_size
            if (seconds := left / metrics["images_per_sec"]) > WORTH_SAYING_SEC:
                self._say(
                    f"about {seconds / 60:.0f} minutes of training left, at "
                    f"{metrics['images_per_sec']:,.0f} images/s"
                )

    def _on_epoch(self, step: int, state: TrainState) -> TrainState:
        epoch = self._plan.epoch_of(step)
        if averages_epochs(self._config.optim, self._plan, step):
            first_epoch = islice(self.batches(0), self._plan.end_of(1))
            state = state._replace(averages=self._refresh(state.averages, first_epoch))
        weights = weights_of(self._task, state)
        evaluation = self._score(weights, self._data.val)
        metrics = prefixed("val", evaluation.metrics)
        self._log(step, epoch, metrics)
        if self._task.sketch is not None:
            self._keep(step, self._task.sketch(evaluation))
        if line := self._task.alarm(evaluation.metrics):
            self._say(line)
        self._decisions.add(metrics)
        score = metrics if self._may_be_best(step) else None
        state = self._decisions.with_rate(state)
        is_best = self._checkpoints.save(state, score)
        self._progress.epoch(epoch, step, metrics, is_best)
        return state

    def _may_be_best(self, step: int) -> bool:
        """Whether the weights after a step compete: with SWA only those that are an average do."""
        optim = self._config.optim
        return not optim.swa_start or averages_epochs(optim, self._plan, step)

    def _keep(self, step: int, sketches: dict[str, np.ndarray]) -> None:
        if is_main():
            for name, images in sketches.items():
                write_sketch(self._run.path, name, step, images)
            self._trackers.show(step, sketches)

    def _log(self, step: int, epoch: int, metrics: dict[str, float]) -> None:
        metrics = metrics | {"elapsed_sec": self._elapsed_sec()}
        self._run.log(step, epoch, metrics)
        self._trackers.log({"step": step, "epoch": epoch} | metrics)

    def _elapsed_sec(self) -> float:
        """Since the run began, in all its processes; what a resumed one takes again counts once."""
        return self._earlier_sec + time.perf_counter() - self._run.began

    def _after_divergence(self) -> str:
        optim, step = self._config.optim, self._checkpoints.latest_step
        advice = f"lower --optim.lr {optim.lr:g}"
        if not (0 < optim.clip_norm <= 1 or optim.clip_value):
            advice += ", or set --optim.clip-norm 1"
        advice += ", with another --out or --overwrite"
        if step is None:
            return f"{advice}; no checkpoint had been written yet"
        return f"{advice}; the checkpoint of step {step} is from before it"

    def report(self, name: str, state: TrainState, compile_sec: float) -> dict[str, Any]:
        """Scores the test split once, with the selected state; writes pictures and summary.json.

        Args:
          name: of the preset.
          state: the last one.
          compile_sec: of `fit`.

        Returns:
          What summary.json holds; of many processes one writes, and the others return nothing.
        """
        run, task, config = self._run, self._task, self._config
        last = config.select == "last"
        scored_state = state if last else self._checkpoints.restore_best(like=state)
        scored_weights = weights_of(task, scored_state)
        evaluation = self._score(scored_weights, self._data.test)
        weights, params_sha256 = to_host(scored_weights), sha256(state.params)
        if not is_main():
            return {}
        lines = run.read_metrics()
        validated = {line["step"]: line for line in lines if _is_validation(line)}
        best = validated.get(int(scored_state.step), {})
        if last:
            candidates = [line for step, line in validated.items() if self._may_be_best(step)]
            candidates.reverse()  # of equals the newest is the best, as for Checkpoints
            best = max(candidates, key=make_rank(task.monitor), default={})
        summary = {
            "preset": name,
            "epochs": config.epochs,
            "best": best,
            "last": validated.get(int(state.step), {}),
            "scored_step": int(scored_state.step),
            **prefixed("test", evaluation.metrics),
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
            "params_sha256": params_sha256,
            "steps": int(state.step),
            "images": {
                split: len(getattr(self._data, split)) for split in ("train", "val", "test")
            },
            "skipped_images": len(self._data.skipped),
            "images_per_sec": images_per_sec(lines),
            "compile_sec": compile_sec,
            "wall_sec": self._elapsed_sec(),
            **describe_machine(),
            **task.facts,
        }
        if numbers := run.extended_from():
            summary["extended_from_epochs"] = numbers
            summary["note"] = (
                f"finished with {numbers[-1]} epochs and then given {config.epochs}: the learning "
                f"rate jumped to the schedule of {config.epochs} epochs there, so this is not the "
                "result of a fresh run"
            )
        if self._decisions.ended and int(state.step) < self._plan.total_steps:
            summary["stopped_early"] = (
                f"after {summary['last']['epoch']} of {config.epochs} epochs: {task.monitor[0][0]} "
                f"had not improved for {config.stop.patience} validations"
            )
            self._say(f"stopped early, {summary['stopped_early']}")
        inputs = prepared_sample(task, config.seed, self._data.train)
        results = Results(
            lines,
            best.get("step", 0),
            self._data.test,
            evaluation,
            inputs,
            weights,
            read_sketches(run.path, set(validated)),
        )
        _save_figures(task.draw(results), run.plots)
        run.write_outputs(evaluation)
        self._trackers.report(summary, sorted(run.plots.glob("*.png")))
        run.write_summary(summary)
        self._say(self._closing_line(summary))
        return summary

    def _closing_line(self, summary: dict[str, Any]) -> str:
        metric = self._task.monitor[0][0]
        form = dict(self._task.headline).get(metric, ".4g")
        low, high = (summary.get(f"test/{metric}_{end}") for end in ("low", "high"))
        interval = "" if low is None else f" (95 % interval {low:{form}} to {high:{form}})"
        best = summary["best"]
        validated = ""
        if f"val/{metric}" in best:
            validated = f"best validation {best[f'val/{metric}']:{form}} at epoch {best['epoch']}; "
        which = " of the last epoch" if self._config.select == "last" else ""
        return (
            f"test {metric}{which} {summary[f'test/{metric}']:{form}}{interval}\n"
            f"{validated}{summary['images_per_sec']:,.0f} images/s, "
            f"{summary['wall_sec']:.0f} s in all\neverything is in {self._config.out}"
        )


def images_per_sec(lines: list[dict[str, float]]) -> float:
    """The rate of training over all logged steps: sum w / sum (w / rate).

    w is the number of steps since the line before, and rate that line's images_per_sec, which
    counts neither compilation nor validation; lines without one do not count.
    """
    weights, seconds, last = 0.0, 0.0, 0
    for line in lines:
        if "images_per_sec" in line:
            weights += line["step"] - last
            seconds += (line["step"] - last) / line["images_per_sec"]
        if not _is_validation(line):
            last = line["step"]
    return weights / seconds if seconds else 0.0


def _is_validation(line: dict[str, float]) -> bool:
    return any(name.startswith("val/") for name in line)


def _save_figures(figures: dict[str, Any], directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(directory / f"{name}.png", dpi=110)
