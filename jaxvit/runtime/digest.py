"""A tree of arrays on the host, and its digest: independent of the devices that hold it."""

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
        array = np.ascontiguousarray(to_host(leaf))
        name = jax.tree_util.keystr(path)
        digest.update(f"{name}{array.shape}{array.dtype}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def to_host(tree: Any) -> Any:
    """The same tree of NumPy arrays; as with sha256, every process must call it."""

    def whole(leaf: Any) -> np.ndarray:
        if isinstance(leaf, jax.Array) and not (
            leaf.is_fully_addressable or leaf.is_fully_replicated
        ):
            leaf = multihost_utils.process_allgather(leaf, tiled=True)
        return np.asarray(jax.device_get(leaf))

    return jax.tree.map(whole, tree)
