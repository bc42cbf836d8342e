"""Fills the gaps that compiling leaves in glibc's heap, for training on a CPU under Linux.

XLA's compiler frees its memory in pieces, between blocks that stay: 48,000 of them for the training
step of a U-Net. glibc lists free blocks by size. To find or insert one of 1 KiB or more, it walks
through a list with every other size in its range, and all threads wait for that where they share
one heap (see memory.py). A U-Net's step allocates 3,300 buffers of 64 KiB or more, and took 1.7
times as long as in a process that had loaded its program from the cache.
"""

import ctypes
import re
from collections.abc import Iterator
from functools import cache

from jax import monitoring

COMPILED = "/jax/core/compile/backend_compile_duration"
LARGEST = 1 << 19  # bytes; larger blocks are few, and the temporaries of a step among them
FEW = 1000  # gaps that may stay
FLAGS = 0xF  # bits of a block's size in malloc_info that do not count
HEADER = 8  # bytes of a block that malloc does not give out


def fill_gaps_after_compiling() -> None:
    """Fills the gaps each time that JAX has compiled a program, or has loaded it.

    Call it where keep_freed_memory has returned True, before the first compilation.
    """
    monitoring.register_event_duration_secs_listener(_after)


def fill_gaps() -> int:
    """Allocates the free blocks of at most LARGEST bytes until FEW are left, and frees none again.

    What it takes lay free between blocks in use: 0.4 GB for the U-Net. Later programs are compiled
    in other memory.

    Returns:
      The bytes taken, 0 if there were few gaps.
    """
    taken = 0
    for _ in range(10):  # 2 or 3 are enough: what remains of a block that is split is smaller
        gaps = [gap for gap in _gaps() if gap[0] <= LARGEST]
        if sum(count for _, count in gaps) <= FEW:
            break
        for size, count in sorted(gaps, reverse=True):
            for _ in range(count):
                _libc().malloc(size - HEADER)
            taken += size * count
    return taken


def _after(event: str, duration: float, **_) -> None:
    if event == COMPILED:
        fill_gaps()


def _gaps() -> Iterator[tuple[int, int]]:
    """The lists of free blocks of the first heap: the size of the smallest, and their number."""
    libc, text, length = _libc(), ctypes.c_void_p(), ctypes.c_size_t()
    libc.free(libc.malloc(LARGEST))  # glibc sorts freed blocks into their lists when it allocates
    stream = libc.open_memstream(ctypes.byref(text), ctypes.byref(length))
    if not stream:  # out of memory
        return
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    heap = ctypes.string_at(text.value, length.value).partition(b"</heap>")[0]
    libc.free(text)
    for smallest, count in re.findall(rb'<size from="(\d+)" .* count="(\d+)"', heap):
        yield int(smallest) & ~FLAGS, int(count)


@cache
def _libc() -> ctypes.PyDLL:
    """glibc, called without giving way to Python's other threads."""
    libc = ctypes.PyDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = libc.fclose.argtypes = [ctypes.c_void_p]
    libc.open_memstream.restype = ctypes.c_void_p
    libc.open_memstream.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
    return libc
