"""Mutations of jaxvit/studies: configurations times seeds, to a table and a figure."""

from parity_tests.mutation import listed

STUDIES = listed("jaxvit.studies", (
    ("tests/studies/test_catalogue.py::test_each_classifier_has_the_images_that_its_name_says", (
        ("generated images compared with no augmentation", "generated", 'baseline="usual"', 'baseline="nothing"'),
    )),
    ("tests/studies/test_plan.py::test_generators_and_classifiers_see_the_same_images_for_as_many_steps", (
        ("classifiers with generated images scored at their best epoch", "generated", '*_epochs(2 * images, "classifier"), "--select", "last")', '*_epochs(2 * images, "classifier"))'),
    )),
    ("tests/studies/test_plan.py::test_a_forecast_says_what_cannot_be_tried_yet", (
        ("megabytes of free disk called gigabytes", "forecast", "free / 1e9", "free / 1e6"),
        ("no disk where it is unknown", "forecast", "unknown |= each.bytes is None", "unknown &= each.bytes is None"),
    )),
    ("tests/studies/test_conduct.py::test_the_process_of_a_run_gets_no_signal_of_the_terminal", (
        ("a run in our group of processes", "launch", "            process_group=0,\n", ""),
    )),
    ("tests/studies/test_conduct.py::test_a_run_that_another_process_left_unfinished_is_trained", (
        ("what another process has left taken for finished", "conduct", "elif not (wait_for_others(run, stop) and is_finished(run)):", "elif not wait_for_others(run, stop):"),
    )),
    ("tests/studies/test_conduct.py::test_a_run_that_another_process_has_finished_is_not_trained", (
        ("what another process has finished trained again", "conduct", "elif not (wait_for_others(run, stop) and is_finished(run)):", "elif not (wait_for_others(run, stop) and False):"),
    )),
    ("tests/studies/test_catalogue.py::test_networks_that_were_trained_before_are_frozen", (
        ("pretrained networks of the study of attention trained on", "attention", '"--init.weights", "{resnet18}", "--optim.freeze", "backbone", "--epochs", "4"', '"--init.weights", "{resnet18}", "--epochs", "4"'),
        ("ImageNet's network trained on", "attention", '"--model.img-size", "64", "--optim.freeze", "backbone",', '"--model.img-size", "64",'),
    )),
    ("tests/studies/test_catalogue.py::test_each_trick_changes_what_its_name_says", (
        ("SWA without the schedule it stands on", "tricks", '*SCHEDULED, "--optim.swa-start"', '*AUGMENTED, "--optim.swa-start"'),
        ("EMA without the schedule it stands on", "tricks", '(*SCHEDULED, "--optim.ema-decay"', '(*AUGMENTED, "--optim.ema-decay"'),
    )),
    ("tests/studies/test_catalogue.py::test_each_part_of_instance_discrimination_stands_on_the_one_before", (
        ("small images without smoothing", "instances", "(*PLAIN, *LONG, *SMOOTH)", "(*PLAIN, *LONG)"),
        ("the ablation on one split", "instances", '    follow_seed=("--data.split-seed",),\n', ""),
        ("multi-crop without smoothing", "instances", '"+multi-crop": (*PLAIN, *SMOOTH,', '"+multi-crop": (*PLAIN,'),
        ("pairs contrasted in the ablation too", "instances", '"--instance.contrastive-weight", "0",', '"--instance.contrastive-weight", "1",'),
    )),
    ("tests/studies/test_catalogue.py::test_each_classifier_has_the_images_that_its_name_says", (
        ("images of DDPM under the name of DCGAN", "generated", '"+dcgan": (*mixed, "--data.extra-dir", "{dcgan}"', '"+dcgan": (*mixed, "--data.extra-dir", "{ddpm}"'),
        ("images of DCGAN under the name of DDPM", "generated", '"+ddpm": (*mixed, "--data.extra-dir", "{ddpm}"', '"+ddpm": (*mixed, "--data.extra-dir", "{dcgan}"'),
        ("weights averaged over half of the generator's steps", "generated", '"--optim.ema-decay", "0.995"', '"--optim.ema-decay", "0.999"'),
        ("a third of the images generated", "generated", '("--data.extra-share", "0.5")', '("--data.extra-share", "0.33")'),
        ("Mixup called nothing", "generated", '("--augment.crop-scale", "1", "1", "--augment.mixup-alpha", "0"),', '("--augment.crop-scale", "1", "1"),'),
    )),
    ("tests/studies/test_catalogue.py::test_smoothing_alone_differs_and_is_what_its_name_says", (
        ("pets mixed for smoothed", "smoothing", '("probe", "--data.name", "oxford_iiit_pet", "--label-smoothing", epsilon)', '("probe", "--data.name", "oxford_iiit_pet", "--augment.mixup-alpha", epsilon)'),
    )),
    ("tests/studies/test_catalogue.py::test_pretrained_networks_have_the_images_that_their_names_say", (
        ("all images under the name of few", "vit_resnet", '(("", ()), ("-few", FEW))', '(("", ()), ("-few", ()))'),
    )),
    ("tests/studies/test_conduct.py::test_finished_runs_are_not_started_again", (
        ("the run that has ended counted as left", "conduct", "time_left(left[index + 1 :], took)", "time_left(left[index:], took)"),
        ("every run said to take a second", "conduct", "append(ended.seconds)", "append(1.0)"),
    )),
    ("tests/studies/test_trial.py::test_the_disk_is_that_of_all_checkpoints_that_are_kept", (
        ("the best checkpoints not counted", "trial", "run.config.checkpoint.keep + run.config.checkpoint.keep_best", "run.config.checkpoint.keep"),
        ("the smallest checkpoint for each", "trial", "max(sizes) * keep", "min(sizes) * keep"),
    )),
    ("tests/studies/test_results.py::test_a_difference_says_of_how_many_pairs_it_is", (
        ("runs counted as pairs", "results", "*other[:3], other.n)", "*other[:3], mean.n)"),
    )),
    ("tests/studies/test_results.py::test_runs_are_counted_by_device_and_versions", (
        ("one run of each device", "results", "found.get(text, 0) + 1", "1"),
    )),
    ("tests/studies/test_results.py::test_reliability_is_that_of_the_test_split", (
        ("other weights taken for those of the summary", "reliability", "TOLERANCE = 1e-3", "TOLERANCE = 1e-1"),
    )),
    ("tests/studies/test_results.py::test_each_panel_of_a_study_shows_its_own_metric", (
        ("every panel shows the first metric", "results",
         'if row.metric == metric.title]\n        panels', 'if row.metric == results.study.metrics[0].title]\n        panels'),
    )),
    ("tests/studies/test_results.py::test_the_csv_holds_means_and_differences", (
        ("ends of the mean's interval exchanged in the CSV", "results",
         "*mean[:3], *other[:3]", "mean.mean, mean.high, mean.low, *other[:3]"),
    )),
    ("tests/studies/test_plan.py::test_a_vit_and_a_resnet_see_the_same_augmentation_and_as_many_images", (
        ("the ViT alone trains with Mixup and CutMix", "vit_resnet",
         '    "--augment.mixup-alpha", "0", "--augment.cutmix-alpha", "0",\n', ""),
    )),
    ("tests/studies/test_plan.py::test_a_forecast_says_what_cannot_be_tried_yet", (
        ("the disk of one run for all", "forecast",
         "left * (each.bytes or 0)", "(each.bytes or 0)"),
    )),
    ("tests/studies/test_conduct.py::test_further_arguments_reach_the_process", (
        ("--overwrite not handed to the run", "launch", "started((*run.args, *more), run.log)", "started(run.args, run.log)"),
    )),
    ("tests/studies/test_results.py::test_a_curve_is_of_its_own_runs", (
        ("a curve of all runs for each configuration", "results",
         "for run, bins in results.bins.items() if run.label == label]", "for run, bins in results.bins.items()]"),
    )),
    ("tests/studies/test_statistics.py", (
        ("the spread with n in the denominator", "statistics", "np.std(values, ddof=1)", "np.std(values)"),
        ("t of n degrees of freedom", "statistics", "t.ppf((1 + confidence) / 2, n - 1)", "t.ppf((1 + confidence) / 2, n)"),
        ("a one-sided interval", "statistics", "t.ppf((1 + confidence) / 2,", "t.ppf(confidence,"),
        ("the spread of values and not of their mean", "statistics", " / math.sqrt(n))", ")"),
        ("differences of the wrong sign", "statistics", "values[seed] - baseline[seed]", "baseline[seed] - values[seed]"),
        ("values paired by order", "statistics", "[values[seed] - baseline[seed] for seed in seeds]",
         "[a - b for a, b in zip(values.values(), baseline.values())]"),
    )),
    ("tests/studies/test_table.py", (
        ("compared with itself", "table", "paired_difference(found, base)", "paired_difference(found, found)"),
        ("one metric in every row", "table", "metric.read(summary, run.path)", "study.metrics[0].read(summary, run.path)"),
        ("every difference marked", "table", 'if self.difference.excludes_zero else ""', 'if True else ""'),
        ("missing runs not said", "table", "if row.mean.n < seeds and", "if row.mean.n < 0 and"),
        ("an effect counted twice by chance", "table", "len(compared) / 20", "len(compared) / 10"),
    )),
    ("tests/studies/test_plan.py", (
        ("the seed ignored", "plan", '"--seed", str(seed),', '"--seed", "0",'),
        ("options after -- ignored", "plan", "*seeded, *extra,", "*seeded,"),
        ("options after -- lose", "plan", "(*args, *seeded, *extra,", "(args[0], *extra, *args[1:], *seeded,"),
        ("the split of seed 0 for all seeds", "plan", "for word in (name, str(seed))]", "for word in (name, '0')]"),
        ("label by label", "plan", "    for seed in range(seeds):\n        for label, args in study.configurations.items():",
         "    for label, args in study.configurations.items():\n        for seed in range(seeds):"),
        ("--out after -- taken", "plan", '    "--out": "--out DIR before the --",\n', ""),
        ("equal configurations compared", "plan", "first == run.label,", "True,"),
        ("runs of other options in the table", "plan", "        and differences(run.path, run.config) == {}\n", ""),
        ("a run from a run of another seed", "plan", "_place(out, of, seed) for arg", "_place(out, of, 0) for arg"),
        ("a run that cannot begin parsed", "plan", "if can_begin(run):", "if True:"),
        ("the run's place not put in", "plan", "str(needs.get(arg, arg))", "str(arg)"),
        ("any label may be started from", "study", "other in before,", "True,"),
        ("what cannot be tried yet left out in silence", "forecast", "later.append(label)", "pass"),
        ("other options not refused", "plan", "if differ}", "if False}"),
        ("other test images in the table", "plan", "test == expected,", "True,"),
        ("Mixup in the smoothing study", "smoothing", '"--augment.mixup-alpha", "0", ', ""),
    )),
    ("tests/studies/test_conduct.py", (
        ("finished runs trained again", "conduct", "if not is_finished(run)]", "]"),
        ("a failure ends the study", "conduct", "failures[run] = ended.failure", "raise RuntimeError(ended.failure)"),
        ("a failure unsaid", "conduct", "failures[run] = ended.failure", "pass"),
        ("every run overwritten", "conduct", "overwrite and (not run.config or differences(run.path, run.config))", "overwrite"),
        ("no run overwritten", "conduct", "overwrite and (not run.config or differences(run.path, run.config))", "False"),
        ("the time of one run left", "conduct", "total = sum(", "total = max("),
        ("a run of another process started twice", "launch", "while is_in_use(run.path):", "while False:"),
        ("a failing run taken for finished", "launch", "None if process.returncode == 0 else", "None if True else"),
        ("the first line of a failure", "launch", "lines[-1].strip()", "lines[0].strip()"),
        ("the child outlives Ctrl-C", "launch", "            process.send_signal(signal.SIGINT)\n            process.wait()", "            pass"),
        ("a signal ignored while waiting", "launch", "        found = True\n        check_signals(stop)", "        found = True"),
    )),
    ("tests/studies/test_trial.py", (
        ("steps before the first not subtracted", "trial", "(total - begin)", "total"),
        ("the steps of one epoch", "trial", "run.config.batch_size, run.config.epochs)", "run.config.batch_size, 1)"),
    )),
    ("tests/studies/test_results.py", (
        ("bins of all runs are those of one", "results", "(run.label, run.seed, summary[\"params_sha256\"])",
         "next(iter(known), (run.label, run.seed, summary[\"params_sha256\"]))"),
        ("bins scored again by every report", "results", "bins[run] = found or score_bins(run, summary)",
         "bins[run] = score_bins(run, summary)"),
        ("the difference in the csv is the mean", "results", "*other[:3]", "*mean[:3]"),
        ("reliability of the training images", "reliability", '"test", run.config.data.dir', '"train", run.config.data.dir'),
    )),
)) + listed("jaxvit.pictures", (
    ("tests/studies/test_table.py", (
        ("the figure's accuracy not divided by its bin", "study", "right[filled] / number[filled]", "right[filled] / number.sum()"),
        ("the interval drawn from 0", "study", "np.abs(means[drawn, 1:] - means[drawn, :1])", "np.abs(means[drawn, 1:])"),
    )),
)) + listed("jaxvit.commands", (
    ("tests/studies/test_results.py", (
        ("other options not refused by the command", "study", "if not options.overwrite:", "if False:"),
        ("the study's seeds ignored", "study", "options.seeds or study.seeds", "options.seeds or 1"),
        ("--report trains", "study", "if options.report else", "if False else"),
    )),
))  # fmt: skip
