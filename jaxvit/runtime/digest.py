"""A digest of a tree of arrays, independent of the devices and shards that hold them."""

import hashlib
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def sha256(tree: Any) -> str:
    """SHA-256 of the names, shapes, dtypes and bytes of all arrays, in the order of the names.

    Equal digests mean bitwise equal trees. If arrays are sharded over processes, every process must
    call this function, because it gathers them; all get the same digest.

    Returns:
      64 hexadecimal digits.
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
