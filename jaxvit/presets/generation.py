"""Networks that make images: DCGAN and DDPM, at sizes that two cores can train."""

from dataclasses import replace

from jaxvit.config import (
    AugmentConfig,
    Config,
    DataConfig,
    DiffusionConfig,
    ModelConfig,
    OptimConfig,
    without_foreign_options,
)


def _model(**options) -> ModelConfig:
    made = without_foreign_options(ModelConfig(**options))
    return replace(made, img_size=None, in_channels=None)


DIGITS = DataConfig(val_fraction=0.15, mean=None, std=None)  # the splits of the preset digits
# Radford et al. 2015: Adam with b1 .5 and a rate of 2e-4.
GAN = Config(
    method="gan",
    out="runs/digits-dcgan",
    epochs=150,
    batch_size=64,
    val_every_epochs=15,
    label_smoothing=0.0,
    select="last",
    keep_memory=True,
    data=DIGITS,
    model=_model(name="dcgan", width=64, z_dim=100, conditional=True),
    optim=OptimConfig(lr=2e-4, b1=0.5, weight_decay=0.0),
)
DDPM = Config(
    method="diffusion",
    out="runs/digits-ddpm",
    epochs=100,
    batch_size=64,
    val_every_epochs=25,
    label_smoothing=0.0,
    select="last",
    keep_memory=True,
    data=DIGITS,
    model=_model(
        name="unet",
        width=32,
        channel_multipliers=(1, 2),
        blocks=1,
        attention_sizes=(4,),
        conditional=True,
    ),
    diffusion=DiffusionConfig(schedule="cosine", sample_steps=25, guidance=1.5),
    optim=OptimConfig(lr=1e-3, weight_decay=0.0, warmup=0.05, schedule="cosine", ema_decay=0.995),
)
FLIPPED = AugmentConfig(flip_p=0.5)

GENERATORS: dict[str, Config] = {
    "digits-dcgan": GAN,
    "digits-ddpm": DDPM,
    "flowers17-ddpm": replace(
        DDPM,
        out="runs/flowers17-ddpm",
        epochs=400,
        val_every_epochs=50,
        data=DataConfig(name="flowers17", mean=None, std=None),
        model=replace(
            DDPM.model, img_size=32, width=64, channel_multipliers=(1, 2, 2), attention_sizes=(8,)
        ),
        augment=replace(FLIPPED, crop_scale=(0.6, 1.0)),
        optim=replace(DDPM.optim, lr=5e-4, ema_decay=0.999),
    ),
    "cifar10-dcgan": replace(
        GAN,
        out="runs/cifar10-dcgan",
        epochs=100,
        batch_size=128,
        val_every_epochs=10,
        data=DataConfig(name="cifar10", mean=None, std=None),
        augment=FLIPPED,
    ),
    # The network and the training of Ho et al. 2020, appendix B, for a GPU; but images of a class,
    # and DDIM in 50 steps for the ancestral sampler.
    "cifar10-ddpm": replace(
        DDPM,
        out="runs/cifar10-ddpm",
        epochs=2000,
        batch_size=128,
        val_every_epochs=100,
        data=DataConfig(name="cifar10", mean=None, std=None),
        model=replace(
            DDPM.model,
            width=128,
            channel_multipliers=(1, 2, 2, 2),
            blocks=2,
            attention_sizes=(16,),
            dropout=0.1,
        ),
        augment=FLIPPED,
        diffusion=DiffusionConfig(schedule="linear"),
        optim=replace(DDPM.optim, lr=2e-4, schedule="constant", warmup=0.01, ema_decay=0.9999),
    ),
}
