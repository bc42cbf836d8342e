"""The PyTorch candidates: `python -m torch_ref.speed TASK` prints one line of JSON.

Options of the task select PyTorch's fast variants: scaled_dot_product_attention (flash and cuDNN
kernels where they apply), torch.compile in its modes, channels-last images, bfloat16 by autocast or
as the dtype of the weights. AdamW is fused. timm's model of the same shape runs where timm is
installed. Run by jaxvit.speed.benchmark in a separate process.
"""

import json
import resource
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_ref.multi_head_attention import MultiHeadSelfAttention
from torch_ref.transformer import VisionTransformer

WARMUP_STEPS = 3
MATMUL_SEC = 0.3  # per shape: in a shorter burst a processor is faster than it can sustain
Batch = tuple[Tensor, Tensor]


class FusedAttention(MultiHeadSelfAttention):
    """The lab's attention, computed by scaled_dot_product_attention."""

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, embed_dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.fc_out(out.transpose(1, 2).reshape(batch, tokens, embed_dim))


def make_model(task: dict) -> nn.Module:
    workload, shape = task["workload"], task["shape"]
    if task.get("timm"):
        return _timm_model(workload, shape, task["inputs"])
    model = VisionTransformer(**shape, dropout=workload["dropout"])
    with np.load(f"{task['inputs']}/weights.npz") as weights:
        model.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights.files})
    if task.get("sdpa"):
        for module in model.modules():
            if type(module) is MultiHeadSelfAttention:
                module.__class__ = FusedAttention
    return model


def _timm_model(workload: dict, shape: dict, inputs: str) -> nn.Module:
    """timm's model with the same weights; LayerNorm has PyTorch's default eps."""
    import timm

    model = timm.models.vision_transformer.VisionTransformer(
        img_size=shape["img_size"],
        patch_size=shape["patch_size"],
        num_classes=shape["num_classes"],
        embed_dim=shape["embed_dim"],
        depth=shape["num_layers"],
        num_heads=shape["num_heads"],
        proj_drop_rate=workload["dropout"],
        norm_layer=nn.LayerNorm,
    )
    for block in model.blocks:  # the lab has dropout in the MLP only
        block.attn.proj_drop.p = 0.0
    renamed = (
        ("transformer_encoder.layers", "blocks"),
        ("patch_embedding.proj", "patch_embed.proj"),
        ("positional_embedding", "pos_embed"),
        ("attn.fc_out", "attn.proj"),
        ("mlp.0", "mlp.fc1"),
        ("mlp.3", "mlp.fc2"),
    )
    state = {}
    with np.load(f"{inputs}/weights.npz") as weights:
        for name in weights.files:
            theirs = name
            for old, new in renamed:
                theirs = theirs.replace(old, new)
            state[theirs] = torch.from_numpy(weights[name])
    model.load_state_dict(state)
    return model


