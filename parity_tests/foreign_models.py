"""Models of the libraries whose weights jaxvit reads, with random weights and odd sizes.

Each library builds its own model and writes its own file. Only Google's .npz is written here, under
the names of vit_jax and of big_vision, and timm's own reader of such files gives the truth.
"""

import contextlib
import copy
import functools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax.traverse_util import flatten_dict
from safetensors.torch import save_file

from jaxvit.config import ModelConfig
from jaxvit.data.preprocessing import Geometry, Preprocessing
from jaxvit.interop.layout import Layout
from jaxvit.interop.load import load_pretrained
from jaxvit.interop.pretrained import Pretrained
from jaxvit.interop.reading import recognise
from jaxvit.interop.report import Report
from jaxvit.models.configured import make_model
from jaxvit.models.transformer import init_params
from parity_tests.claims.forward import jax_logits, traced_outputs
from parity_tests.comparison import GRADIENTS, LOGITS, max_difference, to_nchw, to_nhwc

IMG, PATCH, WIDTH, HEADS, LAYERS, HIDDEN, CLASSES = 35, 7, 30, 5, 3, 75, 6
# Batches of images that are compared as one: the rounding of 30 numbers alone is mostly chance.
DRAWS = 16
OPTIONS = {"num_heads": HEADS}  # a file of tensors alone does not tell


class Foreign(NamedTuple):
    """A model of a library.

    Attributes:
      model: in float32, in evaluation mode.
      write: writes its weights into an empty directory; returns what load_pretrained is given.
      layer: name of the module of layer {i}.
      options: for load_pretrained.
      residual: whether the layer's output is that of the module plus its input.
    """

    model: torch.nn.Module
    write: Callable[[Path], Path]
    layer: str
    options: dict[str, Any]
    residual: bool = False


