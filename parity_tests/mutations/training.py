"""Mutations of jaxvit/training: steps, scores, the loop, early stopping."""

from parity_tests.mutation import listed

TRAINING = listed("jaxvit.training", (
    ("tests/training/test_training.py::test_the_learning_rate_test_ends_where_the_loss_explodes", (
        ("the learning rate test goes on after the explosion", "lr_finder",
         "if diverged:", "if False:"),
    )),
    ("tests/training/test_training.py::test_no_more_steps_are_in_flight_than_did_not_hang", (
        ("32 steps in flight", "fit", "STEPS_AHEAD = 8", "STEPS_AHEAD = 32"),
    )),
    ("tests/optim/test_swa.py::test_new_statistics_are_of_draws_from_the_seed", (
        ("statistics anew from the draws of seed 0", "evaluate",
         "step_keys(seed, number)", "step_keys(0, number)"),
    )),
    ("parity_tests/test_certificate.py::test_claim_holds[training_run]", (
        ("the same draws at every step", "steps",
         "jax.random.fold_in(jax.random.key(seed), step)", "jax.random.key(seed)"),
    )),
    ("tests/optim/test_swa.py", (
        ("epochs of one step averaged twice", "fit", "if plan.batch_size > plan.examples:", "if False:"),
    )),
    ("parity_tests/test_certificate.py::test_claim_holds[schedules]", (
        ("the least improvement ignored", "early_stopping", "gain > min_delta", "gain > 0"),
        ("early stopping with the wrong sign", "early_stopping",
         "value - best if rises else best - value", "best - value if rises else value - best"),
        ("stopped one validation late", "early_stopping", "if waited >= patience:", "if waited > patience:"),
        ("stopped by validations that are not in a row", "early_stopping",
         "best, waited = value, 0", "best, waited = value, waited"),
    )),
    ("parity_tests/test_certificate.py::test_claim_holds[losses]", (
        ("last short batch dropped", "evaluate",
         "range(0, len(split), batch_size)", "range(0, len(split) - batch_size + 1, batch_size)"),
        ("padding counted", "evaluate", "mask = rows < len(split)", "mask = rows >= 0"),
    )),
    ("tests/test_end_to_end.py", (
        ("raw parameters scored wherever there is an average", "state", "if state.averages is not None:", "if False:"),
        ("the draws ignore the seed", "steps", "        seed=config.seed,", "        seed=0,"),
        ("augmentation and dropout share a key", "steps",
         "return key_prepare, key_loss", "return key_prepare, key_prepare"),
        ("the next step's learning rate reported", "steps",
         "phase.schedule(state.step)", "phase.schedule(state.step + 1)"),
        ("the norm of the updates reported for that of the gradients", "steps",
         "optax.global_norm(grads)", "optax.global_norm(updates)"),
        ("an average with another decay", "steps", "average_decay=config.optim.ema_decay", "average_decay=0.99"),
        ("epochs counted from 0", "fit", "// self.examples + 1", "// self.examples"),
    )),
    ("tests/training/test_training.py", (
        ("no accumulation whatever is asked", "steps",
         "grad_accum_steps=config.grad_accum_steps", "grad_accum_steps=1"),
        ("the rate counts validation", "fit",
         '''                state = on_epoch(step, state)
            logged_step, logged_at = step, time.perf_counter()''',
         '''                logged_at = time.perf_counter()
                state = on_epoch(step, state)
            logged_step = step'''),
        ("the rate counts compilation", "fit",
         "            logged_step, logged_at = step, time.perf_counter()\n        stops", "        stops"),
        ("the rate counts saving", "fit", "logged_at += time.perf_counter() - paused", "pass"),
        ("scoring that never stops filling the last batch", "evaluate",
         "np.concatenate(parts)[: len(split)]", "np.concatenate(parts)"),
        ("the last batch filled with other rows than its mask says", "evaluate",
         '"mask": mask}', '"mask": mask[::-1]}'),
        ("no fence between steps", "fit", "if len(unread) > STEPS_AHEAD:", "if False:"),
        ("the time of compilation not reported", "fit", "return state, compile_sec", "return state, 0.0"),
    )),
    ("tests/training/test_freezing.py::test_frozen_leaves_keep_their_bits_and_the_others_do_not", (
        ("moments kept of what is frozen", "state", "phase.tx.init(phase.trained(params))", "phase.tx.init(params)"),
    )),
    ("tests/training/test_freezing.py::test_a_phase_trains_any_part_of_nested_dicts", (
        ("what is not trained left out of the merged weights", "task", "if key in part else old for", "for"),
    )),
    ("tests/training/test_freezing.py::test_phases_that_train_paths_are_told_apart_by_their_numbers", (
        ("phases of paths told apart by nothing", "steps",
         "isinstance(phase.trains, str) else number", 'isinstance(phase.trains, str) else "part"'),
    )),
    ("tests/runtime/test_devices.py", (
        ("one dropout key for all micro-batches", "steps", "jax.random.fold_in(key, index), inputs", "key, inputs"),
        ("extra not handed from part to part", "steps",
         "return (jax.tree.map(jnp.add, sums, (grads, metrics)), extra), None",
         "return (jax.tree.map(jnp.add, sums, (grads, metrics)), carry[1]), None"),
        ("gradients of parts summed", "steps", "lambda x: x / steps, sums", "lambda x: x, sums"),
    )),
    ("tests/training/test_second_task.py", (
        ("the second phase sees the old parameters", "steps",
         "spread.whole(params), extra", "spread.whole(state.params), extra"),
        ("the second phase sees the old extra", "steps", "params), extra, key_loss", "params), state.extra, key_loss"),
        ("the update of a part lost", "task",
         "{**params, self.trains: trained}", "{self.trains: trained, **params}"),
        ("the rates of all phases are the first's", "steps",
         "jnp.asarray(phase.schedule", "jnp.asarray(task.phases[0].schedule"),
        ("pmap for a task that does not gather", "steps", "task.couples and task.axis != AXIS", "False"),
        ("scores that are no sums left out", "evaluate", "if task.probe is not None:", "if False:"),
        ("what is averaged is the parameters alone", "steps",
         "task.weights(params, extra), decay", "task.weights(params, state.extra), decay"),
        ("no assertion that a step keeps its types", "steps",
         "chex.assert_trees_all_equal_shapes_and_dtypes(state, new)", "pass"),
    )),
    ("tests/tasks/test_pretrained_runs.py", (
        ("pretrained weights not in the average", "state",
         "weights = task.weights(params, extra)", "weights = task.weights(task.init(jax.random.key(seed))[0], extra)"),
    )),
    ("tests/runs/test_resume.py", (
        ("a loss that is not finite ignored", "fit", "if not math.isfinite(value):", "if False:"),
    )),
    ("tests/training/test_early_stopping.py", (
        ("the peak rate reported on a plateau", "steps", "rate if scale is None else rate * scale", "rate"),
    )),
    ("tests/training/test_training.py::test_epochs_end_when_their_examples_are_seen", (
        ("an epoch that ends a step early", "fit",
         "-(-epoch * self.examples // self.batch_size)", "epoch * self.examples // self.batch_size"),
    )),
    ("tests/runs/test_resume.py::test_a_loss_that_is_not_finite_stops_the_run_at_its_step", (
        ("no loss checked", "fit", "enumerate(jax.device_get(losses),", "enumerate(jax.device_get(losses[:0]),"),
    )),
    ("tests/tasks/test_resnet_runs.py", (
        ("what a model carries drawn anew for pretrained weights", "state",
         "_replaced(extra, pretrained[1])", "extra"),
    )),
    ("tests/optim/test_swa.py", (
        ("the first epochs averaged too", "fit", "range(first + 1, plan.epochs + 1)", "range(1, plan.epochs + 1)"),
        ("the last epoch not averaged", "fit", "range(first + 1, plan.epochs + 1)", "range(first + 1, plan.epochs)"),
        ("batch statistics of the last batch alone", "evaluate",
         "jax.tree.map(jnp.add, sums, statistics(weights, batch, number))", "statistics(weights, batch, number)"),
        ("the sum of batch statistics for their mean", "evaluate", "(x / number)", "(x / 1)"),
    )),
    ("tests/optim/test_joining.py", (
        ("an average that moves without an update", "fit", "optim.ema_decay, 1.0)", "optim.ema_decay, optim.ema_decay)"),
    )),
))  # fmt: skip
