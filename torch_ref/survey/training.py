"""The survey's training on CIFAR-10 with Lightning: its models, its tricks, and the command.

python -m torch_ref.survey.training --data DIR                      # ResNet-18
python -m torch_ref.survey.training --data DIR --attention graph    # with a block, together
python -m torch_ref.survey.training --data DIR --attention graph --backbone RUN/model.pt --frozen
"""

import argparse
import json
import sys
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.tuner import Tuner
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms
from torchvision.datasets import CIFAR10, ImageFolder

from torch_ref.datasets import DataError, stratified_split
from torch_ref.survey.resnet import LAYERS, ResNet
from torch_ref.survey.resnet_with_attention import ResNetWithAttention
from torch_ref.training_pipeline import LitClassifier

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
SCHEDULES = (
    "constant", "cosine", "cosine_restarts", "step", "multi_step", "exponential", "one_cycle",
    "plateau",
)  # fmt: skip


def make_transform(img_size: int, crop_padding: int = 0, flip_p: float = 0.0, rotation: float = 0):
    """A PIL image to a normalised tensor (3, img_size, img_size).

    Args:
        img_size: height and width after resizing, in pixels.
        crop_padding: zeros around the image, in pixels, of which a random img_size is cut.
        flip_p: probability of a horizontal flip.
        rotation: limit of a random angle to either side, in degrees.
    """
    steps: list = [transforms.Resize((img_size, img_size))]
    if crop_padding:
        steps.append(transforms.RandomCrop(img_size, crop_padding))
    if flip_p:
        steps.append(transforms.RandomHorizontalFlip(flip_p))
    if rotation:
        steps.append(transforms.RandomRotation(rotation))
    steps += [transforms.ToTensor(), transforms.Normalize(CIFAR_MEAN, CIFAR_STD)]
    return transforms.Compose(steps)


def get_datasets(
    root: str | Path, augmented, plain, val_fraction: float = 0.1, split_seed: int = 0
) -> tuple[Dataset, Dataset, Dataset, list[str]]:
    """Training, validation and test sets of CIFAR-10, and the class names.

    Args:
        root: holds train/<class>/ and test/<class>/, or torchvision's cifar-10-batches-py/, which
            is downloaded where neither is there.
        augmented, plain: transforms of the training images, and of all others.
        val_fraction: fraction in (0, 1) of each class of the training images that validates.
        split_seed: equal seeds give the same split in jaxvit.

    Raises:
        DataError: the data is incomplete or cannot be downloaded.
    """
    root = Path(root)
    try:
        if (root / "train").is_dir():
            train, val = (ImageFolder(root / "train", each) for each in (augmented, plain))
            test = ImageFolder(root / "test", plain)
            names = [str(Path(path).relative_to(root / "train")) for path, _ in train.samples]
        else:
            missing = not (root / "cifar-10-batches-py").is_dir()
            train = CIFAR10(root, True, transform=augmented, download=missing)
            val, test = (CIFAR10(root, split, transform=plain) for split in (True, False))
            names = [f"{number:05d}" for number in range(len(train))]
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"no CIFAR-10 in {root} ({error}): give a directory with train/ and test/, or one to "
            "download it to"
        ) from error
    rows, val_rows = stratified_split(np.array(train.targets), names, val_fraction, split_seed)
    return Subset(train, rows), Subset(val, val_rows), test, train.classes


def make_model(options: argparse.Namespace, num_classes: int) -> nn.Module:
    """ResNet, or ResNetWithAttention with the weights of options.backbone.

    Raises:
        ValueError: the file of the backbone is not of such a ResNet.
    """
    layers, attention = LAYERS[options.model], options.attention
    if attention == "none":
        return ResNet(layers, num_classes, options.stem, width=options.width)
    model = ResNetWithAttention(
        layers, options.img_size, num_classes, options.stem, width=options.width,
        frozen_backbone=options.frozen, attention=attention, patch_size=options.patch_size,
        embed_dim=options.embed_dim, num_heads=options.num_heads, dropout=options.dropout,
    )  # fmt: skip
    if options.backbone:
        state = torch.load(options.backbone, map_location="cpu", weights_only=True)
        state = {name: value for name, value in state.items() if not name.startswith("fc.")}
        try:
            model.backbone.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(
                f"--backbone {options.backbone} does not fit {options.model} with the stem "
                f"{options.stem}: {' '.join(str(error).split())[:200]}"
            ) from error
    return model


