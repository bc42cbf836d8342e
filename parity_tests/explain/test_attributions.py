"""Every method that Captum has: as close to Captum in float64 as Captum in float32 is."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import torch
from captum.attr import DeepLift, IntegratedGradients
from flax import linen
from scipy import stats

from jaxvit import explain
from jaxvit.explain.multipliers import multipliers
from jaxvit.explain.quadrature import Method, quadrature
from parity_tests.explain import cases
from torch_ref.survey.resnet import LAYERS, ResNet


@pytest.fixture(scope="module")
def vit() -> cases.Case:
    return cases.small_vit()


@pytest.fixture(scope="module")
def resnet() -> cases.Case:
    return cases.small_resnet()


@pytest.mark.parametrize("name", cases.METHODS)
@pytest.mark.parametrize("which", ["vit", "resnet"])
def test_attributions_are_as_close_to_float64_as_captums(request, which, name):
    row = cases.row(name, request.getfixturevalue(which))
    assert row.holds, row


@pytest.mark.parametrize("method", Method.__args__)
def test_the_quadrature_is_captums(method):
    from captum.attr._utils.approximation_methods import approximation_parameters

    for steps in (2, 5, 50):
        weights, points = (function(steps) for function in approximation_parameters(method))
        found = quadrature(method, steps)
        np.testing.assert_allclose(found.weights, weights, rtol=1e-12)
        # Captum's Riemann points are rounded to float32.
        np.testing.assert_allclose(found.points, points, atol=1e-12 if "gauss" in method else 6e-8)


def test_a_quadrature_integrates_what_it_should():
    for method, degree in (("gausslegendre", 7), ("riemann_middle", 1)):
        points, weights = quadrature(method, 4)
        assert (weights * points**degree).sum() == pytest.approx(1 / (degree + 1))
    assert quadrature("riemann_trapezoid", 8).weights.sum() == pytest.approx(1 - 1 / 8)


@pytest.mark.parametrize("which", ["vit", "resnet"])
def test_integrated_gradients_are_complete_and_the_delta_is_captums(request, which):
    case = request.getfixturevalue(which)
    args = (case.logits, case.images, case.targets)
    found = explain.integrated_gradients(*args, baselines=case.baselines, steps=3)
    delta = explain.convergence_delta(*args, found, case.baselines)
    twin = cases.in_torch(case, torch.float64)
    _, expected = IntegratedGradients(twin.model).attribute(
        twin.images, twin.baselines, twin.targets, n_steps=3, return_convergence_delta=True
    )
    np.testing.assert_allclose(delta, expected.detach(), atol=2e-6)
    fine = explain.integrated_gradients(*args, baselines=case.baselines, steps=200)
    fine = np.abs(explain.convergence_delta(*args, fine, case.baselines)).max()
    assert fine < np.abs(delta).max() / 4


@pytest.mark.parametrize(
    ("which", "method", "most"),
    [
        ("vit", "gausslegendre", 1e-5),  # .9e-6 to 3e-6, which is rounding
        ("vit", "riemann_middle", 3e-5),  # 7e-6
        ("resnet", "gausslegendre", 0.1),  # .06: kinks of ReLU along the way
    ],
)
def test_200_steps_of_integrated_gradients_sum_to_the_difference(request, which, method, most):
    case = request.getfixturevalue(which)
    assert cases.share_missed(case, 200, method) < most


def test_overlapping_pooling_windows_lose_their_parts_as_captums_do():
    """Without ReLU before it pooling keeps its rule, which overwrites where windows overlap."""
    torch.manual_seed(0)
    twin = torch.nn.Sequential(
        torch.nn.MaxPool2d(3, 2, 1), torch.nn.Flatten(), torch.nn.Linear(48, 4)
    ).double()
    images, baselines = np.random.default_rng(0).normal(size=(2, 2, 8, 8, 3)).astype(np.float32)
    kernel = twin[2].weight.detach().numpy().reshape(4, 3, 4, 4).transpose(2, 3, 1, 0)
    variables = {"kernel": np.float32(kernel.reshape(48, 4)), "bias": twin[2].bias.detach().numpy()}
    args = (Pooled(), {"params": {"Dense_0": variables}}, images, [1, 3])
    pair = (torch.tensor(each, dtype=torch.float64).permute(0, 3, 1, 2)
            for each in (images, baselines))  # fmt: skip
    expected = DeepLift(twin).attribute(*pair, target=torch.tensor([1, 3]))
    found = explain.deep_lift(*args, baselines=baselines, rules="captum")
    np.testing.assert_allclose(found, expected.detach().permute(0, 2, 3, 1), atol=1e-5)
    logits = explain.logits_fn(*args[:2])
    lost = explain.convergence_delta(logits, images, args[3], found, baselines)
    assert np.abs(lost).min() > 0.01
    whole = explain.deep_lift(*args, baselines=baselines)
    delta = explain.convergence_delta(logits, images, args[3], whole, baselines)
    np.testing.assert_allclose(delta, 0, atol=1e-5)


class Pooled(linen.Module):
    """Pooling of overlapping windows, and a layer."""

    @linen.compact
    def __call__(self, x, deterministic=True):
        x = linen.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        return linen.Dense(4)(x.reshape(len(x), -1))


@pytest.mark.slow
@pytest.mark.parametrize("which", ["vit", "resnet"])
def test_deep_lift_with_rules_for_all_operations_is_complete(request, which):
    case = request.getfixturevalue(which)
    args = (case.logits, case.images, case.targets)
    found = explain.deep_lift(
        case.model, case.variables, *args[1:], baselines=case.baselines, rules="complete"
    )
    delta = explain.convergence_delta(*args, found, case.baselines)
    both = [np.asarray(case.logits(each)) for each in (case.images, case.baselines)]
    assert np.abs(delta).max() < 2e-6 * max(np.abs(each).max() for each in both) + 1e-6
    captums = explain.deep_lift(
        case.model, case.variables, *args[1:], baselines=case.baselines, rules="captum"
    )
    assert np.abs(explain.convergence_delta(*args, captums, case.baselines)).max() > 0.02


class WithSort(linen.Module):
    """An operation that has no rule."""

    @linen.compact
    def __call__(self, x, deterministic=True):
        return jnp.sort(linen.Dense(8)(x.reshape(len(x), -1)), axis=1)


def test_an_operation_without_a_rule_is_refused_by_name():
    model, images = WithSort(), np.ones((1, 2, 2, 1), np.float32)
    variables = model.init(jax.random.key(0), images)
    with pytest.raises(NotImplementedError, match="no complete rule for the operation sort of 1"):
        explain.deep_lift(model, variables, images, 3)
    assert np.isfinite(explain.deep_lift(model, variables, images, 3, rules="captum")).all()


class With(linen.Module):
    """Two layers with an operation between them."""

    operation: Callable

    @linen.compact
    def __call__(self, x, deterministic=True):
        return linen.Dense(3)(self.operation(linen.Dense(8)(x.reshape(len(x), -1))))


def doubled_in_a_loop(x):
    return jax.lax.fori_loop(0, 3, lambda _, carried: 2 * carried, x)


def doubled_if_positive(x):
    return jax.lax.cond(x.sum() > 0, lambda x: 2 * x, lambda x: x, x)


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (doubled_in_a_loop, "scan"),
        (doubled_if_positive, "cond"),
        (lambda x: jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x + 1, x), "while"),
        (jax.nn.elu, "gt"),
        (lambda x: jnp.where(x > 0, x, 0.1 * x), "gt"),
        (lambda x: x * (x > 0), "gt"),
    ],
)  # fmt: skip
def test_what_is_decided_by_the_image_is_refused_and_so_are_loops(operation, name):
    model, images = With(operation), np.ones((1, 2, 2, 1), np.float32)
    variables = model.init(jax.random.key(0), images)
    with pytest.raises(NotImplementedError, match=f"no complete rule for the operation {name} of"):
        explain.deep_lift(model, variables, images, 1)


@pytest.mark.parametrize("operation", [doubled_in_a_loop, doubled_if_positive])
def test_captums_rules_give_loops_their_gradient(operation):
    model, images = With(operation), np.ones((1, 2, 2, 1), np.float32)
    variables = model.init(jax.random.key(0), images)
    found = explain.deep_lift(model, variables, images, 1, rules="captum")
    expected = explain.input_times_gradient(explain.logits_fn(model, variables), images, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_on_a_vit_captums_deep_lift_is_the_gradient(vit):
    twin = cases.in_torch(vit, torch.float64)
    found = DeepLift(twin.model).attribute(twin.images, twin.baselines, twin.targets)
    score = twin.model(twin.images)[torch.arange(3), twin.targets].sum()
    gradient = torch.autograd.grad(score, twin.images)[0]
    torch.testing.assert_close(found, (twin.images - twin.baselines) * gradient)


def test_captums_deep_lift_refuses_torchvisions_reused_relu(resnet):
    twin = ResNet(LAYERS["resnet18"], cases.CLASSES, "imagenet", width=6).eval()
    images = torch.randn(1, 3, 64, 64)
    with pytest.raises(RuntimeError, match="being used more than once"):
        DeepLift(twin).attribute(images, target=0)


def test_own_draws_have_captums_distribution(vit):
    """Means over draws of both, at some pixels."""
    args = (vit.logits, vit.images[:1], vit.targets[:1])
    many = [
        explain.gradient_shap(
            *args, baselines=vit.baselines, key=jax.random.key(seed), samples=1, stdevs=0.3
        )
        for seed in range(200)
    ]
    twin = cases.in_torch(vit, torch.float32)
    theirs = [
        cases.captum.attr.GradientShap(twin.model).attribute(
            twin.images[:1], twin.baselines, 1, 0.3, target=twin.targets[:1]
        ).detach().numpy().transpose(0, 2, 3, 1)
        for _ in range(200)
    ]  # fmt: skip
    for pixel in ((0, 3, 3, 0), (0, 8, 9, 1), (0, 12, 5, 2)):
        samples = [np.array([each[pixel] for each in found]) for found in (many, theirs)]
        assert stats.ks_2samp(*samples).pvalue > 1e-3, pixel


def test_noise_differs_between_copies_and_images_and_has_its_deviation():
    noise = np.asarray(explain.draw_noise_tunnel(jax.random.key(0), (3, 8, 8, 3), 20, 0.5))
    assert noise.shape == (20, 3, 8, 8, 3)
    assert noise.std() == pytest.approx(0.5, rel=0.05)
    assert stats.kstest(np.ravel(noise) / 0.5, "norm").pvalue > 1e-3
    flat = noise.reshape(60, -1)
    assert np.abs(np.corrcoef(flat) - np.eye(60)).max() < 0.4
    draw = explain.draw_gradient_shap(jax.random.key(0), (40, 2, 2, 1), 5, 50, 0.0)
    assert not draw.noise.any()
    assert set(np.unique(draw.baseline)) == set(range(5))
    assert stats.kstest(np.ravel(draw.coefficient), "uniform").pvalue > 1e-3
    assert len(np.unique(draw.coefficient)) > 1900


@pytest.mark.slow
def test_the_size_of_a_part_changes_nothing(vit):
    args = (vit.logits, vit.images, vit.targets)
    for size in (1, 2, 64):
        np.testing.assert_allclose(
            explain.integrated_gradients(*args, steps=4, batch_size=size),
            explain.integrated_gradients(*args, steps=4), atol=1e-6,
        )  # fmt: skip
        np.testing.assert_allclose(
            explain.occlusion(*args, window=4, strides=4, batch_size=size),
            explain.occlusion(*args, window=4, strides=4), atol=1e-6,
        )  # fmt: skip


def test_a_function_of_ones_own_is_explained_too():
    """F_k(x) = the sum of channel k, so the gradient of F_1 is 1 on channel 1."""

    def function(images):
        return images.sum(axis=(1, 2))

    images = jnp.ones((2, 3, 3, 4))
    found = explain.saliency(function, images, 1)
    assert np.array_equal(found, np.broadcast_to(np.eye(4)[1], (2, 3, 3, 4)))
    covered = explain.occlusion(function, images, [1, 2], window=2, strides=1, baselines=0.25)
    np.testing.assert_allclose(covered, 3.0)  # four pixels of 1 become .25


@pytest.fixture
def untyped():
    """As for a user: the tests' check of types would refuse some arguments before we do."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize(
    ("targets", "says"),
    [
        (7, "target 7 is no class of 7: choose one of 0 to 6"),
        ([0, -1, 2], "target -1 is no class of 7"),
        ([0, 1], "targets of shape (2,)"),
        (1.0, "float32"),
    ],
)
def test_a_target_that_is_no_class_is_refused(vit, targets, says):
    with pytest.raises(ValueError, match=".*") as caught:
        explain.saliency(vit.logits, vit.images, targets)
    assert says in str(caught.value)


