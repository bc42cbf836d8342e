"""Runs a candidate's module: `python -m jaxvit.speed.process MODULE TASK`.

Candidates of both frameworks start here, so that the memory settings of their processes are equal.
"""

import runpy
import sys

from jaxvit.errors import UserError
from jaxvit.runtime.memory import keep_freed_memory

if __name__ == "__main__":
    kept = keep_freed_memory()
    module, task = sys.argv[1:]
    if kept and module.startswith("jaxvit."):  # PyTorch's candidates do not import JAX
        from jaxvit.runtime.gaps import fill_gaps_after_compiling

        fill_gaps_after_compiling()
    sys.argv = [module, task]
    # alter_sys, because torch.compile looks up a function's globals in sys.modules.
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except UserError as error:
        sys.exit(str(error))