def count_steps(batches: int, epochs: int, accumulate: dict[int, int]) -> int:
    """Updates of a run: in each epoch the batches over what is accumulated, rounded up.

    Args:
        batches: of an epoch.
        epochs: of the run.
        accumulate: {first epoch, counted from 0: batches of one update}; 1 where it says nothing.
    """
    steps, each = 0, 1
    for epoch in range(epochs):
        each = accumulate.get(epoch, each)
        steps += -(-batches // each)
    return steps


def make_scheduler(
    optimizer: torch.optim.Optimizer, options: argparse.Namespace, total_steps: int
) -> dict | None:
    """Lightning's entry for a schedule of SCHEDULES; None for a constant rate.

    cosine and one_cycle are stepped after each update, the others after each epoch; plateau
    follows options.monitor.
    """
    gamma, every = options.gamma, options.step_every_epochs
    make = {
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, total_steps),
        "cosine_restarts": lambda: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, every),
        "step": lambda: lr_scheduler.StepLR(optimizer, every, gamma),
        "multi_step": lambda: lr_scheduler.MultiStepLR(optimizer, options.milestones, gamma),
        "exponential": lambda: lr_scheduler.ExponentialLR(optimizer, gamma),
        "one_cycle": lambda: lr_scheduler.OneCycleLR(optimizer, options.lr, total_steps),
        "plateau": lambda: lr_scheduler.ReduceLROnPlateau(
            optimizer, mode_of(options.monitor), gamma, every
        ),
    }
    if options.schedule == "constant":
        return None
    interval = "step" if options.schedule in ("cosine", "one_cycle") else "epoch"
    scheduler = make[options.schedule]()
    return {"scheduler": scheduler, "interval": interval, "monitor": options.monitor}


def mode_of(metric: str) -> str:
    """Whether the best value of a metric is its "min" or its "max"."""
    return "min" if metric.endswith("loss") else "max"


class LitSurvey(LitClassifier):
    """Trains a model with SGD or Adam and a schedule; losses and metrics are LitClassifier's.

    Args:
        model: images (N, C, H, W) to logits (N, K).
        num_classes: K.
        options: of the command line.
        total_steps: see count_steps.
    """

    def __init__(
        self, model: nn.Module, num_classes: int, options: argparse.Namespace, total_steps: int
    ):
        super().__init__(num_classes, options.lr, options.label_smoothing)
        self.model, self.options, self.total_steps = model, options, total_steps

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)

    def configure_optimizers(self):
        options = self.options
        trained = [p for p in self.parameters() if p.requires_grad]
        common = {"lr": self.lr, "weight_decay": options.weight_decay}
        if options.optimizer == "sgd":
            optimizer = torch.optim.SGD(trained, momentum=options.momentum, **common)
        else:
            optimizer = torch.optim.Adam(trained, **common)
        scheduler = make_scheduler(optimizer, options, self.total_steps)
        return {"optimizer": optimizer} | ({"lr_scheduler": scheduler} if scheduler else {})

    def configure_gradient_clipping(self, optimizer, gradient_clip_val, gradient_clip_algorithm):
        # SWA's pass for statistics ends with a step without gradients, and PyTorch cannot clip
        # none by value.
        if any(p.grad is not None for p in self.parameters()):
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)


