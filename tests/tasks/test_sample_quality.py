"""What `quality` reports, recomputed from features, classifier and images."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import sqrtm

import train_jax
from jaxvit.__main__ import main
from tests.tasks.generators import images_of, sample


@pytest.mark.slow
def test_quality_is_that_of_the_features_and_the_classifier(root, capsys):
    classifier = root / "classifier"
    args = ["digits", "--epochs", "3", "--model.embed-dim", "16", "--model.num-layers", "1"]
    assert (
        train_jax.main([*args, "--out", str(classifier), "--data.cache-dir", str(root / "c")]) == 0
    )
    given = [str(root / "gan"), "--features", str(classifier), "--classifier", str(classifier)]
    given += ["--n", "40", "--seed", "3", "--json", str(root / "q.json")]
    capsys.readouterr()
    assert main(["quality", *given]) == 0
    said = capsys.readouterr().out
    found = json.loads((root / "q.json").read_text())
    assert sample(root, "gan", "q.npz", "--n", "40", "--seed", "3") == 0
    with np.load(root / "q.npz") as saved:
        made, labels = saved["images"], saved["labels"]
    (train_images, _), (test_images, test_labels) = (
        images_of(root, "gan", split) for split in ("train", "test")
    )
    from jaxvit.interop.saved_run import load_run

    run = load_run(classifier)

    def features(images):
        x = jnp.asarray((images / 255 - 0.305) / 0.376, jnp.float32)
        return np.asarray(run.model.apply({"params": run.params}, x, True, method="features"))

    def frechet(a, b):
        (m, s), (n, t) = ((x.mean(0), np.cov(x, rowvar=False)) for x in (a, b))
        return ((m - n) ** 2).sum() + np.trace(s + t) - 2 * np.trace(sqrtm(s @ t).real)

    def mmd(a, b):
        k = lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3  # noqa: E731
        off = lambda x: (k(x, x).sum() - np.trace(k(x, x))) / len(x) / (len(x) - 1)  # noqa: E731
        return off(a) + off(b) - 2 * k(a, b).mean()

    for name, images, truth in (("samples", made, labels), ("test", test_images, test_labels)):
        a, b = (features(each).astype(np.float64) for each in (images, train_images))
        assert found[name]["n"] == len(images)
        assert found[name]["kernel"] == pytest.approx(mmd(a, b), rel=1e-3, abs=1e-5)
        assert found[name]["kernel_low"] < found[name]["kernel"] < found[name]["kernel_high"]
        assert found[name]["frechet"] == pytest.approx(frechet(a, b), rel=1e-2)
        for part in ("frechet", "accuracy"):
            assert found[name][f"{part}_low"] <= found[name][part] <= found[name][f"{part}_high"]
        balls = np.sort(np.linalg.norm(a[:, None] - a[None], axis=-1), axis=1)[:, 3]
        reached = (np.linalg.norm(b[:, None] - a[None], axis=-1) <= balls).any(axis=1).mean()
        assert found[name]["recall"] == pytest.approx(reached, abs=1.5 / len(b))
        inside = np.linalg.norm(a[:, None] - b[None], axis=-1)
        radius = np.sort(np.linalg.norm(b[:, None] - b[None], axis=-1), axis=1)[:, 3]
        share = (inside <= radius).any(axis=1).mean()
        assert found[name]["precision"] == pytest.approx(share, abs=1.5 / len(images))
        predicted = run.probabilities(images).argmax(axis=1)
        assert found[name]["accuracy"] == pytest.approx((predicted == truth).mean())
        assert f"{found[name]['accuracy']:.1%}" in said
