"""Shuffled batches in an endless stream, each a pure function of the seed and the step.

grain does the shuffling, the batching and the reading ahead. The batch of step s is rows
[s B, (s + 1) B) of the concatenated epochs, each a fresh permutation of the split: every example is
seen exactly once an epoch, a batch may straddle two epochs, and none is short. Processes share
one order and each reads its own rows of every batch.
"""

from collections import deque
from collections.abc import Callable, Iterator

import grain
import numpy as np

from jaxvit.data.datasets import Split

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
    """Batches from step start_step on, without end.

    Args:
      split: what to read.
      batch_size: examples a step, over all processes.
      seed: fixes the order.
      start_step: the first batch to give; nothing before it is read.
      own: the rows of each batch that this process reads.
      with_index: whether batches carry the index of each example in the split.
      read_threads: that read ahead.
    """
    steps = (
        grain.MapDataset.range(len(split))
        .seed(seed)
        .shuffle()
        .repeat(2**31)  # reshuffles every epoch; without a number, grain overflows at batches of 1
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
    """Keeps `size` batches on the devices ahead of the one that is asked for.

    Args:
      batches: on the host.
      place: starts a copy to the devices and does not wait for it.
      size: at least 1.
    """
    waiting: deque[dict] = deque()
    for batch in batches:
        waiting.append(place(batch))
        if len(waiting) > size:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()
