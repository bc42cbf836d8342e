"""Mutations of jaxvit/speed: what is timed, and what is made of it."""

from parity_tests.mutation import listed

TESTS = "parity_tests/test_speed.py"

SPEED = listed("jaxvit.speed", (
    (f"{TESTS}::test_jax_times_the_task_and_the_dropout_that_are_asked_for[train]", (
        ("JAX timed without dropout", "jax_candidate", "dropout=workload.dropout, dtype", "dropout=0.0, dtype"),
        ("JAX times inference for training", "jax_candidate", 'if workload.task == "train":', 'if workload.task == "infer":'),
    )),
    (f"{TESTS}::test_the_benchmark_writes_nothing_of_programs_that_differ", (
        ("programs that differ are compared", "__main__", "check_equal_losses(results, LOSS_TOLERANCE[options.dtype])", "pass"),
    )),
    (f"{TESTS}::test_first_steps_are_those_of_an_empty_and_of_a_filled_cache", (
        ("the cold start counted as warm", "report", "float(np.median(result.first_step_sec[1:]))", "float(np.median(result.first_step_sec))"),
    )),
    (f"{TESTS}::test_ratios_of_files_are_jaxs_rate_over_pytorchs", (
        ("ratios of files inverted", "files",
         'median("jax", f"{what}_per_sec") / median("torch", f"{what}_per_sec")',
         'median("torch", f"{what}_per_sec") / median("jax", f"{what}_per_sec")'),
        ("held over read inverted", "files", 'step_ms("held") / step_ms("read")', 'step_ms("read") / step_ms("held")'),
    )),
    (f"{TESTS}::test_a_fast_path_gains_where_its_reference_takes_longer", (
        ("gain of a fast path inverted", "fast_paths", "reference_sec / fast_sec for", "fast_sec / reference_sec for"),
    )),
))  # fmt: skip
