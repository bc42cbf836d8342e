"""Claim: weights of every known layout are the same model here as in their own library."""

import tempfile
import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from jaxvit.augment.normalize import normalize
from jaxvit.errors import UserError
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.pretrained import Pretrained
from jaxvit.interop.reading import NAMES
from jaxvit.interop.save import layout_for, save_pretrained
from parity_tests.claims.forward import jax_logits
from parity_tests.comparison import SHARED, max_difference
from parity_tests.evidence import Evidence, Row, at_most, distance, equal
from parity_tests.foreign_models import (
    FOREIGN,
    PATCH,
    WIDTH,
    compare,
    differing,
    hugging_face,
    lukemelas,
    model_like,
    quiet,
    timm_model,
    torchvision,
)

TITLE = "Layouts: weights of other libraries, read and written"

# With `quick`, one of each library; the parity tests have all.
QUICK = ("timm, LayerScale", "HF ViT", "HF Dinov2", "Google, big_vision stacked", "lukemelas",
         "vit-pytorch", "torchvision")  # fmt: skip
# Bicubic weights and their sums over 16 values of order one, in float32.
RESIZED = 1e-6
DEIT = "deit_tiny_patch16_224.safetensors"
DINO = "dinov2_vits14_float16.safetensors"
MODELS = {
    "a plain ViT": {},
    "LayerScale, both pooled": {"layer_scale": 0.1, "pool": "both", "mlp_ratio": 3.0},
    "LayerScale and registers": {"layer_scale": 0.1, "register_tokens": 4, "num_classes": 0,
                                 "mlp_ratio": 3.0},
    "normalised patches, no bias of q, k and v": {"patch_norm": True, "qkv_bias": False},
}  # fmt: skip

# Which layouts have no name for a part of it, and so must refuse it; all others must write it.
WITHOUT_SCALE = {"google", "lukemelas", "torchvision", "vit_pytorch"}
REFUSED = {
    "a plain ViT": {"vit_pytorch"},  # whose patches are normalised
    "LayerScale, both pooled": {"timm", *WITHOUT_SCALE},
    "LayerScale and registers": WITHOUT_SCALE,
    "normalised patches, no bias of q, k and v": {*NAMES} - {"vit_pytorch", "lab"},
    "DeiT-Tiny": {"vit_pytorch"},
    "DINOv2": WITHOUT_SCALE,
}


