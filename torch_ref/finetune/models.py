"""Pretrained models with a new head, and how their images are prepared."""

from torch import nn
from torchvision import transforms

IMAGE_SIZE = 384
# Of the ImageNet-21k models of Google, from which pytorch-pretrained-vit's weights are.
MEAN, STD = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]


def make_transform(image_size: int = IMAGE_SIZE, mean=MEAN, std=STD):
    """A PIL image to the tensor that the model was trained on: x = (pixel / 255 - mean) / std.

    The image is squashed to a square, with torchvision's bilinear filter and antialiasing, in
    training and in inference alike.

    Args:
        image_size: height and width, in pixels; the number of positions follows it.
        mean, std: for each channel, of pixels in [0, 1].
    """
    return transforms.Compose([
        transforms.Resize((image_size, image_size)),
        transforms.ToTensor(),
        transforms.Normalize(mean, std),
    ])  # fmt: skip


def replace_head(model: nn.Module, num_classes: int) -> nn.Module:
    """Gives the model a head of zeros for other classes, as wide as the model is.

    With a head of zeros the first prediction is uniform, and the first gradients change the head
    alone.

    Args:
        model: timm's VisionTransformer, whose head is `head`, or pytorch-pretrained-vit's ViT,
            whose head is `fc`; changed in place.
        num_classes: K.

    Returns:
        The model.
    """
    name = "fc" if hasattr(model, "fc") else "head"
    width = model.norm.normalized_shape[0]  # the head reads what the last norm gives
    head = nn.Linear(width, num_classes, device=model.norm.weight.device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    setattr(model, name, head)
    return model


def make_model(name: str = "B_16_imagenet1k", num_classes: int = 37, pretrained: bool = True):
    """pytorch-pretrained-vit's model, for images of 384 x 384, with a new head.

    Args:
        name: "B_16_imagenet1k", "B_32_imagenet1k", "L_16_imagenet1k", ...
        num_classes: K.
        pretrained: downloads the weights; otherwise they are random.
    """
    from pytorch_pretrained_vit import ViT

    return replace_head(ViT(name, pretrained=pretrained), num_classes)


def load_timm(name: str, weights: str, num_classes: int):
    """timm's model with the weights of a safetensors file, and a new head.

    Args:
        name: "deit_tiny_patch16_224", ...
        weights: the file; its head may be for other classes.
        num_classes: K.

    Raises:
        RuntimeError: a weight other than the head's is missing, is foreign, or has another shape.
    """
    import timm
    from safetensors.torch import load_file

    model = timm.create_model(name, num_classes=0)
    state = load_file(weights)
    kept = {key: value.float() for key, value in state.items() if not key.startswith("head.")}
    model.load_state_dict(kept)
    return replace_head(model, num_classes)
