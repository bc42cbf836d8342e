"""Why ResNet-18 says so: the survey's explanations, with Captum."""

import copy

import torch
from captum import attr
from torch import Tensor, nn

NOISE, NOISY = 0.2, 10  # standard deviation and number of noisy copies
STEPS = 50  # of integrated gradients
SHAP_NOISE, SHAPS = 1e-4, 50
WINDOW, STRIDE = 15, 8  # of occlusion, at 224 pixels


class OneReluAUse(nn.Module):
    """torchvision's BasicBlock with a ReLU module for each use, as Captum's DeepLift needs."""

    def __init__(self, block: nn.Module):
        super().__init__()
        for name in ("conv1", "bn1", "conv2", "bn2", "downsample"):
            setattr(self, name, getattr(block, name))
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(x)) + shortcut)


def one_relu_a_use(model: nn.Module) -> nn.Module:
    """A copy of a ResNet of basic blocks."""
    model = copy.deepcopy(model)
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        for number, block in enumerate(stage):
            stage[number] = OneReluAUse(block)
    return model


def attributions(
    model: nn.Module, images: Tensor, targets: Tensor, window: int = WINDOW, stride: int = STRIDE
) -> dict[str, Tensor]:
    """Every explanation of the survey, each (N, C, H, W).

    Args:
        model: a ResNet of basic blocks, in evaluation mode.
        images: (N, C, H, W), normalised; the baseline is 0, the mean colour.
        targets: (N,), the classes that are explained.
        window, stride: of occlusion, in pixels.
    """
    model = one_relu_a_use(model)
    gradients, integrated = attr.Saliency(model), attr.IntegratedGradients(model)
    noise = {"nt_samples": NOISY, "stdevs": NOISE, "nt_type": "smoothgrad_sq", "target": targets}
    return {
        "gradients": gradients.attribute(images, targets),
        "integrated_gradients": integrated.attribute(images, target=targets, n_steps=STEPS),
        "gradients_with_noise": attr.NoiseTunnel(gradients).attribute(images, **noise),
        "integrated_gradients_with_noise": attr.NoiseTunnel(integrated).attribute(
            images, n_steps=STEPS, **noise
        ),
        "deep_lift": attr.DeepLift(model).attribute(images, torch.zeros_like(images), targets),
        "gradient_shap": attr.GradientShap(model).attribute(
            images,
            torch.cat([torch.zeros_like(images), torch.ones_like(images)]),
            SHAPS,
            SHAP_NOISE,
            target=targets,
        ),
        "occlusion": attr.Occlusion(model).attribute(
            images, (images.shape[1], window, window), (images.shape[1], stride, stride),
            target=targets,
        ),
    }  # fmt: skip
