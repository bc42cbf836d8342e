"""All mutations, a file for each room of jaxvit, and the changes that no test can see."""

from parity_tests.mutations.augment import AUGMENT
from parity_tests.mutations.commands import COMMANDS
from parity_tests.mutations.data import DATA
from parity_tests.mutations.explain import EXPLAIN
from parity_tests.mutations.front import FRONT
from parity_tests.mutations.generation import GENERATION
from parity_tests.mutations.instance_discrimination import INSTANCE_DISCRIMINATION
from parity_tests.mutations.interop_formats import INTEROP_FORMATS
from parity_tests.mutations.interop_use import INTEROP_USE
from parity_tests.mutations.models import MODELS
from parity_tests.mutations.objectives import OBJECTIVES
from parity_tests.mutations.optim import OPTIM
from parity_tests.mutations.pages import PAGES
from parity_tests.mutations.pictures import PICTURES
from parity_tests.mutations.runs import RUNS
from parity_tests.mutations.runtime import RUNTIME
from parity_tests.mutations.speed import SPEED
from parity_tests.mutations.studies import STUDIES
from parity_tests.mutations.tasks import TASKS
from parity_tests.mutations.training import TRAINING

MUTATIONS = (
    MODELS
    + AUGMENT
    + OBJECTIVES
    + OPTIM
    + DATA
    + RUNTIME
    + TRAINING
    + RUNS
    + INTEROP_FORMATS
    + INTEROP_USE
    + TASKS
    + PICTURES
    + COMMANDS
    + EXPLAIN
    + PAGES
    + STUDIES
    + SPEED
    + INSTANCE_DISCRIMINATION
    + GENERATION
    + FRONT
)

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
    "q scaled by 1/sqrt(d) before the matmul": (
        "for a head size that is a power of 4 the scale is a power of 2, which rounds nothing"
    ),
    "dropout's key folded with the layer's number": (
        "other masks of the same distribution: the claim replays whatever masks are drawn"
    ),
}
