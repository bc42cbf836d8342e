"""Train a Vision Transformer: config, data, state, step, fit, evaluate, report.

Run `python train_jax.py --help` for the presets and options. Logic lives in jaxvit/; this file
is the order in which it is used.
"""

import math
import sys
import time
from dataclasses import replace
from functools import partial

import jax
from rich.console import Console

from jaxvit import plots
from jaxvit.augment.pipeline import make_augment
from jaxvit.checkpoint import Checkpoints
from jaxvit.command_line import FAILURES, fail, leave, parse
from jaxvit.compiler import keep_programs
from jaxvit.config import Config, DistributedConfig
from jaxvit.data.datasets import describe, load_dataset
from jaxvit.data.loader import prefetch_to_device, train_batches
from jaxvit.distributed import check_same, connect, is_main, largest, wait_for_all
from jaxvit.evaluate import evaluate
from jaxvit.fit import Plan, fit
from jaxvit.interrupt import Interrupted, StopSignals, unwinding
from jaxvit.machine import describe_machine
from jaxvit.memory import THREAD_HEAP_BYTES, activation_bytes, keep_freed_memory
from jaxvit.metrics import prefixed
from jaxvit.models.transformer import make_model
from jaxvit.optim import make_optimizer, make_schedule
from jaxvit.parallel import Devices, make_devices
from jaxvit.paths import user_path
from jaxvit.progress import TrainingProgress, make_console, track
from jaxvit.report import RunDirectory
from jaxvit.state import create_state, init_params, sha256
from jaxvit.steps import augmented_sample, make_eval_step, make_train_parts


