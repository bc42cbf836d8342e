"""An endless stream of shuffled batches, each a pure function of the seed and the step.

grain shuffles, batches and prefetches. Each epoch is a new permutation of the split. The batch of
step s is rows [s B, (s + 1) B) of the concatenated epochs. So every example is seen exactly once an
epoch, a batch may hold examples of two epochs, and every batch has B examples. All processes use
the same order, and each reads only its own rows of every batch.
"""

from collections import deque
from collections.abc import Callable, Iterator

import grain
import numpy as np

from jaxvit.data.decoded import Split

HostBatch = dict[str, np.ndarray]


def train_batches(
    split: Split,
    batch_size: int,
    seed: int,
    *,
    start_step: int = 0,
    own: slice = slice(None),
    with_index: bool = False,
    read_threads: int = 2,
) -> Iterator[HostBatch]:
    """The batches from step start_step on, without end.

    Args:
      split: what to read.
      batch_size: B, examples a step over all processes.
      seed: determines the order.
      start_step: step of the first batch, from 0; earlier batches are not read.
      own: the rows of each batch that this process reads.
      with_index: whether batches hold the index of each example in the split.
      read_threads: number of threads that prefetch.

    Returns:
      An iterator of host batches, see Split.take.
    """
    steps = (
        grain.MapDataset.range(len(split))
        .seed(seed)
        .shuffle()
        .repeat(2**31)  # reshuffles every epoch; grain's endless repeat overflows at batches of 1
        .batch(batch_size)
        .map(lambda rows: split.take(rows[own], with_index))
    )
    batches = iter(
        steps.to_iter_dataset(
            grain.ReadOptions(num_threads=read_threads, prefetch_buffer_size=2 * read_threads)
        )
    )
    batches.set_state({"next_index": start_step})
    return batches


def prefetch_to_device(
    batches: Iterator[HostBatch], place: Callable[[HostBatch], dict], size: int
) -> Iterator[dict]:
    """Yields the batches in order, placed on the devices `size` batches ahead.

    Args:
      batches: on the host.
      place: starts the copy of a batch to the devices and does not wait for it.
      size: at least 1.
    """
    waiting: deque[dict] = deque()
    for batch in batches:
        waiting.append(place(batch))
        if len(waiting) > size:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()
