"""Runs of both modes that are over in seconds."""

from kd.spec import parse

TINY = {
    "dataset": "digits",
    "teacher": {"arch": "cnn_small", "epochs": 3},
    "epochs": 4,
    "optimizer": {"lr": 0.05},  # so few epochs want a large one
    "batch_size": 128,
    "checkpoint_seconds": 0,
}
VALIDATION_IMAGES = 143  # a tenth of the training images, of each class so many
SPECS = {
    "train": parse({"mode": "train", "config": {**TINY, "views": 2}}),
    "guide": parse({"mode": "guide", "config": {**TINY, "rounds": {"epochs": 2, "views": 2}}}),
}
# Of a teacher that is there already, and a student that nobody looks at.
SHORT = {**TINY, "epochs": 1, "checkpoint_seconds": 60, "control": False}
OF_MODE: dict[str, dict[str, object]] = {"train": {"views": 2}, "guide": {"rounds": {"epochs": 1, "views": 1}}}
