"""The checks of a configuration that need no data and no device."""

from collections.abc import Callable

from jaxvit.config import Config, UserError
from jaxvit.paths import user_path


def check(config: Config) -> None:
    """Refuses values that cannot work, before anything is read or compiled.

    Raises:
      UserError: naming the option, its value, the limit and the way out.
    """

    def require(ok: bool, message: str) -> None:
        if not ok:
            raise UserError(message)

    def counts(option: str, value: int, low: int, high: int = 2**31 - 1) -> None:
        require(value >= low, f"--{option} {value} is too small: it must be at least {low}")
        require(value <= high, f"--{option} {value} is too large: it must be at most {high}")

    def positive(option: str, value: float) -> None:
        inside = 1e-30 < value < 1e30  # float32 holds it, and its square root
        require(inside, f"--{option} {value} must be finite and above 0")

    def within(option: str, value: float, low: float, high: float, closed: bool = True) -> None:
        inside = low <= value <= high if closed else low <= value < high
        end = "]" if closed else ")"
        require(inside, f"--{option} {value} is out of range: it must lie in [{low}, {high}{end}")

    data, model, augment, optim = config.data, config.model, config.augment, config.optim

    for option, value, high in (
        ("epochs", config.epochs, 10**6),
        ("batch-size", config.batch_size, 2**20),
        ("grad-accum-steps", config.grad_accum_steps, 2**20),
        ("log-every-steps", config.log_every_steps, 10**9),
        ("data.prefetch-batches", data.prefetch_batches, 1000),
        ("model.img-size", model.img_size, 4096),
        ("model.patch-size", model.patch_size, 4096),
        ("model.embed-dim", model.embed_dim, 2**16),
        ("model.num-heads", model.num_heads, 2**16),
        ("model.num-layers", model.num_layers, 1000),
        ("augment.cutout-length", augment.cutout_length, 4096),
        ("checkpoint.keep", config.checkpoint.keep, 10**6),
    ):
        counts(option, value, 1, high)
    for option, value, high in (
        ("data.decode-threads", data.decode_threads, 1024),
        ("augment.cutout-holes", augment.cutout_holes, 1000),
        ("optim.warmup-steps", optim.warmup_steps, 10**9),
        ("checkpoint.every-steps", config.checkpoint.every_steps, 10**9),
    ):
        counts(option, value, 0, high)
    within("model.mlp-ratio", model.mlp_ratio, 0, 64)
    for option, value in {
        "seed": config.seed,
        "data.split-seed": data.split_seed,
    }.items():
        within(option, value, 0, 2**32 - 1)
    for option, value in {
        "augment.mixup-alpha": augment.mixup_alpha,
        "augment.cutmix-alpha": augment.cutmix_alpha,
        "optim.weight-decay": optim.weight_decay,
        "optim.clip-norm": optim.clip_norm,
    }.items():
        within(option, value, 0, 1e6)
    for option, value in {
        "augment.flip-p": augment.flip_p,
        "augment.cutmix-p": augment.cutmix_p,
        "augment.cutmix-share": augment.cutmix_share,
    }.items():
        within(option, value, 0, 1)
    for option, value in {
        "label-smoothing": config.label_smoothing,
        "data.val-fraction": data.val_fraction,
        "model.dropout": model.dropout,
        "optim.b1": optim.b1,
        "optim.b2": optim.b2,
        "optim.ema-decay": optim.ema_decay,
    }.items():
        within(option, value, 0, 1, closed=False)
    for option, value in {
        "data.val-fraction": data.val_fraction,
        "model.mlp-ratio": model.mlp_ratio,
        "optim.lr": optim.lr,
        "optim.eps": optim.eps,
    }.items():
        positive(option, value)

    require(
        model.img_size % model.patch_size == 0,
        f"--model.img-size {model.img_size} is not divisible by --model.patch-size "
        f"{model.patch_size}: choose a multiple, such as "
        f"{max(1, round(model.img_size / model.patch_size)) * model.patch_size}",
    )
    require(
        model.embed_dim % model.num_heads == 0,
        f"--model.embed-dim {model.embed_dim} is not divisible by --model.num-heads "
        f"{model.num_heads}: choose a multiple, such as "
        f"{max(1, round(model.embed_dim / model.num_heads)) * model.num_heads}",
    )
    require(
        int(model.embed_dim * model.mlp_ratio) >= 1,
        f"--model.mlp-ratio {model.mlp_ratio} leaves the MLP no hidden unit: raise it to at least "
        f"{1 / model.embed_dim:g}",
    )
    channels = 1 if data.name == "digits" else 3
    require(
        model.in_channels == channels,
        f"--model.in-channels {model.in_channels} does not fit --data.name {data.name}, "
        f"whose images have {channels}: set it to {channels}",
    )
    for option, values in {"data.mean": data.mean, "data.std": data.std}.items():
        require(
            len(values) == channels,
            f"--{option} has {len(values)} values, but the images have {channels} channel(s): "
            f"give {channels}",
        )
        for value in values:
            if option == "data.std":
                positive(option, value)
            else:
                within(option, value, -1e6, 1e6)
    require(
        not (config.resume and config.overwrite),
        "--resume keeps the run that is there and --overwrite removes it: give one of them",
    )
    for option, value in {"out": config.out, "data.cache-dir": data.cache_dir}.items():
        require(bool(value), f"--{option} needs the name of a directory")
    require(data.dir != "", "--data.dir needs the name of a directory")
    require(
        data.name != "digits" or data.dir is None,
        f"--data.dir {data.dir} does not fit --data.name digits, which is embedded: choose a "
        "preset for it, such as pets-small, or --data.name folder",
    )
    low, high = augment.crop_scale
    require(
        0 < low <= high <= 1,
        f"--augment.crop-scale {low} {high} is not a range of shares: give LOW HIGH with "
        "0 < LOW <= HIGH <= 1",
    )
    low, high = augment.crop_ratio
    require(
        0 < low <= high < float("inf"),
        f"--augment.crop-ratio {low} {high} is not a range: give LOW HIGH with 0 < LOW <= HIGH",
    )
    require(
        data.name != "folder" or data.dir is not None,
        "--data.name folder needs --data.dir DIR, a directory with one folder of images a class",
    )
    if data.name == "folder":
        images = user_path("data.dir", data.dir).resolve()
        for option, value in {"out": config.out, "data.cache-dir": data.cache_dir}.items():
            require(
                not user_path(option, value).resolve().is_relative_to(images),
                f"--{option} {value} lies in --data.dir {data.dir}, where it would be taken for a "
                "class: choose another place",
            )
    _check_parallel(config, require)