class SWA(StochasticWeightAveraging):
    """Lightning's stochastic weight averaging, which leaves a frozen BatchNorm as it is.

    At the end Lightning's sets the statistics of every BatchNorm to 0 and 1, to recompute them
    in one more pass. A frozen one does not recompute them, and would keep 0 and 1.

    Source: Izmailov et al. 2018, arXiv:1803.05407.
    """

    @staticmethod
    def norms(module: nn.Module, trained: bool) -> list[nn.BatchNorm2d]:
        found = [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]
        return [norm for norm in found if norm.weight.requires_grad == trained]

    @staticmethod
    def pl_module_contains_batch_norm(pl_module: L.LightningModule) -> bool:
        return bool(SWA.norms(pl_module, trained=True))

    def reset_batch_norm_and_save_state(self, pl_module: L.LightningModule) -> None:
        frozen = self.norms(pl_module, trained=False)
        kept = [
            (norm.running_mean, norm.running_var, norm.momentum, norm.num_batches_tracked.clone())
            for norm in frozen
        ]
        super().reset_batch_norm_and_save_state(pl_module)
        for norm, (mean, var, momentum, batches) in zip(frozen, kept, strict=True):
            norm.running_mean, norm.running_var, norm.momentum = mean, var, momentum
            norm.num_batches_tracked.copy_(batches)


def make_callbacks(options: argparse.Namespace) -> list[Callback]:
    """The tricks that were asked for; the first is the checkpoint of the best epoch."""
    mode = mode_of(options.monitor)
    callbacks: list[Callback] = [
        # Not save_weights_only: such a checkpoint would hold the weights and not their average.
        ModelCheckpoint(monitor=options.monitor, mode=mode),
        LearningRateMonitor("step"),
    ]
    if options.patience:
        callbacks.append(EarlyStopping(options.monitor, patience=options.patience, mode=mode))
    if options.accumulate:
        callbacks.append(GradientAccumulationScheduler({0: 1} | options.accumulate))
    if options.ema_decay:
        callbacks.append(EMAWeightAveraging(decay=options.ema_decay))
    if options.swa_start < 1:  # last: it also sets the accumulation, in its pass for statistics
        callbacks.append(SWA(options.swa_lr, options.swa_start, options.swa_anneal_epochs))
    return callbacks


def epoch_and_number(text: str) -> tuple[int, int]:
    """ "4:2" to (4, 2)."""
    epoch, _, number = text.partition(":")
    if not (epoch.isdecimal() and number.isdecimal() and int(number)):
        raise argparse.ArgumentTypeError(f"{text!r} is not EPOCH:BATCHES, such as 4:2")
    return int(epoch), int(number)


