"""scikit-learn's digits: 1797 scans of handwritten digits, 8x8 pixels of 17 greys, bundled with scikit-learn.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits" (1998), https://doi.org/10.24432/C50P49.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from torchweld.core import InputError
from torchweld.data.dataset import Split


def digits(seed: int = 0, held_out: float = 0.2) -> Split:
    """The digits with a share held out, the same digits for the same seed, each class in both parts in proportion.

    Images are (N, 1, 8, 8), standardised by the mean and deviation of the training part alone.
    Raises `InputError` if `held_out` leaves either part empty of a class.

    >>> split = digits()
    >>> split.train_images.shape, split.test_images.shape
    (torch.Size([1437, 1, 8, 8]), torch.Size([360, 1, 8, 8]))
    """
    if not 0.01 <= held_out <= 0.99:
        raise InputError(f"held_out={held_out} leaves one part without digits; choose from 0.01 to 0.99")
    pixels, labels = load_digits(return_X_y=True)
    parts = train_test_split(pixels, labels, test_size=held_out, random_state=seed, stratify=labels)
    train, test, train_labels, test_labels = (torch.as_tensor(part) for part in parts)
    mean, deviation = train.mean(), train.std()
    images = [((part - mean) / deviation).float().view(-1, 1, 8, 8) for part in (train, test)]
    return Split(images[0], train_labels.long(), images[1], test_labels.long(), tuple(map(str, range(10))))
