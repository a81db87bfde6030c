"""What is wrong with a plan: between its fields, and at the points of its space. Nobody is to learn it from the last of
a hundred jobs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jobs.errors import SpecRefused
from jobs.queue import submit
from jobs.sweeps import members, sampling, space
from jobs.sweeps.plan import MOST_JOBS, Plan
from jobs.sweeps.space import Point
from kd.spec import faults
from kd.spec.faults import Fault

SOME_JOB = "job_01JZ3V6M8Q4T2B7XK9D5FHNCRW"  # in the place of the one that will have the teacher


def check(plan: Plan, data_dir: Path) -> None:
    """Raise `SpecRefused` unless every point that is known now makes a spec: all of a grid, all that will be drawn, and
    for tpe every value and both ends of every range."""
    if found := list(_misfits(plan)):
        raise SpecRefused(found)
    points = space.corners(plan.space) if plan.chooser == "tpe" else map(plan.point, range(1, plan.planned + 1))
    for point in points:
        try:
            spec = members.spec_at(plan, point, data_dir)
        except ValidationError as error:
            raise SpecRefused(_explain(plan, point, error)) from None
        submit.check_data(spec.config, data_dir)
        if plan.share_teacher and members.teacher_key(spec) is not None:
            _check_borrower(plan, point, data_dir)


def _misfits(plan: Plan) -> Iterator[Fault]:
    if plan.chooser == "grid":
        for name, domain in plan.space.items():
            if domain.values is None:
                yield Fault(f"/space/{name}", "has no end of values: give a grid, or choose sampler random or tpe")
                return
        size = space.grid_size(plan.space)
        if size > MOST_JOBS:
            yield Fault(
                "/space", f"has {size:,} combinations, and a sweep at most {MOST_JOBS} jobs: choose sampler random"
            )
        elif plan.budget.max_jobs is not None and plan.budget.max_jobs < size:
            why = f"the grid has {size} combinations: allow as many, or choose sampler random"
            yield Fault("/budget/max_jobs", why)
    elif plan.budget.max_jobs is None:
        yield Fault("/budget/max_jobs", f"is missing: sampler {plan.chooser} has no end by itself")
    if plan.chooser == "tpe" and not sampling.has_optuna():
        yield Fault("/sampler", "tpe needs Optuna, which this server lacks: pip install 'stillhouse[sweeps]'")
    if plan.pruning is not None and plan.pruning.min_others >= plan.planned > 0:
        why = f"would do nothing here: there are only {plan.planned - 1} others"
        yield Fault("/pruning/min_others", why)


def _check_borrower(plan: Plan, point: Point, data_dir: Path) -> None:
    """Not every spec can do with a teacher that is trained elsewhere."""
    try:
        members.spec_at(plan, point, data_dir, teacher=SOME_JOB)
    except ValidationError as error:
        why = faults.sentence(_explain(plan, point, error, teacher=SOME_JOB))
        raise SpecRefused(
            [Fault("/share_teacher", f"must be false here. With the teacher of another job: {why}")]
        ) from None


def _explain(plan: Plan, point: Point, error: ValidationError, teacher: str | None = None) -> list[Fault]:
    """The faults of a member's spec, each at the field of the sweep's body that makes it."""
    details: Any = error.errors(include_url=False, include_context=False)
    found = faults.find(details, members.assemble(plan, point, teacher))
    at = f"at {space.words(point)}: "
    return [Fault(_place(fault.pointer, point), at + fault.message) for fault in found]


def _place(pointer: str, point: Point) -> str:
    """Where the body of the sweep says what a member's spec has there."""
    for name in point:
        path = "/" + name.replace(".", "/")
        if _is_in(pointer, path) or (pointer != "/config" and _is_in(path, pointer)):
            return f"/space/{name}"
    return pointer


def _is_in(pointer: str, folder: str) -> bool:
    return pointer == folder or pointer.startswith(f"{folder}/")
