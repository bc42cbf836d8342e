"""Classifiers in both frameworks with equal weights, and Captum's methods on them."""

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import captum
import captum.attr
import jax
import numpy as np
import torch
from flax import linen
from torch import Tensor, nn

from jaxvit import explain
from jaxvit.explain.gradient_shap import GradientShapDraw
from jaxvit.models.resnet import make_resnet
from parity_tests.comparison import twins
from parity_tests.evidence import Row, distance
from parity_tests.survey.small_models import ported, with_noise
from torch_ref.survey.interpretation import one_relu_a_use
from torch_ref.survey.resnet import LAYERS, ResNet

CAPTUM = "0.9.0"
assert captum.__version__ == CAPTUM, f"claims are about captum {CAPTUM}: {captum.__version__}"
CLASSES, SIDE = 7, 16
SEED = 3  # of Captum's draws
STEPS, SAMPLES, STDEVS = 6, 5, 0.3
WINDOW, STRIDES = (5, 6), (3, 4)  # the last windows are cut


class Case(NamedTuple):
    """One classifier with images.

    Attributes:
      title: of its rows.
      torch_model: in evaluation, float32; each use of ReLU is a module of its own.
      model, variables: the same in JAX.
      images, baselines: (B, H, W, C) float32, normalised.
      targets: (B,).
      window, strides: of occlusion, (height, width).
    """

    title: str
    torch_model: nn.Module
    model: linen.Module
    variables: dict
    images: np.ndarray
    baselines: np.ndarray
    targets: np.ndarray
    window: tuple[int, int] = WINDOW
    strides: tuple[int, int] = STRIDES

    @property
    def logits(self) -> Callable:
        return explain.logits_fn(self.model, self.variables)


def small_vit(**options) -> Case:
    model, ours, params = twins(pool="both", register_tokens=2, layer_scale=0.8, **options)
    return case("ViT", model.eval(), ours, {"params": params}, SIDE)


def small_resnet(stem: str = "imagenet", side: int = 64) -> Case:
    torch.manual_seed(0)
    model = with_noise(ResNet(LAYERS["resnet18"], CLASSES, stem, width=6)).eval()
    ours = make_resnet("resnet18", CLASSES, img_size=side, stem=stem, width=6)
    variables = ported(model.state_dict())
    return case(f"ResNet, stem {stem}", one_relu_a_use(model), ours, variables, side)


def case(title: str, torch_model, model, variables, side: int) -> Case:
    rng = np.random.default_rng(0)
    images, baselines = rng.normal(size=(2, 3, side, side, 3)).astype(np.float32)
    return Case(title, torch_model, model, variables, images, baselines, np.array([1, 4, 0]))


class InTorch(NamedTuple):
    """A case in one dtype of PyTorch.

    Attributes:
      model, images, baselines, targets: (N, C, H, W).
    """

    model: nn.Module
    images: Tensor
    baselines: Tensor
    targets: Tensor


def in_torch(each: Case, dtype: torch.dtype) -> InTorch:
    images, baselines = (
        torch.tensor(array, dtype=dtype).permute(0, 3, 1, 2)
        for array in (each.images, each.baselines)
    )
    model = copy.deepcopy(each.torch_model).to(dtype)
    return InTorch(model, images.requires_grad_(), baselines, torch.tensor(each.targets))


@contextlib.contextmanager
def recorded() -> Iterator[dict[str, list]]:
    """What Captum draws, under SEED, by the name of the function."""
    places = {"normal": torch, "uniform": np.random, "choice": np.random}
    drawn, before = {name: [] for name in places}, {n: getattr(p, n) for n, p in places.items()}

    def keeping(name: str) -> Callable:
        def function(*args, **kwargs):
            drawn[name].append(before[name](*args, **kwargs))
            return drawn[name][-1]

        return function

    torch.manual_seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002  Captum draws from the global state
    for name, place in places.items():
        setattr(place, name, keeping(name))
    try:
        yield drawn
    finally:
        for name, place in places.items():
            setattr(place, name, before[name])


def by_sample(drawn: Any, images: int) -> np.ndarray:
    """Captum's rows, image by image, as (samples, images, ...); channels last."""
    array = np.asarray(drawn)
    array = array.reshape(images, -1, *array.shape[1:]).swapaxes(0, 1)
    return array.transpose(0, 1, 3, 4, 2) if array.ndim == 5 else array


def noise_of(each: Case) -> np.ndarray:
    """What Captum's NoiseTunnel adds to the images of the case under SEED."""
    with recorded() as drawn:
        tunnel(each, torch.float32, "smoothgrad")
    return by_sample(drawn["normal"][0], len(each.images)).astype(np.float32)


def shap_draw_of(each: Case) -> GradientShapDraw:
    with recorded() as drawn:
        gradient_shap(each, torch.float32)
    count = len(each.images)
    return GradientShapDraw(
        by_sample(drawn["normal"][0], count).astype(np.float32),
        by_sample(drawn["choice"][0], count),
        by_sample(drawn["uniform"][0], count).astype(np.float32),
    )


def tunnel(each: Case, dtype: torch.dtype, kind: str) -> Tensor:
    """Captum's NoiseTunnel of InputXGradient."""
    twin = in_torch(each, dtype)
    method = captum.attr.NoiseTunnel(captum.attr.InputXGradient(twin.model))
    return method.attribute(
        twin.images, nt_type=kind, nt_samples=SAMPLES, stdevs=STDEVS, target=twin.targets
    )


