"""`distil()`: the engine for a notebook, with modules and a data set that are at hand there.

It writes the spec, packs the data, and follows `kd.run`. A module comes with its weights, and is not changed: as the
teacher it teaches as it is, as the student it begins with them, and so does its control. What a function builds, or an
architecture's name stands for, is trained from fresh weights.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pydantic import ValidationError
from torch import nn

from kd.data import map_style, packing
from kd.data.parts import TEST, TRAIN, VALIDATION
from kd.errors import KdError
from kd.events import Evaluated, Event, Finished, Noted, PhaseStarted, Saved, Verdict
from kd.models.own import at_hand, names
from kd.models.own.names import Registered
from kd.models.weights import load_model
from kd.outputs import CHECKPOINTS, PAGE, STUDENT
from kd.run import run
from kd.run_folder import keep_best
from kd.spec import GuideSpec, TrainSpec, faults, parse

Models = dict[str, Registered]
Numbers = float | Sequence[float]

PACKED = "packed/data"
SPECS: dict[str, type[TrainSpec] | type[GuideSpec]] = {"train": TrainSpec, "guide": GuideSpec}


class CannotDistil(KdError):
    """What `distil` was given does not make a run."""

    def __init__(self, argument: str, why: str):
        super().__init__(f"distil() cannot use its {argument}: {why}.")


@dataclass(frozen=True)
class Distilled:
    """What came of it. `str` has it in a few lines."""

    student: nn.Module
    """In eval mode, on the CPU; it takes (pixels in 0..1 - mean) / std."""
    metrics: dict[str, float]
    """As in the report: `student.test.top1`, `control.test.top1`, `gain`, …"""
    verdict: Verdict | None
    """Was it worth it? None where there was no control."""
    report: Path
    folder: Path
    notes: tuple[str, ...]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    spec: TrainSpec | GuideSpec

    def __str__(self) -> str:
        each = [f"{role} {self.metrics[name]:.2%}" for role in ROLES if (name := f"{role}.test.top1") in self.metrics]
        said = [] if self.verdict is None else [self.verdict.message]
        return "\n".join([*said, f"Test accuracy: {', '.join(each)}.", f"The report is {self.report}."])


ROLES = ("teacher", "student", "control")


def distil(
    *,
    teacher: nn.Module | Callable[..., nn.Module] | str | Mapping[str, Any],
    student: nn.Module | Callable[..., nn.Module] | str,
    data: Any,
    mode: Literal["train", "guide"] = "train",
    classes: Sequence[str] | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    out: Path | str | None = None,
    data_folder: Path | str = "data",
    device: str = "auto",
    tell: Callable[[str], None] | None = print,
    **config: Any,
) -> Distilled:
    """Distil a teacher into a student, and train the same student without it.

    `teacher` is a module, which teaches as it is; or a function that builds one, or an architecture's name, which is
    trained first (to say how: `{"arch": function or name, "epochs": 20, …}`). `student` is a module, which begins with
    the weights that it has, or a function or a name. Functions are called with the keywords `classes` and `channels`,
    and with `height` and `width` if they name them. Modules are copied, and stay as they are.

    `data` is a map-style data set, a tuple of two (train, test) or three (train, validation, test), or the name of a
    data set, which is in `data_folder`; what an image may be is in `kd.data.map_style`. Where no images are for the
    test, or for validation, some of each class become so. `classes` are their names.

    Models get pixels in 0..1, less `mean` and divided by `std`: a number, or one for each channel. Where these are not
    given they are 0 and 1 under a teacher that is a module, and else the training images' own.

    All other keywords are fields of the spec's config: `epochs`, `objective`, `seeds`, … Everything that is kept goes
    to `out` (default: a new folder in `runs`). `tell` hears how far it is. Raises a `KdError` for what can be mended.
    """
    if mode not in SPECS:
        raise CannotDistil("mode", f"there is no {mode!r}; the modes are {' and '.join(SPECS)}")
    for field, instead in (("dataset", "data"), ("config", "its fields as keywords")):
        if field in config:
            raise CannotDistil(field, f"give {instead}")
    if isinstance(classes, str):
        raise CannotDistil("classes", "it is one text, and not one for each class")
    say = tell or (lambda line: None)
    models: Models = {}
    config |= {"teacher": _teacher(teacher, models), "student": {"arch": _student(student, models, config)}}
    config = {"checkpoint_seconds": 86_400, **config}  # whoever has a notebook does not resume
    _refuse_a_team(config, models)
    is_named = isinstance(data, str)
    sets = {} if is_named else _sets(data)
    normalisation = None
    if is_named and any(given is not None for given in (classes, mean, std)):
        raise CannotDistil("data", f"{data} has classes, mean and std of its own: leave these out")
    if not is_named:
        normalisation = _normalisation(sets, mean, std, as_is=isinstance(teacher, nn.Module))
    folder = Path(out) if out is not None else _new_folder(mode)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CannotDistil("out", f"{folder} is not empty; name a new folder")

    with names.registered(models):
        given = {"mode": mode, "config": config | {"dataset": data if is_named else PACKED}}
        _parse(given, None)  # before all images are read
        with _workplace(folder) as place:
            if not is_named:
                data_folder = place
                say(f"Reading {sum(map(len, sets.values()))} images.")
                parts = (map_style.chunks(one, split, CALLED[split]) for split, one in sets.items())
                packing.pack(
                    place,
                    PACKED,
                    (chunk for part in parts for chunk in part),
                    map_style.classes_of(sets[TRAIN]) if classes is None else tuple(map(str, classes)),
                    normalisation=normalisation,
                    tell=say,
                )
            spec = _parse(given, Path(data_folder))
            events = run(spec, folder, data_folder=data_folder, label_folder=place / "labels", device=device)
            finished, notes = _follow(events, folder, say)
        shutil.rmtree(folder / CHECKPOINTS)  # from which nothing goes on
        model, facts = load_model(folder / STUDENT)
    return Distilled(
        student=model,
        metrics=finished.metrics,
        verdict=finished.verdict,
        report=folder / PAGE,
        folder=folder,
        notes=notes,
        classes=facts.classes,
        mean=facts.mean,
        std=facts.std,
        spec=spec,
    )


# -- models ----------------------------------------------------------------------------------------------------------


def _teacher(given: Any, models: Models) -> dict[str, Any]:
    """The teacher's part of the spec."""
    if isinstance(given, nn.Module):
        return {"as_built": _register("teacher", given, models)}
    if isinstance(given, Mapping):
        if isinstance(arch := given.get("arch"), nn.Module):
            why = "a module teaches as it is, without a recipe; to have it trained give a function that builds it"
            raise CannotDistil("teacher", why)
        return {**given, "arch": _register("teacher", arch, models)} if callable(arch) else dict(given)
    return {"arch": _register("teacher", given, models)}


