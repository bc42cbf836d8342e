"""The claims of the certificate: one module each, with a TITLE and measure(quick) -> Evidence.

With `quick`, sizes and samples are small enough to measure all claims in about two minutes.
"""

CLAIMS = (
    "forward", "gradients", "dropout", "optimiser", "augmentation", "initialisation", "losses",
    "pixels", "training_run", "round_trips", "bfloat16", "layouts", "fine_tuning",
    "schedules", "resnet_and_attention", "explanations", "instance_discrimination",
    "generation",
)  # fmt: skip
