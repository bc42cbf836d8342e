"""Why does a classifier say so? One file a method; all are pure functions."""

from jaxvit.explain.attention_map import attention_map
from jaxvit.explain.attention_rollout import attention_rollout
from jaxvit.explain.deep_lift import deep_lift
from jaxvit.explain.grad_cam import grad_cam
from jaxvit.explain.gradient_shap import (
    GradientShapDraw,
    apply_gradient_shap,
    draw_gradient_shap,
    gradient_shap,
)
from jaxvit.explain.input_times_gradient import input_times_gradient
from jaxvit.explain.integrated_gradients import integrated_gradients
from jaxvit.explain.noise_tunnel import apply_noise_tunnel, draw_noise_tunnel, noise_tunnel
from jaxvit.explain.occlusion import occlusion
from jaxvit.explain.position_similarity import position_similarity
from jaxvit.explain.saliency import saliency
from jaxvit.explain.score import convergence_delta, logits_fn
from jaxvit.explain.trust import permuted, pixel_curve, pointing_game, rank_correlation
from jaxvit.pictures.overlays import (
    heat_map,
    masked_image,
    normalize_attributions,
    overlay,
    side_by_side,
)

__all__ = [
    "GradientShapDraw",
    "apply_gradient_shap",
    "apply_noise_tunnel",
    "attention_map",
    "attention_rollout",
    "convergence_delta",
    "deep_lift",
    "draw_gradient_shap",
    "draw_noise_tunnel",
    "grad_cam",
    "gradient_shap",
    "heat_map",
    "input_times_gradient",
    "integrated_gradients",
    "logits_fn",
    "masked_image",
    "noise_tunnel",
    "normalize_attributions",
    "occlusion",
    "overlay",
    "permuted",
    "pixel_curve",
    "pointing_game",
    "position_similarity",
    "rank_correlation",
    "saliency",
    "side_by_side",
]
