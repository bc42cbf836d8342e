"""Keeps freed memory in the process, in huge pages, for training on a CPU under Linux.

XLA allocates one block for a step's temporaries and frees it after the step. glibc returns a block
of that size to the kernel, so the next step causes a page fault for every 4 KiB of it: 183,000
faults for ViT-S/16 at batch 8, a tenth of the step's time.
"""

import ctypes
import os
import platform
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

# Parameters of mallopt, from <malloc.h>, and of madvise, from <sys/mman.h>.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
MADV_HUGEPAGE = 14
ALIGNMENT = 1 << 21  # size of a huge page, in bytes


def keep_freed_memory() -> bool:
    """Makes glibc keep freed memory, and asks the kernel for huge pages.

    Call it before threads are started: glibc gives them separate heaps of at most 64 MiB, and
    heaps that exist are shared out to later threads. It reserves address space of half the
    machine's memory; physical memory is used only once it is written. It imports neither JAX nor
    PyTorch, so that it can be called before either.

    Returns:
      Whether freed memory is kept: False without Linux and glibc, and where JAX may use an
      accelerator, whose temporaries are in device memory.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc" or _accelerated():
        return False
    libc = ctypes.CDLL(None)
    # -1: never return memory; 0: no block outside the heap; 1: one heap for all threads.
    for parameter, value in ((M_TRIM_THRESHOLD, -1), (M_MMAP_MAX, 0), (M_ARENA_MAX, 1)):
        libc.mallopt(parameter, value)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if _strict():
        return True
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    if block := libc.malloc(size):  # NULL where address space is limited
        start = -(-block // ALIGNMENT) * ALIGNMENT
        libc.madvise(start, (block + size - start) // ALIGNMENT * ALIGNMENT, MADV_HUGEPAGE)
        libc.free(block)
    return True


def _strict() -> bool:
    """Whether the kernel counts reserved address space as used memory (overcommit_memory 2)."""
    try:
        return Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "2"
    except OSError:
        return True


def _accelerated() -> bool:
    """Whether JAX may use an accelerator, determined without importing JAX."""
    if platforms := os.environ.get("JAX_PLATFORMS"):
        return platforms != "cpu"
    return bool(entry_points(group="jax_plugins")) or any(map(find_spec, ("jax_plugins", "libtpu")))
