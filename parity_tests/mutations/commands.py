"""Mutations of jaxvit/commands: the commands of python -m jaxvit."""

from parity_tests.mutation import listed

COMMANDS = listed("jaxvit.commands", (
    ("tests/commands/test_report.py::test_the_overlay_of_an_error_is_the_rollout_of_its_image", (
        ("confusion of a run's page transposed", "pages",
         'found["counts/confusion"],', 'found["counts/confusion"].T,'),
        ("confidence and share of right answers of a run's page swapped", "pages",
         '("count", "confidence", "correct")', '("count", "correct", "confidence")'),
        ("confidence taken for the class's probability", "pages",
         'found["outputs/label_probability"],', 'found["outputs/confidence"],'),
    )),
    ("tests/commands/test_report.py::test_the_page_of_an_evaluation_is_drawn_from_its_scores", (
        ("confusion of an evaluation's page transposed", "pages",
         "evaluated.metrics, counts.confusion,", "evaluated.metrics, counts.confusion.T,"),
        ("confidence and share of right answers of an evaluation's page swapped", "pages",
         "(counts.bin_count, counts.bin_confidence, counts.bin_correct)", "(counts.bin_count, counts.bin_correct, counts.bin_confidence)"),
        ("no photo left out on the page", "pages", "len(evaluated.unreadable)", "0"),
    )),
    ("parity_tests/test_lr_finder.py::test_the_rising_rates_are_those_of_the_optimiser", (
        ("steps of warm-up stay while rates rise", "find_lr",
         "warmup=0.0, warmup_steps=None,", "warmup=0.0,"),
    )),
    ("tests/commands/test_find_lr.py::test_both_suggestions_are_said_and_marked_by_their_names", (
        ("one suggestion said twice", "find_lr", "{found.by_decade:.2g}", "{found.suggestion:.2g}"),
        ("suggestions marked by each other's names", "find_lr",
         '{"by unit": found.suggestion, "by decade": found.by_decade}', '{"by decade": found.suggestion, "by unit": found.by_decade}'),
    )),
    ("tests/commands/test_average.py::test_a_soup_goes_by_the_metric_that_the_run_was_told_to_watch", (
        ("candidates of a soup ranked by accuracy whatever is monitored", "average",
         "monitor_of(run.config.method, run.config.monitor)", "monitor_of(run.config.method, None)"),
    )),
    ("tests/commands/test_average.py::test_greedy_is_an_option_of_the_command", (
        ("averaged and left out exchanged", "average",
         '"averaged" if each[:2] in averaged else "left out"', '"left out" if each[:2] in averaged else "averaged"'),
    )),
    ("tests/commands/test_average.py::test_moved_images_are_read_where_they_are_said_to_be", (
        ("option data-dir of a soup ignored", "average",
         "load_splits(first, options.data_dir,", "load_splits(first, None,"),
    )),
    ("tests/tasks/test_sample_quality.py::test_of_many_real_images_some_are_drawn_from_all_classes", (
        ("real images of the first classes alone", "quality",
         "np.random.default_rng(0).permutation(len(split.labels))", "np.arange(len(split.labels))"),
    )),
    ("tests/commands/test_evaluate.py::test_photos_are_turned_as_is_asked", (
        ("--no-upright ignored by evaluate", "evaluate", "make_classifier(found, cli.turned(options))", "make_classifier(found)"),
    )),
    ("tests/commands/test_explain.py::test_photos_are_not_turned_where_that_is_asked", (
        ("--no-upright ignored by explain", "explain", "make_classifier(source, cli.turned(options))", "make_classifier(source)"),
    )),
    ("tests/commands/test_report.py::test_the_worst_errors_are_explained_at_the_models_size", (
        ("thumbnails explained", "pages", "row: image if row in worst else reduced(image, SIDE)", "row: reduced(image, SIDE)"),
    )),
    ("tests/commands/test_report.py::test_grad_cam_on_a_page_is_of_the_wrong_answer", (
        ("Grad-CAM of the true class on a page", "pages", "images, scored.predicted[padded])", "images, scored.labels[padded])"),
    )),
    ("tests/commands/test_explain.py::test_the_cpu_is_divided_before_anything_is_computed", (
        ("explain computes on one device", "explain", "    divide_cpu()\n", ""),
    )),
    ("tests/test_front_door.py", (
        ("one class shown by predict", "predict", "top_k: int = option(5,", "top_k: int = option(1,"),
    )),
    ("tests/commands/test_predict.py", (
        ("files written of no photo", "predict", "if not predictions:", "if False:"),
        ("--no-upright ignored", "arguments", "(False if options.no_upright else None)", "None"),
        ("--upright ignored", "arguments", "options.upright or (", "("),
        ("--batch-size ignored by predict", "predict", "options.batch_size, options.on_error", "32, options.on_error"),
        ("columns of classes that do not exist", "predict",
         "min(options.top_k, len(classifier.labels))", "options.top_k"),
    )),
    ("tests/commands/test_bad_places.py", (
        ("a soup inside a run", "average", "require(around is None,", "require(True,"),
        ("the settings of an npz overwritten", "convert",
         '(destination, beside) if destination.suffix == ".npz"', '(destination,) if destination.suffix == ".npz"'),
    )),
    ("tests/commands/test_bad_places.py::test_a_tilde_stands_for_the_home_directory", (
        ("~ not expanded by average", "average", 'str(user_path("RUN", run)) for run', "str(run) for run"),
    )),
    ("tests/commands/test_bad_places.py::test_weights_options_reach_the_weights", (
        ("--weights-option ignored", "arguments", "options=read_options(weights_option))", "options={})"),
        ("--weights-option ignored by explain", "explain", "cli.load_weights(options.run, options.weights_option)", "cli.load_weights(options.run, ())"),
    )),
    ("tests/commands/test_average.py::test_wrong_arguments_are_one_line", (
        ("--best of several runs ignored", "average", "self.best is None or len(self.runs) == 1,", "True,"),
    )),
    ("tests/commands/test_evaluate.py", (
        ("--classes ignored", "evaluate",
         "found = found._replace(class_names=names)", "found = found._replace(class_names=None)"),
    )),
    ("parity_tests/test_lr_finder.py", (
        ("SWA's rate in the learning-rate test", "find_lr", "swa_start=0.0, swa_lr=None,", ""),
        ("an average kept in the learning-rate test", "find_lr", "ema_decay=0.0, ", ""),
    )),
    ("tests/commands/test_find_lr.py::test_joined_batches_are_refused", (
        ("joined batches in the learning-rate test", "find_lr", "if config.optim.accumulate_grad_batches:", "if False:"),
    )),
    ("tests/commands/test_convert_and_inspect.py", (
        ("files overwritten unasked by convert", "convert", "not there or options.overwrite", "True"),
        ("convert always to timm", "convert", "destination, options.to)", 'destination, "timm")'),
    )),
))  # fmt: skip