def deep_lift_of(logits, images, targets, **options):
    return explain.deep_lift(logits.keywords["model"].value, logits.args[0], images, targets,
                             **options)  # fmt: skip


@pytest.mark.usefixtures("untyped")
def test_sizes_of_windows_may_be_numpys(vit):
    args = (vit.logits, vit.images, vit.targets)
    found = explain.occlusion(*args, window=np.int64(8), strides=np.int32(8))
    assert np.array_equal(found, explain.occlusion(*args, window=8, strides=8))


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda *a: explain.integrated_gradients(*a, steps=0), "steps 0 is too small"),
        (lambda *a: explain.integrated_gradients(*a, method="simpson"), "unknown method 'simpson'"),
        (lambda *a: explain.integrated_gradients(*a, baselines=np.zeros((2, 2))), "do not fit"),
        (lambda *a: explain.occlusion(*a, window=17, strides=1), "a window of height 17"),
        (lambda *a: explain.occlusion(*a, window=4, strides=5), "a stride of 5"),
        (lambda f, x, t: explain.saliency(f, x[0], 0), "give a batch"),
        (lambda f, x, t: explain.saliency(lambda x: x, x, 0), "give logits (B, K)"),
        (lambda *a: explain.integrated_gradients(*a, batch_size=-1), "batch_size -1 is too small"),
        (lambda *a: explain.occlusion(*a, window=4, strides=4, batch_size=0), "batch_size 0"),
        (lambda f, x, t: explain.saliency(f, x[:0], 0), "of at least one image"),
        (lambda f, x, t: deep_lift_of(f, x, t, rules="Complete"), "unknown rules 'Complete'"),
        (
            lambda f, x, t: explain.apply_gradient_shap(
                f,
                x,
                t,
                explain.draw_gradient_shap(jax.random.key(0), x[:2].shape, 3, 4, 0.0),
                baselines=x,
            ),
            "a draw of 4 sample(s) of 2 image(s) for 3 image(s)",
        ),
        (
            lambda f, x, t: explain.apply_noise_tunnel(None, x, t, np.zeros((0, *x.shape))),
            "noise of no sample",
        ),
        (
            lambda f, x, t: explain.noise_tunnel(None, x, t, key=jax.random.key(0), samples=0),
            "samples 0 is too small",
        ),
        (
            lambda f, x, t: explain.noise_tunnel(None, x, t, key=jax.random.key(0), stdevs=-1),
            "stdevs -1 is negative",
        ),
        (
            lambda f, x, t: explain.noise_tunnel(None, x, t, key=jax.random.key(0), kind="x"),
            "unknown kind 'x'",
        ),
    ],
)
def test_what_cannot_be_computed_is_one_line(vit, call, says):
    with pytest.raises(ValueError, match="(?s)^[^\n]+$") as caught:
        call(vit.logits, vit.images, vit.targets)
    assert says in str(caught.value)


@pytest.mark.parametrize("keepdims", [True, False])
def test_deep_lift_of_a_softmax_whose_maxima_are_far_apart_is_complete(keepdims):
    """With one maximum for both, the exponentials of the other would all be 0."""
    values = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)

    def function(x):
        z = 100 * x
        top = jax.lax.stop_gradient(z.max(axis=-1, keepdims=keepdims))
        exps = jnp.exp(z - (top if keepdims else top[..., None]))
        return jnp.square((exps @ values) / exps.sum(axis=-1, keepdims=True)).sum()

    image = jnp.asarray([[1.0, 0.9, -2.0, 0.0, 0.99], [0.1, 0.2, 0.0, -0.1, 0.3]])
    baseline = jnp.asarray([[-3.0, -2.9, -4.0, -5.0, -2.99], [2.0, 1.99, -1.0, 0.0, 2.01]])
    found, of_image, of_baseline = multipliers(function, image, baseline, "complete", 1e-10)
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 100
    change = float(((image - baseline) * found).sum())
    assert change == pytest.approx(float(of_image - of_baseline), abs=1e-4)
