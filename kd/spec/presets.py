"""What a spec leaves open, filled in by a recipe: rates, objective, views and epochs that suit such a student.

A recipe is a partial config and nothing else: what is set by hand counts, and `resolved_spec` shows what came of it.
Its numbers come from docs/objectives.md, which says what was measured, and what is only customary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kd.data import packed_facts
from kd.data.catalog import DATASETS
from kd.errors import DataError
from kd.models.norms import norm_of
from kd.models.timm.catalog import Norm

Name = Literal["auto", "fast", "balanced", "best"]
AUTO = "balanced"
"""The preset that `auto` stands for."""


@dataclass(frozen=True)
class Size:
    """What a recipe must know of a data set: its training images, and its classes."""

    images: int
    classes: int


USUAL = Size(10_000, 100)
"""A packed data set that nobody has shown us is taken to be so large."""


def size_of(dataset: Any, data_folder: Path | None) -> Size:
    """That of a data set that a spec names, a packed one if it is in this folder. (What is wrong with a name, or with
    the facts of a packed one, others say. While the disk does not give them this raises OSError.)"""
    if (facts := DATASETS.get(str(dataset))) is not None:
        return Size(facts.train, facts.classes)
    if data_folder is not None and packed_facts.is_packed(str(dataset)):
        try:
            packed = packed_facts.read(data_folder, dataset)
        except DataError:
            return USUAL
        return Size(packed.train, len(packed.classes))
    return USUAL


@dataclass(frozen=True)
class Preset:
    """How much time a recipe may take."""

    description: str
    images_seen: int
    """Epochs come to about so many images, within these bounds: the student's, and the teacher's."""
    student_epochs: tuple[int, int]
    teacher_epochs: tuple[int, int]
    views: int
    """Of each image, labelled in `train`."""

    def lengths(self, images: int) -> "Lengths":
        """Of a data set of so many training images."""

        def within(bounds: tuple[int, int]) -> int:
            fewest, most = bounds
            return max(fewest, min(most, self.images_seen // images))

        return Lengths(within(self.student_epochs), within(self.teacher_epochs), self.views)


@dataclass(frozen=True)
class Lengths:
    """What a preset comes to for a data set."""

    student_epochs: int
    teacher_epochs: int
    views: int

    @property
    def teacher_patience(self) -> int:
        return max(4, self.teacher_epochs // 3)


PRESETS: dict[str, Preset] = {
    "fast": Preset(
        "a first look: a short schedule, under a teacher that has not learnt all it could",
        100_000,
        (10, 20),
        (8, 12),
        8,
    ),
    "balanced": Preset(
        "what `auto` stands for: a teacher trained until it stops gaining", 500_000, (30, 100), (20, 40), 32
    ),
    "best": Preset("a long schedule on many labelled views", 2_000_000, (100, 300), (60, 80), 64),
}

# By what the student normalises over, and its optimizer: the peak rate under the objective below.
RATES: dict[Norm, dict[str, float]] = {
    "none": {"sgd": 0.02, "adam": 1e-3, "adamw": 1e-3},
    "batch": {"sgd": 0.05, "adam": 1e-3, "adamw": 1e-3},
    "layer": {"sgd": 0.02, "adam": 5e-4, "adamw": 5e-4},
}
# The control's is another: a loss with a teacher in it has another gradient. Where it is the same, it is not here.
RATES_OF_CONTROLS: dict[Norm, dict[str, float]] = {"none": {}, "batch": {"sgd": 0.1}, "layer": {}}
# The optimizer of those that SGD does not suit, and how long its rate rises.
OF_LAYERS: dict[str, Any] = {"name": "adamw", "weight_decay": 0.05, "clip_norm": 1.0}
WARMUP_EPOCHS = 2.0

# Where nothing is said of the objective. `OF_MANY_CLASSES` asks how a teacher orders them, too, where there are more
# than a few.
OBJECTIVES: dict[Norm, dict[str, Any]] = {
    "none": {"method": "kd"},
    "batch": {"method": "dist"},
    "layer": {"method": "kd"},
}
_ORDER: dict[str, Any] = {"also": [{"method": "dist", "weight": 1}]}
OF_MANY_CLASSES: dict[Norm, dict[str, Any]] = {"none": _ORDER, "batch": {}, "layer": _ORDER}
FEW_CLASSES = 20
TERMS: dict[str, dict[str, Any]] = {
    "kd": {"temperature": 2},
    "dkd": {"temperature": 2, "beta": 2},
    "dist": {"temperature": 1},
}
WEIGHTS: dict[str, dict[str, float]] = {
    "dkd": {"hard_weight": 1, "soft_weight": 1},
    "dist": {"hard_weight": 1, "soft_weight": 2},
    "wttm": {"hard_weight": 1, "soft_weight": 0.3},
}


def cost(name: str, size: Size) -> float:
    """Of what `balanced` costs: images that go through teacher, student and control, a training step being three."""

    def passes(preset: Preset) -> int:
        lengths = preset.lengths(size.images)
        return 3 * (lengths.teacher_epochs + 2 * lengths.student_epochs) + lengths.views

    return passes(PRESETS[name]) / passes(PRESETS[AUTO])


def fill_in(given: dict[str, Any], size: Size, *, views: bool) -> dict[str, Any]:
    """A config as it was given, with what its recipe says of all that it leaves open, for a data set of this `size`.

    `views`: whether it has such a field. What is no valid config comes back as it was where it is not: its own fields
    say what is wrong with them.
    """
    name = given.get("recipe", "auto")
    preset = PRESETS.get(AUTO if name == "auto" else str(name))
    norm = _norm_of(given.get("student"), "mlp")
    if preset is None or norm is None:
        return given
    lengths = preset.lengths(size.images)
    filled = {"epochs": lengths.student_epochs} | ({"views": lengths.views} if views else {}) | given
    filled |= _how_it_learns(given, norm, lengths.student_epochs)
    if given.get("control", True) is True and (rate := _rate_of_control(given, norm)):
        filled["control"] = {"optimizer": {"lr": rate}}
    if isinstance(given.get("objective", {}), dict):
        filled["objective"] = _objective(given.get("objective", {}), norm, size)
    if isinstance(given.get("teacher", {}), dict):
        filled["teacher"] = _teacher(given.get("teacher", {}), lengths)
    return filled


def _how_it_learns(given: Mapping[str, Any], norm: Norm, epochs: Any) -> dict[str, Any]:
    """The optimizer and the schedule of a student, or of a teacher that is trained here."""
    optimizer, schedule = given.get("optimizer", {}), given.get("schedule", {})
    found = {}
    if isinstance(optimizer, dict):
        own = OF_LAYERS if norm == "layer" and optimizer.get("name", OF_LAYERS["name"]) == OF_LAYERS["name"] else {}
        optimizer = own | optimizer
        rate = RATES[norm].get(str(optimizer.get("name", "sgd")))
        found["optimizer"] = optimizer if rate is None else {"lr": rate} | optimizer
        epochs = given.get("epochs", epochs)
        if own and isinstance(schedule, dict) and isinstance(epochs, int) and epochs > 0:
            found["schedule"] = {"warmup_epochs": min(WARMUP_EPOCHS, epochs / 4)} | schedule
    return found


def _rate_of_control(given: Mapping[str, Any], norm: Norm) -> float | None:
    optimizer = given.get("optimizer", {})
    if not isinstance(optimizer, dict) or "lr" in optimizer:
        return None  # a rate of one's own is both models'
    return RATES_OF_CONTROLS[norm].get(str(optimizer.get("name", "sgd")))


def _objective(given: dict[str, Any], norm: Norm, size: Size) -> dict[str, Any]:
    if set(given) <= {"class_weights"}:
        many = OF_MANY_CLASSES[norm] if size.classes > FEW_CLASSES else {}
        given = OBJECTIVES[norm] | many | given
    if "preset" in given or given.get("soft_weight") == 0:
        return given
    method = str(given.get("method", "kd"))
    filled = TERMS.get(method, {}) | WEIGHTS.get(method, {}) | given
    also = given.get("also")
    if isinstance(also, list | tuple) and all(isinstance(term, dict) for term in also):
        filled["also"] = [TERMS.get(str(term.get("method", "kd")), {}) | term for term in also]
    return filled


def _teacher(given: dict[str, Any], lengths: Lengths) -> dict[str, Any]:
    if isinstance(members := given.get("committee"), list | tuple):
        return given | {"committee": [_teacher(one, lengths) if isinstance(one, dict) else one for one in members]}
    norm = _norm_of(given, "cnn")
    if {"job", "labels", "upload", "as_built"} & set(given) or norm is None:
        return given
    # Whoever says how long has not thought of our patience.
    long = {} if "epochs" in given else {"epochs": lengths.teacher_epochs, "patience": lengths.teacher_patience}
    return long | given | _how_it_learns(given, norm, lengths.teacher_epochs)


def _norm_of(model: Any, default: str) -> Norm | None:
    arch = model.get("arch", default) if isinstance(model, dict) else default
    return norm_of(arch) if isinstance(arch, str) else None
