"""The claims of the certificate: one file each, with a TITLE and measure(quick) -> Evidence.

`quick` makes sizes and samples small enough for all of them together to end in two minutes.
"""

CLAIMS = (
    "forward", "gradients", "dropout", "optimiser", "augmentation", "initialisation", "losses",
    "pixels", "training_run", "round_trips", "bfloat16",
)  # fmt: skip
