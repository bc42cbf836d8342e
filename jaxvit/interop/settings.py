"""What shapes of weights cannot tell: heads, eps, GELU, preprocessing, class names.

Each value has the place where it was found. The places, best first: an option of the caller; what
jaxvit wrote with the weights; config.json and preprocessor_config.json beside the file; the family
that the name tells; the habits of the layout; and a head size of 64.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxvit.config import ModelConfig, config_from_dict
from jaxvit.data.preprocessing import FILTERS, Geometry, Preprocessing
from jaxvit.errors import UserError
from jaxvit.interop.foreign_config import from_hf, from_hf_processor, from_timm
from jaxvit.interop.known_models import HEAD_SIZE, HEADS, lineage_of, values_at
from jaxvit.interop.layout import Layout
from jaxvit.interop.report import joined

OF_MODEL = ("num_heads", "norm_eps", "gelu", "pool")
OF_IMAGES = ("mean", "std", "resize", "crop_share", "interpolation")
NAMES = (*OF_MODEL, *OF_IMAGES, "class_names")
LISTS = ("mean", "std", "class_names")
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
OURS = "what jaxvit wrote with the weights"


class Found(NamedTuple):
    """A value, and where it comes from."""

    value: Any
    origin: str


class Settings:
    """Values by name, each with its origin; the first that is set counts.

    Attributes:
      found: by name, see NAMES.
      img_size: said by a file, to be compared with the positions; or None.
      notes, warnings: lines for the report.
    """

    def __init__(self) -> None:
        self.found: dict[str, Found] = {}
        self.img_size: Found | None = None
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def add(self, values: Mapping[str, Any], origin: str) -> None:
        """Values of one place; those that a better place gave are kept, and None is nothing.

        Raises:
          UserError: a value makes no sense.
        """
        for name, value in checked(self.missing(values), origin).items():
            if name == "img_size":
                self.img_size = self.img_size or Found(value, origin)
            else:
                self.found[name] = Found(value, origin)

    def missing(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the values that no better place gave."""
        return {name: value for name, value in values.items() if name not in self.found}

    def __getitem__(self, name: str) -> Any:
        return self.found[name].value if name in self.found else None

    def preprocessing(self, img_size: int, channels: int) -> Preprocessing:
        """For a model of this size; for other than three channels, the mean of mean and of std.

        Raises:
          UserError: mean or std is neither one value, nor three, nor one a channel.
        """
        geometry = Geometry(img_size, self["resize"], self["crop_share"], self["interpolation"])
        for name in ("mean", "std"):
            value, origin = self.found[name]
            if len(value) not in (1, 3, channels):
                raise UserError(
                    f"{name} has {len(value)} values (from {origin}), and the images have "
                    f"{channels} channel(s): {give(name)}, with 1 or {channels}"
                )
        mean, std = (
            values if len(values) == channels else (sum(values) / len(values),) * channels
            for values in (tuple(self["mean"]), tuple(self["std"]))
        )
        return Preprocessing(geometry, mean, std)

    def lines(self) -> list[str]:
        """Where each value comes from, one line a place."""
        places: dict[str, list[str]] = {}
        for name, (value, origin) in self.found.items():
            shown = f"{len(value)} names" if name == "class_names" else _shown(value)
            places.setdefault(origin, []).append(f"{name} {shown}")
        told = [f"from {origin}: {', '.join(values)}" for origin, values in places.items()]
        return [*told, *self.notes]


def read_options(texts: Sequence[str]) -> dict[str, Any]:
    """Settings as a command line has them: NAME=VALUE each, lists separated by commas.

    Raises:
      UserError: one is not of this form, or a name is given twice.

    Example:
      >>> read_options(["num_heads=3", "mean=.5,.5,.5", "gelu=tanh"])
      {'num_heads': 3, 'mean': (0.5, 0.5, 0.5), 'gelu': 'tanh'}
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(
                f"the weights option {text!r} is not NAME=VALUE: write it as num_heads=3 or "
                "mean=0.5,0.5,0.5"
            )
        if name in found:
            raise UserError(f"the weights option {name} is given twice: give it once")
        read = str if name == "class_names" else _number
        found[name] = tuple(map(read, value.split(","))) if name in LISTS else read(value)
    return found


def _number(text: str) -> int | float | str:
    """The text where it is no number, for the rule of its name to refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def give(name: str) -> str:
    """How a setting is given, for messages."""
    return f"give --weights-option {name}=VALUE (in training --init.weights-option {name}=VALUE)"


