"""Mutations of jaxvit/runtime: devices, programs, memory, hashes."""

from parity_tests.mutation import listed

RUNTIME = listed("jaxvit.runtime", (
    ("tests/runtime/test_program_cache.py::test_several_processes_cache_nothing[2-0]", (
        ("programs cached by several processes", "program_cache",
         "alone = jax.process_count() == 1", "alone = True"),
    )),
    ("tests/runtime/test_program_cache.py::test_each_instruction_set_has_its_own_programs_and_old_ones_are_evicted", (
        ("one cache for all instruction sets", "program_cache",
         "{processor()} {instructions()} {threads}", "{processor()} {threads}"),
        ("old programs never evicted", "program_cache",
         '        _remove_oldest(place)\n    except', '        pass\n    except'),
    )),
    ("tests/runtime/test_cpu.py::test_a_report_counts_the_devices_of_all_processes", (
        ("devices of one process counted", "machine", "len(devices)", "jax.local_device_count()"),
    )),
    ("tests/runtime/test_cpu.py", (
        ("JAX_NUM_CPU_DEVICES ignored", "cpu", '"JAX_NUM_CPU_DEVICES" not in os.environ and not', "not"),
        ("a CPU of many cores divided wholly", "cpu", "one_per_core and cores() > MOST", "one_per_core and False"),
        ("no CPU of many cores divided", "cpu", "one_per_core and cores() > MOST", "cores() > MOST"),
        ("a device for each of many cores", "cpu", "min(cores(), MOST)", "cores()"),
        ("always as many devices", "cpu", "min(cores(), MOST)", "MOST"),
    )),
    ("tests/test_end_to_end.py", (
        ("a hash of the first array only", "digest",
         "jax.tree.leaves_with_path(tree):", "jax.tree.leaves_with_path(tree)[:1]:"),
        ("a hash without names", "digest", 'f"{name}{array.shape}{array.dtype}"', 'f"{array.shape}{array.dtype}"'),
    )),
    ("tests/runtime/test_devices.py", (
        ("gradients not averaged under pmap", "devices", "return jax.lax.pmean(tree, AXIS)", "return tree"),
        ("one dropout key for all devices", "devices", "jax.random.fold_in(key, jax.lax.axis_index(AXIS))", "key"),
        ("every device works on the first share", "devices", "index * size, size", "0 * size, size"),
        ("the batch not gathered under pmap", "devices",
         "jax.lax.all_gather(shard, AXIS, tiled=True)", "jax.tree.map(lambda x: jnp.concatenate([x] * count), shard)"),
        ("nothing sharded", "devices", "if not (self.shard_params and fitting):", "if True:"),
        ("--parallel.mode ignored", "devices", "Devices(mesh, parallel.mode,", 'Devices(mesh, "jit",'),
        ("--parallel.shard-params ignored", "devices",
         "parallel.mode, parallel.shard_params,", "parallel.mode, False,"),
    )),
    ("tests/runtime/test_compiler.py", (
        ("convolutions left to YNNPACK", "compiler", "if not convolves or", "if True or"),
        ("options on a GPU too", "compiler", ' or jax.default_backend() != "cpu"', ""),
        ("options for every program", "compiler", "not convolves or ", ""),
        ("steps compiled as those of a Vision Transformer", "devices",
         "placed_step,\n            donate_argnums=0,\n            compiler_options=compiler_options(self.convolves, self.count),", "placed_step,\n            donate_argnums=0,"),
        ("scores compiled as those of a Vision Transformer", "devices",
         "out_shardings=self.replicated,\n            compiler_options=compiler_options(self.convolves, self.count),", "out_shardings=self.replicated,"),
        ("programs of several devices left to Eigen", "compiler", "or devices > 1 or", "or"),
        ("steps of several devices left to Eigen", "devices", "placed_step,\n            donate_argnums=0,\n            compiler_options=compiler_options(self.convolves, self.count),", "placed_step,\n            donate_argnums=0,\n            compiler_options=compiler_options(self.convolves),"),
        ("an XLA without the option is an error", "compiler", "except jax.errors.JaxRuntimeError", "except ZeroDivisionError"),
        ("--model.name does not reach the compiler", "devices", "parallel.shard_params, config.model.convolves", "parallel.shard_params, False"),
    )),
    ("tests/runtime/test_program_cache.py", (
        ("--no-keep-programs ignored", "program_cache", "(config.keep_programs and alone)", "alone"),
        ("sharded programs cached on CPU devices", "program_cache", "(emulated and config.parallel.shard_params)", "False"),
    )),
))  # fmt: skip
