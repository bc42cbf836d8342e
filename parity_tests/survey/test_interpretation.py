"""The survey's explanations, and what Captum does to ResNet-18."""

import numpy as np
import pytest
import torch
from captum.attr import DeepLift

from jaxvit import explain
from parity_tests.explain import cases
from torch_ref.survey.interpretation import attributions, one_relu_a_use
from torch_ref.survey.resnet import LAYERS, ResNet


@pytest.fixture(scope="module")
def case() -> cases.Case:
    return cases.small_resnet()


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    """The same network with torchvision's blocks."""
    torch.manual_seed(0)
    return cases.with_noise(ResNet(LAYERS["resnet18"], cases.CLASSES, "imagenet", width=6)).eval()


def test_torchvisions_reused_relu_is_split(model, case):
    images = torch.tensor(case.images).permute(0, 3, 1, 2)
    with pytest.raises(RuntimeError, match="being used more than once"):
        DeepLift(model).attribute(images, target=0)
    with torch.no_grad():
        assert torch.equal(one_relu_a_use(model)(images), model(images))


def test_captums_contributions_do_not_sum_to_the_difference(case):
    twin = cases.in_torch(case, torch.float64)
    _, delta = DeepLift(twin.model).attribute(
        twin.images, twin.baselines, twin.targets, return_convergence_delta=True
    )
    assert delta.abs().min() > 0.1
    complete = explain.deep_lift(
        case.model, case.variables, case.images, case.targets, baselines=case.baselines
    )
    args = (case.logits, case.images, case.targets, complete, case.baselines)
    assert np.abs(explain.convergence_delta(*args)).max() < 1e-5


@pytest.mark.slow
def test_every_explanation_of_the_survey_is_that_of_jaxvit_with_the_same_draws(model, case):
    images = torch.tensor(case.images[:2]).permute(0, 3, 1, 2).requires_grad_()
    with cases.recorded() as drawn:
        found = attributions(model, images, torch.tensor(case.targets[:2]), 9, 5)
    args = (case.logits, case.images[:2], case.targets[:2])
    noise = [cases.by_sample(each, 2).astype(np.float32) for each in drawn["normal"]]

    def saliency(images, targets):
        return explain.saliency(case.logits, images, targets)

    def integrated(images, targets):
        return explain.integrated_gradients(case.logits, images, targets)

    ones = np.ones_like(case.images[:2])
    shap = explain.GradientShapDraw(
        noise[2], cases.by_sample(drawn["choice"][0], 2),
        cases.by_sample(drawn["uniform"][0], 2).astype(np.float32),
    )  # fmt: skip
    expected = {
        "gradients": saliency(*args[1:]),
        "integrated_gradients": integrated(*args[1:]),
        "gradients_with_noise": explain.apply_noise_tunnel(saliency, *args[1:], noise[0]),
        "integrated_gradients_with_noise": explain.apply_noise_tunnel(
            integrated, *args[1:], noise[1]
        ),
        "deep_lift": explain.deep_lift(case.model, case.variables, *args[1:], rules="captum"),
        "gradient_shap": explain.apply_gradient_shap(
            *args, shap, baselines=np.concatenate([0 * ones, ones])
        ),
        "occlusion": explain.occlusion(*args, window=9, strides=5),
    }
    assert found.keys() == expected.keys()
    for name, value in found.items():
        theirs = value.detach().numpy().transpose(0, 2, 3, 1)
        # A pre-activation within rounding of ReLU's kink may fall on either side.
        distance = np.linalg.norm(expected[name] - theirs) / np.linalg.norm(theirs)
        assert distance < 0.05, name
        assert np.median(np.abs(expected[name] - theirs)) < 1e-5 * np.abs(theirs).max(), name
