"""What to change in a spec so that it may not fail in the same way again: a JSON merge patch (RFC 7396)."""

from typing import Any

from jobs.endings import Code
from kd.events import is_of_teacher
from kd.spec import least_images

Patch = dict[str, Any]

# What a trainer takes with torch loaded and before it does anything, generously, in gigabytes.
AT_REST_GB = 1.0


def suggest(code: Code, spec: dict[str, Any], phase: str | None) -> Patch | None:
    """The patch for a failure in this phase of a run with this (resolved) spec; None where nobody can know."""
    config = spec["config"]
    if code is Code.OUT_OF_MEMORY:
        return _smaller(config, phase)
    if code is Code.DIVERGED:
        # At the end three models are asked, and nobody knows which of them it was.
        return None if phase == "evaluating" else _gentler(config, phase)
    if code is Code.NO_DEVICE:
        return {"config": {"resources": {"device": "cpu", "gpus": 1}}}
    return None


def _smaller(config: dict[str, Any], phase: str | None) -> Patch | None:
    may = config["resources"]["memory_gb"]
    if may is not None and may < AT_REST_GB:
        return {"config": {"resources": {"memory_gb": max(2 * may, AT_REST_GB)}}}
    if phase == "labelling" and isinstance(config.get("views"), int) and config["views"] > 1:
        return {"config": {"views": config["views"] // 2}}
    if phase == "labelling" and "rounds" in config and config["rounds"]["views"] > 1:
        return {"config": {"rounds": {"views": config["rounds"]["views"] // 2}}}
    teacher = _teacher_in(config, phase) if phase in (None, "cotrain") or _learns(phase) else None
    if teacher is not None and (half := _half(teacher, config["resources"])):
        return _patch(config, phase, {"batch_size": half})
    if (own := _own_recipe(config, phase)).get("batch_size"):
        recipe = config | {"batch_size": own["batch_size"]}
        half = _half(recipe, config["resources"])
        return {"config": {"control": {"batch_size": half}}} if half else None
    if half := _half(config, config["resources"]):
        return {"config": {"batch_size": half}}
    return None


def _own_recipe(config: dict[str, Any], phase: str | None) -> dict[str, Any]:
    """What the control, and whatever takes its recipe, does otherwise than the student; nothing in other phases."""
    control = config.get("control")
    return control if phase in ("control", "label_smoothing") and isinstance(control, dict) else {}


def _half(recipe: dict[str, Any], resources: dict[str, Any]) -> int | None:
    """Half of a recipe's batch, if that is enough for every GPU and every piece."""
    least = least_images(resources["gpus"], recipe.get("gradient_accumulation", 1))
    half: int = recipe["batch_size"] // 2
    return half if half >= least else None


def _gentler(config: dict[str, Any], phase: str | None) -> Patch | None:
    if phase == "cotrain":
        return {"config": {"rounds": {"cotrain": {"lr": config["rounds"]["cotrain"]["lr"] / 10}}}}
    # Labels that are no numbers are the teacher's doing, and one that was brought along has no recipe here.
    teacher = _teacher_in(config, phase) if phase == "labelling" or _learns(phase) else None
    if phase == "labelling" and teacher is None:
        return None
    own = _own_recipe(config, phase).get("optimizer")
    recipe = own or (config if teacher is None else teacher)["optimizer"]
    gentler = {"optimizer": {"lr": recipe["lr"] / 10, "clip_norm": min(recipe["clip_norm"] or 1.0, 1.0)}}
    if own:
        return {"config": {"control": gentler}}
    return {"config": gentler} if teacher is None else _patch(config, phase, gentler)


def _learns(phase: str | None) -> bool:
    """Whether a teacher learns in this phase: `teacher`, or a committee's `teacher.2`."""
    return phase is not None and is_of_teacher(phase)


def _teacher_in(config: dict[str, Any], phase: str | None) -> dict[str, Any] | None:
    """The teacher of this phase, if it is trained here. Of a committee's labels nobody knows whose they are."""
    teacher: dict[str, Any] = config["teacher"]
    if "committee" in teacher:
        number = (phase or "").partition(".")[2]
        teacher = teacher["committee"][int(number) - 1] if number else {}
    return teacher if "optimizer" in teacher else None


def _patch(config: dict[str, Any], phase: str | None, change: dict[str, Any]) -> Patch:
    """The patch that changes the teacher of this phase. A merge patch has a list as a whole only, so of a committee all
    members are in it."""
    members = config["teacher"].get("committee")
    if members is None:
        return {"config": {"teacher": change}}
    changed = int((phase or "").partition(".")[2]) - 1
    each = [_merge(member, change) if place == changed else member for place, member in enumerate(members)]
    return {"config": {"teacher": {"committee": each}}}


def _merge(member: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return member | {name: member[name] | new if isinstance(new, dict) else new for name, new in change.items()}