def gradient_shap(each: Case, dtype: torch.dtype) -> Tensor:
    twin = in_torch(each, dtype)
    return captum.attr.GradientShap(twin.model).attribute(
        twin.images, twin.baselines, SAMPLES, STDEVS, target=twin.targets
    )


def theirs(name: str, each: Case, dtype: torch.dtype) -> np.ndarray:
    """Attributions (B, H, W, C) of one of METHODS in PyTorch; see ours."""
    twin = in_torch(each, dtype)
    forward = (twin.images,)
    method, _, detail = name.partition(": ")
    with warnings.catch_warnings(), recorded():
        warnings.simplefilter("ignore")
        if method == "saliency":
            found = captum.attr.Saliency(twin.model).attribute(
                *forward, twin.targets, abs=detail != "signed"
            )
        elif method == "input_times_gradient":
            found = captum.attr.InputXGradient(twin.model).attribute(*forward, twin.targets)
        elif method == "integrated_gradients":
            found = captum.attr.IntegratedGradients(twin.model).attribute(
                *forward, twin.baselines, twin.targets, n_steps=STEPS, method=detail
            )
        elif method == "noise_tunnel":
            found = tunnel(each, dtype, detail)
        elif method == "gradient_shap":
            found = gradient_shap(each, dtype)
        elif method == "deep_lift":
            found = captum.attr.DeepLift(twin.model).attribute(
                *forward, twin.baselines, twin.targets
            )
        elif dtype == torch.float64:
            found = occlusion_in_float64(twin, each.window, each.strides)
        else:
            found = captum.attr.Occlusion(twin.model).attribute(
                *forward, (3, *each.window), (3, *each.strides), twin.baselines, twin.targets,
                perturbations_per_eval=2,
            )  # fmt: skip
    return np.asarray(found.detach()).transpose(0, 2, 3, 1)


@torch.no_grad()
def occlusion_in_float64(
    twin: InTorch, window_size: tuple[int, int], strides: tuple[int, int]
) -> Tensor:
    """Captum's returns float32 and divides in it. Window by window, as its documentation says."""
    rows = torch.arange(len(twin.images))
    whole = twin.model(twin.images)[rows, twin.targets]
    total, number = torch.zeros_like(twin.images), torch.zeros_like(twin.images)
    height, width = twin.images.shape[2:]
    for top in range(0, height - window_size[0] + strides[0], strides[0]):
        for left in range(0, width - window_size[1] + strides[1], strides[1]):
            window = (..., slice(top, top + window_size[0]), slice(left, left + window_size[1]))
            covered = twin.images.clone()
            covered[window] = twin.baselines[window]
            lost = whole - twin.model(covered)[rows, twin.targets]
            total[window] += lost[:, None, None, None]
            number[window] += 1
    return total / number


def ours(name: str, each: Case) -> np.ndarray:
    """Attributions (B, H, W, C) of one of METHODS in JAX; the last part is padded on 4 devices."""
    method, _, detail = name.partition(": ")
    args = (each.logits, each.images, each.targets)
    if method == "saliency":
        return explain.saliency(*args, absolute=detail != "signed")
    if method == "input_times_gradient":
        return explain.input_times_gradient(*args)
    if method == "integrated_gradients":
        return explain.integrated_gradients(
            *args, baselines=each.baselines, steps=STEPS, method=detail, batch_size=20
        )
    if method == "noise_tunnel":

        def attribute(images, targets):
            return explain.input_times_gradient(each.logits, images, targets)

        return explain.apply_noise_tunnel(
            attribute, each.images, each.targets, noise_of(each), detail
        )
    if method == "gradient_shap":
        return explain.apply_gradient_shap(
            *args, shap_draw_of(each), baselines=each.baselines, batch_size=16
        )
    if method == "deep_lift":
        return explain.deep_lift(
            each.model, each.variables, *args[1:], baselines=each.baselines, rules="captum",
            batch_size=2,
        )  # fmt: skip
    return explain.occlusion(
        *args, window=each.window, strides=each.strides, baselines=each.baselines, batch_size=7
    )


METHODS = (
    "saliency", "saliency: signed", "input_times_gradient",
    "integrated_gradients: gausslegendre", "integrated_gradients: riemann_left",
    "integrated_gradients: riemann_right", "integrated_gradients: riemann_middle",
    "integrated_gradients: riemann_trapezoid", "noise_tunnel: smoothgrad",
    "noise_tunnel: smoothgrad_sq", "noise_tunnel: vargrad", "gradient_shap", "deep_lift",
    "occlusion",
)  # fmt: skip


def row(name: str, each: Case) -> Row:
    """JAX's distance from Captum in float64 over Captum's in float32."""
    return distance(
        f"{each.title}: {name}",
        jax.device_get(ours(name, each)),
        theirs(name, each, torch.float32),
        theirs(name, each, torch.float64),
    )


def share_missed(each: Case, steps: int, method: str) -> float:
    """The largest |delta| of integrated gradients over |F(x) - F(x')|."""
    args = (each.logits, each.images, each.targets)
    found = explain.integrated_gradients(
        *args, baselines=each.baselines, steps=steps, method=method
    )
    delta = explain.convergence_delta(*args, found, each.baselines)
    rows = np.arange(len(each.targets))
    score, before = (
        np.asarray(each.logits(array))[rows, each.targets]
        for array in (each.images, each.baselines)
    )
    return float((np.abs(delta) / np.abs(score - before)).max())
