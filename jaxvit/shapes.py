"""Types of arrays with their shapes, for signatures: `Float[Array, "B H W C"]`.

Axes: B batch, H W C image, N tokens, D embedding, h heads, k head size, K classes.
The tests check every annotated call (jaxtyping with beartype); a normal run does not. On an
accelerator image without jaxtyping the annotations fall back to plain `jax.Array`.
"""

import jax
import numpy as np

Array = jax.Array | np.ndarray  # what jax.numpy accepts

try:
    from jaxtyping import Bool, Float, Int, Num, UInt8
except ImportError:

    class _AnyShape:
        def __class_getitem__(cls, item):
            return item[0]

    Bool = Float = Int = Num = UInt8 = _AnyShape

__all__ = ["Array", "Bool", "Float", "Int", "Num", "UInt8"]
