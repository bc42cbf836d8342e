"""python -m jaxvit explain RUN IMAGE...: why a model says so, as a figure for each photo."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg

from jaxvit.commands import arguments as cli
from jaxvit.config import count, option, require, within
from jaxvit.data.photos import find_photos
from jaxvit.errors import UserError
from jaxvit.explain.attention_map import has_attention
from jaxvit.explain.methods import choose
from jaxvit.explain.parts import BATCH_SIZE
from jaxvit.explain.photos import explain_files, find_class
from jaxvit.interop.predictions import make_classifier
from jaxvit.paths import check_writable, user_path
from jaxvit.runtime.cpu import divide_cpu


@dataclass(frozen=True)
class Options:
    """Which parts of a photo speak for a class, and which against it."""

    run: cli.Run  # A run, a weights file, or hf://OWNER/NAME.
    paths: cli.Paths  # Image files, and folders whose images are taken at any depth.
    # saliency, input_times_gradient, integrated_gradients, noise_tunnel, deep_lift, gradient_shap,
    # occlusion, grad_cam, attention_map, attention_rollout; or all that the model has.
    methods: Annotated[tuple[str, ...], arg(metavar="METHOD...")] = ("all",)
    # A class to explain beside the most probable one: its name, or its number.
    target: Annotated[str | None, arg(metavar="CLASS")] = None
    out: cli.Directory = None  # Holds PHOTO.png and PHOTO.npz; otherwise explanations.
    # Images in the model at a time, over all devices, which bounds memory.
    batch_size: int = option(BATCH_SIZE, count(1, 2**12))
    seed: int = option(0, within(0, 2**32 - 1))  # Of the methods that draw noise.
    # A setting of a weights file over what is found, such as num_heads=3 or gelu=tanh.
    weights_option: cli.WeightsOption = ()
    upright: cli.Flag = False  # Rotate photos by their EXIF orientation in any case.
    no_upright: cli.Flag = False  # Do not rotate them in any case.

    def check(self) -> None:
        require(
            bool(self.paths) and all(self.paths),
            "no photo is given: give image files or folders after RUN",
        )
        require(bool(self.methods), "--methods names none: give one, or all")


def run(options: Options) -> int:
    """Writes a figure and the raw attributions of each photo, and prints their deltas.

    Raises:
      UserError: RUN cannot be read, no photo can be, there is no such class or method, or a file
        cannot be written.
    """
    found = find_photos(options.paths)
    out = user_path("out", options.out or "explanations")
    check_writable("out", out)
    divide_cpu()
    cli.cache_programs()
    source = cli.load_weights(options.run, options.weights_option)
    classifier = make_classifier(source, cli.turned(options))
    methods = choose(options.methods, has_attention(source.model))
    target = None if options.target is None else find_class(options.target, classifier.labels)
    done = 0
    for line in explain_files(
        source, classifier, found.files, methods, target, out, options.batch_size, options.seed,
        cli.to_stderr, cli.show_progress(),
    ):  # fmt: skip
        print(line, flush=True)
        done += 1
    cli.tell_passed_over(found.passed_over)
    if not done:
        raise UserError(f"none of {len(found.files)} photo(s) can be read: the lines above say why")
    cli.to_stderr(f"{done:,} figure(s) and their attributions are in {out}")
    return 0
