"""python -m jaxvit report RUN: the page of a finished run, once more."""

from dataclasses import dataclass

from jaxvit.commands import arguments as cli
from jaxvit.commands.pages import write_run_page
from jaxvit.errors import UserError
from jaxvit.interop.load import is_run
from jaxvit.paths import user_path


@dataclass(frozen=True)
class Options:
    """RUN/report.html: results, errors and confusions with their images, in one file."""

    run: cli.Run  # The directory of a finished run.


def run(options: Options) -> int:
    """Writes the page and says where.

    Raises:
      UserError: it is no finished run, or its images are not there.
    """
    path = user_path("run", options.run)
    if not is_run(path):
        raise UserError(f"{options.run} is no run: give the directory of one")
    cli.cache_programs()
    print(write_run_page(path))
    return 0
