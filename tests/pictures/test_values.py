"""What a picture shows is what it was given."""

import numpy as np
from matplotlib.colors import to_rgba

from jaxvit.pictures.confusion import plot_confusion_matrix
from jaxvit.pictures.curves import Curve, plot_curves
from jaxvit.pictures.explanation import ClassMaps, plot_explanation
from jaxvit.pictures.features import plot_feature_map, plot_neighbours, plot_views
from jaxvit.pictures.overlays import heat_map
from jaxvit.pictures.reliability import plot_reliability
from jaxvit.pictures.samples import plot_copies, plot_progress, plot_samples

METRICS = {"accuracy": 0.5, "accuracy_low": 0.1, "accuracy_high": 0.9}


def test_a_cells_colour_is_its_share_of_the_class():
    figure = plot_confusion_matrix(np.array([[3, 1], [0, 4]]), ("a", "b"), METRICS)
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[0.75, 0.25], [0, 1]])


def test_each_map_of_an_explanation_has_its_own_place_and_the_scale_its_names():
    maps = {f"m{number}": (np.ones((4, 4, 3)), True) for number in range(6)}  # two rows of places
    rows = [ClassMaps("a", maps), ClassMaps("b", maps)]
    figure = plot_explanation(np.zeros((4, 4, 3)), "t", [("a", 1.0)], rows)
    images = [len(axis.images) for axis in figure.axes if axis.images]
    assert images == [1] * (2 + 12)  # the photo and the scale; all maps
    scale = figure.axes[3]
    names = [label.get_text() for label in scale.get_xticklabels()]
    assert names == ["against", "0", "for the class"]
    ends = np.asarray(scale.images[0].get_array())[0, [0, -1]]
    np.testing.assert_allclose(ends, heat_map(np.array([[-1.0, 1.0]]))[0], atol=1e-6)


def test_accuracy_stands_above_its_bin_of_confidence():
    figure = plot_reliability(
        np.array([0, 0, 4, 6]), np.array([0, 0, 2.4, 5.4]), np.array([0, 0, 3, 6]), 0.1
    )
    axis = figure.axes[0]
    bars = [(bar.get_x(), bar.get_height()) for bar in axis.patches]
    assert bars == [(0.5, 0.75), (0.75, 1.0)]
    dots = axis.lines[0]
    np.testing.assert_allclose(dots.get_xdata(), [0.6, 0.9])
    np.testing.assert_allclose(dots.get_ydata(), [0.75, 1.0])


def test_each_neighbour_has_the_name_of_its_own_class():
    images = np.zeros((3, 4, 4, 1), np.uint8)
    found = np.array([[1, 0]])
    figure = plot_neighbours(images[:1], images[None, 1:], np.array([0]), found, ("a", "b"))
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "a"]
    assert [axis.title.get_color() for axis in figure.axes] == ["black", "red", "black"]


def test_the_best_epoch_is_named():
    lines = [
        {"step": 10 * epoch, "epoch": epoch, "val/loss": value}
        for epoch, value in ((1, 2.0), (2, 1.0), (3, 3.0))
    ]
    axis = plot_curves(lines, [Curve("loss")], 20).axes[0]
    assert "best: epoch 2" in axis.get_legend_handles_labels()[1]


def test_a_class_has_one_colour_on_the_map_and_beside_it():
    images, labels = np.zeros((3, 4, 4, 1), np.uint8), np.array([1, 0, 1])
    axis = plot_feature_map(np.eye(3)[:, :2], images, labels, ("a", "b")).axes[0]
    named = {
        handle.get_label(): to_rgba(handle.get_color())
        for handle in axis.get_legend().legend_handles
    }
    drawn = axis.collections[0].get_facecolors()
    for colour, label in zip(drawn, labels, strict=True):
        np.testing.assert_allclose(colour, named["ab"[label]])
    frames = [box.patch.get_edgecolor() for box in axis.artists]
    np.testing.assert_allclose(frames, drawn)


def test_samples_stand_above_the_training_images_and_say_so():
    samples, nearest = np.zeros((2, 4, 4, 1), np.uint8), np.full((2, 4, 4, 1), 9, np.uint8)
    figure = plot_copies(samples, nearest, np.array([1.25, 2.5]), 3.75)
    above, _, below, last = figure.axes
    assert (above.get_ylabel(), below.get_ylabel()) == ("sample", "nearest")
    assert above.images[0].get_array().max() == 0
    assert below.images[0].get_array().min() == 9
    assert (below.get_xlabel(), last.get_xlabel()) == ("1.25", "2.50")
    assert "a test image's is at 3.75" in figure.get_suptitle()


def test_each_sample_stands_under_its_title():
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    figure = plot_samples(images, ["a", "b", "c"])
    shown = [(axis.get_title(), axis.images[0].get_array().max()) for axis in figure.axes[:3]]
    assert shown == [("a", 0), ("b", 1), ("c", 2)]
    assert figure.axes[0].images[0].get_clim() == (0, 255)  # not stretched to its own contrast


def test_each_moment_stands_beside_its_images():
    images = np.arange(4, dtype=np.uint8).reshape(2, 2, 1, 1, 1) * np.ones((4, 4, 1), np.uint8)
    figure = plot_progress(["first", "last"], images, "t")
    shown = [axis.images[0].get_array().max() for axis in figure.axes]
    assert shown == [0, 1, 2, 3]
    assert [axis.get_ylabel() for axis in figure.axes] == ["first", "", "last", ""]


def test_each_view_stands_below_the_others_of_its_image_without_normalisation():
    pixels = np.linspace(0, 1, 6).reshape(2, 3, 1, 1, 1) * np.ones((4, 4, 1))
    figure = plot_views((pixels - 0.3) / 0.2, (0.3,), (0.2,))
    shown = [axis.images[0].get_array().max() for axis in figure.axes]
    np.testing.assert_allclose(shown, [0, 0.6, 0.2, 0.8, 0.4, 1], atol=1e-6)


def test_the_axis_above_has_the_epochs_of_the_steps():
    lines = [{"step": s, "epoch": e, "val/loss": 1.0} for s, e in ((10, 5), (20, 10), (40, 20))]
    (above,) = plot_curves(lines, [Curve("loss")], 20).axes[0].child_axes
    assert [above._functions[0](step) for step in (0, 10, 20, 30, 40)] == [0, 5, 10, 15, 20]
