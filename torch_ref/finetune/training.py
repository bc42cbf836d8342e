"""Fine-tuning: SGD with a step schedule, and AdamW with rates by layer; both end with a soup.

python -m torch_ref.finetune.training --data DIR                                       # SGD, B_16
python -m torch_ref.finetune.training --data DIR --recipe adamw --model deit_tiny_patch16_224 \
    --weights deit_tiny_patch16_224.safetensors --image-size 224
"""

import argparse
import json
import sys
from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from torch_ref.datasets import IMAGENET_MEAN, IMAGENET_STD, get_datasets
from torch_ref.finetune import models, soup
from torch_ref.finetune.groups import freeze, param_groups
from torch_ref.training_pipeline import rate_factor

Batches = Iterable[tuple[Tensor, Tensor]]  # images (N, C, H, W) and labels (N,)


class Checkpoint(NamedTuple):
    """The weights after an epoch, with the scores of its validation.

    Attributes:
        epoch: counted from 1.
        accuracy, loss: on the validation split.
        state: a copy of the model's state_dict.
    """

    epoch: int
    accuracy: float
    loss: float
    state: dict[str, Tensor]

    @property
    def rank(self) -> tuple[float, float]:
        """Largest for the best: the higher accuracy, then the lower loss."""
        return self.accuracy, -self.loss


