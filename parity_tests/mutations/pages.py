"""Mutations of jaxvit/pages and of what the commands put on a page."""

from parity_tests.mutation import listed

PAGE = "tests/pages/test_page.py"
REPORT = "tests/commands/test_report.py"

PAGES = listed("jaxvit", (
    ("tests/pages/test_features_page.py", (
        ("views retrieved called the linear probe", "pages.features",
         '"linear_accuracy": "linear probe", "retrieval_accuracy": "views retrieved"', '"linear_accuracy": "views retrieved", "retrieval_accuracy": "linear probe"'),
    )),
    ("tests/pages/test_page.py::test_a_metric_below_0_is_drawn_at_its_height", (
        ("uniformity drawn from 0", "pages.charts",
         'SIGNED = ("uniformity", "kernel_distance")', 'SIGNED = ("kernel_distance",)'),
    )),
    (f"{PAGE}::test_each_error_is_shown_by_its_own_image", (
        ("every error shown by the first one's image", "pages.page",
         "image = scored.images(np.array([row]))[0]", "image = scored.images(worst_rows(scored)[:1])[0]"),
    )),
    (PAGE, (
        ("names on a page as markup", "pages.templates", "autoescape=True", "autoescape=False"),
        ("the least sure errors first", "pages.page", "scored.confidence, number)", "-scored.confidence, number)"),
        ("right answers among the errors", "pages.page", "surest_errors(scored.labels, ", "surest_errors(scored.labels - 99, "),
        ("the class for the answer", "pages.page", '"predicted": class_names[scored.predicted[row]]', '"predicted": class_names[scored.labels[row]]'),
        ("the answer's probability for the class's", "pages.page", '"label_probability": float(scored.label_probability[row])', '"label_probability": float(scored.confidence[row])'),
        ("an overlay of another error", "pages.page", "if row in overlays:", "if overlays:"),
        ("thumbnails of right answers first", "pages.page", "~wrong))", "wrong))"),
        ("a list of confusions that shows no image", "pages.page", "frequent_confusions(scored.confusion, LISTED)", "[(j, i, n) for i, j, n in frequent_confusions(scored.confusion, LISTED)]"),
        ("a thumbnail taken for longer than it is", "pages.page", "LEAST = 400", "LEAST = 800"),
        ("recall for precision", "pages.page", '"precision": right / said if said else None', '"precision": right / number'),
        ("precision for recall", "pages.page", '"recall": right / number', '"recall": right / max(said, 1)'),
        ("the class itself as what it is taken for", "pages.page", "np.where(np.arange(len(of_class)) == index, 0, of_class)", "of_class"),
        ("classes without images in the table", "pages.page", "        if number:\n", "        if True:\n"),
        ("reliability by the number right", "pages.page", "(c / n, r / n)", "(c / n, r)"),
        ("reliability: sums of confidences", "pages.page", "(c / n, r / n)", "(c, r / n)"),
        ("no budget for thumbnails", "pages.thumbnails", "if budget < 0:", "if False:"),
        ("thumbnails of another row", "pages.thumbnails", "yield row, uri", "yield row + 1, uri"),
        ("curves upside down", "pages.charts", "low, high, HEIGHT - BOTTOM, TOP", "low, high, TOP, HEIGHT - BOTTOM"),
        ("training for validation", "pages.charts", '("train", f"train/{name}"), ("validation", f"val/{name}")', '("validation", f"train/{name}"), ("train", f"val/{name}")'),
        ("the last point of a line left out", "pages.charts", "list(points[::-1][::every][::-1])", "list(points[:-1][::every])"),
        ("limits of a chart ignored", "pages.charts", "own if limit is None else limit", "own"),
    )),
    (REPORT, (
        ("confidences for labels on a run's page", "commands.pages", 'found["outputs/label"],', 'found["outputs/confidence"].astype(int),'),
        ("validation images on a run's page", "commands.pages", "test = dataset.test", "test = dataset.val"),
        ("validation metrics on a run's page", "commands.pages", 'if name.startswith("test/")', 'if name.startswith("val/ ")'),
        ("flags repeated with a value", "commands.pages", "if is_flag(name):", "if False:"),
        ("a page's command without options", "commands.pages", "before[name] != value and value is not None", "False"),
        ("a page's command that asks for a run to extend", "commands.pages", "if name in START or", "if"),
        ("the page of other test images", "commands.pages", 'if what := changed(path, "test", dataset):', "if what := False:"),
        ("options of evaluate not repeated", "commands.arguments", "return arguments + words", "return arguments"),
        ("the page of an evaluation in a run", "commands.evaluate", "(around := inside_run(Path(NAME)))", "(around := None)"),
        ("thumbnails of an evaluation left out", "commands.pages", "if row in worst or row in shown", "if row in worst"),
        ("overlays in another order", "commands.pages", "zip(part.tolist(), jax.device_get(maps), strict=False)", "zip(part.tolist(), jax.device_get(maps)[::-1], strict=False)"),
        ("overlays of images that are not normalised", "commands.pages", "normalize(np.stack(scored.images(padded)), mean, std)", "normalize(np.stack(scored.images(padded)), [0.5] * len(mean), [0.5] * len(std))"),
        ("unreadable photos shift the page's images", "commands.pages", "if not isinstance(each, UnreadableImage))", "if True)"),
        ("a page that fails ends the run", "commands.pages", "    except Exception as error:  # the run", "    except ZeroDivisionError as error:  # the run"),
        ("no page after training", "commands.pages", "        if is_main():\n            write_run_page(path)", "        if False:\n            write_run_page(path)"),
        ("outputs of another evaluation saved", "runs.directory", '{"outputs": evaluation.outputs,', '{"outputs": jax.tree.map(lambda x: x[::-1], evaluation.outputs),'),
        ("no outputs saved", "runs.recorder", "        run.write_outputs(evaluation)\n", ""),
    )),
)) + listed("", (
    (f"{REPORT}::test_training_asks_for_a_page_when_the_run_is_finished", (
        ("training writes no page", "train_jax", "            try_run_page(run.path, say_on(console))\n", ""),
    )),
    (f"{REPORT}::test_an_evaluation_ends_in_a_page", (
        ("evaluate writes no page", "jaxvit.commands.evaluate",
         "    write_evaluation_page(page, said, found, classifier.labels, labelled, evaluated)\n", ""),
    )),
))  # fmt: skip
