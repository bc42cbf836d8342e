"""Mutations of the front door: train_jax.py, the command line, the configuration, the presets, paths."""

from parity_tests.mutation import listed

FRONT = listed("", (
    ("tests/test_presets.py::test_the_presets_have_the_values_that_their_results_were_measured_with", (
        ("the head's rate that of the others", "jaxvit.presets.pretrained",
         "head_lr=10.0", "head_lr=1.0"),
        ("finetune without clipping", "jaxvit.presets.pretrained",
         '            clip_norm=1.0,\n            decay="matrices",\n            layer_decay', '            decay="matrices",\n            layer_decay'),
    )),
    ("tests/test_config.py::test_a_resumed_run_may_change_nothing_that_its_result_depends_on", (
        ("another batch size on resuming", "jaxvit.config.run",
         "option(32, count(1, 2**20))", "option(32, count(1, 2**20), may_change=True)"),
    )),
    ("tests/test_presets.py::test_what_the_folder_preset_leaves_open_follows_the_number_of_images", (
        ("decay of the folder preset exchanged", "jaxvit.completion",
         '"decay": "matrices" if small else "all"', '"decay": "all" if small else "matrices"'),
    )),
    ("tests/test_config.py::test_fine_tuning_follows_the_number_of_training_images", (
        ("fine-tuning as long as training from nothing", "jaxvit.completion", "    if config.init.weights is None:\n", "    if True:\n"),
        ("a tenth of the images seen in fine-tuning", "jaxvit.completion", "round(11_000 / images)", "round(1_100 / images)"),
    )),
    ("tests/runs/test_tracking.py::test_a_package_that_is_missing_is_one_line_before_anything_begins", (
        ("a missing package not noticed", "jaxvit.config.checks",
         "found is not None and found.origin is not None,", "True,"),
        ("a folder taken for a package", "jaxvit.config.checks",
         "found is not None and found.origin is not None,", "found is not None,"),
    )),
    ("tests/runs/test_tracking.py::test_a_resumed_run_may_have_another_tracker", (
        ("a resumed run must keep its tracker", "jaxvit.config.track",
         'needs_package("wandb", extra="wandb"), may_change=True', 'needs_package("wandb", extra="wandb")'),
    )),
    ("parity_tests/test_certificate.py::test_claim_holds[optimiser]", (
        ("optax's weight decay", "jaxvit.config.optim",
         "weight_decay: float | None = option(0.01", "weight_decay: float | None = option(1e-4"),
    )),
    ("tests/optim/test_groups.py", (
        ("more layers frozen than there are", "jaxvit.config.run", "layers <= self.model.num_layers", "True"),
    )),
    ("tests/test_end_to_end.py", (
        ("the initial weights ignore the seed", "train_jax",
         "partial(create_state, task, config.seed,", "partial(create_state, task, 0,"),
        ("no average kept", "train_jax", "config.optim.averages)", "False)"),
        ("validation after every epoch whatever is asked", "train_jax", ", config.val_every_epochs)", ")"),
    )),
    ("tests/tasks/test_pretrained_runs.py::test_options_that_only_weights_decide_need_weights", (
        ("a repeated weights option counted once", "jaxvit.command_line", "if len(given) > 1:", "if False:"),
    )),
    ("tests/training/test_second_task.py", (
        ("scoring ignores the seed", "train_jax", "make_score(task, devices, config.batch_size, config.seed)", "make_score(task, devices, config.batch_size, 0)"),
    )),
    ("tests/test_front_door.py", (
        ("an extension without a number", "jaxvit.command_line",
         "if config.extend and not any(", "if False and not any("),
        ("no word on an average of more steps than there are", "jaxvit.runs.progress",
         "config.optim.ema_decay and initial > MOST_INITIAL", "False"),
        ("a longer average advised than the run has steps for", "jaxvit.runs.progress",
         "1 - 3 / max(updates, 1)", "1 - 1 / max(updates, 1)"),
        ("batches that are joined counted as updates", "jaxvit.training.fit",
         "updates = int(_updates(optim, plan).sum())", "updates = plan.total_steps"),
        ("an average of all steps but one", "jaxvit.training.fit",
         "optim.ema_decay**updates, updates", "optim.ema_decay ** (updates - 1), updates"),
    )),
    ("tests/commands/test_predict.py", (
        ("a half-written file left by a signal", "jaxvit.cleanup",
         "with removed_on_exit(partial):", "with contextlib.nullcontext():"),
        ("a file written in place", "jaxvit.cleanup", 'path.with_name(f".{path.name}.partial-{os.getpid()}")', "path"),
    )),
    ("tests/runtime/test_signals.py::test_a_program_begins_without_a_thread", (
        ("a thread of signals from the start", "jaxvit.runtime.startup",
         "    exit_on_signals(stopped)\n", "    exit_on_signals(stopped)\n    __import__('jaxvit.runtime.interrupt').runtime.interrupt.watch_for_signals()\n"),
        ("another line at a signal", "jaxvit.runtime.startup", "exit_on_signals(stopped)", "exit_on_signals()"),
        ("blocked signals that stay blocked", "jaxvit.runtime.interrupt",
         "    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)\n", ""),
    )),
    ("tests/runtime/test_signals.py::test_a_thread_waits_for_signals_from_then_on", (
        ("a thread of signals in another program", "jaxvit.runtime.interrupt",
         "    if _watching or not _handling:", "    if _watching:"),
        ("a thread of signals at every call", "jaxvit.runtime.interrupt",
         "    if _watching or not _handling:", "    if not _handling:"),
        ("signals handled by the main thread alone", "jaxvit.runtime.interrupt",
         "    if _watching or not _handling:", "    if True:"),
    )),
    ("tests/runtime/test_memory.py::test_a_run_keeps_freed_memory_where_it_is_asked_to", (
        ("no thread of signals in training", "train_jax", "        watch_for_signals()\n", ""),
        ("a thread of signals before memory is kept", "train_jax",
         "        if config.keep_memory:\n            keep_freed_memory()\n        watch_for_signals()\n",
         "        watch_for_signals()\n        if config.keep_memory:\n            keep_freed_memory()\n"),
    )),
    ("tests/runtime/test_memory.py::test_commands_with_large_batches_keep_freed_memory", (
        ("commands keep no memory", "jaxvit.__main__", "        keep_freed_memory()\n", "        pass\n"),
        ("no thread of signals in commands", "jaxvit.__main__", "    watch_for_signals()\n", ""),
    )),
    ("tests/commands/test_bad_places.py", (
        ("a pipe replaced by a file", "jaxvit.cleanup",
         "special = path.exists() and not path.is_file()", 'special = path == Path("")'),
        ("a link replaced by a file", "jaxvit.cleanup", "    path = path.resolve()\n    partial", "    partial"),
        ("control characters printed", "jaxvit.paths", "c if c.isprintable() else", "c if True else"),
        ("the locale's letters only", "jaxvit.__main__", "    take_any_text()\n", ""),
        ("errors of commands speak of resuming", "jaxvit.command_line",
         '", which resumes from the last checkpoint" if resumes else ""', '", which resumes from the last checkpoint"'),
    )),
    ("tests/test_train_jax.py", (
        ("one device announced", "train_jax", "plan, devices.count, task", "plan, 1, task"),
    )),
    ("tests/training/test_early_stopping.py", (
        ("milestones of another schedule ignored", "jaxvit.config.optim",
         '(self.schedule == "multi_step") == bool(self.milestones)', "True"),
    )),
    ("tests/test_config.py", (
        ("a run replaced and extended at once", "jaxvit.config.run",
         "self.resume + self.overwrite + self.extend <= 1", "self.resume + self.overwrite <= 1"),
        ("mean and std follow no data set", "jaxvit.completion",
         '"mean": of.mean', '"mean": (0.305,)'),
        ("a generator's mean that of the data set", "jaxvit.completion", "if config.makes_images:", "if False:"),
        ("what is given is filled in", "jaxvit.completion", "        elif found is None:", "        else:"),
        ("the preset folder follows all images", "jaxvit.command_line",
         "complete(config, *(len(splits[name][1])", "complete(config, *(300 + len(splits[name][1])"),
        ("the preset digits for every data set", "jaxvit.presets",
         '"folder": "folder",', '"folder": "digits",'),
        ("no suggestion of the option that was meant", "jaxvit.command_line", "    if meant:", "    if False:"),
        ("fields not checked", "jaxvit.config.tree",
         "        elif value is not None:\n            for check_value",
         "        elif False:\n            for check_value"),
        ("classes of options not checked", "jaxvit.config.tree", '    if hasattr(config, "check"):', "    if False:"),
        ("tuples read back as lists", "jaxvit.config.tree",
         "tuple(value) if isinstance(value, list) else value", "value"),
        ("a full device is a traceback", "jaxvit.command_line",
         'if "RESOURCE_EXHAUSTED" in str(error)', 'if "OUT_OF_MEMORY" in str(error)'),
    )),
    ("tests/runtime/test_program_cache.py", (
        ("programs cached by no run", "train_jax", "    cache_programs(config, say_on(console))", "    pass"),
    )),
    ("tests/runtime/test_memory.py", (
        ("--keep-memory ignored", "train_jax", "if config.keep_memory:", "if False:"),
        ("memory kept unasked", "train_jax", "if config.keep_memory:", "if True:"),
    )),
    ("tests/interop/test_save.py::test_a_write_that_fails_leaves_the_old_file", (
        ("a half-written file left in place", "jaxvit.cleanup",
         'partial = path.with_name(f".{path.name}.partial-{os.getpid()}")', "partial = path"),
    )),
    ("parity_tests/test_convert.py::test_code_is_never_executed", (
        ("code in a pickle executed", "torch_ref.convert", "weights_only=True)\n", "weights_only=False)\n"),
    )),
    ("parity_tests/test_convert.py::test_a_converted_file_gives_the_same_logits", (
        ("prefixes kept", "torch_ref.convert", "if all(str(name).startswith(prefix) for name in loaded):", "if False:"),
    )),
    ("tests/test_config.py", (
        ("layers of a ResNet frozen by number", "jaxvit.config.run",
         "layers is None or self.model.is_vit,", "True,"),
        ("options of another model taken in silence", "jaxvit.command_line",
         "if value != getattr(default.model, name):", "if False:"),
        ("options of another model kept", "jaxvit.command_line",
         "replace(config, model=without_foreign_options(config.model))", "config"),
        ("a block's options taken for foreign", "jaxvit.config.model",
         '*(OF_BLOCK if config.attention != "none" else ())', ""),
        ("patches that do not divide the feature map", "jaxvit.config.model", "side % self.patch_size == 0", "True"),
        ("no attention block whatever is asked", "jaxvit.models.configured", 'if config.attention == "none":', "if True:"),
        ("graph attention whatever is asked", "jaxvit.models.configured", "attention=config.attention, ", ""),
        ("CIFAR-10 with ImageNet's mean", "jaxvit.completion",
         "Pixels(CIFAR10_MEAN, CIFAR10_STD", "Pixels(IMAGENET_MEAN, CIFAR10_STD"),
        ("the size of a ResNet's images that of every data set", "jaxvit.completion",
         "if name not in foreign}", "if False}"),
        ("the stem ignored", "jaxvit.models.configured", '"stem": config.stem', '"stem": "imagenet"'),
        ("ResNet-18 whatever is asked", "jaxvit.models.configured", "LAYERS[config.name]", 'LAYERS["resnet18"]'),
    )),
    ("tests/tasks/test_resnet_runs.py", (
        ("statistics ignore the seed", "train_jax",
         "make_refresh(task, devices, config.seed)", "make_refresh(task, devices, 0)"),
        ("--optim.swa-start ignored by the step", "train_jax",
         "compile_train_step(task, devices, config, average_decay(config.optim, plan))",
         "compile_train_step(task, devices, config)"),
    )),
    ("parity_tests/survey/test_resnet.py", (
        ("the map of a small image halved too often", "jaxvit.config.model", "2 ** (3 if", "2 ** (4 if"),
    )),
))  # fmt: skip
