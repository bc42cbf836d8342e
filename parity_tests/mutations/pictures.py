"""Mutations of jaxvit/pictures: figures."""

from parity_tests.mutation import listed

PICTURES = listed("jaxvit.pictures", (
    ("tests/pictures/test_values.py::test_a_cells_colour_is_its_share_of_the_class", (
        ("cells coloured by the share of the prediction", "confusion", "confusion.sum(axis=1, keepdims=True)", "confusion.sum(axis=0, keepdims=True)"),
    )),
    ("tests/pictures/test_names.py", (
        ("names between dollars as mathematics", "figure", r'text.replace("$", r"\$")', "text"),
        ("a file's name as mathematics above its explanation", "explanation", "axes[0, 0].set_title(literal(title)", "axes[0, 0].set_title((title)"),
        ("classes as mathematics beside their probabilities", "explanation", "literal(name[:22])", "name[:22]"),
    )),
    ("tests/test_train_jax.py", (
        ("augmented images shown normalised", "grids",
         "np.asarray(images) * np.asarray(std) + np.asarray(mean)", "np.asarray(images)"),
        ("the true class shown as the predicted one", "grids", "{class_names[prediction]}", "{class_names[label]}"),
    )),
))  # fmt: skip
