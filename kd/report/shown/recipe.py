"""What was asked for, and how to ask for it again: of a spec that may have fields which are not named here."""

import json
from typing import Any

from kd.report.pictures import numbers

Report = dict[str, Any]
Fact = tuple[str, str]


def spec(report: Report) -> str:
    """The resolved spec as a file that `kd run` takes."""
    return json.dumps({"mode": report["mode"], "config": report["config"]}, indent=2, ensure_ascii=False)


def facts(report: Report) -> list[Fact]:
    """The recipe in few words: (what, how). What is not there is left out."""
    config, data = report["config"], report["dataset"]
    optimizer, schedule = config.get("optimizer", {}), config.get("schedule", {})
    found = [
        ("Data set", data["name"]),
        ("Its digest", data["digest"]),
        ("Images", ", ".join(f"{numbers.count(data[split])} {use}" for split, use in SPLITS)),
        ("Classes", numbers.count(data.get("classes"))),
        ("Mode", report["mode"]),
        ("Teacher", teacher(config.get("teacher"))),
        ("Student", config.get("student", {}).get("arch")),
        ("Objective", objective(config.get("objective", {}))),
        ("Epochs", numbers.count(config.get("epochs"))),
        ("Batch size", numbers.count(config.get("batch_size"))),
        ("Optimizer", listed(optimizer, "name", "lr", "weight_decay", "momentum")),
        ("Schedule", listed(schedule, "name", "warmup_epochs")),
        ("Input size", config.get("input_size")),
        ("Augmentation", listed(config.get("augmentation", {}), *AUGMENTATION)),
        ("Views labelled", config.get("views")),
        ("Rounds", listed(config.get("rounds", {}), "epochs", "views", "teacher")),
        ("Seed", config.get("seed")),
        ("Seeds", config.get("seeds")),
    ]
    return [(what, str(how)) for what, how in found if how not in (None, "", numbers.UNKNOWN)]


AUGMENTATION = ("crop_padding", "resized_crop", "flip", "strong", "mixup", "cutmix")
SPLITS = (("train", "to learn from"), ("validation", "to choose the epoch by"), ("test", "to test"))


def teacher(given: Any) -> str:
    """Who teaches: one that was trained here, that of another job, or whatever else there is, in its own words."""
    if not isinstance(given, dict):
        return ""
    if "arch" in given:
        return f"{given['arch']}, {numbers.count(given.get('epochs'))} epochs"
    if "job" in given:
        return f"the {given.get('role', 'teacher')} of {given['job']}"
    if "as_built" in given:
        return f"{given['as_built']}, trained before"
    if "committee" in given:
        return f"a committee: {'; '.join(map(teacher, given['committee']))}"
    if "labels" in given:
        return f"the label table {given['labels']}, made elsewhere"
    return json.dumps(given, ensure_ascii=False)


def objective(given: dict[str, Any]) -> str:
    """Its first distance, and whatever stands beside that."""
    first = listed(given, "method", "preset", "temperature", "soft_weight", "hard_weight", "standardize")
    return "; also ".join([first, *(listed(term, "method", "weight") for term in given.get("also") or ())])


def listed(given: Any, *names: str) -> str:
    """`name sgd, lr 0.05`: the named fields of a part of the spec, or all; what is unset or off is left out."""
    if not isinstance(given, dict):
        return ""
    wanted = {name: given[name] for name in names or given if name in given}
    shown = {name: value for name, value in wanted.items() if value not in (None, False, [], {}, 0)}
    return ", ".join(
        value if name in ("name", "method") else f"{name.replace('_', ' ')} {said(value)}"
        for name, value in shown.items()
    )


def said(value: Any) -> str:
    if value is True:
        return "yes"
    return f"{value:g}" if isinstance(value, int | float) else value if isinstance(value, str) else json.dumps(value)


def machine(report: Report) -> list[Fact]:
    """Hardware and versions: (what, which)."""
    given = report.get("made_with") or {}
    cores = f"{numbers.count(given.get('cores'))} cores, {numbers.count(given.get('threads'))} threads of torch"
    found = [
        ("Device", given.get("device")),
        ("Processes", given.get("processes")),
        ("Precision", given.get("precision")),
        ("Processor", f"{given['cpu']}, {cores}" if given.get("cpu") else None),
        ("System", given.get("system")),
        *((name, version) for name, version in given.get("versions", {}).items()),
    ]
    return [(what, str(which)) for what, which in found if which]
