"""scikit-learn's 1,797 handwritten digits: 8 x 8 pixels, ten classes, included in scikit-learn."""

import numpy as np
from PIL import Image

from jaxvit.data.examples import Examples, Source
from jaxvit.data.preprocessing import Geometry
from jaxvit.data.splits import stratified_split

TEST_FRACTION = 0.2


def load_digits() -> Source:
    """The digits with a training and a test split; the test split is a fifth of each class.

    The splits are the same in every run. Pixels from 0 to 16 are rescaled to 0 to 255: uint8, one
    channel.

    Source: Alpaydin and Kaynak 1998, UCI "Optical Recognition of Handwritten Digits".
    """
    from sklearn.datasets import load_digits as sklearn_digits

    digits = sklearn_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
    labels = digits.target.astype(np.int32)
    names = [f"digits/{row:04d}" for row in range(len(labels))]
    train, test = stratified_split(labels, names, TEST_FRACTION, seed=0)

    def examples(rows: np.ndarray) -> Examples:
        def at_size(index: int, geometry: Geometry) -> np.ndarray:
            return geometry.apply(Image.fromarray(pixels[rows[index]]))[:, :, None]

        return Examples(
            names=tuple(names[row] for row in rows),
            labels=labels[rows],
            pixels=at_size,
            fingerprint=f"digits {TEST_FRACTION} {rows.tobytes().hex()}",
        )

    return Source(
        class_names=tuple(str(name) for name in digits.target_names),
        splits={"train": examples(train), "test": examples(test)},
    )