def main(task: dict) -> dict:
    """Times the workload; returns the same keys as jaxvit.speed.jax_candidate."""
    workload = task["workload"]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(workload["seed"])
    torch.set_float32_matmul_precision("high" if workload["tf32"] else "highest")
    torch.backends.cudnn.allow_tf32 = workload["tf32"]
    dtype = getattr(torch, workload["dtype"])
    model = make_model(task).to(device)
    if task.get("channels_last"):
        model = model.to(memory_format=torch.channels_last)
    if task.get("bfloat16_weights"):
        model = model.to(torch.bfloat16)
    mean, std = (torch.tensor(task[x], device=device)[:, None, None] for x in ("mean", "std"))
    autocast = dtype != torch.float32 and not task.get("bfloat16_weights")

    def images_of(images: Tensor) -> Tensor:
        images = images.to(device, non_blocking=True).permute(0, 3, 1, 2)
        images = (images.float() / 255 - mean) / std
        if task.get("channels_last"):
            images = images.contiguous(memory_format=torch.channels_last)
        return images.to(torch.bfloat16) if task.get("bfloat16_weights") else images

    def logits_of(images: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype, enabled=autocast):
            return model(images_of(images))

    with np.load(f"{task['inputs']}/batches.npz") as arrays:
        batches = [
            (_on_host(images, device), _on_host(labels.astype(np.int64), device))
            for images, labels in zip(arrays["images"], arrays["labels"], strict=True)
        ]
    images, labels = batches[0]
    model.eval()
    with torch.inference_mode():
        first_loss = F.cross_entropy(logits_of(images).float(), labels.to(device)).item()

    if task.get("compile"):
        model = torch.compile(model, mode=task["compile"])
    if workload["task"] == "infer":
        step = _inference(logits_of)
    else:
        step = _training(model, logits_of, workload["label_smoothing"])
    _fence(device)
    began = time.perf_counter()
    step(batches[0])
    _fence(device)
    first_step_sec = time.perf_counter() - began
    step_ms = timed(step, batches, task["seconds"], device)
    peak = (
        torch.cuda.max_memory_allocated()
        if device.type == "cuda"
        else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    return {
        "step_ms": step_ms,
        "first_step_sec": first_step_sec,
        "peak_bytes": peak,
        "first_loss": first_loss,
        "matmul_flops_per_sec": matmul_rate(task["matmuls"], dtype, device),
        "versions": {
            "python": sys.version.split()[0],
            "torch": torch.__version__,
            "device": name,
        },
    }


def pipeline(task: dict) -> dict:
    """Images per second of torchvision's DataLoader, and of the lab's augmentation.

    One pass over all of Oxford-IIIT Pet, decoded, resized and normalised by one worker per core.
    """
    # Imported here, because the other benchmark needs no torchvision.
    from torch.utils.data import ConcatDataset, DataLoader

    from torch_ref.cutmix import Cutmix
    from torch_ref.cutout import Cutout
    from torch_ref.datasets import get_datasets

    workload = task["workload"]
    *splits, _ = get_datasets("pets", task["dir"], img_size=workload["img_size"])
    everything = ConcatDataset(splits)
    first = None
    began = time.perf_counter()
    for images, labels in DataLoader(everything, workload["batch_size"], num_workers=task["cores"]):
        first = first or (images, labels)
    decoded_per_sec = len(everything) / (time.perf_counter() - began)

    cutout, cutmix = Cutout(n_holes=1, length=task["cutout_length"]), Cutmix(alpha=1.0, p=1.0)

    def augment(batch: Batch) -> Tensor:
        images, labels = batch
        return cutmix(torch.stack([cutout(image) for image in images]), labels)[0]

    step_ms = timed(augment, [first], task["seconds"], torch.device("cpu"))
    return {
        "images": len(everything),
        "decoded_per_sec": decoded_per_sec,
        "augmented_per_sec": 1e3 * len(first[0]) / float(np.median(step_ms)),
        "versions": {"torch": torch.__version__},
    }


def _on_host(array: np.ndarray, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(array)
    return tensor.pin_memory() if device.type == "cuda" else tensor


def _fence(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _inference(logits_of: Callable[[Tensor], Tensor]) -> Callable[[Batch], Tensor]:
    def step(batch: Batch) -> Tensor:
        with torch.inference_mode():
            return logits_of(batch[0])

    return step


def _training(
    model: nn.Module, logits_of: Callable[[Tensor], Tensor], label_smoothing: float
) -> Callable[[Batch], Tensor]:
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    criterion = nn.CrossEntropyLoss(label_smoothing=label_smoothing)

    def step(batch: Batch) -> Tensor:
        images, labels = batch
        optimizer.zero_grad(set_to_none=True)
        logits = logits_of(images).float()
        loss = criterion(logits, labels.to(logits.device, non_blocking=True))
        loss.backward()
        optimizer.step()
        return loss

    return step


def timed(
    step: Callable[[Batch], Tensor], batches: list[Batch], seconds: float, device: torch.device
) -> list[float]:
    """Milliseconds per step of each timed block; a block ends with a fence."""
    count = 0

    def block(steps: int) -> float:
        nonlocal count
        began = time.perf_counter()
        for _ in range(steps):
            count += 1
            step(batches[count % len(batches)])
        _fence(device)
        return (time.perf_counter() - began) / steps

    block(WARMUP_STEPS)
    steps = max(1, round(0.5 / block(2)))  # half a second each: the cost of a fence vanishes
    samples = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or len(samples) < 5:
        samples.append(1e3 * block(steps))
    return samples


def matmul_rate(matmuls: list[list[int]], dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of the model's matmuls, each timed alone, in the workload's dtype."""
    total_sec = total_flops = 0.0
    for times, batch, m, k, n in matmuls:
        lead = (batch,) if batch > 1 else ()
        a = torch.randn(*lead, m, k, device=device).to(dtype)
        b = torch.randn(*lead, k, n, device=device).to(dtype)
        a @ b
        sec = []
        ends = time.perf_counter() + MATMUL_SEC
        while time.perf_counter() < ends or len(sec) < 7:
            _fence(device)
            began = time.perf_counter()
            a @ b
            _fence(device)
            sec.append(time.perf_counter() - began)
        total_sec += times * float(np.median(sec))
        total_flops += 2 * times * batch * m * k * n
    return total_flops / total_sec


if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    print(json.dumps((pipeline if "dir" in task else main)(task)))
