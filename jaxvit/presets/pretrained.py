"""Presets that start from pretrained weights, whose model and preprocessing they follow."""

from dataclasses import replace

from jaxvit.config import AugmentConfig, Config, DataConfig, ModelConfig, OptimConfig

FOLLOWS_WEIGHTS = DataConfig(
    name="folder", mean=None, std=None, resize=None, crop_share=None, interpolation=None
)
PRETRAINED = ModelConfig(
    name=None, stem=None, width=None, img_size=None, patch_size=None, in_channels=None,
    embed_dim=None, num_heads=None, num_layers=None, mlp_ratio=None, norm_eps=None, gelu=None,
    layer_scale=None, register_tokens=None, qkv_bias=None, patch_norm=None, pool=None, dropout=0.0,
    init="vit",
)  # fmt: skip

FROM_WEIGHTS: dict[str, Config] = {
    "probe": Config(
        out="runs/probe",
        epochs=100,
        batch_size=None,
        val_every_epochs=10,
        select=None,
        label_smoothing=0.0,
        keep_memory=True,
        data=replace(FOLLOWS_WEIGHTS, cache_features=True),
        model=PRETRAINED,
        optim=OptimConfig(
            lr=3e-3,
            weight_decay=None,
            schedule="cosine",
            warmup=0.1,
            decay="matrices",
            freeze="backbone",
        ),
    ),
    "finetune": Config(
        out="runs/finetune",
        epochs=None,
        batch_size=32,
        val_every_epochs=None,
        select=None,
        keep_memory=True,
        data=replace(FOLLOWS_WEIGHTS, stored_scale=8 / 7),
        model=PRETRAINED,
        augment=AugmentConfig(crop_scale=(0.25, 1.0), flip_p=0.5),
        optim=OptimConfig(
            lr=2e-4,
            weight_decay=0.05,
            schedule="cosine",
            warmup=0.1,
            clip_norm=1.0,
            decay="matrices",
            layer_decay=0.75,
            head_lr=10.0,
        ),
    ),
    "pets-b16-384": Config(
        out="runs/pets-b16-384",
        epochs=30,
        batch_size=16,
        label_smoothing=0.0,
        keep_memory=True,
        data=DataConfig(name="oxford_iiit_pet", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        # As pytorch-pretrained-vit has it.
        model=replace(
            PRETRAINED,
            img_size=384,
            dropout=0.1,
            activation_dropout=0.0,
            attention_dropout=0.1,
            projection_dropout=0.1,
        ),
        optim=OptimConfig(
            name="sgd",
            lr=2e-3,
            momentum=0.9,
            weight_decay=0.0,
            schedule="step",
            gamma=0.7,
            step_every_epochs=5,
        ),
    ),
}
