"""All mutations, and the changes that no test can see."""

from parity_tests.mutations_of_interop import INTEROP
from parity_tests.mutations_of_numerics import NUMERICS
from parity_tests.mutations_of_wiring import WIRING

MUTATIONS = NUMERICS + WIRING + INTEROP

# Changes that no test can see, and why.
EQUIVALENT = {
    "validations after the checkpoint remembered on resuming": (
        "rewind has dropped their lines; it matters to processes that read the file before that"
    ),
    "sharded parameters not gathered before the step": (
        "XLA's partitioner gathers what a matmul needs by itself: the same numbers"
    ),
    "positions added before the class token, both with their own": (
        "cat([c, x]) + [p0, p] is cat([c + p0, x + p]): the same sums, in the same order"
    ),
    "q scaled by 1/sqrt(d) before the product": (
        "for a head size that is a power of 4 the scale is a power of 2, which rounds nothing"
    ),
    "dropout's key folded with the layer's number": (
        "other masks of the same law: the claim replays whatever masks are drawn"
    ),
}
