"""The methods by name, as the command explain runs them on one photo."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn

from jaxvit.errors import UserError
from jaxvit.explain.attention_map import attention_map
from jaxvit.explain.attention_rollout import attention_rollout
from jaxvit.explain.deep_lift import deep_lift
from jaxvit.explain.grad_cam import grad_cam
from jaxvit.explain.gradient_shap import gradient_shap
from jaxvit.explain.input_times_gradient import input_times_gradient
from jaxvit.explain.integrated_gradients import integrated_gradients
from jaxvit.explain.noise_tunnel import noise_tunnel
from jaxvit.explain.occlusion import occlusion
from jaxvit.explain.saliency import saliency
from jaxvit.explain.score import convergence_delta, logits_fn
from jaxvit.shapes import Array

STEPS, SAMPLES = 50, 10
NOISE = 0.2  # standard deviation, in units of normalised pixels


class Setting(NamedTuple):
    """What a method is given.

    Attributes:
      model, variables: of the classifier.
      image: normalised, (1, H, W, C).
      target: the class that is explained.
      key: of what is random.
      batch_size: images in the model at a time.
    """

    model: nn.Module
    variables: Any
    image: Array
    target: int
    key: Array
    batch_size: int

    @property
    def outside(self) -> tuple:
        """The arguments of a method that sees the model from outside."""
        return logits_fn(self.model, self.variables), self.image, self.target

    @property
    def inside(self) -> tuple:
        """The arguments of a method that needs the model's inside."""
        return self.model, self.variables, self.image

    @property
    def window(self) -> int:
        """Of occlusion: a fourteenth of the image, which is a patch of 16 at 224 pixels."""
        return max(2, round(self.image.shape[1] / 14))


class Method(NamedTuple):
    """One of METHODS.

    Attributes:
      about: what it shows, in a few words.
      compute: Setting to attributions (1, H, W, C), or to a map (1, n, n).
      signed: whether what lowers the class is negative.
      complete: whether attributions sum to F(x) - F(0), so that a delta tells an error.
      needs_attention: whether the model has to have attention weights.
      of_layers: whether compute gives a map of each layer, (1, L, n, n); the last one is shown.
    """

    about: str
    compute: Callable[[Setting], Array]
    signed: bool = False
    complete: bool = False
    needs_attention: bool = False
    of_layers: bool = False


def _smooth(s: Setting) -> Array:
    function, image, target = s.outside

    def attribute(images: Array, targets: int) -> Array:
        return integrated_gradients(function, images, targets, steps=10, batch_size=s.batch_size)

    return noise_tunnel(
        attribute, image, target, key=s.key, kind="smoothgrad_sq", samples=SAMPLES, stdevs=NOISE
    )


def _shap(s: Setting) -> Array:
    # The mean colour and noise about it, as baselines.
    key, of_baselines = jax.random.split(s.key)
    baselines = NOISE * jax.random.normal(of_baselines, (SAMPLES, *s.image.shape[1:]))
    return gradient_shap(
        *s.outside, baselines=baselines, key=key, samples=STEPS, stdevs=NOISE / 10,
        batch_size=s.batch_size,
    )  # fmt: skip


METHODS: dict[str, Method] = {
    "saliency": Method("size of the gradient", lambda s: saliency(*s.outside)),
    "input_times_gradient": Method(
        "input times gradient", lambda s: input_times_gradient(*s.outside), signed=True
    ),
    "integrated_gradients": Method(
        f"integrated gradients, {STEPS} steps",
        lambda s: integrated_gradients(*s.outside, steps=STEPS, batch_size=s.batch_size),
        signed=True,
        complete=True,
    ),
    "noise_tunnel": Method("integrated gradients, squared, of noisy copies", _smooth),
    "deep_lift": Method(
        "DeepLIFT",
        lambda s: deep_lift(*s.inside, s.target, batch_size=s.batch_size),
        signed=True,
        complete=True,
    ),
    "gradient_shap": Method("GradientShap", _shap, signed=True),
    "occlusion": Method(
        "occlusion",
        lambda s: occlusion(
            *s.outside, window=s.window, strides=max(1, s.window // 2), batch_size=s.batch_size
        ),
        signed=True,
    ),
    # Of Grad-CAM's signs only the positive are left.
    "grad_cam": Method("Grad-CAM", lambda s: grad_cam(*s.inside, s.target), signed=True),
    "attention_map": Method(
        "attention of the class token, last layer",
        lambda s: attention_map(*s.inside),
        needs_attention=True,
        of_layers=True,
    ),
    "attention_rollout": Method(
        "attention rollout", lambda s: attention_rollout(*s.inside), needs_attention=True
    ),
}


class Attribution(NamedTuple):
    """What a method gives for a photo and a class.

    Attributes:
      array: (H, W, C), or (n, n) of a map.
      delta: by how much the sum misses F(x) - F(0); None for a method that does not promise it.
      layers: (L, n, n), of which array is the last; None for a method that has one map.
    """

    array: np.ndarray
    delta: float | None
    layers: np.ndarray | None = None


def attribute(name: str, setting: Setting) -> Attribution:
    """One method on one photo."""
    method = METHODS[name]
    found = method.compute(setting)
    if method.of_layers:
        layers = np.asarray(found)[0]
        return Attribution(layers[-1], None, layers)
    delta = None
    if method.complete:
        delta = float(convergence_delta(*setting.outside, found)[0])
    return Attribution(np.asarray(found)[0], delta)


def choose(names: tuple[str, ...], has_attention: bool) -> tuple[str, ...]:
    """The methods that are asked for; "all" stands for all that the model has.

    Raises:
      UserError: there is no such method, or the model has no attention weights for it.
    """
    for name in names:
        if name != "all" and name not in METHODS:
            raise UserError(
                f"--methods {name} is no method: choose from {', '.join(METHODS)}, or all"
            )
    for name in names:
        if name != "all" and METHODS[name].needs_attention and not has_attention:
            raise UserError(
                f"--methods {name} needs a model with attention, and this is a ResNet without: "
                "choose another, such as occlusion or grad_cam"
            )
    able = [name for name, each in METHODS.items() if has_attention or not each.needs_attention]
    return tuple(able) if "all" in names else tuple(dict.fromkeys(names))
