"""The configuration as a tree of dataclasses: checked, read back, and compared on resuming."""

from dataclasses import fields, is_dataclass
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
