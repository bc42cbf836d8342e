"""What a run was made of, compared with what is asked now: options, images, weights."""

import json
from pathlib import Path
from typing import Any

from jaxvit.config import Config, as_json, flat, may_change

Differences = dict[str, tuple[Any, Any]]  # option -> (before, now)


def differences(path: Path, config: Config) -> Differences | None:
    """What a run directory's configuration and another differ in, where a result depends on it.

    Returns:
      Options that a resumed run may not change, with both values; None if no run is there.
    """
    written = read_run_config(path)
    return None if written is None else differences_of(written, config)


def list_differences(differ: Differences) -> str:
    """As in a message: "epochs 70 -> 2, seed 0 -> 1"."""
    return ", ".join(f"{name} {before} -> {now}" for name, (before, now) in differ.items())


def differences_of(written: dict, config: Config) -> Differences:
    """The same for the configuration that a run has written."""
    before, now = flat(written), flat(as_json(config))
    for name, default in flat(as_json(Config())).items():
        if name not in before and now.get(name) is not None:
            before[name] = default  # what was done before there was an option
    return {
        name: (before.get(name), now.get(name))
        for name in sorted(before.keys() | now.keys())
        if not may_change(name) and before.get(name) != now.get(name)
    }


def read_run_config(path: Path) -> dict | None:
    """config.json of one of our own runs, or None: many programs write a file of that name."""
    try:
        written = json.loads((path / "config.json").read_text())
    except (OSError, ValueError):
        return None
    ours = isinstance(written, dict) and {"epochs", "data", "model", "optim"} <= written.keys()
    return written if ours else None


def weights_of(split: Any) -> str | None:
    """The hash of the weights that training began with, of split.json."""
    return split.get("pretrained_sha256") if isinstance(split, dict) else None


def first_difference(before: Any, now: dict[str, Any]) -> str | None:
    """In what two descriptions of images differ; see jaxvit.data.decoded.describe."""
    if not isinstance(before, dict) or before.get("class_names") != now["class_names"]:
        return "other classes"
    for split in ("train", "val", "test"):
        kept, found = before.get(split), now[split]
        if not isinstance(kept, dict):
            return f"its split.json has no {split}"
        for name in found | kept:
            if name not in kept:
                return f"{name} is new in {split}"
            if name not in found:
                return f"{name} is gone from {split}"
            if kept[name] != found[name]:
                return f"{name} has other pixels"
        if list(kept) != list(found):
            return f"the order of {split}"
    return None
