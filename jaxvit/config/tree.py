"""The configuration as a tree of dataclasses: checked, read back, and compared on resuming."""

import json
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from jaxvit.config.run import Config


def check(config: Any, prefix: str = "") -> None:
    """Checks every option, before data is read or a program is compiled.

    Each field's own checks come first, then those of its class, which relate fields to each other.

    Args:
      config: a Config, or one of its parts.
      prefix: of the option names in messages, such as "data.".

    Raises:
      UserError: a value cannot work; the message names the option, its value, the limit and a
        remedy.
    """
    for each in fields(config):
        value, name = getattr(config, each.name), prefix + each.name.replace("_", "-")
        if is_dataclass(value):
            check(value, f"{name}.")
        elif value is not None:
            for check_value in each.metadata.get("checks", ()):
                check_value(name, value)
    if hasattr(config, "check"):
        config.check()


def may_change(name: str, cls: type = Config) -> bool:
    """Whether a resumed run may have another value of an option, such as "data.dir"."""
    first, _, rest = name.partition(".")
    for each in fields(cls):
        if each.name == first:
            return may_change(rest, each.type) if rest else each.metadata.get("may_change", False)
    return False


def is_flag(name: str, cls: type = Config) -> bool:
    """Whether an option is given as --name or --no-name, without a value."""
    first, _, rest = name.partition(".")
    kind = next(each.type for each in fields(cls) if each.name == first)
    return is_flag(rest, kind) if rest else kind is bool


def as_json(config: Config) -> dict:
    """Nested dicts by field name, as config.json holds them: tuples become lists."""
    return json.loads(json.dumps(asdict(config)))


def flat(values: dict, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, by dotted names.

    Example:
      >>> flat({"seed": 0, "optim": {"lr": 0.1}})
      {'seed': 0, 'optim.lr': 0.1}
    """
    found = {}
    for name, value in values.items():
        inner = isinstance(value, dict)
        found |= flat(value, f"{prefix}{name}.") if inner else {prefix + name: value}
    return found


def config_from_dict(cls: type, values: dict):
    """The inverse of dataclasses.asdict, also after JSON, which turns tuples into lists.

    Args:
      cls: the dataclass to build.
      values: nested dicts by field name.

    Raises:
      TypeError: a field is unknown.
    """
    kinds = {field.name: field.type for field in fields(cls)}
    made = {}
    for name, value in values.items():
        if is_dataclass(kinds.get(name)):
            value = config_from_dict(kinds[name], value)
        made[name] = tuple(value) if isinstance(value, list) else value
    return cls(**made)
