"""What a picture shows is what it was given."""

import numpy as np

from jaxvit.pictures.confusion import plot_confusion_matrix

METRICS = {"accuracy": 0.5, "accuracy_low": 0.1, "accuracy_high": 0.9}


def test_a_cells_colour_is_its_share_of_the_class():
    figure = plot_confusion_matrix(np.array([[3, 1], [0, 4]]), ("a", "b"), METRICS)
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[0.75, 0.25], [0, 1]])