def parse(args: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line, checked."""
    parser = argparse.ArgumentParser(
        prog="python -m torch_ref.survey.training",
        description="Train the survey's models on CIFAR-10.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="train/ and test/, or cifar-10-batches-py/")
    add("--model", choices=list(LAYERS), default="resnet18")
    add("--width", type=int, default=64, help="channels of the first stage")
    add("--stem", choices=["cifar", "imagenet"], default="cifar")
    add("--attention", choices=["none", "graph", "classic"], default="none")
    add("--patch-size", type=int, default=1, help="side of a node, in the feature map")
    add("--embed-dim", type=int, default=256)
    add("--num-heads", type=int, default=1)
    add("--dropout", type=float, default=0.1, help="in the block's MLP")
    add("--backbone", type=Path, help="weights: model.pt of a run, or torchvision's file")
    add("--frozen", action="store_true", help="train the block alone")
    add("--img-size", type=int, default=32)
    add("--crop-padding", type=int, default=4, help="pixels; 0 for no random crop")
    add("--flip-p", type=float, default=0.5)
    add("--rotation", type=float, default=0.0, help="degrees")
    add("--epochs", type=int, default=50)
    add("--batch-size", type=int, default=128)
    add("--num-workers", type=int, default=0, help="worker processes that load images")
    add("--optimizer", choices=["sgd", "adam"], default="sgd")
    add("--lr", type=float, default=0.1)
    add("--momentum", type=float, default=0.9, help="of SGD")
    add("--weight-decay", type=float, default=5e-4)
    add("--label-smoothing", type=float, default=0.0)
    add("--schedule", choices=SCHEDULES, default="cosine")
    add("--gamma", type=float, default=0.1, help="factor of step, multi_step, exponential, plateau")
    add("--step-every-epochs", type=int, default=10, help="period, or patience of plateau")
    add("--milestones", type=int, nargs="+", default=[25, 40], help="epochs of multi_step")
    add("--find-lr", action="store_true", help="suggest a learning rate, and do not train")
    add("--clip", type=float, default=0.5, help="limit of the gradient; 0 for none")
    add("--clip-by", choices=["value", "norm"], default="value")
    add("--accumulate", type=epoch_and_number, nargs="+", default=[], metavar="EPOCH:BATCHES",
        help="batches of one update, from an epoch on, counted from 0")  # fmt: skip
    add("--swa-start", type=float, default=1.0, help="share of the epochs before SWA; 1 for none")
    add("--swa-lr", type=float, default=0.01)
    add("--swa-anneal-epochs", type=int, default=5, help="epochs in which the rate goes to SWA's")
    add("--ema-decay", type=float, default=0.0, help="of an average of the weights; 0 for none")
    add("--patience", type=int, default=0, help="validations without a better one; 0 for no limit")
    add("--monitor", default="val_accuracy", help="val_accuracy, val_loss, val_f1_macro, ...")
    add("--val-fraction", type=float, default=0.1)
    add("--split-seed", type=int, default=0)
    add("--seed", type=int, default=0)
    add("--out", type=Path, default=Path("runs/survey"))
    options = parser.parse_args(args)
    options.accumulate = dict(options.accumulate)
    if options.attention == "none" and (options.backbone or options.frozen):
        parser.error("--backbone and --frozen are for a block: add --attention graph or classic")
    if options.frozen and not options.backbone:
        parser.error("--frozen keeps random weights: add --backbone FILE")
    if options.swa_start < 1 and (options.patience or options.ema_decay):
        parser.error("--swa-start averages the last epochs: leave out --patience and --ema-decay")
    return options


def train(options: argparse.Namespace) -> dict:
    """Trains and tests; writes model.pt, the tested weights, and summary.json.

    Tested are the weights of the best epoch by options.monitor, or SWA's average.

    Returns:
        The content of summary.json; with --find-lr the suggested rate alone.

    Raises:
        DataError, ValueError: see get_datasets and make_model.
    """
    L.seed_everything(options.seed, workers=True, verbose=False)
    augmented = make_transform(
        options.img_size, options.crop_padding, options.flip_p, options.rotation
    )
    *splits, names = get_datasets(
        options.data, augmented, make_transform(options.img_size), options.val_fraction,
        options.split_seed,
    )  # fmt: skip
    train_loader, val_loader, test_loader = (
        DataLoader(
            split, options.batch_size, shuffle=split is splits[0], num_workers=options.num_workers
        )
        for split in splits
    )
    steps = count_steps(len(train_loader), options.epochs, options.accumulate)
    module = LitSurvey(make_model(options, len(names)), len(names), options, steps)
    callbacks = make_callbacks(options)
    trainer = L.Trainer(
        max_epochs=options.epochs,
        accelerator="auto",
        deterministic="warn",
        callbacks=[] if options.find_lr else callbacks,
        enable_checkpointing=not options.find_lr,
        logger=CSVLogger(options.out, name=""),
        log_every_n_steps=1,
        gradient_clip_val=options.clip or None,
        gradient_clip_algorithm=options.clip_by,
    )
    if options.find_lr:
        found = Tuner(trainer).lr_find(module, train_loader, val_loader, update_attr=False)
        return {"suggested_lr": found.suggestion()}
    trainer.fit(module, train_loader, val_loader)
    averaged = options.swa_start < 1
    last = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val_")}
    if not averaged:
        best = torch.load(callbacks[0].best_model_path, weights_only=False)  # this run's own file
        module.load_state_dict(best["state_dict"])
    test = trainer.test(module, test_loader)[0]
    torch.save(module.model.state_dict(), Path(trainer.log_dir) / "model.pt")
    summary = {
        "tested": "SWA's average" if averaged else f"best {options.monitor}",
        f"best_{options.monitor}": float(callbacks[0].best_model_score),
        **last,
        **test,
        "parameters": sum(p.numel() for p in module.parameters()),
        "trained_parameters": sum(p.numel() for p in module.parameters() if p.requires_grad),
        "steps": trainer.global_step,
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