def perturbed(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Every parameter gets noise, so that none keeps the 0 or 1 that hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            size = 0.1 if parameter.ndim == 1 else 0.2 / max(1, parameter.shape[-1]) ** 0.5
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def write_safetensors(model: torch.nn.Module, path: Path) -> Path:
    tensors = {name: value.detach().clone() for name, value in model.state_dict().items()}
    save_file(tensors, path)
    return path


def timm_model(**options: Any) -> torch.nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    sizes = {
        "img_size": IMG, "patch_size": PATCH, "embed_dim": WIDTH, "depth": LAYERS,
        "num_heads": HEADS, "mlp_ratio": HIDDEN / WIDTH, "num_classes": CLASSES,
    }  # fmt: skip
    torch.manual_seed(0)
    return perturbed(VisionTransformer(**sizes | options))


def timm(**options: Any) -> Foreign:
    model = timm_model(**options)
    return Foreign(
        model, lambda path: write_safetensors(model, path / "x.safetensors"), "blocks.{i}", OPTIONS
    )


def hugging_face(family: str, in_memory: bool = False, **options: Any) -> Foreign:
    """ViT, Dinov2 or Dinov2WithRegisters; the file has the names on disk, or those in memory."""
    import transformers

    sizes = {
        "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "image_size": IMG, "patch_size": PATCH, "num_labels": CLASSES,
    }  # fmt: skip
    sizes |= {"intermediate_size": HIDDEN} if family == "ViT" else {"mlp_ratio": 3}
    config = getattr(transformers, f"{family}Config")(**sizes | options)
    torch.manual_seed(0)
    model = perturbed(getattr(transformers, f"{family}ForImageClassification")(config))

    def write(path: Path) -> Path:
        with quiet():
            model.save_pretrained(path)
        if in_memory:
            write_safetensors(model, path / "model.safetensors")
        return path

    prefix = {"ViT": "vit", "Dinov2": "dinov2", "Dinov2WithRegisters": "dinov2_with_registers"}
    layer = "vit.layers.{i}" if family == "ViT" else prefix[family] + ".encoder.layer.{i}"
    return Foreign(model, write, layer, {})


def lukemelas() -> Foreign:
    from pytorch_pretrained_vit import ViT, configs

    # The class takes sizes only from its table of named models.
    config = {
        "patches": (PATCH, PATCH), "dim": WIDTH, "ff_dim": HIDDEN, "num_heads": HEADS,
        "num_layers": LAYERS, "attention_dropout_rate": 0.0, "dropout_rate": 0.1,
        "representation_size": None, "classifier": "token",
    }  # fmt: skip
    named = {"config": config, "image_size": (IMG, IMG), "num_classes": CLASSES, "url": None}
    configs.PRETRAINED_MODELS["small"] = named
    torch.manual_seed(0)
    model = perturbed(ViT("small"))
    return Foreign(
        model,
        lambda path: write_safetensors(model, path / "x.safetensors"),
        "transformer.blocks.{i}",
        OPTIONS,
    )


def vit_pytorch() -> Foreign:
    from vit_pytorch import ViT

    torch.manual_seed(0)
    model = perturbed(
        ViT(
            image_size=IMG, patch_size=PATCH, num_classes=CLASSES, dim=WIDTH, depth=LAYERS,
            heads=HEADS, dim_head=WIDTH // HEADS, mlp_dim=HIDDEN,
        )
    )  # fmt: skip
    return Foreign(
        model,
        lambda path: write_safetensors(model, path / "x.safetensors"),
        "transformer.layers.{i}.1",
        OPTIONS,
        residual=True,
    )


def torchvision(old_names: bool = False) -> Foreign:
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    model = perturbed(
        VisionTransformer(
            image_size=IMG, patch_size=PATCH, num_layers=LAYERS, num_heads=HEADS, hidden_dim=WIDTH,
            mlp_dim=HIDDEN, num_classes=CLASSES,
        )
    )  # fmt: skip

    def write(path: Path) -> Path:
        tensors = {name: value.detach().clone() for name, value in model.state_dict().items()}
        if old_names:
            renamed = {"mlp.0.": "mlp.linear_1.", "mlp.3.": "mlp.linear_2."}
            for new, old in renamed.items():
                tensors = {name.replace(new, old): value for name, value in tensors.items()}
        save_file(tensors, path / "x.safetensors")
        return path / "x.safetensors"

    return Foreign(model, write, "encoder.layers.encoder_layer_{i}", OPTIONS)


def google_arrays(big_vision: bool, stacked: bool, slot: bool) -> dict[str, np.ndarray]:
    """Random weights under Google's names."""
    rng, size = np.random.default_rng(0), WIDTH // HEADS
    attention, norm, mlp = (0, 1, 0) if big_vision else (1, 2, 3)
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("query", "key", "value"):
        shapes[f"MultiHeadDotProductAttention_{attention}/{name}/kernel"] = (WIDTH, HEADS, size)
        shapes[f"MultiHeadDotProductAttention_{attention}/{name}/bias"] = (HEADS, size)
    shapes[f"MultiHeadDotProductAttention_{attention}/out/kernel"] = (HEADS, size, WIDTH)
    shapes[f"MultiHeadDotProductAttention_{attention}/out/bias"] = (WIDTH,)
    for name in ("LayerNorm_0", f"LayerNorm_{norm}"):
        shapes |= {f"{name}/scale": (WIDTH,), f"{name}/bias": (WIDTH,)}
    shapes[f"MlpBlock_{mlp}/Dense_0/kernel"] = (WIDTH, HIDDEN)
    shapes[f"MlpBlock_{mlp}/Dense_0/bias"] = (HIDDEN,)
    shapes[f"MlpBlock_{mlp}/Dense_1/kernel"] = (HIDDEN, WIDTH)
    shapes[f"MlpBlock_{mlp}/Dense_1/bias"] = (WIDTH,)
    block = "Transformer/encoderblock"
    found: dict[str, tuple[int, ...]] = {}
    for name, dims in shapes.items():
        if stacked:
            found[f"{block}/{name}"] = (LAYERS, *dims)
        else:
            found |= {f"{block}_{i}/{name}": dims for i in range(LAYERS)}
    tokens = (IMG // PATCH) ** 2 + slot
    found |= {
        "embedding/kernel": (PATCH, PATCH, 3, WIDTH),
        "embedding/bias": (WIDTH,),
        "cls": (1, 1, WIDTH),
        "pos_embedding" if big_vision else "Transformer/posembed_input/pos_embedding": (
            1, tokens, WIDTH
        ),
        "Transformer/encoder_norm/scale": (WIDTH,),
        "Transformer/encoder_norm/bias": (WIDTH,),
        "head/kernel": (WIDTH, CLASSES),
        "head/bias": (CLASSES,),
    }  # fmt: skip
    return {
        name: (name.endswith("scale") + 0.2 * rng.normal(size=dims)).astype(np.float32)
        for name, dims in found.items()
    }


def google(
    prefix: str = "", big_vision: bool = False, stacked: bool = False, slot: bool = True
) -> Foreign:
    """The model that timm's own reader makes of a file of Google's."""
    arrays = google_arrays(big_vision, stacked, slot)
    model = timm_model(
        act_layer=functools.partial(torch.nn.GELU, approximate="tanh"), no_embed_class=not slot
    )

    def write(path: Path) -> Path:
        file = path / "x.npz"
        np.savez(file, **{prefix + name: array for name, array in arrays.items()})
        model.load_pretrained(str(file))
        return file

    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        write(Path(directory))
    return Foreign(model, write, "blocks.{i}", {})


FOREIGN: dict[str, Callable[[], Foreign]] = {
    "timm": timm,
    "timm, tanh GELU by option": lambda: timm(
        act_layer=functools.partial(torch.nn.GELU, approximate="tanh")
    )._replace(options=OPTIONS | {"gelu": "tanh"}),
    "timm, LayerScale": lambda: timm(init_values=0.3),
    "timm, registers and no place for the class token": lambda: timm(
        init_values=0.3, reg_tokens=4, no_embed_class=True
    ),
    "timm, no bias of q, k, v": lambda: timm(qkv_bias=False),
    "HF ViT": lambda: hugging_face("ViT"),
    "HF ViT, names of 5.x in memory": lambda: hugging_face("ViT", in_memory=True),
    "HF Dinov2": lambda: hugging_face("Dinov2"),
    "HF Dinov2, names of 5.x in memory": lambda: hugging_face("Dinov2", in_memory=True),
    "HF Dinov2WithRegisters": lambda: hugging_face("Dinov2WithRegisters"),
    "Google, vit_jax": google,
    "Google, opt/target/": lambda: google("opt/target/"),
    "Google, big_vision": lambda: google("params/", big_vision=True, slot=False),
    "Google, big_vision stacked": lambda: google(
        "params/", big_vision=True, stacked=True, slot=False
    ),
    "lukemelas": lukemelas,
    "vit-pytorch": vit_pytorch,
    "torchvision": torchvision,
    "torchvision, names of old files": lambda: torchvision(old_names=True),
}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' warnings and progress bars."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def images_for(size: int, draw: int, batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(draw))


def logits_of(out: Any) -> torch.Tensor:
    return out if isinstance(out, torch.Tensor) else out.logits


def torch_results(foreign: Foreign, images: torch.Tensor, num_layers: int) -> dict[str, np.ndarray]:
    """Every layer's output, the logits, and gradients of a random sum of them, by torch's names."""
    model, found = foreign.model, {}

    def keep(name: str) -> Callable:
        def hook(_module: Any, args: Any, out: Any) -> None:
            out = out[0] if isinstance(out, tuple) else out
            found[name] = (out + args[0] if foreign.residual else out).detach().numpy()

        return hook

    modules = dict(model.named_modules())
    hooks = [
        modules[foreign.layer.replace("{i}", str(i))].register_forward_hook(keep(f"layer {i}"))
        for i in range(num_layers)
    ]
    model.zero_grad()
    images = images.clone().requires_grad_()
    logits = logits_of(model(images))
    (logits * weighting(logits.shape, torch.float64).to(logits.dtype)).sum().backward()
    for hook in hooks:
        hook.remove()
    found["logits"] = logits.detach().numpy()
    found["gradient of the image"] = images.grad.numpy()
    gradients = {
        name: (torch.zeros_like(p) if p.grad is None else p.grad).numpy()
        for name, p in model.named_parameters()
    }
    return found | {f"gradient: {name}": value for name, value in gradients.items()}


def weighting(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=dtype)


def jax_results(loaded: Pretrained, draws: list[torch.Tensor]) -> list[dict[str, np.ndarray]]:
    """The same from JAX for several batches; gradients by our names."""
    model, layers = loaded.model, loaded.model_config.num_layers

    @jax.jit
    def gradients(params: Any, images: jax.Array) -> Any:
        def total(params: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
            logits = model.apply({"params": params}, images, deterministic=True)
            factors = jnp.asarray(weighting(logits.shape, torch.float64).numpy(), logits.dtype)
            return (logits * factors).sum(), logits

        return jax.grad(total, argnums=(0, 1), has_aux=True)(params, images)

    outputs_of = jax.jit(lambda params, images: traced_outputs(model, params, images))
    results = []
    for images in map(to_nhwc, draws):
        outputs = jax.device_get(outputs_of(loaded.params, images))
        found = {f"layer {i}": outputs[f"transformer_encoder.layers.{i}"] for i in range(layers)}
        (by_params, by_images), logits = jax.device_get(gradients(loaded.params, images))
        found |= {"logits": logits, "gradient of the image": to_nchw(by_images)}
        flat = flatten_dict(by_params, sep="/")
        results.append(found | {f"gradient: {name}": np.asarray(v) for name, v in flat.items()})
    return results


def under_our_names(results: dict[str, np.ndarray], num_layers: int) -> dict[str, np.ndarray]:
    """Torch's gradients mapped through the layout, in the precision that they have."""
    lead = "gradient: "
    gradients = {n.removeprefix(lead): v for n, v in results.items() if n.startswith(lead)}
    layout: Layout = recognise(gradients, "gradients")
    named = layout.spelled(gradients)
    found = {name: value for name, value in results.items() if not name.startswith(lead)}
    for entry in layout.table(num_layers):
        if entry.theirs[0] in named:
            parts = [named[name].array for name in entry.theirs]
            found[lead + entry.ours] = entry.transform.to_ours(parts)
    return found


class Compared(NamedTuple):
    """A quantity in JAX, in the library, and in the library in float64."""

    ours: np.ndarray
    theirs: np.ndarray
    truth: np.ndarray


def compare(
    foreign: Foreign, directory: Path, number: int = DRAWS
) -> tuple[Pretrained, dict[str, Compared]]:
    """Loads what the library wrote, and computes all three times, for several batches."""
    loaded = load_pretrained(foreign.write(directory), options=foreign.options)
    layers = loaded.model_config.num_layers
    draws = [images_for(loaded.model_config.img_size, draw) for draw in range(number)]
    # Copied before it runs: lukemelas's attention keeps its last scores, which cannot be copied.
    double = foreign._replace(model=copy.deepcopy(foreign.model).double())
    ours = jax_results(loaded, draws)
    theirs = [under_our_names(torch_results(foreign, each, layers), layers) for each in draws]
    truth = [
        under_our_names(torch_results(double, each.double(), layers), layers) for each in draws
    ]
    if missing := set(theirs[0]) ^ set(ours[0]):
        raise AssertionError(f"parameters without a counterpart: {sorted(missing)}")
    found = {}
    for name in truth[0]:
        mine, other, exact = (
            np.stack([each[name] for each in all_]) for all_ in (ours, theirs, truth)
        )
        if mine.shape != exact.shape:  # a class token without a position of its own
            mine = mine[:, :, 1:]
        found[name] = Compared(mine, other, exact)
    return loaded, found


def assert_same(foreign: Foreign, directory: Path) -> Pretrained:
    """Every layer, the logits and every gradient equal the library's in float64."""
    loaded, found = compare(foreign, directory, number=1)
    for name, (ours, _, truth) in found.items():
        limit = GRADIENTS if name.startswith("gradient") else LOGITS
        size = max(1.0, float(np.abs(truth).max()))
        assert max_difference(ours, truth) <= limit * size, name
    return loaded


def model_like(**options: Any) -> Pretrained:
    """A small model of ours with random weights, as if it had been loaded."""
    sizes = {
        "img_size": IMG, "patch_size": PATCH, "embed_dim": WIDTH, "num_heads": HEADS,
        "num_layers": LAYERS, "mlp_ratio": HIDDEN / WIDTH, "dropout": 0.0, "norm_eps": 1e-6,
    }  # fmt: skip
    classes = options.pop("num_classes", CLASSES)
    images = options.pop("preprocessing", Preprocessing(Geometry(IMG), (0.5,) * 3, (0.5,) * 3))
    config = ModelConfig(**sizes | options)
    model = make_model(config, classes)
    rng = np.random.default_rng(0)
    params = jax.tree_util.tree_map_with_path(  # not drawn by the model: that compiles for seconds
        lambda path, leaf: (
            (0.1 * rng.normal(size=leaf.shape)).astype(np.float32)
            + np.float32(path[-1].key == "scale")
        ),
        jax.eval_shape(functools.partial(init_params, model), jax.random.key(0)),
    )
    names = tuple(f"class {i}" for i in range(classes)) or None
    return Pretrained(model, params, config, classes, images, names, "lab", Report("", (), ()))


def differing(a: Any, b: Any) -> int:
    """The number of parameters that differ in any bit, or are missing in one of the two."""
    a, b = (flatten_dict(jax.device_get(each), sep="/") for each in (a, b))
    return len(a.keys() ^ b.keys()) + sum(
        np.asarray(a[name]).tobytes() != np.asarray(b[name]).tobytes()
        or np.asarray(a[name]).dtype != np.asarray(b[name]).dtype
        for name in a.keys() & b.keys()
    )


def our_logits(loaded: Pretrained, images: torch.Tensor) -> np.ndarray:
    return jax_logits(loaded.model, loaded.params, to_nhwc(images))
