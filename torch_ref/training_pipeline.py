"""Training with Lightning: data loaders, the module, and the command.

python -m torch_ref.training_pipeline                                       # digits
python -m torch_ref.training_pipeline --dataset pets --data DIR             # the lab
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)
from torchvision.models import resnet18

from torch_ref.augmentation import make_augmentation
from torch_ref.cutmix import Cutmix
from torch_ref.cutout import Cutout
from torch_ref.datasets import get_datasets
from torch_ref.mixup import Mixup
from torch_ref.transformer import VisionTransformer

# The options of torch_ref.augmentation.make_augmentation.
AUGMENTATIONS = (
    "pad", "flip_p", "rotate", "trivial", "rand_ops", "rand_magnitude", "brightness", "contrast",
    "saturation", "hue", "jitter_p", "grey_p",
)  # fmt: skip


def get_dataloaders(
    batch_size: int = 32, num_workers: int = 4, *, dataset: str = "pets", **options
) -> tuple[DataLoader, DataLoader, DataLoader]:
    """Training, validation and test loaders for Oxford-IIIT Pet or for digits.

    Args:
        batch_size: images per batch; the last batch of an epoch can be smaller.
        num_workers: worker processes that load images; with 0 the main process loads them.
        dataset, options: see torch_ref.datasets.get_datasets.
    """
    train, val, test, _ = get_datasets(dataset, **options)
    common = {
        "batch_size": batch_size,
        "num_workers": num_workers,
        "persistent_workers": num_workers > 0,
    }
    return (
        DataLoader(train, shuffle=True, **common),
        DataLoader(val, **common),
        DataLoader(test, **common),
    )


def smooth_labels(targets: Tensor, label_smoothing: float) -> Tensor:
    """y' = y (1 - eps) + eps / K.

    Args:
        targets: (N, K), one-hot or mixed; rows sum to 1.
        label_smoothing: eps in [0, 1).

    Source: Szegedy et al. 2016, arXiv:1512.00567, sec. 7.
    """
    return targets * (1 - label_smoothing) + label_smoothing / targets.shape[1]


class SoftTargets:
    """Mixes a batch and converts its labels to one matrix of soft targets for the loss.

    targets = smooth(lam one_hot(labels) + (1 - lam) one_hot(labels[partner])), with lam = 1
    without mixing.

    Args:
        num_classes: K.
        label_smoothing: eps in [0, 1).
        mix: a Mixup, a Cutmix, or None for no mixing.
    """

    def __init__(self, num_classes: int, label_smoothing: float, mix: Mixup | Cutmix | None):
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        self.mix = mix

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) and (N,) to mixed images (N, C, H, W) and targets (N, K), rows sum to 1."""
        if isinstance(self.mix, Mixup):
            images, targets = self.mix(images, labels)
        elif isinstance(self.mix, Cutmix):
            images, labels_a, labels_b, lam_batch = self.mix(images, labels)
            lam = lam_batch[:, None].to(images)
            targets = lam * self.one_hot(labels_a) + (1 - lam) * self.one_hot(labels_b)
        else:
            targets = self.one_hot(labels)
        return images, smooth_labels(targets.to(images), self.label_smoothing)

    def one_hot(self, labels: Tensor) -> Tensor:
        return F.one_hot(labels, self.num_classes)


def make_metrics(num_classes: int, prefix: str) -> MetricCollection:
    """Accuracy, and macro-averaged precision, recall and F1, all in [0, 1].

    Args:
        num_classes: K.
        prefix: of the metric names, such as "val_".
    """
    return MetricCollection(
        {
            "accuracy": MulticlassAccuracy(num_classes, average="micro"),
            "precision_macro": MulticlassPrecision(num_classes, average="macro"),
            "recall_macro": MulticlassRecall(num_classes, average="macro"),
            "f1_macro": MulticlassF1Score(num_classes, average="macro"),
        },
        prefix=prefix,
    )