@torch.no_grad()
def score(model: nn.Module, batches: Batches) -> tuple[float, float]:
    """Accuracy in [0, 1] and mean cross-entropy in nats, without dropout."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    right = total = 0
    loss = 0.0
    for images, labels in batches:
        logits, labels = model(images.to(device)), labels.to(device)
        right += int((logits.argmax(1) == labels).sum())
        loss += float(F.cross_entropy(logits, labels, reduction="sum"))
        total += len(labels)
    model.train(was_training)
    return right / total, loss / total


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    label_smoothing: float = 0.0,
    clip_norm: float = 0.0,
) -> float:
    """One update; returns the loss before it, in nats.

    Args:
        model, optimizer: changed in place.
        images, labels: (N, C, H, W) and (N,), where the model is.
        label_smoothing: eps in [0, 1).
        clip_norm: limit on the norm of the gradient of all that is trained; 0 for none.
    """
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels, label_smoothing=label_smoothing)
    loss.backward()
    if clip_norm:
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(trained, clip_norm)
    optimizer.step()
    return loss.item()


def validated(model: nn.Module, epoch: int, val: Batches) -> Checkpoint:
    accuracy, loss = score(model, val)
    print(f"epoch {epoch}: validation accuracy {accuracy:.2%}, loss {loss:.3f}", flush=True)
    return Checkpoint(epoch, accuracy, loss, soup.copy_of(model.state_dict()))


def best_of(checkpoints: list[Checkpoint], keep: int) -> list[Checkpoint]:
    """The `keep` best by validation, from best to worst."""
    return sorted(checkpoints, key=lambda checkpoint: checkpoint.rank, reverse=True)[:keep]


def fine_tune_sgd(
    model: nn.Module,
    train: Batches,
    val: Batches,
    *,
    epochs: int = 30,
    lr: float = 0.002,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    gamma: float = 0.7,
    step_every_epochs: int = 5,
    keep: int = 3,
) -> list[Checkpoint]:
    """SGD whose rate is multiplied by gamma every few epochs; the numbers are the seed's.

    Args:
        model: changed in place; what is frozen is left as it is.
        train, val: iterated once an epoch.
        epochs, lr, momentum, nesterov, weight_decay: see torch.optim.SGD.
        gamma, step_every_epochs: see torch.optim.lr_scheduler.StepLR.
        keep: number of checkpoints that are kept.

    Returns:
        The best checkpoints by validation, from best to worst.
    """
    groups = param_groups(model, lr, weight_decay)
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_every_epochs, gamma)
    device = next(model.parameters()).device
    kept: list[Checkpoint] = []
    for epoch in range(1, epochs + 1):
        model.train()
        for images, labels in train:
            train_step(model, optimizer, images.to(device), labels.to(device))
        scheduler.step()
        kept = best_of([*kept, validated(model, epoch, val)], keep)
    return kept


def fine_tune_adamw(
    model: nn.Module,
    train: Batches,
    val: Batches,
    *,
    steps_per_epoch: int,
    epochs: int = 10,
    lr: float = 5e-5,
    layer_decay: float = 0.75,
    head_lr: float = 10.0,
    weight_decay: float = 0.05,
    warmup: float = 0.1,
    label_smoothing: float = 0.1,
    clip_norm: float = 1.0,
    keep: int = 3,
) -> list[Checkpoint]:
    """AdamW for a few thousand images: rates by layer, warm-up, cosine, clipping, smoothing.

    Args:
        model: changed in place; what is frozen is left as it is.
        train, val: iterated once an epoch.
        steps_per_epoch: batches of `train`.
        epochs: in all.
        lr, layer_decay, head_lr, weight_decay: see param_groups; only matrices decay.
        warmup: share of the steps over which the rate rises.
        label_smoothing, clip_norm: see train_step.
        keep: number of checkpoints that are kept.

    Returns:
        The best checkpoints by validation, from best to worst.
    """
    groups = param_groups(model, lr, weight_decay, layer_decay, head_lr, decay="matrices")
    optimizer = torch.optim.AdamW(groups, lr=lr)
    total = epochs * steps_per_epoch
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_factor(step, total, "cosine", round(warmup * total))
    )
    device = next(model.parameters()).device
    kept: list[Checkpoint] = []
    for epoch in range(1, epochs + 1):
        model.train()
        for images, labels in train:
            train_step(
                model, optimizer, images.to(device), labels.to(device), label_smoothing, clip_norm
            )
            scheduler.step()
        kept = best_of([*kept, validated(model, epoch, val)], keep)
    return kept


def report(
    model: nn.Module, checkpoints: list[Checkpoint], val: Batches, test: Batches
) -> dict[str, object]:
    """Test scores of the best checkpoint, of the soup of all, and of the greedy soup.

    Which weights these are is decided on validation alone; the test split is scored once for each.

    Args:
        model: takes the weights; changed in place, and left with the uniform soup's.
        checkpoints: from best to worst.
        val, test: the splits.
    """

    def accuracy_of(state: soup.State) -> float:
        return score(soup.load(model, state), val)[0]

    states = [checkpoint.state for checkpoint in checkpoints]
    greedy, chosen = soup.greedy_soup(states, accuracy_of)
    uniform = soup.average(states)
    return {
        "epochs": [checkpoint.epoch for checkpoint in checkpoints],
        "greedy_epochs": [checkpoints[index].epoch for index in chosen],
        "val_accuracy": checkpoints[0].accuracy,
        "test_accuracy_greedy_soup": score(soup.load(model, greedy), test)[0],
        "test_accuracy": score(soup.load(model, states[0]), test)[0],
        "test_accuracy_soup": score(soup.load(model, uniform), test)[0],
    }


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m torch_ref.finetune.training",
        description="Fine-tune a pretrained Vision Transformer on Oxford-IIIT Pet.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", required=True, help="directory that contains oxford-iiit-pet/")
    add("--recipe", choices=["sgd", "adamw"], default="sgd")
    add("--model", default="B_16_imagenet1k", help="pytorch-pretrained-vit's name, or timm's")
    add("--weights", help="a safetensors file for timm's model; without it weights are downloaded")
    add("--image-size", type=int, default=models.IMAGE_SIZE)
    add("--batch-size", type=int, default=16)
    add("--epochs", type=int, default=30)
    add("--freeze", default="none", help="none, backbone or 'N layers'")
    add("--seed", type=int, default=0)
    options = parser.parse_args(args)
    torch.manual_seed(options.seed)
    mean, std = (models.MEAN, models.STD)
    if options.weights:
        mean, std = IMAGENET_MEAN, IMAGENET_STD  # DeiT's
    *splits, names = get_datasets(
        "pets", options.data, img_size=options.image_size, mean=mean, std=std
    )
    train, val, test = (
        DataLoader(split, options.batch_size, shuffle=split is splits[0]) for split in splits
    )
    if options.weights:
        model = models.load_timm(options.model, options.weights, len(names))
    else:
        model = models.make_model(options.model, len(names))
    freeze(model, options.freeze).to("cuda" if torch.cuda.is_available() else "cpu")
    if options.recipe == "sgd":
        checkpoints = fine_tune_sgd(model, train, val, epochs=options.epochs)
    else:
        checkpoints = fine_tune_adamw(
            model, train, val, epochs=options.epochs, steps_per_epoch=len(train)
        )
    print(json.dumps(report(model, checkpoints, val, test), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
