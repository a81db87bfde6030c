"""A member of a sweep: the spec at its point, with a teacher of its own or with that of another member."""

import copy
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.errors import SpecRefused
from jobs.files import layout
from jobs.sweeps.space import Point
from kd.spec import GuideSpec, TrainSpec, parse
from kd.spec.faults import Fault
from kd.spec.teacher import trained_in

if TYPE_CHECKING:
    from jobs.sweeps.plan import Plan


def assemble(plan: "Plan", point: Point, teacher: str | None = None) -> dict[str, Any]:
    """The spec at this point, as a user would write it; `teacher` is the job that has it."""
    given: dict[str, Any] = {"mode": plan.mode, "config": copy.deepcopy(plan.config)}
    for name, value in point.items():
        _put(given, name, value)
    if teacher is not None:
        given["config"]["teacher"] = _taken_from(teacher, given["config"].get("teacher", {}))
    return given


def _taken_from(job: str, teacher: dict[str, Any]) -> dict[str, Any]:
    """The same teacher, of the job that has it; of a committee each member."""
    if "committee" not in teacher:
        return {"job": job}
    each = range(1, len(teacher["committee"]) + 1)
    return {"committee": [{"job": job, "role": f"teacher.{number}"} for number in each]}


def spec_at(plan: "Plan", point: Point, data_dir: Path, teacher: str | None = None) -> TrainSpec | GuideSpec:
    """The same with every default filled in. Raises pydantic's ValidationError."""
    return parse(assemble(plan, point, teacher), data_folder=data_dir / layout.DATASETS)


def teacher_key(spec: TrainSpec | GuideSpec) -> str | None:
    """Runs with the same key may have the same teacher; None: it has one that nobody trains.

    The seed is no part of it, nor is how the student learns: all that differs is to differ under one teacher.
    """
    config = spec.config
    if not any(trained_in(config.teacher)):
        return None
    facts = [config.dataset, config.validation_fraction, config.teacher.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _put(given: dict[str, Any], name: str, value: Any) -> None:
    *folders, last = name.split(".")
    place = given
    for folder in folders:
        place = place.setdefault(folder, {})
        if not isinstance(place, dict):
            raise SpecRefused([Fault(f"/space/{name}", f"leads through {folder}, which holds no fields")])
    place[last] = copy.deepcopy(value)
