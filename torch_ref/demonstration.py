"""The figure of the three augmentation scripts: four augmented images with captions."""

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib.figure
import torch
from torch import Tensor

from torch_ref.datasets import DataError, get_datasets

Augment = Callable[[Tensor, Tensor, list[str]], tuple[Tensor, list[str]]]


def demonstrate(name: str, augment: Augment) -> None:
    """Parses the command line, augments four images and writes them to a PNG file.

    The images are not normalised: pixels are in [0, 1], as matplotlib draws them. A hole of Cutout
    is therefore black. An invalid option or missing data ends the program with exit code 2.

    Args:
        name: name of the augmentation; the command is `python -m torch_ref.NAME`.
        augment: (images (4, C, H, W), labels (4,), class_names) -> (images, captions).
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m torch_ref.{name}", description=f"Draw four images augmented by {name}."
    )
    parser.add_argument("--data", type=Path, help="directory of oxford-iiit-pet/ (default: digits)")
    parser.add_argument("--out", type=Path, default=Path(f"figures/{name}.png"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    if args.out.suffix != ".png" or args.out.is_dir():
        parser.error(f"--out {args.out} is not a .png file: give a name that ends in .png")
    torch.manual_seed(args.seed)
    try:
        train, _, _, class_names = get_datasets(
            "digits" if args.data is None else "pets", args.data, img_size=224, normalized=False
        )
    except DataError as error:
        parser.error(str(error))
    picked = torch.randperm(len(train))[:4].tolist()
    images = torch.stack([train[i][0] for i in picked])
    labels = torch.tensor([train[i][1] for i in picked])
    images, captions = augment(images, labels, class_names)

    figure = matplotlib.figure.Figure(figsize=(11, 3.4), layout="constrained")
    for axis, image, caption in zip(figure.subplots(1, 4), images, captions, strict=True):
        axis.imshow(image.permute(1, 2, 0).numpy(), cmap="gray", vmin=0, vmax=1)
        axis.set_title(caption, fontsize=9)
        axis.axis("off")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=110)
    print(f"wrote {args.out}")
