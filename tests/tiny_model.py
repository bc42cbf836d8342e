"""A Vision Transformer of one layer, and a task in which nothing is random."""

import functools

import jax
import optax

from jaxvit.config import Config
from jaxvit.models.transformer import VisionTransformer, init_params
from jaxvit.tasks.classification import make_classification

MODEL = VisionTransformer(
    img_size=4, patch_size=2, num_classes=3, embed_dim=8, num_heads=2, num_layers=1
)


@functools.cache
def params():
    return init_params(MODEL, jax.random.key(0))


def plain_task(rate: float = 0.1):
    """No augmentation, no dropout, no smoothing, plain gradient descent."""
    config = Config(label_smoothing=0.0)
    model = MODEL.clone(dropout=0.0)
    return make_classification(model, optax.sgd(rate), optax.constant_schedule(rate), config)