def _check_parallel(config: Config, require: Callable[[bool, str], None]) -> None:
    micro, distributed = config.grad_accum_steps, config.distributed
    require(
        config.batch_size % micro == 0,
        f"--batch-size {config.batch_size} cannot be cut into --grad-accum-steps {micro} equal "
        f"parts: choose a multiple of {micro}",
    )
    given = [value is not None for value in vars(distributed).values()]
    require(
        all(given) or not any(given),
        "--distributed.coordinator, --distributed.num-processes and --distributed.process-id go "
        "together: give all three, or none",
    )
    require(
        config.parallel.mode == "jit" or not config.parallel.shard_params,
        "--parallel.shard-params needs --parallel.mode jit: pmap copies the state to every device",
    )
    if not any(given):
        return
    host, _, port = distributed.coordinator.rpartition(":")
    require(
        bool(host) and port.isascii() and port.isdecimal() and 0 < int(port) < 2**16,
        f"--distributed.coordinator {distributed.coordinator} is not HOST:PORT: give process 0's "
        "address, such as 10.0.0.1:1234",
    )
    processes, index = distributed.num_processes, distributed.process_id
    require(
        1 <= processes <= 2**20,
        f"--distributed.num-processes {processes} is out of range: it must be at least 1",
    )
    require(
        0 <= index < processes,
        f"--distributed.process-id {index} is out of range: it must lie in [0, {processes})",
    )