def checked(values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The values without None, lists as tuples.

    Raises:
      UserError: a value makes no sense; the message names its origin.
    """
    found = {}
    for name, value in values.items():
        if value is None:
            continue
        value = tuple(value) if isinstance(value, list) else value
        ok, limit = RULES[name]
        if not ok(value):
            raise UserError(
                f"{name} {value!r} (from {origin}) must be {limit}: correct it, or {give(name)}"
            )
        found[name] = value
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _of(*choices: str) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value in choices, f"one of {', '.join(choices)}"


def _all(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda values: isinstance(values, tuple) and bool(values) and all(map(kind, values))


RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "num_heads": (lambda v: isinstance(v, int) and v > 0, "a whole number of heads above 0"),
    "norm_eps": (lambda v: _is_number(v) and 0 < v < 1, "between 0 and 1"),
    "gelu": _of("erf", "tanh"),
    "pool": _of("cls", "mean", "both"),
    "img_size": (lambda v: isinstance(v, int) and v > 0, "a number of pixels above 0"),
    "mean": (_all(_is_number), "numbers"),
    "std": (_all(lambda v: _is_number(v) and v > 0), "numbers above 0"),
    "resize": _of("squash", "short_side"),
    "crop_share": (lambda v: _is_number(v) and 0 < v <= 1, "above 0 and at most 1"),
    "interpolation": _of(*FILTERS),
    "class_names": (_all(lambda v: isinstance(v, str)), "strings"),
    "upright": (lambda v: isinstance(v, bool), "true or false"),
}


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return joined(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def gather_settings(
    layout: Layout,
    *,
    options: Mapping[str, Any],
    metadata: Mapping[str, str],
    directory: Path | None,
    names: list[str],
    img_size: int,
    heads: int | None = None,
) -> Settings:
    """Everything that is known about weights beside their shapes.

    Args:
      layout: recognised.
      options: values given by the caller, by name.
      metadata: of the weights file.
      directory: where configuration files may lie; None where the file stands alone.
      names: of the file, its directory or its repository: what may tell the family.
      img_size: that the model will have.
      heads: number of attention heads, where the shapes tell it.

    Raises:
      UserError: an option is unknown, or a configuration says what no model here can do.
    """
    unknown = sorted(options.keys() - set(NAMES))
    if unknown:
        raise UserError(
            f"{unknown[0]!r} is no option of loading weights: choose of {', '.join(NAMES)}"
        )
    settings = Settings()
    settings.add(options, "an option")
    if "jaxvit" in metadata:
        settings.add(from_metadata(metadata["jaxvit"]), OURS)
    if heads is not None:
        settings.add({"num_heads": heads}, "the shapes")
    config = read_json(directory / CONFIG) if directory else {}
    processor = read_json(directory / PREPROCESSOR) if directory else {}
    told = [metadata.get("architecture"), config.get("architecture"), config.get("_name_or_path")]
    known = lineage_of([*(name for name in told if name), *names], layout.name)
    from_processor = checked(
        settings.missing(understood(from_hf_processor, processor, PREPROCESSOR)), PREPROCESSOR
    )
    if known:
        lineage, name = known
        for what in ("mean", "std"):
            theirs, ours = from_processor.get(what), lineage.values[what]
            if theirs and not all(map(math.isclose, theirs, ours)):
                settings.warnings.append(
                    f"{PREPROCESSOR} says {what} {_shown(tuple(theirs))}, but {name} is of the "
                    f"family {lineage.name}, which was trained with {_shown(ours)}: that is used"
                )
                settings.add({what: ours}, f"the family {lineage.name}")
    settings.add(from_processor, PREPROCESSOR)
    if is_of_timm(config):
        settings.add(understood(from_timm, config, CONFIG), CONFIG)
    else:
        settings.add(understood(from_hf, config, CONFIG), CONFIG)
    if known:
        settings.add(
            values_at(known[0], img_size),
            f"the family {known[0].name}, told by the name {known[1]}",
        )
    settings.add(layout.habits._asdict(), f"the habits of {layout.title}")
    return settings


def add_heads(settings: Settings, embed_dim: int, num_layers: int) -> None:
    """The number of attention heads, where nothing has said it: that of the known size, or 64 wide.

    Raises:
      UserError: it is unknown, or does not divide the width.
    """
    if (embed_dim, num_layers) in HEADS:
        settings.add({"num_heads": HEADS[embed_dim, num_layers]}, "the known model of this size")
    if embed_dim % HEAD_SIZE == 0:
        settings.add(
            {"num_heads": embed_dim // HEAD_SIZE}, f"a head size of {HEAD_SIZE}, which is assumed"
        )
    if settings["num_heads"] is None:
        raise UserError(
            f"the number of heads of a model of width {embed_dim} is not in the file: put its "
            f"config.json beside it, or {give('num_heads')}"
        )
    number = settings["num_heads"]
    if embed_dim % number:
        raise UserError(
            f"{number} heads do not divide the width {embed_dim} (from "
            f"{settings.found['num_heads'].origin}): {give('num_heads')}"
        )


def understood(
    read: Callable[[Mapping[str, Any]], dict[str, Any]], values: Mapping[str, Any], file: str
) -> dict[str, Any]:
    """The settings that a configuration file of another program holds.

    Raises:
      UserError: one of its values is of a form that no version of that program writes.
    """
    try:
        return read(values)
    except (AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{file} beside the weights is not in a form that is known ({error}): correct it, or "
            "move it away"
        ) from error


def is_of_timm(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is timm's, which says how images are prepared itself."""
    return "pretrained_cfg" in config or "architecture" in config


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, {} where there is no file.

    Raises:
      UserError: it is not JSON, or no object.
    """
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text())
        if not isinstance(values, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no JSON file ({error}): download it again") from error
    return values


def to_metadata(
    config: ModelConfig,
    preprocessing: Preprocessing,
    class_names: tuple[str, ...] | None,
    upright: bool,
) -> str:
    """What jaxvit writes with weights, as JSON; see from_metadata."""
    return json.dumps(
        {
            "model": vars(config),
            "preprocessing": {
                **preprocessing.geometry._asdict(), "mean": preprocessing.mean,
                "std": preprocessing.std,
            },
            "class_names": class_names,
            "upright": upright,
        }
    )  # fmt: skip


def from_metadata(text: str) -> dict[str, Any]:
    """The settings that to_metadata wrote.

    Raises:
      UserError: it is not what to_metadata wrote.
    """
    try:
        written = json.loads(text)
        config = config_from_dict(ModelConfig, written["model"])
        images = written["preprocessing"]
        values = {name: getattr(config, name) for name in OF_MODEL}
        values |= {name: images[name] for name in OF_IMAGES}
        values["img_size"] = config.img_size
        values["class_names"] = written["class_names"]
        values["upright"] = written.get("upright", True)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"what jaxvit wrote with the weights is damaged ({error}): write the file again"
        ) from error
    return values
