"""Which images are for what: the numbers of the splits, and what each split needs of every class."""

from collections.abc import Sequence
from typing import Literal

Name = Literal["train", "validation", "test"]

TRAIN, VALIDATION, TEST = 0, 1, 2
NAMES: dict[int, Name] = {TRAIN: "train", VALIDATION: "validation", TEST: "test"}
PURPOSES = {TRAIN: "to learn from", VALIDATION: "for validation", TEST: "for the test"}
# What is learnt from the first, or chosen by it, must not be asked of the second.
APART = ((TRAIN, TEST), (TRAIN, VALIDATION), (VALIDATION, TEST))
# Of the data sets that come without a test split, this share of each class becomes one.
TEST_FRACTION = 0.2


def shortage(
    classes: Sequence[str], training: Sequence[int], validation: Sequence[int], test: Sequence[int]
) -> str | None:
    """What keeps a data set with so many images of each class from being learnt from, if anything does.

    Where no image is for validation, or none for the test, some of those to learn from become so, of each class. A
    split that was given is taken as it is: a class may be missing there.
    """
    if len(classes) < 2:
        return "there is only one class, and nothing to tell it from"
    purposes = ["training", *(["validation"] if not any(validation) else []), *(["test"] if not any(test) else [])]
    *others, last = purposes
    need = f"{', '.join(others)} and {last} need one each" if others else f"{last} needs one"
    for name, images in zip(classes, training, strict=True):
        if images < len(purposes):
            return f"class {name!r} has {images} images to learn from; {need}"
    return None
