"""Claim 11: in bfloat16, JAX is as close to float64 as PyTorch is."""

import copy

import jax
import jax.numpy as jnp
import torch

from jaxvit.interop.torch_weights import state_dict_from_params
from jaxvit.objectives.losses import soft_target_cross_entropy
from jaxvit.objectives.targets import smooth_labels
from parity_tests.comparison import to_nhwc, twins
from parity_tests.evidence import Evidence, distance

TITLE = "bfloat16: matmuls in bfloat16 in both frameworks, everything else in float32"


def measure(quick: bool) -> Evidence:
    options = {"img_size": 32, "embed_dim": 96, "num_heads": 3, "dropout": 0.0}
    torch_model, jax_model, params = twins(num_layers=2 if quick else 6, **options)
    rough = jax_model.clone(dtype=jnp.bfloat16)
    batch = 8
    images, labels = torch.randn(batch, 3, 32, 32), torch.arange(batch) % 7

    def in_torch(model, images, autocast: bool):
        model.train().zero_grad()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
            logits = model(images)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        torch.nn.CrossEntropyLoss()(logits, labels).backward()
        grads = {name: p.grad.numpy() for name, p in model.named_parameters()}
        return {"logits": logits.detach().numpy()} | grads

    @jax.jit
    def in_jax(params, images):
        def mean_loss(params):
            logits = rough.apply({"params": params}, images, deterministic=True)
            targets = smooth_labels(jnp.asarray(labels.int().numpy()), 7)
            return soft_target_cross_entropy(logits, targets).mean(), logits

        return jax.grad(mean_loss, has_aux=True)(params)

    grads, logits = in_jax(params, to_nhwc(images))
    ours = {"logits": logits} | state_dict_from_params(grads)
    truth = in_torch(copy.deepcopy(torch_model).double(), images.double(), autocast=False)
    theirs = in_torch(torch_model, images, autocast=True)
    return Evidence([distance(name, ours[name], theirs[name], truth[name]) for name in truth])