def rate_factor(step: int, total_steps: int, schedule: str, warmup_steps: int) -> float:
    """The learning rate of a step as a fraction of the peak rate.

    (step + 1) / w during the warm-up, step < w = warmup_steps. After it 1, or
    (1 + cos(pi t)) / 2 with t rising from 0 to 1 over the remaining steps.
    jaxvit.optim.schedules.make_schedule is the same schedule.

    Args:
        step: counted from 0.
        total_steps: steps of the whole run.
        schedule: "constant" or "cosine".
        warmup_steps: w, at least 0.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983 (without restarts).
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return (1 + math.cos(math.pi * min(1.0, progress))) / 2


class LitClassifier(L.LightningModule):
    """Trains a classifier with cross-entropy on soft targets; subclasses define `forward`.

    Validation and test losses are the cross-entropy without label smoothing. Metrics are
    accumulated over an epoch, because macro averages of a single batch are mostly noise.

    Args:
        num_classes: K.
        lr: peak learning rate of AdamW; its other hyperparameters are PyTorch's defaults.
        label_smoothing: eps in [0, 1) of the training loss.
        mix: mixes training batches; None for no mixing.
        cutout: applied to each training image after normalisation; None for no Cutout.
        schedule: "constant", the lab's, or "cosine".
        warmup_steps: steps over which the learning rate rises linearly from 0.
    """

    def __init__(
        self,
        num_classes: int,
        lr: float = 1e-3,
        label_smoothing: float = 0.1,
        mix: Mixup | Cutmix | None = None,
        cutout: Cutout | None = None,
        schedule: str = "constant",
        warmup_steps: int = 0,
    ):
        super().__init__()
        self.lr = lr
        self.schedule, self.warmup_steps = schedule, warmup_steps
        self.cutout = cutout
        self.soft_targets = SoftTargets(num_classes, label_smoothing, mix)
        self.criterion = nn.CrossEntropyLoss()
        self.train_metrics = make_metrics(num_classes, "train_")
        self.val_metrics = make_metrics(num_classes, "val_")
        self.test_metrics = make_metrics(num_classes, "test_")

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        if self.cutout is not None:
            images = torch.stack([self.cutout(image) for image in images])
        images, targets = self.soft_targets(images, labels)
        logits = self(images)
        loss = self.criterion(logits, targets)
        self.train_metrics.update(logits, targets.argmax(dim=1))
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def on_train_epoch_end(self) -> None:
        self.log_dict(self.train_metrics.compute())
        self.train_metrics.reset()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.score("val", self.val_metrics, batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.score("test", self.test_metrics, batch)

    def score(self, split: str, metrics: MetricCollection, batch: tuple[Tensor, Tensor]) -> None:
        """Adds a batch to the metrics and logs them with the unsmoothed loss."""
        images, labels = batch
        logits = self(images)
        metrics.update(logits, labels)
        loss = F.cross_entropy(logits, labels)
        self.log(f"{split}_loss", loss, batch_size=len(labels), prog_bar=True)
        self.log_dict(metrics)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr)
        if self.schedule == "constant" and self.warmup_steps == 0:
            return optimizer
        total_steps = self.trainer.estimated_stepping_batches
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: rate_factor(step, total_steps, self.schedule, self.warmup_steps),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


class LitVisionTransformer(LitClassifier):
    """The lab's module, with a VisionTransformer.

    Args:
        num_classes, lr, label_smoothing, mix, cutout, schedule, warmup_steps: see LitClassifier.
        kwargs: further arguments of VisionTransformer.
    """

    def __init__(
        self,
        num_classes: int,
        lr: float = 1e-3,
        label_smoothing: float = 0.1,
        mix: Mixup | Cutmix | None = None,
        cutout: Cutout | None = None,
        schedule: str = "constant",
        warmup_steps: int = 0,
        **kwargs,
    ):
        super().__init__(num_classes, lr, label_smoothing, mix, cutout, schedule, warmup_steps)
        self.vision_transformer = VisionTransformer(num_classes=num_classes, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        return self.vision_transformer(x)


class LitResNet18(LitClassifier):
    """ResNet-18 without pretrained weights, with which the lab compares; for RGB images.

    Args:
        num_classes: K.
        kwargs: further arguments of LitClassifier.
    """

    def __init__(self, num_classes: int, **kwargs):
        super().__init__(num_classes, **kwargs)
        self.resnet = resnet18(num_classes=num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.resnet(x)


def parse(args: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line; sizes that are not given follow from the data set."""
    parser = argparse.ArgumentParser(
        prog="python -m torch_ref.training_pipeline",
        description="Train the lab's Vision Transformer in PyTorch.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--dataset", choices=["digits", "pets"], default="digits")
    add("--data", type=Path, help="directory that contains oxford-iiit-pet/")
    add("--model", choices=["vit", "resnet18"], default="vit")
    add("--epochs", type=int, default=10)
    add("--batch-size", type=int, default=32)
    add("--num-workers", type=int, default=0, help="worker processes that load images")
    add("--lr", type=float, default=1e-3)
    add("--schedule", choices=["constant", "cosine"], default="constant")
    add("--warmup-steps", type=int, default=0, help="steps of linear learning rate warm-up")
    add("--label-smoothing", type=float, default=0.1)
    add("--mix", choices=["none", "mixup", "cutmix"], default="none")
    add("--mix-alpha", type=float, default=1.0)
    add("--cutout-length", type=int, default=0, help="pixels, one hole per image; 0 disables it")
    add("--pad", type=int, default=0, help="black pixels around what crops are taken from")
    add("--flip-p", type=float, default=0.0, help="probability of a horizontal flip")
    add("--rotate", type=float, default=0.0, help="largest angle, in degrees")
    add("--trivial", action="store_true", help="TrivialAugment (wide)")
    add("--rand-ops", type=int, default=0, help="operations of RandAugment")
    add("--rand-magnitude", type=int, default=9, help="their magnitude, 0 to 30")
    for name in ("brightness", "contrast", "saturation", "hue"):
        add(f"--{name}", type=float, default=0.0, help="of colour jitter")
    add("--jitter-p", type=float, default=1.0, help="probability of colour jitter")
    add("--grey-p", type=float, default=0.0, help="probability of a grey image")
    add("--img-size", type=int, help="default: 8 for digits, 224 for pets")
    add("--patch-size", type=int, help="default: 2 for digits, 16 for pets")
    add("--embed-dim", type=int, help="default: 64 for digits, 768 for pets")
    add("--num-heads", type=int, help="default: 4 for digits, 12 for pets")
    add("--num-layers", type=int, help="default: 4 for digits, 12 for pets")
    add("--dropout", type=float, default=0.1)
    add("--seed", type=int, default=0)
    add("--split-seed", type=int, default=0, help="seed of the split, the same as in jaxvit")
    add("--out", type=Path, default=Path("runs/torch_ref"))
    options = parser.parse_args(args)
    small = options.dataset == "digits"
    defaults = {"img_size": (8, 224), "patch_size": (2, 16), "embed_dim": (64, 768),
                "num_heads": (4, 12), "num_layers": (4, 12)}  # fmt: skip
    for name, (digits, pets) in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, digits if small else pets)
    for name in ("epochs", "batch_size", "img_size", "patch_size", "embed_dim", "num_heads",
                 "num_layers"):  # fmt: skip
        if getattr(options, name) < 1:
            option = name.replace("_", "-")
            parser.error(f"--{option} {getattr(options, name)} is too small: it must be at least 1")
    if options.model == "resnet18" and small:
        parser.error("--model resnet18 takes RGB images: add --dataset pets")
    return options


