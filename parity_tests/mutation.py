"""A small, plausible error in a module: its text, and what it becomes.

Nothing is edited: `install` changes the source of one module as Python imports it. A text that is
no longer there, or there more than once, is an error, so that the lists follow the code.
"""

import importlib.machinery
import importlib.util
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """What somebody might have written instead.

    Attributes:
      name: for the command line and the table.
      module: whose source is changed.
      old: a text that occurs once in it.
      new: what stands there instead.
      seen_by: the test that is said to fail under it; it runs first.
    """

    name: str
    module: str
    old: str
    new: str
    seen_by: str


Group = tuple[str, tuple[tuple[str, str, str, str], ...]]


def listed(package: str, groups: tuple[Group, ...]) -> tuple[Mutation, ...]:
    """Those of a package's modules.

    Args:
      package: of all modules, or "" where modules are named in full.
      groups: (the test that is said to see them, ((name, module, old, new), ...)).
    """
    prefix = f"{package}." if package else ""
    return tuple(
        Mutation(name, prefix + module, old, new, seen_by)
        for seen_by, group in groups
        for name, module, old, new in group
    )


class _MutatedLoader(importlib.machinery.SourceFileLoader):
    def __init__(self, mutation: Mutation, path: str):
        super().__init__(mutation.module, path)
        self._mutation = mutation

    def get_code(self, fullname: str):
        source = self.get_data(self.path).decode()
        count = source.count(self._mutation.old)
        if count != 1:
            raise ValueError(f"mutation {self._mutation.name}: its text occurs {count} times")
        mutated = source.replace(self._mutation.old, self._mutation.new)
        return compile(mutated, self.path, "exec", dont_inherit=True)


class _Finder:
    def __init__(self, mutation: Mutation):
        self._mutation = mutation

    def find_spec(self, name, path, target=None):
        if name != self._mutation.module:
            return None
        origin = importlib.machinery.PathFinder.find_spec(name, path).origin
        loader = _MutatedLoader(self._mutation, origin)
        return importlib.util.spec_from_file_location(name, origin, loader=loader)


def install(mutation: Mutation) -> None:
    """From now on this process has the mutation; the module must not have been imported yet."""
    if mutation.module in sys.modules:
        raise RuntimeError(f"{mutation.module} is already imported")
    sys.meta_path.insert(0, _Finder(mutation))
    importlib.import_module(mutation.module)  # before another hook can be asked for it
