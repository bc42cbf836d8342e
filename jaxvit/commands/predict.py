"""python -m jaxvit predict RUN PHOTO [PHOTO ...]: the most probable classes of photos."""

import argparse
import json

from jaxvit.interop.saved_run import classify, load_run


def main(args: list[str]) -> int:
    """Prints a line for each photo, the most probable class first.

    Raises:
      UserError: RUN is no run, or a photo cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog="python -m jaxvit predict", description="The most probable classes of photos."
    )
    parser.add_argument("run", help="a run directory, such as runs/folder")
    parser.add_argument("photos", nargs="+", metavar="photo", help="an image file")
    parser.add_argument("--top", type=int, default=3, help="classes to show (default: 3)")
    parser.add_argument("--json", action="store_true", help="all probabilities, as JSON")
    options = parser.parse_args(args)
    photos = list(dict.fromkeys(options.photos))
    found = dict(zip(photos, classify(load_run(options.run), photos), strict=True))
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    for photo, probabilities in found.items():
        top = list(probabilities.items())[: max(1, options.top)]
        print(f"{photo}: " + ", ".join(f"{name} {p:.1%}" for name, p in top))
    return 0
