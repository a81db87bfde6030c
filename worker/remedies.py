"""What to change in a spec so that it may not fail in the same way again: a JSON merge patch (RFC 7396)."""

from typing import Any

from jobs.endings import Code
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
    of_teacher = phase in (None, "teacher", "cotrain") and "batch_size" in config["teacher"]
    if of_teacher and (half := _half(config["teacher"], config["resources"])):
        return {"config": {"teacher": {"batch_size": half}}}
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
    of_teacher = phase in ("teacher", "labelling") and "optimizer" in config["teacher"]
    if phase == "labelling" and not of_teacher:
        return None
    own = _own_recipe(config, phase).get("optimizer")
    recipe = own or (config["teacher"] if of_teacher else config)["optimizer"]
    gentler = {"optimizer": {"lr": recipe["lr"] / 10, "clip_norm": min(recipe["clip_norm"] or 1.0, 1.0)}}
    return {"config": {"control": gentler} if own else {"teacher": gentler} if of_teacher else gentler}