def train(name: str, config: Config, devices: Devices, run: RunDirectory, console: Console) -> dict:
    """Runs the configured training and returns what it wrote to summary.json.

    Of many processes one writes, and the others return nothing.
    """
    began = time.perf_counter()
    say = partial(console.print, highlight=False, soft_wrap=True)
    wait_for_all("every process has looked at the run directory")
    cache_dir = user_path("data.cache-dir", config.data.cache_dir)
    # Of many processes one would find a program, and the others wait for its share in compiling.
    alone = jax.process_count() == 1
    if config.keep_programs and alone and not keep_programs(cache_dir):
        say(f"compiled programs are not kept, for {cache_dir} cannot be written")

    # Data: decoded once, then mapped; three splits that share no image.
    data = load_dataset(
        config.data, config.model.img_size, config.model.in_channels, partial(track, console)
    )
    if data.skipped:
        say(f"left out {len(data.skipped)} image(s); the first: {data.skipped[0]}")
    num_classes = len(data.class_names)
    plan = Plan(len(data.train), config.batch_size, config.epochs)

    # Model, optimiser and augmentation; then the state that training carries along.
    model = make_model(config.model, num_classes)
    tx = make_optimizer(config.optim, plan.total_steps)
    schedule = make_schedule(config.optim, plan.total_steps)
    augment = make_augment(config.augment, config.data.mean, config.data.std)
    state = devices.create(
        lambda: create_state(init_params(model, config.seed), tx, ema=config.optim.ema_decay > 0)
    )
    num_params = sum(leaf.size for leaf in jax.tree.leaves(state.params))

    # The steps, compiled for the devices.
    parts = make_train_parts(
        model,
        tx,
        augment,
        schedule,
        seed=config.seed,
        label_smoothing=config.label_smoothing,
        ema_decay=config.optim.ema_decay,
        grad_accum_steps=config.grad_accum_steps,
    )
    train_step = devices.compile_train_step(parts)
    score = partial(
        evaluate,
        devices.compile_eval_step(make_eval_step(model, config.data.mean, config.data.std)),
        num_classes=num_classes,
        batch_size=config.batch_size,
        devices=devices,
    )

    described = describe(data)
    check_same(
        {
            "options": [repr(replace(config, distributed=DistributedConfig()))],
            "--distributed.num-processes": config.distributed.num_processes,
            "images": described,
            "run directory": run.resumes,
        }
    )

    # Fit: log every few steps; validate and save at every epoch's end. An older run in the
    # same place is untouched until here.
    say(
        f"{name}: {num_params:,} parameters, {len(data.train):,} training images, "
        f"{plan.total_steps:,} steps on {devices.count} {jax.default_backend()} device(s)",
    )
    run.open(described)
    wait_for_all("the run directory is there")
    progress = TrainingProgress(console, plan.total_steps, config.epochs)

    def on_log(step: int, metrics: dict[str, float]) -> None:
        run.log(step, plan.epoch_of(step), metrics)
        progress.step(step, plan.epoch_of(step), metrics)

    def on_epoch(step: int, state) -> None:
        metrics = prefixed("val", score(state.eval_params, data.val).metrics)
        run.log(step, plan.epoch_of(step), metrics)
        is_best = checkpoints.save(state, metrics)
        progress.epoch(plan.epoch_of(step), step, metrics, is_best)

    with Checkpoints(run.checkpoints, config.checkpoint.keep, warn=say) as checkpoints:
        if run.resumes:
            state = checkpoints.restore_latest(like=state) or state
            run.rewind(int(state.step))
            say(f"going on with {config.out} after step {int(state.step)}")
        batches = prefetch_to_device(
            train_batches(
                data.train,
                config.batch_size,
                config.seed,
                start_step=int(state.step),
                own=devices.own_rows(config.batch_size),
            ),
            devices.place_batch,
            config.data.prefetch_batches,
        )
        # Asking the other processes is a wait.
        agree_every_steps = 10 if jax.process_count() > 1 else 1
        with progress, StopSignals(largest, agree_every_steps) as stop:
            state, speed = fit(
                state,
                train_step,
                batches,
                plan,
                log_every_steps=config.log_every_steps,
                on_log=on_log,
                on_epoch=on_epoch,
                on_save=checkpoints.save,
                save_every_steps=config.checkpoint.every_steps,
                should_stop=stop.should_stop,
            )
        if stop.agreed and int(state.step) < plan.total_steps:
            raise Interrupted(
                f"stopped after step {int(state.step)} of {plan.total_steps}, with everything "
                f"saved in {config.out}: the same command goes on from there",
                stop.agreed,
                agreed=True,
            )
        best_state = checkpoints.restore_best(like=state)

    # Evaluate: the test split once, with the best state.
    test = score(best_state.eval_params, data.test)

    # Report.
    params_sha256 = sha256(state.params)
    if not is_main():
        return {}
    lines = run.read_metrics()
    validated = {line["step"]: line for line in lines if "val/loss" in line}
    best_step = int(best_state.step)
    best, last = validated.get(best_step, {}), validated.get(plan.total_steps, {})
    summary = {
        "preset": name,
        "best": best,
        "last": last,
        **prefixed("test", test.metrics),
        "parameters": num_params,
        "params_sha256": params_sha256,
        "steps": plan.total_steps,
        "skipped_images": len(data.skipped),
        "images_per_sec": speed.images_per_sec,
        "compile_sec": speed.compile_sec,
        "wall_sec": time.perf_counter() - began,
        **describe_machine(),
    }
    plots.plot_report(run.plots, lines, data, test, *augmented_sample(parts, data.train), config)
    run.add_plots(plan.total_steps)
    run.write_summary(summary)
    say(
        f"test accuracy {summary['test/accuracy']:.2%} (best validation "
        f"{best.get('val/accuracy', math.nan):.2%} at epoch {plan.epoch_of(best_step)}), "
        f"{summary['images_per_sec']:,.0f} images/s, {summary['wall_sec']:.0f} s in all; "
        f"everything is in {config.out}",
    )
    return summary


def main(args: list[str]) -> int:
    try:
        with unwinding():
            name, config = parse(args)
            if activation_bytes(config) > THREAD_HEAP_BYTES:
                keep_freed_memory()
            connect(config.distributed, say=partial(print, file=sys.stderr, flush=True))
            devices = make_devices(config)
            with RunDirectory(config, writes=is_main()) as run:
                train(name, config, devices, run, make_console(quiet=not is_main()))
    except (*FAILURES, Interrupted) as error:
        return fail(error)
    return 0


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
