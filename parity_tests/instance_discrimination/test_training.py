"""A step and a run of instance discrimination, and features, beside the twin."""

import numpy as np
import pytest
import torch
from PIL import Image

from jaxvit.objectives.representation import knn_predict
from parity_tests.comparison import LOGITS, RATIO, max_difference
from parity_tests.evidence import distance
from parity_tests.instance_discrimination.replayed import (
    BLOG,
    COSINE,
    PAPER,
    SHIPPED,
    SIZE,
    SMALLER,
    WIDTH,
    network,
    photographs,
    train,
    twin_of,
)
from torch_ref.instance_discrimination import training
from torch_ref.instance_discrimination.training import features_of, knn_accuracy, loss_of


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(BLOG, id="blog", marks=pytest.mark.slow),
        pytest.param(PAPER, id="paper", marks=pytest.mark.slow),
        pytest.param(COSINE, id="cosine", marks=pytest.mark.slow),
        pytest.param(SMALLER, id="smaller", marks=pytest.mark.slow),
        pytest.param(SHIPPED, id="shipped", marks=pytest.mark.slow),
    ],
)
def test_a_run_of_ten_steps_is_as_close_to_float64_as_torch(config):
    run = train(config, 10)
    for what in (run.losses, run.params):
        row = distance("", *(what[name] for name in ("jax", "torch32", "torch64")))
        assert row.value <= 2 * RATIO or row.holds, row  # of ten steps alone
    assert run.losses["jax"][-1] < run.losses["jax"][0]


def test_features_and_their_neighbours_are_the_twins():
    data = photographs()
    model, params = network(len(data.train))
    twin = twin_of(params, BLOG, len(data.train))
    pixels = data.train.images(np.arange(len(data.train)))
    images = ((pixels / 255 - 0.5) / 0.25).astype(np.float32)
    tensors = torch.tensor(images).permute(0, 3, 1, 2)
    labels = torch.tensor(data.train.labels).long()
    batches = [(tensors[:25], None, labels[:25]), (tensors[25:], None, labels[25:])]
    theirs, their_labels = features_of(twin, batches)
    ours = model.backbone.apply({"params": params["backbone"]}, images, True, method="features")
    assert theirs.shape == (40, WIDTH)
    assert max_difference(ours, theirs) < LOGITS
    halves = [slice(None, None, 2), slice(1, None, 2)]
    accuracy = knn_accuracy(*((theirs[half], their_labels[half]) for half in halves), 5)
    features, queries = (np.asarray(ours)[half] for half in halves)
    found = knn_predict(queries, features, data.train.labels[halves[0]], 4, neighbours=5)
    assert (found == data.train.labels[halves[1]]).mean() == pytest.approx(accuracy)


def test_the_blogs_head_cannot_tell_two_images_of_a_class_apart():
    """Defect 2: 17 classes, and no target at all."""
    logits = torch.tensor([[4.0] + [0.0] * 16] * 2)  # two daffodils, recognised
    blogs = -logits.softmax(dim=1).log().sum(dim=1)
    assert blogs[0] == blogs[1] > -torch.full((17,), 1 / 17).log().sum()  # uniform is better
    _, params = network(9)
    twin = twin_of(params, BLOG, 9)
    views = torch.randn(2, 2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    before = [float(sum(loss_of(twin, views, torch.tensor([i, 8])))) for i in (0, 1)]
    assert before[0] != before[1]
    assert twin.instances.out_features == 9


def test_the_blogs_instance_loss_sees_no_view():
    """Defect 9: it is fed the photo itself, so no augmentation reaches it."""
    _, params = network(9)
    twin = twin_of(params, BLOG, 9).eval()
    photos, index = torch.zeros(2, 3, SIZE, SIZE), torch.tensor([3, 8])
    drawn = torch.randn(2, 2, 2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))

    def blogs(views):
        return torch.nn.functional.cross_entropy(twin(photos)[1], index)

    with torch.no_grad():
        assert blogs(drawn[0]) == blogs(drawn[1])
        fixed = [loss_of(twin, views, index)[0] for views in drawn]
    assert abs(fixed[0] - fixed[1]) > 1e-3


def test_the_command_trains_scores_and_saves(tmp_path, monkeypatch, capsys):
    """Defect 10, of two classes; the rate ends at 0."""
    (tmp_path / "jpg").mkdir()
    rng = np.random.default_rng(0)
    names = [f"image_{number:04d}.jpg" for number in range(1, 161)]
    (tmp_path / "jpg" / "files.txt").write_text("\n".join(names))
    for row, name in enumerate(names):
        colour = [200, 30] if row < 80 else [30, 200]
        pixels = rng.integers(0, 40, (8, 8, 3)) + [*colour, 0]
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "jpg" / name)
    small = {"patch_size": 4, "dim": 16, "depth": 1, "heads": 2, "mlp_dim": 32}
    model = training.blog_model
    monkeypatch.setattr(training, "blog_model", lambda number, **of: model(number, **of, **small))
    given = ["--data", str(tmp_path), "--epochs", "2", "--image-size", "8", "--workers", "0"]
    given += ["--batch-size", "12", "--schedule", "cosine", "--out", str(tmp_path / "run")]
    training.main(given)
    said = capsys.readouterr().out
    assert "epoch 2, step 10: loss" in said
    assert "nearest neighbours 100.00% of 14 (chance" in said
    assert "test: nearest neighbours 100.00% of 16" in said
    saved = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert saved["epoch"] == 2
    assert saved["optimizer"]["param_groups"][0]["lr"] == pytest.approx(0, abs=1e-12)
    fresh = model(130, image_size=8, **small)
    fresh.load_state_dict(saved["model"])
    assert fresh.instances.weight.abs().max() > 0


def test_the_loss_is_the_sum_of_both_over_all_views():
    _, params = network()
    twin = twin_of(params, BLOG, 9).eval()
    views = torch.randn(4, 2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    index = torch.tensor([3, 1, 8, 0])
    with torch.no_grad():
        instance, contrastive = loss_of(twin, views, index, contrastive_weight=0.5)
        z, logits = twin(views.flatten(0, 1))
        z = torch.nn.functional.normalize(z, dim=1).reshape(4, 2, -1).numpy()
        picked = logits.log_softmax(1).reshape(4, 2, -1).numpy()
    expected = -np.mean([picked[i, v, index[i]] for i in range(4) for v in range(2)])
    assert float(instance) == pytest.approx(expected, rel=1e-5)
    products = z[:, 0] @ z[:, 1].T
    pairs = -np.diag(products) + np.log(np.exp(products).sum(axis=1))
    assert float(contrastive) == pytest.approx(0.5 * pairs.mean(), rel=1e-5)
    alone = loss_of(twin, views, index, contrastive_weight=0.0)
    assert float(alone[1]) == 0
