"""Runs of both modes that are over in seconds."""

from kd.spec import parse

TINY = {
    "dataset": "digits",
    "teacher": {"arch": "cnn_small", "epochs": 3},
    "epochs": 4,
    "optimizer": {"lr": 0.05},  # so few epochs want a large one
    "batch_size": 128,
    "checkpoint_seconds": 3600,  # at the ends of epochs and phases only
}
VALIDATION_IMAGES = 143  # a tenth of the training images, of each class so many
# Both modes, once with a checkpoint after every step, for what is stopped between any two of them.
SPECS = {
    "train": parse({"mode": "train", "config": {**TINY, "views": 2}}),
    "guide": parse({"mode": "guide", "config": {**TINY, "rounds": {"epochs": 2, "views": 2}}}),
}
STEP_BY_STEP = {
    mode: parse({"mode": mode, "config": {**spec.config.model_dump(exclude_unset=True), "checkpoint_seconds": 0}})
    for mode, spec in SPECS.items()
}
# Of a teacher that is there already, and a student that nobody looks at.
SHORT = {**TINY, "epochs": 1, "control": False}
OF_MODE: dict[str, dict[str, object]] = {"train": {"views": 2}, "guide": {"rounds": {"epochs": 1, "views": 1}}}
