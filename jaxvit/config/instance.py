"""Instance discrimination: the views of an image, and what is learnt from them."""

from dataclasses import dataclass

from jaxvit.config.checks import count, option, positive, require, span, within


@dataclass(frozen=True)
class InstanceConfig:
    """Of --method instance_discrimination: views, head and losses."""

    # Views of each image in a step, each augmented by its own draws of --augment.
    views: int = option(2, count(1, 64))
    # Further views, of smaller parts of the image (multi-crop): a second pass through the network.
    small_views: int = option(0, count(0, 64))
    # Area of their crops, as a range of fractions of the image's.
    small_scale: tuple[float, float] = option((0.05, 0.4), span(0, 1, " of shares"))
    # Their side, in pixels, for which the positions are resized; None: --model.img-size.
    small_size: int | None = option(None, count(1, 4096))
    # Numbers of z, which a layer computes from the features and the head of instances reads; 0: it
    # reads the features themselves.
    z_dim: int = option(0, count(0, 2**16))
    # Weight of the cross-entropy over the training images; smoothed by --label-smoothing.
    instance_weight: float = option(1.0, within(0, 1e6))
    # Weight of the contrastive loss between the first two views; 0 disables it.
    contrastive_weight: float = option(0.0, within(0, 1e6))
    # Whether the logits of instances are cosines of z and a vector for each image, divided by the
    # temperature, in place of a linear layer.
    cosine: bool = False
    # What products are divided by, of cosines and of the contrastive loss.
    temperature: float = option(1.0, positive, within(0, 1e6))

    def check(self) -> None:
        require(
            self.contrastive_weight == 0 or self.views >= 2,
            f"--instance.contrastive-weight {self.contrastive_weight:g} compares two views, and "
            f"--instance.views is {self.views}: give 2",
        )
        require(
            self.instance_weight > 0 or self.contrastive_weight > 0,
            "--instance.instance-weight 0 and --instance.contrastive-weight 0 leave no loss: give "
            "one of them",
        )
