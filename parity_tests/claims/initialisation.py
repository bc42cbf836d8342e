"""Claim 6: the initial values of every parameter have PyTorch's distribution."""

import jax
import numpy as np
import torch
from scipy import stats

from jaxvit.interop.torch_weights import state_dict_from_params
from jaxvit.models import transformer as jax_transformer
from jaxvit.models.transformer import init_params
from parity_tests.claims.forward import VIT_B16
from parity_tests.comparison import SMALL
from parity_tests.evidence import Evidence, equal, same_distribution
from torch_ref import transformer as torch_transformer

TITLE = "Initialisation: the distribution of every parameter"
SAMPLE = 20_000  # tested values per parameter, at most
LEVEL = 0.01  # significance level of all tests together


def measure(quick: bool) -> Evidence:
    options = SMALL | {"embed_dim": 96} if quick else VIT_B16
    torch.manual_seed(0)
    theirs = torch_transformer.VisionTransformer(**options).state_dict()
    ours = state_dict_from_params(
        init_params(jax_transformer.VisionTransformer(**options), jax.random.key(0))
    )
    rng = np.random.default_rng(0)
    level = LEVEL / len(theirs)
    rows = []
    for name, values in theirs.items():
        if "norm" in name:  # initially constant, so equal to the bit
            different = int((ours[name] != values.numpy()).sum())
            rows.append(equal(name, "differing values", different))
            continue
        samples = [
            rng.choice(x.ravel(), min(x.size, SAMPLE), replace=False)
            for x in (ours[name], values.numpy())
        ]
        p_value = stats.ks_2samp(*samples).pvalue
        rows.append(same_distribution(name, "Kolmogorov-Smirnov", p_value, level))
    return Evidence(rows)
