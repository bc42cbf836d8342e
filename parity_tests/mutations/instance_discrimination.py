"""Mutations of instance discrimination: views, task, metrics of features, source, layout, page."""

from parity_tests.mutation import listed

INSTANCE_DISCRIMINATION = listed("jaxvit", (
    ("tests/tasks/test_instance_runs.py::test_targets_are_the_images_own_numbers", (
        ("instances without smoothing", "tasks.instance_discrimination", "instances, config.label_smoothing)", "instances, 0.0)"),
    )),
    ("tests/tasks/test_instance_runs.py::test_views_that_are_scored_mix_no_images", (
        ("scored views mixed by Mixup", "tasks.instance_discrimination", "replace(config.augment, mixup_alpha=0.0, cutmix_alpha=0.0)", "replace(config.augment, cutmix_alpha=0.0)"),
    )),
    ("tests/tasks/test_instance_runs.py::test_the_chosen_metric_is_monitored", (
        ("features of labelled images without accuracies on the terminal", "tasks.instance_discrimination", "HEADLINE if config.data.labels else WITHOUT_LABELS", "WITHOUT_LABELS"),
    )),
    ("tests/objectives/test_representation.py::test_in_chunks_the_scores_are_those_of_all_images_at_once", (
        ("uniformity of the first chunk", "objectives.representation", "(z[start : start + CHUNK] @ z.T)", "(z[:CHUNK] @ z.T)"),
        ("neighbours of the first chunk", "objectives.representation", "queries[start : start + CHUNK] @", "queries[:CHUNK] @"),
    )),
    ("tests/tasks/test_representation_report.py::test_the_picture_of_neighbours_has_the_nearest_other_test_images", (
        ("large views shown as small", "tasks.representation_report", 'results.inputs["small_images"]', 'results.inputs["images"]'),
        ("curves of features with the chance of the rarest class", "tasks.representation_report", "float(shares.max())", "float(shares.min())"),
        ("accuracies without their intervals", "tasks.representation_report", "limits=(0, 1), interval=True)", "limits=(0, 1))"),
    )),
    ("tests/tasks/test_representation_report.py::test_the_map_is_of_directions_alone_and_the_same_each_time", (
        ("a map of lengths too", "tasks.representation_report", "tsne.fit_transform(unit(features))", "tsne.fit_transform(features)"),
        ("another map each time", "tasks.representation_report", "random_state=0", "random_state=None"),
    )),
    ("tests/data/test_flowers17.py::test_photos_are_rotated_by_their_orientation_if_that_is_asked_for", (
        ("flowers never rotated by their orientation", "data.flowers17", "labels[rows].tolist(), upright)", "labels[rows].tolist(), False)"),
    )),
    ("tests/tasks/test_instance_runs.py::test_the_chosen_metric_is_monitored", (
        ("--monitor ignored by instance discrimination", "tasks.instance_discrimination",
         "monitor_of(config.method, config.monitor, config.data.labels)", "monitor_of(config.method, None, config.data.labels)"),
    )),
    ("tests/tasks/test_instance_runs.py::test_targets_are_the_images_own_numbers", (
        ("instances of the labels", "tasks.instance_discrimination", 'smooth_labels(batch["index"], instances', 'smooth_labels(batch["label"], instances'),
        ("instances off by one", "tasks.instance_discrimination", 'smooth_labels(batch["index"], instances', 'smooth_labels(batch["index"] + 1, instances'),
    )),
    ("tests/tasks/test_instance_runs.py::test_small_views_are_of_smaller_parts_and_have_draws_of_their_own", (
        ("small views with the draws of the large", "tasks.instance_discrimination", 'small(keys[1], batch["image"], targets)', 'small(keys[0], batch["image"], targets)'),
        ("small views of the large crops", "tasks.instance_discrimination", "crop_scale=options.small_scale", "crop_scale=config.augment.crop_scale"),
    )),
    ("tests/tasks/test_instance_runs.py::test_validations_are_those_of_the_validation_split_and_instances_are_learnt", (
        ("the small views' loss left out", "tasks.instance_discrimination", "entropy += added", "entropy += 0 * added"),
        ("the weight of instances ignored", "tasks.instance_discrimination", "options.instance_weight * entropy", "entropy"),
        ("the contrastive weight ignored", "tasks.instance_discrimination", "options.contrastive_weight * found[", "found["),
    )),
    ("parity_tests/instance_discrimination/test_training.py::test_a_run_of_ten_steps_is_as_close_to_float64_as_torch[blog]", (
        ("a view contrasted with itself", "tasks.instance_discrimination", "(z[:, 0], z[:, 1])", "(z[:, 0], z[:, 0])"),
    )),
    ("tests/tasks/test_instance_runs.py::test_four_devices_are_as_one[pmap]", (
        ("views not gathered under pmap", "tasks.instance_discrimination", "if axis is not None:", "if False:"),
    )),
    ("tests/tasks/test_instance_runs.py::test_what_a_run_reports_is_what_its_weights_give[run]", (
        ("outputs of the scored split taken for those of any other", "training.evaluate", "outputs if other is split else", "outputs if True else"),
        ("the head kept in the weights", "models.instance_classifier", "if name != HEAD", "if name"),
        ("features of augmented images scored", "tasks.instance_discrimination", "counts, outputs = compare(weights, key, batch)", 'counts, outputs = {"images": batch["mask"].sum()}, {"features": features(weights, views[:, 0])}'),
        ("neighbours among the split itself", "tasks.instance_discrimination", 'np.asarray(outputs_of(train)["features"])', 'np.asarray(outputs_of(split)["features"])'),
        ("the probe's accuracy as the neighbours'", "tasks.instance_discrimination", 'share(by_neighbours == split.labels, "knn_accuracy")', 'share(by_probe == split.labels, "knn_accuracy")'),
        ("alignment of features and a view", "tasks.instance_discrimination", 'alignment(outputs["view_a"], outputs["view_b"])', 'alignment(outputs["features"], outputs["view_b"])'),
        ("retrieval from the same view", "tasks.instance_discrimination", 'retrieval_accuracy(outputs["view_a"], outputs["view_b"])', 'retrieval_accuracy(outputs["view_a"], outputs["view_a"])'),
        ("a run of features read with a head", "interop.saved_run", "if config.has_head else ()", "if True else ()"),
    )),
    ("tests/tasks/test_instance_runs.py::test_of_the_images_that_are_compared_with_features_alone_are_computed", (
        ("views of the images that are compared with", "training.evaluate", "scored(compare, weights, other)", "scored(step, weights, other)"),
    )),
    ("tests/tasks/test_instance_runs.py::test_the_two_views_that_are_scored_are_drawn_for_each_image_alone", (
        ("one view scored as both", "tasks.instance_discrimination", "features(weights, views[:, 1])", "features(weights, views[:, 0])"),
        ("scored views drawn for the batch", "tasks.instance_discrimination", 'jax.random.fold_in(key, row))(batch["index"])', 'key)(batch["index"])'),
    )),
    ("tests/tasks/test_instance_runs.py::test_small_views_of_another_size_see_resized_positions", (
        ("positions of small views not resized", "tasks.instance_discrimination", "params if resize is None else _with_positions(params, resize)", "params"),
        ("the class token's position resized too", "tasks.instance_discrimination", "positions[0, 1:].reshape", "positions[0, :-1].reshape"),
        ("uncropped views of the stored size", "augment.pipeline", "elif size is not None:", "elif False:"),
    )),
    ("tests/tasks/test_instance_runs.py::test_a_contrastive_loss_couples_the_images_of_a_batch", (
        ("a contrastive loss said not to couple", "tasks.instance_discrimination", "couples=bool(options.contrastive_weight)", "couples=False"),
    )),
    ("tests/tasks/test_instance_runs.py::test_both_passes_have_dropout_of_their_own", (
        ("dropout shared by both passes", "tasks.instance_discrimination", "small_network, fitting, keys[1],", "small_network, fitting, keys[0],"),
    )),
    ("tests/tasks/test_unlabelled_images.py::test_images_without_labels_are_told_apart", (
        ("a classifier's monitor", "tasks.instance_discrimination", "monitor_of(config.method, config.monitor, config.data.labels)", 'monitor_of("classification", None)'),
        ("unlabelled images need folders", "data.folder", "if not labelled:", "if False:"),
    )),
    ("tests/tasks/test_instance_runs.py::test_it_starts_from_pretrained_weights_under_the_name_of_the_backbone", (
        ("pretrained weights beside the backbone", "tasks.configured", 'if config.has_head and config.model.attention == "none":', 'if config.model.attention == "none":'),
    )),
    ("tests/tasks/test_instance_runs.py::test_pictures_and_the_page", (
        ("a page for classifiers alone", "commands.pages", "_classifier_page if config.has_head else _pictures_page", "_classifier_page"),
        ("the linear probe as the headline", "pages.features", 'metrics[f"knn_accuracy{end}"]', 'metrics[f"linear_accuracy{end}"]'),
        ("validation images in the page's count", "commands.pages", 'summary["images"]["test"],', 'summary["images"]["val"],'),
    )),
    ("tests/tasks/test_instance_runs.py::test_no_part_of_the_network_begins_without_a_gradient", (
        ("heads of zeros, one behind the other", "tasks.instance_discrimination", '"torch" if options.z_dim else config.model.init', "config.model.init"),
    )),
    ("tests/tasks/test_instance_runs.py::test_commands_that_read_weights_read_its[raw]", (
        ("heads left in a run without an average", "interop.saved_run", 'if config.has_head else backbone_of(weights["params"])', "if True else {}"),
    )),
    ("tests/tasks/test_instance_runs.py::test_a_probe_on_its_features_is_trained_in_seconds", (
        ("images that weights have seen not said", "interop.starting_point", 'for split in ("test", "val"):', "for split in ():"),
    )),
    ("tests/tasks/test_instance_runs.py::test_images_stored_larger_are_scored_at_the_models_size", (
        ("images stored larger scored as they are", "tasks.instance_discrimination", 'resized(normalize(batch["image"], mean, std), size)', 'normalize(batch["image"], mean, std)'),
    )),
    ("tests/tasks/test_unlabelled_images.py::test_folders_of_splits_are_kept_without_labels", (
        ("test folders trained on without labels", "data.folder", 'if "train" not in places:', "if True:"),
    )),
    ("tests/tasks/test_instance_runs.py::test_commands_that_need_a_classifier_say_what_to_do", (
        ("a soup of features", "interop.soup", "if not config.has_head:", "if False:"),
    )),
    ("tests/tasks/test_unlabelled_images.py::test_labels_are_needed_to_classify", (
        ("one class without labels needed", "config.method", "config.data.labels,", "True,"),
    )),
    ("tests/tasks/test_unlabelled_images.py::test_options_that_do_not_fit_are_refused", (
        ("mixing allowed beside the contrastive loss", "config.method", "instance.contrastive_weight == 0 or not (augment.mixes or augment.cuts)", "True"),
    )),
    ("tests/objectives/test_representation.py", (
        ("neighbours by product", "objectives.representation", "queries, features = unit(queries), unit(features)", "queries, features = map(np.asarray, (queries, features))"),
        ("the farthest neighbours", "objectives.representation", "np.argsort(-cosines", "np.argsort(cosines"),
        ("votes without weights", "objectives.representation", "np.exp((cosines[:, row] - 1) / temperature)", "np.ones(len(queries))"),
        ("a probe on raw features", "tasks.linear_probe",
         "model.fit((features - mean) / deviation, labels)", "model.fit(features, labels)"),
        ("queries standardised by themselves", "tasks.linear_probe",
         "model.predict((queries - mean) / deviation)", "model.predict((queries - queries.mean(0)) / queries.std(0))"),
        ("uniformity of all pairs and the images themselves", "objectives.representation",
         "total = -float(len(z))", "total = 0.0"),
        ("uniformity with a t of 1", "objectives.representation", "np.exp(-2 * squares)", "np.exp(-1 * squares)"),
        ("alignment of distances", "objectives.representation", "** 2).sum(axis=1).mean())", "** 2).sum(axis=1).max())"),
        ("a uniformity that is to rise", "objectives.representation", '(("retrieval_accuracy", True), ("uniformity", False))', '(("retrieval_accuracy", False), ("uniformity", False))'),
        ("a monitor that ignores the metric", "objectives.monitors", "if metric is None:", "if True:"),
    )),
    ("parity_tests/instance_discrimination/test_views.py", (
        ("views that share a draw", "augment.views", "found = augment(key, *repeated)",
         "found = tuple(jnp.repeat(x, number, axis=0) for x in augment(key, images, targets))"),
        ("views of several images as one's", "augment.views", "jnp.repeat(each, number, axis=0)",
         "jnp.tile(each, (number,) + (1,) * (each.ndim - 1))"),
        ("no blur", "augment.pipeline", "if config.blur_p > 0:", "if False:"),
        ("targets of the first view for all", "augment.views",
         "return tuple(each.reshape(len(images), number, *each.shape[1:]) for each in found)",
         "x, t = (each.reshape(len(images), number, *each.shape[1:]) for each in found)\n"
         "        return x, jnp.broadcast_to(t[:, :1], t.shape)"),
    )),
    ("parity_tests/test_blur.py", (
        ("a blur with repeated edges", "augment.blur", "inputs = np.abs(outputs + tap - half)", "inputs = np.maximum(outputs + tap - half, 0)"),
        ("a blur that is not normalised", "augment.blur", "weights /= weights.sum(axis=1, keepdims=True)", "pass"),
        ("a variance for the deviation of a blur", "augment.blur", "(taps / draw.sigma[:, None]) ** 2", "taps**2 / draw.sigma[:, None]"),
        ("every image blurred", "augment.blur", "draw.applied[:, None, None, None]", "True"),
        ("sigma of one draw with applied", "augment.blur", "jax.random.bernoulli(keys[1], p,", "jax.random.bernoulli(keys[0], p,"),
    )),
    ("parity_tests/interop/test_vit_pytorch.py", (
        ("patches in planes", "interop.vit_pytorch", "weight.T.reshape(side, side, channels, -1)",
         "weight.T.reshape(channels, side, side, -1).transpose(1, 2, 0, 3)"),
        ("the two norms of patches swapped", "interop.vit_pytorch", 'norm("patch_embedding/norm", "to_patch_embedding.3")', 'norm("patch_embedding/norm", "transformer.norm")'),
        ("vit-pytorch's eps", "interop.vit_pytorch", "Habits(1e-5,", "Habits(1e-6,"),
        ("a bias of q, k and v dropped", "interop.vit_pytorch", 'return "its q, k and v have a bias" if config.qkv_bias else None', "return None"),
        ("patches normalised after the projection", "models.patch_embedding", "x = self.with_normalised_patches(x)", "pass"),
        ("tokens of patches not normalised", "models.patch_embedding", "return self.norm(x) if self.patch_norm else x", "return x"),
        ("rows and columns of a patch swapped", "models.patch_embedding",
         "patches = x.swapaxes(2, 3).reshape(*sides, sides[1], -1)", "patches = x.transpose(0, 1, 3, 4, 2, 5).reshape(*sides, sides[1], -1)"),
        ("norms of patches written where nothing reads them", "interop.save", 'if config.patch_norm and "patch_norm" not in layout.parts:', "if False:"),
    )),
    ("tests/data/test_flowers17.py", (
        ("eighty-one flowers a class", "data.flowers17", "np.arange(len(paths)) // PER_CLASS", "np.arange(len(paths)) // (PER_CLASS + 1)"),
        ("one test split for all seeds", "data.flowers17", "TEST_FRACTION, split_seed)", "TEST_FRACTION, 0)"),
        ("training flowers tested", "data.flowers17", '"test": examples(held_out)', '"test": examples(kept[: len(held_out)])'),
        ("a short list taken", "data.flowers17", "if len(set(names)) != expected or len(names) != expected or", "if"),
    )),
    ("parity_tests/instance_discrimination/test_training.py::test_a_run_of_ten_steps_is_as_close_to_float64_as_torch[cosine]", (
        ("cosines that are not divided", "models.instance_classifier", "self.bank, self.temperature)", "self.bank, 1.0)"),
        ("a linear head where cosines are asked for", "tasks.instance_discrimination", "options.temperature if options.cosine else None", "None"),
    )),
    ("parity_tests/instance_discrimination/test_training.py::test_a_run_of_ten_steps_is_as_close_to_float64_as_torch[shipped]", (
        ("the contrastive loss without its temperature", "tasks.instance_discrimination", "contrastive_loss(*pair, index, options.temperature)", "contrastive_loss(*pair, index)"),
    )),
    ("parity_tests/instance_discrimination/test_training.py::test_a_run_of_ten_steps_is_as_close_to_float64_as_torch[smaller]", (
        ("positions of small views resized across", "tasks.instance_discrimination", '"ia,jb,abd->ijd"', '"ia,jb,abd->jid"'),
    )),
    ("parity_tests/instance_discrimination/test_contrastive.py::test_the_instance_loss_and_its_gradients_are_as_close_to_float64_as_torch[cosines]", (
        ("no gradient for the bank of cosines", "objectives.contrastive", "unit_length(bank).T, precision", "jax.lax.stop_gradient(unit_length(bank)).T, precision"),
    )),
    ("parity_tests/instance_discrimination/test_instance_classifier.py", (
        ("the head on the backbone's features", "models.instance_classifier", "return z, self.instances(z)", "return z, self.instances(nn.relu(z))"),
        ("the blog's rate", "presets.instance_discrimination", "optim=OptimConfig(lr=1e-3, weight_decay=0.01),", "optim=OptimConfig(lr=1e-2, weight_decay=0.01),"),
        ("the blog's angles", "presets.instance_discrimination", "rotate=35.0", "rotate=30.0"),
    )),
    ("tests/data/test_cifar10.py", (
        ("an archive's hash not compared", "data.archives", "if found != archive.md5:", "if False:"),
    )),
    ("tests/studies/test_table.py", (
        ("a note on the test images of another split", "studies.table", "if follow_seed\n", "if False\n"),
        ("a metric that is missing counted as a failure", "studies.table", "and not row.lacks", "and True"),
    )),
))  # fmt: skip
