"""Pre-training by instance discrimination, and nearest neighbours on the features.

python -m torch_ref.instance_discrimination.training --data DIR      # the blog's numbers
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from torch_ref.instance_discrimination.contrastive import (
    contrastive_loss,
    instance_discrimination_loss,
)
from torch_ref.instance_discrimination.flowers17 import CLASSES, Flowers17, split_rows
from torch_ref.instance_discrimination.instance_classifier import blog_model
from torch_ref.instance_discrimination.views import Views, blog_augmentation


def loss_of(
    model: nn.Module,
    views: Tensor,
    index: Tensor,
    label_smoothing: float = 0.0,
    contrastive_weight: float = 1.0,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """L_InsDis over all views, and its share of L_CN between the first two.

    Args:
        model: an InstanceClassifier.
        views: (N, V, C, H, W).
        index: (N,), which training image it is; or targets (N, V, instances) whose rows sum to 1.
        label_smoothing: of L_InsDis.
        contrastive_weight, temperature: of L_CN.

    Returns:
        Two scalars, whose sum is the loss.
    """
    images, number = views.flatten(0, 1), views.shape[1]
    z, logits = model(images)
    wanted = index.repeat_interleave(number) if index.ndim == 1 else index.flatten(0, 1)
    instance = instance_discrimination_loss(logits, wanted, label_smoothing)
    if contrastive_weight == 0:
        return instance, torch.zeros_like(instance)
    z = z.reshape(len(views), number, -1)
    contrastive = contrastive_loss(z[:, 0], z[:, 1], index, temperature).mean()
    return instance, contrastive_weight * contrastive


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    passes: list[tuple[Tensor, Tensor]],
    **options,
) -> float:
    """One update; returns the loss before it, in nats.

    Args:
        model, optimizer: changed in place.
        passes: views and index of each pass through the network, whose losses are added: the
            blog's two views; the paper's two large ones, and its small ones.
        options: of loss_of.
    """
    optimizer.zero_grad()
    loss = sum(sum(loss_of(model, views, index, **options)) for views, index in passes)
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def features_of(model: nn.Module, batches) -> tuple[Tensor, Tensor]:
    """What vit-pytorch's head sees, (N, D), and the labels; without dropout."""
    was_training, backbone = model.training, model.backbone
    model.eval()
    head, backbone.mlp_head = backbone.mlp_head, nn.Identity()
    found = [(backbone(images), labels) for images, _, labels in batches]
    backbone.mlp_head = head
    model.train(was_training)
    features, labels = zip(*found, strict=True)
    return torch.cat(features), torch.cat(labels)


def knn_accuracy(
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    neighbours: int = 20,
    temperature: float = 0.07,
) -> float:
    """The share that the weighted vote of the nearest training images classifies rightly.

    Args:
        train, test: features (N, D) and labels (N,).
        neighbours: that vote, with the weight exp(cosine / temperature).

    Source: Wu et al. 2018, arXiv:1805.01978.
    """
    unit = [nn.functional.normalize(features, dim=1) for features, _ in (train, test)]
    cosines, rows = (unit[1] @ unit[0].T).topk(min(neighbours, len(unit[0])), dim=1)
    classes = int(train[1].max()) + 1
    votes = torch.zeros(len(rows), classes)
    votes.scatter_add_(1, train[1][rows], ((cosines - 1) / temperature).exp())
    return float((votes.argmax(1) == test[1]).float().mean())


def main(args: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="holds jpg/, with files.txt")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--schedule", choices=("constant", "cosine"), default="constant")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/instance_discrimination"))
    options = parser.parse_args(args)
    torch.manual_seed(options.seed)
    size, augmentation = options.image_size, blog_augmentation()
    plain = blog_augmentation(0.0, (0.0, 0.0, 0.0, 0.0))
    options.out.mkdir(parents=True, exist_ok=True)
    splits = split_rows(options.data, 0.1, options.seed)
    train, val, test = splits
    common = {"batch_size": options.batch_size, "num_workers": options.workers}
    views = Flowers17(options.data, Views(augmentation), size, train)
    batches = DataLoader(views, shuffle=True, drop_last=True, **common)
    plain_batches = [
        DataLoader(Flowers17(options.data, plain, size, rows), **common) for rows in splits
    ]
    model = blog_model(len(train), image_size=size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    if options.schedule == "cosine":
        steps = options.epochs * len(batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(1, options.epochs + 1):
        losses = []
        for number, (images, index, _) in enumerate(batches, 1):
            losses.append(train_step(model, optimizer, [(images, index)]))
            schedule.step()
            if number % 10 == 0:
                print(f"epoch {epoch}, step {number}: loss {losses[-1]:.3f}", flush=True)
        accuracy = knn_accuracy(*(features_of(model, each) for each in plain_batches[:2]))
        print(
            f"epoch {epoch}: mean loss {sum(losses) / len(losses):.3f}, nearest neighbours "
            f"{accuracy:.2%} of {len(val)} (chance {1 / len(CLASSES):.2%})",
            flush=True,
        )
        parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
        state = {name: part.state_dict() for name, part in parts.items()}
        torch.save({"epoch": epoch, **state}, options.out / "checkpoint.pt")
    accuracy = knn_accuracy(*(features_of(model, plain_batches[split]) for split in (0, 2)))
    print(f"test: nearest neighbours {accuracy:.2%} of {len(test)}", flush=True)


if __name__ == "__main__":
    main()
