"""Mutations of jaxvit/pictures: figures."""

from parity_tests.mutation import listed

PICTURES = listed("jaxvit.pictures", (
    ("tests/test_train_jax.py", (
        ("augmented images shown normalised", "grids",
         "np.asarray(images) * np.asarray(std) + np.asarray(mean)", "np.asarray(images)"),
        ("the true class shown as the predicted one", "grids", "{class_names[prediction]}", "{class_names[label]}"),
    )),
))  # fmt: skip
