"""The pictures of a run that learns features."""

from typing import Any

import numpy as np

from jaxvit.config import Config
from jaxvit.data.decoded import Dataset
from jaxvit.objectives.representation import nearest, unit
from jaxvit.pictures.curves import Curve, plot_curves
from jaxvit.pictures.features import SHOWN, plot_feature_map, plot_neighbours, plot_views
from jaxvit.training.task import Results

QUERIES, NEIGHBOURS = 10, 7


def draw_representation(results: Results, config: Config, data: Dataset) -> dict[str, Any]:
    """Curves, views, a map of the test images' features, and nearest neighbours of ten of them."""
    class_names = data.class_names
    test, features = results.test, np.asarray(results.evaluation.outputs["features"])
    curves = [Curve("loss", ylabel="of a step"), Curve("accuracy", ylabel="instances told apart")]
    if len(class_names) > 1:
        shares = np.bincount(test.labels, minlength=len(class_names)) / len(test)
        chance = float(shares.max())
        curves += [
            Curve(name, chance=chance, limits=(0, 1), interval=True)
            for name in ("knn_accuracy", "linear_accuracy")
        ]
    else:
        curves.append(Curve("retrieval_accuracy", limits=(0, 1)))
    curves += [Curve("alignment"), Curve("uniformity")]
    figures = {
        "curves": plot_curves(results.lines, curves, results.best_step),
        "views": plot_views(results.inputs["images"], config.data.mean, config.data.std),
    }
    if "small_images" in results.inputs:
        small = results.inputs["small_images"]
        figures["small_views"] = plot_views(small, config.data.mean, config.data.std)
    shown = np.linspace(0, len(test) - 1, min(SHOWN, len(test))).astype(int)
    points = plane(features[shown])
    figures["feature_map"] = plot_feature_map(
        points, test.images(shown), test.labels[shown], class_names
    )
    queries = np.linspace(0, len(test) - 1, min(QUERIES, len(test))).astype(int)
    # The first neighbour of an image is the image itself.
    rows, _ = nearest(features[queries], features, NEIGHBOURS + 1)
    rows = np.stack([rows[i][rows[i] != query][:NEIGHBOURS] for i, query in enumerate(queries)])
    if rows.shape[1]:
        figures["neighbours"] = plot_neighbours(
            test.images(queries),
            np.stack([test.images(row) for row in rows]),
            test.labels[queries],
            test.labels[rows],
            class_names,
        )
    return figures


def plane(features: np.ndarray) -> np.ndarray:
    """(M, 2): t-SNE of features of length 1, from a fixed seed; of few, the first two numbers."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(features) < 5:
        return np.pad(features[:, :2], [(0, 0), (0, max(0, 2 - features.shape[1]))])
    perplexity = min(30.0, (len(features) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=0)
    # On a busy machine OpenMP's threads wait for each other: 43 s instead of .9 s for 359 images.
    with threadpool_limits(1, user_api="openmp"):
        return tsne.fit_transform(unit(features))
