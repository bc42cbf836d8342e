"""Instance discrimination: what each part of the recipe adds to its features.

They are scored as they are, by nearest neighbours and a linear probe; the paper's ablation gives
the accuracy after fine-tuning.
"""

from jaxvit.studies.study import Metric, Study

FEATURES = (
    Metric("test/knn_accuracy", "nearest neighbours", ".2%"),
    Metric("test/linear_accuracy", "linear probe", ".2%"),
    Metric("test/uniformity", "uniformity"),
)
# Cross-entropy over instances alone, of cosines: a linear head hardly learns in so few epochs.
SHORT = (
    "flowers17-idmm", "--epochs", "40", "--val-every-epochs", "20",
    "--instance.contrastive-weight", "0",
)  # fmt: skip
PLAIN = (
    *SHORT, "--label-smoothing", "0", "--instance.views", "2", "--instance.small-views", "0",
    "--augment.cutmix-alpha", "0",
)  # fmt: skip

LARGE = ("--model.img-size", "96", "--epochs", "60", "--val-every-epochs", "60")
LONG = ("--epochs", "120", "--val-every-epochs", "60")
SMOOTH = ("--label-smoothing", "0.1")

# The paper's ablation in small; each part stands on the one before. About as much is computed in
# each: two views of 96 pixels have 72 patches, two of 64 have 32, and six have 96. Needs
# -- --data.dir of Flowers-17.
INSTANCES = Study(
    name="instances",
    question="What does each part of instance discrimination add?",
    configurations={
        "instances": (*PLAIN, *LARGE),
        "+smoothing": (*PLAIN, *LARGE, *SMOOTH),
        "+resolution": (*PLAIN, *LONG, *SMOOTH),
        "+multi-crop": (*PLAIN, *SMOOTH, "--instance.small-views", "4"),
        "+cutmix": (*PLAIN, *SMOOTH, "--instance.small-views", "4", "--augment.cutmix-alpha",
                    "0.5"),
    },
    baseline="instances",
    seeds=3,
    metrics=FEATURES,
    follow_seed=("--data.split-seed",),
)  # fmt: skip
