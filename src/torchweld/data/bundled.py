"""scikit-learn's digits: 1797 scans of handwritten digits, 8x8 pixels of 17 greys, bundled with scikit-learn.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits" (1998), https://doi.org/10.24432/C50P49.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from torchweld.data.splits import Dataset

CLASSES = tuple(map(str, range(10)))


def bundled_digits() -> Dataset:
    """All digits: images (1797, 1, 8, 8) whose greys 0..16 are spread over 0..255, labels (1797,).

    >>> bundled_digits().inputs.shape
    (1797, 1, 8, 8)
    """
    pixels, labels = load_digits(return_X_y=True)
    images = np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return Dataset(images, labels.astype(np.int64), tuple(f"digits[{row}]" for row in range(len(labels))))