def _student(given: Any, models: Models, config: Mapping[str, Any]) -> str:
    """The student's name in the spec."""
    if isinstance(given, nn.Module) and config.get("seeds", 1) != 1:
        raise CannotDistil(
            "student",
            "a module has the weights that it has, and several seeds want other first weights each; give a function "
            "that builds it",
        )
    return _register("student", given, models)


def _register(role: str, given: Any, models: Models) -> str:
    """The name of an architecture, which a module or a function gets here."""
    if isinstance(given, str):
        return given
    models |= (new := at_hand.register(role, given))
    (arch,) = new
    return arch


def _refuse_a_team(config: Mapping[str, Any], models: Models) -> None:
    resources = config.get("resources")
    if models and isinstance(resources, Mapping) and resources.get("gpus", 1) != 1:
        raise CannotDistil(
            "resources",
            "on several GPUs each has a process of its own, which does not have the modules of this one: register them "
            "in a file, and use `kd run --models`",
        )


# -- data ------------------------------------------------------------------------------------------------------------

CALLED = {TRAIN: "the training data", VALIDATION: "the validation data", TEST: "the test data"}


def _sets(data: Any) -> dict[int, Any]:
    """Each map-style data set, by what its images are for."""
    if isinstance(data, tuple | list):
        if len(data) not in (2, 3):
            kinds = "(train, test) or (train, validation, test)"
            raise CannotDistil("data", f"it is a {type(data).__name__} of {len(data)}, and not {kinds}")
        found = dict(zip((TRAIN, TEST) if len(data) == 2 else (TRAIN, VALIDATION, TEST), data, strict=True))
    else:
        found = {TRAIN: data}
    for split, dataset in found.items():
        map_style.check(dataset, CALLED[split])
    return found


def _normalisation(
    sets: Mapping[int, Any], mean: Numbers | None, std: Numbers | None, *, as_is: bool
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and deviation of each channel; None: those of the training images."""
    if (mean is None) != (std is None):
        raise CannotDistil("mean" if std is None else "std", "mean and std go together; give both, or none")
    if mean is None or std is None:
        if not as_is:
            return None
        mean, std = 0.0, 1.0
    image_HWC, _ = map_style.read_item(sets[TRAIN], 0, CALLED[TRAIN])
    channels = image_HWC.shape[2]
    found = []
    for name, given in (("mean", mean), ("std", std)):
        try:
            numbers = [float(number) for number in ([given] * channels if isinstance(given, int | float) else given)]
        except (TypeError, ValueError):
            raise CannotDistil(name, "it is no number, nor a number for each channel") from None
        if len(numbers) != channels:
            raise CannotDistil(name, f"it has {len(numbers)} numbers, the images have {channels} channel(s)")
        if not all(0 < number < 256 if name == "std" else abs(number) < 256 for number in numbers):
            raise CannotDistil(
                name, f"it is {', '.join(map(str, numbers))}; std is above 0, and both are of pixels in 0..1"
            )
        found.append(tuple(numbers))
    return found[0], found[1]


def _new_folder(mode: str) -> Path:
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{mode}"
    each = (Path("runs") / (name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(folder for folder in each if not folder.exists())


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """Where packed data and label tables are while the run needs them."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".work-", dir=folder) as place:
        yield Path(place)


# -- the run ---------------------------------------------------------------------------------------------------------


def _parse(given: dict[str, Any], data_folder: Path | None) -> TrainSpec | GuideSpec:
    try:
        return parse(given, data_folder=data_folder)
    except ValidationError as error:
        found = faults.find(error.errors(include_url=False), given, model=SPECS[given["mode"]])
        words = "; ".join(f"{fault.pointer.removeprefix('/config/') or 'all'} {fault.message}" for fault in found)
        raise CannotDistil("arguments", words) from error


def _follow(events: Iterator[Event], folder: Path, say: Callable[[str], None]) -> tuple[Finished, tuple[str, ...]]:
    """Keep the best student and tell how far it is, to the run's last word."""
    notes: list[str] = []
    for event in events:
        if isinstance(event, Saved):
            keep_best(event, folder)
        elif isinstance(event, Noted):
            notes.append(event.message)
            say(event.message)
        elif isinstance(event, PhaseStarted):
            say(f"{event.phase}{f', {event.epochs} epochs' if event.epochs else ''}")
        elif isinstance(event, Evaluated) and event.split == "validation" and event.epoch:
            say(f"{event.phase}, epoch {event.epoch}: {event.metrics['top1']:.2%} of the validation images")
        elif isinstance(event, Finished):
            return event, tuple(notes)
    raise AssertionError("a run's last word is Finished")