def train(options: argparse.Namespace) -> dict[str, float]:
    """Trains, tests the checkpoint with the best validation accuracy, and writes summary.json.

    Args:
        options: as returned by `parse`.

    Returns:
        The content of summary.json: the best validation accuracy, the last validation metrics, the
        test metrics, the number of parameters, the wall-clock time in seconds and torch's version.

    Raises:
        DataError: see torch_ref.datasets.get_datasets.
        ValueError: see torch_ref.transformer.VisionTransformer.
    """
    L.seed_everything(options.seed, verbose=False)
    torch.set_float32_matmul_precision("highest")
    began = time.perf_counter()
    num_classes, in_channels = (10, 1) if options.dataset == "digits" else (37, 3)
    augmentation = make_augmentation(
        options.img_size, **{name: getattr(options, name) for name in AUGMENTATIONS}
    )
    loaders = get_dataloaders(
        options.batch_size,
        options.num_workers,
        dataset=options.dataset,
        root=options.data,
        img_size=options.img_size,
        split_seed=options.split_seed,
        augmentation=augmentation,
    )
    mix = {
        "none": lambda: None,
        "mixup": lambda: Mixup(num_classes, options.mix_alpha),
        "cutmix": lambda: Cutmix(options.mix_alpha),
    }[options.mix]()
    cutout = Cutout(1, options.cutout_length) if options.cutout_length else None
    common = {
        "num_classes": num_classes,
        "lr": options.lr,
        "label_smoothing": options.label_smoothing,
        "mix": mix,
        "cutout": cutout,
        "schedule": options.schedule,
        "warmup_steps": options.warmup_steps,
    }
    if options.model == "resnet18":
        module = LitResNet18(**common)
    else:
        module = LitVisionTransformer(
            **common,
            img_size=options.img_size,
            patch_size=options.patch_size,
            in_channels=in_channels,
            embed_dim=options.embed_dim,
            num_heads=options.num_heads,
            num_layers=options.num_layers,
            dropout=options.dropout,
        )
    best = ModelCheckpoint(monitor="val_accuracy", mode="max", save_last=True)
    trainer = L.Trainer(
        max_epochs=options.epochs,
        accelerator="auto",
        callbacks=[best],
        logger=CSVLogger(options.out, name=""),
        log_every_n_steps=1,
    )
    trainer.fit(module, loaders[0], loaders[1])
    last = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val_")}
    test = trainer.test(module, loaders[2], ckpt_path="best", weights_only=False)[0]
    summary = {
        "best_val_accuracy": float(best.best_model_score),
        **last,
        **test,
        "parameters": sum(p.numel() for p in module.parameters()),
        "wall_sec": time.perf_counter() - began,
        "torch": torch.__version__,
    }
    (Path(trainer.log_dir) / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    return summary


if __name__ == "__main__":
    try:
        print(json.dumps(train(parse()), indent=1))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
