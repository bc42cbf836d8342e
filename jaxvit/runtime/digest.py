"""A digest of a tree of arrays, the same wherever its arrays lie."""

import hashlib
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def sha256(tree: Any) -> str:
    """A digest of names, shapes, dtypes and bytes, in the order of the names.

    Equal digests mean trees equal to the bit. Where processes hold parts of them, all processes
    have to call it, and all get the same.
    """
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(tree):
        if isinstance(leaf, jax.Array) and not (
            leaf.is_fully_addressable or leaf.is_fully_replicated
        ):
            leaf = multihost_utils.process_allgather(leaf, tiled=True)
        array = np.ascontiguousarray(jax.device_get(leaf))
        name = jax.tree_util.keystr(path)
        digest.update(f"{name}{array.shape}{array.dtype}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
