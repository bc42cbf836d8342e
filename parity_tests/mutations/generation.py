"""Mutations of generated images: networks, both tasks, samplers, measures, commands, data."""

from parity_tests.mutation import listed

EXTRA = "tests/tasks/test_extra_images.py"
SAMPLING = "tests/tasks/test_sampling.py"
QUALITY = "tests/tasks/test_sample_quality.py"
RUNS = "tests/tasks/test_generation_runs.py"

GENERATION = listed("jaxvit", (
    (f"{EXTRA}::test_images_of_two_folders_are_those_of_their_files", (
        ("images of the first folder those of the second", "data.decoded", "return len(self.first) + len(self.second)", "return len(self.first)"),
    )),
    (f"{EXTRA}::test_places_inside_the_generated_images_are_refused", (
        ("a run inside the generated images", "config.run", "folders = [(*each, written) for each in extra]", "folders = []"),
    )),
    (f"{EXTRA}::test_a_share_of_nearly_all_images_is_one_line", (
        ("a share of any size", "config.data", "within(0, 0.99), positive", "within(0, 1, closed=False), positive"),
    )),
    (f"{EXTRA}::test_a_run_without_a_part_is_no_folder_of_images", (
        ("half a run taken for a folder of images", "tasks.extra_images", '(place / "split.json").is_file() and not is_run(place)', "False"),
    )),
    (f"{EXTRA}::test_what_a_killed_process_left_and_what_was_moved_is_made_again", (
        ("what a killed process left stays in the cache", "tasks.extra_images", '(place, *place.parent.glob(f".{place.name}.*"))', "(place,)"),
        ("cached samples counted and not named", "tasks.extra_images", '{path.relative_to(place).as_posix() for path in place.glob("*/*")} == files', 'sum(1 for _ in place.glob("*/*")) == len(files)'),
    )),
    ("tests/test_cleanup.py::test_the_directory_of_another_process_of_the_same_number_stays", (
        ("one place for all processes of a number", "cleanup", "{os.getpid()}-{secrets.token_hex(4)}", "{os.getpid()}"),
    )),
    (f"{EXTRA}::test_a_folder_stands_beside_a_run", (
        ("a run beside a folder not sampled", "tasks.extra_images", "if not any(place.is_dir() and is_run(place) for place in places):", "if not all(place.is_dir() and is_run(place) for place in places):"),
    )),
    (f"{EXTRA}::test_samples_that_another_process_has_just_made_are_taken", (
        ("samples that are there made again", "tasks.extra_images", "            if not _is_whole(place, files):", "            if True:"),
        ("samples made by two processes at once", "tasks.extra_images", 'with FileLock(place.with_suffix(".lock")):', "if True:"),
    )),
    (f"{EXTRA}::test_a_run_does_not_replace_what_it_is_trained_on", (
        ("a generator replaced by the run that is trained on it", "config.run",
         '("init.weights", self.init.weights if local else None),\n            *(("data.extra-dir", place) for place in self.data.extra_dir),\n',
         '("init.weights", self.init.weights if local else None),\n'),
    )),
    ("tests/data/test_bad_input.py::test_places_inside_the_image_folder_are_refused[--data.extra-dir]", (
        ("generated images among the photos", "config.run",
         '("data.dir", self.data.dir, [*written, *extra])', '("data.dir", self.data.dir, written)'),
    )),
    (f"{SAMPLING}::test_colours_are_saved_as_they_are", (
        ("red and blue of samples exchanged", "tasks.samples", "Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)", "Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image[..., ::-1])"),
    )),
    (f"{SAMPLING}::test_a_folder_is_there_once_it_is_whole", (
        ("a folder of samples there before it is whole", "commands.sample", "            with whole_directory(out) as staging:\n                yield staging", "            out.mkdir()\n            yield out"),
    )),
    (f"{SAMPLING}::test_a_class_of_a_run_without_classes_is_refused", (
        ("a class taken for a run without classes", "commands.sample", "    require(\n        conditional,", "    require(\n        True,"),
    )),
    (f"{SAMPLING}::test_a_class_and_a_seed_are_heard", (
        ("64 images of a class whatever is asked", "commands.sample", "np.full(options.n,", "np.full(Options.n,"),
    )),
    (f"{SAMPLING}::test_noise_on_the_way_is_new_at_each_step[0.5]", (
        ("no noise for an eta below 1", "tasks.sampling", "sampling.eta > 0)", "sampling.eta == 1)"),
    )),
    (f"{SAMPLING}::test_a_classifier_makes_no_images", (
        ("a classifier taken for a generator", "interop.saved_generator", "if not config.makes_images:", "if False:"),
    )),
    (f"{SAMPLING}::test_samples_of_an_older_state_are_said", (
        ("samples of an older state without a word", "interop.saved_generator", "selected_weights(path, config, warn)", "selected_weights(path, config, lambda line: None)"),
    )),
    (f"{SAMPLING}::test_all_steps_of_a_run_are_steps_of_ddim_too", (
        ("DDIM of all steps refused", "tasks.samples", "found.steps <= options.steps,", "found.steps < options.steps,"),
    )),
    (f"{QUALITY}::test_a_classifier_of_images_without_a_class_is_refused", (
        ("accuracy of images without a class", "commands.quality", "if not saved.config.model.conditional:", "if False:"),
    )),
    (f"{QUALITY}::test_the_classifiers_file_is_not_written_over", (
        ("a classifier's file written over", "commands.quality", "read = (options.run, options.features, options.classifier)", "read = (options.run, options.features)"),
    )),
    (f"{QUALITY}::test_too_few_real_images_for_an_interval_are_one_line", (
        ("intervals of three images", "commands.quality", "if len(rows) < LEAST:", "if len(rows) < 3:"),
    )),
    (f"{RUNS}::test_the_discriminators_batches_are_whole_on_four_devices[pmap]", (
        ("the discriminator's statistics of a device", "models.dcgan", "[BatchNorm(self.axis, scale_init=scale_init) for _ in others]", "[BatchNorm(scale_init=scale_init) for _ in others]"),
        ("a discriminator without the axis of its devices", "tasks.configured", "make_discriminator(config.model, classes, axis)", "make_discriminator(config.model, classes, None)"),
    )),
    (f"{RUNS}::test_an_option_that_does_not_fit_is_one_line", (
        ("a generator of pasted images", "config.method", '        ("augment.cutmix-alpha", augment.cutmix_alpha, 0.0),\n', ""),
        ("any standard deviation for a generator", "config.method", 'for option in ("mean", "std"):', 'for option in ("mean",):'),
    )),
    (f"{RUNS}::test_too_few_images_to_compare_with_are_one_line", (
        ("a U-Net beside one image to validate with", "tasks.configured", "    check_enough(data)\n    unet = ", "    unet = "),
    )),
    (f"{RUNS}::test_each_picture_of_the_page_has_its_own_heading", (
        ("the way from noise called the nearest images", "commands.pages", '"reverse_process": "From noise to images", "copies": "The nearest training images"', '"copies": "From noise to images", "reverse_process": "The nearest training images"'),
    )),
    (f"{RUNS}::test_a_collapsed_gan_is_said", (
        ("a GAN of a fifth of the diversity not said", "objectives.generation", "COLLAPSED = 0.3", "COLLAPSED = 0.1"),
    )),
    ("tests/tasks/test_generation_runs.py::test_the_noise_of_a_gan_is_normal_and_follows_seed_and_step", (
        ("the same z at each step", "tasks.generation_gan", "z = jax.random.normal(keys[1],", "z = jax.random.normal(jax.random.key(1),"),
        ("real images under other classes", "tasks.generation_gan", '"labels": batch["label"]}', '"labels": batch["label"][::-1]}'),
        ("a uniform z", "tasks.generation_gan", "z = jax.random.normal(keys[1],", "z = 3**0.5 * jax.random.uniform(keys[1], minval=-1, shape="),
    )),
    ("tests/tasks/test_generation_runs.py::test_classes_are_hidden_from_as_many_as_asked", (
        ("the same noise at each step", "tasks.generation_diffusion", "jax.random.normal(keys[2], images.shape)", "jax.random.normal(jax.random.key(2), images.shape)"),
        ("the same times at each step", "tasks.generation_diffusion", "jax.random.randint(keys[1], (len", "jax.random.randint(jax.random.key(1), (len"),
    )),
    ("tests/tasks/test_generation_runs.py::test_each_split_has_to_have_images_to_compare_with[val]", (
        ("one image to validate with let through", "tasks.generation", 'for name in ("val", "test"):', 'for name in ("test",):'),
    )),
    ("tests/objectives/test_generation.py::test_features_of_pixels_in_chunks_are_those_of_all_images_at_once", (
        ("the first chunk's pixels for all", "objectives.generation", "images[start : start + CHUNK].astype", "images[:CHUNK].astype"),
    )),
    ("tests/tasks/test_generation_runs.py::test_the_way_from_noise_is_that_of_the_scored_weights_and_the_test_classes", (
        ("moments under the shares of others", "tasks.generation_report", "for share in np.asarray(noise)]", "for share in np.asarray(noise)[::-1]]"),
        ("the way from noise compiled as a Vision Transformer's", "tasks.generation_report", "compiler_options(config.model.convolves)", "compiler_options(False)"),
        ("the way from noise to other classes", "tasks.generation_report", "jnp.asarray(test.labels[:number])", "jnp.asarray(test.labels[-number:])"),
        ("the way from noise of another seed", "tasks.generation_report", "jax.random.key(config.seed)", "jax.random.key(0)"),
    )),
    ("tests/tasks/test_generation_runs.py::test_the_report_shows_training_images_and_samples_under_their_class", (
        ("a GAN without curves of its losses", "tasks.generation_report", 'GAN if config.method == "gan" else ("loss",)', '("loss",)'),
    )),
    ("tests/pages/test_generation_page.py", (
        ("values under other names on the page of samples", "pages.generation", '"loss": "error of the predicted noise", "kernel_distance": "kernel distance of pixels"', '"loss": "kernel distance of pixels", "kernel_distance": "error of the predicted noise"'),
    )),
    ("tests/tasks/test_sampling.py::test_as_many_images_are_made_together_as_asked", (
        ("--batch-size of sample ignored", "commands.sample", "sampling, options.batch_size, track)", "sampling, track=track)"),
    )),
    ("tests/tasks/test_sample_quality.py::test_the_classifier_and_the_place_of_the_images_are_those_given", (
        ("--data-dir of quality ignored", "commands.quality", "options.data_dir, track)", "None, track)"),
        ("the features' network as the classifier", "commands.quality", "accuracy_of(classifier,", "accuracy_of(network,"),
    )),
    ("tests/tasks/test_sampling.py::test_what_cannot_be_sampled_is_one_line", (
        ("--eta and --guidance of a GAN ignored", "tasks.samples", "(steps, eta, guidance) == (None, 0.0, None),", "steps is None,"),
    )),
    ("tests/tasks/test_extra_images.py::test_cached_samples_are_of_the_weights_and_the_seed", (
        ("cached samples of other numbers taken", "tasks.extra_images", ' {numbers.tolist()} "', ' "'),
    )),
    ("tests/models/test_rounding.py", (
        ("the generator's image not rounded", "models.dcgan", "Resampling(self.in_channels, double, True, self.dtype)", "Resampling(self.in_channels, double, True)"),
        ("attention of maps not rounded", "models.unet", "Attention(self.outputs, self.groups, self.dtype)", "Attention(self.outputs, self.groups)"),
        ("upsampled maps not rounded", "models.unet", "UpsampledConv(now, self.dtype,", "UpsampledConv(now, jnp.float32,"),
        ("a softmax of rounded scores", "models.unet", 'jnp.einsum("bnc,bmc->bnm", q, k).astype(jnp.float32)', 'jnp.einsum("bnc,bmc->bnm", q, k)'),
    )),
    ("tests/tasks/test_extra_images.py::test_seen_images_are_found_whatever_size_is_stored", (
        ("pixels of another size compared", "tasks.extra_images",
         "training_geometry(run.data, run.model.img_size)", "training_geometry(config, run.model.img_size)"),
    )),
    ("tests/tasks/test_extra_images.py::test_cached_samples_are_of_the_weights_and_the_seed", (
        ("cached samples of another guidance", "tasks.extra_images", " {saved.config.diffusion} {numbers", " {numbers"),
    )),
    ("tests/tasks/test_generation_runs.py::test_the_report_shows_training_images_and_samples_under_their_class", (
        ("copies of validation images looked for", "tasks.generation_report", "_copies(samples, data.train, test)", "_copies(samples, data.val, test)"),
        ("samples under the names of other classes", "tasks.generation_report", "samples[:GRID][order]", "samples[:GRID]"),
    )),
    ("tests/tasks/test_generation_runs.py::test_without_classes_all_samples_are_of_one", (
        ("diversity within classes that samples have not", "tasks.generation",
         "labels = split.labels if conditional else np.zeros(len(split), int)", "labels = split.labels"),
    )),
    ("tests/tasks/test_sample_quality.py::test_weights_options_reach_the_features", (
        ("--weights-option ignored by quality", "commands.quality",
         "cli.load_weights(options.features, options.weights_option)", "cli.load_weights(options.features, ())"),
    )),
    ("tests/tasks/test_sample_quality.py::test_each_value_is_printed_by_its_name", (
        ("the Frechet distance printed twice", "commands.quality", "kernel distance {kernel.value:.4g}", "kernel distance {frechet.value:.4g}"),
        ("recall printed as precision", "commands.quality", "precision {_share(quality.precision)}", "precision {_share(quality.recall)}"),
    )),
    ("tests/tasks/test_sample_quality.py::test_samples_are_measured_beside_training_images", (
        ("test images counted as training images", "commands.quality", "{len(images['train']):,} training", "{len(images['test']):,} training"),
    )),
    ("tests/objectives/test_generation.py::test_groups_of_an_interval_hold_all_classes", (
        ("groups of the jackknife are classes", "objectives.generation", "rng.permutation(len(each)) % groups", "np.arange(len(each)) % groups"),
    )),
    ("parity_tests/survey/test_dcgan.py::test_halving_and_doubling_are_torchs_and_their_references[4]", (
        ("rows of a doubled map shifted", "models.resampling", "x[..., 1, :] + before, x[..., 2, :] + after", "x[..., 2, :] + before, x[..., 1, :] + after"),
        ("neighbours of a doubled map swapped", "models.resampling", "x[..., :-1, 3, :]", "x[..., :-1, 0, :]"),
        ("a kernel's rows for columns", "models.resampling", "for i in (0, 1) for j in (0, 1)]", "for j in (0, 1) for i in (0, 1)]"),
        ("a reference that is not flipped", "models.resampling", "kernel[::-1, ::-1]", "kernel"),
    )),
    ("parity_tests/survey/test_dcgan.py::test_both_networks_are_as_close_to_float64_as_torch[5-16]", (
        ("no nonlinearity behind a norm", "models.dcgan", "x = nn.relu(norm(up(x), deterministic))", "x = norm(up(x), deterministic)"),
        ("another slope", "models.dcgan", "x = nn.leaky_relu(norm(down(x), deterministic), 0.2)", "x = nn.leaky_relu(norm(down(x), deterministic), 0.01)"),
        ("no tanh", "models.dcgan", "return jnp.tanh(self.to_image(x))", "return self.to_image(x)"),
        ("the generator's norms always evaluated", "models.dcgan", "self.norms[0](self.project(z), deterministic)", "self.norms[0](self.project(z), True)"),
        ("the judge's class left out", "models.dcgan", "x = jnp.concatenate([x, maps], axis=-1)", "x = jnp.concatenate([x, 0 * maps], axis=-1)"),
        ("the generator's class left out", "models.dcgan", "jax.nn.one_hot(labels, self.num_classes)], axis=1)", "0 * jax.nn.one_hot(labels, self.num_classes)], axis=1)"),
        ("no bias of the logit", "models.dcgan", "kernel.reshape(-1, 1) + bias)", "kernel.reshape(-1, 1) + 0 * bias)"),
    )),
    ("parity_tests/survey/test_dcgan.py::test_initial_values_are_the_papers", (
        ("scales of norms that begin at 1", "models.dcgan", "return 1 + kernel_init(key, shape, dtype)", "return jnp.ones(shape, dtype)"),
        ("wider initial kernels", "models.dcgan", "kernel_init = nn.initializers.normal(0.02)", "kernel_init = nn.initializers.normal(0.05)"),
    )),
    ("parity_tests/survey/test_dcgan.py::test_shapes_and_numbers_of_parameters_are_the_papers", (
        ("channels that do not double", "models.dcgan", "[width * 2**i for i in range(", "[width * (i + 1) for i in range("),
    )),
    ("parity_tests/survey/test_unet.py::test_sinusoids_are_those_of_the_definition", (
        ("cosines before sines", "models.unet", "[np.sin(angles), np.cos(angles)]", "[np.cos(angles), np.sin(angles)]"),
        ("rates over half", "models.unet", "np.arange(half) / (half - 1)", "np.arange(half) / half"),
    )),
    ("parity_tests/survey/test_unet.py::test_noise_and_gradients_are_as_close_to_float64_as_torch[options0-5]", (
        ("times off by one", "models.unet", "self.time1(table[t])", "self.time1(table[t - 1])"),
        ("the class not added to the time", "models.unet", "time = time + self.classes[labels]", "time = time + 0 * self.classes[labels]"),
        ("the time before its nonlinearity", "models.unet", "self.time(nn.silu(time))", "self.time(time)"),
        ("no shortcut", "models.unet", "(self.shortcut(x) if self.inputs != self.outputs else x)", "(self.shortcut(x) if self.inputs != self.outputs else 0 * x)"),
        ("scores not scaled", "models.unet", "/ math.sqrt(self.channels)", "/ self.channels"),
        ("attention without its residual path", "models.unet", "return x + self.out(", "return 0 * x + self.out("),
        ("skips in another order", "models.unet", "[x, skipped.pop()]", "[skipped.pop(), x]"),
        ("no attention in the levels", "models.unet", "return self.attention(h) if self.attends else h", "return h"),
    )),
    ("tests/tasks/test_sampling.py", (
        ("all images made on each device", "tasks.samples", "(P(), P(AXIS), P(AXIS)), out_specs=P(AXIS)", "(P(), P(), P()), out_specs=P()"),
        ("all images made on one device", "tasks.samples", "jax.local_devices()", "jax.local_devices()[:1]"),
        ("a CPU of many cores divided in part for samples", "commands.sample", "one_per_core=True", "one_per_core=False"),
        ("samples made by the CPU as one device", "commands.sample", "    divide_cpu(one_per_core=True)\n", ""),
        ("a CPU of many cores divided in part for measured samples", "commands.quality", "one_per_core=True", "one_per_core=False"),
        ("measured samples made by the CPU as one device", "commands.quality", "    divide_cpu(one_per_core=True)\n", ""),
    )),
    ("tests/runtime/test_compiler.py", (
        ("samples compiled as a Vision Transformer's", "tasks.samples", "saved.config.model.convolves", "False"),
        ("samples of several devices compiled as those of one", "tasks.samples", "saved.config.model.convolves, mesh.size", "saved.config.model.convolves, 1"),
        ("features of a ResNet compiled as a Vision Transformer's", "tasks.sample_quality", "source.model_config.convolves", "False"),
    )),
    ("parity_tests/survey/test_unet.py::test_the_norm_of_maps_far_from_zero_is_as_close_to_float64_as_torch", (
        ("variance as E[x^2] - E[x]^2", "models.group_norm", "mean(centred**2) + eps", "mean(x**2) - mean(x) ** 2 + eps"),
        ("groups of every second channel", "models.group_norm", "np.kron(np.eye(groups), np.full((within, within), 1 / within))", "np.kron(np.full((within, within), 1 / within), np.eye(groups))"),
        ("GroupNorm with an epsilon of 1e-3", "models.group_norm", "EPSILON = 1e-5", "EPSILON = 1e-3"),
    )),
    ("parity_tests/survey/test_unet.py::test_it_begins_by_predicting_no_noise", (
        ("a last layer that does not begin with zeros", "models.unet", "Conv(self.in_channels, 3, 1, self.dtype, zeros, zeros)", "Conv(self.in_channels, 3, 1, self.dtype, xavier, zeros)"),
    )),
    ("parity_tests/survey/test_unet.py::test_dropout_is_drawn_in_training_alone", (
        ("no dropout", "models.unet", "self.drop(nn.silu(self.norm2(h)), deterministic)", "self.drop(nn.silu(self.norm2(h)), True)"),
    )),
    ("parity_tests/survey/test_adversarial.py::test_ten_steps_are_as_close_to_float64_as_torch", (
        ("the generator's statistics moved twice", "tasks.generation_gan", 'fake, _ = generate(params["generator"], extra["generator"], inputs)\n        judged, stats', 'fake, extra["generator"] = generate(params["generator"], extra["generator"], inputs)\n        judged, stats'),
        ("real and generated images in one batch", "tasks.generation_gan", 'of_fake, stats = judge(judged, stats, fake, inputs)', 'of_fake, stats = judge(judged, stats, 0.5 * (fake + inputs["images"]), inputs)'),
        ("the generator judged before the update", "tasks.generation_gan", 'Phase(of_discriminator, tx, schedule, "discriminator"),\n            Phase(of_generator, tx, schedule, "generator"),', 'Phase(of_generator, tx, schedule, "generator"),\n            Phase(of_discriminator, tx, schedule, "discriminator"),'),
        ("the discriminator fed with the generator's gradients", "tasks.generation_gan", "discriminator_loss(of_real, of_fake).mean()", "discriminator_loss(of_real, of_fake).mean() + generator_loss(of_fake).mean()"),
        ("the generator's loss updates the discriminator", "tasks.generation_gan", 'Phase(of_generator, tx, schedule, "generator"),', "Phase(of_generator, tx, schedule),"),
        ("the judge's statistics not kept", "tasks.generation_gan", '({"generator": made, "discriminator": stats}, {})', '({"generator": made, "discriminator": extra["discriminator"]}, {})'),
    )),
    ("parity_tests/survey/test_ddpm.py::test_ten_steps_are_as_close_to_float64_as_torch", (
        ("the image predicted for the noise", "tasks.generation_diffusion", "labels, key is None, rngs=rngs), noise\n", "labels, key is None, rngs=rngs), images\n"),
    )),
    ("parity_tests/survey/test_ddpm.py::test_an_ancestral_chain_from_replayed_noise_is_the_twins[small]", (
        ("a chain that begins one step late", "objectives.samplers", "jnp.broadcast_to(steps - 1 - number, x.shape[:1])", "jnp.broadcast_to(jnp.maximum(steps - 2 - number, 0), x.shape[:1])"),
        ("the first noise used again", "objectives.samplers", "noise = draw(number + 1)\n        return ancestral_step", "noise = draw(number)\n        return ancestral_step"),
    )),
    ("parity_tests/survey/test_ddpm.py::test_guidance_moves_from_no_class_to_the_class_and_beyond", (
        ("guidance away from the class", "tasks.sampling", "of_none + guidance * (of_class - of_none)", "of_class + guidance * (of_none - of_class)"),
        ("the last class for no class", "tasks.sampling", "jnp.full_like(labels, unet.num_classes)", "jnp.full_like(labels, unet.num_classes - 1)"),
    )),
    ("tests/objectives/test_generation.py::test_the_frechet_distance_is_scipys_and_torch_fidelitys", (
        ("means left out", "objectives.generation", "squared + np.trace(cov_a)", "np.trace(cov_a)"),
        ("covariances of another divisor", "objectives.generation", "np.cov(each, rowvar=False)", "np.cov(each, rowvar=False, bias=True)"),
    )),
    ("tests/objectives/test_generation.py::test_the_kernel_distance_is_torch_fidelitys", (
        ("the diagonal counted", "objectives.generation", "(total(x, x) - itself) / (len(x) * (len(x) - 1))", "total(x, x) / len(x) ** 2"),
        ("another degree", "objectives.generation", "+ 1) ** 3", "+ 1) ** 2"),
    )),
    ("tests/objectives/test_generation.py::test_the_kernel_distance_in_chunks_is_that_of_all_pairs_at_once", (
        ("rows of a chunk left out", "objectives.generation", "x[start : start + CHUNK] for", "x[start : start + CHUNK - 1] for"),
    )),
    ("tests/objectives/test_generation.py::test_precision_and_recall_are_torch_fidelitys", (
        ("precision and recall of samples swapped", "objectives.generation", "(between <= radius_real).any(axis=1)", "(between <= radius_fake[:, None]).any(axis=0)"),
        ("itself counted as a neighbour", "objectives.generation", "neighbours, axis=1)[:, neighbours]", "neighbours - 1, axis=1)[:, neighbours - 1]"),
    )),
    ("tests/objectives/test_generation.py::test_diversity_is_that_within_classes", (
        ("distances to itself counted", "objectives.generation", "pairs += len(rows) * (len(rows) - 1)", "pairs += len(rows) ** 2"),
    )),
    ("tests/objectives/test_generation.py::test_an_interval_covers_the_truth_as_often_as_it_says", (
        ("an interval of one deviation", "objectives.generation", "spread = 1.96 *", "spread ="),
        ("groups of one set alone", "objectives.generation", "b[members[1] != group]", "b"),
    )),
    ("tests/tasks/test_generation_runs.py::test_samples_of_the_test_are_those_of_the_saved_weights[gan]", (
        ("samples drawn for the batch", "tasks.generation", "jax.random.fold_in(key, row))(index)", "jax.random.fold_in(key, 0 * row))(index)"),
        ("labels of samples ignored", "tasks.sampling", "labels if config.model.conditional else None)", "0 * labels if config.model.conditional else None)"),
        ("the discriminator's statistics saved", "interop.saved_generator", 'part["generator"] for part in parts', 'part["discriminator"] for part in parts'),
    )),
    ("tests/tasks/test_generation_runs.py::test_samples_of_the_test_are_those_of_the_saved_weights[diffusion]", (
        ("guidance of the configuration ignored", "tasks.sampling", "Sampling(options.sample_steps, guidance=options.guidance)", "Sampling(options.sample_steps)"),
        ("steps of the configuration ignored", "tasks.sampling", "Sampling(options.sample_steps, guidance", "Sampling(options.steps, guidance"),
        ("another schedule's jumps", "tasks.sampling", "jumps = make_jumps(options.schedule, options.steps, sampling.steps, sampling.eta)", 'jumps = make_jumps("linear", options.steps, sampling.steps, sampling.eta)'),
    )),
    ("tests/tasks/test_generation_runs.py::test_what_is_used_of_a_gan_is_its_generator_with_its_statistics", (
        ("weights without an average read as one", "interop.saved_generator", 'if "extra" in found:', 'if "nothing" in found:'),
    )),
    ("tests/tasks/test_generation_runs.py::test_what_a_run_reports_is_what_its_samples_give[gan]", (
        ("diversity not over the real images'", "tasks.generation", "diversity(samples, labels) / real if real", "diversity(samples, labels) if real"),
        ("a distance of samples to themselves", "tasks.generation", "kernel_distance(images, samples)", "kernel_distance(samples, samples)"),
        ("diversity over all classes", "tasks.generation", "labels = split.labels if conditional", "labels = np.zeros(len(split), int) if conditional"),
        ("images of a class chosen without a limit", "data.splits", "[:number]", "[:14]"),
    )),
    ("tests/tasks/test_generation_runs.py::test_the_loss_of_diffusion_is_that_of_the_saved_weights", (
        ("no times of the second half in the loss that is scored", "tasks.generation_diffusion", "jax.random.randint(key, (), 0, options.steps))(keys[:, 0])", "jax.random.randint(key, (), 0, options.steps // 2))(keys[:, 0])"),
        ("padding counted in the loss", "tasks.generation_diffusion", 'jnp.where(batch["mask"], found, 0).sum()', "found.sum()"),
    )),
    ("tests/tasks/test_generation_runs.py::test_classes_are_hidden_from_as_many_as_asked", (
        ("no class hidden", "tasks.generation_diffusion", "jnp.where(hidden, unet.num_classes, batch", "jnp.where(hidden & False, unet.num_classes, batch"),
        ("the last time never drawn", "tasks.generation_diffusion", "(len(images),), 0, options.steps),", "(len(images),), 0, options.steps - 1),"),
        ("noise that is not normal", "tasks.generation_diffusion", '"noise": jax.random.normal(', '"noise": jax.random.uniform('),
    )),
    ("tests/tasks/test_generation_runs.py::test_each_validation_keeps_samples_of_the_same_noise[gan]", (
        ("sketches of other steps read", "runs.sketches", "and int(path.stem) in steps", "and int(path.stem) not in steps"),
        ("fewer samples kept", "tasks.generation", '["samples"])[:GRID]}', '["samples"])[:9]}'),
    )),
    ("tests/tasks/test_generation_runs.py::test_samples_are_events_of_tensorboard", (
        ("sketches not shown", "runs.recorder", "self._trackers.show(step, sketches)", "pass"),
    )),
    ("tests/tasks/test_generation_runs.py::test_sketches_are_read_back_and_tiled", (
        ("tiles in columns", "runs.sketches", ".swapaxes(1, 2)", ".swapaxes(1, 2)[::-1]"),
    )),
    ("tests/tasks/test_generation_runs.py::test_a_collapsed_gan_is_said", (
        ("the alarm not said", "runs.recorder", "if line := self._task.alarm(evaluation.metrics):", "if False and (line := ''):"),
        ("an alarm for all", "tasks.generation", "if found >= COLLAPSED:", "if found < 0:"),
    )),
    ("tests/tasks/test_generation_runs.py::test_four_devices_are_as_one[pmap-gan]", (
        ("batch statistics of each device", "models.configured", "z_dim=config.z_dim, axis=axis)", "z_dim=config.z_dim)"),
    )),
    ("tests/tasks/test_sampling.py::test_samples_do_not_depend_on_the_size_of_batches[diffusion]", (
        ("an image's number within its batch", "tasks.samples", "batch(rows, labels", "batch(rows - start, labels"),
        ("the last batch too long", "tasks.samples", "np.concatenate(made)[:number]", "np.concatenate(made)"),
    )),
    ("tests/tasks/test_sampling.py::test_the_ancestral_sampler_has_the_variance_of_the_runs_configuration[large]", (
        ("the variance of the configuration ignored", "tasks.sampling", "schedule, draw, options.variance)", "schedule, draw)"),
    )),
    ("tests/tasks/test_sampling.py::test_a_class_and_a_seed_are_heard", (
        ("the seed of samples ignored", "commands.sample", "saved, labels, options.seed, sampling", "saved, labels, 0, sampling"),
        ("the class ignored", "commands.sample", "names.index(options.class_name)", "0"),
    )),
    ("tests/tasks/test_sampling.py::test_the_sampler_is_that_which_was_asked_for", (
        ("eta ignored", "tasks.sampling", "sampling.steps, sampling.eta)", "sampling.steps)"),
        ("guidance ignored", "tasks.samples", "options.guidance if guidance is None else guidance", "options.guidance"),
        ("the number of steps ignored", "tasks.samples", "options.sample_steps if steps is None else steps", "options.sample_steps"),
    )),
    ("tests/tasks/test_sampling.py::test_nothing_is_written_over", (
        ("samples written over a directory", "commands.sample", "require(not out.exists()", "require(True or not out.exists()"),
    )),
    ("tests/tasks/test_sample_quality.py::test_quality_measures_the_images_and_the_network_that_are_asked_for", (
        ("the sampler of measured samples ignored", "commands.quality", "labels, options.seed, sampling, track=track)", "labels, options.seed, track=track)"),
        ("guidance of measured samples ignored", "commands.quality", "options.steps, options.eta, options.guidance)", "options.steps, options.eta)"),
        ("as many samples as test images whatever n", "commands.quality", 'options.n or len(real["test"][0])', 'len(real["test"][0])'),
        ("features of the run that is measured", "commands.quality", "network = cli.load_weights(options.features, options.weights_option)", "network = load_pretrained(options.run)"),
    )),
    ("tests/tasks/test_sample_quality.py::test_a_classifier_of_other_classes_is_refused", (
        ("a classifier of other classes believed", "commands.quality", "if found.class_names != saved.class_names:", "if False:"),
    )),
    ("tests/tasks/test_sample_quality.py::test_features_are_those_of_a_foreign_network_at_its_own_size[3]", (
        ("features of images resized otherwise", "tasks.sample_quality", "source.preprocessing.geometry, source.model.in_channels", 'source.preprocessing.geometry._replace(interpolation="bilinear"), source.model.in_channels'),
    )),
    ("tests/tasks/test_sample_quality.py::test_quality_is_that_of_the_features_and_the_classifier", (
        ("an interval of precision for more images", "tasks.sample_quality", "_share(precision * len(features), len(features))", "_share(precision * len(real), len(real))"),
        ("test images for training ones", "commands.quality", '"train": real["train"][0], "samples"', '"train": real["test"][0], "samples"'),
        ("the seed of measured samples ignored", "commands.quality", "make_samples(saved, labels, options.seed, sampling", "make_samples(saved, labels, 0, sampling"),
        ("recall of the images themselves", "objectives.generation", "(between <= radius_fake[:, None]).any(axis=0)", "(between <= radius_real).any(axis=0)"),
        ("accuracy of the test for the samples'", "commands.quality", "accuracy_of(classifier, images[name], truth)", 'accuracy_of(classifier, images["test"], real["test"][1])'),
        ("features of unnormalised images", "tasks.sample_quality", "normalize(pixels, mean, std), True", "pixels.astype(float), True"),
    )),
    ("tests/tasks/test_extra_images.py::test_generated_images_are_trained_on_alone_and_named", (
        ("generated images not counted", "data.extra", "extra=data.extra + len(rows)", "extra=data.extra"),
        ("a share of the real images", "data.extra", "share / (1 - share) * np.bincount", "share * np.bincount"),
        ("pixels of the wrong rows", "data.decoded", "self.second[rows[later] - len(self.first)]", "self.second[rows[later] - len(self.first) - 1]"),
        ("labels of the real images", "data.extra", "np.concatenate([train.labels, examples.labels[taken]])", "np.concatenate([train.labels, np.resize(train.labels, len(taken))])"),
    )),
    ("tests/tasks/test_extra_images.py::test_two_runs_make_half_of_the_images_each", (
        ("all images of the first", "data.extra", "(numbers[None] + np.arange(places)[:, None]) // places", "numbers[None] * (np.arange(places)[:, None] == 0)"),
        ("a part of the cached samples taken for all", "tasks.extra_images", 'place.glob("*/*")} == files', 'place.glob("*/*")} <= files'),
        ("samples of another seed", "tasks.extra_images", "make_samples(saved, labels, config.split_seed", "make_samples(saved, labels, 1 + config.split_seed"),
    )),
    ("tests/tasks/test_sampling.py::test_noise_on_the_way_is_new_at_each_step", (
        ("one noise for all steps", "tasks.sampling", "jax.random.fold_in(key, number), shape))(keys)", "jax.random.fold_in(key, 0), shape))(keys)"),
        ("no noise on the way", "objectives.samplers", "noise = draw(number + 1) if draws else", "noise = jnp.zeros_like(x) if draws else"),
    )),
    ("tests/tasks/test_generation_runs.py::test_training_sees_augmented_images_and_drops", (
        ("no dropout in training", "tasks.generation_diffusion", "labels, key is None, rngs=rngs)", "labels, True, rngs=rngs)"),
    )),
    ("tests/data/test_sources.py::test_images_of_a_class_are_chosen_by_the_seed_of_the_split", (
        ("the same few images whatever the seed", "data.splits", "rng, chosen = np.random.default_rng(seed), []", "rng, chosen = np.random.default_rng(0), []"),
    )),
    ("tests/tasks/test_extra_images.py::test_a_generator_that_has_seen_images_that_are_scored_is_refused", (
        ("a generator of other splits accepted", "tasks.extra_images", "if crc in scored]:", "if crc in ()]:"),
    )),
    ("tests/tasks/test_generation_runs.py::test_an_averaged_generator_has_statistics_of_its_own_under_pmap_too", (
        ("statistics by the share of a step", "tasks.generation_gan", "return statistics_of_batch(generator, extra, update)", "return extra"),
    )),
    ("tests/tasks/test_generation_runs.py::test_samples_are_pictures_of_weights_and_biases", (
        ("no pictures for wandb", "runs.trackers.wandb", "if step < self._first:", "if step >= self._first:"),
    )),
    ("tests/tasks/test_extra_images.py::test_too_few_generated_images_are_one_line", (
        ("too few generated images taken as they are", "data.extra", "if len(there) < number:", "if len(there) < 0:"),
        ("folders of no class read", "data.folder", "if strangers:\n        raise UserError(\n            f\"{root} has a folder", "if False:\n        raise UserError(\n            f\"{root} has a folder"),
    )),
    ("tests/tasks/test_sampling.py::test_a_generator_is_refused_where_a_model_of_images_is_asked_for", (
        ("a generator read as a classifier", "interop.saved_run", "if config.makes_images:", "if False:"),
    )),
    ("tests/studies/test_plan.py::test_runs_of_another_preprocessing_need_not_have_the_same_pixels", (
        ("pixels of other preprocessing compared", "studies.plan", "scoring_geometry(run.config.data, run.config.model.img_size)", "run.config.model.img_size"),
    )),
    ("tests/tasks/test_extra_images.py::test_images_of_every_scored_split_are_kept_from_generators", (
        ("test images of a generator accepted", "tasks.extra_images", '(found["val"] | found["test"])', 'found["val"]'),
    )),
    ("tests/tasks/test_extra_images.py::test_a_generator_of_other_classes_is_refused", (
        ("a generator of other classes accepted", "tasks.extra_images", "if saved.class_names != class_names:", "if False:"),
    )),
    ("tests/tasks/test_extra_images.py::test_cached_samples_are_of_the_weights_and_the_seed", (
        ("cached samples of whatever weights", "tasks.extra_images", "{sha256(saved.weights)} ", ""),
        ("cached samples of whatever seed", "tasks.extra_images", 'f"{asked}{config.split_seed}"', 'f"{asked}"'),
    )),
    ("tests/tasks/test_extra_images.py::test_images_are_told_apart_by_their_pixels_and_not_by_their_names", (
        ("photos that are twice in the data kept from generators", "tasks.extra_images", ' - found["train"]', ""),
        ("images of a generator compared by name", "tasks.extra_images", "for name, crc in described(path", "for crc, name in described(path"),
    )),
    ("tests/tasks/test_extra_images.py::test_unreadable_generated_images_are_left_out_and_others_drawn_by_the_seed", (
        ("unreadable generated images trained on", "data.extra", "readable[list(found.unreadable)] = False", "readable[list(found.unreadable)] = True"),
        ("the first generated images whatever the seed", "data.extra", "rng.permutation(there)[:number]", "there[:number]"),
        ("generated images of the size that is scored", "data.datasets", "data = with_extra(data, config, trained,", "data = with_extra(data, config, scored,"),
    )),
    ("tests/tasks/test_extra_images.py::test_a_class_called_extra_is_no_generated_image", (
        ("generated images among those of the run", "interop.labelled", "found[: len(found) - generated]", "found"),
    )),
    ("tests/tasks/test_sampling.py::test_guidance_needs_hidden_classes", (
        ("guidance without hidden classes", "tasks.samples", "found.guidance == 1 or (config.model", "True or (config.model"),
    )),
    ("tests/tasks/test_sampling.py::test_the_last_stage_is_the_sample", (
        ("the way from noise without guidance", "tasks.sampling", "weights, labels, options.guidance)", "weights, labels, 1.0)"),
    )),
    ("tests/tasks/test_generation_runs.py::test_a_sample_that_copies_is_beside_its_image", (
        ("the farthest training image for the nearest", "tasks.generation_report", "between.argmin(axis=1)", "between.argmax(axis=1)"),
    )),
    ("tests/tasks/test_generation_runs.py::test_the_chosen_metric_of_diffusion_is_monitored", (
        ("--monitor of diffusion ignored", "tasks.generation_diffusion", "monitor_of(config.method, config.monitor)", "monitor_of(config.method, None)"),
    )),
    ("tests/tasks/test_generation_runs.py::test_what_the_discriminator_says_of_real_and_of_fake_images_is_reported", (
        ("of fake images for of real ones", "tasks.generation_gan", "jax.nn.sigmoid(of_real).mean()", "jax.nn.sigmoid(of_fake).mean()"),
        ("a GAN's examples independent of each other", "tasks.generation_gan", "couples=True,", "couples=False,"),
    )),
    ("tests/tasks/test_generation_runs.py::test_a_damaged_sketch_is_a_picture_less", (
        ("a damaged sketch ends the run", "runs.sketches", "except OSError:", "except ZeroDivisionError:"),
    )),
    ("tests/tasks/test_instance_runs.py::test_views_that_are_scored_mix_no_images", (
        ("scored views mixed", "tasks.instance_discrimination", "make_row_views(make_augment(alone, mean", "make_row_views(make_augment(config.augment, mean"),
    )),
    ("tests/tasks/test_instance_runs.py::test_features_that_are_no_numbers_stop_the_run", (
        ("features that are no numbers scored", "tasks.instance_discrimination", 'if not np.isfinite(outputs["features"]).all():', "if False:"),
    )),
    ("tests/studies/test_conduct.py::test_a_run_is_not_started_before_what_it_starts_from_is_finished", (
        ("a run started from an unfinished one", "studies.conduct", "if not can_begin(run):", "if False:"),
    )),
    ("tests/studies/test_results.py::test_a_failed_run_is_the_exit_code_and_in_the_files", (
        ("a study whose runs failed ends with 0", "commands.study", "    if failures:", "    if False:"),
    )),
    ("tests/studies/test_results.py::test_runs_that_start_from_others_are_in_the_table", (
        ("runs that start from others not in the table", "commands.study", "for each in plan() if", "for each in runs if"),
    )),
    ("tests/studies/test_results.py::test_other_test_images_in_one_study_are_refused", (
        ("test images of a study never compared", "commands.study", "check_same_data(finished)", "None"),
    )),
    ("tests/studies/test_plan.py::test_generators_and_classifiers_see_the_same_images_for_as_many_steps", (
        ("a generator of all images", "studies.generated", '"ddpm": ("digits-ddpm", *few)}', '"ddpm": ("digits-ddpm",)}'),
        ("twice the steps beside generated images", "studies.generated", "*_epochs(2 * images", "*_epochs(images"),
    )),
    ("tests/data/test_bad_input.py::test_a_file_in_two_splits_is_refused", (
        ("a file in two splits accepted", "data.files", "first = {} if seen is None else seen", "first = {}"),
    )),
))  # fmt: skip