def measure(quick: bool) -> Evidence:
    rows, notes = [], []
    with quiet(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as directory:
        warnings.simplefilter("ignore")
        for number, name in enumerate(QUICK if quick else FOREIGN):
            place = Path(directory) / str(number)
            place.mkdir()
            rows += compared(name, place)
        for name, options in MODELS.items():
            rows += round_trips(name, model_like(**options), Path(directory) / name)
        rows += resized(Path(directory))
        if quick:
            notes.append("The published weights are compared by the full certificate only.")
        elif not (SHARED / "weights" / DEIT).is_file():
            notes.append("There is no ../shared/weights: published weights were not compared.")
        else:
            rows += published(Path(directory))
    return Evidence(rows, notes=notes)


def compared(name: str, place: Path) -> list[Row]:
    """Every layer's output, the logits, and the gradients of the image and of every parameter."""
    _, found = compare(FOREIGN[name](), place)
    return [distance(f"{name}: {quantity}", *values) for quantity, values in found.items()]


def round_trips(name: str, ours: Pretrained, place: Path) -> list[Row]:
    """ours -> theirs -> ours, for every layout but those that are REFUSED, which must refuse it."""
    rows, refused = [], set()
    for to in NAMES:
        try:
            layout_for(ours.model_config, ours.num_classes, to)
        except UserError:
            refused.add(to)
            continue
        save_pretrained(ours, place / to, to)
        again = load_pretrained(place / to)
        changed = differing(ours.params, again.params) + (again.class_names != ours.class_names)
        changed += again.preprocessing != ours.preprocessing
        # The value from which LayerScale starts is not part of its weights.
        known = again.model_config.__dict__ | {"layer_scale": ours.model_config.layer_scale}
        changed += known != ours.model_config.__dict__
        rows.append(
            equal(f"{name}, to {to} and back: bits and settings", "differing parameters", changed)
        )
    wanted = ", ".join(sorted(REFUSED[name]))
    others = len(refused ^ REFUSED[name])
    rows.append(equal(f"{name}: refused by {wanted}, by no other", "layouts otherwise", others))
    return rows


def resized(place: Path) -> list[Row]:
    """Positions of 5 x 5 patches at 3 x 3 and 8 x 8, as each library resizes them itself."""
    from pytorch_pretrained_vit.utils import resize_positional_embedding_
    from timm.models.vision_transformer import checkpoint_filter_fn
    from torchvision.models.vision_transformer import interpolate_embeddings

    def by_timm(model: torch.nn.Module, grid: int) -> torch.Tensor:
        other = timm_model(img_size=grid * PATCH)
        return checkpoint_filter_fn(model.state_dict(), other)["pos_embed"]

    def by_transformers(model: torch.nn.Module, grid: int) -> torch.Tensor:
        size = grid * PATCH
        tokens = torch.zeros(1, 1 + grid * grid, WIDTH)
        with torch.no_grad():
            embeddings = model.base_model.embeddings
            return embeddings.interpolate_pos_encoding(tokens, size, size)

    def by_torchvision(model: torch.nn.Module, grid: int) -> torch.Tensor:
        state = interpolate_embeddings(grid * PATCH, PATCH, dict(model.state_dict()))
        return state["encoder.pos_embedding"]

    def by_lukemelas(model: torch.nn.Module, grid: int) -> torch.Tensor:
        positions = model.positional_embedding.pos_embedding.detach()
        return resize_positional_embedding_(positions, torch.zeros(1, 1 + grid * grid, WIDTH))

    libraries = {
        "timm": (FOREIGN["timm"], by_timm),
        "transformers, ViT": (FOREIGN["HF ViT"], by_transformers),
        "transformers, Dinov2": (lambda: hugging_face("Dinov2"), by_transformers),
        "transformers, Dinov2WithRegisters": (
            lambda: hugging_face("Dinov2WithRegisters"), by_transformers,
        ),
        "torchvision": (torchvision, by_torchvision),
        "lukemelas (scipy)": (lukemelas, by_lukemelas),
    }  # fmt: skip
    rows = []
    for name, (make, theirs) in libraries.items():
        foreign = make()
        (place / f"resized {name}").mkdir()
        path = foreign.write(place / f"resized {name}")
        for grid in (3, 8):
            loaded = load_pretrained(path, img_size=grid * PATCH, options=foreign.options)
            expected = theirs(foreign.model, grid)
            found = max_difference(loaded.params["positional_embedding"], expected)
            rows.append(
                at_most(f"positions of {name}, 5 to {grid}", "largest difference", found, RESIZED)
            )
    return rows


def pixels(loaded: Pretrained, files: list[Path]) -> np.ndarray:
    """Normalised NHWC images, by the preprocessing that came with the weights."""
    images = [loaded.preprocessing.geometry.apply(Image.open(f).convert("RGB")) for f in files]
    mean, std = loaded.preprocessing.mean, loaded.preprocessing.std
    return np.asarray(normalize(jnp.asarray(np.stack(images)), mean, std))


def outputs(loaded: Pretrained, images: np.ndarray) -> np.ndarray:
    starts = range(0, len(images), 10)
    parts = [jax_logits(loaded.model, loaded.params, images[i : i + 10]) for i in starts]
    return np.concatenate(parts)


def torch_outputs(model: torch.nn.Module, images: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    model = model.to(dtype).eval()
    batches = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(dtype).split(10)
    with torch.no_grad():
        return torch.cat([model(batch) for batch in batches]).numpy()


def published(place: Path) -> list[Row]:
    """DeiT-Tiny on 100 photographs and DINOv2 on 50, against timm; and both through layouts."""
    import timm
    from timm.data import create_transform, resolve_model_data_config

    path = SHARED / "weights" / DEIT
    loaded = load_pretrained(path)
    model = timm.create_model("deit_tiny_patch16_224").eval()
    model.load_state_dict(load_file(path))
    files = sorted((SHARED / "data" / "imagenet-samples").glob("*.jpg"))
    images = pixels(loaded, files)
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    theirs = torch.stack([transform(Image.open(f).convert("RGB")) for f in files])
    theirs = theirs.numpy().transpose(0, 2, 3, 1)
    rows = [
        at_most("DeiT-Tiny: pixels of 100 photographs", "largest difference to timm's transform",
                max_difference(images, theirs), 1e-6),
    ]  # fmt: skip
    ours = outputs(loaded, images)
    other = torch_outputs(model, images, torch.float32)
    truth = torch_outputs(model, images, torch.float64)
    rows.append(distance("DeiT-Tiny: logits of 100 photographs", ours, other, truth))
    labels = np.array([int(file.name[:4]) for file in files])
    rows.append(
        equal("DeiT-Tiny: predicted classes of 100 photographs", "other than timm's",
              int((ours.argmax(1) != truth.argmax(1)).sum()))
    )  # fmt: skip
    right = int((ours.argmax(1) == labels).sum())
    rows.append(Row("DeiT-Tiny: right on 100 photographs", "classes", right, "at least 70",
                    right >= 70))  # fmt: skip
    rows += round_trips("DeiT-Tiny", loaded, place / "deit")

    dino = load_pretrained(SHARED / "weights" / DINO, img_size=224)
    files = sorted((SHARED / "data" / "oxford-iiit-pet" / "images").glob("*.jpg"))
    images = pixels(dino, files[:: max(1, len(files) // 50)][:50])
    model = timm.create_model("vit_small_patch14_dinov2", img_size=224, num_classes=0)
    state = {name: value.float() for name, value in load_file(SHARED / "weights" / DINO).items()}
    state = timm.models.vision_transformer.checkpoint_filter_fn(state, model)
    model.load_state_dict(state)
    rows.append(
        distance(
            "DINOv2: class token of 50 photographs",
            outputs(dino, images),
            torch_outputs(model, images, torch.float32),
            torch_outputs(model, images, torch.float64),
        )
    )
    return rows + round_trips("DINOv2", dino, place / "dino")
