"""Mutations of jaxvit/pictures: figures."""

from parity_tests.mutation import listed

VALUES = "tests/pictures/test_values.py"

PICTURES = listed("jaxvit.pictures", (
    ("tests/pictures/test_values.py::test_each_sample_stands_under_its_title", (
        ("samples stretched to their own contrast", "samples", 'cmap="gray", vmin=0, vmax=255', 'cmap="gray"'),
    )),
    ("tests/pictures/test_values.py::test_each_view_stands_below_the_others_of_its_image_without_normalisation", (
        ("mean and standard deviation of views exchanged", "features", "* np.asarray(std) + np.asarray(mean)", "* np.asarray(mean) + np.asarray(std)"),
        ("the first view shown for all", "features", "axes[row, column].imshow(image.squeeze()", "axes[row, column].imshow(images[0].squeeze()"),
    )),
    ("tests/pictures/test_values.py::test_each_moment_stands_beside_its_images", (
        ("the last moment first", "samples", "zip(steps, images, strict=True)", "zip(steps, images[::-1], strict=True)"),
    )),
    ("tests/pictures/test_values.py::test_each_sample_stands_under_its_title", (
        ("samples under their neighbours' titles", "samples", "literal(titles[number])", "literal(titles[number - 1])"),
    )),
    ("tests/pictures/test_values.py::test_a_class_has_one_colour_on_the_map_and_beside_it", (
        ("classes of the map under each other's colours", "features",
         "zip(colours, class_names, strict=True)", "zip(colours[::-1], class_names, strict=True)"),
    )),
    ("tests/pictures/test_values.py::test_samples_stand_above_the_training_images_and_say_so", (
        ("samples called the training images", "samples",
         '("sample", "nearest")', '("nearest", "sample")'),
    )),
    ("tests/pictures/test_values.py::test_the_axis_above_has_the_epochs_of_the_steps", (
        ("the axis of epochs counts validations", "curves",
         '*(line["epoch"] for line in validated)', "*range(1, len(validated) + 1)"),
    )),
    (f"{VALUES}::test_each_map_of_an_explanation_has_its_own_place_and_the_scale_its_names", (
        ("the second class drawn over the first", "explanation", "        line += height\n", "        line += 1\n"),
        ("the scale's ends exchanged", "explanation", '("against", "0", "for the class")', '("for the class", "0", "against")'),
    )),
    (f"{VALUES}::test_accuracy_stands_above_its_bin_of_confidence", (
        ("accuracy above the first bins", "reliability", "bar(left[filled], share", "bar(left[: len(share)], share"),
        ("confidence and accuracy of a dot exchanged", "reliability", "plot(confidence, share,", "plot(share, confidence,"),
    )),
    (f"{VALUES}::test_each_neighbour_has_the_name_of_its_own_class", (
        ("a neighbour under the class of the one before", "features", "found_labels[row, column - 1]", "found_labels[row, column - 2]"),
    )),
    (f"{VALUES}::test_the_best_epoch_is_named", (
        ("the last epoch named as the best", "curves",
         'epoch = next(line["epoch"] for line in val if line["step"] == best_step)', 'epoch = val[-1]["epoch"]'),
    )),
    (f"{VALUES}::test_a_cells_colour_is_its_share_of_the_class", (
        ("cells coloured by the share of the prediction", "confusion", "confusion.sum(axis=1, keepdims=True)", "confusion.sum(axis=0, keepdims=True)"),
    )),
    ("tests/pictures/test_names.py", (
        ("names between dollars as mathematics", "figure", r'text.replace("$", r"\$")', "text"),
        ("a file's name as mathematics above its explanation", "explanation", "axes[0, 0].set_title(literal(title)", "axes[0, 0].set_title((title)"),
        ("long names of classes in full", "grids", "LONGEST_CLASS = 40", "LONGEST_CLASS = 400"),
        ("captions of one size", "grids", "WIDEST / max(WIDEST, width)", "1"),
        ("classes as mathematics beside their probabilities", "explanation", "literal(name[:22])", "name[:22]"),
    )),
    ("tests/test_train_jax.py", (
        ("augmented images shown normalised", "grids",
         "np.asarray(images) * np.asarray(std) + np.asarray(mean)", "np.asarray(images)"),
        ("the true class shown as the predicted one", "grids", "said {_cut(class_names[prediction])}", "said {_cut(class_names[label])}"),
    )),
))  # fmt: skip
